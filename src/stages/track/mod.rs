//! Joins detections in time, per source.
//!
//! Two-stage association as in `ByteTrack` (Zhang et al., 2022): sure detections first, then weak ones may only
//! prolong what is already there. A plume's box breathes, so boxes are compared by overlap after widening, and a
//! Kalman filter in media time carries a track over frames in which it is not seen. For moving cameras the picture's
//! own motion is taken out first.

mod kalman;

pub mod motion;

use std::time::Duration;

use self::kalman::BoxFilter;
use self::motion::{LumaGrid, Motion};
use crate::flow::detection::{BBox, Class, DetectedFrame, Detection};
use crate::flow::source::Mount;
use crate::flow::time::MediaTime;
use crate::flow::track::{Sighting, Track, TrackId, TrackPhase, TrackedFrame};
use crate::pipeline::stage::{Emit, Stage, StageError};

/// How tracks begin, go on and end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackSettings {
    /// A detection at or above this score may begin a track.
    pub start_score: f32,
    /// A detection at or above this score may prolong one.
    pub keep_score: f32,
    /// A track is reported as established after so many sightings.
    pub establish_after: u32,
    /// A track ends when it was missed so often in a row …
    pub end_after_missed: u32,
    /// … and not seen for so long.
    pub end_after: Duration,
}

impl Default for TrackSettings {
    fn default() -> Self {
        Self {
            start_score: 0.2,
            keep_score: 0.1,
            establish_after: 3,
            end_after_missed: 4,
            end_after: Duration::from_secs(2),
        }
    }
}

/// The smallest widened overlap that joins a detection to a track.
const LEAST_AFFINITY: f32 = 0.1;
/// A filter is not carried further than this at once, in seconds: after a longer gap it is a guess.
const LONGEST_STEP_S: f64 = 5.0;
/// Boxes are widened by this share of their size each way before they are compared.
const WIDEN: f32 = 0.3;

/// A track with what the tracker needs to carry it on.
#[derive(Debug)]
struct Candidate {
    id: TrackId,
    class: Class,
    filter: BoxFilter,
    first_pts: MediaTime,
    last_pts: MediaTime,
    sightings: u32,
    missed: u32,
    seen: Option<(Sighting, usize)>,
    activity: f32,
}

/// Joins the detections of one source.
pub struct Tracker {
    settings: TrackSettings,
    mount: Mount,
    candidates: Vec<Candidate>,
    next_id: TrackId,
    before: Option<LumaGrid>,
    previous_pts: Option<MediaTime>,
}

impl Tracker {
    /// Makes a tracker for a source whose camera stands or moves as `mount` says.
    #[must_use]
    pub fn new(settings: TrackSettings, mount: Mount) -> Self {
        Self {
            settings,
            mount,
            candidates: Vec::new(),
            next_id: 1,
            before: None,
            previous_pts: None,
        }
    }

    /// Joins the detections of the next frame to the tracks and returns every track that lives or ended in it.
    pub fn track(&mut self, frame: DetectedFrame) -> TrackedFrame {
        let pts = frame.meta.pts;
        let (motion, before) = self.look(&frame);
        self.associate(pts, &frame.detections);
        let now = self.before.as_ref();
        for candidate in &mut self.candidates {
            if let (Some(now), Some(before), Some((seen, _))) = (now, &before, &candidate.seen) {
                let activity = now.activity_since(before, &seen.bbox);
                candidate.activity += 0.3 * (activity - candidate.activity);
            }
        }
        let mut joined = vec![None; frame.detections.len()];
        let mut tracks = Vec::with_capacity(self.candidates.len());
        for candidate in &self.candidates {
            if let Some(slot) = candidate.seen.and_then(|(_, index)| joined.get_mut(index)) {
                *slot = Some(candidate.id);
            }
            tracks.push(self.report(candidate, pts));
        }
        self.candidates
            .retain(|candidate| !has_ended(&self.settings, candidate, pts));
        let detections = frame.detections.into_iter().zip(joined).collect();
        TrackedFrame {
            meta: frame.meta,
            picture: frame.picture,
            detections,
            tracks,
            model: frame.model,
            motion: (motion.dx, motion.dy),
        }
    }

    /// Compares the picture with the one before and takes the camera's motion out of the tracks.
    ///
    /// Nothing is computed while nothing is suspected: most frames of most cameras show no fire.
    fn look(&mut self, frame: &DetectedFrame) -> (Motion, Option<LumaGrid>) {
        if self.candidates.is_empty() && frame.detections.is_empty() {
            self.before = None;
            return (Motion::default(), None);
        }
        let before = self.before.replace(LumaGrid::of(&frame.picture));
        let mut motion = Motion::default();
        if self.mount == Mount::Moving
            && let (Some(now), Some(before)) = (&self.before, &before)
        {
            motion = now.motion_since(before);
            for candidate in &mut self.candidates {
                candidate.filter.shift(f64::from(motion.dx), f64::from(motion.dy));
            }
        }
        (motion, before)
    }

    fn associate(&mut self, pts: MediaTime, detections: &[Detection]) {
        let dt_s = self
            .previous_pts
            .replace(pts)
            .map_or(0.0, |before| pts.since(before).as_secs_f64());
        for candidate in &mut self.candidates {
            candidate.filter.predict(dt_s.min(LONGEST_STEP_S));
            candidate.seen = None;
        }
        let mut free: Vec<usize> = (0..detections.len()).collect();
        let is_sure = |detection: &Detection| detection.score >= self.settings.start_score;
        let is_weak = |detection: &Detection| {
            detection.score < self.settings.start_score && detection.score >= self.settings.keep_score
        };
        join(&mut self.candidates, detections, &mut free, pts, is_sure);
        join(&mut self.candidates, detections, &mut free, pts, is_weak);
        for candidate in &mut self.candidates {
            if candidate.seen.is_none() {
                candidate.missed += 1;
                candidate.filter.rest();
            }
        }
        for index in free {
            let Some(detection) = detections.get(index).filter(|detection| is_sure(detection)) else {
                continue;
            };
            let sighting = Sighting {
                pts,
                score: detection.score,
                bbox: detection.bbox,
            };
            self.candidates.push(Candidate {
                id: self.next_id,
                class: detection.class,
                filter: BoxFilter::new(&detection.bbox),
                first_pts: pts,
                last_pts: pts,
                sightings: 1,
                missed: 0,
                seen: Some((sighting, index)),
                activity: 0.0,
            });
            self.next_id += 1;
        }
    }

    fn report(&self, candidate: &Candidate, pts: MediaTime) -> Track {
        let phase = if has_ended(&self.settings, candidate, pts) {
            TrackPhase::Ended
        } else if candidate.sightings >= self.settings.establish_after {
            TrackPhase::Established
        } else {
            TrackPhase::Tentative
        };
        Track {
            id: candidate.id,
            class: candidate.class,
            phase,
            first_pts: candidate.first_pts,
            last_pts: candidate.last_pts,
            sightings: candidate.sightings,
            seen: candidate.seen.map(|(seen, _)| seen),
            bbox: candidate.filter.bbox(),
            activity: candidate.activity,
        }
    }
}

fn has_ended(settings: &TrackSettings, candidate: &Candidate, pts: MediaTime) -> bool {
    candidate.missed >= settings.end_after_missed && pts.since(candidate.last_pts) >= settings.end_after
}

/// Joins the detections that `may` be joined to the tracks not yet seen in this frame, best pair first.
fn join(
    candidates: &mut [Candidate],
    detections: &[Detection],
    free: &mut Vec<usize>,
    pts: MediaTime,
    may: impl Fn(&Detection) -> bool,
) {
    let mut pairs = Vec::new();
    for (track, candidate) in candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.seen.is_none())
    {
        let predicted = candidate.filter.bbox();
        for index in free.iter().copied() {
            let Some(detection) = detections.get(index) else {
                continue;
            };
            if detection.class != candidate.class || !may(detection) {
                continue;
            }
            let affinity = affinity(&predicted, &detection.bbox);
            if affinity >= LEAST_AFFINITY {
                pairs.push((affinity, track, index));
            }
        }
    }
    // Ties are broken by age of the track and rank of the detection, so that the same input gives the same tracks.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    for (_, track, index) in pairs {
        let (Some(candidate), Some(place)) =
            (candidates.get_mut(track), free.iter().position(|it| *it == index))
        else {
            continue;
        };
        let (None, Some(detection)) = (&candidate.seen, detections.get(index)) else {
            continue;
        };
        free.swap_remove(place);
        candidate.filter.update(&detection.bbox);
        candidate.seen = Some((
            Sighting {
                pts,
                score: detection.score,
                bbox: detection.bbox,
            },
            index,
        ));
        candidate.last_pts = pts;
        candidate.sightings += 1;
        candidate.missed = 0;
    }
    free.sort_unstable();
}

/// Returns the overlap of two boxes after widening both, 0 to 1.
fn affinity(a: &BBox, b: &BBox) -> f32 {
    let widened = |bbox: &BBox| {
        let (dx, dy) = (bbox.width() * WIDEN, bbox.height() * WIDEN);
        BBox::new(bbox.x0 - dx, bbox.y0 - dy, bbox.x1 + dx, bbox.y1 + dy)
    };
    widened(a).iou(&widened(b))
}

impl Stage for Tracker {
    type In = DetectedFrame;
    type Out = TrackedFrame;

    fn process(&mut self, frame: DetectedFrame, emit: &mut Emit<'_, TrackedFrame>) -> Result<(), StageError> {
        emit.send(self.track(frame));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
