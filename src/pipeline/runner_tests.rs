use super::*;
use crate::clock::SystemClock;
use crate::pipeline::exit::root_cause;
use crate::pipeline::link::link;

/// Doubles numbers; panics or fails on the numbers it is told to.
struct Double {
    panics_on: Option<u32>,
    fails_on: Option<u32>,
    held: Vec<u32>,
}

impl Double {
    fn new() -> Self {
        Self {
            panics_on: None,
            fails_on: None,
            held: Vec::new(),
        }
    }
}

impl Stage for Double {
    type In = u32;
    type Out = u32;

    fn process(&mut self, item: u32, emit: &mut Emit<'_, u32>) -> Result<(), StageError> {
        assert_ne!(Some(item), self.panics_on, "told to panic");
        if Some(item) == self.fails_on {
            return Err(StageError::item("told to fail"));
        }
        self.held.push(item * 2);
        if self.held.len() > 1 {
            emit.send(self.held.remove(0));
        }
        Ok(())
    }

    fn flush(&mut self, emit: &mut Emit<'_, u32>) -> Result<(), StageError> {
        for item in self.held.drain(..) {
            emit.send(item);
        }
        Ok(())
    }
}

fn clock() -> Arc<dyn crate::clock::Clock> {
    Arc::new(SystemClock::new())
}

/// Runs two doubling stages over 0..count and returns what came out and how the threads ended.
fn run(count: u32, first: Double, second: Double) -> (Vec<u32>, Vec<Ending>) {
    let mut crew = Crew::new(Board::default(), Stop::new());
    let (head, into_first) = link("head", 1, clock());
    let (from_first, into_second) = link("middle", 1, clock());
    let (from_second, tail) = link("tail", 1, clock());
    crew.stage("x/second", second, into_second, from_second).unwrap();
    crew.stage("x/first", first, into_first, from_first).unwrap();
    crew.spawn("x/head", move |_, _| {
        for number in 0..count {
            if head.send(number).is_err() {
                return Exit::DownstreamClosed;
            }
        }
        Exit::Drained
    })
    .unwrap();
    let mut out = Vec::new();
    while let Some(number) = tail.receive() {
        out.push(number);
    }
    (out, crew.join())
}

#[test]
fn closing_the_head_drains_every_stage_and_loses_nothing() {
    let (out, endings) = run(1000, Double::new(), Double::new());
    assert_eq!(out, (0..1000).map(|number| number * 4).collect::<Vec<_>>());
    assert!(root_cause(&endings).is_none(), "{endings:?}");
    assert_eq!(endings.len(), 3);
}

#[test]
fn a_panic_in_any_stage_ends_the_pipeline_and_is_named() {
    for broken in ["x/first", "x/second"] {
        let panicking = || Double {
            panics_on: Some(if broken == "x/first" { 10 } else { 20 }),
            ..Double::new()
        };
        let (first, second) = if broken == "x/first" {
            (panicking(), Double::new())
        } else {
            (Double::new(), panicking())
        };
        let (out, endings) = run(1000, first, second);
        assert!(out.len() < 1000);
        let cause = root_cause(&endings).unwrap();
        assert_eq!(cause.thread, broken);
        assert!(
            matches!(&cause.exit, Exit::Panicked(why) if why.contains("told to panic")),
            "{cause:?}"
        );
    }
}

#[test]
fn one_bad_item_is_counted_and_the_rest_goes_on() {
    let (out, endings) = run(
        10,
        Double {
            fails_on: Some(3),
            ..Double::new()
        },
        Double::new(),
    );
    assert_eq!(out.len(), 9);
    assert!(root_cause(&endings).is_none());
}

#[test]
fn a_hundred_bad_items_in_a_row_fail_the_stage() {
    struct Broken;
    impl Stage for Broken {
        type In = u32;
        type Out = u32;
        fn process(&mut self, _item: u32, _emit: &mut Emit<'_, u32>) -> Result<(), StageError> {
            Err(StageError::item("always"))
        }
    }
    let board = Board::default();
    let mut crew = Crew::new(board.clone(), Stop::new());
    let (head, input) = link("head", 4, clock());
    let (output, _tail) = link::<u32>("tail", 1, clock());
    crew.stage("x/broken", Broken, input, output).unwrap();
    let mut sent = 0;
    while head.send(sent).is_ok() {
        sent += 1;
    }
    let endings = crew.join();
    assert_eq!(endings[0].exit, Exit::Failed("always".into()));
    assert_eq!(board.stage("x/broken").failures(), u64::from(FAILURES_IN_A_ROW));
}

#[test]
fn a_stop_finishes_what_is_on_its_way() {
    let stop = Stop::new();
    let mut crew = Crew::new(Board::default(), stop.clone());
    let (head, input) = link("head", 8, clock());
    let (output, tail) = link::<u32>("tail", 100, clock());
    for number in 0..8 {
        head.send(number).unwrap();
    }
    drop(head);
    stop.request();
    crew.stage("x/double", Double::new(), input, output).unwrap();
    assert_eq!(crew.join()[0].exit, Exit::Drained);
    let mut out = Vec::new();
    while let Some(number) = tail.receive() {
        out.push(number);
    }
    assert_eq!(out, (0..8).map(|number| number * 2).collect::<Vec<_>>());
}

#[test]
fn every_item_is_somewhere_sent_equals_received_plus_in_flight() {
    let mut crew = Crew::new(Board::default(), Stop::new());
    let (head, input) = link("head", 3, clock());
    let (output, tail) = link::<u32>("tail", 2, clock());
    let stats = (head.stats(), tail.stats());
    crew.stage("x/double", Double::new(), input, output).unwrap();
    // 3 wait in the head, one is in process, one is held by the stage, 2 wait in the tail: the 8th must wait.
    for number in 0..7 {
        head.send(number).unwrap();
    }
    let mut taken = 0;
    while taken < 3 {
        assert!(tail.receive().is_some());
        taken += 1;
    }
    drop(head);
    while tail.receive().is_some() {
        taken += 1;
    }
    assert_eq!(taken, 7);
    assert_eq!(
        (stats.0.sent(), stats.0.depth(), stats.1.sent(), stats.1.depth()),
        (7, 0, 7, 0)
    );
    assert!(root_cause(&crew.join()).is_none());
}
