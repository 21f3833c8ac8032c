//! Reports as cameras would make them.

use jiff::{SignedDuration, Timestamp};

use crate::flow::detection::{BBox, Class};
use crate::flow::incident::{Actor, Incident, IncidentId};
use crate::flow::pose::{Height, HeightDatum, Wgs84};
use crate::flow::position::{Bearing, Ellipse, Method, Place, Position};
use crate::flow::report::{Evidence, EvidenceKind, ModelTag, TrackReport};
use crate::flow::source::{Liveness, Mount, SourceId};
use crate::flow::time::{CaptureClock, CaptureTime, MediaTime};
use crate::flow::track::{Decision, Reason};
use crate::stages::incident::plane::{Metres, Plane};
use crate::stages::incident::{Act, Action, Ids, IncidentBook, IncidentConfig, NoGrid, Refusal};
use crate::store::Change;

/// A field south of Jiaozuo.
pub(super) const FIELD: Wgs84 = Wgs84 {
    lat: 35.15,
    lon: 113.25,
};

/// Returns the moment so many seconds after 10:00 in Jiaozuo.
pub(super) fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-06-05T02:00:00Z".parse().expect("a time");
    start + SignedDuration::from_secs(seconds)
}

/// Returns the point so many metres east and north of [`FIELD`].
pub(super) fn field(east: f64, north: f64) -> Wgs84 {
    Plane::at(FIELD).point(Metres { east, north })
}

pub(super) fn captured(seconds: i64) -> CaptureTime {
    CaptureTime {
        at: at(seconds),
        clock: CaptureClock::Arrival,
        sigma_s: 0.5,
    }
}

pub(super) fn round_position(point: Wgs84, radius_m: f64) -> Position {
    Position {
        point,
        height: Height {
            metres: 90.0,
            datum: HeightDatum::Egm2008,
        },
        ellipse: Ellipse {
            semi_major_m: radius_m,
            semi_minor_m: radius_m,
            azimuth_deg: 0.0,
            level: 0.9,
        },
        ce90_m: radius_m,
        method: Method::RayTerrain,
        base_hidden: false,
    }
}

/// Returns what `source` reports of smoke at `point` with a round error of 30 m, first seen at `first` and last seen at
/// `last` (seconds after 10:00).
pub(super) fn report(source: &str, track: u64, point: Wgs84, first: i64, last: i64) -> TrackReport {
    TrackReport {
        source: SourceId::new(source),
        liveness: Liveness::Live,
        mount: if source.starts_with("drone") {
            Mount::Moving
        } else {
            Mount::Fixed
        },
        track,
        class: Class::Smoke,
        score: 0.7,
        decision: Decision::Fire,
        reason: Reason::Persistent {
            seen: 8,
            frames: 8,
            seconds: 4.0,
        },
        first_seen: captured(first),
        last_seen: captured(last),
        last_pts: MediaTime::from_secs_f64(last as f64),
        place: Place::Point {
            position: round_position(point, 30.0),
            bearing: None,
        },
        bbox: BBox::new(100.0, 100.0, 160.0, 180.0),
        picture_size: (1920, 1080),
        evidence: Vec::new(),
        model: ModelTag {
            name: "ember-nano".to_owned(),
            version: "1.0.0".to_owned(),
            sha256: "00".repeat(32),
        },
    }
}

pub(super) fn direction(from: Wgs84, azimuth_deg: f64) -> Place {
    Place::Direction {
        bearing: Bearing {
            from,
            azimuth_deg,
            elevation_deg: -0.5,
            sigma_deg: 0.4,
        },
        refused: "the ray meets the ground near the horizon".to_owned(),
    }
}

pub(super) fn snapshot(name: &str, seconds: i64) -> Evidence {
    Evidence {
        kind: EvidenceKind::Snapshot,
        name: name.to_owned(),
        sha256: format!("{:064x}", name.len() * 7 + seconds.unsigned_abs() as usize),
        bytes: 120_000,
        captured: captured(seconds),
    }
}

pub(super) fn book(config: IncidentConfig) -> IncidentBook {
    IncidentBook::new(config, Box::new(NoGrid), Ids::seeded(1)).expect("the configuration is sound")
}

/// Lets a person act at a time, and notes what it made.
pub(super) fn act(
    book: &mut IncidentBook,
    id: IncidentId,
    action: Action,
    seconds: i64,
) -> Result<Vec<Change>, Refusal> {
    let changes = book.propose(&Act::new(id, Actor::person("李"), action), at(seconds))?;
    book.apply(&changes);
    Ok(changes)
}

/// Returns the only incident of the book.
pub(super) fn only(book: &IncidentBook) -> Incident {
    let all: Vec<_> = book.incidents().collect();
    let [incident] = all.as_slice() else {
        panic!("expected one incident, found {}", all.len());
    };
    (*incident).clone()
}
