//! Lines of JSON: `detections.jsonl` has one for each frame with detections, `tracks.jsonl` one for each track.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::summary::rounded;
use crate::flow::detection::{BBox, Class, Detection};
use crate::flow::source::SourceId;
use crate::flow::track::{Decision, JudgedFrame, Reason, Track, TrackId, TrackPhase, Verdict};

/// A frame in which the model found something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameRecord {
    /// The recording or camera.
    pub source: String,
    /// Number of the frame in its source, from 0.
    pub frame: u64,
    /// When it stands in its stream, in seconds.
    pub pts_s: f64,
    /// When it was taken, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_at: Option<String>,
    /// What was found, best first.
    pub detections: Vec<DetectionRecord>,
}

/// One box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectionRecord {
    /// What it looks like.
    pub class: Class,
    /// The model's confidence.
    pub score: f64,
    /// Left, top, right and bottom edge in source pixels.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// The track it was joined to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<TrackId>,
}

fn edges(bbox: &BBox) -> [f64; 4] {
    [bbox.x0, bbox.y0, bbox.x1, bbox.y1].map(|edge| rounded(f64::from(edge), 1))
}

impl FrameRecord {
    /// Makes the record of a frame; `None` when nothing was found in it.
    #[must_use]
    pub fn of(frame: &JudgedFrame) -> Option<Self> {
        if frame.detections.is_empty() {
            return None;
        }
        let record = |(detection, track): &(Detection, Option<TrackId>)| DetectionRecord {
            class: detection.class,
            score: rounded(f64::from(detection.score), 4),
            bbox: edges(&detection.bbox),
            track: *track,
        };
        Some(Self {
            source: frame.meta.source.as_str().to_owned(),
            frame: frame.meta.sequence,
            pts_s: rounded(frame.meta.pts.as_secs_f64(), 6),
            captured_at: frame.meta.captured.map(|captured| captured.at.to_string()),
            detections: frame.detections.iter().map(record).collect(),
        })
    }
}

/// What a track came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackRecord {
    /// The recording or camera.
    pub source: String,
    /// Its number within the source.
    pub track: TrackId,
    /// What it looks like.
    pub class: Class,
    /// When it was first seen, in seconds.
    pub first_s: f64,
    /// When it was last seen, in seconds.
    pub last_s: f64,
    /// How often it was seen.
    pub sightings: u32,
    /// Fire or not.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The mean score over the verdict's window.
    pub score: f64,
    /// When it was called fire, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_s: Option<f64>,
    /// The box when it was last seen: left, top, right and bottom edge in source pixels.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
}

/// Follows tracks to their end.
#[derive(Debug, Default)]
pub struct TrackBook {
    open: BTreeMap<TrackId, TrackRecord>,
}

impl TrackBook {
    /// Takes in a frame and returns the records of the tracks that ended in it.
    pub fn add(&mut self, frame: &JudgedFrame) -> Vec<TrackRecord> {
        let mut ended = Vec::new();
        for (track, verdict) in &frame.tracks {
            let alert_s = self
                .open
                .get(&track.id)
                .and_then(|record| record.alert_s)
                .or_else(|| {
                    (verdict.decision == Decision::Fire).then(|| rounded(frame.meta.pts.as_secs_f64(), 3))
                });
            let record = record(&frame.meta.source, track, verdict, alert_s);
            if track.phase == TrackPhase::Ended {
                self.open.remove(&track.id);
                ended.push(record);
            } else {
                self.open.insert(track.id, record);
            }
        }
        ended
    }

    /// Returns the records of the tracks that were alive when the recording ended.
    pub fn close(&mut self) -> Vec<TrackRecord> {
        std::mem::take(&mut self.open).into_values().collect()
    }
}

fn record(source: &SourceId, track: &Track, verdict: &Verdict, alert_s: Option<f64>) -> TrackRecord {
    TrackRecord {
        source: source.as_str().to_owned(),
        track: track.id,
        class: track.class,
        first_s: rounded(track.first_pts.as_secs_f64(), 3),
        last_s: rounded(track.last_pts.as_secs_f64(), 3),
        sightings: track.sightings,
        decision: verdict.decision,
        reason: verdict.reason.clone(),
        score: rounded(f64::from(verdict.score), 4),
        alert_s,
        bbox: edges(&track.bbox),
    }
}
