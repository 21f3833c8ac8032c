//! What the passing of time does: reminders, overdue deadlines, escalation, and updates that waited.

use jiff::{SignedDuration, Timestamp};

use super::book::IncidentBook;
use super::step::Step;
use crate::flow::event::EventType;
use crate::flow::incident::{
    Deadline, GridLevel, Incident, IncidentId, Notice, NoticeKind, Sla, TransitionKind,
};
use crate::store::Change;

impl IncidentBook {
    /// Does what is due at `now`; called about once a second, and at any time again without doing it twice.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        let open: Vec<IncidentId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.has_news || is_due(&entry.incident, now))
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            while let Some(change) = self.next_notice(id, now) {
                changes.push(change);
            }
            changes.extend(self.tell_news(id, now));
        }
        self.prune(now);
        changes
    }

    fn next_notice(&mut self, id: IncidentId, now: Timestamp) -> Option<Change> {
        let mut incident = self.incident(id)?.clone();
        let notice = mark_notice(&mut incident, now)?;
        let (kind, event) = match notice.kind {
            NoticeKind::Reminder => (TransitionKind::Reminded, EventType::Updated),
            NoticeKind::Overdue => (TransitionKind::Overdue, EventType::Overdue),
            NoticeKind::Escalation => (TransitionKind::Escalated, EventType::Overdue),
        };
        let step = Step {
            notice: Some(notice),
            note: Some(format!("{} {}", notice.milestone.name(), notice.level.name())),
            ..Step::new(kind, event, Some(incident.state), now)
        };
        Some(self.take(step, incident, now))
    }

    /// Tells what an incident learnt since its last revision, once the interval has passed.
    fn tell_news(&mut self, id: IncidentId, now: Timestamp) -> Option<Change> {
        let entry = self.entries.get(&id)?;
        let since_s = now.duration_since(entry.incident.changed_at).as_secs_f64();
        if !entry.has_news || since_s < self.config.update_every_s {
            return None;
        }
        let incident = entry.incident.clone();
        let step = Step::new(
            TransitionKind::Updated,
            EventType::Updated,
            Some(incident.state),
            now,
        );
        Some(self.take(step, incident, now))
    }
}

fn is_due(incident: &Incident, now: Timestamp) -> bool {
    incident.is_open()
        && incident.sla.as_ref().is_some_and(|sla| {
            sla.milestones
                .iter()
                .any(|deadline| due_notice(sla, deadline, now).is_some())
        })
}

/// Returns the first notice that is due, after marking that it was given.
fn mark_notice(incident: &mut Incident, now: Timestamp) -> Option<Notice> {
    if !incident.is_open() {
        return None;
    }
    let sla = incident.sla.as_mut()?;
    let (index, notice) = sla
        .milestones
        .iter()
        .enumerate()
        .find_map(|(index, deadline)| Some((index, due_notice(sla, deadline, now)?)))?;
    let deadline = sla.milestones.get_mut(index)?;
    match notice.kind {
        NoticeKind::Reminder => deadline.reminded = true,
        NoticeKind::Overdue | NoticeKind::Escalation => deadline.told = Some(notice.level),
    }
    Some(notice)
}

fn due_notice(sla: &Sla, deadline: &Deadline, now: Timestamp) -> Option<Notice> {
    if deadline.done.is_some() {
        return None;
    }
    let remaining_s = deadline.due.duration_since(now).as_secs();
    let notice = |kind, level| Notice {
        kind,
        milestone: deadline.milestone,
        due: deadline.due,
        remaining_s,
        level,
    };
    if now < deadline.due {
        let is_near = sla.remind_before_s > 0 && remaining_s <= i64::from(sla.remind_before_s);
        return (is_near && !deadline.reminded).then(|| notice(NoticeKind::Reminder, GridLevel::Village));
    }
    let Some(told) = deadline.told else {
        return Some(notice(NoticeKind::Overdue, GridLevel::Village));
    };
    let above = told.above()?;
    let steps = match above {
        GridLevel::Village => 0,
        GridLevel::Township => 1,
        GridLevel::District => 2,
    };
    let wait = SignedDuration::from_secs(i64::from(sla.escalate_every_s) * steps);
    let passed = now.duration_since(deadline.due);
    (sla.escalate_every_s > 0 && passed >= wait).then(|| notice(NoticeKind::Escalation, above))
}
