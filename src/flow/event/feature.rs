//! The payload of an incident event: a GeoJSON Feature (RFC 7946).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::detection::Class;
use crate::flow::incident::{
    ChecklistItem, Deadline, GridCell, IncidentId, Notice, RejectReason, ReturnReason, State, Transition,
};
use crate::flow::pose::{HeightDatum, Wgs84};
use crate::flow::position::{Bearing, Ellipse, Method, Position};
use crate::flow::report::{EvidenceKind, ModelTag};
use crate::flow::source::{Liveness, Mount, SourceId};
use crate::flow::time::CaptureTime;

/// The reference system of every coordinate in an event.
pub const WGS84: &str = "EPSG:4326";

/// Says that a JSON object is a GeoJSON Feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum FeatureType {
    /// A feature.
    #[default]
    Feature,
}

/// Says that a JSON object is a GeoJSON Point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum PointType {
    /// A point.
    #[default]
    Point,
}

/// A GeoJSON point: longitude, then latitude, in degrees WGS 84.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PointGeometry {
    /// Always `Point`.
    #[serde(rename = "type")]
    pub kind: PointType,
    /// Longitude and latitude.
    pub coordinates: [f64; 2],
}

impl From<Wgs84> for PointGeometry {
    fn from(point: Wgs84) -> Self {
        Self {
            kind: PointType::Point,
            coordinates: [point.lon, point.lat],
        }
    }
}

/// One source that sees the fire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SourceView {
    /// Which source.
    pub id: SourceId,
    /// Whether its camera stands still.
    pub mount: Mount,
    /// Whether it is a stream or a recording.
    pub liveness: Liveness,
    /// What it looks like from there.
    pub class: Class,
    /// How sure, 0 to 1.
    pub confidence: f32,
    /// In which direction it sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearing: Option<Bearing>,
}

/// The deadlines in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SlaStatus {
    /// The name of the profile.
    pub profile: String,
    /// From when the limits count.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub starts: Timestamp,
    /// Each with due and done.
    pub milestones: Vec<Deadline>,
}

/// A file that shows the fire, by link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EvidenceLink {
    /// What it is.
    pub kind: EvidenceKind,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Where the HTTP API serves it, to those who may see it.
    pub uri: String,
    /// When the picture was taken, or when the clip begins.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub captured_at: Timestamp,
    /// Size in bytes.
    pub bytes: u64,
    /// File name inside the evidence folder.
    pub name: String,
}

/// A link with its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Link {
    /// What it leads to: `self`, `history`; where the point is known, it in a map for navigation: `amap`, `baidu` and
    /// `tianditu`, each in the coordinates that it expects, and `geo` (RFC 5870).
    pub rel: String,
    /// Where.
    pub href: String,
}

/// What an incident event says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct IncidentProperties {
    /// Which incident.
    pub incident: IncidentId,
    /// Counts its changes from 1; an event with a lower one is old news.
    pub revision: u64,
    /// Where it is in its life.
    pub state: State,
    /// The first frame in which it is visible, with the clock that says so.
    pub first_seen: CaptureTime,
    /// The last frame in which it was seen.
    pub last_seen: CaptureTime,
    /// Whether it came late (a recording, a delayed stream) and is not news.
    pub late: bool,
    /// Whether it belongs to a drill.
    #[serde(default)]
    pub drill: bool,
    /// What burns.
    pub class: Class,
    /// How sure, 0 to 1.
    pub confidence: f32,
    /// Who sees it.
    pub sources: Vec<SourceView>,
    /// The best direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearing: Option<Bearing>,
    /// The reference system of all coordinates: `EPSG:4326`.
    pub crs: String,
    /// Height of the point, in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height_m: Option<f64>,
    /// What the height is measured from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height_datum: Option<HeightDatum>,
    /// Radius of the circle that holds the truth with 90 %, in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ce90_m: Option<f64>,
    /// The error ellipse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ellipse: Option<Ellipse>,
    /// Where it may be while there is no point: crossings of bearings of which some are ghosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hypotheses: Vec<Position>,
    /// How the point was found; `bearing_only` where there is none.
    pub method: Method,
    /// The grid cell and who is responsible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<GridCell>,
    /// Every cell that the ellipse touches, where it touches more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<GridCell>,
    /// The deadlines in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla: Option<SlaStatus>,
    /// What has to be done at the incident.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<ChecklistItem>,
    /// What shows it.
    pub evidence: Vec<EvidenceLink>,
    /// The model behind the newest report.
    pub model: ModelTag,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<RejectReason>,
    /// Why it was returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_reason: Option<ReturnReason>,
    /// The incident that took it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<IncidentId>,
    /// The incidents it took in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<IncidentId>,
    /// The incident it was split from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_from: Option<IncidentId>,
    /// What was done, by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// A word about a deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// Where more is to be found.
    pub links: Vec<Link>,
}

/// An incident as a GeoJSON Feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct IncidentFeature {
    /// Always `Feature`.
    #[serde(rename = "type")]
    pub kind: FeatureType,
    /// The incident's id.
    pub id: IncidentId,
    /// The best point; null when only a direction, or nothing, is known.
    pub geometry: Option<PointGeometry>,
    /// What is known.
    pub properties: IncidentProperties,
}
