//! The daily round, on a simulated clock.

use std::time::Duration;

use super::sample::{at, change, file, folder, incident, open};
use crate::clock::{Clock, SimulatedClock};
use crate::store::{RetentionPolicy, RetentionRounds};

const HASH_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const HOUR: Duration = Duration::from_hours(1);

#[test]
fn a_round_comes_once_a_day_over_restarts_and_deletes_on_the_day_it_must() {
    let folder = folder();
    let store = open(&folder);
    let picture = store.evidence_folder().join("old.jpg");
    std::fs::write(&picture, b"abc").expect("it is written");
    let mut first = change(incident(1, 0), None);
    first.evidence = vec![file("old.jpg", HASH_OF_ABC, 3)];
    store.commit(&[first], at(0)).expect("it is new");

    let clock = SimulatedClock::new(at(0));
    let rounds = RetentionRounds::new(RetentionPolicy::default());
    let mut made = 0;
    let mut deleted_after_hours = Vec::new();
    drop(store);
    for hour in 0..24 * 40 {
        // The program is started anew every hour.
        let store = open(&folder);
        if let Some(summary) = rounds.tick(&store, clock.wall()).expect("it is written") {
            made += 1;
            if summary.files > 0 {
                deleted_after_hours.push(hour);
            }
        }
        clock.advance(HOUR);
    }
    assert_eq!(made, 40, "one a day");
    // The round of the thirtieth day comes when it is exactly as old as it may be: the next one deletes it.
    assert_eq!(deleted_after_hours, [24 * 31]);
    assert!(!picture.try_exists().expect("it can be looked at"));
    let log = open(&folder).deletions().expect("reading works");
    assert_eq!(log.len(), 1);
    assert_eq!(log[0][1..3], ["old.jpg".to_owned(), HASH_OF_ABC.to_owned()]);
    assert_eq!(log[0][4], "unconfirmed");
}

#[test]
fn a_clock_that_was_set_back_and_a_long_stop_do_not_keep_the_round_away() {
    let folder = folder();
    let store = open(&folder);
    let rounds = RetentionRounds::new(RetentionPolicy::default());
    let day = 86_400;
    let made = |seconds| rounds.tick(&store, at(seconds)).expect("it is written").is_some();
    assert!(made(100 * day), "the first");
    assert!(!made(100 * day + 3600));
    assert!(made(10 * day), "the clock was wrong before");
    assert!(made(300 * day), "after a long stop");
}
