//! One step of one incident: the new revision, its line in the history and its events.

use jiff::Timestamp;

use super::ids::Ids;
use crate::flow::event::EventType;
use crate::flow::incident::{
    Actor, Incident, IncidentId, Notice, RejectReason, ReturnReason, State, Transition, TransitionKind,
};
use crate::flow::pose::Wgs84;
use crate::flow::report::Evidence;
use crate::stages::event_maker::EventMaker;
use crate::store::Change;

/// What belongs to a step besides the incident.
pub(crate) struct Step {
    pub(crate) kind: TransitionKind,
    pub(crate) event: EventType,
    pub(crate) from: Option<State>,
    pub(crate) actor: Actor,
    pub(crate) at: Timestamp,
    pub(crate) note: Option<String>,
    pub(crate) shown_by: Vec<String>,
    pub(crate) place: Option<Wgs84>,
    pub(crate) reject_reason: Option<RejectReason>,
    pub(crate) return_reason: Option<ReturnReason>,
    pub(crate) others: Vec<IncidentId>,
    pub(crate) notice: Option<Notice>,
    pub(crate) evidence: Vec<Evidence>,
}

impl Step {
    /// Makes a step of the program itself that says no more than what happened.
    pub(crate) fn new(kind: TransitionKind, event: EventType, from: Option<State>, at: Timestamp) -> Self {
        Self {
            kind,
            event,
            from,
            actor: Actor::system(),
            at,
            note: None,
            shown_by: Vec::new(),
            place: None,
            reject_reason: None,
            return_reason: None,
            others: Vec::new(),
            notice: None,
            evidence: Vec::new(),
        }
    }

    /// Makes the change: counts the revision up, notes reached milestones, writes the history line and the event.
    pub(crate) fn take(
        self,
        mut incident: Incident,
        maker: &EventMaker,
        ids: &mut Ids,
        now: Timestamp,
    ) -> Change {
        incident.revision += 1;
        incident.changed_at = now;
        if let Some(sla) = &mut incident.sla
            && self.from != Some(incident.state)
        {
            sla.reach(incident.state, self.at);
        }
        let remaining_s = incident
            .sla
            .as_ref()
            .filter(|_| incident.state.is_open())
            .and_then(|sla| sla.next())
            .map(|deadline| deadline.due.duration_since(now).as_secs());
        let transition = Transition {
            incident: incident.id,
            revision: incident.revision,
            kind: self.kind,
            from: self.from,
            to: incident.state,
            at: self.at,
            recorded_at: now,
            actor: self.actor,
            reject_reason: self.reject_reason,
            return_reason: self.return_reason,
            note: self.note,
            evidence: self.shown_by,
            place: self.place,
            remaining_s,
            others: self.others,
        };
        let event = maker.incident(
            ids.next(now),
            self.event,
            &incident,
            Some(&transition),
            self.notice,
            now,
        );
        Change {
            incident,
            transition,
            events: vec![event],
            evidence: self.evidence,
        }
    }
}
