//! A report is what one source's stages hand to the incident stage: a judged track with its place.

use serde::{Deserialize, Serialize};

use super::detection::{BBox, Class};
use super::position::Place;
use super::source::{Liveness, Mount, SourceId};
use super::time::{CaptureTime, MediaTime};
use super::track::{Decision, Reason, TrackId};

/// Names the model behind a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ModelTag {
    /// The model's name, as in its manifest.
    pub name: String,
    /// The model's version, as in its manifest.
    pub version: String,
    /// SHA-256 of the weights, in hexadecimal.
    pub sha256: String,
}

/// What kind of evidence a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// A picture with its boxes, at source size.
    Snapshot,
    /// A small picture of the fire alone.
    Thumbnail,
    /// The packets around the alarm, without transcoding.
    Clip,
    /// The picture as it was, with nothing drawn in: for training. It stays in the house.
    Frame,
}

/// A file that shows the fire. The file lies in the evidence folder under `name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Evidence {
    /// What it is.
    pub kind: EvidenceKind,
    /// File name inside the evidence folder, without any folder.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
    /// When the picture was taken, or when the clip begins.
    pub captured: CaptureTime,
}

/// A judged track with its place, as one source sees it at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackReport {
    /// Which source.
    pub source: SourceId,
    /// Whether its frames come as they are taken.
    pub liveness: Liveness,
    /// Whether its camera stands still.
    pub mount: Mount,
    /// Which track of that source.
    pub track: TrackId,
    /// What it looks like.
    pub class: Class,
    /// The mean score over the verdict's window, 0 to 1.
    pub score: f32,
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The first frame in which it is visible.
    pub first_seen: CaptureTime,
    /// The last frame in which it was seen.
    pub last_seen: CaptureTime,
    /// Media time of the last frame in which it was seen.
    pub last_pts: MediaTime,
    /// Where it is on the ground.
    pub place: Place,
    /// Where it is in the picture.
    pub bbox: BBox,
    /// Width and height of the picture.
    pub picture_size: (u32, u32),
    /// What shows it; new files since the last report of this track.
    pub evidence: Vec<Evidence>,
    /// Which model said so.
    pub model: ModelTag,
}

/// Returns the media type of a piece of evidence, by the ending of its name.
#[must_use]
pub fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("mp4") => "video/mp4",
        Some("mkv") => "video/x-matroska",
        Some("ts") => "video/mp2t",
        _ => "application/octet-stream",
    }
}
