//! An incident (火点) is one fire, over all sources, with a clock, a grid cell, an owner, evidence and a life cycle.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::detection::{BBox, Class};
use super::position::{Bearing, Position};
use super::report::{Evidence, ModelTag};
use super::source::{Liveness, Mount, SourceId};
use super::time::CaptureTime;
use super::track::TrackId;

mod deadline;

mod state;

mod transition;

pub use deadline::{
    Deadline, DeadlineProfile, GridLevel, Milestone, MilestoneLimit, Notice, NoticeKind, Sla,
};
pub use state::{RejectReason, ReturnReason, State, UnknownWord};
pub use transition::{Actor, ActorKind, Transition, TransitionKind};

/// Names an incident: a UUID of version 7, so that ids sort by the time they were made.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct IncidentId(Uuid);

impl IncidentId {
    /// Makes an id of a UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for IncidentId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A cell of the three-level grid (district, township, village) with who is responsible for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GridCell {
    /// District (区).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub district: Option<String>,
    /// Township (乡镇).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub township: Option<String>,
    /// Village (村).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub village: Option<String>,
    /// The cell's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    /// The grid member (网格员) responsible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The disposal team (处置队伍).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
}

/// One track that shows the fire, as its source saw it last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct View {
    /// Which source.
    pub source: SourceId,
    /// Whether its frames come as they are taken.
    pub liveness: Liveness,
    /// Whether its camera stands still.
    pub mount: Mount,
    /// Which track of that source; numbers start again when the program does.
    pub track: TrackId,
    /// What it looks like from there.
    pub class: Class,
    /// How sure, 0 to 1.
    pub score: f32,
    /// The first frame in which it is visible.
    pub first_seen: CaptureTime,
    /// The last frame in which it was seen.
    pub last_seen: CaptureTime,
    /// Where this source alone says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// In which direction this source sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearing: Option<Bearing>,
    /// Where it is in the picture, in source pixels.
    pub bbox: BBox,
    /// Width and height of the picture, in pixels.
    pub picture_size: (u32, u32),
}

impl View {
    /// Returns the share of the picture that the box covers, 0 to 1.
    #[must_use]
    pub fn picture_share(&self) -> f32 {
        let area = self.picture_size.0 as f32 * self.picture_size.1 as f32;
        if area > 0.0 {
            (self.bbox.area() / area).min(1.0)
        } else {
            0.0
        }
    }
}

/// Something that must be done at an incident and shown by evidence, as local rules ask (the "5个一").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChecklistItem {
    /// Names the item in commands.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Whether an evidence file has to be named when it is ticked.
    #[serde(default)]
    pub needs_evidence: bool,
    /// Who ticked it, if it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_by: Option<Actor>,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub done_at: Option<Timestamp>,
    /// SHA-256 of the evidence that shows it, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// One fire, over all sources, as it stands at one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four facts that do not depend on each other"
)]
pub struct Incident {
    /// Never changes.
    pub id: IncidentId,
    /// Counts the changes from 1; the `ETag` of the HTTP API.
    pub revision: u64,
    /// Where it is in its life.
    pub state: State,
    /// The first frame in which it is visible, over all sources.
    pub first_seen: CaptureTime,
    /// The last frame in which it was seen.
    pub last_seen: CaptureTime,
    /// When the program made it, in wall time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub opened_at: Timestamp,
    /// When it changed last, in wall time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub changed_at: Timestamp,
    /// Whether it came from a recording or a delayed stream: never shown as new.
    pub late: bool,
    /// Whether it belongs to a drill.
    pub drill: bool,
    /// Flame as soon as one source sees flame.
    pub class: Class,
    /// How sure, 0 to 1: the best view.
    pub confidence: f32,
    /// The tracks that show it.
    pub views: Vec<View>,
    /// The best point with its error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Where it may be: crossings of bearings of which some are ghosts, until a third view decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hypotheses: Vec<Position>,
    /// The best direction, where no point is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearing: Option<Bearing>,
    /// The grid cell of the best point, or the one it was assigned to by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<GridCell>,
    /// Whether `grid` was assigned by hand; then no position moves it.
    #[serde(default)]
    pub assigned: bool,
    /// Every cell that the error ellipse touches, where it touches more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<GridCell>,
    /// The deadlines in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla: Option<Sla>,
    /// What has to be done at the incident.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ChecklistItem>,
    /// The files that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// The model behind the newest report.
    pub model: ModelTag,
    /// Why it was rejected, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<RejectReason>,
    /// Why it was returned, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_reason: Option<ReturnReason>,
    /// When it was last put out, closed, or rejected; later reports re-open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended_at: Option<Timestamp>,
    /// How often it came back after it was over.
    #[serde(default)]
    pub reopened: u32,
    /// The incident that took it in, if it was merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<IncidentId>,
    /// The incidents it took in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<IncidentId>,
    /// The incident it was split from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_from: Option<IncidentId>,
    /// Incidents it must not be joined with: a person or one camera's picture told them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distinct_from: Vec<IncidentId>,
    /// Whether retention must leave its evidence alone.
    #[serde(default)]
    pub legal_hold: bool,
}

impl Incident {
    /// Returns whether somebody still has to do something about it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// Returns when a milestone was reached, none where it was not or no deadline speaks of it.
    #[must_use]
    pub fn reached(&self, milestone: Milestone) -> Option<Timestamp> {
        self.sla
            .as_ref()?
            .milestones
            .iter()
            .find(|deadline| deadline.milestone == milestone)?
            .done
    }
}
