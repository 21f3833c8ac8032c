//! An event is a message about an incident or a source that leaves the program.
//!
//! The envelope is `CloudEvents` 1.0 in structured JSON; the payload of an incident event is a GeoJSON Feature. Within
//! `v1` fields are only added: a consumer ignores what it does not know and finds what it knew.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::incident::State;
use super::source::{Duty, SourceId, SourceState};

mod feature;

pub use feature::{
    EvidenceLink, FeatureType, IncidentFeature, IncidentProperties, Link, PointGeometry, PointType,
    SlaStatus, SourceView, WGS84,
};

/// What an event is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum EventType {
    /// A new incident, not judged yet.
    #[serde(rename = "emberwatch.incident.suspected.v1")]
    Suspected,
    /// A person or a rule confirmed it.
    #[serde(rename = "emberwatch.incident.confirmed.v1")]
    Confirmed,
    /// More is known of it, or something about it changed that no other type says.
    #[serde(rename = "emberwatch.incident.updated.v1")]
    Updated,
    /// Handed to a team.
    #[serde(rename = "emberwatch.incident.dispatched.v1")]
    Dispatched,
    /// The team took it.
    #[serde(rename = "emberwatch.incident.accepted.v1")]
    Accepted,
    /// The team is there.
    #[serde(rename = "emberwatch.incident.on_scene.v1")]
    OnScene,
    /// The fire is out.
    #[serde(rename = "emberwatch.incident.extinguished.v1")]
    Extinguished,
    /// Checked and closed.
    #[serde(rename = "emberwatch.incident.closed.v1")]
    Closed,
    /// It was no fire, or none to act on.
    #[serde(rename = "emberwatch.incident.rejected.v1")]
    Rejected,
    /// Another incident took it in.
    #[serde(rename = "emberwatch.incident.merged.v1")]
    Merged,
    /// It came back after it was over.
    #[serde(rename = "emberwatch.incident.reopened.v1")]
    Reopened,
    /// A deadline has passed.
    #[serde(rename = "emberwatch.incident.overdue.v1")]
    Overdue,
    /// A source gives pictures again.
    #[serde(rename = "emberwatch.source.live.v1")]
    SourceLive,
    /// A source gives no pictures.
    #[serde(rename = "emberwatch.source.blind.v1")]
    SourceBlind,
    /// A source gives the same picture again and again.
    #[serde(rename = "emberwatch.source.frozen.v1")]
    SourceFrozen,
    /// A source gives pictures without structure.
    #[serde(rename = "emberwatch.source.covered.v1")]
    SourceCovered,
    /// A source does not look where its calibration says.
    #[serde(rename = "emberwatch.source.moved.v1")]
    SourceMoved,
    /// A source is watched harder, or less hard, than before.
    #[serde(rename = "emberwatch.source.duty.v1")]
    SourceDuty,
    /// A camera's clock is off by more than it may be, or is right again.
    #[serde(rename = "emberwatch.source.clock.v1")]
    SourceClock,
}

impl EventType {
    /// Every type, in the order of the enumeration.
    pub const ALL: [Self; 19] = [
        Self::Suspected,
        Self::Confirmed,
        Self::Updated,
        Self::Dispatched,
        Self::Accepted,
        Self::OnScene,
        Self::Extinguished,
        Self::Closed,
        Self::Rejected,
        Self::Merged,
        Self::Reopened,
        Self::Overdue,
        Self::SourceLive,
        Self::SourceBlind,
        Self::SourceFrozen,
        Self::SourceCovered,
        Self::SourceMoved,
        Self::SourceDuty,
        Self::SourceClock,
    ];

    /// Returns the envelope's `type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspected => "emberwatch.incident.suspected.v1",
            Self::Confirmed => "emberwatch.incident.confirmed.v1",
            Self::Updated => "emberwatch.incident.updated.v1",
            Self::Dispatched => "emberwatch.incident.dispatched.v1",
            Self::Accepted => "emberwatch.incident.accepted.v1",
            Self::OnScene => "emberwatch.incident.on_scene.v1",
            Self::Extinguished => "emberwatch.incident.extinguished.v1",
            Self::Closed => "emberwatch.incident.closed.v1",
            Self::Rejected => "emberwatch.incident.rejected.v1",
            Self::Merged => "emberwatch.incident.merged.v1",
            Self::Reopened => "emberwatch.incident.reopened.v1",
            Self::Overdue => "emberwatch.incident.overdue.v1",
            Self::SourceLive => "emberwatch.source.live.v1",
            Self::SourceBlind => "emberwatch.source.blind.v1",
            Self::SourceFrozen => "emberwatch.source.frozen.v1",
            Self::SourceCovered => "emberwatch.source.covered.v1",
            Self::SourceMoved => "emberwatch.source.moved.v1",
            Self::SourceDuty => "emberwatch.source.duty.v1",
            Self::SourceClock => "emberwatch.source.clock.v1",
        }
    }

    /// Returns whether it is about an incident (and not about a source).
    #[must_use]
    pub const fn is_incident(self) -> bool {
        !matches!(
            self,
            Self::SourceLive
                | Self::SourceBlind
                | Self::SourceFrozen
                | Self::SourceCovered
                | Self::SourceMoved
                | Self::SourceDuty
                | Self::SourceClock
        )
    }

    /// Returns the type that says that an incident has reached `state`.
    #[must_use]
    pub const fn of_state(state: State) -> Self {
        match state {
            State::Suspected => Self::Suspected,
            State::Confirmed => Self::Confirmed,
            State::Dispatched => Self::Dispatched,
            State::Accepted => Self::Accepted,
            State::OnScene => Self::OnScene,
            State::Extinguished => Self::Extinguished,
            State::Closed => Self::Closed,
            State::Rejected => Self::Rejected,
            State::Merged => Self::Merged,
            // A returned incident is on nobody's list of types: its state says it.
            State::Returned => Self::Updated,
        }
    }

    /// Returns the type that says that a source has reached `state`, none where that is nobody's concern outside.
    #[must_use]
    pub const fn of_source(state: SourceState) -> Option<Self> {
        match state {
            SourceState::Live => Some(Self::SourceLive),
            SourceState::Blind => Some(Self::SourceBlind),
            SourceState::Frozen => Some(Self::SourceFrozen),
            SourceState::Covered => Some(Self::SourceCovered),
            SourceState::Moved => Some(Self::SourceMoved),
            SourceState::Connecting | SourceState::Stalled | SourceState::Ended => None,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The version of `CloudEvents` that the envelope follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum SpecVersion {
    /// 1.0
    #[default]
    #[serde(rename = "1.0")]
    V1,
}

/// The media type of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ContentType {
    /// A GeoJSON Feature.
    #[serde(rename = "application/geo+json")]
    GeoJson,
    /// Plain JSON.
    #[serde(rename = "application/json")]
    Json,
}

/// What a source event says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SourceStatus {
    /// Which source.
    pub source: SourceId,
    /// What is known of its picture.
    pub state: SourceState,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// What a person can read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How hard it is watched from now on, in the event that says that this has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duty: Option<Duty>,
    /// Seconds to add to the camera's time to get ours, in the event that says that its clock is wrong, or right again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_s: Option<f64>,
}

/// The payload of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum EventPayload {
    /// An incident as a GeoJSON Feature.
    Incident(Box<IncidentFeature>),
    /// The state of a source.
    Source(SourceStatus),
}

/// A message in its `CloudEvents` 1.0 envelope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    /// 1.0
    pub specversion: SpecVersion,
    /// Never changes over retries: the receiver drops what it knows.
    pub id: Uuid,
    /// Which installation says so, a URI reference.
    pub source: String,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The incident's or source's id.
    pub subject: String,
    /// When it happened.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// The media type of `data`.
    pub datacontenttype: ContentType,
    /// Names the schema of `data`.
    pub dataschema: String,
    /// The payload.
    pub data: EventPayload,
}

impl Event {
    /// Returns the incident, if the event is about one.
    #[must_use]
    pub fn incident(&self) -> Option<&IncidentFeature> {
        match &self.data {
            EventPayload::Incident(feature) => Some(feature),
            EventPayload::Source(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_written_as_its_name() {
        for kind in EventType::ALL {
            assert_eq!(
                serde_json::to_value(kind).expect("a type is a string"),
                kind.name()
            );
        }
    }
}
