//! Bearings that cross: which source sees which fire, where several sources see several fires.
//!
//! Two towers that each see two smokes have four crossings, of which two are fires. Until a third view decides, such
//! incidents have no point, and their views may stand crosswise. When it does, the views change places.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::IncidentBook;
use crate::flow::event::EventType;
use crate::flow::incident::{Incident, IncidentId, TransitionKind, View};
use crate::flow::source::SourceId;
use crate::geo::views::{Sight, hypotheses};
use crate::stages::incident::fuse::{LEVEL, combined, sight_of};
use crate::stages::incident::plane::distance_m;
use crate::stages::incident::step::Step;
use crate::stages::incident::update::{best_of_each_source, settle};
use crate::store::Change;

/// Views whose last frames lie closer together than this are of one moment, in seconds.
const SAME_TIME_S: i64 = 60;
/// More views than this at one moment are not untangled: the work grows with the square.
const MOST_VIEWS: usize = 48;

impl IncidentBook {
    /// Returns what the sources of these views see in other incidents at the same time, where those have no point: a
    /// view that has found its fire is nobody's rival.
    pub(crate) fn rivals(&self, of: IncidentId, views: &[View]) -> Vec<View> {
        let Some(newest) = views.iter().map(|view| view.last_seen.at).max() else {
            return Vec::new();
        };
        self.incidents()
            .filter(|other| other.id != of && other.state.is_burning() && other.position.is_none())
            .flat_map(|other| best_of_each_source(&other.views))
            .filter(|view| is_then(view, newest))
            .filter(|view| views.iter().any(|own| own.source == view.source))
            .cloned()
            .collect()
    }

    /// Puts views in the incidents to which three or more of them agree that they belong.
    pub(super) fn untangle(&mut self, id: IncidentId, now: Timestamp) -> Vec<Change> {
        let Some(newest) = self
            .incident(id)
            .filter(|incident| is_open_question(incident))
            .map(|incident| incident.last_seen.at)
        else {
            return Vec::new();
        };
        let mut by_source: BTreeMap<SourceId, Vec<(IncidentId, Sight)>> = BTreeMap::new();
        for incident in self.incidents().filter(|incident| incident.state.is_burning()) {
            for view in best_of_each_source(&incident.views) {
                if is_then(view, newest) {
                    let seen = by_source.entry(view.source.clone()).or_default();
                    seen.push((incident.id, sight_of(view)));
                }
            }
        }
        if by_source.len() < 3 || by_source.values().map(Vec::len).sum::<usize>() > MOST_VIEWS {
            return Vec::new();
        }
        let (names, seen): (Vec<SourceId>, Vec<Vec<(IncidentId, Sight)>>) = by_source.into_iter().unzip();
        let sights: Vec<Vec<Sight>> = seen
            .iter()
            .map(|views| views.iter().map(|(_, sight)| *sight).collect())
            .collect();
        let mut swaps = Vec::new();
        for hypothesis in hypotheses(&sights, LEVEL) {
            let point = hypothesis.joined.position.point;
            let members: Vec<(&SourceId, IncidentId, &Sight)> = hypothesis
                .members
                .iter()
                .filter_map(|(source, view)| {
                    let (incident, sight) = seen.get(*source)?.get(*view)?;
                    Some((names.get(*source)?, *incident, sight))
                })
                .collect();
            let is_far = |sight: &Sight| {
                sight
                    .bearing
                    .is_some_and(|bearing| distance_m(bearing.from, point) > self.config.bearing_range_m)
            };
            if hypothesis.may_be_ghost
                || members.len() < 3
                || members.iter().any(|(_, _, sight)| is_far(sight))
            {
                continue;
            }
            let count = |wanted: IncidentId| members.iter().filter(|(_, known, _)| *known == wanted).count();
            // Where most of them are already; of equals, the oldest incident.
            let home = members
                .iter()
                .map(|(_, incident, _)| *incident)
                .max_by_key(|incident| (count(*incident), std::cmp::Reverse(*incident)));
            let Some(home) = home else { continue };
            let astray = members.iter().filter(|(_, incident, _)| *incident != home);
            swaps.extend(astray.map(|(source, incident, _)| ((*source).clone(), *incident, home)));
        }
        self.swap_views(&swaps, now)
    }

    /// Lets two incidents exchange what a source sees of each.
    fn swap_views(&mut self, swaps: &[(SourceId, IncidentId, IncidentId)], now: Timestamp) -> Vec<Change> {
        let mut changed: BTreeMap<IncidentId, Incident> = BTreeMap::new();
        let mut done = BTreeSet::new();
        for (source, one, other) in swaps {
            let pair = (source, one.min(other), one.max(other));
            let both = [one, other].map(|id| changed.get(id).or_else(|| self.incident(*id)).cloned());
            let [Some(mut first), Some(mut second)] = both else {
                continue;
            };
            if !done.insert(pair) {
                continue;
            }
            let (from_first, rest_first) = first.views.drain(..).partition(|view| view.source == *source);
            let (from_second, rest_second) = second.views.drain(..).partition(|view| view.source == *source);
            (first.views, second.views) = (rest_first, rest_second);
            first.views.extend::<Vec<View>>(from_second);
            second.views.extend::<Vec<View>>(from_first);
            // An incident without any view would be nobody's.
            if first.views.is_empty() || second.views.is_empty() {
                continue;
            }
            first.distinct_from.push(second.id);
            second.distinct_from.push(first.id);
            changed.insert(first.id, first);
            changed.insert(second.id, second);
        }
        self.rearranged(changed.into_values().collect(), now)
    }

    /// Settles incidents that exchanged views, and tells of them.
    pub(super) fn rearranged(&mut self, mut incidents: Vec<Incident>, now: Timestamp) -> Vec<Change> {
        let ids: Vec<IncidentId> = incidents.iter().map(|incident| incident.id).collect();
        // All of them first, so that each is settled beside the others as they are now.
        for incident in &mut incidents {
            incident.position = None;
            incident.distinct_from.sort_unstable();
            incident.distinct_from.dedup();
            for view in &incident.views {
                self.tracks.insert((view.source.clone(), view.track), incident.id);
            }
            self.adopt(incident.clone());
        }
        let mut changes = Vec::new();
        for mut incident in incidents {
            let rivals = self.rivals(incident.id, &incident.views);
            settle(&mut incident, &rivals, &*self.grid);
            let step = Step {
                others: ids.iter().copied().filter(|id| *id != incident.id).collect(),
                ..Step::new(
                    TransitionKind::Split,
                    EventType::Updated,
                    Some(incident.state),
                    now,
                )
            };
            changes.push(self.take(step, incident, now));
        }
        changes
    }
}

fn is_then(view: &View, newest: Timestamp) -> bool {
    view.last_seen.at.duration_since(newest).abs() <= SignedDuration::from_secs(SAME_TIME_S)
}

/// Returns whether bearings of several sources meet in an incident without agreeing on one point.
fn is_open_question(incident: &Incident) -> bool {
    let views = best_of_each_source(&incident.views);
    let has_bearing_alone = views.iter().any(|view| view.position.is_none());
    if views.len() < 2 || !has_bearing_alone {
        return false;
    }
    incident.position.is_none()
        || combined(&views).is_none_or(|found| !found.left_out.is_empty() || !found.agrees)
}
