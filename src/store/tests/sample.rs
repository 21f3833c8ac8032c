//! Incidents and changes for the tests.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::flow::detection::Class;
use crate::flow::event::EventType;
use crate::flow::incident::{
    Actor, GridCell, Incident, IncidentId, RejectReason, Sla, State, Transition, TransitionKind,
};
use crate::flow::report::{Evidence, EvidenceKind, ModelTag};
use crate::flow::time::{CaptureClock, CaptureTime};
use crate::stages::event_maker::EventMaker;
use crate::stages::incident::IncidentConfig;
use crate::store::{Change, Store};

pub(super) fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-06-05T02:00:00Z".parse().expect("a time");
    start + SignedDuration::from_secs(seconds)
}

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(super) fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(folder.path()).expect("it opens")
}

pub(super) fn id(number: u64) -> IncidentId {
    IncidentId::new(Uuid::from_u128(
        0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number),
    ))
}

/// Returns a suspected incident, opened so many seconds after the start, with the deadlines of `1530`.
pub(super) fn incident(number: u64, seconds: i64) -> Incident {
    let captured = |seconds| CaptureTime {
        at: at(seconds),
        clock: CaptureClock::Arrival,
        sigma_s: 0.5,
    };
    let config = IncidentConfig::default();
    let mut sla = Sla::new(config.profile_in_force().expect("it ships"), at(seconds - 5));
    sla.reach(State::Suspected, at(seconds));
    Incident {
        id: id(number),
        revision: 1,
        state: State::Suspected,
        first_seen: captured(seconds - 5),
        last_seen: captured(seconds),
        opened_at: at(seconds),
        changed_at: at(seconds),
        late: false,
        drill: false,
        class: Class::Smoke,
        confidence: 0.7,
        views: Vec::new(),
        position: None,
        hypotheses: Vec::new(),
        bearing: None,
        grid: Some(GridCell {
            district: Some("高新区".to_owned()),
            township: Some("苏家作乡".to_owned()),
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

/// Returns the change that made this revision of an incident.
pub(super) fn change(incident: Incident, from: Option<State>) -> Change {
    let transition = Transition {
        incident: incident.id,
        revision: incident.revision,
        kind: if from.is_none() {
            TransitionKind::Opened
        } else {
            TransitionKind::Moved
        },
        from,
        to: incident.state,
        at: incident.changed_at,
        recorded_at: incident.changed_at,
        actor: Actor::system(),
        reject_reason: incident.reject_reason,
        return_reason: None,
        note: None,
        evidence: Vec::new(),
        place: None,
        remaining_s: None,
        others: Vec::new(),
    };
    let event = EventMaker::new("urn:emberwatch:test", None).incident(
        Uuid::from_u128(incident.id.uuid().as_u128() ^ (u128::from(incident.revision) << 64)),
        EventType::of_state(incident.state),
        &incident,
        Some(&transition),
        None,
        incident.changed_at,
    );
    Change {
        incident,
        transition,
        events: vec![event],
        evidence: Vec::new(),
    }
}

pub(super) fn opened(number: u64, seconds: i64) -> Change {
    change(incident(number, seconds), None)
}

/// Moves an incident on, so many seconds after the start.
pub(super) fn moved(before: &Incident, to: State, seconds: i64) -> Change {
    let mut incident = before.clone();
    let from = incident.state;
    incident.revision += 1;
    incident.state = to;
    incident.changed_at = at(seconds);
    if let Some(sla) = &mut incident.sla {
        sla.reach(to, at(seconds));
    }
    if to == State::Rejected {
        incident.reject_reason = Some(RejectReason::Dust);
    }
    if matches!(to, State::Rejected | State::Extinguished) {
        incident.ended_at = Some(at(seconds));
    }
    change(incident, Some(from))
}

pub(super) fn file(name: &str, sha256: &str, bytes: u64) -> Evidence {
    Evidence {
        kind: EvidenceKind::Snapshot,
        name: name.to_owned(),
        sha256: sha256.to_owned(),
        bytes,
        captured: CaptureTime {
            at: at(0),
            clock: CaptureClock::Arrival,
            sigma_s: 0.5,
        },
    }
}
