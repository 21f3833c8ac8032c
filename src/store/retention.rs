//! Retention: how long the files of which incidents are kept, and the log of what was deleted.
//!
//! Only pictures and clips are deleted, and events that every sink has. The history, with the SHA-256 of each file,
//! stays: it shows what was there.

use jiff::{SignedDuration, Timestamp};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::handle::{Store, millis};

/// Events that are removed in one transaction: whoever writes meanwhile waits for one batch, not for all.
const BATCH: u32 = 500;

/// How many days what is kept; 0 for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionPolicy {
    /// Evidence of incidents that nobody confirmed, counted from when they were opened.
    pub unconfirmed_days: u32,
    /// Evidence of incidents that were confirmed, counted from when they ended.
    pub confirmed_days: u32,
    /// Events that every sink has, or that an operator dropped.
    pub events_days: u32,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            unconfirmed_days: 30,
            confirmed_days: 730,
            events_days: 30,
        }
    }
}

/// What a round of retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RetentionSummary {
    /// Evidence files that were deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that could not be deleted; they are tried again.
    pub stuck: u64,
    /// Settled events that were removed from the outbox.
    pub events: u64,
}

impl Store {
    /// Deletes what is over its time, except under legal hold. Each file is first written into the deletion log, then
    /// deleted: after a crash in between, the next round deletes it.
    pub fn enforce_retention(
        &self,
        policy: &RetentionPolicy,
        now: Timestamp,
    ) -> Result<RetentionSummary, StoreError> {
        let before = |days: u32| {
            if days == 0 {
                return i64::MIN;
            }
            now.saturating_sub(SignedDuration::from_hours(i64::from(days) * 24))
                .map_or(i64::MIN, millis)
        };
        self.write("note what retention deletes", |sql| {
            let failed = |error| StoreError::sqlite("note what retention deletes", error);
            for (rule, condition, limit) in [
                (
                    "unconfirmed",
                    "confirmed_at IS NULL AND opened_at < ?2",
                    before(policy.unconfirmed_days),
                ),
                (
                    "confirmed",
                    "confirmed_at IS NOT NULL AND ended_at IS NOT NULL AND ended_at < ?2",
                    before(policy.confirmed_days),
                ),
            ] {
                let due = format!(
                    "deleted_at IS NULL AND incident IN (SELECT id FROM incidents WHERE legal_hold = 0 AND {condition})"
                );
                sql.execute(
                    &format!(
                        "INSERT INTO deletions (at, name, sha256, incident, rule)
                         SELECT ?1, name, sha256, incident, ?3 FROM evidence WHERE {due}"
                    ),
                    params![millis(now), limit, rule],
                )
                .map_err(failed)?;
                sql.execute(
                    &format!("UPDATE evidence SET deleted_at = ?1 WHERE {due}"),
                    params![millis(now), limit],
                )
                .map_err(failed)?;
            }
            Ok(())
        })?;
        let mut summary = self.delete_noted_files()?;
        summary.events = self.remove_settled_events(before(policy.events_days))?;
        Ok(summary)
    }

    fn delete_noted_files(&self) -> Result<RetentionSummary, StoreError> {
        let noted: Vec<(String, i64)> = self.read(|connection| {
            let failed = |error| StoreError::sqlite("read the evidence index", error);
            let mut statement = connection
                .prepare("SELECT name, bytes FROM evidence WHERE deleted_at IS NOT NULL AND bytes > 0")
                .map_err(failed)?;
            let rows = statement
                .query_map(params![], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        })?;
        let mut summary = RetentionSummary::default();
        let mut gone = Vec::new();
        for (name, bytes) in noted {
            match std::fs::remove_file(self.evidence_folder().join(&name)) {
                Ok(()) => {
                    summary.files += 1;
                    summary.bytes += bytes.unsigned_abs();
                    gone.push(name);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => gone.push(name),
                Err(error) => {
                    tracing::warn!(file = %name, %error, "retention could not delete evidence, it is tried again");
                    summary.stuck += 1;
                }
            }
        }
        // A file that is gone has no bytes: the next round does not look for it.
        self.write("note what retention deleted", |sql| {
            for name in &gone {
                sql.execute("UPDATE evidence SET bytes = 0 WHERE name = ?1", params![name])
                    .map_err(|error| StoreError::sqlite("note what retention deleted", error))?;
            }
            Ok(())
        })?;
        Ok(summary)
    }

    fn remove_settled_events(&self, before: i64) -> Result<u64, StoreError> {
        let mut after = 0;
        let mut removed = 0;
        loop {
            let (last, count) = self.remove_settled_batch(before, after)?;
            removed += count;
            match last {
                Some(last) => after = last,
                None => return Ok(removed),
            }
        }
    }

    /// Removes what is settled among the next events after number `after`; returns the last it looked at, none where
    /// there was none, and how many events it removed.
    fn remove_settled_batch(&self, before: i64, after: i64) -> Result<(Option<i64>, u64), StoreError> {
        self.write("remove settled events", |sql| {
            let failed = |error| StoreError::sqlite("remove settled events", error);
            let last: Option<i64> = sql
                .query_row(
                    "SELECT max(seq) FROM (SELECT seq FROM outbox WHERE seq > ?2 AND recorded_at < ?1
                         ORDER BY seq LIMIT ?3)",
                    params![before, after, BATCH],
                    |row| row.get(0),
                )
                .map_err(failed)?;
            let Some(last) = last else {
                return Ok((None, 0));
            };
            // Dead events wait for an operator: they are no more settled than pending ones.
            sql.execute(
                "DELETE FROM deliveries WHERE state IN (1, 3, 4) AND seq IN
                     (SELECT seq FROM outbox WHERE seq > ?2 AND seq <= ?3 AND recorded_at < ?1)",
                params![before, after, last],
            )
            .map_err(failed)?;
            sql.execute(
                "DELETE FROM outbox WHERE seq > ?2 AND seq <= ?3 AND recorded_at < ?1
                     AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.seq = outbox.seq)",
                params![before, after, last],
            )
            .map(|count| (Some(last), count as u64))
            .map_err(failed)
        })
    }

    /// Returns the deletion log: when, which file, its SHA-256, of which incident, by which rule; oldest first.
    pub fn deletions(&self) -> Result<Vec<[String; 5]>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("read the deletion log", error);
            let mut statement = connection
                .prepare("SELECT at, name, sha256, incident, rule FROM deletions ORDER BY seq")
                .map_err(failed)?;
            let rows = statement
                .query_map(params![], |row| {
                    Ok([
                        super::handle::from_millis(row.get(0)?).to_string(),
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                    ])
                })
                .map_err(failed)?;
            rows.collect::<Result<_, _>>().map_err(failed)
        })
    }
}
