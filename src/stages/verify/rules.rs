//! The rules, each a question to the recent history of a track.

use std::collections::VecDeque;

use crate::flow::detection::Class;
use crate::flow::source::{Duty, Mount};
use crate::flow::time::MediaTime;
use crate::flow::track::{Decision, Reason, Sighting, Track, Verdict};

/// The alarm thresholds of one class, by duty level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassThreshold {
    /// At patrol.
    pub patrol: f32,
    /// At watch.
    pub watch: f32,
    /// At alarm.
    pub alarm: f32,
}

impl ClassThreshold {
    /// Returns the threshold at a duty level.
    #[must_use]
    pub const fn at(&self, duty: Duty) -> f32 {
        match duty {
            Duty::Patrol => self.patrol,
            Duty::Watch => self.watch,
            Duty::Alarm => self.alarm,
        }
    }
}

/// A picture that moved less than this within the window, in pixels, comes from a camera that stands still.
const STILL_PX: f32 = 2.0;

/// What a track must show before it is called fire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifySettings {
    /// The mean score a flame must reach.
    pub flame: ClassThreshold,
    /// The mean score smoke must reach.
    pub smoke: ClassThreshold,
    /// How far back is looked, in seconds.
    pub window_s: f64,
    /// It must be visible for so long, in seconds.
    pub least_seconds: f64,
    /// It must be seen so often within the window.
    pub least_sightings: u32,
    /// It must be seen in this share of the frames within the window.
    pub least_share: f64,
    /// Smoke that is seen for so long, in seconds, …
    pub steady_seconds: f64,
    /// … so often within the window …
    pub steady_sightings: u32,
    /// … and in this share of its frames …
    pub steady_share: f64,
    /// … need only reach this share of the mean score.
    pub steady_score: f32,
    /// Undecided becomes refused after so long, in seconds.
    pub patience_s: f64,
    /// For cameras that stand still: the least spread of place and size, as a share of the box.
    pub least_spread: f64,
    /// For cameras that stand still: or the least change inside the box, in grey levels a frame above the rest of the picture.
    pub least_activity: f32,
    /// For cameras that move: what changes less than this in place and size, as a share of the box, …
    pub moving_spread: f64,
    /// … and less than this inside, in grey levels a frame above the rest of the picture, is a roof or a bank of fog.
    pub moving_activity: f32,
    /// The most it may travel, in box sizes a second, after the camera's own motion is taken out.
    pub most_travel: f64,
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self {
            flame: ClassThreshold {
                patrol: 0.4,
                watch: 0.4,
                alarm: 0.4,
            },
            smoke: ClassThreshold {
                patrol: 0.4,
                watch: 0.4,
                alarm: 0.4,
            },
            window_s: 5.0,
            least_seconds: 2.0,
            least_sightings: 4,
            least_share: 0.6,
            steady_seconds: 3.0,
            steady_sightings: 10,
            steady_share: 0.9,
            steady_score: 0.7,
            patience_s: 10.0,
            least_spread: 0.02,
            least_activity: 0.8,
            moving_spread: 0.08,
            moving_activity: 1.0,
            most_travel: 0.8,
        }
    }
}

/// One frame in the history of a track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) pts: MediaTime,
    pub(crate) seen: Option<Sighting>,
    pub(crate) activity: f32,
    /// How far the picture had moved since the track's first look, in pixels.
    pub(crate) motion: (f32, f32),
}

/// The recent history of a track.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) looks: VecDeque<Look>,
    /// How far the picture moved in all since the first look, in pixels.
    pub(crate) motion: (f32, f32),
}

impl History {
    /// Adds a look and forgets what is older than the window; the box is kept in the first picture's coordinates.
    pub(crate) fn add(&mut self, mut look: Look, motion: (f32, f32), window_s: f64) {
        self.motion = (self.motion.0 + motion.0, self.motion.1 + motion.1);
        if let Some(seen) = &mut look.seen {
            seen.bbox = seen.bbox.shifted(-self.motion.0, -self.motion.1);
        }
        look.motion = self.motion;
        let newest = look.pts;
        self.looks.push_back(look);
        while self
            .looks
            .front()
            .is_some_and(|oldest| newest.since(oldest.pts).as_secs_f64() > window_s)
        {
            self.looks.pop_front();
        }
    }

    fn sightings(&self) -> impl Iterator<Item = &Sighting> + Clone {
        self.looks.iter().filter_map(|look| look.seen.as_ref())
    }

    fn seen(&self) -> u32 {
        u32::try_from(self.sightings().count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn mean_score(&self) -> f32 {
        let count = self.seen();
        if count == 0 {
            0.0
        } else {
            self.sightings().map(|seen| seen.score).sum::<f32>() / count as f32
        }
    }

    /// Returns the seconds between the first and the last sighting in the window.
    fn seen_seconds(&self) -> f64 {
        match (self.sightings().next(), self.sightings().last()) {
            (Some(first), Some(last)) => last.pts.since(first.pts).as_secs_f64(),
            _ => 0.0,
        }
    }

    /// Returns whether the camera kept the picture in its place all through the window, whatever it stands on.
    fn stood_still(&self) -> bool {
        let first = self.looks.front().map_or((0.0, 0.0), |look| look.motion);
        self.looks
            .iter()
            .all(|look| (look.motion.0 - first.0).hypot(look.motion.1 - first.1) < STILL_PX)
    }

    /// Returns the least spread and the least activity of the two halves of the window: what burns lives all the time,
    /// what a passer-by uncovers or shades changes once.
    fn life(&self) -> (f64, f32) {
        let middle = self.looks.len().div_ceil(2);
        let half = |looks: VecDeque<Look>| Self {
            looks,
            motion: self.motion,
        };
        let older = half(self.looks.iter().take(middle).copied().collect());
        let newer = half(self.looks.iter().skip(middle).copied().collect());
        (
            older.spread().min(newer.spread()),
            older.mean_activity().min(newer.mean_activity()),
        )
    }

    /// Returns the spread of place and size as a share of the box: 0 for a box that never moves.
    fn spread(&self) -> f64 {
        let size = |seen: &Sighting| f64::from((seen.bbox.width() * seen.bbox.height()).max(1.0).sqrt());
        let mean_size = mean(self.sightings().map(size)).max(1.0);
        let place_x = deviation(self.sightings().map(|seen| f64::from(seen.bbox.centre().0)));
        let place_y = deviation(self.sightings().map(|seen| f64::from(seen.bbox.centre().1)));
        let size = deviation(self.sightings().map(size));
        (place_x.powi(2) + place_y.powi(2) + size.powi(2)).sqrt() / mean_size
    }

    /// Returns how fast the foot of the box travels along a straight line, in box sizes a second.
    fn travel(&self) -> f64 {
        let points: Vec<(f64, f64, f64)> = self
            .sightings()
            .map(|seen| {
                (
                    seen.pts.as_secs_f64(),
                    f64::from(seen.bbox.centre().0),
                    f64::from(seen.bbox.y1),
                )
            })
            .collect();
        let size = mean(
            self.sightings()
                .map(|seen| f64::from(seen.bbox.area().max(1.0).sqrt())),
        )
        .max(1.0);
        let middle = mean(points.iter().map(|(t, _, _)| *t));
        let spread: f64 = points.iter().map(|(t, _, _)| (t - middle).powi(2)).sum();
        if spread < 1e-9 {
            return 0.0;
        }
        let rate = |axis: &dyn Fn(&(f64, f64, f64)) -> f64| {
            points
                .iter()
                .map(|point| (point.0 - middle) * axis(point))
                .sum::<f64>()
                / spread
        };
        rate(&|point| point.1).hypot(rate(&|point| point.2)) / size
    }

    /// Returns how fast something would travel that crosses the spread of places evenly while it is seen, in box sizes
    /// a second: what burns flickers around its place, the lamps of vehicles on a road are joined to one track by turns.
    fn wander(&self) -> f64 {
        let size = |seen: &Sighting| f64::from(seen.bbox.area().max(1.0).sqrt());
        let size = mean(self.sightings().map(size)).max(1.0);
        let place_x = deviation(self.sightings().map(|seen| f64::from(seen.bbox.centre().0)));
        let place_y = deviation(self.sightings().map(|seen| f64::from(seen.bbox.centre().1)));
        // An even spread from end to end deviates by its length over the root of twelve.
        12_f64.sqrt() * place_x.hypot(place_y) / size / self.seen_seconds().max(0.1)
    }

    fn mean_activity(&self) -> f32 {
        self.looks.iter().map(|look| look.activity).sum::<f32>() / self.looks.len().max(1) as f32
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let middle = mean(values.clone());
    mean(values.map(|value| (value - middle).powi(2))).sqrt()
}

/// Returns whether something was seen without a break worth the name, for long enough to say so.
fn is_steady(settings: &VerifySettings, seconds: f64, seen: u32, share: f64) -> bool {
    seconds >= settings.steady_seconds && seen >= settings.steady_sightings && share >= settings.steady_share
}

/// Asks every rule in turn; the first that objects gives the reason.
pub(crate) fn judge(
    settings: &VerifySettings,
    mount: Mount,
    duty: Duty,
    track: &Track,
    history: &History,
) -> Verdict {
    let score = history.mean_score();
    let frames = u32::try_from(history.looks.len()).unwrap_or(u32::MAX);
    let seen = history.seen();
    let seconds = history.seen_seconds();
    let objection = 'rules: {
        if seconds < settings.least_seconds || seen < settings.least_sightings {
            break 'rules Some(Reason::TooShort {
                seconds,
                needed_s: settings.least_seconds,
            });
        }
        let share = f64::from(seen) / f64::from(frames.max(1));
        if share < settings.least_share {
            break 'rules Some(Reason::TooRare {
                share,
                needed: settings.least_share,
            });
        }
        let needed = match track.class {
            Class::Flame => settings.flame.at(duty),
            // What looks like smoke by chance does so for a frame or two; pale smoke does so faintly, in every one.
            Class::Smoke if is_steady(settings, seconds, seen, share) => {
                settings.smoke.at(duty) * settings.steady_score
            }
            Class::Smoke => settings.smoke.at(duty),
        };
        if score < needed {
            break 'rules Some(Reason::TooWeak {
                score: f64::from(score),
                needed: f64::from(needed),
            });
        }
        let speed = history.travel().max(history.wander());
        if speed > settings.most_travel {
            break 'rules Some(Reason::Travels {
                speed,
                allowed: settings.most_travel,
            });
        }
        // A camera that stands still shows the least life; over a moving one even a roof seems to stir a little.
        let (life, least) = if mount == Mount::Fixed || history.stood_still() {
            (history.life(), (settings.least_spread, settings.least_activity))
        } else {
            let life = (history.spread(), history.mean_activity());
            (life, (settings.moving_spread, settings.moving_activity))
        };
        if life.0 < least.0 && life.1 < least.1 {
            break 'rules Some(Reason::Lifeless {
                liveliness: life.0,
                needed: least.0,
            });
        }
        None
    };
    match objection {
        None => Verdict {
            decision: Decision::Fire,
            reason: Reason::Persistent {
                seen,
                frames,
                seconds,
            },
            score,
        },
        Some(reason) => {
            let age = track.last_pts.since(track.first_pts).as_secs_f64();
            let decision = if age < settings.patience_s {
                Decision::Undecided
            } else {
                Decision::Refused
            };
            Verdict {
                decision,
                reason,
                score,
            }
        }
    }
}
