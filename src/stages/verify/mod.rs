//! Judges tracks: is it fire, and why.
//!
//! Every verdict has a reason that can be asked for. A fire stays one until its track ends: the operator was told.
//! What a fixed camera sees must live (flicker, grow, drift); what a moving camera sees must persist while it moves.

pub mod mask;

pub mod rules;

pub mod duty;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use self::mask::Mask;
use self::rules::{History, Look, VerifySettings};
use crate::flow::source::{Duty, Mount};
use crate::flow::time::MediaTime;
use crate::flow::track::{Decision, JudgedFrame, Reason, Track, TrackId, TrackPhase, TrackedFrame, Verdict};
use crate::pipeline::stage::{Emit, Stage, StageError};
use crate::telemetry::fixed::PresetCamera;

/// Judges the tracks of one source.
pub struct Verifier {
    settings: VerifySettings,
    mount: Mount,
    masks: Vec<Mask>,
    camera: Option<Arc<PresetCamera>>,
    histories: BTreeMap<TrackId, (History, Verdict)>,
}

impl Verifier {
    /// Makes a verifier for a source whose camera stands or moves as `mount` says.
    #[must_use]
    pub fn new(settings: VerifySettings, mount: Mount, masks: Vec<Mask>) -> Self {
        Self {
            settings,
            mount,
            masks,
            camera: None,
            histories: BTreeMap::new(),
        }
    }

    /// Says at which preset a camera that turns stands: masks of one preset hold there alone.
    #[must_use]
    pub fn turned_by(mut self, camera: Option<Arc<PresetCamera>>) -> Self {
        self.camera = camera;
        self
    }

    /// Judges every track of a frame.
    pub fn judge(&mut self, frame: TrackedFrame) -> JudgedFrame {
        let size = (frame.picture.width, frame.picture.height);
        let tracks = self.judge_tracks(frame.tracks, frame.meta.pts, frame.meta.duty, size, frame.motion);
        JudgedFrame {
            meta: frame.meta,
            picture: frame.picture,
            detections: frame.detections,
            tracks,
            model: frame.model,
            motion: frame.motion,
        }
    }

    /// Judges the tracks of a frame taken at `pts`, of `size` pixels, that moved by `motion` since the one before: the
    /// verdict needs no pixels.
    pub fn judge_tracks(
        &mut self,
        tracks: Vec<Track>,
        pts: MediaTime,
        duty: Duty,
        size: (u32, u32),
        motion: (f32, f32),
    ) -> Vec<(Track, Verdict)> {
        let size = (size.0 as f32, size.1 as f32);
        let mut judged = Vec::with_capacity(tracks.len());
        let camera = self.camera.clone();
        let preset = camera.as_ref().and_then(|camera| camera.preset());
        for track in tracks {
            let mask = self
                .masks
                .iter()
                .find(|mask| mask.holds_at(preset) && mask.holds(&track.bbox, size))
                .map(Mask::reason);
            let verdict = self.verdict(&track, pts, duty, mask, motion);
            if track.phase == TrackPhase::Ended {
                self.histories.remove(&track.id);
            }
            judged.push((track, verdict));
        }
        judged
    }

    fn verdict(
        &mut self,
        track: &Track,
        pts: MediaTime,
        duty: Duty,
        mask: Option<Reason>,
        motion: (f32, f32),
    ) -> Verdict {
        let (history, before) = self.histories.entry(track.id).or_insert_with(|| {
            let nothing = Verdict {
                decision: Decision::Undecided,
                reason: Reason::TooShort {
                    seconds: 0.0,
                    needed_s: self.settings.least_seconds,
                },
                score: 0.0,
            };
            (
                History {
                    looks: VecDeque::new(),
                    motion: (0.0, 0.0),
                },
                nothing,
            )
        });
        history.add(
            Look {
                pts,
                seen: track.seen,
                activity: track.activity,
                motion: (0.0, 0.0),
            },
            motion,
            self.settings.window_s,
        );
        if before.decision == Decision::Fire {
            // Told once, it stays told; only the score moves on.
            before.score = history.mean_score();
            return before.clone();
        }
        *before = if let Some(reason) = mask {
            Verdict {
                decision: Decision::Refused,
                reason,
                score: history.mean_score(),
            }
        } else {
            rules::judge(&self.settings, self.mount, duty, track, history)
        };
        if track.phase == TrackPhase::Ended && before.decision == Decision::Undecided {
            before.decision = Decision::Refused;
        }
        before.clone()
    }
}

impl Stage for Verifier {
    type In = TrackedFrame;
    type Out = JudgedFrame;

    fn process(&mut self, frame: TrackedFrame, emit: &mut Emit<'_, JudgedFrame>) -> Result<(), StageError> {
        emit.send(self.judge(frame));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
