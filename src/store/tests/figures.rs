//! The figures of a period.

use std::collections::BTreeMap;

use super::sample::{at, change, folder, incident, moved, open};
use crate::flow::incident::{Milestone, RejectReason, State};
use crate::store::{GroupBy, ReportQuery};

#[test]
fn a_report_counts_what_happened_and_how_fast() {
    let folder = folder();
    let store = open(&folder);
    // Ten are confirmed and accepted 60 to 600 s after they were first seen, every other one put out in time; three are
    // rejected; two are judged by nobody; one is a drill; one came in the period before.
    for number in 0..10_i64 {
        let first = change(incident(number.unsigned_abs(), 5), None);
        let second = moved(&first.incident, State::Confirmed, 30);
        let third = moved(&second.incident, State::Accepted, 60 * (number + 1));
        let mut changes = vec![first, second, third];
        if number % 2 == 0 {
            changes.push(moved(&changes[2].incident, State::Extinguished, 1_000));
        }
        store.commit(&changes, at(1_000)).expect("they are new");
    }
    for number in 20..23 {
        let mut fresh = incident(number, 5);
        fresh.grid.as_mut().expect("it has a cell").township = Some("阳庙镇".to_owned());
        let first = change(fresh, None);
        let second = moved(&first.incident, State::Rejected, 50);
        store.commit(&[first, second], at(50)).expect("they are new");
    }
    for number in 30..32 {
        store
            .commit(&[change(incident(number, 5), None)], at(5))
            .expect("it is new");
    }
    let mut drill = incident(40, 5);
    drill.drill = true;
    store.commit(&[change(drill, None)], at(5)).expect("it is new");
    store
        .commit(&[change(incident(50, -80_000), None)], at(-80_000))
        .expect("it is new");

    let report = store
        .period_report(&ReportQuery {
            from: at(0),
            until: at(86_400),
            group_by: GroupBy::Township,
            now: at(7_200),
        })
        .expect("reading works");
    let total = &report.total;
    assert_eq!(
        (total.pushed, total.confirmed, total.rejected, total.unjudged),
        (15, 10, 3, 2)
    );
    assert_eq!((total.drills, report.before.pushed), (1, 1));
    assert_eq!(
        total.rejected_by_reason,
        BTreeMap::from([(RejectReason::Dust, 3)])
    );
    assert_eq!(total.confirmation_rate(), Some(10.0 / 13.0));
    assert_eq!(report.profiles, ["1530"]);
    let responded = &total.milestones[&Milestone::Responded];
    // Accepted at 60, 120, … 600 s; the incidents begin at 0 s.
    assert_eq!((responded.set, responded.reached), (12, 10));
    assert_eq!(
        (responded.in_time, responded.overdue),
        (5, 7),
        "five within 300 s; two never"
    );
    assert_eq!(responded.median_s, Some(330.0));
    assert!((responded.p90_s.expect("ten values") - 546.0).abs() < 1e-9);
    assert_eq!(responded.compliance(), Some(5.0 / 12.0));
    // No deadline is set for the confirmation, and still it is measured.
    let confirmed = &total.milestones[&Milestone::Confirmed];
    assert_eq!(
        (confirmed.set, confirmed.reached, confirmed.median_s),
        (0, 10, Some(30.0))
    );
    let names: Vec<_> = report
        .areas
        .iter()
        .map(|area| (area.name.as_str(), area.confirmed, area.pushed))
        .collect();
    assert_eq!(names, [("苏家作乡", 10, 12), ("阳庙镇", 0, 3)]);
    assert_eq!(report.areas[1].confirmation_rate(), Some(0.0));
}

#[test]
fn an_empty_period_has_no_rates() {
    let folder = folder();
    let report = open(&folder)
        .period_report(&ReportQuery {
            from: at(0),
            until: at(86_400),
            group_by: GroupBy::Source,
            now: at(0),
        })
        .expect("reading works");
    assert_eq!(report.total.confirmation_rate(), None);
    assert!(report.areas.is_empty());
}
