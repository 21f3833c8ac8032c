//! Looks whether the store is whole: the database itself, the chains, and whether the parts agree.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, params};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::chain;
use super::error::StoreError;
use super::handle::Store;
use crate::flow::hash::hexadecimal;
use crate::flow::incident::{Incident, Transition};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `database`, `history`, `audit`, `incident`, `evidence`.
    pub what: &'static str,
    /// What was found.
    pub problem: String,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifySummary {
    /// Incidents that were compared with their history.
    pub incidents: u64,
    /// Lines of the history whose hash is right.
    pub history_lines: u64,
    /// Lines of the audit whose hash is right.
    pub audit_lines: u64,
    /// Evidence files whose SHA-256 was compared; 0 where that was not asked for.
    pub evidence_files: u64,
    /// SHA-256 of the newest line of the history, in hexadecimal: written down elsewhere, it shows later that nothing
    /// was cut off.
    pub history_head: String,
    /// What is not as it should be; empty where all is well.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Checks the whole store; with `files`, the SHA-256 of every evidence file, too.
    pub fn verify(&self, files: bool) -> Result<VerifySummary, StoreError> {
        let mut summary = VerifySummary::default();
        self.read(|connection| {
            check_database(connection, &mut summary)?;
            check_chains(connection, &mut summary)?;
            check_incidents(connection, &mut summary)?;
            if files {
                check_files(connection, &self.evidence_folder(), &mut summary)?;
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

fn find(summary: &mut VerifySummary, what: &'static str, problem: String) {
    summary.findings.push(Finding { what, problem });
}

fn check_database(connection: &Connection, summary: &mut VerifySummary) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite("check the database", error);
    let mut statement = connection.prepare("PRAGMA integrity_check(20)").map_err(failed)?;
    let rows = statement
        .query_map(params![], |row| row.get::<_, String>(0))
        .map_err(failed)?;
    for row in rows {
        let line = row.map_err(failed)?;
        if line != "ok" {
            find(summary, "database", line);
        }
    }
    Ok(())
}

fn check_chains(connection: &Connection, summary: &mut VerifySummary) -> Result<(), StoreError> {
    let (good, broken) = chain::first_break(connection, "transitions")?;
    summary.history_lines = good;
    if let Some(seq) = broken {
        find(
            summary,
            "history",
            format!("the chain breaks at line {seq}: a line before it was changed, removed or added"),
        );
    }
    let (good, broken) = chain::first_break(connection, "audit")?;
    summary.audit_lines = good;
    if let Some(seq) = broken {
        find(
            summary,
            "audit",
            format!("the chain breaks at line {seq}: a line before it was changed, removed or added"),
        );
    }
    let head: Vec<u8> = connection
        .query_row(
            "SELECT coalesce((SELECT hash FROM transitions ORDER BY seq DESC LIMIT 1), zeroblob(32))",
            params![],
            |row| row.get(0),
        )
        .map_err(|error| StoreError::sqlite("read the end of a chain", error))?;
    summary.history_head = hexadecimal(&head);
    Ok(())
}

/// Compares each incident with its history: every revision is there, and the last line says what the incident says.
fn check_incidents(connection: &Connection, summary: &mut VerifySummary) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite("compare the incidents with their history", error);
    let mut statement = connection
        .prepare(
            "SELECT id, incidents.revision, state, incidents.body,
                 (SELECT count(*) FROM transitions WHERE incident = id),
                 (SELECT body FROM transitions WHERE incident = id ORDER BY revision DESC LIMIT 1)
             FROM incidents",
        )
        .map_err(failed)?;
    let mut rows = statement.query(params![]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let id: String = row.get(0).map_err(failed)?;
        let revision: i64 = row.get(1).map_err(failed)?;
        let state: String = row.get(2).map_err(failed)?;
        let body: String = row.get(3).map_err(failed)?;
        let lines: i64 = row.get(4).map_err(failed)?;
        let last: Option<String> = row.get(5).map_err(failed)?;
        summary.incidents += 1;
        if lines != revision {
            find(
                summary,
                "incident",
                format!("incident {id} is at revision {revision} but has {lines} lines of history"),
            );
        }
        let incident: Result<Incident, _> = serde_json::from_str(&body);
        let transition: Option<Transition> = last.and_then(|last| serde_json::from_str(&last).ok());
        let agrees = match (&incident, &transition) {
            (Ok(incident), Some(transition)) => {
                incident.revision as i64 == revision
                    && incident.state.name() == state
                    && transition.revision == incident.revision
                    && transition.to == incident.state
                    && incident.id.to_string() == id
            }
            _ => false,
        };
        if !agrees {
            find(
                summary,
                "incident",
                format!("incident {id} does not say what the last line of its history says"),
            );
        }
    }
    let orphans: i64 = connection
        .query_row(
            "SELECT count(DISTINCT incident) FROM transitions WHERE incident NOT IN (SELECT id FROM incidents)",
            params![],
            |row| row.get(0),
        )
        .map_err(failed)?;
    if orphans > 0 {
        find(
            summary,
            "incident",
            format!("{orphans} incidents have a history but are gone"),
        );
    }
    Ok(())
}

fn check_files(
    connection: &Connection,
    folder: &Path,
    summary: &mut VerifySummary,
) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite("read the evidence index", error);
    let mut statement = connection
        .prepare("SELECT name, sha256 FROM evidence WHERE deleted_at IS NULL ORDER BY name")
        .map_err(failed)?;
    let mut rows = statement.query(params![]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let name: String = row.get(0).map_err(failed)?;
        let expected: String = row.get(1).map_err(failed)?;
        match sha256_of(&folder.join(&name)) {
            Ok(found) if found == expected => summary.evidence_files += 1,
            Ok(found) => find(
                summary,
                "evidence",
                format!("{name} was changed: its SHA-256 is {found}, expected {expected}"),
            ),
            Err(error) => find(summary, "evidence", format!("{name} cannot be read: {error}")),
        }
    }
    Ok(())
}

/// Returns the SHA-256 of a file, in hexadecimal.
pub(super) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
