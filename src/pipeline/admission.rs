//! What gives way when all sources together cost more than the machine has.
//!
//! The measure is the machine itself: the share of its cores that the program uses, and the share of looks that came too
//! late. Patrol gives way first (every second, fourth, eighth key frame is decoded), then watch (every second, every fourth
//! look, at last only key frames, which spares the decoding); a source on alarm is never slowed. What was taken is given
//! back one step at a time once there is room.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::flow::source::Duty;
use crate::flow::time::MonotonicTime;

/// When the machine counts as too small, and as large enough again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdmissionSettings {
    /// Share of all cores (0 to 1) at which the machine is full.
    pub full: f64,
    /// Share of looks (0 to 1) that may come too late.
    pub late: f64,
    /// Share of all cores below which there is room again.
    pub room: f64,
    /// For how long it must be full before something gives way.
    pub patience: Duration,
    /// For how long there must be room before something is given back.
    pub caution: Duration,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            full: 0.95,
            late: 0.05,
            room: 0.7,
            patience: Duration::from_secs(6),
            caution: Duration::from_secs(30),
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strain {
    /// Share of all cores that the program used since the last measurement, 0 to 1.
    pub cores: f64,
    /// Share of looks that came too late since then, 0 to 1.
    pub late: f64,
}

/// Which levels have sources that can be slowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowable {
    /// Some source is on patrol.
    pub patrol: bool,
    /// Some source is on watch.
    pub watch: bool,
}

/// The step at which patrol gives no more.
const PATROL_STEPS: u32 = 3;

/// How much has given way: 0 nothing, 1 to 3 patrol by twos, 4 and 5 watch as well, 6 watch sees key frames only.
pub const STEPS: u32 = 6;

/// Decides what gives way.
#[derive(Clone, Debug)]
pub struct Admission {
    settings: AdmissionSettings,
    step: u32,
    full_since: Option<MonotonicTime>,
    room_since: Option<MonotonicTime>,
}

impl Admission {
    /// Begins with nothing slowed.
    #[must_use]
    pub const fn new(settings: AdmissionSettings) -> Self {
        Self {
            settings,
            step: 0,
            full_since: None,
            room_since: None,
        }
    }

    /// Takes in a measurement; returns the new step when it changes. A step that would slow nobody is not taken: with
    /// every source on alarm nothing gives way.
    pub fn follow(&mut self, strain: Strain, slowable: Slowable, now: MonotonicTime) -> Option<u32> {
        let is_full = strain.cores >= self.settings.full || strain.late > self.settings.late;
        let has_room = strain.cores <= self.settings.room && strain.late <= self.settings.late;
        self.full_since = is_full.then(|| self.full_since.unwrap_or(now));
        self.room_since = has_room.then(|| self.room_since.unwrap_or(now));
        let lasts = |since: Option<MonotonicTime>, long: Duration| {
            since.is_some_and(|since| now.since(since) >= long)
        };
        let next = if slowable.patrol && self.step < PATROL_STEPS {
            self.step + 1
        } else if slowable.watch {
            (self.step.max(PATROL_STEPS) + 1).min(STEPS)
        } else {
            self.step
        };
        if lasts(self.full_since, self.settings.patience) && next > self.step {
            self.step = next;
            self.full_since = Some(now);
            return Some(next);
        }
        if lasts(self.room_since, self.settings.caution) && self.step > 0 {
            self.step -= 1;
            self.room_since = Some(now);
            return Some(self.step);
        }
        None
    }
}

/// What all sources of a service obey: of how many looks one is taken.
#[derive(Debug, Default)]
pub struct Thinning {
    step: AtomicU32,
}

impl Thinning {
    /// Sets the step, 0 to [`STEPS`].
    pub fn set(&self, step: u32) {
        self.step.store(step.min(STEPS), Ordering::Relaxed);
    }

    /// Returns the step.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.step.load(Ordering::Relaxed)
    }

    /// Returns whether watch decodes only key frames, where the stream has them.
    #[must_use]
    pub fn watches_key_frames(&self) -> bool {
        self.step() == STEPS
    }

    /// Returns of how many looks at a duty level one is taken: 1, 2, 4 or 8, and always 1 on alarm.
    #[must_use]
    pub fn one_of(&self, duty: Duty) -> u32 {
        let halvings = match duty {
            Duty::Patrol => self.step().min(PATROL_STEPS),
            Duty::Watch => self.step().saturating_sub(PATROL_STEPS),
            Duty::Alarm => 0,
        };
        1 << halvings
    }

    /// Returns which looks a duty level keeps.
    #[must_use]
    pub fn looks(&self, duty: Duty) -> Looks {
        match self.one_of(duty) {
            count if duty == Duty::Watch && self.watches_key_frames() => Looks::KeyFrames(count),
            count => Looks::OneOf(count),
        }
    }
}

/// Which looks a level keeps, in words for the log and for the event of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// One of so many.
    OneOf(u32),
    /// Those at key frames; one of so many where a stream has too few of them.
    KeyFrames(u32),
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(1) => write!(f, "every look"),
            Self::OneOf(count) => write!(f, "one of {count} looks"),
            Self::KeyFrames(count) => {
                write!(
                    f,
                    "key frames only (one of {count} looks where they are too far apart)"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Slowable = Slowable {
        patrol: true,
        watch: true,
    };

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(seconds))
    }

    fn follow(admission: &mut Admission, seconds: std::ops::Range<u64>, cores: f64, late: f64) -> Vec<u32> {
        seconds
            .step_by(2)
            .filter_map(|second| admission.follow(Strain { cores, late }, BOTH, at(second)))
            .collect()
    }

    #[test]
    fn patrol_gives_way_before_watch_and_alarm_never() {
        let thinning = Thinning::default();
        let mut seen = Vec::new();
        for step in 0..=STEPS {
            thinning.set(step);
            seen.push(Duty::ALL.map(|duty| thinning.one_of(duty)));
        }
        assert_eq!(
            seen,
            [
                [1, 1, 1],
                [2, 1, 1],
                [4, 1, 1],
                [8, 1, 1],
                [8, 2, 1],
                [8, 4, 1],
                [8, 8, 1]
            ]
        );
    }

    #[test]
    fn what_is_told_is_what_is_done() {
        let thinning = Thinning::default();
        let told = |step, duty| {
            thinning.set(step);
            thinning.looks(duty).to_string()
        };
        assert_eq!(told(0, Duty::Patrol), "every look");
        assert_eq!(told(5, Duty::Watch), "one of 4 looks");
        assert!(told(STEPS, Duty::Watch).starts_with("key frames only"));
        assert_eq!(told(STEPS, Duty::Patrol), "one of 8 looks");
        assert_eq!(told(STEPS, Duty::Alarm), "every look");
    }

    #[test]
    fn a_full_machine_slows_step_by_step_and_a_peak_does_not() {
        let mut admission = Admission::new(AdmissionSettings::default());
        assert!(follow(&mut admission, 0..5, 1.0, 0.0).is_empty());
        assert!(follow(&mut admission, 5..10, 0.8, 0.0).is_empty());
        assert_eq!(follow(&mut admission, 10..30, 1.0, 0.0), [1, 2, 3]);
        assert_eq!(follow(&mut admission, 30..200, 1.0, 0.0).last(), Some(&STEPS));
    }

    #[test]
    fn nothing_gives_way_where_nothing_can() {
        let full = Strain {
            cores: 1.0,
            late: 0.0,
        };
        let steps = |patrol, watch| -> Vec<u32> {
            let mut admission = Admission::new(AdmissionSettings::default());
            (0..100)
                .step_by(2)
                .filter_map(|second| admission.follow(full, Slowable { patrol, watch }, at(second)))
                .collect()
        };
        assert!(steps(false, false).is_empty(), "every source is on alarm");
        assert_eq!(steps(true, false), [1, 2, 3]);
        assert_eq!(steps(false, true), [4, 5, 6]);
    }

    #[test]
    fn looks_that_come_too_late_count_as_full_whoever_uses_the_cores() {
        let mut admission = Admission::new(AdmissionSettings::default());
        assert_eq!(follow(&mut admission, 0..8, 0.3, 0.2), [1]);
    }

    #[test]
    fn what_was_taken_is_given_back_slowly() {
        let mut admission = Admission::new(AdmissionSettings::default());
        assert_eq!(follow(&mut admission, 0..14, 1.0, 0.0), [1, 2]);
        // Between full and room nothing moves.
        assert!(follow(&mut admission, 14..200, 0.85, 0.0).is_empty());
        assert_eq!(follow(&mut admission, 200..262, 0.4, 0.0), [1, 0]);
    }
}
