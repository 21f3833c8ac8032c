//! Deliveries: order, retries, dead letters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::sample::{at, folder, id, incident, moved, open, opened};
use crate::flow::incident::State;
use crate::store::{DeliveryFilter, DeliveryState, ErrorKind, SinkStart, Store};

fn seqs(store: &Store, sink: &str, seconds: i64) -> Vec<i64> {
    store
        .pending(sink, 100, at(seconds))
        .expect("it is known")
        .iter()
        .map(|pending| pending.seq)
        .collect()
}

/// Two incidents; events 1 and 3 are of the first, 2 and 4 of the second.
fn interleaved(store: &Store) {
    store
        .commit(&[opened(1, 0), opened(2, 0)], at(0))
        .expect("they are new");
    let steps = [
        moved(&incident(1, 0), State::Confirmed, 10),
        moved(&incident(2, 0), State::Confirmed, 10),
    ];
    store.commit(&steps, at(10)).expect("they follow");
}

#[test]
fn every_sink_gets_every_event_once_it_is_known() {
    let folder = folder();
    let store = open(&folder);
    store
        .register_sink("early", SinkStart::Now, at(0))
        .expect("it is new");
    interleaved(&store);
    store
        .register_sink("late", SinkStart::Now, at(20))
        .expect("it is new");
    store
        .register_sink("curious", SinkStart::Beginning, at(20))
        .expect("it is new");
    store
        .register_sink("early", SinkStart::Beginning, at(20))
        .expect("it is known");
    assert_eq!(seqs(&store, "early", 20), [1, 2, 3, 4]);
    assert!(seqs(&store, "late", 20).is_empty());
    assert_eq!(seqs(&store, "curious", 20), [1, 2, 3, 4]);
    assert_eq!(
        store
            .pending("nobody", 1, at(0))
            .expect_err("it is not known")
            .kind(),
        ErrorKind::NotFound
    );
    let event = store.pending("early", 1, at(20)).expect("it is known")[0]
        .event()
        .expect("it is whole");
    assert_eq!(event.subject, id(1).to_string());
}

#[test]
fn a_failed_event_holds_back_its_incident_and_no_other() {
    let folder = folder();
    let store = open(&folder);
    store
        .register_sink("mqtt", SinkStart::Now, at(0))
        .expect("it is new");
    store
        .register_sink("webhook", SinkStart::Now, at(0))
        .expect("it is new");
    interleaved(&store);
    store
        .failed("mqtt", 1, "connection refused", at(60))
        .expect("it is pending");
    assert_eq!(seqs(&store, "mqtt", 30), [2, 4], "3 waits behind 1");
    assert_eq!(
        seqs(&store, "webhook", 30),
        [1, 2, 3, 4],
        "another sink's trouble"
    );
    assert_eq!(
        store.next_attempt_at("mqtt", at(30)).expect("reading works"),
        Some(at(60))
    );
    assert_eq!(seqs(&store, "mqtt", 60), [1, 2, 3, 4]);
    assert_eq!(
        store.pending("mqtt", 1, at(60)).expect("reading works")[0].attempts,
        1
    );
    store
        .delivered("mqtt", &[1, 2], at(61))
        .expect("they are pending");
    store
        .delivered("mqtt", &[1, 2], at(62))
        .expect("twice does nothing");
    assert_eq!(seqs(&store, "mqtt", 62), [3, 4]);
}

#[test]
fn a_dead_letter_lets_the_others_go_on_and_can_be_tried_again_or_dropped() {
    let folder = folder();
    let store = open(&folder);
    store
        .register_sink("webhook", SinkStart::Now, at(0))
        .expect("it is new");
    interleaved(&store);
    store
        .dead_letter("webhook", 1, &"x".repeat(10_000), at(5))
        .expect("it is pending");
    store
        .dead_letter("webhook", 2, "400 Bad Request", at(5))
        .expect("it is pending");
    assert_eq!(seqs(&store, "webhook", 20), [3, 4]);
    let status = &store.sinks().expect("reading works")[0];
    assert_eq!(
        (status.pending, status.dead, status.oldest_pending),
        (2, 2, Some(at(10)))
    );
    let dead = DeliveryFilter {
        state: Some(DeliveryState::Dead),
        ..DeliveryFilter::default()
    };
    let listed = store.deliveries(&dead).expect("reading works");
    assert_eq!(listed.len(), 2);
    assert_eq!(
        listed[0].problem.as_ref().map(String::len),
        Some(500),
        "a page of HTML is cut"
    );
    let one = DeliveryFilter {
        seq: Some(1),
        ..DeliveryFilter::default()
    };
    assert_eq!(store.retry(&one).expect("it is dead"), 1);
    assert_eq!(seqs(&store, "webhook", 20), [1, 3, 4]);
    assert_eq!(store.drop_deliveries(&dead, at(30)).expect("one is dead"), 1);
    assert_eq!(store.drop_deliveries(&one, at(30)).expect("it is pending"), 1);
    assert_eq!(seqs(&store, "webhook", 40), [3, 4]);
    let delivered = DeliveryFilter {
        state: Some(DeliveryState::Delivered),
        ..DeliveryFilter::default()
    };
    assert_eq!(
        store
            .drop_deliveries(&delivered, at(30))
            .expect_err("too late")
            .kind(),
        ErrorKind::Invalid
    );
    let nobody = DeliveryFilter {
        sink: Some("nobody".to_owned()),
        ..DeliveryFilter::default()
    };
    assert_eq!(
        store.retry(&nobody).expect_err("it is not known").kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn filtered_events_are_settled_without_an_attempt() {
    let folder = folder();
    let store = open(&folder);
    store
        .register_sink("robot", SinkStart::Now, at(0))
        .expect("it is new");
    interleaved(&store);
    store
        .filtered("robot", &[1, 2], at(20))
        .expect("they are pending");
    let all = store
        .deliveries(&DeliveryFilter::default())
        .expect("reading works");
    assert_eq!((all[0].state, all[0].attempts), (DeliveryState::Filtered, 0));
    assert_eq!(seqs(&store, "robot", 20), [3, 4]);
}

#[test]
fn a_sink_can_be_switched_off_and_forgotten() {
    let folder = folder();
    let store = open(&folder);
    store
        .register_sink("webhook", SinkStart::Now, at(0))
        .expect("it is new");
    store.disable_sink("webhook", "410 Gone").expect("it is known");
    interleaved(&store);
    let status = &store.sinks().expect("reading works")[0];
    assert_eq!(
        (status.disabled.as_deref(), status.pending),
        (Some("410 Gone"), 4)
    );
    store
        .register_sink("webhook", SinkStart::Now, at(30))
        .expect("it is known");
    assert_eq!(store.sinks().expect("reading works")[0].disabled, None);
    assert_eq!(store.retire_sink("webhook").expect("it is known"), 4);
    assert!(store.sinks().expect("reading works").is_empty());
}

#[test]
fn listeners_hear_of_every_transaction_with_events() {
    let folder = folder();
    let store = open(&folder);
    let heard = Arc::new(AtomicU32::new(0));
    let counter = heard.clone();
    store.on_enqueued(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    interleaved(&store.clone());
    assert_eq!(heard.load(Ordering::Relaxed), 2);
    assert_eq!(store.newest_event().expect("reading works"), 4);
    let after: Vec<_> = store
        .events_after(2, 1)
        .expect("reading works")
        .iter()
        .map(|event| event.seq)
        .collect();
    assert_eq!(after, [3]);
}

#[test]
fn deliveries_survive_a_restart() {
    let folder = folder();
    {
        let store = open(&folder);
        store
            .register_sink("webhook", SinkStart::Now, at(0))
            .expect("it is new");
        interleaved(&store);
        store.delivered("webhook", &[1], at(1)).expect("it is pending");
        store
            .failed("webhook", 2, "timeout", at(500))
            .expect("it is pending");
    }
    let store = open(&folder);
    store
        .register_sink("webhook", SinkStart::Now, at(0))
        .expect("it is known");
    assert_eq!(seqs(&store, "webhook", 20), [3]);
    assert_eq!(seqs(&store, "webhook", 500), [2, 3, 4]);
}
