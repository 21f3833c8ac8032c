//! A copy of the store while it runs.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;
use serde::Serialize;

use super::error::{ErrorKind, StoreError};
use super::handle::{Store, database_path};
use super::verify::VerifySummary;

/// Pages of 4 KiB that are copied between two looks at whether somebody writes.
const PAGES_A_STEP: i32 = 1_024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupSummary {
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Evidence files that were copied.
    pub evidence_files: u64,
    /// What the copy's own verification found.
    pub verified: VerifySummary,
}

impl Store {
    /// Copies the database, and with `evidence` the files beside it, into a folder that must be empty or not there,
    /// and verifies the copy. The copy is a data folder: `Store::open` opens it.
    pub fn backup(&self, folder: &Path, evidence: bool) -> Result<BackupSummary, StoreError> {
        prepare_empty_folder(folder)?;
        let target = database_path(folder);
        let attempted = "back the database up";
        let failed = |error| StoreError::sqlite(attempted, error);
        self.read(|connection| {
            let mut copy = Connection::open(&target).map_err(failed)?;
            Backup::new(connection, &mut copy)
                .and_then(|backup| backup.run_to_completion(PAGES_A_STEP, Duration::from_millis(1), None))
                .map_err(failed)
        })?;
        let mut evidence_files = 0;
        if evidence {
            evidence_files = copy_files(&self.evidence_folder(), &folder.join("evidence"))?;
        }
        let verified = Self::open(folder)?.verify(evidence)?;
        let database_bytes = std::fs::metadata(&target)
            .map_err(|error| StoreError::io("look at", &target, error))?
            .len();
        Ok(BackupSummary {
            database_bytes,
            evidence_files,
            verified,
        })
    }
}

/// Makes a folder, or checks that it is empty: a backup or an export never overwrites another.
pub(super) fn prepare_empty_folder(folder: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(folder).map_err(|error| StoreError::io("make the folder", folder, error))?;
    let mut entries =
        std::fs::read_dir(folder).map_err(|error| StoreError::io("look into the folder", folder, error))?;
    if entries.next().is_some() {
        return Err(StoreError::new(
            ErrorKind::Invalid,
            format!(
                "folder {} is not empty, name one that is empty or not there",
                folder.display()
            ),
        ));
    }
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> Result<u64, StoreError> {
    std::fs::create_dir_all(to).map_err(|error| StoreError::io("make the folder", to, error))?;
    let mut copied = 0;
    let entries =
        std::fs::read_dir(from).map_err(|error| StoreError::io("look into the folder", from, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io("look into the folder", from, error))?;
        let is_file = entry
            .file_type()
            .map_err(|error| StoreError::io("look at", &entry.path(), error))?
            .is_file();
        if is_file {
            std::fs::copy(entry.path(), to.join(entry.file_name()))
                .map_err(|error| StoreError::io("copy", &entry.path(), error))?;
            copied += 1;
        }
    }
    Ok(copied)
}
