//! The audit: who read or changed what. Append-only and chained like the history.

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::chain;
use super::error::StoreError;
use super::handle::{Store, millis};
use crate::flow::hash::hexadecimal;
use crate::flow::incident::Actor;

/// What is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditEntry {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What was done, in one word: `read_evidence`, `confirm`, `export`.
    pub action: String,
    /// To what: the id of an incident, the name of a file or sink.
    pub subject: String,
    /// Whether it was allowed and done.
    pub done: bool,
    /// What else a person should know: the address it came from, the reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A line of the audit with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditRecord {
    /// Its number.
    pub seq: i64,
    /// SHA-256 over the line and the line before, in hexadecimal.
    pub hash: String,
    /// What was written down.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

impl Store {
    /// Writes a line into the audit.
    pub fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.write("write the audit", |sql| {
            let body =
                serde_json::to_string(entry).map_err(|error| StoreError::json("write the audit", error))?;
            let next = chain::next(sql, "audit", &body)?;
            sql.prepare_cached(
                "INSERT INTO audit (seq, at, body, previous_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    next.seq,
                    millis(entry.at),
                    body,
                    next.previous,
                    next.hash.as_slice()
                ])
            })
            .map_err(|error| StoreError::sqlite("write the audit", error))?;
            Ok(())
        })
    }

    /// Returns lines of the audit after number `seq` (0 for the first), oldest first.
    pub fn audit_after(&self, seq: i64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("read the audit", error);
            let mut statement = connection
                .prepare_cached("SELECT seq, hash, body FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2")
                .map_err(failed)?;
            let rows = statement
                .query_map(params![seq, limit], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, Vec<u8>>(1)?,
                        row.get::<_, String>(2)?,
                    ))
                })
                .map_err(failed)?;
            rows.map(|row| {
                let (seq, hash, body) = row.map_err(failed)?;
                Ok(AuditRecord {
                    seq,
                    hash: hexadecimal(&hash),
                    entry: serde_json::from_str(&body)
                        .map_err(|error| StoreError::json("read the audit", error))?,
                })
            })
            .collect()
        })
    }
}
