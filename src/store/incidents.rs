//! Incidents and their history: written whole, in one transaction with their events; listed by area, state and time.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction as Sql, params, params_from_iter};
use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, StoreError};
use super::handle::{Store, from_millis, millis};
use super::{chain, evidence, outbox};
use crate::flow::event::Event;
use crate::flow::hash::hexadecimal;
use crate::flow::incident::{Incident, IncidentId, Milestone, State, Transition};
use crate::flow::report::Evidence;

/// One step of one incident: what it became, the line in its history, what the world is told, what shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The incident after the step. Its revision is one more than before; 1 makes a new incident.
    pub incident: Incident,
    /// The line in its history, of the same revision.
    pub transition: Transition,
    /// What leaves the program, in order.
    pub events: Vec<Event>,
    /// Files that were not in the index before.
    pub evidence: Vec<Evidence>,
}

/// A line of the history with its place in the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HistoryLine {
    /// Its number in the history of all incidents.
    pub seq: i64,
    /// SHA-256 over the line and the line before, in hexadecimal.
    pub hash: String,
    /// What happened.
    #[serde(flatten)]
    pub transition: Transition,
}

/// A part of the grid: each level that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// District (区).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub district: Option<String>,
    /// Township (乡镇).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub township: Option<String>,
    /// Village (村).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub village: Option<String>,
}

impl Area {
    /// Returns whether an incident with this grid cell lies in the area. An incident without a cell lies only in the
    /// area that is the whole world.
    #[must_use]
    pub fn holds(&self, incident: &Incident) -> bool {
        let matches =
            |wanted: &Option<String>, found: Option<&String>| wanted.is_none() || wanted.as_ref() == found;
        let grid = incident.grid.as_ref();
        matches(&self.district, grid.and_then(|grid| grid.district.as_ref()))
            && matches(&self.township, grid.and_then(|grid| grid.township.as_ref()))
            && matches(&self.village, grid.and_then(|grid| grid.village.as_ref()))
    }
}

/// Where a page of a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PageMark {
    /// When the last incident of the page was opened, in milliseconds since 1970.
    pub opened_ms: i64,
    /// Its id.
    pub id: IncidentId,
}

/// Which incidents to list; every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// In which states; empty for all.
    pub states: Vec<State>,
    /// In which area.
    pub area: Area,
    /// Opened at or after.
    pub opened_from: Option<Timestamp>,
    /// Opened before.
    pub opened_before: Option<Timestamp>,
    /// Whether they belong to a drill.
    pub drill: Option<bool>,
    /// Whether they came late.
    pub late: Option<bool>,
    /// Goes on after this mark.
    pub after: Option<PageMark>,
    /// The most that are returned; 0 for 100, never more than 1,000.
    pub limit: u32,
}

/// A page of a list, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The incidents.
    pub incidents: Vec<Incident>,
    /// Where to go on, if there are more.
    pub next: Option<PageMark>,
}

impl Store {
    /// Writes changes, each with its history line, events and evidence, in one transaction: all or nothing. Each
    /// incident must stand at the revision before; otherwise the error is a conflict and nothing was changed.
    pub fn commit(&self, changes: &[Change], now: Timestamp) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.write("write a change of an incident", |sql| {
            for change in changes {
                write_change(sql, change, now)?;
            }
            Ok(())
        })?;
        if changes.iter().any(|change| !change.events.is_empty()) {
            self.tell_listeners();
        }
        Ok(())
    }

    /// Returns an incident, none where there is no such one.
    pub fn incident(&self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT body FROM incidents WHERE id = ?1")
                .and_then(|mut statement| {
                    statement
                        .query_row(params![id.to_string()], |row| row.get::<_, String>(0))
                        .optional()
                })
                .map_err(|error| StoreError::sqlite("read an incident", error))?
                .map(|body| parse(&body))
                .transpose()
        })
    }

    /// Returns a page of incidents, newest first.
    pub fn incidents(&self, filter: &IncidentFilter) -> Result<Page, StoreError> {
        let limit = match filter.limit {
            0 => 100,
            limit => limit.min(1_000),
        } as usize;
        let (condition, values) = condition_of(filter);
        self.read(|connection| {
            let sql = format!(
                "SELECT body FROM incidents {condition} ORDER BY opened_at DESC, id DESC LIMIT {}",
                limit + 1
            );
            let mut incidents = bodies(connection, &sql, values)?;
            let has_more = incidents.len() > limit;
            incidents.truncate(limit);
            let next = incidents
                .last()
                .filter(|_| has_more)
                .map(|last: &Incident| PageMark {
                    opened_ms: millis(last.opened_at),
                    id: last.id,
                });
            Ok(Page { incidents, next })
        })
    }

    /// Returns every incident that the incident stage still has to know: the open ones, and those that ended at or
    /// after `ended_since`, whose place it remembers.
    pub fn living_incidents(&self, ended_since: Timestamp) -> Result<Vec<Incident>, StoreError> {
        self.read(|connection| {
            bodies(
                connection,
                "SELECT body FROM incidents WHERE state IN
                     ('suspected', 'confirmed', 'dispatched', 'returned', 'accepted', 'on_scene', 'extinguished')
                 UNION ALL
                 SELECT body FROM incidents WHERE state IN ('closed', 'rejected') AND ended_at >= ?1",
                vec![Value::Integer(millis(ended_since))],
            )
        })
    }

    /// Returns the history of one incident, oldest first; empty where there is no such one.
    pub fn history(&self, id: IncidentId) -> Result<Vec<HistoryLine>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("read the history of an incident", error);
            let mut statement = connection
                .prepare_cached("SELECT seq, hash, body FROM transitions WHERE incident = ?1 ORDER BY seq")
                .map_err(failed)?;
            let rows = statement
                .query_map(params![id.to_string()], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, Vec<u8>>(1)?,
                        row.get::<_, String>(2)?,
                    ))
                })
                .map_err(failed)?;
            rows.map(|row| {
                let (seq, hash, body) = row.map_err(failed)?;
                Ok(HistoryLine {
                    seq,
                    hash: hexadecimal(&hash),
                    transition: serde_json::from_str(&body)
                        .map_err(|error| StoreError::json("read a line of the history", error))?,
                })
            })
            .collect()
        })
    }

    /// Returns how many incidents there are in each state.
    pub fn counts_by_state(&self) -> Result<Vec<(State, u64)>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("count the incidents", error);
            let mut statement = connection
                .prepare_cached("SELECT state, count(*) FROM incidents GROUP BY state")
                .map_err(failed)?;
            let rows = statement
                .query_map(params![], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
                })
                .map_err(failed)?;
            rows.map(|row| {
                let (state, count) = row.map_err(failed)?;
                let state = state.parse().map_err(|problem| {
                    StoreError::new(ErrorKind::Corrupt, format!("cannot read a state: {problem}"))
                })?;
                Ok((state, count.unsigned_abs()))
            })
            .collect()
        })
    }
}

/// Writes one change into an open transaction.
fn write_change(sql: &Sql<'_>, change: &Change, now: Timestamp) -> Result<(), StoreError> {
    let incident = &change.incident;
    let expected = incident.revision.checked_sub(1).ok_or_else(|| {
        StoreError::new(
            ErrorKind::Invalid,
            format!("incident {} has revision 0, revisions count from 1", incident.id),
        )
    })?;
    if change.transition.incident != incident.id || change.transition.revision != incident.revision {
        return Err(StoreError::new(
            ErrorKind::Invalid,
            format!(
                "the history line does not belong to revision {} of incident {}",
                incident.revision, incident.id
            ),
        ));
    }
    write_row(sql, incident, expected)?;
    write_milestones(sql, incident, &change.transition)?;
    let failed = |error| StoreError::sqlite("write a line of the history", error);
    let body = serde_json::to_string(&change.transition)
        .map_err(|error| StoreError::json("write a line of the history", error))?;
    let next = chain::next(sql, "transitions", &body)?;
    sql.prepare_cached(
        "INSERT INTO transitions (seq, incident, revision, recorded_at, body, previous_hash, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            next.seq,
            incident.id.to_string(),
            incident.revision as i64,
            millis(now),
            body,
            next.previous,
            next.hash.as_slice(),
        ])
    })
    .map_err(failed)?;
    for file in &change.evidence {
        evidence::insert(sql, incident.id, file, now)?;
    }
    for event in &change.events {
        outbox::insert(sql, event, now)?;
    }
    Ok(())
}

fn write_row(sql: &Sql<'_>, incident: &Incident, expected: u64) -> Result<(), StoreError> {
    let attempted = "write an incident";
    let id = incident.id.to_string();
    let found: Option<i64> = sql
        .prepare_cached("SELECT revision FROM incidents WHERE id = ?1")
        .and_then(|mut statement| statement.query_row(params![id], |row| row.get(0)).optional())
        .map_err(|error| StoreError::sqlite(attempted, error))?;
    let found = found.map(i64::unsigned_abs);
    if found.unwrap_or(0) != expected {
        return Err(StoreError::conflict(incident.id, expected, found));
    }
    let grid = incident.grid.as_ref();
    let point = incident.position.map(|position| position.point);
    // Set once, when somebody first said that it burns, whatever becomes of it later.
    let confirmed_at = match incident.state {
        State::Returned => Some(incident.changed_at),
        state => state.rank().filter(|rank| *rank > 0).map(|_| incident.changed_at),
    };
    let mut sources: Vec<&str> = incident.views.iter().map(|view| view.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    let body = serde_json::to_string(incident).map_err(|error| StoreError::json(attempted, error))?;
    sql.prepare_cached(
        "INSERT OR REPLACE INTO incidents (id, revision, state, class, opened_at, changed_at, first_seen, last_seen,
             late, drill, district, township, village, cell, lat, lon, reject_reason, confirmed_at, ended_at, reopened,
             legal_hold, sources, profile, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
             coalesce((SELECT confirmed_at FROM incidents WHERE id = ?1), ?18), ?19, ?20, ?21, ?22, ?23, ?24)",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            id,
            incident.revision as i64,
            incident.state.name(),
            incident.class.name(),
            millis(incident.opened_at),
            millis(incident.changed_at),
            millis(incident.first_seen.at),
            millis(incident.last_seen.at),
            incident.late,
            incident.drill,
            grid.and_then(|grid| grid.district.as_deref()),
            grid.and_then(|grid| grid.township.as_deref()),
            grid.and_then(|grid| grid.village.as_deref()),
            grid.and_then(|grid| grid.cell.as_deref()),
            point.map(|point| point.lat),
            point.map(|point| point.lon),
            incident.reject_reason.map(crate::flow::incident::RejectReason::name),
            confirmed_at.map(millis),
            incident.ended_at.map(millis),
            incident.reopened,
            incident.legal_hold,
            sources.join(" "),
            incident.sla.as_ref().map(|sla| sla.profile.as_str()),
            body,
        ])
    })
    .map_err(|error| StoreError::sqlite(attempted, error))?;
    Ok(())
}

/// Writes the deadlines of an incident, and when it reached a milestone that has none.
fn write_milestones(sql: &Sql<'_>, incident: &Incident, transition: &Transition) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite("write the milestones of an incident", error);
    let id = incident.id.to_string();
    let deadlines = incident
        .sla
        .as_ref()
        .map_or(&[][..], |sla| sla.milestones.as_slice());
    let starts = incident
        .sla
        .as_ref()
        .map_or(incident.first_seen.at, |sla| sla.starts);
    let mut statement = sql
        .prepare_cached(
            "INSERT OR REPLACE INTO milestones (incident, milestone, starts, due, done) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .map_err(failed)?;
    for deadline in deadlines {
        statement
            .execute(params![
                id,
                deadline.milestone.name(),
                millis(starts),
                millis(deadline.due),
                deadline.done.map(millis),
            ])
            .map_err(failed)?;
    }
    let is_step = transition.from != Some(transition.to);
    let reached = Milestone::ALL.into_iter().filter(|milestone| {
        is_step
            && milestone.usual_state() == transition.to
            && deadlines.iter().all(|deadline| deadline.milestone != *milestone)
    });
    for milestone in reached {
        statement
            .execute(params![
                id,
                milestone.name(),
                millis(starts),
                None::<i64>,
                millis(transition.at)
            ])
            .map_err(failed)?;
    }
    Ok(())
}

/// Returns the WHERE clause of a filter and its values.
pub(super) fn condition_of(filter: &IncidentFilter) -> (String, Vec<Value>) {
    let mut parts: Vec<String> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut add = |part: &str, value: Value| {
        values.push(value);
        parts.push(part.replace('?', &format!("?{}", values.len())));
    };
    for (column, wanted) in [
        ("district = ?", &filter.area.district),
        ("township = ?", &filter.area.township),
        ("village = ?", &filter.area.village),
    ] {
        if let Some(wanted) = wanted {
            add(column, Value::Text(wanted.clone()));
        }
    }
    if let Some(from) = filter.opened_from {
        add("opened_at >= ?", Value::Integer(millis(from)));
    }
    if let Some(before) = filter.opened_before {
        add("opened_at < ?", Value::Integer(millis(before)));
    }
    if let Some(drill) = filter.drill {
        add("drill = ?", Value::Integer(drill.into()));
    }
    if let Some(late) = filter.late {
        add("late = ?", Value::Integer(late.into()));
    }
    if let Some(mark) = filter.after {
        add("(opened_at, id) < (?, ", Value::Integer(mark.opened_ms));
        values.push(Value::Text(mark.id.to_string()));
        let last = values.len();
        if let Some(part) = parts.last_mut() {
            part.extend(["?", last.to_string().as_str(), ")"]);
        }
    }
    if !filter.states.is_empty() {
        // The words are ours, never input.
        let words: Vec<_> = filter
            .states
            .iter()
            .map(|state| format!("'{}'", state.name()))
            .collect();
        parts.push(format!("state IN ({})", words.join(", ")));
    }
    if parts.is_empty() {
        (String::new(), values)
    } else {
        (format!("WHERE {}", parts.join(" AND ")), values)
    }
}

fn bodies(connection: &Connection, sql: &str, values: Vec<Value>) -> Result<Vec<Incident>, StoreError> {
    let failed = |error| StoreError::sqlite("list the incidents", error);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(failed)?;
    let mut incidents = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let body = row
            .get_ref(0)
            .map_err(failed)?
            .as_str()
            .map_err(|error| StoreError::sqlite("list the incidents", error.into()))?;
        incidents.push(parse(body)?);
    }
    Ok(incidents)
}

fn parse(body: &str) -> Result<Incident, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::json("read an incident", error))
}

impl PageMark {
    /// Returns when the last incident of the page was opened.
    #[must_use]
    pub fn opened_at(&self) -> Timestamp {
        from_millis(self.opened_ms)
    }
}
