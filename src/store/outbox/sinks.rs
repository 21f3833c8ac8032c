//! The sinks that the outbox knows: each event is enqueued once for each of them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::store::error::{ErrorKind, StoreError};
use crate::store::handle::{Store, from_millis, millis};

/// With which event a sink begins that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkStart {
    /// With the next one.
    Now,
    /// With the oldest in the outbox.
    Beginning,
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

impl Store {
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
}

/// Returns the number of a sink that is known.
pub(super) fn sink_id(connection: &Connection, name: &str) -> Result<i64, StoreError> {
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
