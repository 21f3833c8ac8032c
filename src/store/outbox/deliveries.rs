//! Deliveries as an operator sees them: listed, tried again, dropped.

use jiff::Timestamp;
use rusqlite::params_from_iter;
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sinks::sink_id;
use super::{DeliveryState, uuid_of};
use crate::store::error::{ErrorKind, StoreError};
use crate::store::handle::{Store, from_millis, millis};

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
