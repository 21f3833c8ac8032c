//! Sample events: a fire near Jiaozuo, and a blind camera. What `send-test` sends, and what tests are made of.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::flow::detection::{BBox, Class};
use crate::flow::event::{Event, EventPayload, EventType, IncidentProperties, SourceStatus};
use crate::flow::incident::{
    Actor, DeadlineProfile, GridCell, Incident, IncidentId, Milestone, MilestoneLimit, Sla, State,
    Transition, TransitionKind, View,
};
use crate::flow::pose::{Height, HeightDatum, Wgs84};
use crate::flow::position::{Bearing, Ellipse, Method, Position};
use crate::flow::report::{Evidence, EvidenceKind, ModelTag};
use crate::flow::source::{Duty, Liveness, Mount, SourceId, SourceState};
use crate::flow::time::{CaptureClock, CaptureTime};
use crate::stages::event_maker::EventMaker;

/// Returns when the sample fire was confirmed.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_second(1_764_924_127).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn captured(seconds_before: i64) -> CaptureTime {
    CaptureTime {
        at: now() - SignedDuration::from_secs(seconds_before),
        clock: CaptureClock::RtcpSenderReport,
        sigma_s: 0.1,
    }
}

fn file(kind: EvidenceKind, name: &str) -> Evidence {
    Evidence {
        kind,
        name: name.to_owned(),
        sha256: "ab".repeat(32),
        bytes: 13,
        captured: captured(60),
    }
}

/// Returns incident number `number`: smoke in a village, seen by a tower, confirmed.
#[must_use]
pub fn incident(number: u128) -> Incident {
    let point = Wgs84 {
        lat: 35.19012,
        lon: 113.25034,
    };
    let position = Position {
        point,
        height: Height {
            metres: 91.0,
            datum: HeightDatum::Egm96,
        },
        ellipse: Ellipse {
            semi_major_m: 40.0,
            semi_minor_m: 12.0,
            azimuth_deg: 70.0,
            level: 0.9,
        },
        ce90_m: 44.0,
        method: Method::RayTerrain,
        base_hidden: false,
    };
    let bearing = Bearing {
        from: Wgs84 {
            lat: 35.18,
            lon: 113.23,
        },
        azimuth_deg: 58.6,
        elevation_deg: -1.2,
        sigma_deg: 0.3,
    };
    let profile = DeadlineProfile {
        name: "1530".to_owned(),
        title: String::new(),
        remind_before_s: 60,
        escalate_every_s: 300,
        milestones: vec![MilestoneLimit {
            milestone: Milestone::Extinguished,
            limit_s: 1800,
            reached_by: None,
        }],
    };
    Incident {
        id: IncidentId::new(Uuid::from_u128(
            0x019a_edc3_4a80_7000_8000_0000_0000_0000 | number,
        )),
        revision: 2,
        state: State::Confirmed,
        first_seen: captured(65),
        last_seen: captured(1),
        opened_at: now() - SignedDuration::from_secs(60),
        changed_at: now(),
        late: false,
        drill: false,
        class: Class::Smoke,
        confidence: 0.87,
        views: vec![View {
            source: SourceId::new("tower-1"),
            liveness: Liveness::Live,
            mount: Mount::Fixed,
            track: 7,
            class: Class::Smoke,
            score: 0.87,
            first_seen: captured(65),
            last_seen: captured(1),
            position: Some(position),
            bearing: Some(bearing),
            bbox: BBox::new(100.0, 200.0, 160.0, 240.0),
            picture_size: (1920, 1080),
        }],
        position: Some(position),
        hypotheses: Vec::new(),
        bearing: Some(bearing),
        grid: Some(GridCell {
            district: Some("高新区".to_owned()),
            township: Some("阳庙镇".to_owned()),
            village: Some("某村".to_owned()),
            cell: Some("410811001".to_owned()),
            person: None,
            team: None,
        }),
        assigned: false,
        candidates: Vec::new(),
        sla: Some(Sla::new(&profile, captured(65).at)),
        checklist: Vec::new(),
        evidence: vec![
            file(EvidenceKind::Snapshot, "snapshot.jpg"),
            file(EvidenceKind::Thumbnail, "thumbnail.jpg"),
        ],
        model: ModelTag {
            name: "fire-smoke-nano".to_owned(),
            version: "1".to_owned(),
            sha256: "cd".repeat(32),
        },
        reject_reason: None,
        return_reason: None,
        ended_at: None,
        reopened: 0,
        merged_into: None,
        merged_from: Vec::new(),
        split_from: None,
        distinct_from: Vec::new(),
        legal_hold: false,
    }
}

/// Returns the history line that belongs to an incident as it stands.
#[must_use]
pub fn transition(incident: &Incident) -> Transition {
    let is_new = incident.revision == 1;
    Transition {
        incident: incident.id,
        revision: incident.revision,
        kind: if is_new {
            TransitionKind::Opened
        } else {
            TransitionKind::Moved
        },
        from: (!is_new).then_some(State::Suspected),
        to: incident.state,
        at: incident.changed_at,
        recorded_at: incident.changed_at,
        actor: Actor::person("operator-1"),
        reject_reason: None,
        return_reason: None,
        note: None,
        evidence: Vec::new(),
        place: None,
        remaining_s: None,
        others: Vec::new(),
    }
}

/// Returns the event that says how an incident stands, under an id made of incident and revision.
#[must_use]
pub fn event_of(incident: &Incident) -> Event {
    let maker = EventMaker::new("urn:emberwatch:test", Some("https://ember.example"));
    let id = Uuid::from_u128(incident.id.uuid().as_u128() ^ (u128::from(incident.revision) << 32));
    let kind = EventType::of_state(incident.state);
    let transition = transition(incident);
    maker.incident(id, kind, incident, Some(&transition), None, incident.changed_at)
}

/// Returns the event of a confirmed fire with a position.
#[must_use]
pub fn confirmed() -> Event {
    event_of(&incident(1))
}

/// Returns the event of a fire of which only the direction is known.
#[must_use]
pub fn bearing_only() -> Event {
    let mut incident = incident(2);
    incident.position = None;
    event_of(&incident)
}

/// Returns the event of a camera that gives no pictures.
///
/// # Panics
///
/// Never: that a camera is blind is told.
#[must_use]
pub fn blind_source() -> Event {
    let status = SourceStatus {
        source: SourceId::new("tower-1"),
        state: SourceState::Blind,
        since: now(),
        detail: None,
        duty: None,
        clock_offset_s: None,
    };
    EventMaker::new("urn:emberwatch:test", None)
        .source(Uuid::from_u128(5), status)
        .expect("the sample state should be one that is told")
}

/// Returns the event of a camera that is watched harder than before.
///
/// # Panics
///
/// Never: a move of duty is told.
#[must_use]
pub fn duty_move() -> Event {
    let status = SourceStatus {
        source: SourceId::new("tower-1"),
        state: SourceState::Live,
        since: now(),
        detail: None,
        duty: Some(Duty::Alarm),
        clock_offset_s: None,
    };
    EventMaker::new("urn:emberwatch:test", None)
        .source(Uuid::from_u128(6), status)
        .expect("a move of duty should be told")
}

/// Lends the properties of an event about an incident, to change them; nothing for an event about a source.
pub fn properties(event: &mut Event) -> Option<&mut IncidentProperties> {
    match &mut event.data {
        EventPayload::Incident(feature) => Some(&mut feature.properties),
        EventPayload::Source(_) => None,
    }
}

/// Returns an event of a drill that happens now, under a fresh id: what `send-test` sends.
#[must_use]
pub fn drill(now: Timestamp) -> Event {
    let mut incident = incident(0);
    let seen = CaptureTime {
        at: now,
        clock: CaptureClock::Arrival,
        sigma_s: 1.0,
    };
    let mut ids = crate::stages::incident::Ids::random();
    incident.id = IncidentId::new(ids.next(now));
    incident.drill = true;
    incident.evidence.clear();
    incident.sla = None;
    incident.first_seen = seen;
    incident.last_seen = seen;
    incident.opened_at = now;
    incident.changed_at = now;
    let mut event = event_of(&incident);
    event.id = ids.next(now);
    event
}
