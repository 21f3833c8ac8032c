//! The book of incidents: takes reports in, makes incidents of them, and says what changed. No thread, clock or file.

mod quiet;

mod rules;

mod tangle;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub use self::quiet::Quiet;
use self::quiet::dismisses_place;
use super::associate::{is_upper_part, misfit, misfit_of_place, misfit_of_points, squared_distance};
use super::config::{ConfigProblems, IncidentConfig};
use super::fuse::combined;
use super::grid::GridLookup;
use super::ids::Ids;
use super::step::Step;
use super::update::{Weight, best_of_each_source, is_late, is_sane, take_in, view_of};
use crate::flow::detection::Class;
use crate::flow::event::EventType;
use crate::flow::incident::{Incident, IncidentId, Sla, State, TransitionKind, View};
use crate::flow::position::Place;
use crate::flow::report::TrackReport;
use crate::flow::source::SourceId;
use crate::flow::track::{Decision, TrackId};
use crate::stages::event_maker::EventMaker;
use crate::store::Change;

/// Updates that only bring a better point wait this long after the last one, in seconds.
const BETTER_EVERY_S: f64 = 5.0;
/// A view moves to a new incident only where it fits this much better (squared distances).
const CLEARLY_BETTER: f64 = 6.0;

pub(crate) struct Entry {
    pub(crate) incident: Incident,
    /// Whether it knows more than its last revision says.
    pub(crate) has_news: bool,
}

/// Joins the reports of all sources to incidents and keeps their life cycle.
///
/// Every method returns the changes that it made, in the order in which they must be written.
pub struct IncidentBook {
    pub(crate) config: IncidentConfig,
    zone: TimeZone,
    pub(crate) maker: EventMaker,
    pub(crate) grid: Box<dyn GridLookup>,
    pub(crate) ids: Ids,
    pub(crate) entries: BTreeMap<IncidentId, Entry>,
    tracks: BTreeMap<(SourceId, TrackId), IncidentId>,
    quiet: BTreeMap<Quiet, u64>,
    is_drill: bool,
}

impl IncidentBook {
    /// Makes a book without incidents.
    pub fn new(config: IncidentConfig, grid: Box<dyn GridLookup>, ids: Ids) -> Result<Self, ConfigProblems> {
        config.check()?;
        let zone = config
            .zone()
            .map_err(|problem| ConfigProblems(vec![format!("time_zone: {problem}")]))?;
        Ok(Self {
            zone,
            maker: EventMaker::new(config.site.clone(), config.base_url.as_deref()),
            config,
            grid,
            ids,
            entries: BTreeMap::new(),
            tracks: BTreeMap::new(),
            quiet: BTreeMap::new(),
            is_drill: false,
        })
    }

    /// Takes in an incident that the store knows, in place of what the book knew of it.
    pub fn adopt(&mut self, incident: Incident) {
        self.entries.insert(
            incident.id,
            Entry {
                incident,
                has_news: false,
            },
        );
    }

    /// Forgets an incident that could not be written.
    pub fn forget(&mut self, id: IncidentId) {
        self.entries.remove(&id);
        self.tracks.retain(|_, known| *known != id);
    }

    /// Returns an incident as the book knows it.
    #[must_use]
    pub fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.entries.get(&id).map(|entry| &entry.incident)
    }

    /// Returns every incident that the book knows, oldest first.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.entries.values().map(|entry| &entry.incident)
    }

    /// Returns how many reports made no incident, and why.
    #[must_use]
    pub const fn quieted(&self) -> &BTreeMap<Quiet, u64> {
        &self.quiet
    }

    /// Marks every incident that is opened from now on as part of a drill, or no longer.
    pub const fn set_drill(&mut self, is_drill: bool) {
        self.is_drill = is_drill;
    }

    /// Returns whether a drill is on.
    #[must_use]
    pub const fn is_drill(&self) -> bool {
        self.is_drill
    }

    /// Returns the configuration.
    #[must_use]
    pub const fn config(&self) -> &IncidentConfig {
        &self.config
    }

    /// Notes what was written.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            let incident = change.incident.clone();
            for view in &incident.views {
                // A split or merge moves views: their tracks go with them.
                if let Some(known) = self.tracks.get_mut(&(view.source.clone(), view.track)) {
                    *known = incident.id;
                }
            }
            self.adopt(incident);
        }
    }

    /// Takes in a report of a source.
    pub fn process(&mut self, report: &TrackReport, now: Timestamp) -> Vec<Change> {
        if report.decision != Decision::Fire {
            return Vec::new();
        }
        if !is_sane(report) {
            return self.keep_quiet(Quiet::Senseless);
        }
        let track = (report.source.clone(), report.track);
        let known = self.tracks.get(&track).copied().and_then(|id| self.follow(id));
        let lifted = self.without_false_foot(known, report);
        let report = lifted.as_ref().unwrap_or(report);
        if let Some(id) = known {
            return self.go_on_and_untangle(id, report, now);
        }
        if self.is_masked(report) {
            return self.keep_quiet(Quiet::Masked);
        }
        if let Some(id) = self.best_match(report) {
            self.tracks.insert(track, id);
            return self.go_on_and_untangle(id, report, now);
        }
        if self.is_in_quiet_zone(report, now) {
            return self.keep_quiet(Quiet::Zone);
        }
        if let Some(id) = self.ended_match(report, now) {
            self.tracks.insert(track, id);
            return self.go_on(id, report, now);
        }
        self.open(report, now)
    }

    /// Returns the report without its place where it is the upper part of a plume whose foot is seen below it.
    fn without_false_foot(&self, known: Option<IncidentId>, report: &TrackReport) -> Option<TrackReport> {
        let is_of =
            |incident: &Incident| incident.ended_at.is_none() && is_upper_part(&incident.views, report);
        let is_lifted = match known {
            Some(id) => self.incident(id).is_some_and(is_of),
            None => self.incidents().any(is_of),
        };
        is_lifted.then(|| TrackReport {
            place: Place::Unknown {
                refused: "it is the upper part of a plume whose foot is seen below it".to_owned(),
            },
            ..report.clone()
        })
    }

    fn keep_quiet(&mut self, why: Quiet) -> Vec<Change> {
        *self.quiet.entry(why).or_default() += 1;
        Vec::new()
    }

    /// Returns the incident that an incident has become by merging, none where the book has forgotten it.
    fn follow(&self, mut id: IncidentId) -> Option<IncidentId> {
        // Merges cannot make a circle (a merged incident takes in nothing), but a damaged store could.
        for _ in 0..32 {
            let incident = self.incident(id)?;
            match incident.merged_into {
                Some(into) if incident.state == State::Merged => id = into,
                _ => return Some(id),
            }
        }
        None
    }

    /// Returns the open incident, or the ended one at the same time, that a report fits best.
    fn best_match(&self, report: &TrackReport) -> Option<IncidentId> {
        self.incidents()
            .filter(|incident| !matches!(incident.state, State::Merged | State::Rejected))
            .filter(|incident| {
                incident
                    .ended_at
                    .is_none_or(|ended| report.first_seen.at <= ended)
            })
            .filter_map(|incident| Some((misfit(&self.config, incident, report)?, incident.id)))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id)| id)
    }

    /// Returns the ended incident at whose place a report lies: put out, closed, or rejected.
    fn ended_match(&self, report: &TrackReport, now: Timestamp) -> Option<IncidentId> {
        let late = is_late(&self.config, report, now);
        self.incidents()
            .filter(|incident| {
                let Some(ended) = incident.ended_at else {
                    return false;
                };
                let since_s = report.last_seen.at.duration_since(ended).as_secs_f64();
                match incident.state {
                    State::Extinguished | State::Closed => !late && since_s <= self.config.reopen_within_s,
                    State::Rejected => {
                        since_s <= self.config.dismiss_for_s
                            && since_s >= -self.config.join_gap_s
                            && incident.reject_reason.is_none_or(dismisses_place)
                    }
                    _ => false,
                }
            })
            .filter_map(|incident| Some((misfit_of_place(&self.config, incident, report)?, incident.id)))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id)| id)
    }

    fn go_on_and_untangle(&mut self, id: IncidentId, report: &TrackReport, now: Timestamp) -> Vec<Change> {
        let mut changes = self.go_on(id, report, now);
        changes.extend(self.untangle(id, now));
        changes
    }

    /// Returns what else the sources of an incident see at the time of a report that it takes in.
    fn rivals_with(&self, incident: &Incident, report: &TrackReport) -> Vec<View> {
        let mut views = incident.views.clone();
        views.push(view_of(report));
        self.rivals(incident.id, &views)
    }

    /// Takes a report into an incident that is known to show it.
    fn go_on(&mut self, id: IncidentId, report: &TrackReport, now: Timestamp) -> Vec<Change> {
        let Some(incident) = self.incident(id).cloned() else {
            return Vec::new();
        };
        match incident.state {
            State::Rejected if self.has_changed(&incident, report) => self.reopen(incident, report, now),
            State::Rejected => self.keep_quiet(Quiet::Dismissed),
            State::Extinguished | State::Closed => {
                let Some(ended) = incident.ended_at else {
                    return self.update(incident, report, now);
                };
                if report.first_seen.at <= ended && report.last_seen.at <= ended {
                    return self.update(incident, report, now);
                }
                let after_s = report.last_seen.at.duration_since(ended).as_secs_f64();
                let new_flame = report.class == Class::Flame && report.first_seen.at > ended;
                let burns = new_flame || after_s > self.config.smoulder_s;
                if burns && !is_late(&self.config, report, now) {
                    self.reopen(incident, report, now)
                } else {
                    self.keep_quiet(Quiet::Smouldering)
                }
            }
            _ => self.update(incident, report, now),
        }
    }

    fn update(&mut self, mut incident: Incident, report: &TrackReport, now: Timestamp) -> Vec<Change> {
        let rivals = self.rivals_with(&incident, report);
        let (mut weight, files) = take_in(&mut incident, report, &rivals, &*self.grid);
        if incident.late && incident.is_open() && !is_late(&self.config, report, now) {
            incident.late = false;
            weight = Weight::New;
            self.start_clock(&mut incident, report.first_seen.at, now);
        }
        let since_s = now.duration_since(incident.changed_at).as_secs_f64();
        let is_told = match weight {
            Weight::New => true,
            Weight::Better => since_s >= BETTER_EVERY_S,
            Weight::Routine => since_s >= self.config.update_every_s,
        };
        let id = incident.id;
        if !is_told {
            self.entries.insert(
                id,
                Entry {
                    incident,
                    has_news: true,
                },
            );
            return self.confirm_by_rule(id, now).into_iter().collect();
        }
        let from = Some(incident.state);
        let step = Step {
            evidence: files,
            ..Step::new(TransitionKind::Updated, EventType::Updated, from, now)
        };
        let mut changes = vec![self.take(step, incident, now)];
        changes.extend(self.confirm_by_rule(id, now));
        changes
    }

    fn reopen(&mut self, mut incident: Incident, report: &TrackReport, now: Timestamp) -> Vec<Change> {
        let from = incident.state;
        let rivals = self.rivals_with(&incident, report);
        let (_, files) = take_in(&mut incident, report, &rivals, &*self.grid);
        let starts = incident
            .ended_at
            .map_or(report.first_seen.at, |ended| report.first_seen.at.max(ended));
        self.bring_back(&mut incident, starts, now);
        incident.state = if from == State::Rejected {
            State::Suspected
        } else {
            State::Confirmed
        };
        let id = incident.id;
        let step = Step {
            evidence: files,
            ..Step::new(TransitionKind::Reopened, EventType::Reopened, Some(from), now)
        };
        let mut changes = vec![self.take(step, incident, now)];
        changes.extend(self.confirm_by_rule(id, now));
        changes
    }

    /// Undoes the end of an incident and starts its clock again.
    pub(crate) fn bring_back(&self, incident: &mut Incident, starts: Timestamp, now: Timestamp) {
        incident.ended_at = None;
        incident.reject_reason = None;
        incident.return_reason = None;
        incident.reopened += 1;
        self.start_clock(incident, starts, now);
    }

    fn start_clock(&self, incident: &mut Incident, starts: Timestamp, now: Timestamp) {
        incident.sla = self.config.profile_in_force().map(|profile| {
            let mut sla = Sla::new(profile, starts);
            sla.reach(State::Suspected, now);
            sla
        });
    }

    fn open(&mut self, report: &TrackReport, now: Timestamp) -> Vec<Change> {
        let id = IncidentId::new(self.ids.next(now));
        let late = is_late(&self.config, report, now);
        let mut incident = Incident {
            id,
            revision: 0,
            state: State::Suspected,
            first_seen: report.first_seen,
            last_seen: report.last_seen,
            opened_at: now,
            changed_at: now,
            late,
            drill: self.is_drill,
            class: report.class,
            confidence: report.score,
            views: Vec::new(),
            position: None,
            hypotheses: Vec::new(),
            bearing: None,
            grid: None,
            assigned: false,
            candidates: Vec::new(),
            sla: None,
            checklist: self.config.checklist.clone(),
            evidence: Vec::new(),
            model: report.model.clone(),
            reject_reason: None,
            return_reason: None,
            ended_at: None,
            reopened: 0,
            merged_into: None,
            merged_from: Vec::new(),
            split_from: None,
            distinct_from: Vec::new(),
            legal_hold: false,
        };
        let (_, files) = take_in(&mut incident, report, &[], &*self.grid);
        if !late {
            self.start_clock(&mut incident, report.first_seen.at, now);
        }
        self.tracks.insert((report.source.clone(), report.track), id);
        let step = Step {
            evidence: files,
            ..Step::new(TransitionKind::Opened, EventType::Suspected, None, now)
        };
        let mut changes = vec![self.take(step, incident, now)];
        changes.extend(self.rehome(id, &report.source, now));
        changes.extend(self.confirm_by_rule(id, now));
        changes
    }

    /// A camera that shows two fires told `new` apart from a neighbour. What other sources saw may belong to the new
    /// one: whatever fits it clearly better moves there.
    fn rehome(&mut self, new: IncidentId, source: &SourceId, now: Timestamp) -> Vec<Change> {
        let Some(place) = self.incident(new).and_then(|incident| incident.position) else {
            return Vec::new();
        };
        let mut moves: Vec<(IncidentId, View)> = Vec::new();
        for incident in self.incidents() {
            let shares_source = incident.views.iter().any(|view| view.source == *source);
            if incident.id == new || !incident.state.is_burning() || !shares_source {
                continue;
            }
            for view in best_of_each_source(&incident.views) {
                let Some(seen) = view.position.filter(|_| view.source != *source) else {
                    continue;
                };
                let others: Vec<&View> = best_of_each_source(&incident.views)
                    .into_iter()
                    .filter(|other| other.source != view.source)
                    .collect();
                let Some(rest) = combined(&others).map(|combined| combined.position) else {
                    continue;
                };
                let to_new = squared_distance(&self.config, &seen, &place).0;
                let to_rest = squared_distance(&self.config, &seen, &rest).0;
                if misfit_of_points(&self.config, &seen, &place).is_some()
                    && to_new + CLEARLY_BETTER < to_rest
                {
                    moves.push((incident.id, view.clone()));
                }
            }
        }
        let mut changes = Vec::new();
        for (from, view) in moves {
            changes.extend(self.move_views(from, new, &view.source, now));
        }
        changes
    }

    fn move_views(
        &mut self,
        from: IncidentId,
        to: IncidentId,
        source: &SourceId,
        now: Timestamp,
    ) -> Vec<Change> {
        let (Some(mut giver), Some(mut taker)) = (self.incident(from).cloned(), self.incident(to).cloned())
        else {
            return Vec::new();
        };
        let (gone, kept) = giver.views.drain(..).partition(|view| view.source == *source);
        giver.views = kept;
        taker.views.extend(gone);
        giver.distinct_from.push(to);
        taker.distinct_from.push(from);
        self.rearranged(vec![giver, taker], now)
    }

    /// Takes a step and notes it.
    pub(crate) fn take(&mut self, step: Step, incident: Incident, now: Timestamp) -> Change {
        let change = step.take(incident, &self.maker, &mut self.ids, now);
        self.adopt(change.incident.clone());
        change
    }

    /// Forgets what is so long over that no report can belong to it.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        let kept = SignedDuration::from_secs(
            self.config
                .reopen_within_s
                .max(self.config.dismiss_for_s)
                .min(1e9) as i64,
        );
        let oldest = now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
        self.entries.retain(|_, entry| {
            let incident = &entry.incident;
            incident.is_open() || incident.ended_at.unwrap_or(incident.changed_at) >= oldest
        });
        let entries = &self.entries;
        self.tracks.retain(|_, id| entries.contains_key(id));
    }
}
