//! Rules that confirm an incident without a person.

use jiff::Timestamp;

use super::IncidentBook;
use crate::flow::event::EventType;
use crate::flow::incident::{Actor, Incident, IncidentId, State, TransitionKind};
use crate::flow::source::SourceId;
use crate::stages::incident::config::ConfirmRule;
use crate::stages::incident::step::Step;
use crate::store::Change;

impl IncidentBook {
    /// Confirms a suspected incident where a rule allows it.
    pub(super) fn confirm_by_rule(&mut self, id: IncidentId, now: Timestamp) -> Option<Change> {
        let incident = self.incident(id)?;
        if incident.state != State::Suspected || incident.late {
            return None;
        }
        let time = self.zone.to_datetime(now).time();
        let rule =
            self.config.confirm.iter().find(|rule| {
                rule.between.is_none_or(|window| window.holds(time)) && is_met(rule, incident)
            })?;
        let actor = Actor::rule(rule.name.clone());
        let mut incident = incident.clone();
        incident.state = State::Confirmed;
        let step = Step {
            actor,
            ..Step::new(
                TransitionKind::Moved,
                EventType::Confirmed,
                Some(State::Suspected),
                now,
            )
        };
        Some(self.take(step, incident, now))
    }
}

fn is_met(rule: &ConfirmRule, incident: &Incident) -> bool {
    let mut sources: Vec<&SourceId> = incident.views.iter().map(|view| &view.source).collect();
    sources.sort_unstable();
    sources.dedup();
    sources.len() >= rule.min_sources
        && incident.views.iter().any(|view| {
            rule.names(view.source.as_str())
                && rule.mount.is_none_or(|mount| mount == view.mount)
                && rule.class.is_none_or(|class| class == view.class)
                && view.score >= rule.min_score
                && view.last_seen.at.duration_since(view.first_seen.at).as_secs_f64() >= rule.min_seen_s
        })
}
