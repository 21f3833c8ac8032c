//! What makes no incident, and what does again.

use super::scene::{FIELD, act, at, book, captured, field, only, report};
use crate::flow::detection::{BBox, Class};
use crate::flow::event::EventType;
use crate::flow::incident::{RejectReason, State};
use crate::flow::report::TrackReport;
use crate::stages::incident::{Action, IncidentBook, IncidentConfig, Quiet};

fn rejected(reason: RejectReason) -> IncidentBook {
    let mut book = book(IncidentConfig::default());
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    act(&mut book, id, Action::Reject { reason }, 60).expect("it is suspected");
    book
}

fn later(track: u64, seconds: i64) -> TrackReport {
    report("tower-1", track, field(10.0, 5.0), seconds, seconds + 5)
}

#[test]
fn a_dismissed_chimney_stays_quiet() {
    let mut book = rejected(RejectReason::HouseholdChimney);
    assert!(book.process(&later(1, 70), at(76)).is_empty(), "the same track");
    assert!(
        book.process(&later(2, 3_600), at(3_606)).is_empty(),
        "a new track"
    );
    assert_eq!(book.quieted().get(&Quiet::Dismissed), Some(&2));
    assert_eq!(only(&book).state, State::Rejected);
}

#[test]
fn a_dismissed_chimney_that_bursts_into_flame_comes_back() {
    let mut book = rejected(RejectReason::HouseholdChimney);
    let mut flame = later(2, 3_600);
    flame.class = Class::Flame;
    let changes = book.process(&flame, at(3_606));
    assert_eq!(changes[0].events[0].kind, EventType::Reopened);
    assert_eq!(
        (changes[0].incident.state, changes[0].incident.reopened),
        (State::Suspected, 1)
    );
    assert_eq!(changes[0].incident.reject_reason, None);
}

#[test]
fn a_dismissed_plume_that_grows_comes_back() {
    let mut book = rejected(RejectReason::Steam);
    let mut grown = later(2, 600);
    grown.bbox = BBox::new(100.0, 100.0, 221.0, 200.0);
    assert_eq!(
        book.process(&grown, at(606)).len(),
        1,
        "more than 2.5 times the area"
    );
}

#[test]
fn a_dismissed_place_counts_again_after_a_day() {
    let mut book = rejected(RejectReason::Ritual);
    let changes = book.process(&later(2, 86_400 + 120), at(86_400 + 126));
    assert_eq!(changes[0].incident.revision, 1, "a new incident");
}

#[test]
fn a_passing_vehicle_says_nothing_of_the_place() {
    let mut book = rejected(RejectReason::VehicleLight);
    assert_eq!(book.process(&later(2, 600), at(606)).len(), 1);
    assert_eq!(book.incidents().count(), 2);
}

fn with_zone() -> IncidentConfig {
    toml::from_str(&format!(
        r#"
        [[quiet]]
        name = "Qingming burning place"
        zone = {{ circle = {{ lat = {}, lon = {}, radius_m = 100 }} }}
        classes = ["smoke", "flame"]
        schedule = {{ from = "2026-06-04", until = "2026-06-06", between = "08:00-12:00" }}

        [[quiet]]
        name = "brick kiln"
        zone = {{ circle = {{ lat = {}, lon = {}, radius_m = 100 }} }}
        "#,
        FIELD.lat,
        FIELD.lon,
        field(1_000.0, 0.0).lat,
        field(1_000.0, 0.0).lon,
    ))
    .expect("the configuration is sound")
}

#[test]
fn a_permitted_burn_is_quiet_in_its_hours_and_not_after() {
    let mut book = book(with_zone());
    assert!(book.process(&report("tower-1", 1, FIELD, 0, 5), at(6)).is_empty());
    assert_eq!(book.quieted().get(&Quiet::Zone), Some(&1));
    // 12:00 in Jiaozuo.
    let changes = book.process(&report("tower-1", 2, FIELD, 7_200, 7_205), at(7_206));
    assert_eq!(changes.len(), 1);
}

#[test]
fn a_known_kiln_may_smoke_but_not_burn() {
    let mut book = book(with_zone());
    let mut kiln = report("tower-1", 1, field(1_000.0, 20.0), 0, 5);
    assert!(book.process(&kiln, at(6)).is_empty());
    kiln.class = Class::Flame;
    assert_eq!(book.process(&kiln, at(7)).len(), 1);
}

#[test]
fn a_masked_part_of_a_picture_makes_no_incident() {
    let config: IncidentConfig = toml::from_str(
        r#"
        [[masks]]
        name = "house yard"
        source = "tower-1"
        polygon = [[0.0, 0.0], [0.2, 0.0], [0.2, 0.3], [0.0, 0.3]]
        "#,
    )
    .expect("the configuration is sound");
    let mut book = book(config);
    assert!(book.process(&report("tower-1", 1, FIELD, 0, 5), at(6)).is_empty());
    assert_eq!(book.process(&report("tower-2", 1, FIELD, 0, 5), at(6)).len(), 1);
}

#[test]
fn a_fire_that_flares_up_again_reopens_its_incident_with_a_new_clock() {
    let mut book = book(IncidentConfig::default());
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    for (action, seconds) in [
        (Action::Confirm, 10),
        (Action::Extinguish, 600),
        (Action::Close, 700),
    ] {
        act(&mut book, id, action, seconds).expect("the life cycle allows it");
    }
    // What is left smoulders: the same track goes on for a while.
    assert!(
        book.process(&report("tower-1", 1, FIELD, 0, 720), at(720))
            .is_empty()
    );
    // A new flame an hour later.
    let mut flame = report("tower-2", 8, field(15.0, 0.0), 4_000, 4_005);
    flame.class = Class::Flame;
    let changes = book.process(&flame, at(4_006));
    let incident = &changes[0].incident;
    assert_eq!((incident.id, incident.state), (id, State::Confirmed));
    assert_eq!(changes[0].events[0].kind, EventType::Reopened);
    assert_eq!(incident.sla.as_ref().map(|sla| sla.starts), Some(at(4_000)));
    assert_eq!(incident.first_seen, captured(0));
}

#[test]
fn smoke_that_goes_on_after_it_was_put_out_reopens() {
    let mut book = book(IncidentConfig::default());
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    act(&mut book, id, Action::Confirm, 10).expect("it is suspected");
    act(&mut book, id, Action::Extinguish, 600).expect("it is confirmed");
    assert!(
        book.process(&report("tower-1", 1, FIELD, 0, 1_150), at(1_151))
            .is_empty()
    );
    let changes = book.process(&report("tower-1", 1, FIELD, 0, 1_201), at(1_202));
    assert_eq!(
        changes[0].events[0].kind,
        EventType::Reopened,
        "ten minutes are over"
    );
}

#[test]
fn a_late_recording_never_reopens() {
    let mut book = book(IncidentConfig::default());
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    act(&mut book, id, Action::Confirm, 10).expect("it is suspected");
    act(&mut book, id, Action::Extinguish, 600).expect("it is confirmed");
    let mut upload = report("upload-1", 1, FIELD, 100, 400);
    upload.liveness = crate::flow::source::Liveness::Recorded;
    let changes = book.process(&upload, at(8_000));
    assert_eq!(
        changes[0].incident.id, id,
        "it shows the same fire at the same time"
    );
    assert_eq!(changes[0].incident.state, State::Extinguished);
    upload.track = 2;
    upload.first_seen = captured(5_000);
    upload.last_seen = captured(5_010);
    upload.class = Class::Flame;
    let changes = book.process(&upload, at(9_000));
    assert_ne!(changes[0].incident.id, id);
    assert!(changes[0].incident.late);
}

#[test]
fn in_a_drill_everything_is_marked_so() {
    let mut book = book(IncidentConfig::default());
    book.set_drill(true);
    let changes = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6));
    assert!(changes[0].incident.drill);
    assert!(
        changes[0].events[0]
            .incident()
            .expect("an incident")
            .properties
            .drill
    );
}
