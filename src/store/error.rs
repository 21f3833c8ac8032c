//! What can go wrong in the store, what it means, and what to do about it.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::flow::incident::IncidentId;

/// What kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The disk, or the file's size limit, is full.
    Full,
    /// The file or its folder may not be written.
    ReadOnly,
    /// Another program holds the database.
    Locked,
    /// The file is damaged.
    Corrupt,
    /// A newer program made the file.
    NewerVersion,
    /// Somebody else changed the incident first.
    Conflict,
    /// There is no such thing.
    NotFound,
    /// The disk did not do what it was asked.
    Io,
    /// What was asked makes no sense.
    Invalid,
    /// Anything else: a fault of this program.
    Internal,
}

/// Why the store could not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    kind: ErrorKind,
    message: String,
    revisions: Option<(u64, Option<u64>)>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            revisions: None,
            source: None,
        }
    }

    pub(crate) fn conflict(incident: IncidentId, expected: u64, found: Option<u64>) -> Self {
        let message = match found {
            Some(found) => format!(
                "incident {incident} is at revision {found}, expected {expected}: somebody changed it first, read it again"
            ),
            None if expected == 0 => format!("incident {incident} exists already"),
            None => format!("there is no incident {incident}"),
        };
        Self {
            revisions: Some((expected, found)),
            ..Self::new(
                if found.is_none() && expected > 0 {
                    ErrorKind::NotFound
                } else {
                    ErrorKind::Conflict
                },
                message,
            )
        }
    }

    pub(crate) fn sqlite(attempted: &str, source: rusqlite::Error) -> Self {
        let kind = kind_of(&source);
        Self {
            source: Some(Box::new(source)),
            ..Self::new(kind, format!("cannot {attempted}: {}", meaning(kind)))
        }
    }

    pub(crate) fn io(attempted: &str, path: &Path, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                ErrorKind::ReadOnly
            }
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Self {
            source: Some(Box::new(source)),
            ..Self::new(kind, format!("cannot {attempted} {}", path.display()))
        }
    }

    pub(crate) fn json(attempted: &str, source: serde_json::Error) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..Self::new(
                ErrorKind::Corrupt,
                format!("cannot {attempted}: the text is not what this version writes"),
            )
        }
    }

    /// Returns what kind of trouble it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the expected revision and the one that was found, where this is a conflict.
    #[must_use]
    pub const fn revisions(&self) -> Option<(u64, Option<u64>)> {
        self.revisions
    }

    /// Returns whether the same request may succeed later without anybody changing it.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Full | ErrorKind::ReadOnly | ErrorKind::Locked | ErrorKind::Io | ErrorKind::Corrupt
        )
    }

    /// Returns what the operator can do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self.kind {
            ErrorKind::Full => {
                "free space on the disk of the data folder; what could not be written is kept in memory until then"
            }
            ErrorKind::ReadOnly => "make the data folder writable for the user that runs emberwatch",
            ErrorKind::Locked => "stop the other program that holds the database, or wait until it is done",
            ErrorKind::Corrupt => {
                "copy the data folder away, run `emberwatch store verify`, then restore the newest backup"
            }
            ErrorKind::NewerVersion => {
                "run the newer emberwatch that made this data folder, or restore an older backup"
            }
            ErrorKind::Conflict => "read the incident again and repeat the change if it still makes sense",
            ErrorKind::NotFound => "check the name or id",
            ErrorKind::Io => {
                "look at the disk and at the system's log: a fault may have turned it read-only; what could not be written \
                 is kept in memory until it can be"
            }
            ErrorKind::Invalid => "correct the request",
            ErrorKind::Internal => "report this with the log: it is a fault of emberwatch",
        }
    }
}

/// Says in words what a kind means.
const fn meaning(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Full => "the disk is full",
        ErrorKind::ReadOnly => "the database may not be written",
        ErrorKind::Locked => "another program holds the database",
        ErrorKind::Corrupt => "the database is damaged",
        ErrorKind::Io => "the disk failed",
        ErrorKind::NotFound => "it is not there",
        ErrorKind::NewerVersion | ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Internal => {
            "the database refused"
        }
    }
}

fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => ErrorKind::Full,
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => ErrorKind::ReadOnly,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ErrorKind::Locked,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => ErrorKind::Corrupt,
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => ErrorKind::Io,
            _ => ErrorKind::Internal,
        },
        rusqlite::Error::QueryReturnedNoRows => ErrorKind::NotFound,
        rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
            ErrorKind::Corrupt
        }
        _ => ErrorKind::Internal,
    }
}
