//! The outbox: every event that leaves the program, with its delivery to every sink.
//!
//! An event is enqueued in the transaction that made it, once for each registered sink. A delivery loop reads
//! [`Store::pending`], sends in that order, and settles each event: delivered, failed (try again later), dead, or
//! filtered. Order per incident is kept: while an event of an incident waits for its next attempt, later events of that
//! incident are not handed out. A loop that got several events of one incident and fails at one must not send the
//! later ones; they come again.

mod deliveries;

mod sinks;

use jiff::Timestamp;
use rusqlite::{Row, Transaction as Sql, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::sinks::sink_id;
use super::error::StoreError;
use super::handle::{Store, from_millis, millis};
use crate::flow::event::Event;

pub use deliveries::{Delivery, DeliveryFilter};
pub use sinks::{SinkStart, SinkStatus};

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

impl Store {
    /// Puts an event that is not about an incident into the outbox.
    pub fn enqueue(&self, event: &Event, now: Timestamp) -> Result<(), StoreError> {
        self.write("put an event into the outbox", |sql| insert(sql, event, now))?;
        self.tell_listeners();
        Ok(())
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
                .query_map(params![id, millis(now), limit], pending_of)
                .map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        })
    }

    /// Returns the newest event of each incident or source that `sink` has had, of those enqueued at or after `since`.
    pub fn newest_delivered(&self, sink: &str, since: Timestamp) -> Result<Vec<Pending>, StoreError> {
        self.read(|connection| {
            let id = sink_id(connection, sink)?;
            let failed = |error| StoreError::sqlite("read the outbox", error);
            let mut statement = connection
                .prepare_cached(
                    "SELECT outbox.seq, event_id, kind, outbox.subject, attempts, recorded_at, body
                     FROM (SELECT max(deliveries.seq) AS seq FROM deliveries JOIN outbox USING (seq)
                           WHERE sink = ?1 AND state = 1 AND recorded_at >= ?2 GROUP BY outbox.subject) AS newest
                     JOIN outbox ON outbox.seq = newest.seq
                     JOIN deliveries ON deliveries.sink = ?1 AND deliveries.seq = newest.seq
                     ORDER BY outbox.seq",
                )
                .map_err(failed)?;
            let rows = statement
                .query_map(params![id, millis(since)], pending_of)
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

fn pending_of(row: &Row<'_>) -> rusqlite::Result<Pending> {
    Ok(Pending {
        seq: row.get(0)?,
        event_id: uuid_of(row, 1)?,
        kind: row.get(2)?,
        subject: row.get(3)?,
        attempts: row.get(4)?,
        recorded_at: from_millis(row.get(5)?),
        body: row.get(6)?,
    })
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
