//! Which reports become one incident.

use super::scene::{
    FIELD, act, at, book, captured, direction, field, only, report, round_position, snapshot,
};
use crate::flow::detection::{BBox, Class};
use crate::flow::event::EventType;
use crate::flow::incident::{State, TransitionKind};
use crate::flow::position::{Ellipse, Method, Place, Position};
use crate::flow::report::TrackReport;
use crate::flow::source::{Liveness, SourceId};
use crate::stages::incident::plane::distance_m;
use crate::stages::incident::{Action, IncidentConfig, Refusal};

#[test]
fn a_fire_seen_by_two_towers_and_a_drone_is_one_incident() {
    let mut book = book(IncidentConfig::default());
    let opened = book.process(&report("tower-1", 1, field(20.0, -10.0), 0, 5), at(6));
    let joined = book.process(&report("tower-2", 1, field(-15.0, 5.0), 2, 8), at(9));
    book.process(&report("drone-1", 7, field(3.0, 2.0), 30, 34), at(35));
    let incident = only(&book);
    assert_eq!(opened[0].events[0].kind, EventType::Suspected);
    assert_eq!(joined[0].events[0].kind, EventType::Updated);
    assert_eq!(incident.id, opened[0].incident.id);
    assert_eq!(incident.revision, 3);
    assert_eq!(incident.views.len(), 3);
    assert_eq!(incident.id.uuid().get_version_num(), 7);
    let position = incident.position.expect("three points");
    assert_eq!(position.method, Method::Triangulation);
    assert!(distance_m(position.point, FIELD) < 10.0);
    assert!(position.ce90_m < 30.0, "three views are better than one");
    assert_eq!(incident.first_seen, captured(0));
    assert_eq!(incident.last_seen, captured(34));
}

#[test]
fn the_upper_part_of_a_plume_is_no_second_fire_and_does_not_pull_on_the_place() {
    let boxed = |track, bbox, east, seconds| {
        let mut report = report("drone-1", track, field(east, 0.0), seconds, seconds + 5);
        report.bbox = bbox;
        report
    };
    let flame = TrackReport {
        class: Class::Flame,
        ..boxed(1, BBox::new(490.0, 475.0, 525.0, 504.0), 0.0, 0)
    };
    // Its lower edge, taken for a foot, lies on the ground far behind the fire.
    let upper = boxed(2, BBox::new(410.0, 175.0, 648.0, 413.0), 660.0, 8);
    let mut one = book(IncidentConfig::default());
    one.process(&flame, at(6));
    let alone = only(&one).position.expect("a place");
    one.process(&upper, at(14));
    one.process(
        &TrackReport {
            last_seen: captured(20),
            ..upper.clone()
        },
        at(21),
    );
    let incident = only(&one);
    assert_eq!(incident.views.len(), 2);
    assert_eq!(incident.position.expect("a place").point, alone.point);
    // A third piece overlaps the second, too far above the flame.
    one.process(
        &boxed(3, BBox::new(505.0, 36.0, 757.0, 255.0), 1500.0, 20),
        at(26),
    );
    assert_eq!(only(&one).position.expect("a place").point, alone.point);
    // Beside the column, far above it, or long after it, it is a fire of its own.
    for (bbox, seconds) in [
        (BBox::new(700.0, 175.0, 938.0, 413.0), 8),
        (BBox::new(410.0, 20.0, 648.0, 200.0), 8),
        (BBox::new(410.0, 175.0, 648.0, 413.0), 60),
    ] {
        let mut two = book(IncidentConfig::default());
        two.process(&flame, at(6));
        two.process(&boxed(2, bbox, 660.0, seconds), at(seconds + 6));
        assert_eq!(two.incidents().count(), 2, "{bbox:?}");
    }
}

#[test]
fn a_view_that_went_astray_does_not_tell_a_new_one_apart_from_the_fire() {
    let seen = |source: &str, track, bbox, east, seconds| {
        let mut report = report(source, track, field(east, 0.0), seconds, seconds + 5);
        report.bbox = bbox;
        report
    };
    let foot = BBox::new(490.0, 475.0, 525.0, 504.0);
    let flame = |source: &str, track, seconds| TrackReport {
        class: Class::Flame,
        ..seen(source, track, foot, 0.0, seconds)
    };
    let mut one = book(IncidentConfig::default());
    one.process(&flame("drone-1", 1, 0), at(6));
    one.process(&flame("tower-1", 1, 0), at(6));
    let upper = BBox::new(410.0, 175.0, 648.0, 413.0);
    one.process(&seen("drone-1", 2, upper, 660.0, 8), at(14));
    // The wind takes it aside: nothing in the picture says any more that it belongs to the flame below.
    let aside = BBox::new(700.0, 175.0, 938.0, 413.0);
    one.process(&seen("drone-1", 2, aside, 660.0, 12), at(18));
    let place = only(&one).position.expect("a place").point;
    assert!(distance_m(place, FIELD) < 20.0);
    // The flame is lost and found again, while the smoke is still there.
    one.process(&flame("drone-1", 3, 16), at(22));
    let incident = only(&one);
    assert_eq!(incident.views.len(), 4);
    assert!(distance_m(incident.position.expect("a place").point, FIELD) < 20.0);
}

#[test]
fn two_fires_300_m_apart_stay_two() {
    let mut book = book(IncidentConfig::default());
    for source in ["tower-1", "tower-2", "drone-1"] {
        book.process(&report(source, 1, field(0.0, 0.0), 0, 5), at(6));
        book.process(&report(source, 2, field(300.0, 0.0), 0, 5), at(6));
    }
    assert_eq!(book.incidents().count(), 2);
    assert!(book.incidents().all(|incident| incident.views.len() == 3));
}

#[test]
fn one_cameras_picture_tells_two_fires_apart_that_its_ellipses_cannot() {
    let mut book = book(IncidentConfig::default());
    let vague = |track, east| {
        let mut report = report("tower-1", track, field(east, 0.0), 0, 5);
        report.place = Place::Point {
            position: round_position(field(east, 0.0), 250.0),
            bearing: None,
        };
        report
    };
    // 250 m at 90 % is 116 m a side: 560 m apart is within the gate of the two errors together.
    book.process(&vague(1, 0.0), at(6));
    book.process(&vague(2, 560.0), at(6));
    assert_eq!(book.incidents().count(), 2);
    // Another camera, later in the day, could not tell.
    let mut other = vague(3, 200.0);
    other.source = SourceId::new("tower-2");
    book.process(&other, at(7));
    assert_eq!(book.incidents().count(), 2);
}

#[test]
fn what_another_source_saw_moves_to_the_fire_that_it_fits() {
    let mut book = book(IncidentConfig::default());
    let wide = |source: &str, track, east, radius_m| {
        let mut report = report(source, track, field(east, 0.0), 0, 5);
        report.place = Place::Point {
            position: round_position(field(east, 0.0), radius_m),
            bearing: None,
        };
        report
    };
    book.process(&wide("tower-1", 1, 0.0, 120.0), at(6));
    // Tower 2 sees the second fire only; its report still fits the first.
    book.process(&wide("tower-2", 9, 230.0, 120.0), at(7));
    assert_eq!(book.incidents().count(), 1);
    // Now tower 1 sees both.
    let changes = book.process(&wide("tower-1", 2, 300.0, 120.0), at(8));
    assert_eq!(book.incidents().count(), 2);
    let second = &changes[0].incident;
    let seen_by: Vec<_> = book
        .incident(second.id)
        .expect("it was made")
        .views
        .iter()
        .map(|view| view.source.to_string())
        .collect();
    assert_eq!(seen_by, ["tower-1", "tower-2"]);
    assert!(
        changes
            .iter()
            .any(|change| change.transition.kind == TransitionKind::Split)
    );
    // The next report of that track goes with it.
    book.process(&wide("tower-2", 9, 235.0, 120.0), at(30));
    assert_eq!(book.incident(second.id).expect("it was made").views.len(), 2);
}

#[test]
fn a_bearing_joins_the_fire_that_it_points_to() {
    let mut book = book(IncidentConfig::default());
    book.process(&report("tower-1", 1, FIELD, 0, 5), at(6));
    book.process(&report("tower-1", 2, field(400.0, 0.0), 0, 5), at(6));
    let stand = field(0.0, -3_000.0);
    let mut bearing = report("tower-2", 1, FIELD, 1, 6);
    bearing.place = direction(stand, 7.6);
    book.process(&bearing, at(7));
    let counts: Vec<_> = book.incidents().map(|incident| incident.views.len()).collect();
    assert_eq!(counts, [1, 2]);
}

#[test]
fn two_bearings_that_cross_give_a_point() {
    let mut book = book(IncidentConfig::default());
    let mut first = report("tower-1", 1, FIELD, 0, 5);
    first.place = direction(field(-3_000.0, 0.0), 90.0);
    let mut second = report("tower-2", 1, FIELD, 1, 6);
    second.place = direction(field(0.0, -2_000.0), 0.0);
    let opened = book.process(&first, at(6));
    assert!(
        opened[0].events[0]
            .incident()
            .expect("an incident")
            .geometry
            .is_none()
    );
    book.process(&second, at(7));
    let position = only(&book).position.expect("the bearings cross");
    assert!(distance_m(position.point, FIELD) < 1.0);
    // 0.4° is 20.9 m at 3 km and 14.0 m at 2 km, one standard deviation.
    assert!((30.0..50.0).contains(&position.ce90_m), "{}", position.ce90_m);
}

#[test]
fn a_fire_without_any_place_is_still_an_incident() {
    let mut book = book(IncidentConfig::default());
    let mut blind = report("tower-1", 1, FIELD, 0, 5);
    blind.place = Place::Unknown {
        refused: "the pose is 14 s old".to_owned(),
    };
    assert_eq!(book.process(&blind, at(6)).len(), 1);
    blind.track = 2;
    blind.last_seen = captured(20);
    book.process(&blind, at(21));
    assert_eq!(only(&book).views.len(), 2, "the same part of the same picture");
}

#[test]
fn a_report_of_yesterdays_fire_does_not_join_todays() {
    let mut book = book(IncidentConfig::default());
    book.process(&report("tower-1", 1, FIELD, 0, 5), at(6));
    let mut old = report("upload-1", 1, FIELD, -86_400, -86_390);
    old.liveness = Liveness::Recorded;
    let changes = book.process(&old, at(60));
    assert_eq!(book.incidents().count(), 2);
    assert!(changes[0].incident.late);
    assert!(
        changes[0].incident.sla.is_none(),
        "no deadline counts from yesterday"
    );
    let event = changes[0].events[0].incident().expect("an incident");
    assert!(event.properties.late);
}

#[test]
fn a_stream_that_is_far_behind_is_late() {
    let mut book = book(IncidentConfig::default());
    let changes = book.process(&report("tower-1", 1, FIELD, 0, 5), at(200));
    assert!(changes[0].incident.late);
    // It catches up: now it is news, with a clock.
    let changes = book.process(&report("tower-1", 1, FIELD, 0, 250), at(255));
    assert!(!changes[0].incident.late);
    assert!(changes[0].incident.sla.is_some());
}

#[test]
fn undecided_and_senseless_reports_make_no_incident() {
    let mut book = book(IncidentConfig::default());
    let mut undecided = report("tower-1", 1, FIELD, 0, 5);
    undecided.decision = crate::flow::track::Decision::Undecided;
    assert!(book.process(&undecided, at(6)).is_empty());
    let mut nowhere = report("tower-1", 2, FIELD, 0, 5);
    nowhere.place = Place::Point {
        position: Position {
            ellipse: Ellipse {
                semi_major_m: f64::NAN,
                semi_minor_m: 1.0,
                azimuth_deg: 0.0,
                level: 0.9,
            },
            ..round_position(FIELD, 10.0)
        },
        bearing: None,
    };
    assert!(book.process(&nowhere, at(6)).is_empty());
    let mut backwards = report("tower-1", 3, FIELD, 5, 0);
    backwards.score = 2.0;
    assert!(book.process(&backwards, at(6)).is_empty());
    assert_eq!(book.incidents().count(), 0);
    assert_eq!(book.quieted().values().sum::<u64>(), 2);
}

#[test]
fn a_steady_fire_is_told_every_30_s_and_not_with_every_frame() {
    let mut book = book(IncidentConfig::default());
    let mut told = 0;
    for second in 0..=120 {
        told += book
            .process(&report("tower-1", 1, FIELD, 0, second), at(second))
            .len();
    }
    assert_eq!(told, 5, "the first and one every 30 s");
    // What came since the last update is told when the interval has passed, also if nothing more comes.
    book.process(&report("tower-1", 1, FIELD, 0, 125), at(125));
    assert!(
        book.tick(at(126))
            .iter()
            .all(|change| change.transition.kind != TransitionKind::Updated)
    );
    let late_update = book.tick(at(151));
    assert!(
        late_update
            .iter()
            .any(|change| change.transition.kind == TransitionKind::Updated)
    );
}

#[test]
fn flame_instead_of_smoke_and_new_evidence_are_told_at_once() {
    let mut book = book(IncidentConfig::default());
    book.process(&report("tower-1", 1, FIELD, 0, 5), at(6));
    let mut flame = report("tower-1", 1, FIELD, 0, 7);
    flame.class = Class::Flame;
    let changes = book.process(&flame, at(7));
    assert_eq!(changes[0].incident.class, Class::Flame);
    flame.evidence = vec![snapshot("a.jpg", 8)];
    let changes = book.process(&flame, at(8));
    assert_eq!(changes[0].evidence.len(), 1);
    assert!(
        book.process(&flame, at(9)).is_empty(),
        "the same file again is no news"
    );
}

#[test]
fn merging_by_hand_keeps_both_histories() {
    let mut book = book(IncidentConfig::default());
    let mut first = report("tower-1", 1, FIELD, 0, 5);
    first.evidence = vec![snapshot("first.jpg", 1)];
    let a = book.process(&first, at(6))[0].incident.id;
    let b = book.process(&report("tower-2", 4, field(600.0, 0.0), 3, 8), at(9))[0]
        .incident
        .id;
    act(&mut book, a, Action::Confirm, 20).expect("it is suspected");
    let changes = act(&mut book, a, Action::Merge { into: b }, 30).expect("both are open");
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].events[0].kind, EventType::Merged);
    let (giver, taker) = (book.incident(a).expect("kept"), book.incident(b).expect("kept"));
    assert_eq!((giver.state, giver.merged_into), (State::Merged, Some(b)));
    assert_eq!(taker.state, State::Confirmed, "a confirmed fire stays confirmed");
    assert_eq!(taker.merged_from, [a]);
    assert_eq!(taker.views.len(), 2);
    assert_eq!(taker.first_seen, captured(0));
    assert_eq!(taker.evidence.len(), 1);
    assert_eq!(
        taker.sla.as_ref().map(|sla| sla.starts),
        Some(at(0)),
        "the clock of the first frame"
    );
    // The same again changes nothing; the track of the merged one goes on in the other.
    assert!(
        act(&mut book, a, Action::Merge { into: b }, 31)
            .expect("done already")
            .is_empty()
    );
    book.process(&report("tower-1", 1, FIELD, 0, 90), at(90));
    assert_eq!(book.incident(b).expect("kept").last_seen, captured(90));
    let refusal = act(&mut book, b, Action::Merge { into: b }, 40).expect_err("into itself");
    assert!(matches!(refusal, Refusal::Invalid(_)));
}

#[test]
fn splitting_by_hand_makes_an_incident_with_a_history_of_its_own() {
    let mut book = book(IncidentConfig::default());
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    book.process(&report("drone-1", 1, field(20.0, 0.0), 10, 15), at(16));
    let refusal = act(
        &mut book,
        id,
        Action::Split {
            sources: vec![SourceId::new("tower-9")],
        },
        20,
    )
    .expect_err("nobody of that name sees it");
    assert!(refusal.to_string().contains("sources"));
    let changes = act(
        &mut book,
        id,
        Action::Split {
            sources: vec![SourceId::new("drone-1")],
        },
        20,
    )
    .expect("the drone sees it");
    let made = &changes[1].incident;
    assert_eq!((made.revision, made.split_from), (1, Some(id)));
    assert_eq!(made.first_seen, captured(10));
    assert_eq!(changes[1].events[0].kind, EventType::Suspected);
    assert_eq!(book.incident(id).expect("kept").views.len(), 1);
    book.process(&report("drone-1", 1, field(20.0, 0.0), 10, 60), at(60));
    assert_eq!(book.incident(made.id).expect("made").last_seen, captured(60));
    // What a person told apart stays apart: a new track of the drone at that place joins the drone's incident.
    book.process(&report("drone-1", 2, field(20.0, 0.0), 61, 65), at(66));
    assert_eq!(book.incidents().count(), 2);
}

#[test]
fn a_moving_camera_without_a_place_shows_one_fire_unless_it_sees_two_at_once_well_apart() {
    use crate::flow::detection::BBox;
    use crate::flow::source::Mount;
    let unknown = |track, left: f32, from, to| {
        let mut report = report("drone-1", track, FIELD, from, to);
        report.place = Place::Unknown {
            refused: "no telemetry".to_owned(),
        };
        report.mount = Mount::Moving;
        report.picture_size = (1920, 1080);
        report.bbox = BBox::new(left, 400.0, left + 100.0, 600.0);
        report
    };
    let mut drifting = book(IncidentConfig::default());
    drifting.process(&unknown(1, 200.0, 0, 10), at(11));
    drifting.process(&unknown(2, 1500.0, 35, 40), at(41));
    assert_eq!(drifting.incidents().count(), 1);
    let mut two = book(IncidentConfig::default());
    two.process(&unknown(1, 200.0, 0, 10), at(11));
    two.process(&unknown(2, 1500.0, 2, 10), at(11));
    two.process(&unknown(3, 320.0, 4, 10), at(11));
    assert_eq!(two.incidents().count(), 2);
}
