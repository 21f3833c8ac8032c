//! Bearings of several sources: where they cross, where they must not, and which crossing is a ghost.

use super::scene::{FIELD, at, book, field, only, report, round_position};
use crate::flow::event::EventType;
use crate::flow::pose::Wgs84;
use crate::flow::position::{Bearing, Method, Place};
use crate::flow::report::TrackReport;
use crate::stages::incident::plane::{Metres, Plane, distance_m};
use crate::stages::incident::{IncidentBook, IncidentConfig};

/// Returns what a tower at `stand` reports of smoke at `fire`, by its direction alone: 0.2° of one standard deviation.
fn sees(source: &str, track: u64, stand: (f64, f64), fire: (f64, f64), seconds: i64) -> TrackReport {
    let step = Metres {
        east: fire.0 - stand.0,
        north: fire.1 - stand.1,
    };
    let mut seen = report(source, track, FIELD, seconds, seconds);
    seen.place = Place::Direction {
        bearing: Bearing {
            from: field(stand.0, stand.1),
            azimuth_deg: step.azimuth_deg(),
            elevation_deg: -0.4,
            sigma_deg: 0.2,
        },
        refused: "the ray meets the ground near the horizon".to_owned(),
    };
    seen
}

const WEST: (f64, f64) = (-3_000.0, 0.0);
const SOUTH: (f64, f64) = (0.0, -3_000.0);
const EAST: (f64, f64) = (2_500.0, 1_800.0);
const FIRES: [(f64, f64); 2] = [(300.0, 400.0), (-350.0, -300.0)];

/// Two towers see two smokes each: two incidents, four crossings.
fn two_towers_over_two_fires() -> IncidentBook {
    let mut book = book(IncidentConfig::default());
    for (seconds, track, fire) in [(0, 1, FIRES[0]), (1, 2, FIRES[1])] {
        book.process(&sees("west", track, WEST, fire, seconds), at(seconds));
    }
    // The second tower happens to name them the other way round, so that its views join crosswise.
    for (seconds, track, fire) in [(2, 1, FIRES[1]), (3, 2, FIRES[0])] {
        book.process(&sees("south", track, SOUTH, fire, seconds), at(seconds));
    }
    book
}

fn nearest(book: &IncidentBook, fire: (f64, f64)) -> f64 {
    book.incidents()
        .filter_map(|incident| incident.position)
        .map(|position| distance_m(position.point, field(fire.0, fire.1)))
        .fold(f64::INFINITY, f64::min)
}

fn by(book: &IncidentBook, fire: (f64, f64)) -> Vec<(String, u64)> {
    let is_here = |point: Wgs84| distance_m(point, field(fire.0, fire.1)) < 30.0;
    let incident = book
        .incidents()
        .find(|incident| incident.position.is_some_and(|position| is_here(position.point)))
        .expect("an incident is there");
    let mut views: Vec<_> = incident
        .views
        .iter()
        .map(|view| (view.source.to_string(), view.track))
        .collect();
    views.sort();
    views
}

#[test]
fn ghosts_stay_hypotheses_and_give_no_point() {
    let book = two_towers_over_two_fires();
    assert_eq!(book.incidents().count(), 2, "no tower sees more than two fires");
    for incident in book.incidents() {
        assert_eq!(incident.position, None, "nothing tells its crossing from a ghost");
        assert!(incident.bearing.is_some());
    }
    let last = book.incidents().last().expect("two of them");
    assert!(last.hypotheses.len() >= 2, "{:?}", last.hypotheses);
    for fire in FIRES {
        let place = field(fire.0, fire.1);
        assert!(
            last.hypotheses
                .iter()
                .any(|position| distance_m(position.point, place) < 5.0),
            "each fire is among the hypotheses"
        );
    }
}

#[test]
fn a_third_tower_tells_the_fires_from_the_ghosts() {
    let mut book = two_towers_over_two_fires();
    let mut events = Vec::new();
    for (seconds, track, fire) in [(4, 1, FIRES[0]), (5, 2, FIRES[1])] {
        for change in book.process(&sees("east", track, EAST, fire, seconds), at(seconds)) {
            events.extend(change.events);
        }
    }
    // The towers report again, as they do.
    for (seconds, track, fire) in [(6, 1, FIRES[0]), (6, 2, FIRES[1])] {
        book.process(&sees("west", track, WEST, fire, seconds), at(seconds));
    }
    assert_eq!(book.incidents().count(), 2);
    for fire in FIRES {
        assert!(nearest(&book, fire) < 5.0, "{fire:?}: {}", nearest(&book, fire));
    }
    assert_eq!(
        by(&book, FIRES[0]),
        [("east".into(), 1), ("south".into(), 2), ("west".into(), 1)]
    );
    assert_eq!(
        by(&book, FIRES[1]),
        [("east".into(), 2), ("south".into(), 1), ("west".into(), 2)]
    );
    assert!(book.incidents().all(|incident| incident.hypotheses.is_empty()));
    assert!(
        events.iter().any(|event| event.kind == EventType::Updated
            && event.incident().is_some_and(|it| it.geometry.is_some())),
        "the point is told"
    );
}

#[test]
fn a_drone_over_one_fire_decides_both() {
    let mut book = two_towers_over_two_fires();
    let mut drone = report("drone-1", 9, field(FIRES[0].0, FIRES[0].1), 4, 4);
    drone.place = Place::Point {
        position: round_position(field(FIRES[0].0 + 4.0, FIRES[0].1 - 3.0), 12.0),
        bearing: None,
    };
    book.process(&drone, at(4));
    for (seconds, track, fire) in [(5, 1, FIRES[0]), (5, 2, FIRES[1])] {
        book.process(&sees("west", track, WEST, fire, seconds), at(seconds));
    }
    assert_eq!(book.incidents().count(), 2);
    assert_eq!(
        by(&book, FIRES[0]),
        [("drone-1".into(), 9), ("south".into(), 2), ("west".into(), 1)]
    );
    assert_eq!(by(&book, FIRES[1]), [("south".into(), 1), ("west".into(), 2)]);
    assert!(nearest(&book, FIRES[1]) < 5.0, "what is left is no ghost");
}

#[test]
fn a_point_that_was_told_is_not_withdrawn_when_another_fire_appears() {
    let mut book = book(IncidentConfig::default());
    book.process(&sees("west", 1, WEST, FIRES[0], 0), at(0));
    book.process(&sees("south", 1, SOUTH, FIRES[0], 1), at(1));
    let told = only(&book).position.expect("nothing else is seen");
    assert!(distance_m(told.point, field(FIRES[0].0, FIRES[0].1)) < 5.0);
    book.process(&sees("west", 2, WEST, FIRES[1], 20), at(20));
    book.process(&sees("west", 1, WEST, FIRES[0], 21), at(21));
    let first = book.incidents().next().expect("the first");
    assert!(first.position.is_some());
}

#[test]
fn bearings_that_cross_at_less_than_fifteen_degrees_give_no_point() {
    let crossing = |angle_deg: f64| {
        let mut book = book(IncidentConfig::default());
        let (sine, cosine) = angle_deg.to_radians().sin_cos();
        book.process(&sees("one", 1, (0.0, -3_000.0), (0.0, 0.0), 0), at(0));
        book.process(
            &sees("other", 1, (-3_000.0 * sine, -3_000.0 * cosine), (0.0, 0.0), 1),
            at(1),
        );
        book.incidents()
            .filter(|incident| incident.position.is_some())
            .count()
    };
    assert_eq!(crossing(14.0), 0);
    assert_eq!(crossing(16.0), 1);
}

#[test]
fn two_cameras_on_one_mast_are_one_incident_without_a_point() {
    let mut book = book(IncidentConfig::default());
    book.process(&sees("thermal", 1, (0.0, -3_000.0), (0.0, 0.0), 0), at(0));
    book.process(&sees("visible", 1, (3.0, -3_000.0), (0.0, 0.0), 1), at(1));
    let incident = only(&book);
    assert_eq!((incident.position, incident.views.len()), (None, 2));
}

#[test]
fn a_view_that_contradicts_two_others_pulls_on_no_point() {
    let mut book = book(IncidentConfig::default());
    book.process(&report("tower-1", 1, field(0.0, 0.0), 0, 5), at(6));
    book.process(&report("tower-2", 1, field(5.0, 3.0), 1, 6), at(7));
    let before = only(&book).position.expect("two points");
    // Within the gate of a report, 13.8, beyond the test of a fusion.
    let mut astray = report("tower-3", 1, field(70.0, 0.0), 2, 7);
    astray.place = Place::Point {
        position: round_position(field(70.0, 0.0), 20.0),
        bearing: None,
    };
    book.process(&astray, at(8));
    let incident = only(&book);
    assert_eq!(incident.views.len(), 3, "it is one fire all the same");
    let after = incident.position.expect("three points");
    assert_eq!(after.method, Method::Triangulation);
    assert!(distance_m(before.point, after.point) < 1.0, "{after:?}");
    let miss = Plane::at(FIELD).metres(after.point).length();
    assert!(miss < 10.0, "{miss}");
}
