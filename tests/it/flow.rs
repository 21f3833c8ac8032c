//! The wiring of one source over frames that a test makes: what goes in comes out, once and in order, however slow
//! or absent whoever takes it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::frame::{ColourMatrix, ColourRange, Gap, Picture, PixelFormat, PlanarBuffer};
use emberwatch::flow::source::{Duty, Mount, SourceId};
use emberwatch::flow::time::MediaTime;
use emberwatch::flow::track::JudgedFrame;
use emberwatch::pipeline::exit::{Ending, Exit, root_cause};
use emberwatch::pipeline::inference::{Inference, InferenceSettings, Models};
use emberwatch::pipeline::link::{LinkReceiver, Received, link};
use emberwatch::pipeline::runner::Crew;
use emberwatch::pipeline::source::{self, Notice, Outlets, SourceGauges, SourcePlan};
use emberwatch::pipeline::stats::Board;
use emberwatch::pipeline::stop::Stop;
use emberwatch::stages::batch::BatchBounds;
use emberwatch::stages::infer::{Model, Runtime, SessionOptions};
use emberwatch::stages::ingest::{
    Decoded, IngestError, Location, OpenRequest, Opener, Read, Reader, ReaderCounts, SourceSpec,
};
use emberwatch::stages::sample::{Rate, Rates};
use emberwatch::stages::track::TrackSettings;
use emberwatch::stages::verify::rules::VerifySettings;

/// Opens a made-up source of so many frames at ten a second.
struct Frames {
    count: u64,
    given: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    /// How long a live camera takes from one to the next.
    pause: Option<Duration>,
}

struct FramesReader {
    left: std::ops::Range<u64>,
    given: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    pause: Option<Duration>,
}

impl Opener for Frames {
    fn open(&self, _request: &OpenRequest) -> Result<Box<dyn Reader>, IngestError> {
        Ok(Box::new(FramesReader {
            left: 0..self.count,
            given: Arc::clone(&self.given),
            clock: Arc::clone(&self.clock),
            pause: self.pause,
        }))
    }
}

impl Reader for FramesReader {
    fn read(&mut self, _timeout: Duration) -> Read {
        let Some(number) = self.left.next() else {
            return Read::Ended;
        };
        if let Some(pause) = self.pause {
            let _never = Stop::new().wait_for(pause);
        }
        self.given.fetch_add(1, Ordering::SeqCst);
        let shade = (number * 37 % 200) as u8;
        Read::Frame(Decoded {
            picture: Picture {
                format: PixelFormat::I420,
                width: 64,
                height: 36,
                matrix: ColourMatrix::Bt709,
                range: ColourRange::Limited,
                planes: Arc::new(PlanarBuffer::new(vec![
                    (vec![shade; 64 * 36], 64),
                    (vec![128; 32 * 18], 32),
                    (vec![128; 32 * 18], 32),
                ])),
            },
            pts: Some(MediaTime::from_nanos(number as i64 * 100_000_000)),
            captured: None,
            arrived: self.clock.monotonic(),
            is_key: true,
            gap: Gap::default(),
            duty: Duty::Watch,
        })
    }

    fn counts(&self) -> ReaderCounts {
        let given = self.given.load(Ordering::SeqCst);
        ReaderCounts {
            packets: given,
            decoded: given,
            ..ReaderCounts::default()
        }
    }

    fn decoder(&self) -> Option<String> {
        None
    }
}

/// One source over made-up frames, wired as the program wires it.
struct Rig {
    crew: Crew,
    shared: Crew,
    inference: Inference,
    board: Board,
    gauges: SourceGauges,
    judged: LinkReceiver<JudgedFrame>,
    news: LinkReceiver<Notice>,
    given: Arc<AtomicU64>,
}

/// How many judged frames wait to be taken.
const TAKEN: usize = 2;

impl Rig {
    /// A recording; `None` where the library that runs the model is missing.
    fn new(count: u64, sessions: usize, watch: Rate) -> Option<Self> {
        let spec = SourceSpec::recorded(SourceId::new("made-up"), Location::File("made-up.mp4".into()));
        Self::of(spec, count, None, sessions, watch)
    }

    /// A camera that never ends by itself.
    fn live(pause: Duration, max_staleness: Duration) -> Option<Self> {
        let location = Location::Rtsp("rtsp://127.0.0.1:9/made-up".to_owned());
        let mut spec = SourceSpec::live(SourceId::new("made-up"), location);
        spec.max_staleness = max_staleness;
        Self::of(spec, u64::MAX, Some(pause), 1, Rate::All)
    }

    fn of(
        spec: SourceSpec,
        count: u64,
        pause: Option<Duration>,
        sessions: usize,
        watch: Rate,
    ) -> Option<Self> {
        let Ok(runtime) = Runtime::load() else {
            println!("skipped: no ONNX Runtime library, run `make deps`");
            return None;
        };
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fire-smoke-nano");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let board = Board::default();
        let mut shared = Crew::new(board.clone(), Stop::new());
        let settings = InferenceSettings {
            session: SessionOptions::default(),
            sessions,
            bounds: BatchBounds {
                size: 1,
                wait: Duration::from_millis(5),
            },
        };
        let models = Models::new(Model::load(&folder).unwrap(), None);
        let inference = Inference::start(&mut shared, &board, models, &runtime, &settings, &clock).unwrap();
        let given = Arc::new(AtomicU64::new(0));
        let opener = Arc::new(Frames {
            count,
            given: Arc::clone(&given),
            clock: Arc::clone(&clock),
            pause,
        });
        let (judged, taken) = link::<JudgedFrame>("taken", TAKEN, Arc::clone(&clock));
        let (notices, news) = link::<Notice>("notices", 64, Arc::clone(&clock));
        let plan = SourcePlan {
            spec: Arc::new(spec),
            mount: Mount::Fixed,
            duty: Duty::Watch,
            rates: Rates { watch, alarm: watch },
            track: TrackSettings::default(),
            verify: VerifySettings::default(),
            masks: Vec::new(),
            privacy: Vec::new(),
            window: None,
            thinning: Arc::default(),
            turning: None,
        };
        let mut crew = Crew::new(board.clone(), Stop::new());
        let outlets = Outlets {
            judged: Box::new(move |frame| judged.send(frame).is_ok()),
            telemetry: Box::new(|_piece| {}),
            notices,
            tap: None,
            large: None,
        };
        let gauges = source::start(&mut crew, &board, &inference, &plan, opener, &clock, outlets).unwrap();
        Some(Self {
            crew,
            shared,
            inference,
            board,
            gauges,
            judged: taken,
            news,
            given,
        })
    }

    /// Returns what the source's threads and then the shared ones ended with.
    fn end(self) -> (Vec<Ending>, Vec<Ending>) {
        let own = self.crew.join();
        drop(self.inference);
        (own, self.shared.join())
    }

    /// Waits until no frame moves any more: the same count over a second and a half, since a look can take half a second
    /// on a busy machine.
    fn until_still(&self) -> u64 {
        let stop = Stop::new();
        let (mut before, mut same) = (u64::MAX, 0);
        for _ in 0..60 {
            let now = self.given.load(Ordering::SeqCst);
            same = if now == before { same + 1 } else { 0 };
            if same == 3 {
                return now;
            }
            before = now;
            let _never = stop.wait_for(Duration::from_millis(500));
        }
        panic!("frames still move after half a minute");
    }
}

#[test]
fn every_frame_comes_out_once_and_in_order_however_many_look() {
    for sessions in [1, 3] {
        let Some(rig) = Rig::new(60, sessions, Rate::All) else {
            return;
        };
        let mut numbers = Vec::new();
        while let Some(frame) = rig.judged.receive() {
            numbers.push(frame.meta.sequence);
        }
        assert_eq!(numbers, (0..60).collect::<Vec<_>>());
        assert_eq!(rig.gauges.inferred.load(Ordering::SeqCst), 60);
        let (own, shared) = rig.end();
        assert!(root_cause(&own).is_none() && root_cause(&shared).is_none());
    }
}

#[test]
fn what_goes_in_is_inferred_or_skipped_on_purpose() {
    let Some(rig) = Rig::new(100, 2, Rate::PerSecond(2.0)) else {
        return;
    };
    let mut taken = 0;
    let mut skipped_before = 0;
    while let Some(frame) = rig.judged.receive() {
        taken += 1;
        skipped_before += u64::from(frame.meta.gap.skipped);
        assert_eq!(frame.meta.gap.lost(), 0);
    }
    let skipped = rig.gauges.frames.skipped();
    assert_eq!((taken, taken + skipped), (20, 100));
    // Each frame says how many were skipped before it; those after the last are in the count alone.
    assert_eq!(skipped_before, 76);
    let totals = std::iter::from_fn(|| match rig.news.receive_within(Duration::ZERO) {
        Received::Item(notice) => Some(notice),
        _ => None,
    })
    .find_map(|notice| match notice {
        Notice::Ended(_, outcome) => Some(outcome.unwrap()),
        _ => None,
    })
    .expect("the end of the recording is told");
    assert_eq!(totals.frames_in, 100);
    let (own, _) = rig.end();
    assert!(root_cause(&own).is_none());
}

#[test]
fn a_taker_that_stands_still_holds_the_source_back_and_nothing_is_lost() {
    let Some(rig) = Rig::new(500, 2, Rate::All) else {
        return;
    };
    let given = rig.until_still();
    // Nobody takes anything: what was read lies in the links, in the stages' hands, or waits to be taken.
    let lying: u64 = rig.board.links().iter().map(|stats| stats.depth()).sum();
    // ingest, sample, preprocess, batch, two sessions, order, track and verify may each hold one, two sessions' worth
    // of them finished and waiting for their turn.
    let hands = 9;
    let waiting = TAKEN as u64;
    assert!(
        given >= lying && given <= lying + waiting + hands,
        "{given} read, {lying} lie in links"
    );
    assert!(given < 40, "{given} frames were read though nobody takes any");
    let mut numbers = Vec::new();
    while let Some(frame) = rig.judged.receive() {
        numbers.push(frame.meta.sequence);
    }
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    let (own, shared) = rig.end();
    assert!(root_cause(&own).is_none() && root_cause(&shared).is_none());
}

#[test]
fn live_frames_that_grow_old_on_their_way_are_not_looked_at_and_the_next_one_tells() {
    let max_staleness = Duration::from_millis(200);
    let Some(rig) = Rig::live(Duration::from_millis(5), max_staleness) else {
        return;
    };
    let first = rig.judged.receive().expect("frames come");
    // Nobody takes anything for a while: the way fills up, and what lies on it grows old.
    let _never = Stop::new().wait_for(max_staleness * 4);
    let passed_meanwhile = rig.gauges.frames.passed();
    let (mut last, mut told, mut taken) = (first.meta.sequence, 0, 1);
    while taken < 30 {
        let frame = rig.judged.receive().expect("frames go on coming");
        taken += 1;
        let between = frame.meta.sequence - last - 1;
        let gap = frame.meta.gap;
        assert!(
            u64::from(gap.lost() + gap.skipped) >= between,
            "{between} frames are missing before {}, and it tells {gap:?}",
            frame.meta.sequence
        );
        told += u64::from(gap.stale);
        last = frame.meta.sequence;
    }
    // What waited for the model when it was too late is among them, not only what the sampler held.
    assert!(told >= 2, "{told} of {passed_meanwhile} grew old");
    assert!(rig.gauges.frames.stale() >= told);
    rig.crew.stop().request();
    while rig.judged.receive().is_some() {}
    let (own, shared) = rig.end();
    assert!(root_cause(&own).is_none() && root_cause(&shared).is_none());
}

#[test]
fn a_taker_that_leaves_ends_the_source_and_not_the_others() {
    let Some(rig) = Rig::new(100_000, 2, Rate::All) else {
        return;
    };
    assert!(rig.judged.receive().is_some());
    let Rig {
        crew,
        shared,
        inference,
        judged,
        given,
        ..
    } = rig;
    drop(judged);
    let endings = crew.join();
    assert!(given.load(Ordering::SeqCst) < 1_000);
    // Every thread left because the one after it had; the cause is where it began.
    let cause = root_cause(&endings).expect("something made them leave");
    assert_eq!(
        (cause.thread.as_str(), &cause.exit),
        ("made-up/verify", &Exit::DownstreamClosed),
        "{endings:?}"
    );
    // A recording that nobody takes any more has not been read to its end.
    let reading = endings.iter().find(|ending| ending.thread == "made-up/ingest");
    assert_eq!(reading.map(|ending| &ending.exit), Some(&Exit::DownstreamClosed));
    assert!(
        !shared.has_ended(),
        "the shared threads go on for the other sources"
    );
    drop(inference);
    assert!(root_cause(&shared.join()).is_none());
}

#[test]
fn a_stop_at_any_moment_ends_every_thread_and_hands_on_what_is_on_its_way() {
    for after in [0, 1, 5, 23] {
        let Some(rig) = Rig::new(100_000, 2, Rate::All) else {
            return;
        };
        let taken = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..after {
            let frame = rig.judged.receive().expect("frames come");
            taken.lock().unwrap().push(frame.meta.sequence);
        }
        rig.crew.stop().request();
        while let Some(frame) = rig.judged.receive() {
            taken.lock().unwrap().push(frame.meta.sequence);
        }
        let numbers = taken.lock().unwrap().clone();
        assert_eq!(
            numbers,
            (0..numbers.len() as u64).collect::<Vec<_>>(),
            "a gap after a stop at {after}"
        );
        assert_eq!(
            rig.given.load(Ordering::SeqCst),
            numbers.len() as u64,
            "stopped after {after}: what was read was judged"
        );
        let (own, _) = rig.end();
        assert!(root_cause(&own).is_none());
    }
}
