//! What people and the dispatch system do to incidents: checked against the life cycle, proposed as changes, noted only
//! when they are written.

use jiff::{SignedDuration, Timestamp};

use super::action::{Act, Action};
use super::book::IncidentBook;
use super::refusal::Refusal;
use super::step::Step;
use super::update::settle;
use crate::flow::event::EventType;
use crate::flow::incident::{ChecklistItem, Deadline, Incident, IncidentId, Sla, State, TransitionKind};
use crate::flow::source::SourceId;
use crate::store::Change;

/// The longest note, in characters.
const LONGEST_NOTE: usize = 2_000;
/// How far a clock of a dispatch system may be ahead of ours, in seconds.
const AHEAD_S: i64 = 60;

impl IncidentBook {
    /// Returns the changes that an act makes, without noting them: [`IncidentBook::apply`] does, once they are
    /// written. No changes where the incident is already what was asked for: an acknowledgement that comes twice.
    pub fn propose(&mut self, act: &Act, now: Timestamp) -> Result<Vec<Change>, Refusal> {
        let incident = self
            .incident(act.incident)
            .cloned()
            .ok_or(Refusal::UnknownIncident(act.incident))?;
        if let Some(expected) = act.expected_revision
            && expected != incident.revision
        {
            return Err(Refusal::Stale {
                incident: incident.id,
                expected,
                found: incident.revision,
            });
        }
        let at = check_words(act, &incident, now)?;
        match &act.action {
            Action::Merge { into } => self.merge(act, incident, *into, at, now),
            Action::Split { sources } => self.split(act, incident, sources, at, now),
            _ => self.act_alone(act, incident, at, now),
        }
    }

    fn act_alone(
        &mut self,
        act: &Act,
        mut incident: Incident,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Change>, Refusal> {
        let from = incident.state;
        let mut step = Step {
            actor: act.actor.clone(),
            note: act.note.clone(),
            shown_by: act.evidence.clone(),
            place: act.place,
            ..Step::new(TransitionKind::Moved, EventType::Updated, Some(from), at)
        };
        let target = match &act.action {
            Action::Confirm => Some(State::Confirmed),
            Action::Reject { .. } => Some(State::Rejected),
            Action::Dispatch { .. } => Some(State::Dispatched),
            Action::Accept => Some(State::Accepted),
            Action::Return { .. } => Some(State::Returned),
            Action::Arrive => Some(State::OnScene),
            Action::Extinguish => Some(State::Extinguished),
            Action::Close => Some(State::Closed),
            _ => None,
        };
        if let Some(to) = target {
            if from == to {
                return Ok(Vec::new());
            }
            // Confirming what was over is re-opening, which is asked for by its own word.
            if !from.may_become(to) || (to == State::Confirmed && from != State::Suspected) {
                return Err(Refusal::IllegalStep {
                    incident: incident.id,
                    from,
                    to,
                });
            }
            incident.state = to;
            step.event = EventType::of_state(to);
        }
        match &act.action {
            Action::Reject { reason } => {
                incident.reject_reason = Some(*reason);
                step.reject_reason = Some(*reason);
                incident.ended_at = Some(at);
            }
            Action::Dispatch { team: Some(team) } => {
                let mut grid = incident.grid.take().unwrap_or_default();
                grid.team = Some(team.clone());
                incident.grid = Some(grid);
                incident.assigned = true;
            }
            Action::Return { reason } => {
                incident.return_reason = Some(*reason);
                step.return_reason = Some(*reason);
                take_back_response(&mut incident);
            }
            Action::Extinguish => incident.ended_at = Some(at),
            Action::Close => self.check_list_is_done(&incident)?,
            Action::Reopen => {
                if !matches!(from, State::Extinguished | State::Closed | State::Rejected) {
                    return Err(Refusal::IllegalStep {
                        incident: incident.id,
                        from,
                        to: State::Confirmed,
                    });
                }
                self.bring_back(&mut incident, at, now);
                incident.state = State::Confirmed;
                step.kind = TransitionKind::Reopened;
                step.event = EventType::Reopened;
            }
            Action::Assign { grid } => {
                refuse_ended(&incident)?;
                if incident.assigned && incident.grid.as_ref() == Some(grid) {
                    return Ok(Vec::new());
                }
                incident.grid = Some(grid.clone());
                incident.assigned = true;
                incident.candidates.clear();
                step.kind = TransitionKind::Assigned;
            }
            Action::Check { item } => {
                if !tick_item(&mut incident, act, item, at)? {
                    return Ok(Vec::new());
                }
                step.kind = TransitionKind::Checked;
                step.note = Some(
                    act.note
                        .as_ref()
                        .map_or_else(|| item.clone(), |note| format!("{item}: {note}")),
                );
            }
            Action::Note => {
                if act.note.as_ref().is_none_or(|note| note.trim().is_empty()) {
                    return Err(Refusal::Invalid("a note without text says nothing".to_owned()));
                }
                step.kind = TransitionKind::Updated;
            }
            Action::Hold { keep } => {
                if incident.legal_hold == *keep {
                    return Ok(Vec::new());
                }
                incident.legal_hold = *keep;
                step.kind = TransitionKind::Held;
            }
            _ => {}
        }
        if matches!(act.action, Action::Dispatch { .. } | Action::Accept) {
            incident.return_reason = None;
        }
        Ok(vec![step.take(incident, &self.maker, &mut self.ids, now)])
    }

    fn check_list_is_done(&self, incident: &Incident) -> Result<(), Refusal> {
        if !self.config.close_needs_checklist {
            return Ok(());
        }
        let open: Vec<&str> = incident
            .checklist
            .iter()
            .filter(|item| item.done_at.is_none())
            .map(|item| item.name.as_str())
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        Err(Refusal::Invalid(format!(
            "incident {} cannot be closed before its checklist is done, open items: {}",
            incident.id,
            open.join(", ")
        )))
    }

    fn merge(
        &mut self,
        act: &Act,
        mut giver: Incident,
        into: IncidentId,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Change>, Refusal> {
        if giver.state == State::Merged && giver.merged_into == Some(into) {
            return Ok(Vec::new());
        }
        let mut taker = self
            .incident(into)
            .cloned()
            .ok_or(Refusal::UnknownIncident(into))?;
        if giver.id == into {
            return Err(Refusal::Invalid(format!(
                "incident {into} cannot be merged into itself"
            )));
        }
        if !giver.state.may_become(State::Merged) {
            return Err(Refusal::IllegalStep {
                incident: giver.id,
                from: giver.state,
                to: State::Merged,
            });
        }
        refuse_ended(&taker)?;
        if giver.drill != taker.drill {
            return Err(Refusal::Invalid(
                "a drill and a real incident cannot be merged".to_owned(),
            ));
        }
        let (giver_from, taker_from) = (giver.state, taker.state);
        taker.views.extend(giver.views.iter().cloned());
        for file in &giver.evidence {
            if !taker.evidence.iter().any(|known| known.name == file.name) {
                taker.evidence.push(file.clone());
            }
        }
        if giver.first_seen.at < taker.first_seen.at {
            taker.first_seen = giver.first_seen;
        }
        if giver.last_seen.at > taker.last_seen.at {
            taker.last_seen = giver.last_seen;
        }
        // A confirmed fire does not become a suspicion because it is the same as one.
        if taker.state == State::Suspected && giver_from != State::Suspected {
            taker.state = State::Confirmed;
        }
        // The clock of the fire is that of the incident that saw it first.
        if let (Some(earlier), Some(sla)) = (giver.sla.as_ref(), taker.sla.as_mut())
            && earlier.starts < sla.starts
            && earlier.profile == sla.profile
        {
            for deadline in &mut sla.milestones {
                let same = earlier
                    .milestones
                    .iter()
                    .find(|other| other.milestone == deadline.milestone);
                if let Some(same) = same {
                    deadline.due = same.due;
                    deadline.done = deadline.done.or(same.done);
                }
            }
            sla.starts = earlier.starts;
        }
        taker.late = taker.late && giver.late;
        taker.legal_hold |= giver.legal_hold;
        taker.merged_from.push(giver.id);
        taker.distinct_from.retain(|other| *other != giver.id);
        giver.distinct_from.retain(|other| *other != taker.id);
        let rivals: Vec<_> = self.rivals(taker.id, &taker.views);
        settle(&mut taker, &rivals, &*self.grid);
        giver.state = State::Merged;
        giver.merged_into = Some(into);
        giver.ended_at = Some(at);
        let step = |kind, event, from, other| Step {
            actor: act.actor.clone(),
            note: act.note.clone(),
            shown_by: act.evidence.clone(),
            place: act.place,
            others: vec![other],
            ..Step::new(kind, event, Some(from), at)
        };
        let given = step(TransitionKind::Merged, EventType::Merged, giver_from, into);
        let mut taken = step(TransitionKind::Merged, EventType::Updated, taker_from, giver.id);
        if taker.state != taker_from {
            taken.event = EventType::Confirmed;
        }
        taken.evidence.clone_from(&giver.evidence);
        Ok(vec![
            given.take(giver, &self.maker, &mut self.ids, now),
            taken.take(taker, &self.maker, &mut self.ids, now),
        ])
    }

    fn split(
        &mut self,
        act: &Act,
        mut giver: Incident,
        sources: &[SourceId],
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Change>, Refusal> {
        refuse_ended(&giver)?;
        let (gone, kept): (Vec<_>, Vec<_>) = giver
            .views
            .drain(..)
            .partition(|view| sources.contains(&view.source));
        if gone.is_empty() || kept.is_empty() {
            return Err(Refusal::Invalid(format!(
                "splitting incident {} needs sources that see it, but not all of them",
                giver.id
            )));
        }
        let (moved, stay): (Vec<_>, Vec<_>) = giver
            .evidence
            .drain(..)
            .partition(|file| act.evidence.contains(&file.sha256));
        giver.evidence = stay;
        let id = IncidentId::new(self.ids.next(now));
        let mut taker = Incident {
            id,
            revision: 0,
            state: if giver.state == State::Suspected {
                State::Suspected
            } else {
                State::Confirmed
            },
            opened_at: now,
            views: gone,
            evidence: moved.clone(),
            grid: None,
            assigned: false,
            candidates: Vec::new(),
            checklist: giver.checklist.iter().map(untouched).collect(),
            merged_from: Vec::new(),
            split_from: Some(giver.id),
            distinct_from: vec![giver.id],
            reopened: 0,
            return_reason: None,
            ..giver.clone()
        };
        giver.views = kept;
        giver.distinct_from.push(id);
        let giver_from = giver.state;
        for incident in [&mut giver, &mut taker] {
            if let Some(first) = incident
                .views
                .iter()
                .map(|view| view.first_seen)
                .min_by_key(|time| time.at)
            {
                incident.first_seen = first;
            }
            incident.position = None;
            settle(incident, &self.rivals(incident.id, &incident.views), &*self.grid);
        }
        taker.sla = taker.sla.take().filter(|_| !taker.late).map(|sla| {
            let mut sla = started_at(&sla, taker.first_seen.at);
            sla.reach(taker.state, now);
            sla
        });
        let step = |event, from, other| Step {
            actor: act.actor.clone(),
            note: act.note.clone(),
            place: act.place,
            others: vec![other],
            ..Step::new(TransitionKind::Split, event, from, at)
        };
        let given = step(EventType::Updated, Some(giver_from), id);
        let mut taken = step(EventType::of_state(taker.state), None, giver.id);
        taken.evidence = moved;
        Ok(vec![
            given.take(giver, &self.maker, &mut self.ids, now),
            taken.take(taker, &self.maker, &mut self.ids, now),
        ])
    }
}

/// Returns the same deadlines, all open, counted from another moment.
fn started_at(sla: &Sla, starts: Timestamp) -> Sla {
    let later = starts.duration_since(sla.starts);
    let milestones = sla
        .milestones
        .iter()
        .map(|deadline| Deadline {
            due: deadline.due.saturating_add(later).unwrap_or(deadline.due),
            done: None,
            reminded: false,
            told: None,
            ..*deadline
        })
        .collect();
    Sla {
        starts,
        milestones,
        ..sla.clone()
    }
}

/// Checks what came from outside beside the action; returns when it happened.
fn check_words(act: &Act, incident: &Incident, now: Timestamp) -> Result<Timestamp, Refusal> {
    if let Some(note) = &act.note
        && note.chars().count() > LONGEST_NOTE
    {
        return Err(Refusal::Invalid(format!(
            "the note has more than {LONGEST_NOTE} characters"
        )));
    }
    if act.actor.name.trim().is_empty() || act.actor.name.chars().count() > 200 {
        return Err(Refusal::Invalid(
            "the actor needs a name of 1 to 200 characters".to_owned(),
        ));
    }
    if let Some(unknown) = act
        .evidence
        .iter()
        .find(|hash| !incident.evidence.iter().any(|file| file.sha256 == **hash))
    {
        let shown: String = unknown.chars().take(64).collect();
        return Err(Refusal::Invalid(format!(
            "incident {} has no evidence with SHA-256 {shown:?}",
            incident.id
        )));
    }
    if let Some(place) = act.place
        && !((-90.0..=90.0).contains(&place.lat) && (-180.0..=180.0).contains(&place.lon))
    {
        return Err(Refusal::Invalid(format!(
            "{}, {} is no place, latitude comes first",
            place.lat, place.lon
        )));
    }
    let Some(at) = act.at else { return Ok(now) };
    let latest = now
        .saturating_add(SignedDuration::from_secs(AHEAD_S))
        .unwrap_or(Timestamp::MAX);
    if at > latest || at < incident.first_seen.at {
        return Err(Refusal::Invalid(format!(
            "{at} cannot be when it happened, expected a time between {} and {latest}",
            incident.first_seen.at
        )));
    }
    Ok(at.min(now))
}

fn refuse_ended(incident: &Incident) -> Result<(), Refusal> {
    if incident.is_open() {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "incident {} is {}, expected one that is still open",
        incident.id, incident.state
    )))
}

/// A team that gives an incident back has not responded: those milestones are open again.
fn take_back_response(incident: &mut Incident) {
    if let Some(sla) = &mut incident.sla {
        for deadline in &mut sla.milestones {
            if deadline.reached_by.rank() >= State::Dispatched.rank() {
                deadline.done = None;
            }
        }
    }
}

/// Ticks an item; returns whether it was open.
fn tick_item(incident: &mut Incident, act: &Act, name: &str, at: Timestamp) -> Result<bool, Refusal> {
    if matches!(incident.state, State::Rejected | State::Merged) {
        refuse_ended(incident)?;
    }
    let known: Vec<String> = incident.checklist.iter().map(|item| item.name.clone()).collect();
    let Some(item) = incident.checklist.iter_mut().find(|item| item.name == name) else {
        let shown: String = name.chars().take(64).collect();
        return Err(Refusal::Invalid(format!(
            "the checklist has no item {shown:?}, expected one of [{}]",
            known.join(", ")
        )));
    };
    if item.done_at.is_some() {
        return Ok(false);
    }
    if item.needs_evidence && act.evidence.is_empty() {
        return Err(Refusal::Invalid(format!(
            "item {name:?} needs evidence: name the SHA-256 of a file of the incident"
        )));
    }
    item.done_at = Some(at);
    item.done_by = Some(act.actor.clone());
    item.evidence = act.evidence.first().cloned();
    Ok(true)
}

fn untouched(item: &ChecklistItem) -> ChecklistItem {
    ChecklistItem {
        done_by: None,
        done_at: None,
        evidence: None,
        ..item.clone()
    }
}
