//! Everything the store knows as text: one JSON object a line, with a list of SHA-256 sums beside it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rusqlite::{Connection, params};
use serde::Serialize;

use super::backup::prepare_empty_folder;
use super::error::StoreError;
use super::handle::Store;
use super::verify::sha256_of;

/// The files of an export: name and query. Each query gives one column of JSON, in an order that does not change.
const FILES: [(&str, &str); 6] = [
    ("incidents.jsonl", "SELECT body FROM incidents ORDER BY id"),
    (
        "history.jsonl",
        "SELECT json_object('seq', seq, 'previous_hash', lower(hex(previous_hash)), 'hash', lower(hex(hash)),
             'transition', json(body)) FROM transitions ORDER BY seq",
    ),
    (
        "evidence.jsonl",
        "SELECT json_object('incident', incident, 'deleted_at', deleted_at, 'file', json(body))
         FROM evidence ORDER BY name",
    ),
    ("events.jsonl", "SELECT body FROM outbox ORDER BY seq"),
    (
        "audit.jsonl",
        "SELECT json_object('seq', seq, 'previous_hash', lower(hex(previous_hash)), 'hash', lower(hex(hash)),
             'entry', json(body)) FROM audit ORDER BY seq",
    ),
    (
        "deletions.jsonl",
        "SELECT json_object('at', at, 'name', name, 'sha256', sha256, 'incident', incident, 'rule', rule)
         FROM deletions ORDER BY seq",
    ),
];

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportSummary {
    /// Each file with its number of lines and its SHA-256 in hexadecimal.
    pub files: Vec<(String, u64, String)>,
}

impl Store {
    /// Writes everything of one moment into a folder that must be empty or not there, and `SHA256SUMS` beside it. The
    /// hashes of the history can be checked without this program: SHA-256 over the hash before, the number as eight
    /// bytes (big-endian) and the text of the line as it stands in the store.
    pub fn export(&self, folder: &Path) -> Result<ExportSummary, StoreError> {
        prepare_empty_folder(folder)?;
        let mut files = Vec::new();
        self.read(|connection| {
            for (name, query) in FILES {
                let path = folder.join(name);
                let lines = write_lines(connection, query, &path)?;
                let sum = sha256_of(&path).map_err(|error| StoreError::io("read", &path, error))?;
                files.push((name.to_owned(), lines, sum));
            }
            Ok(())
        })?;
        let path = folder.join("SHA256SUMS");
        let mut sums = String::new();
        for (name, _, sum) in &files {
            sums.extend([sum.as_str(), "  ", name.as_str(), "\n"]);
        }
        std::fs::write(&path, sums).map_err(|error| StoreError::io("write", &path, error))?;
        Ok(ExportSummary { files })
    }
}

fn write_lines(connection: &Connection, query: &str, path: &Path) -> Result<u64, StoreError> {
    let failed = |error| StoreError::sqlite("export the store", error);
    let unwritten = |error| StoreError::io("write", path, error);
    let mut file = BufWriter::new(File::create(path).map_err(unwritten)?);
    let mut statement = connection.prepare(query).map_err(failed)?;
    let mut rows = statement.query(params![]).map_err(failed)?;
    let mut lines = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let line = row
            .get_ref(0)
            .map_err(failed)?
            .as_str()
            .map_err(|error| failed(error.into()))?;
        file.write_all(line.as_bytes()).map_err(unwritten)?;
        file.write_all(b"\n").map_err(unwritten)?;
        lines += 1;
    }
    file.flush().map_err(unwritten)?;
    Ok(lines)
}
