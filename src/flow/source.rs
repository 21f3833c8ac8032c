//! A source is a camera, a drone or a recording.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names a source. Cheap to clone: it travels with every frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SourceId(Arc<str>);

impl SourceId {
    /// Makes an id from the name that the configuration gives.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(Arc::from(name.as_ref()))
    }

    /// Returns the name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for SourceId {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl From<SourceId> for String {
    fn from(id: SourceId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl schemars::JsonSchema for SourceId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SourceId".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

/// Declared, never guessed: it decides whether frames may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// The newest frame wins; staleness is bounded; each loss is counted.
    Live,
    /// Nothing is lost; a slow consumer slows the reader.
    Recorded,
}

/// Says whether the camera stands still, which decides the tests a track must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mount {
    /// A tower or wall camera (it may turn between presets).
    Fixed,
    /// A drone or hand-held camera.
    Moving,
}

/// How hard a source is watched.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Key frames only.
    Patrol,
    /// All frames decoded, a few a second inferred.
    Watch,
    /// Full rate, with tiles at native resolution around a suspicion.
    Alarm,
}

impl Duty {
    /// Every level, from the lightest to the hardest.
    pub const ALL: [Self; 3] = [Self::Patrol, Self::Watch, Self::Alarm];

    /// Returns the word used in configuration, events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patrol => "patrol",
            Self::Watch => "watch",
            Self::Alarm => "alarm",
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is known of a source's picture at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Being opened, for the first time or again.
    Connecting,
    /// Frames arrive.
    Live,
    /// No frame for longer than two periods and two seconds.
    Stalled,
    /// No picture: nobody is watching through this camera.
    Blind,
    /// Frames arrive, all showing the same picture.
    Frozen,
    /// Frames arrive that hold no structure: covered, fogged in or out of focus.
    Covered,
    /// The camera no longer looks where its calibration says.
    Moved,
    /// A recording that was read to its end.
    Ended,
}

impl SourceState {
    /// Every state, in the order of the enumeration.
    pub const ALL: [Self; 8] = [
        Self::Connecting,
        Self::Live,
        Self::Stalled,
        Self::Blind,
        Self::Frozen,
        Self::Covered,
        Self::Moved,
        Self::Ended,
    ];

    /// Returns the word used in events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Blind => "blind",
            Self::Frozen => "frozen",
            Self::Covered => "covered",
            Self::Moved => "moved",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for SourceState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
