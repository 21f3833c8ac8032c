//! Drives supervision with a fake library on a simulated clock: hours pass in milliseconds.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, SimulatedClock};
use crate::flow::frame::{ColourMatrix, ColourRange, Gap, Picture, PixelFormat, PlanarBuffer};
use crate::flow::source::{Duty, SourceId, SourceState};
use crate::flow::time::{MediaTime, MonotonicTime};

/// What a fake connection does, one entry after the other.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Delivers frames, 25 a second, for so many frames.
    Frames(u64),
    /// Says nothing for so many seconds; the last entry of a hung server is endless.
    Silence(u64),
    /// Ends the stream.
    End,
    /// Breaks.
    Break(IngestErrorKind),
    /// Cannot even be opened.
    Refuse(IngestErrorKind),
}

/// Opens one scripted connection after the other, the last one again and again.
struct Script {
    clock: Arc<SimulatedClock>,
    connections: Mutex<VecDeque<Vec<Act>>>,
    opened: Mutex<Vec<MonotonicTime>>,
}

impl Script {
    fn new(clock: &Arc<SimulatedClock>, connections: &[&[Act]]) -> Self {
        Self {
            clock: Arc::clone(clock),
            connections: Mutex::new(connections.iter().map(|acts| acts.to_vec()).collect()),
            opened: Mutex::default(),
        }
    }
}

impl Opener for Script {
    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>, IngestError> {
        self.opened.lock().unwrap().push(self.clock.monotonic());
        let mut connections = self.connections.lock().unwrap();
        let acts = if connections.len() > 1 {
            connections.pop_front()
        } else {
            connections.front().cloned()
        };
        let acts: VecDeque<Act> = acts.unwrap_or_default().into();
        if let Some(Act::Refuse(kind)) = acts.front() {
            return Err(IngestError::new(*kind, "rtsp://camera", "refused"));
        }
        Ok(Box::new(Played {
            clock: Arc::clone(&self.clock),
            acts,
            counts: ReaderCounts::default(),
            origin: request.origin,
        }))
    }
}

struct Played {
    clock: Arc<SimulatedClock>,
    acts: VecDeque<Act>,
    counts: ReaderCounts,
    origin: MediaTime,
}

impl Reader for Played {
    fn read(&mut self, timeout: Duration) -> Read {
        match self.acts.front_mut() {
            Some(Act::Frames(left)) if *left > 0 => {
                *left -= 1;
                self.clock.advance(Duration::from_millis(40));
                let pts =
                    self.origin + Duration::from_millis(40) * u32::try_from(self.counts.packets).unwrap();
                self.counts.packets += 1;
                self.counts.last_packet = Some(self.clock.monotonic());
                Read::Frame(Decoded {
                    picture: picture(self.counts.packets),
                    pts: Some(pts),
                    captured: None,
                    arrived: self.clock.monotonic(),
                    is_key: false,
                    gap: Gap::default(),
                    duty: Duty::Watch,
                })
            }
            Some(Act::Silence(left)) if *left > 0 => {
                // A second is a second, in looks of the length asked for.
                self.clock.advance(timeout);
                if self
                    .clock
                    .monotonic()
                    .since(MonotonicTime::default())
                    .subsec_millis()
                    < 100
                {
                    *left -= 1;
                }
                Read::Nothing
            }
            Some(Act::Frames(_) | Act::Silence(_)) => {
                self.acts.pop_front();
                self.read(timeout)
            }
            Some(Act::End) | None => Read::Ended,
            Some(Act::Break(kind) | Act::Refuse(kind)) => {
                Read::Failed(IngestError::new(*kind, "rtsp://camera", "broken"))
            }
        }
    }

    fn counts(&self) -> ReaderCounts {
        self.counts
    }

    fn decoder(&self) -> Option<String> {
        Some("fake".to_owned())
    }
}

/// A picture with structure that differs from one number to the next.
fn picture(number: u64) -> Picture {
    let samples = (0..64 * 36_u64)
        .map(|index| ((index * 31 + number * 7) % 200 + 20) as u8)
        .collect();
    Picture {
        format: PixelFormat::I420,
        width: 64,
        height: 36,
        matrix: ColourMatrix::Bt709,
        range: ColourRange::Full,
        planes: Arc::new(PlanarBuffer::new(vec![(samples, 64)])),
    }
}

/// What came of a live source.
#[derive(Default)]
struct Outcome {
    frames: Vec<(u64, MediaTime)>,
    states: Vec<(SourceState, Option<IngestErrorKind>)>,
    opened_s: Vec<u64>,
    counted: IngestSnapshot,
}

/// Runs a script for so many simulated seconds.
fn live_for(seconds: u64, connections: &[&[Act]]) -> Outcome {
    let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
    let script = Script::new(&clock, connections);
    let spec = SourceSpec::live(
        SourceId::new("cam"),
        Location::parse("rtsp://camera/live").unwrap().0,
    );
    let request = OpenRequest::new(Arc::new(spec), Arc::new(DutyControl::new(Duty::Watch)));
    let stats = IngestStats::default();
    let end = MonotonicTime::from_origin(Duration::from_secs(seconds));
    let stop = |wait: Duration| {
        clock.advance(wait);
        clock.monotonic() >= end
    };
    let around = Surroundings {
        clock: clock.as_ref(),
        stop: &stop,
        stats: &stats,
    };
    let mut outcome = Outcome::default();
    run_live(&request, &script, &around, &mut |ingested| {
        match ingested {
            Ingested::Frame(frame) => outcome.frames.push((frame.meta.sequence, frame.meta.pts)),
            Ingested::State(change) => outcome.states.push((change.to, change.reason)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    let origin = MonotonicTime::default();
    outcome.opened_s = script
        .opened
        .lock()
        .unwrap()
        .iter()
        .map(|at| at.since(origin).as_secs())
        .collect();
    outcome.counted = stats.snapshot();
    outcome
}

#[test]
fn a_lost_stream_is_opened_again_and_numbers_and_times_go_on() {
    let outcome = live_for(60, &[&[Act::Frames(250), Act::End], &[Act::Frames(10_000)]]);
    assert_eq!(
        outcome.states,
        [
            (SourceState::Live, None),
            (SourceState::Blind, Some(IngestErrorKind::Lost)),
            (SourceState::Live, None),
        ]
    );
    assert!(
        outcome
            .frames
            .iter()
            .enumerate()
            .all(|(index, (sequence, _))| *sequence == index as u64)
    );
    assert!(outcome.frames.windows(2).all(|pair| pair[0].1 < pair[1].1));
    // The second of waiting has passed in media time too.
    let gap = outcome.frames[250].1.since(outcome.frames[249].1);
    assert!(
        gap > Duration::from_millis(700) && gap < Duration::from_millis(1500),
        "{gap:?}"
    );
}

#[test]
fn a_camera_that_is_away_for_a_day_is_tried_every_half_minute_and_reported_once() {
    let outcome = live_for(86_400, &[&[Act::Refuse(IngestErrorKind::Unreachable)]]);
    assert_eq!(
        outcome.states,
        [(SourceState::Blind, Some(IngestErrorKind::Unreachable))]
    );
    let tries = outcome.opened_s.len();
    assert!((86_400 / 36..=86_400 / 24 + 8).contains(&tries), "{tries}");
    assert!(outcome.opened_s.windows(2).all(|pair| pair[1] - pair[0] <= 37));
    assert_eq!(outcome.counted.failures, [("unreachable", tries as u64)]);
}

#[test]
fn a_hung_server_is_noticed_without_a_word_from_the_library() {
    let outcome = live_for(30, &[&[Act::Frames(100), Act::Silence(1_000)]]);
    let states: Vec<_> = outcome.states.iter().map(|(state, _)| *state).take(4).collect();
    assert_eq!(
        states,
        [
            SourceState::Live,
            SourceState::Stalled,
            SourceState::Blind,
            SourceState::Live
        ]
    );
    // 4 s of frames, 5 s of silence, 1 s of waiting.
    assert!((9..=11).contains(&outcome.opened_s[1]), "{:?}", outcome.opened_s);
}

#[test]
fn a_break_in_the_stream_counts_by_its_reason() {
    let outcome = live_for(
        20,
        &[
            &[Act::Frames(25), Act::Break(IngestErrorKind::Undecodable)],
            &[Act::Frames(10_000)],
        ],
    );
    assert_eq!(
        outcome.states[1],
        (SourceState::Blind, Some(IngestErrorKind::Undecodable))
    );
    assert_eq!(outcome.counted.failures, [("undecodable", 1)]);
    assert_eq!(outcome.counted.connections, 2);
}

#[test]
fn a_recording_is_read_to_its_end_and_one_that_breaks_keeps_what_was_read() {
    let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
    let read = |acts: &[Act]| {
        let script = Script::new(&clock, &[acts]);
        let spec = SourceSpec::recorded(SourceId::new("clip"), Location::File("clip.mp4".into()));
        let request = OpenRequest::new(Arc::new(spec), Arc::new(DutyControl::new(Duty::Watch)));
        let stats = IngestStats::default();
        let around = Surroundings {
            clock: clock.as_ref(),
            stop: &|_| false,
            stats: &stats,
        };
        run_recorded(&request, &script, &around, &mut |_| ControlFlow::Continue(()))
    };
    let totals = read(&[Act::Frames(899), Act::End]).unwrap();
    assert_eq!(
        (totals.frames_in, totals.delivered, totals.is_complete),
        (899, 899, true)
    );
    assert_eq!(totals.duration, Duration::from_millis(899 * 40));
    let totals = read(&[Act::Frames(10), Act::Break(IngestErrorKind::Undecodable)]).unwrap();
    assert!(totals.broken_by.is_some() && !totals.is_complete && totals.delivered == 10);
    assert_eq!(
        read(&[Act::Break(IngestErrorKind::NotMedia)]).unwrap_err().kind(),
        IngestErrorKind::NotMedia
    );
    assert_eq!(
        read(&[Act::Silence(1_000)]).unwrap_err().kind(),
        IngestErrorKind::NotMedia
    );
    assert_eq!(
        read(&[Act::Frames(1), Act::Silence(1_000)]).unwrap_err().kind(),
        IngestErrorKind::Hung
    );
}
