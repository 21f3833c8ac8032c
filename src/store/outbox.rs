//! The outbox: every event that leaves the program, with its delivery to every sink.
//!
//! An event is enqueued in the transaction that made it, once for each registered sink. A delivery loop reads
//! [`Store::pending`], sends in that order, and settles each event: delivered, failed (try again later), dead, or
//! filtered. Order per incident is kept: while an event of an incident waits for its next attempt, later events of that
//! incident are not handed out. A loop that got several events of one incident and fails at one must not send the
//! later ones; they come again.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction as Sql, params, params_from_iter};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{ErrorKind, StoreError};
use super::handle::{Store, from_millis, millis};
use crate::flow::event::Event;

/// What became of the delivery of one event to one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be sent.
    Pending,
    /// The sink has it.
    Delivered,
    /// Given up; an operator can have it tried again.
    Dead,
    /// An operator dropped it.
    Dropped,
    /// The sink's filter does not want it.
    Filtered,
}

impl DeliveryState {
    const ALL: [Self; 5] = [
        Self::Pending,
        Self::Delivered,
        Self::Dead,
        Self::Dropped,
        Self::Filtered,
    ];

    const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Delivered => 1,
            Self::Dead => 2,
            Self::Dropped => 3,
            Self::Filtered => 4,
        }
    }

    /// Returns the word used in commands and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
            Self::Filtered => "filtered",
        }
    }
}

/// With which event a sink begins that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkStart {
    /// With the next one.
    Now,
    /// With the oldest in the outbox.
    Beginning,
}

/// An event that a sink has to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its number in the outbox.
    pub seq: i64,
    /// The event's id, the same at every attempt.
    pub event_id: Uuid,
    /// The envelope's `type`.
    pub kind: String,
    /// The incident's or source's id: order is kept within it.
    pub subject: String,
    /// How often it was tried before.
    pub attempts: u32,
    /// When it was enqueued.
    pub recorded_at: Timestamp,
    /// The event in its envelope, as JSON.
    pub body: String,
}

impl Pending {
    /// Returns the event.
    pub fn event(&self) -> Result<Event, StoreError> {
        serde_json::from_str(&self.body).map_err(|error| StoreError::json("read an event", error))
    }
}

/// An event as it stands in the outbox, whoever it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its number in the outbox.
    pub seq: i64,
    /// The envelope's `type`.
    pub kind: String,
    /// The incident's or source's id.
    pub subject: String,
    /// The event in its envelope, as JSON.
    pub body: String,
}

/// How a sink stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SinkStatus {
    /// The sink's name.
    pub name: String,
    /// Why it was switched off, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<String>,
    /// How many events wait.
    pub pending: u64,
    /// How many were given up.
    pub dead: u64,
    /// When the oldest waiting event was enqueued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub oldest_pending: Option<Timestamp>,
}

/// The delivery of one event to one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Delivery {
    /// The sink's name.
    pub sink: String,
    /// The event's number in the outbox.
    pub seq: i64,
    /// The event's id.
    pub event_id: Uuid,
    /// The envelope's `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The incident's or source's id.
    pub subject: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was enqueued.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub recorded_at: Timestamp,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub next_attempt_at: Option<Timestamp>,
    /// When it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub settled_at: Option<Timestamp>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Which deliveries to list or settle; every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// To which sink.
    pub sink: Option<String>,
    /// In which state.
    pub state: Option<DeliveryState>,
    /// About which incident or source.
    pub subject: Option<String>,
    /// Which event, by its number in the outbox.
    pub seq: Option<i64>,
    /// The most that are listed; 0 for 1,000.
    pub limit: u32,
}

impl Store {
    /// Puts an event that is not about an incident into the outbox.
    pub fn enqueue(&self, event: &Event, now: Timestamp) -> Result<(), StoreError> {
        self.write("put an event into the outbox", |sql| insert(sql, event, now))?;
        self.tell_listeners();
        Ok(())
    }

    /// Makes a sink known: from now on each event is enqueued for it. A sink that is known already keeps its place,
    /// and is switched on again.
    pub fn register_sink(&self, name: &str, start: SinkStart, now: Timestamp) -> Result<(), StoreError> {
        self.write("register a sink", |sql| {
            let failed = |error| StoreError::sqlite("register a sink", error);
            let is_new = sql
                .execute(
                    "INSERT OR IGNORE INTO sinks (name, registered_at) VALUES (?1, ?2)",
                    params![name, millis(now)],
                )
                .map_err(failed)?
                > 0;
            sql.execute("UPDATE sinks SET disabled = NULL WHERE name = ?1", params![name])
                .map_err(failed)?;
            if is_new && start == SinkStart::Beginning {
                sql.execute(
                    "INSERT INTO deliveries (sink, seq, subject, state, attempts, next_attempt_at)
                     SELECT sinks.id, outbox.seq, outbox.subject, 0, 0, 0 FROM outbox, sinks WHERE sinks.name = ?1",
                    params![name],
                )
                .map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Forgets a sink with all its deliveries; returns how many events were still to be sent.
    pub fn retire_sink(&self, name: &str) -> Result<u64, StoreError> {
        self.write("retire a sink", |sql| {
            let failed = |error| StoreError::sqlite("retire a sink", error);
            let id = sink_id(sql, name)?;
            let pending: i64 = sql
                .query_row(
                    "SELECT count(*) FROM deliveries WHERE sink = ?1 AND state = 0",
                    params![id],
                    |row| row.get(0),
                )
                .map_err(failed)?;
            sql.execute("DELETE FROM deliveries WHERE sink = ?1", params![id])
                .and_then(|_| sql.execute("DELETE FROM sinks WHERE id = ?1", params![id]))
                .map_err(failed)?;
            Ok(pending.unsigned_abs())
        })
    }

    /// Notes that a sink is switched off (an endpoint that is gone for good). Events go on being enqueued for it.
    pub fn disable_sink(&self, name: &str, why: &str) -> Result<(), StoreError> {
        self.write("switch a sink off", |sql| {
            let id = sink_id(sql, name)?;
            sql.execute("UPDATE sinks SET disabled = ?2 WHERE id = ?1", params![id, why])
                .map_err(|error| StoreError::sqlite("switch a sink off", error))?;
            Ok(())
        })
    }

    /// Returns how every known sink stands.
    pub fn sinks(&self) -> Result<Vec<SinkStatus>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("list the sinks", error);
            let mut statement = connection
                .prepare_cached(
                    "SELECT name, disabled,
                         (SELECT count(*) FROM deliveries WHERE sink = sinks.id AND state = 0),
                         (SELECT count(*) FROM deliveries WHERE sink = sinks.id AND state = 2),
                         (SELECT recorded_at FROM outbox WHERE seq =
                             (SELECT min(seq) FROM deliveries WHERE sink = sinks.id AND state = 0))
                     FROM sinks ORDER BY name",
                )
                .map_err(failed)?;
            let rows = statement
                .query_map(params![], |row| {
                    Ok(SinkStatus {
                        name: row.get(0)?,
                        disabled: row.get(1)?,
                        pending: row.get::<_, i64>(2)?.unsigned_abs(),
                        dead: row.get::<_, i64>(3)?.unsigned_abs(),
                        oldest_pending: row.get::<_, Option<i64>>(4)?.map(from_millis),
                    })
                })
                .map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        })
    }

    /// Returns up to `limit` events that `sink` may be sent now, oldest first. Of an incident with an event that waits
    /// for its next attempt, none.
    pub fn pending(&self, sink: &str, limit: u32, now: Timestamp) -> Result<Vec<Pending>, StoreError> {
        self.read(|connection| {
            let id = sink_id(connection, sink)?;
            let failed = |error| StoreError::sqlite("read the outbox", error);
            let mut statement = connection
                .prepare_cached(
                    "SELECT outbox.seq, event_id, kind, outbox.subject, attempts, recorded_at, body
                     FROM deliveries AS mine JOIN outbox ON outbox.seq = mine.seq
                     WHERE mine.sink = ?1 AND mine.state = 0 AND mine.next_attempt_at <= ?2
                       AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier INDEXED BY deliveries_waiting
                           WHERE earlier.sink = ?1 AND earlier.state = 0 AND earlier.next_attempt_at > 0
                             AND earlier.next_attempt_at > ?2
                             AND earlier.subject = mine.subject AND earlier.seq < mine.seq)
                     ORDER BY mine.seq LIMIT ?3",
                )
                .map_err(failed)?;
            let rows = statement
                .query_map(params![id, millis(now), limit], |row| {
                    Ok(Pending {
                        seq: row.get(0)?,
                        event_id: uuid_of(row, 1)?,
                        kind: row.get(2)?,
                        subject: row.get(3)?,
                        attempts: row.get(4)?,
                        recorded_at: from_millis(row.get(5)?),
                        body: row.get(6)?,
                    })
                })
                .map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        })
    }

    /// Returns when the next event that waits for another attempt at `sink` may be sent, none where none waits.
    pub fn next_attempt_at(&self, sink: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let id = sink_id(connection, sink)?;
            connection
                .prepare_cached(
                    "SELECT min(next_attempt_at) FROM deliveries
                     WHERE sink = ?1 AND state = 0 AND next_attempt_at > 0 AND next_attempt_at > ?2",
                )
                .and_then(|mut statement| {
                    statement.query_row(params![id, millis(now)], |row| row.get::<_, Option<i64>>(0))
                })
                .map(|at| at.map(from_millis))
                .map_err(|error| StoreError::sqlite("read the outbox", error))
        })
    }

    /// Notes that `sink` has these events, in one transaction. Saying so twice does nothing.
    pub fn delivered(&self, sink: &str, seqs: &[i64], now: Timestamp) -> Result<(), StoreError> {
        self.settle(sink, seqs, DeliveryState::Delivered, None, now)
    }

    /// Notes that the sink's filter does not want these events.
    pub fn filtered(&self, sink: &str, seqs: &[i64], now: Timestamp) -> Result<(), StoreError> {
        self.settle(sink, seqs, DeliveryState::Filtered, None, now)
    }

    /// Gives up an event: later ones of the same incident go on. An operator can have it tried again.
    pub fn dead_letter(&self, sink: &str, seq: i64, why: &str, now: Timestamp) -> Result<(), StoreError> {
        self.settle(sink, &[seq], DeliveryState::Dead, Some(why), now)
    }

    /// Notes that an attempt failed; the event, and all later ones of its incident, wait until `next_attempt_at`.
    pub fn failed(
        &self,
        sink: &str,
        seq: i64,
        why: &str,
        next_attempt_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("note a failed delivery", |sql| {
            let id = sink_id(sql, sink)?;
            sql.prepare_cached(
                "UPDATE deliveries SET attempts = attempts + 1, next_attempt_at = ?3, problem = ?4
                 WHERE sink = ?1 AND seq = ?2 AND state = 0",
            )
            .and_then(|mut statement| {
                statement.execute(params![id, seq, millis(next_attempt_at), clipped(why)])
            })
            .map_err(|error| StoreError::sqlite("note a failed delivery", error))?;
            Ok(())
        })
    }

    fn settle(
        &self,
        sink: &str,
        seqs: &[i64],
        state: DeliveryState,
        why: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if seqs.is_empty() {
            return Ok(());
        }
        self.write("settle a delivery", |sql| {
            let failed = |error| StoreError::sqlite("settle a delivery", error);
            let id = sink_id(sql, sink)?;
            let mut statement = sql
                .prepare_cached(
                    "UPDATE deliveries SET state = ?3, settled_at = ?4, problem = coalesce(?5, problem),
                         attempts = attempts + ?6
                     WHERE sink = ?1 AND seq = ?2 AND state = 0",
                )
                .map_err(failed)?;
            let attempted = u32::from(matches!(state, DeliveryState::Delivered | DeliveryState::Dead));
            for seq in seqs {
                statement
                    .execute(params![
                        id,
                        seq,
                        state.code(),
                        millis(now),
                        why.map(clipped),
                        attempted
                    ])
                    .map_err(failed)?;
            }
            Ok(())
        })
    }

    /// Has dead events tried again, from the first attempt on; returns how many. A receiver may have newer revisions
    /// of the same incident by then: it tells by the revision.
    pub fn retry(&self, filter: &DeliveryFilter) -> Result<u64, StoreError> {
        let count = self.resettle(
            filter,
            DeliveryState::Dead,
            "UPDATE deliveries SET state = 0, attempts = 0, next_attempt_at = 0, settled_at = NULL",
            vec![],
        )?;
        self.tell_listeners();
        Ok(count)
    }

    /// Drops waiting or dead events (waiting ones where the filter does not say); returns how many.
    pub fn drop_deliveries(&self, filter: &DeliveryFilter, now: Timestamp) -> Result<u64, StoreError> {
        let state = filter.state.unwrap_or(DeliveryState::Pending);
        if !matches!(state, DeliveryState::Pending | DeliveryState::Dead) {
            return Err(StoreError::new(
                ErrorKind::Invalid,
                format!(
                    "cannot drop {} events, expected pending or dead ones",
                    state.name()
                ),
            ));
        }
        self.resettle(
            filter,
            state,
            "UPDATE deliveries SET state = 3, settled_at = ?1",
            vec![Value::Integer(millis(now))],
        )
    }

    fn resettle(
        &self,
        filter: &DeliveryFilter,
        state: DeliveryState,
        update: &str,
        mut values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        let filter = DeliveryFilter {
            state: Some(state),
            ..filter.clone()
        };
        self.write("settle deliveries", |sql| {
            if let Some(sink) = &filter.sink {
                sink_id(sql, sink)?;
            }
            let condition = condition_of(&filter, &mut values);
            sql.execute(&format!("{update} {condition}"), params_from_iter(values))
                .map(|count| count as u64)
                .map_err(|error| StoreError::sqlite("settle deliveries", error))
        })
    }

    /// Returns deliveries, oldest first.
    pub fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("list the deliveries", error);
            let mut values = Vec::new();
            let condition = condition_of(filter, &mut values);
            let limit = if filter.limit == 0 { 1_000 } else { filter.limit };
            let mut statement = connection
                .prepare(&format!(
                    "SELECT (SELECT name FROM sinks WHERE id = deliveries.sink), deliveries.seq, event_id, kind,
                         deliveries.subject, state, attempts, recorded_at, next_attempt_at, settled_at, problem
                     FROM deliveries JOIN outbox ON outbox.seq = deliveries.seq
                     {condition} ORDER BY deliveries.seq, sink LIMIT {limit}"
                ))
                .map_err(failed)?;
            let rows = statement
                .query_map(params_from_iter(values), |row| {
                    let state: i64 = row.get(5)?;
                    let next: i64 = row.get(8)?;
                    Ok(Delivery {
                        sink: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
                        seq: row.get(1)?,
                        event_id: uuid_of(row, 2)?,
                        kind: row.get(3)?,
                        subject: row.get(4)?,
                        state: DeliveryState::ALL
                            .into_iter()
                            .find(|known| known.code() == state)
                            .unwrap_or(DeliveryState::Dead),
                        attempts: row.get(6)?,
                        recorded_at: from_millis(row.get(7)?),
                        next_attempt_at: (state == 0 && next > 0).then(|| from_millis(next)),
                        settled_at: row.get::<_, Option<i64>>(9)?.map(from_millis),
                        problem: row.get(10)?,
                    })
                })
                .map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        })
    }

    /// Returns events after number `seq` (0 for the first), oldest first, whoever they go to.
    pub fn events_after(&self, seq: i64, limit: u32) -> Result<Vec<OutboxEvent>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("read the outbox", error);
            let mut statement = connection
                .prepare_cached(
                    "SELECT seq, kind, subject, body FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                )
                .map_err(failed)?;
            let rows = statement
                .query_map(params![seq, limit], |row| {
                    Ok(OutboxEvent {
                        seq: row.get(0)?,
                        kind: row.get(1)?,
                        subject: row.get(2)?,
                        body: row.get(3)?,
                    })
                })
                .map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        })
    }

    /// Returns the number of the newest event, 0 where there is none.
    pub fn newest_event(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            connection
                .query_row("SELECT coalesce(max(seq), 0) FROM outbox", params![], |row| {
                    row.get(0)
                })
                .map_err(|error| StoreError::sqlite("read the outbox", error))
        })
    }
}

/// Puts an event into the outbox, once for each known sink, inside an open transaction.
pub(super) fn insert(sql: &Sql<'_>, event: &Event, now: Timestamp) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite("put an event into the outbox", error);
    let body = serde_json::to_string(event)
        .map_err(|error| StoreError::json("put an event into the outbox", error))?;
    sql.prepare_cached(
        "INSERT INTO outbox (event_id, subject, kind, recorded_at, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            event.id.to_string(),
            event.subject,
            event.kind.name(),
            millis(now),
            body
        ])
    })
    .map_err(failed)?;
    let seq = sql.last_insert_rowid();
    sql.prepare_cached(
        "INSERT INTO deliveries (sink, seq, subject, state, attempts, next_attempt_at)
         SELECT id, ?1, ?2, 0, 0, 0 FROM sinks",
    )
    .and_then(|mut statement| statement.execute(params![seq, event.subject]))
    .map_err(failed)?;
    Ok(())
}

fn sink_id(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    connection
        .prepare_cached("SELECT id FROM sinks WHERE name = ?1")
        .and_then(|mut statement| statement.query_row(params![name], |row| row.get(0)).optional())
        .map_err(|error| StoreError::sqlite("look for a sink", error))?
        .ok_or_else(|| {
            StoreError::new(
                ErrorKind::NotFound,
                format!("there is no sink {name:?} in the store"),
            )
        })
}

fn condition_of(filter: &DeliveryFilter, values: &mut Vec<Value>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut add = |part: &str, value: Value| {
        values.push(value);
        parts.push(part.replace('?', &format!("?{}", values.len())));
    };
    if let Some(sink) = &filter.sink {
        add(
            "deliveries.sink = (SELECT id FROM sinks WHERE name = ?)",
            Value::Text(sink.clone()),
        );
    }
    if let Some(state) = filter.state {
        add("state = ?", Value::Integer(state.code()));
    }
    if let Some(subject) = &filter.subject {
        add("deliveries.subject = ?", Value::Text(subject.clone()));
    }
    if let Some(seq) = filter.seq {
        add("deliveries.seq = ?", Value::Integer(seq));
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", parts.join(" AND "))
    }
}

fn uuid_of(row: &Row<'_>, index: usize) -> rusqlite::Result<Uuid> {
    let text: String = row.get(index)?;
    Uuid::parse_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Problems come from outside: a page of HTML must not fill the store.
fn clipped(why: &str) -> String {
    why.chars().take(500).collect()
}
