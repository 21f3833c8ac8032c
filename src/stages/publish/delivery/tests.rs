use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use rand::{RngExt as _, SeedableRng as _};

use jiff::Timestamp;

use super::*;
use crate::flow::incident::{Incident, State};
use crate::flow::time::MonotonicTime;
use crate::stages::publish::samples;
use crate::stages::publish::sink::{BoxFuture, SinkError};
use crate::store::{Change, DeliveryFilter, DeliveryState, SinkStart};

/// Shows tokio's time, which stands still until everybody waits.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn monotonic(&self) -> MonotonicTime {
        MonotonicTime::from_origin(self.0.elapsed())
    }

    fn wall(&self) -> Timestamp {
        samples::now() + self.0.elapsed()
    }
}

/// When a call was taken, and which events it held: subject and sequence.
type TakenCall = (Instant, Vec<(String, i64)>);

type Answer = Box<dyn Fn(&Delivery) -> Result<(), SinkError> + Send + Sync>;

/// Answers as it is told and remembers what it took, call by call.
struct Script {
    answer: Answer,
    slow: Option<(String, Duration)>,
    concurrency: usize,
    batch_size: usize,
    calls: AtomicU32,
    taken: Mutex<Vec<TakenCall>>,
}

impl Script {
    fn new(answer: impl Fn(&Delivery) -> Result<(), SinkError> + Send + Sync + 'static) -> Self {
        Self {
            answer: Box::new(answer),
            slow: None,
            concurrency: 4,
            batch_size: 1,
            calls: AtomicU32::new(0),
            taken: Mutex::default(),
        }
    }

    fn taken(&self) -> Vec<(String, i64)> {
        let taken = self.taken.lock().unwrap();
        taken.iter().flat_map(|(_, events)| events.clone()).collect()
    }

    fn assert_in_order(&self) {
        let mut newest = HashMap::new();
        for (subject, sequence) in self.taken() {
            let before = newest.insert(subject.clone(), sequence);
            assert!(
                before.is_none_or(|before| before <= sequence),
                "{subject}: {before:?} then {sequence}"
            );
        }
    }
}

impl Sink for Script {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            for delivery in deliveries {
                if let Some((_, wait)) = self.slow.as_ref().filter(|(slow, _)| *slow == delivery.subject) {
                    tokio::time::sleep(*wait).await;
                }
                (self.answer)(delivery)?;
            }
            let taken = deliveries
                .iter()
                .map(|delivery| (delivery.subject.clone(), delivery.sequence));
            self.taken.lock().unwrap().push((Instant::now(), taken.collect()));
            Ok(())
        })
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}

struct Rig {
    store: Store,
    clock: Arc<TokioClock>,
    wake: Arc<Notify>,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    options: LoopOptions,
    incidents: HashMap<u128, Incident>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store
            .register_sink("sink", SinkStart::Now, samples::now())
            .unwrap();
        let wake = Arc::new(Notify::new());
        let woken = Arc::clone(&wake);
        store.on_enqueued(move || woken.notify_one());
        Self {
            store,
            clock: Arc::new(TokioClock(Instant::now())),
            wake,
            counters: Arc::default(),
            stop: watch::Sender::new(false),
            options: LoopOptions {
                name: "sink".to_owned(),
                filter: Filter::default(),
                backoff: Backoff::default(),
                max_attempts: 5,
                give_up_after: SignedDuration::from_hours(72),
                calls_per_minute: None,
                dry_run: false,
                inline_evidence: InlineEvidence::default(),
            },
            incidents: HashMap::new(),
            _folder: folder,
        }
    }

    /// Writes the next revision of each of these incidents, in one transaction.
    fn change(&mut self, numbers: impl IntoIterator<Item = u128>) {
        let now = self.clock.wall();
        let changes = numbers
            .into_iter()
            .map(|number| {
                let incident = self.incidents.entry(number).or_insert_with(|| {
                    let mut incident = samples::incident(number);
                    incident.revision = 0;
                    incident.evidence.clear();
                    incident
                });
                incident.revision += 1;
                incident.changed_at = now;
                Change {
                    incident: incident.clone(),
                    transition: samples::transition(incident),
                    events: vec![samples::event_of(incident)],
                    evidence: Vec::new(),
                }
            })
            .collect::<Vec<_>>();
        self.store.commit(&changes, now).unwrap();
    }

    fn start(&self, sink: &Arc<Script>) -> tokio::task::JoinHandle<()> {
        let delivery = DeliveryLoop {
            options: self.options.clone(),
            sink: Arc::clone(sink) as Arc<dyn Sink>,
            store: self.store.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            evidence: None,
            rng: ChaCha8Rng::seed_from_u64(1),
            wake: Arc::clone(&self.wake),
            stop: self.stop.subscribe(),
            counters: Arc::clone(&self.counters),
        };
        tokio::spawn(delivery.run())
    }

    fn count(&self, state: DeliveryState) -> usize {
        let filter = DeliveryFilter {
            state: Some(state),
            limit: 1_000_000,
            ..DeliveryFilter::default()
        };
        self.store.deliveries(&filter).unwrap().len()
    }

    async fn until_settled(&self) {
        while self.count(DeliveryState::Pending) > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_one_incident_arrive_in_order_though_every_third_attempt_fails() {
    let mut rig = Rig::new();
    let rng = Mutex::new(ChaCha8Rng::seed_from_u64(7));
    let sink = Arc::new(Script::new(move |_| {
        let fails = rng.lock().unwrap().random_range(0..3) == 0;
        if fails {
            Err(SinkError::busy("not now"))
        } else {
            Ok(())
        }
    }));
    rig.options.max_attempts = 1000;
    for _ in 0..20 {
        rig.change(0..10);
    }
    rig.start(&sink);
    rig.until_settled().await;
    sink.assert_in_order();
    assert_eq!(sink.taken().len(), 200);
    assert_eq!(rig.count(DeliveryState::Delivered), 200);
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_sink_loses_nothing_and_hardly_asks() {
    let mut rig = Rig::new();
    let start = Instant::now();
    let back = start + Duration::from_hours(1);
    let sink = Arc::new(Script::new(move |_| {
        if Instant::now() < back {
            Err(SinkError::unreachable("nobody there"))
        } else {
            Ok(())
        }
    }));
    rig.start(&sink);
    for minute in 0..60 {
        rig.change((0..5).map(|incident| incident + minute % 10));
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    let calls = sink.calls.load(Ordering::Relaxed);
    assert!(calls < 200, "{calls} calls during the outage");
    assert_eq!(rig.count(DeliveryState::Dead), 0);
    assert!(rig.counters.is_down.load(Ordering::Relaxed));
    rig.until_settled().await;
    sink.assert_in_order();
    assert_eq!(sink.taken().len(), 300);
    assert!(start.elapsed() < Duration::from_mins(62), "{:?}", start.elapsed());
    assert!(!rig.counters.is_down.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_will_never_be_taken_is_set_aside_and_its_incident_goes_on() {
    let mut rig = Rig::new();
    let sink = Arc::new(Script::new(|delivery| {
        if delivery.sequence == 2 {
            Err(SinkError::refused("too odd"))
        } else {
            Ok(())
        }
    }));
    for _ in 0..3 {
        rig.change([1]);
    }
    rig.start(&sink);
    rig.until_settled().await;
    assert_eq!(
        sink.taken().iter().map(|(_, seq)| *seq).collect::<Vec<_>>(),
        [1, 3]
    );
    let dead = DeliveryFilter {
        state: Some(DeliveryState::Dead),
        ..DeliveryFilter::default()
    };
    let dead = rig.store.deliveries(&dead).unwrap();
    assert_eq!(dead[0].seq, 2);
    assert_eq!(dead[0].problem.as_deref(), Some("too odd"));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_while_others_get_through_is_set_aside_after_its_attempts() {
    let mut rig = Rig::new();
    let poison = samples::incident(1).id.to_string();
    let sink = Arc::new(Script::new(move |delivery| {
        if delivery.subject == poison {
            Err(SinkError::busy("500"))
        } else {
            Ok(())
        }
    }));
    rig.change([1]);
    rig.start(&sink);
    for _ in 0..200 {
        rig.change([2]);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Dead), 1);
    assert_eq!(sink.taken().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_for_everything_buries_nothing() {
    let mut rig = Rig::new();
    let back = Instant::now() + Duration::from_hours(5);
    let sink = Arc::new(Script::new(move |_| {
        if Instant::now() < back {
            Err(SinkError::busy("500"))
        } else {
            Ok(())
        }
    }));
    rig.change(0..50);
    rig.start(&sink);
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Delivered), 50);
    let calls = sink.calls.load(Ordering::Relaxed);
    assert!(calls < 1000, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_old_to_matter_is_set_aside() {
    let mut rig = Rig::new();
    rig.options.give_up_after = SignedDuration::from_hours(2);
    let sink = Arc::new(Script::new(|_| Err(SinkError::unreachable("nobody there"))));
    rig.change([1]);
    rig.start(&sink);
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Dead), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_switches_its_sink_off_and_keeps_the_events() {
    let mut rig = Rig::new();
    let sink = Arc::new(Script::new(|_| Err(SinkError::gone("410"))));
    rig.change([1, 2]);
    rig.start(&sink).await.unwrap();
    let status = rig.store.sinks().unwrap();
    assert_eq!(status[0].disabled.as_deref(), Some("410"));
    assert_eq!(status[0].pending, 2);
}

#[tokio::test(start_paused = true)]
async fn a_robot_gets_digests_and_never_twenty_messages_a_minute() {
    let mut rig = Rig::new();
    rig.options.calls_per_minute = Some(18);
    let mut script = Script::new(|_| Ok(()));
    script.batch_size = 200;
    let sink = Arc::new(script);
    rig.start(&sink);
    for _ in 0..300 {
        rig.change([1, 2]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    rig.until_settled().await;
    assert_eq!(sink.taken().len(), 600);
    sink.assert_in_order();
    let taken = sink.taken.lock().unwrap();
    let minute = Duration::from_mins(1);
    for (at, _) in taken.iter() {
        let within = taken
            .iter()
            .filter(|(other, _)| *other >= *at && *other - *at < minute);
        assert!(within.count() < 20);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_filter_keeps_back_is_settled_and_not_sent() {
    let mut rig = Rig::new();
    rig.options.filter.states = vec![State::Closed];
    let sink = Arc::new(Script::new(|_| Ok(())));
    rig.change([1, 2]);
    rig.start(&sink);
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Filtered), 2);
    assert!(sink.taken().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_slow_incident_delays_no_other() {
    let mut rig = Rig::new();
    let mut script = Script::new(|_| Ok(()));
    script.slow = Some((samples::incident(1).id.to_string(), Duration::from_mins(10)));
    let sink = Arc::new(script);
    let start = Instant::now();
    rig.change([1, 2, 3]);
    rig.start(&sink);
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.change([1, 2, 3]);
    rig.until_settled().await;
    let taken = sink.taken.lock().unwrap();
    let early = taken
        .iter()
        .filter(|(at, _)| *at - start < Duration::from_secs(10));
    assert_eq!(early.count(), 4);
    assert_eq!(taken.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn stopping_delivers_what_waits_and_does_not_wait_for_a_sink_that_is_down() {
    let mut rig = Rig::new();
    let sink = Arc::new(Script::new(|_| Ok(())));
    rig.change(0..30);
    rig.stop.send_replace(true);
    rig.start(&sink).await.unwrap();
    assert_eq!(sink.taken().len(), 30);

    let down = Arc::new(Script::new(|_| Err(SinkError::unreachable("nobody there"))));
    rig.change(0..30);
    let start = Instant::now();
    rig.start(&down).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(rig.count(DeliveryState::Pending), 30);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_tried_again_is_delivered() {
    let mut rig = Rig::new();
    let refuse = Arc::new(AtomicBool::new(true));
    let refuses = Arc::clone(&refuse);
    let sink = Arc::new(Script::new(move |_| {
        if refuses.load(Ordering::Relaxed) {
            Err(SinkError::refused("no"))
        } else {
            Ok(())
        }
    }));
    rig.change([1]);
    rig.start(&sink);
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Dead), 1);
    refuse.store(false, Ordering::Relaxed);
    assert_eq!(rig.store.retry(&DeliveryFilter::default()).unwrap(), 1);
    rig.until_settled().await;
    assert_eq!(sink.taken().len(), 1);
}
