//! The desk: the book and the store together.

use std::sync::Arc;
use std::time::Duration;

use super::scene::{FIELD, at, book, field, report};
use crate::clock::SimulatedClock;
use crate::flow::incident::{Actor, State};
use crate::stages::incident::{Act, Action, IncidentConfig, IncidentDesk, Refusal};
use crate::store::{ErrorKind, SinkStart, Store, StoreOptions};

fn desk(store: Store, seconds: i64) -> (IncidentDesk, Arc<SimulatedClock>) {
    let clock = Arc::new(SimulatedClock::new(at(seconds)));
    let desk = IncidentDesk::open(book(IncidentConfig::default()), store, clock.clone()).expect("it opens");
    (desk, clock)
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("it opens");
    store
        .register_sink("webhook", SinkStart::Now, at(0))
        .expect("it is new");
    let (first, _) = desk(store, 6);
    let changes = first
        .report(&report("tower-1", 1, FIELD, 0, 5))
        .expect("it is written");
    let id = changes[0].incident.id;
    first.set_drill(true).expect("it is written");
    drop(first);
    let (second, _) = desk(Store::open(folder.path()).expect("it opens"), 20);
    assert!(second.is_drill());
    // Track numbers begin again; the place says which fire it is.
    second
        .report(&report("tower-1", 1, field(4.0, 0.0), 15, 18))
        .expect("it is written");
    let acted = second
        .act(&Act::new(id, Actor::person("李"), Action::Confirm))
        .expect("it is suspected");
    assert_eq!(acted.incident.state, State::Confirmed);
    let store = second.store();
    let kinds: Vec<_> = store
        .pending("webhook", 10, at(30))
        .expect("it is known")
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            "emberwatch.incident.suspected.v1",
            "emberwatch.incident.confirmed.v1"
        ],
        "the same fire through the same track number is no news by itself"
    );
    assert_eq!(store.history(id).expect("it is known").len(), 2);
}

#[test]
fn two_programs_on_one_folder_do_not_overwrite_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (running, _) = desk(Store::open(folder.path()).expect("it opens"), 6);
    let id = running
        .report(&report("tower-1", 1, FIELD, 0, 5))
        .expect("it is written")[0]
        .incident
        .id;
    let (console, _) = desk(Store::open(folder.path()).expect("it opens"), 10);
    console
        .act(&Act::new(id, Actor::person("李"), Action::Confirm))
        .expect("it is suspected");
    // The running program does not know yet; its report must not undo the confirmation.
    let changes = running
        .report(&report("tower-2", 1, field(5.0, 0.0), 3, 8))
        .expect("it is written");
    assert_eq!(changes[0].incident.state, State::Confirmed);
    assert_eq!(changes[0].incident.revision, 3);
    // A drill that one begins is seen by the other when it looks at the clock.
    console.set_drill(true).expect("it is written");
    running.tick().expect("nothing is due");
    assert!(running.is_drill());
    let mut stale = Act::new(id, Actor::person("王"), Action::Dispatch { team: None });
    stale.expected_revision = Some(2);
    assert!(matches!(
        console.act(&stale),
        Err(Refusal::Stale { found: 3, .. })
    ));
}

#[test]
fn while_the_disk_is_full_detection_goes_on_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = |max_pages| StoreOptions {
        max_pages,
        ..StoreOptions::default()
    };
    let store = Store::open_with(folder.path(), pages(Some(90))).expect("it opens");
    let (desk, clock) = desk(store, 0);
    let mut acknowledged = Vec::new();
    let mut trouble = None;
    for number in 0..400 {
        clock.advance(Duration::from_secs(1));
        let seen = report(
            "tower-1",
            number,
            field(1_000.0 * number as f64, 0.0),
            number as i64,
            number as i64,
        );
        match desk.report(&seen) {
            Ok(changes) => acknowledged.extend(changes.into_iter().map(|change| change.incident.id)),
            Err(error) => {
                trouble = Some(error);
                break;
            }
        }
    }
    let trouble = trouble.expect("90 pages hold no 400 incidents");
    assert_eq!(trouble.kind(), ErrorKind::Full);
    assert!(trouble.hint().contains("free space"));
    assert!(!acknowledged.is_empty());
    // Detection goes on in memory; what a person asks is refused, not promised.
    let seen = report("tower-2", 1, field(-5_000.0, 0.0), 400, 405);
    desk.report(&seen).expect_err("still full");
    let refusal = desk
        .act(&Act::new(acknowledged[0], Actor::person("李"), Action::Confirm))
        .expect_err("it cannot be written");
    assert_eq!(refusal.status(), 503);
    assert_eq!(desk.backlog().0, 2);
    for id in &acknowledged {
        assert!(desk.store().incident(*id).expect("reading works").is_some());
    }
    // Space again.
    desk.store().set_max_pages(10_000).expect("it can be set");
    desk.tick().expect("it is written");
    assert_eq!(desk.backlog().0, 0);
    let all = desk.store().incidents(&crate::store::IncidentFilter {
        limit: 1_000,
        ..Default::default()
    });
    assert_eq!(
        all.expect("reading works").incidents.len(),
        acknowledged.len() + 2
    );
}

#[test]
fn an_act_on_an_incident_that_is_long_over_finds_it_in_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let (desk, clock) = desk(Store::open(folder.path()).expect("it opens"), 6);
    let id = desk
        .report(&report("tower-1", 1, FIELD, 0, 5))
        .expect("it is written")[0]
        .incident
        .id;
    for action in [Action::Confirm, Action::Extinguish, Action::Close] {
        desk.act(&Act::new(id, Actor::person("李"), action))
            .expect("the life cycle allows it");
    }
    clock.advance(Duration::from_hours(40 * 24));
    desk.tick().expect("it is written");
    let acted = desk
        .act(&Act::new(id, Actor::person("李"), Action::Hold { keep: true }))
        .expect("it is in the store");
    assert!(acted.incident.legal_hold);
}
