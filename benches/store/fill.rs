//! Fills a store with incidents as a year would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use emberwatch::flow::detection::{BBox, Class};
use emberwatch::flow::incident::{
    Actor, GridCell, Incident, IncidentId, RejectReason, Sla, State, Transition, TransitionKind, View,
};
use emberwatch::flow::pose::{Height, HeightDatum, Wgs84};
use emberwatch::flow::position::{Ellipse, Method, Position};
use emberwatch::flow::report::ModelTag;
use emberwatch::flow::source::{Liveness, Mount, SourceId};
use emberwatch::flow::time::{CaptureClock, CaptureTime};
use emberwatch::stages::incident::IncidentConfig;
use emberwatch::store::{Change, Store};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// The states that incidents stand in, by their share.
const STATES: [State; 10] = [
    State::Closed,
    State::Closed,
    State::Closed,
    State::Closed,
    State::Rejected,
    State::Rejected,
    State::Suspected,
    State::Confirmed,
    State::Confirmed,
    State::Dispatched,
];

/// Puts `count` incidents of 20 townships into the store, spread over 365 days from `start`.
pub(crate) fn fill(store: &Store, count: u64, start: Timestamp) {
    let config = IncidentConfig::default();
    let profile = config.profile_in_force().unwrap();
    let spacing_s = 365.0 * 86_400.0 / count as f64;
    let mut changes = Vec::new();
    for number in 0..count {
        let opened = start + SignedDuration::from_secs((number as f64 * spacing_s) as i64);
        let incident = incident(number, opened, profile);
        let transition = Transition {
            incident: incident.id,
            revision: 1,
            kind: TransitionKind::Opened,
            from: None,
            to: incident.state,
            at: opened,
            recorded_at: opened,
            actor: Actor::system(),
            reject_reason: incident.reject_reason,
            return_reason: None,
            note: None,
            evidence: Vec::new(),
            place: None,
            remaining_s: None,
            others: Vec::new(),
        };
        changes.push(Change {
            incident,
            transition,
            events: Vec::new(),
            evidence: Vec::new(),
        });
        if changes.len() == 1_000 {
            store.commit(&changes, opened).unwrap();
            changes.clear();
        }
    }
    store.commit(&changes, start).unwrap();
}

fn incident(
    number: u64,
    opened: Timestamp,
    profile: &emberwatch::flow::incident::DeadlineProfile,
) -> Incident {
    let state = STATES[(number * 7 % 10) as usize];
    let seen = CaptureTime {
        at: opened,
        clock: CaptureClock::Arrival,
        sigma_s: 0.5,
    };
    let mut sla = Sla::new(profile, opened);
    let after = |seconds: u64| opened + SignedDuration::from_secs(seconds.cast_signed());
    sla.reach(State::Suspected, after(number % 90));
    if state.rank() > Some(1) {
        sla.reach(State::Accepted, after(60 + number % 500));
    }
    if state == State::Closed {
        sla.reach(State::Closed, after(600 + number % 3_000));
    }
    let position = Position {
        point: Wgs84 {
            lat: 35.0 + (number % 300) as f64 / 1_000.0,
            lon: 113.0 + (number % 400) as f64 / 1_000.0,
        },
        height: Height {
            metres: 90.0,
            datum: HeightDatum::Egm2008,
        },
        ellipse: Ellipse {
            semi_major_m: 40.0,
            semi_minor_m: 20.0,
            azimuth_deg: 30.0,
            level: 0.9,
        },
        ce90_m: 35.0,
        method: Method::Triangulation,
        base_hidden: false,
    };
    let views = (0..3)
        .map(|view| View {
            source: SourceId::new(format!("tower-{}", (number + view) % 50)),
            liveness: Liveness::Live,
            mount: Mount::Fixed,
            track: number,
            class: Class::Smoke,
            score: 0.7,
            first_seen: seen,
            last_seen: seen,
            position: Some(position),
            bearing: None,
            bbox: BBox::new(100.0, 100.0, 160.0, 180.0),
            picture_size: (1920, 1080),
        })
        .collect();
    Incident {
        id: IncidentId::new(Uuid::from_u128(
            0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number),
        )),
        revision: 1,
        state,
        first_seen: seen,
        last_seen: seen,
        opened_at: opened,
        changed_at: opened,
        late: false,
        drill: false,
        class: Class::Smoke,
        confidence: 0.7,
        views,
        position: Some(position),
        hypotheses: Vec::new(),
        bearing: None,
        grid: Some(GridCell {
            district: Some("高新区".to_owned()),
            township: Some(format!("乡镇{:02}", number % 20)),
            village: Some(format!("村{:03}", number % 200)),
            ..GridCell::default()
        }),
        assigned: false,
        candidates: Vec::new(),
        sla: Some(sla),
        checklist: Vec::new(),
        evidence: Vec::new(),
        model: ModelTag {
            name: "ember-nano".to_owned(),
            version: "1.0.0".to_owned(),
            sha256: "00".repeat(32),
        },
        reject_reason: (state == State::Rejected).then_some(RejectReason::Fog),
        return_reason: None,
        ended_at: (!state.is_open()).then_some(opened),
        reopened: 0,
        merged_into: None,
        merged_from: Vec::new(),
        split_from: None,
        distinct_from: Vec::new(),
        legal_hold: false,
    }
}
