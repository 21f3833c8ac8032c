//! The store with 100,000 incidents over a year: a list by area and state, and the report of a month.
//!
//! `cargo bench --bench store`

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(
    clippy::unwrap_used,
    reason = "criterion makes the functions; a bench that cannot go on stops"
)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use emberwatch::flow::incident::State;
use emberwatch::store::{Area, GroupBy, IncidentFilter, ReportQuery, Store};
use jiff::{SignedDuration, Timestamp};

#[path = "store/fill.rs"]
mod fill;

#[path = "store/machine.rs"]
mod machine;

const INCIDENTS: u64 = 100_000;

fn filled(folder: &Path) -> (Store, Timestamp) {
    let start: Timestamp = "2026-01-01T00:00:00+08:00".parse().unwrap();
    let store = Store::open(folder).unwrap();
    fill::fill(&store, INCIDENTS, start);
    (store, start)
}

fn large_store(criterion: &mut Criterion) {
    println!("machine: {}", machine::machine());
    let folder = tempfile::tempdir().unwrap();
    let (store, start) = filled(folder.path());
    let filter = IncidentFilter {
        states: vec![State::Confirmed, State::Dispatched],
        area: Area {
            township: Some("乡镇07".to_owned()),
            ..Area::default()
        },
        limit: 100,
        ..IncidentFilter::default()
    };
    assert_eq!(store.incidents(&filter).unwrap().incidents.len(), 100);
    let mut group = criterion.benchmark_group("100,000 incidents");
    group.sample_size(20);
    group.bench_function("list by area and state", |bencher| {
        bencher.iter(|| black_box(store.incidents(&filter).unwrap()));
    });
    let query = ReportQuery {
        from: start + SignedDuration::from_hours(30 * 24),
        until: start + SignedDuration::from_hours(60 * 24),
        group_by: GroupBy::Township,
        now: start + SignedDuration::from_hours(365 * 24),
    };
    assert!(store.period_report(&query).unwrap().total.pushed > 8_000);
    group.bench_function("report of a month", |bencher| {
        bencher.iter(|| black_box(store.period_report(&query).unwrap()));
    });
    group.finish();
}

criterion_group!(benches, large_store);
criterion_main!(benches);
