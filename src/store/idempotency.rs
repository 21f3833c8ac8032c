//! Answers that were given: a request that comes again with the same key gets the same answer and changes nothing.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::error::StoreError;
use super::handle::{Store, from_millis, millis};

/// How long answers are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedAnswer {
    /// Identifies the request beside its key (method, path and a hash of the body): the same key with another
    /// request is a mistake of the caller.
    pub fingerprint: String,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// When it was given.
    pub at: Timestamp,
}

impl Store {
    /// Returns the answer that was given under this key within the last 24 hours.
    pub fn remembered_answer(
        &self,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<RememberedAnswer>, StoreError> {
        let oldest = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT fingerprint, status, body, at FROM idempotency WHERE key = ?1 AND at >= ?2",
                )
                .and_then(|mut statement| {
                    statement
                        .query_row(params![key, millis(oldest)], |row| {
                            Ok(RememberedAnswer {
                                fingerprint: row.get(0)?,
                                status: row.get(1)?,
                                body: row.get(2)?,
                                at: from_millis(row.get(3)?),
                            })
                        })
                        .optional()
                })
                .map_err(|error| StoreError::sqlite("look for a remembered answer", error))
        })
    }

    /// Remembers an answer under a key, and forgets those older than 24 hours.
    pub fn remember_answer(&self, key: &str, answer: &RememberedAnswer) -> Result<(), StoreError> {
        let oldest = answer.at.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        self.write("remember an answer", |sql| {
            sql.execute("DELETE FROM idempotency WHERE at < ?1", params![millis(oldest)])
                .and_then(|_| {
                    sql.execute(
                        "INSERT OR REPLACE INTO idempotency (key, fingerprint, status, body, at)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                        params![
                            key,
                            answer.fingerprint,
                            answer.status,
                            answer.body,
                            millis(answer.at)
                        ],
                    )
                })
                .map_err(|error| StoreError::sqlite("remember an answer", error))?;
            Ok(())
        })
    }
}
