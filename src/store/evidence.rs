//! The evidence index: which file shows which incident, with its SHA-256 from the moment it was made.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction as Sql, params};
use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, StoreError};
use super::handle::{Store, from_millis, millis};
use crate::flow::incident::IncidentId;
use crate::flow::report::{Evidence, EvidenceKind};

/// A file of the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StoredEvidence {
    /// Which incident it shows.
    pub incident: IncidentId,
    /// When retention deleted the file, if it did; its SHA-256 stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub deleted_at: Option<Timestamp>,
    /// The file.
    #[serde(flatten)]
    pub file: Evidence,
}

impl Store {
    /// Returns what the index knows of the file with this name. A name that is no plain file name is not found: what
    /// comes from outside never becomes a path.
    pub fn evidence(&self, name: &str) -> Result<Option<StoredEvidence>, StoreError> {
        if !is_plain_name(name) {
            return Ok(None);
        }
        self.read(|connection| {
            connection
                .prepare_cached("SELECT incident, deleted_at, body FROM evidence WHERE name = ?1")
                .and_then(|mut statement| statement.query_row(params![name], columns).optional())
                .map_err(|error| StoreError::sqlite("look for evidence", error))?
                .map(parse)
                .transpose()
        })
    }

    /// Returns the files of an incident, oldest first, those that retention deleted among them.
    pub fn evidence_of(&self, incident: IncidentId) -> Result<Vec<StoredEvidence>, StoreError> {
        self.read(|connection| {
            let failed = |error| StoreError::sqlite("look for evidence", error);
            let mut statement = connection
                .prepare_cached(
                    "SELECT incident, deleted_at, body FROM evidence WHERE incident = ?1 ORDER BY captured_at, name",
                )
                .map_err(failed)?;
            let rows = statement
                .query_map(params![incident.to_string()], columns)
                .map_err(failed)?;
            rows.map(|row| parse(row.map_err(failed)?)).collect()
        })
    }
}

/// Puts a file into the index, inside an open transaction. The same file again (after a merge, or a repeated report)
/// moves to the incident; the same name with another SHA-256 is refused.
pub(super) fn insert(
    sql: &Sql<'_>,
    incident: IncidentId,
    file: &Evidence,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !is_plain_name(&file.name) {
        return Err(StoreError::new(
            ErrorKind::Invalid,
            format!("evidence {:?} is no plain file name", file.name),
        ));
    }
    let failed = |error| StoreError::sqlite("put evidence into the index", error);
    let known: Option<String> = sql
        .prepare_cached("SELECT sha256 FROM evidence WHERE name = ?1")
        .and_then(|mut statement| {
            statement
                .query_row(params![file.name], |row| row.get(0))
                .optional()
        })
        .map_err(failed)?;
    if known.as_ref().is_some_and(|known| *known != file.sha256) {
        return Err(StoreError::new(
            ErrorKind::Invalid,
            format!(
                "evidence {:?} is in the index already with another SHA-256",
                file.name
            ),
        ));
    }
    let body = serde_json::to_string(file)
        .map_err(|error| StoreError::json("put evidence into the index", error))?;
    let kind = match file.kind {
        EvidenceKind::Snapshot => "snapshot",
        EvidenceKind::Thumbnail => "thumbnail",
        EvidenceKind::Clip => "clip",
        EvidenceKind::Frame => "frame",
    };
    sql.prepare_cached(
        "INSERT INTO evidence (name, incident, kind, sha256, bytes, captured_at, indexed_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (name) DO UPDATE SET incident = excluded.incident",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            file.name,
            incident.to_string(),
            kind,
            file.sha256,
            i64::try_from(file.bytes).unwrap_or(i64::MAX),
            millis(file.captured.at),
            millis(now),
            body,
        ])
    })
    .map_err(failed)?;
    Ok(())
}

type Columns = (String, Option<i64>, String);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn parse((incident, deleted_at, body): Columns) -> Result<StoredEvidence, StoreError> {
    Ok(StoredEvidence {
        incident: incident.parse().map_err(|error: uuid::Error| {
            StoreError::new(
                ErrorKind::Corrupt,
                format!("cannot read the id of an incident: {error}"),
            )
        })?,
        deleted_at: deleted_at.map(from_millis),
        file: serde_json::from_str(&body)
            .map_err(|error| StoreError::json("read the evidence index", error))?,
    })
}

/// Returns whether a name is a plain file name: no folder, no way out of one, nothing hidden, nothing odd.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name
            .chars()
            .all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.'))
}
