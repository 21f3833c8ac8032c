//! Figures of a period: what was pushed, confirmed and rejected, how fast, and what was missed.
//!
//! Drills and merged incidents are counted apart. Deadlines of late incidents (recordings) do not count. The confirmation
//! rate is what people said of what was pushed; it is not the precision of the model, and incidents that nobody judged
//! are a figure of their own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::handle::{Store, millis};
use crate::flow::incident::{Milestone, RejectReason, State};

/// By what the figures are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// By district (区).
    District,
    /// By township (乡镇).
    #[default]
    Township,
    /// By village (村).
    Village,
    /// By cell.
    Cell,
    /// By source; an incident that two sources see counts for both.
    Source,
}

impl GroupBy {
    const fn column(self) -> &'static str {
        match self {
            Self::District => "district",
            Self::Township => "township",
            Self::Village => "village",
            Self::Cell => "cell",
            Self::Source => "sources",
        }
    }
}

/// What to report on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportQuery {
    /// Incidents opened at or after.
    pub from: Timestamp,
    /// Incidents opened before.
    pub until: Timestamp,
    /// By what.
    pub group_by: GroupBy,
    /// The moment at which open deadlines are judged.
    pub now: Timestamp,
}

/// How a milestone was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MilestoneFigures {
    /// How many incidents have a deadline for it; times are measured without one, too.
    pub set: u64,
    /// How many reached it.
    pub reached: u64,
    /// How many reached it in time.
    pub in_time: u64,
    /// How many missed it: reached late, or open and past its deadline.
    pub overdue: u64,
    /// Median of the seconds it took, from the first frame in which the fire was visible.
    pub median_s: Option<f64>,
    /// What nine of ten stayed under, in seconds.
    pub p90_s: Option<f64>,
}

impl MilestoneFigures {
    /// Returns the share in time of those whose outcome is known, 0 to 1.
    #[must_use]
    pub fn compliance(&self) -> Option<f64> {
        let judged = self.in_time + self.overdue;
        (judged > 0).then(|| self.in_time as f64 / judged as f64)
    }
}

/// The figures of one area or source.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AreaFigures {
    /// Its name; empty for incidents without one.
    pub name: String,
    /// Incidents that were pushed (drills and merged ones left out).
    pub pushed: u64,
    /// Of those, confirmed by a person or a rule.
    pub confirmed: u64,
    /// Of those, rejected.
    pub rejected: u64,
    /// Of those, judged by nobody.
    pub unjudged: u64,
    /// Rejected, by reason.
    pub rejected_by_reason: BTreeMap<RejectReason, u64>,
    /// Came late: recordings, delayed streams.
    pub late: u64,
    /// Came back after they were over.
    pub reopened: u64,
    /// Still open.
    pub open: u64,
    /// Incidents with a missed deadline.
    pub overdue: u64,
    /// Taken in by another incident; not among the pushed.
    pub merged: u64,
    /// Drills; not among the pushed.
    pub drills: u64,
    /// How each milestone was reached.
    pub milestones: BTreeMap<Milestone, MilestoneFigures>,
}

impl AreaFigures {
    /// Returns the share of confirmed ones among those that were judged, 0 to 1 (查实率).
    #[must_use]
    pub fn confirmation_rate(&self) -> Option<f64> {
        let judged = self.confirmed + self.rejected;
        (judged > 0).then(|| self.confirmed as f64 / judged as f64)
    }
}

/// The figures of a period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeriodReport {
    /// The first moment of the period.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    /// By what the areas are grouped.
    pub group_by: GroupBy,
    /// The deadline profiles that were in force, by name.
    pub profiles: Vec<String>,
    /// Everything together.
    pub total: AreaFigures,
    /// The period of the same length before, everything together, for comparison.
    pub before: AreaFigures,
    /// Each area, the one with the most confirmed first.
    pub areas: Vec<AreaFigures>,
}

impl Store {
    /// Returns the figures of a period.
    pub fn period_report(&self, query: &ReportQuery) -> Result<PeriodReport, StoreError> {
        self.read(|connection| {
            let mut tally = Tally::new(query.now);
            tally.read(connection, query.from, query.until, query.group_by)?;
            let length = query.until.duration_since(query.from);
            let before_from = query.from.saturating_sub(length).unwrap_or(Timestamp::MIN);
            let mut before = Tally::new(query.now);
            before.read(connection, before_from, query.from, query.group_by)?;
            let mut areas: Vec<AreaFigures> = tally.areas.into_values().map(Gathered::finish).collect();
            areas.sort_by(|a, b| (b.confirmed, b.pushed, &a.name).cmp(&(a.confirmed, a.pushed, &b.name)));
            Ok(PeriodReport {
                from: query.from,
                until: query.until,
                group_by: query.group_by,
                profiles: tally.profiles,
                total: tally.total.finish(),
                before: before.total.finish(),
                areas,
            })
        })
    }
}

#[derive(Default)]
struct Gathered {
    figures: AreaFigures,
    seconds: BTreeMap<Milestone, Vec<f64>>,
}

impl Gathered {
    fn finish(mut self) -> AreaFigures {
        for (milestone, mut seconds) in self.seconds {
            seconds.sort_by(f64::total_cmp);
            let figures = self.figures.milestones.entry(milestone).or_default();
            figures.median_s = quantile(&seconds, 0.5);
            figures.p90_s = quantile(&seconds, 0.9);
        }
        self.figures
    }
}

/// Returns a quantile of sorted values, interpolated between neighbours.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = last as f64 * share;
    let below = *sorted.get(place.floor() as usize)?;
    let above = *sorted.get(place.ceil() as usize)?;
    Some(below + (above - below) * place.fract())
}

struct Tally {
    now_ms: i64,
    total: Gathered,
    areas: BTreeMap<String, Gathered>,
    profiles: Vec<String>,
}

#[expect(clippy::struct_excessive_bools, reason = "a row of a query, read once")]
struct Row {
    state: State,
    is_late: bool,
    is_drill: bool,
    is_confirmed: bool,
    reopened: bool,
    reason: Option<RejectReason>,
    milestones: Vec<(Milestone, i64, Option<i64>, Option<i64>)>,
}

impl Tally {
    fn new(now: Timestamp) -> Self {
        Self {
            now_ms: millis(now),
            total: Gathered::default(),
            areas: BTreeMap::new(),
            profiles: Vec::new(),
        }
    }

    fn read(
        &mut self,
        connection: &Connection,
        from: Timestamp,
        until: Timestamp,
        group_by: GroupBy,
    ) -> Result<(), StoreError> {
        let failed = |error| StoreError::sqlite("gather the figures of a period", error);
        // Confirmed is what the history says: somebody moved it there, whatever became of it later.
        let sql = format!(
            "SELECT state, late, drill, confirmed_at IS NOT NULL, reopened > 0, reject_reason, profile, {},
                 (SELECT group_concat(milestone || ' ' || starts || ' ' || coalesce(due, '') || ' ' || coalesce(done, ''), ';')
                  FROM milestones WHERE incident = id)
             FROM incidents WHERE opened_at >= ?1 AND opened_at < ?2",
            group_by.column()
        );
        let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
        let mut rows = statement
            .query(params![millis(from), millis(until)])
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let text = |index: usize| row.get::<_, Option<String>>(index).map_err(failed);
            let flag = |index: usize| row.get::<_, bool>(index).map_err(failed);
            let Some(state) = text(0)?.and_then(|state| state.parse().ok()) else {
                continue;
            };
            let found = Row {
                state,
                is_late: flag(1)?,
                is_drill: flag(2)?,
                is_confirmed: flag(3)?,
                reopened: flag(4)?,
                reason: text(5)?.and_then(|reason| reason.parse().ok()),
                milestones: parse_milestones(&text(8)?.unwrap_or_default()),
            };
            if let Some(profile) = text(6)?
                && !self.profiles.contains(&profile)
            {
                self.profiles.push(profile);
            }
            let group = text(7)?.unwrap_or_default();
            count(&mut self.total, &found, self.now_ms);
            if group_by == GroupBy::Source {
                for source in group.split(' ') {
                    count(area(&mut self.areas, source), &found, self.now_ms);
                }
            } else {
                count(area(&mut self.areas, &group), &found, self.now_ms);
            }
        }
        Ok(())
    }
}

fn area<'a>(areas: &'a mut BTreeMap<String, Gathered>, name: &str) -> &'a mut Gathered {
    if !areas.contains_key(name) {
        let mut fresh = Gathered::default();
        name.clone_into(&mut fresh.figures.name);
        areas.insert(name.to_owned(), fresh);
    }
    areas.entry(name.to_owned()).or_default()
}

fn parse_milestones(text: &str) -> Vec<(Milestone, i64, Option<i64>, Option<i64>)> {
    text.split(';')
        .filter_map(|part| {
            let mut words = part.split(' ');
            let name = words.next()?;
            let milestone = Milestone::ALL
                .into_iter()
                .find(|milestone| milestone.name() == name)?;
            Some((
                milestone,
                words.next()?.parse().ok()?,
                words.next()?.parse().ok(),
                words.next().and_then(|done| done.parse().ok()),
            ))
        })
        .collect()
}

fn count(gathered: &mut Gathered, row: &Row, now_ms: i64) {
    let figures = &mut gathered.figures;
    if row.is_drill {
        figures.drills += 1;
        return;
    }
    if row.state == State::Merged {
        figures.merged += 1;
        return;
    }
    figures.pushed += 1;
    if row.state == State::Rejected {
        figures.rejected += 1;
        if let Some(reason) = row.reason {
            *figures.rejected_by_reason.entry(reason).or_default() += 1;
        }
    } else if row.is_confirmed {
        figures.confirmed += 1;
    } else {
        figures.unjudged += 1;
    }
    figures.late += u64::from(row.is_late);
    figures.reopened += u64::from(row.reopened);
    figures.open += u64::from(row.state.is_open());
    // What was no fire had nothing to respond to.
    if row.is_late || row.state == State::Rejected {
        return;
    }
    let mut is_overdue = false;
    for &(milestone, starts, due, done) in &row.milestones {
        let entry = figures.milestones.entry(milestone).or_default();
        entry.set += u64::from(due.is_some());
        if let Some(done) = done {
            entry.reached += 1;
            gathered
                .seconds
                .entry(milestone)
                .or_default()
                .push((done - starts) as f64 / 1_000.0);
        }
        let Some(due) = due else { continue };
        if done.unwrap_or(now_ms) > due {
            entry.overdue += 1;
            is_overdue = true;
        } else if done.is_some() {
            entry.in_time += 1;
        }
    }
    figures.overdue += u64::from(is_overdue);
}
