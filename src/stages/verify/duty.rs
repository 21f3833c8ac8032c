//! Decides how hard a source is watched: up on a hint, down after quiet.

use std::time::Duration;

use crate::flow::source::Duty;
use crate::flow::time::MediaTime;
use crate::flow::track::{Decision, JudgedFrame, TrackPhase};

/// When a source moves between its levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DutySettings {
    /// The lightest level, to which it falls back.
    pub floor: Duty,
    /// A detection at or above this score is a hint.
    pub hint_score: f32,
    /// It falls back by one level after so long without a hint.
    pub quiet: Duration,
}

/// Follows one source.
#[derive(Clone, Debug)]
pub struct DutyPolicy {
    settings: DutySettings,
    level: Duty,
    last_hint: MediaTime,
}

impl DutyPolicy {
    /// Begins at the floor.
    #[must_use]
    pub const fn new(settings: DutySettings) -> Self {
        Self {
            level: settings.floor,
            settings,
            last_hint: MediaTime::ZERO,
        }
    }

    /// Returns the level in force.
    #[must_use]
    pub const fn level(&self) -> Duty {
        self.level
    }

    /// Takes in a judged frame; returns the new level when it changes.
    pub fn follow(&mut self, frame: &JudgedFrame) -> Option<Duty> {
        let pts = frame.meta.pts;
        let is_hinted = frame
            .detections
            .iter()
            .any(|(seen, _)| seen.score >= self.settings.hint_score);
        let is_suspected = frame.tracks.iter().any(|(track, verdict)| {
            track.phase == TrackPhase::Established
                && track.seen.is_some()
                && verdict.decision != Decision::Refused
        });
        let before = self.level;
        if is_suspected {
            self.level = Duty::Alarm;
        } else if is_hinted {
            self.level = self.level.max(Duty::Watch);
        }
        // Media time that jumps back (a reconnect) begins the quiet anew.
        if is_hinted || is_suspected || pts < self.last_hint {
            self.last_hint = pts;
        } else if pts.since(self.last_hint) >= self.settings.quiet && self.level > self.settings.floor {
            self.level = match self.level {
                Duty::Alarm => Duty::Watch.max(self.settings.floor),
                Duty::Watch | Duty::Patrol => self.settings.floor,
            };
            self.last_hint = pts;
        }
        (self.level != before).then_some(self.level)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::detection::{BBox, Class, Detection};
    use crate::flow::frame::{ColourMatrix, ColourRange, FrameMeta, Gap, Picture, PixelFormat, PlanarBuffer};
    use crate::flow::source::SourceId;
    use crate::flow::time::MonotonicTime;
    use crate::flow::track::{Reason, Sighting, Track, Verdict};

    const SETTINGS: DutySettings = DutySettings {
        floor: Duty::Patrol,
        hint_score: 0.2,
        quiet: Duration::from_secs(10),
    };

    fn frame(second: f64, score: Option<f32>, decision: Option<Decision>) -> JudgedFrame {
        let pts = MediaTime::from_secs_f64(second);
        let bbox = BBox::new(0.0, 0.0, 9.0, 9.0);
        let track = |decision| {
            let track = Track {
                id: 1,
                class: Class::Smoke,
                phase: TrackPhase::Established,
                first_pts: pts,
                last_pts: pts,
                sightings: 3,
                seen: Some(Sighting {
                    pts,
                    score: 0.5,
                    bbox,
                }),
                bbox,
                activity: 0.0,
            };
            (
                track,
                Verdict {
                    decision,
                    reason: Reason::Ended,
                    score: 0.5,
                },
            )
        };
        JudgedFrame {
            model: Arc::default(),
            meta: FrameMeta {
                source: SourceId::new("tower"),
                sequence: 0,
                pts,
                captured: None,
                arrived: MonotonicTime::default(),
                is_key: true,
                gap: Gap::default(),
                duty: Duty::Patrol,
            },
            picture: Picture {
                format: PixelFormat::I420,
                width: 16,
                height: 16,
                matrix: ColourMatrix::Bt709,
                range: ColourRange::Limited,
                planes: Arc::new(PlanarBuffer::new(Vec::new())),
            },
            detections: score
                .map(|score| {
                    (
                        Detection {
                            class: Class::Smoke,
                            score,
                            bbox,
                        },
                        None,
                    )
                })
                .into_iter()
                .collect(),
            tracks: decision.map(track).into_iter().collect(),
            motion: (0.0, 0.0),
        }
    }

    #[test]
    fn a_hint_moves_up_to_watch_and_a_track_to_alarm() {
        let mut policy = DutyPolicy::new(SETTINGS);
        assert_eq!(policy.follow(&frame(0.0, Some(0.1), None)), None);
        assert_eq!(policy.follow(&frame(2.0, Some(0.3), None)), Some(Duty::Watch));
        assert_eq!(
            policy.follow(&frame(2.5, Some(0.5), Some(Decision::Undecided))),
            Some(Duty::Alarm)
        );
        assert_eq!(policy.follow(&frame(3.0, Some(0.5), Some(Decision::Fire))), None);
    }

    #[test]
    fn quiet_moves_down_one_level_at_a_time() {
        let mut policy = DutyPolicy::new(SETTINGS);
        policy.follow(&frame(0.0, Some(0.5), Some(Decision::Fire)));
        assert_eq!(policy.follow(&frame(9.9, None, None)), None);
        assert_eq!(policy.follow(&frame(10.0, None, None)), Some(Duty::Watch));
        assert_eq!(policy.follow(&frame(20.0, None, None)), Some(Duty::Patrol));
        assert_eq!(policy.follow(&frame(90.0, None, None)), None);
    }

    #[test]
    fn a_refused_track_does_not_hold_the_alarm() {
        let mut policy = DutyPolicy::new(SETTINGS);
        assert_eq!(policy.follow(&frame(0.0, None, Some(Decision::Refused))), None);
        assert_eq!(policy.level(), Duty::Patrol);
    }
}
