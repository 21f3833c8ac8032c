//! A track is detections joined in time; a verdict says whether it is fire, and why.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::detection::{BBox, Class, Detection};
use super::frame::{FrameMeta, Picture};
use super::report::ModelTag;
use super::time::MediaTime;

/// Numbers a track within its source; never used twice in one run.
pub type TrackId = u64;

/// Where a track is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackPhase {
    /// Seen too few times to be reported.
    Tentative,
    /// Joined over several frames.
    Established,
    /// Not seen for longer than the tracker waits: this is its last report.
    Ended,
}

/// One look at a track: a detection that was joined to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// When.
    pub pts: MediaTime,
    /// How sure the model was.
    pub score: f32,
    /// Where, in source pixels.
    pub bbox: BBox,
}

/// A track as it stands after one frame.
#[derive(Clone, Debug)]
pub struct Track {
    /// Which track.
    pub id: TrackId,
    /// What it looks like, by the weight of its sightings.
    pub class: Class,
    /// Where it is in its life.
    pub phase: TrackPhase,
    /// When it was first seen.
    pub first_pts: MediaTime,
    /// When it was last seen (not merely predicted).
    pub last_pts: MediaTime,
    /// How often it was seen.
    pub sightings: u32,
    /// The detection of this frame, if it was seen in it.
    pub seen: Option<Sighting>,
    /// The filtered box.
    pub bbox: BBox,
    /// By how many grey levels a frame its inside changes more than the rest of the picture, averaged over sightings.
    pub activity: f32,
}

/// The tracks of one frame.
#[derive(Clone, Debug)]
pub struct TrackedFrame {
    /// Which frame.
    pub meta: FrameMeta,
    /// The picture, kept while evidence may be cut from it.
    pub picture: Picture,
    /// What the model found, each with the track it was joined to.
    pub detections: Vec<(Detection, Option<TrackId>)>,
    /// Every track that lives or ended in this frame.
    pub tracks: Vec<Track>,
    /// Which model looked.
    pub model: Arc<ModelTag>,
    /// How the picture moved since the frame before, in source pixels right and down; measured for moving cameras.
    pub motion: (f32, f32),
}

/// What the verify stage thinks of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Not enough seen yet.
    Undecided,
    /// It burns.
    Fire,
    /// It does not burn, for the reason given.
    Refused,
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "rule")]
pub enum Reason {
    /// Seen in `seen` of `frames` frames over `seconds` s.
    Persistent {
        /// Frames in which it was seen.
        seen: u32,
        /// Frames that were looked at.
        frames: u32,
        /// Over how long.
        seconds: f64,
    },
    /// Seen for too short a time so far.
    TooShort {
        /// Over how long it was seen.
        seconds: f64,
        /// How long it must be seen.
        needed_s: f64,
    },
    /// Seen in too small a share of the frames.
    TooRare {
        /// The share, 0 to 1.
        share: f64,
        /// The least share.
        needed: f64,
    },
    /// Never as sure as the threshold asks.
    TooWeak {
        /// The best mean score over the window.
        score: f64,
        /// The threshold; less for smoke that is seen steadily.
        needed: f64,
    },
    /// Neither grows nor flickers nor drifts: a lamp, a roof, a chimney's glow.
    Lifeless {
        /// Relative spread of area and place.
        liveliness: f64,
        /// The least.
        needed: f64,
    },
    /// Moves through the picture as a vehicle does.
    Travels {
        /// Box widths a second.
        speed: f64,
        /// The most.
        allowed: f64,
    },
    /// Lies inside a mask.
    Masked {
        /// The mask's name.
        mask: String,
    },
    /// Lies at a known source.
    KnownSource {
        /// The source's name.
        name: String,
    },
    /// The track ended before it could be judged.
    Ended,
}

/// A decision about a track, with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// How sure, 0 to 1: the mean score over the window.
    pub score: f32,
}

/// The tracks of one frame, each with its verdict.
#[derive(Clone, Debug)]
pub struct JudgedFrame {
    /// Which frame.
    pub meta: FrameMeta,
    /// The picture, kept while evidence may be cut from it.
    pub picture: Picture,
    /// What the model found, each with the track it was joined to.
    pub detections: Vec<(Detection, Option<TrackId>)>,
    /// Every track that lives or ended in this frame.
    pub tracks: Vec<(Track, Verdict)>,
    /// Which model looked.
    pub model: Arc<ModelTag>,
    /// How the picture moved since the frame before, in source pixels right and down; measured for moving cameras.
    pub motion: (f32, f32),
}
