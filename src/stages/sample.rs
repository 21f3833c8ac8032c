//! Thins frames on purpose to the rate of the duty level.
//!
//! `skipped` counts what was thinned, `stale` what came too late to be worth inferring. A frame that is passed on
//! carries both counts of the frames before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::flow::frame::{Frame, Gap};
use crate::flow::source::{Duty, Liveness};
use crate::flow::time::{MediaTime, MonotonicTime};
use crate::pipeline::admission::Thinning;
use crate::pipeline::stage::{Emit, Stage, StageError};

/// How many frames a second a duty level looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Every frame that is decoded.
    All,
    /// At most so many a second of media time.
    PerSecond(f64),
}

/// The rates of the duty levels. Patrol looks at every key frame: nothing else is decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// At watch.
    pub watch: Rate,
    /// At alarm.
    pub alarm: Rate,
}

impl Rates {
    const fn at(&self, duty: Duty) -> Rate {
        match duty {
            Duty::Patrol => Rate::All,
            Duty::Watch => self.watch,
            Duty::Alarm => self.alarm,
        }
    }
}

/// What one source's frames came to. Read at the end of a run and by metrics.
#[derive(Debug, Default)]
pub struct FrameCounts {
    decoded: AtomicU64,
    passed: AtomicU64,
    skipped: AtomicU64,
    stale: AtomicU64,
    overtaken: AtomicU64,
}

impl FrameCounts {
    /// Returns how many decoded frames came in.
    pub fn decoded(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// Returns how many frames were passed on to be inferred.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Returns how many frames were left out on purpose.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Returns how many live frames were too old.
    pub fn stale(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
    }

    /// Notes that a frame which was passed on was too old when its turn came.
    pub fn grew_stale(&self) {
        self.passed.fetch_sub(1, Ordering::Relaxed);
        self.stale.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many live frames a newer one overtook before there was room.
    pub fn overtaken(&self) -> u64 {
        self.overtaken.load(Ordering::Relaxed)
    }
}

/// How old a frame may be when it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// `None` for recordings, of which nothing is lost.
    most: Option<Duration>,
}

impl Freshness {
    /// Live frames may be so old; recorded ones as old as they like.
    #[must_use]
    pub fn new(liveness: Liveness, most: Duration) -> Self {
        Self {
            most: (liveness == Liveness::Live).then_some(most),
        }
    }

    /// Returns whether a frame that arrived then is too old now.
    #[must_use]
    pub fn is_stale(self, arrived: MonotonicTime, now: MonotonicTime) -> bool {
        self.most.is_some_and(|most| now.since(arrived) > most)
    }

    /// Returns whether frames may be lost at all.
    #[must_use]
    pub const fn liveness(self) -> Liveness {
        match self.most {
            Some(_) => Liveness::Live,
            None => Liveness::Recorded,
        }
    }
}

/// Thins the frames of one source.
pub struct Sampler {
    rates: Rates,
    freshness: Freshness,
    clock: Arc<dyn Clock>,
    counts: Arc<FrameCounts>,
    gap: Gap,
    next: Option<(Duty, MediaTime)>,
    last: MediaTime,
    thinning: Arc<Thinning>,
    /// How many looks were due since the last one that was taken.
    due: u32,
}

impl Sampler {
    /// Makes a sampler. Frames that are not fresh are left out and counted.
    pub fn new(rates: Rates, freshness: Freshness, clock: Arc<dyn Clock>) -> Self {
        Self {
            rates,
            freshness,
            clock,
            counts: Arc::default(),
            gap: Gap::default(),
            next: None,
            last: MediaTime::ZERO,
            thinning: Arc::default(),
            due: 0,
        }
    }

    /// Obeys what gives way when the machine is full.
    #[must_use]
    pub fn thinned_by(mut self, thinning: Arc<Thinning>) -> Self {
        self.thinning = thinning;
        self
    }

    /// Returns whether this look, which is due, is the one of so many that a full machine can afford. What patrol does
    /// not look at is not decoded, nor is what lies between the key frames of watch in the end.
    fn is_afforded(&mut self, duty: Duty, is_key: bool) -> bool {
        self.due += 1;
        let is_taken = match duty {
            Duty::Patrol => true,
            Duty::Watch if is_key && self.thinning.watches_key_frames() => true,
            Duty::Watch | Duty::Alarm => self.due >= self.thinning.one_of(duty),
        };
        if is_taken {
            self.due = 0;
        }
        is_taken
    }

    /// Returns the counters, which go on counting.
    pub fn counts(&self) -> Arc<FrameCounts> {
        Arc::clone(&self.counts)
    }

    /// Returns whether the duty level asks for a frame at this time, and when it asks next.
    fn is_due(&mut self, duty: Duty, pts: MediaTime) -> bool {
        let Rate::PerSecond(rate) = self.rates.at(duty) else {
            self.next = None;
            return true;
        };
        let period = Duration::from_secs_f64(1.0 / rate);
        // A change of duty and a jump back in time (a new stream after a reconnect) begin anew.
        let due = match self.next {
            Some((before, due)) if before == duty && pts >= self.last => due,
            _ => pts,
        };
        self.last = pts;
        // Cameras announce 25 frames a second and deliver a hair less: half a millisecond is forgiven.
        if pts + Duration::from_micros(500) < due {
            return false;
        }
        // The grid of due times is kept while frames come in time, so that the mean rate is the one asked for.
        let next = due + period;
        self.next = Some((duty, if next > pts { next } else { pts + period }));
        true
    }
}

impl Stage for Sampler {
    type In = Frame;
    type Out = Frame;

    fn process(&mut self, mut frame: Frame, emit: &mut Emit<'_, Frame>) -> Result<(), StageError> {
        self.counts.decoded.fetch_add(1, Ordering::Relaxed);
        self.counts
            .overtaken
            .fetch_add(u64::from(frame.meta.gap.overtaken), Ordering::Relaxed);
        self.gap.add(frame.meta.gap);
        if !self.is_due(frame.meta.duty, frame.meta.pts)
            || !self.is_afforded(frame.meta.duty, frame.meta.is_key)
        {
            self.gap.skipped += 1;
            self.counts.skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if self
            .freshness
            .is_stale(frame.meta.arrived, self.clock.monotonic())
        {
            self.gap.stale += 1;
            self.counts.stale.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        frame.meta.gap = std::mem::take(&mut self.gap);
        self.counts.passed.fetch_add(1, Ordering::Relaxed);
        emit.send(frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::SimulatedClock;
    use crate::flow::frame::{ColourMatrix, ColourRange, FrameMeta, Picture, PixelFormat, PlanarBuffer};
    use crate::flow::source::SourceId;
    use crate::pipeline::admission::STEPS;

    fn frame(sequence: u64, second: f64, duty: Duty, clock: &SimulatedClock) -> Frame {
        Frame {
            meta: FrameMeta {
                source: SourceId::new("camera"),
                sequence,
                pts: MediaTime::from_secs_f64(second),
                captured: None,
                arrived: clock.monotonic(),
                is_key: true,
                gap: Gap::default(),
                duty,
            },
            picture: Picture {
                format: PixelFormat::I420,
                width: 2,
                height: 2,
                matrix: ColourMatrix::Bt709,
                range: ColourRange::Limited,
                planes: Arc::new(PlanarBuffer::new(Vec::new())),
            },
        }
    }

    fn rates(watch: f64) -> Rates {
        Rates {
            watch: Rate::PerSecond(watch),
            alarm: Rate::All,
        }
    }

    fn pass(sampler: &mut Sampler, frames: impl IntoIterator<Item = Frame>) -> Vec<Frame> {
        let mut passed = Vec::new();
        for frame in frames {
            sampler
                .process(
                    frame,
                    &mut Emit::new(&mut |frame| {
                        passed.push(frame);
                        true
                    }),
                )
                .unwrap();
        }
        passed
    }

    fn clock() -> Arc<SimulatedClock> {
        Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_full_machine_takes_every_second_look_of_watch_at_last_key_frames_and_all_of_patrol_and_alarm() {
        let clock = clock();
        let thinning = Arc::new(Thinning::default());
        let mut sampler = Sampler::new(
            rates(5.0),
            Freshness::new(Liveness::Live, Duration::from_millis(500)),
            clock.clone(),
        )
        .thinned_by(Arc::clone(&thinning));
        let mut taken = |step, duty| {
            thinning.set(step);
            let frames = (0..10).map(|number| frame(number, number as f64 * 2.0, duty, &clock));
            pass(&mut sampler, frames).len()
        };
        assert_eq!(taken(4, Duty::Watch), 5);
        assert_eq!(
            taken(STEPS, Duty::Watch),
            10,
            "nothing but key frames comes, and each counts"
        );
        // The decoder was given fewer key frames of patrol: none of them is left out.
        assert_eq!(taken(STEPS, Duty::Patrol), 10);
        assert_eq!(taken(STEPS, Duty::Alarm), 10);
    }

    #[test]
    fn five_a_second_are_taken_of_twenty_five_and_the_rest_is_counted() {
        let clock = clock();
        let mut sampler = Sampler::new(
            rates(5.0),
            Freshness::new(Liveness::Recorded, Duration::from_millis(500)),
            clock.clone(),
        );
        let frames = (0..250).map(|index| frame(index, index as f64 / 25.0, Duty::Watch, &clock));
        let passed = pass(&mut sampler, frames);
        assert_eq!(passed.len(), 50);
        assert!(passed.iter().skip(1).all(|frame| frame.meta.gap.skipped == 4));
        let counts = sampler.counts();
        assert_eq!(
            (counts.decoded(), counts.passed(), counts.skipped()),
            (250, 50, 200)
        );
    }

    #[test]
    fn a_rate_that_does_not_divide_the_cameras_rate_is_met_on_average() {
        let clock = clock();
        let mut sampler = Sampler::new(
            rates(10.0),
            Freshness::new(Liveness::Recorded, Duration::from_millis(500)),
            clock.clone(),
        );
        let frames = (0..2997).map(|index| frame(index, index as f64 / 29.97, Duty::Watch, &clock));
        assert!((pass(&mut sampler, frames).len() as f64 - 1000.0).abs() < 2.0);
    }

    #[test]
    fn a_live_frame_that_waited_too_long_is_counted_as_stale_and_a_recorded_one_is_taken() {
        for (liveness, expected) in [(Liveness::Live, 0), (Liveness::Recorded, 1)] {
            let clock = clock();
            let mut sampler = Sampler::new(
                rates(5.0),
                Freshness::new(liveness, Duration::from_millis(500)),
                clock.clone(),
            );
            let old = frame(0, 0.0, Duty::Watch, &clock);
            clock.advance(Duration::from_millis(600));
            assert_eq!(pass(&mut sampler, [old]).len(), expected);
            assert_eq!(sampler.counts().stale(), 1 - expected as u64);
        }
    }

    #[test]
    fn a_new_duty_is_obeyed_at_once() {
        let clock = clock();
        let mut sampler = Sampler::new(
            rates(1.0),
            Freshness::new(Liveness::Recorded, Duration::from_millis(500)),
            clock.clone(),
        );
        let frames = (0..50).map(|index| {
            frame(
                index,
                index as f64 / 25.0,
                if index < 10 { Duty::Watch } else { Duty::Alarm },
                &clock,
            )
        });
        assert_eq!(pass(&mut sampler, frames).len(), 1 + 40);
    }

    #[test]
    fn time_that_jumps_back_does_not_silence_a_source() {
        let clock = clock();
        let mut sampler = Sampler::new(
            rates(5.0),
            Freshness::new(Liveness::Live, Duration::from_secs(1)),
            clock.clone(),
        );
        let first = (0..25).map(|index| frame(index, 1000.0 + index as f64 / 25.0, Duty::Watch, &clock));
        let again = (0..25).map(|index| frame(25 + index, index as f64 / 25.0, Duty::Watch, &clock));
        assert_eq!(pass(&mut sampler, first).len(), 5);
        assert_eq!(pass(&mut sampler, again).len(), 5);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_without_being_counted(
            steps in proptest::collection::vec((0.0_f64..0.3, 0_u64..900), 1..200),
            rate in 0.5_f64..30.0,
        ) {
            let clock = clock();
            let mut sampler =
                Sampler::new(rates(rate), Freshness::new(Liveness::Live, Duration::from_millis(500)), clock.clone());
            let (mut second, mut passed) = (0.0, Vec::new());
            for (index, (step, wait)) in steps.iter().enumerate() {
                second += step;
                let next = frame(index as u64, second, Duty::Watch, &clock);
                clock.advance(Duration::from_millis(*wait));
                passed.extend(pass(&mut sampler, [next]));
            }
            let counts = sampler.counts();
            prop_assert_eq!(counts.decoded(), counts.passed() + counts.skipped() + counts.stale());
            let told: u64 = passed
                .iter()
                .map(|frame| 1 + u64::from(frame.meta.gap.skipped) + u64::from(frame.meta.gap.stale))
                .sum();
            prop_assert!(told <= counts.decoded());
        }
    }
}
