//! `looks.jsonl`: what the verify stage was shown of each frame, so that it can judge again under other rules.
//!
//! The file has one line for each frame with tracks, after tracking and before verification, without pixels. Judging
//! it again gives the verdicts that other thresholds would have given, but for one thing: refused tracks let a source
//! fall back to a lighter duty level, and the frames are those of the levels that were in force.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dataset::Problem;
use crate::flow::detection::{BBox, Class};
use crate::flow::source::{Duty, Mount};
use crate::flow::time::MediaTime;
use crate::flow::track::{Decision, JudgedFrame, Sighting, Track, TrackId, TrackPhase};
use crate::stages::verify::Verifier;
use crate::stages::verify::rules::VerifySettings;

/// The file's name in the output folder of an analysis.
pub const FILE: &str = "looks.jsonl";

/// The tracks of one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameLook {
    /// The recording.
    pub source: String,
    /// Whether its camera was said to stand still.
    pub mount: Mount,
    /// Media time in nanoseconds.
    pub pts_ns: MediaTime,
    /// The duty level in force.
    pub duty: Duty,
    /// Width and height of the picture in pixels.
    pub size: (u32, u32),
    /// How the picture moved since the frame before, in pixels right and down.
    pub motion: (f32, f32),
    /// Every track that lives or ended in the frame.
    pub tracks: Vec<TrackLook>,
}

/// One track in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackLook {
    /// Its number within the recording.
    pub track: TrackId,
    /// What it looks like.
    pub class: Class,
    /// Where it is in its life.
    pub phase: TrackPhase,
    /// When it was first and last seen, in nanoseconds of media time.
    pub seen_ns: (MediaTime, MediaTime),
    /// How often it was seen.
    pub sightings: u32,
    /// The score and the box of this frame, where it was seen in it.
    pub seen: Option<(f32, BBox)>,
    /// The filtered box.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// By how many grey levels its inside changes more than the rest of the picture.
    pub activity: f32,
}

impl FrameLook {
    /// Makes the line of a frame; nothing where it has no tracks.
    #[must_use]
    pub fn of(frame: &JudgedFrame, mount: Mount) -> Option<Self> {
        if frame.tracks.is_empty() {
            return None;
        }
        let look = |track: &Track| TrackLook {
            track: track.id,
            class: track.class,
            phase: track.phase,
            seen_ns: (track.first_pts, track.last_pts),
            sightings: track.sightings,
            seen: track.seen.map(|seen| (seen.score, seen.bbox)),
            bbox: track.bbox,
            activity: track.activity,
        };
        Some(Self {
            source: frame.meta.source.as_str().to_owned(),
            mount,
            pts_ns: frame.meta.pts,
            duty: frame.meta.duty,
            size: (frame.picture.width, frame.picture.height),
            motion: frame.motion,
            tracks: frame.tracks.iter().map(|(track, _)| look(track)).collect(),
        })
    }

    fn tracks(&self) -> Vec<Track> {
        self.tracks
            .iter()
            .map(|look| Track {
                id: look.track,
                class: look.class,
                phase: look.phase,
                first_pts: look.seen_ns.0,
                last_pts: look.seen_ns.1,
                sightings: look.sightings,
                seen: look.seen.map(|(score, bbox)| Sighting {
                    pts: self.pts_ns,
                    score,
                    bbox,
                }),
                bbox: look.bbox,
                activity: look.activity,
            })
            .collect()
    }
}

/// A track that was called fire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alert {
    /// Which track of the recording.
    pub track: TrackId,
    /// What it looks like.
    pub class: Class,
    /// When, in seconds of media time.
    pub at_s: f64,
    /// Where, in source pixels.
    pub bbox: BBox,
}

/// Reads a file of looks: the frames of each recording, in order.
pub fn read(path: &Path) -> Result<BTreeMap<String, Vec<FrameLook>>, Problem> {
    let file = std::fs::File::open(path).map_err(|error| {
        Problem::new(
            path.display(),
            format!("cannot be read: {error}; `emberwatch analyze --looks` writes it"),
        )
    })?;
    let mut recordings: BTreeMap<String, Vec<FrameLook>> = BTreeMap::new();
    for (index, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line =
            line.map_err(|error| Problem::at_line(path, index + 1, format!("cannot be read: {error}")))?;
        let look: FrameLook = serde_json::from_str(&line).map_err(|error| {
            Problem::at_line(
                path,
                index + 1,
                format!("expected the tracks of a frame: {error}"),
            )
        })?;
        recordings.entry(look.source.clone()).or_default().push(look);
    }
    Ok(recordings)
}

/// Judges the frames of one recording by these rules and returns every track that is called fire, when it first is.
#[must_use]
pub fn alerts(frames: &[FrameLook], settings: VerifySettings) -> Vec<Alert> {
    let Some(first) = frames.first() else {
        return Vec::new();
    };
    let mut verifier = Verifier::new(settings, first.mount, Vec::new());
    let mut alerts: Vec<Alert> = Vec::new();
    for frame in frames {
        let judged =
            verifier.judge_tracks(frame.tracks(), frame.pts_ns, frame.duty, frame.size, frame.motion);
        for (track, verdict) in judged {
            if verdict.decision == Decision::Fire && !alerts.iter().any(|alert| alert.track == track.id) {
                alerts.push(Alert {
                    track: track.id,
                    class: track.class,
                    at_s: frame.pts_ns.as_secs_f64(),
                    bbox: track.bbox,
                });
            }
        }
    }
    alerts
}
