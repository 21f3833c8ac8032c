//! The handle: one connection that writes, behind a lock, and read-only connections that are lent to readers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::error::{ErrorKind, StoreError};
use super::{schema, wal};

/// Readers that are kept open while nobody reads.
const IDLE_READERS: usize = 4;
/// What the writing connection keeps of the database in memory, in KiB: the pages that every step touches.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// The same for each reader. Small: what is read goes by once, and the system keeps the file's pages anyway.
const READER_CACHE_KIB: i64 = 2 * 1024;

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// How long a write waits for another program's lock.
    pub busy_timeout: Duration,
    /// The most pages of 4 KiB that the database may have; none for what the disk holds.
    pub max_pages: Option<u32>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            max_pages: None,
        }
    }
}

type Listener = Box<dyn Fn() + Send + Sync>;

struct Inner {
    folder: PathBuf,
    options: StoreOptions,
    /// None where the store was opened for reading only.
    writer: Option<Mutex<Connection>>,
    readers: Mutex<Vec<Connection>>,
    listeners: Mutex<Vec<Listener>>,
}

/// The data folder. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Store")
            .field("folder", &self.inner.folder)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the data folder for reading and writing and brings it to this program's version; makes it where there is
    /// none. Refuses a write-ahead log in which something that was acknowledged is damaged, rather than losing it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, StoreOptions::default())
    }

    /// Opens the data folder as [`Store::open`] does, with options.
    pub fn open_with(folder: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        make_private_folder(folder)?;
        make_private_folder(&folder.join("evidence"))?;
        let path = database_path(folder);
        wal::check(&path)?;
        let mut connection = connect(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            options,
        )?;
        // SQLite opens what may not be written for reading, without a word.
        if connection
            .is_readonly("main")
            .map_err(|error| StoreError::sqlite("open the database", error))?
        {
            return Err(StoreError::new(
                ErrorKind::ReadOnly,
                format!(
                    "cannot open the database for writing, it is read-only: {}",
                    path.display()
                ),
            ));
        }
        make_private_file(&path)?;
        let failed = |error| StoreError::sqlite("set up the database", error);
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(failed)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(failed)?;
        if let Some(pages) = options.max_pages {
            connection
                .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
                .map_err(failed)?;
        }
        schema::migrate(&mut connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self::of(folder, options, Some(connection)))
    }

    /// Opens an existing data folder for reading only.
    pub fn open_read_only(folder: &Path) -> Result<Self, StoreError> {
        let path = database_path(folder);
        if !path
            .try_exists()
            .map_err(|error| StoreError::io("look for", &path, error))?
        {
            return Err(StoreError::new(
                ErrorKind::NotFound,
                format!("there is no database {}, expected a data folder", path.display()),
            ));
        }
        wal::check(&path)?;
        let store = Self::of(folder, StoreOptions::default(), None);
        store.read(|connection| schema::check_version(schema::version(connection)?))?;
        Ok(store)
    }

    fn of(folder: &Path, options: StoreOptions, writer: Option<Connection>) -> Self {
        Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                options,
                writer: writer.map(Mutex::new),
                readers: Mutex::new(Vec::new()),
                listeners: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Returns whether there is a store in a folder.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        database_path(folder).is_file()
    }

    /// Returns the data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Returns the folder of the evidence files.
    #[must_use]
    pub fn evidence_folder(&self) -> PathBuf {
        self.inner.folder.join("evidence")
    }

    /// Calls `listener` after each transaction that put something into the outbox, on the thread that wrote; it must
    /// return at once (notify a task, no more).
    pub fn on_enqueued(&self, listener: impl Fn() + Send + Sync + 'static) {
        lock(&self.inner.listeners).push(Box::new(listener));
    }

    pub(super) fn tell_listeners(&self) {
        for listener in lock(&self.inner.listeners).iter() {
            listener();
        }
    }

    /// Runs `work` in one write transaction; an error rolls back.
    pub(super) fn write<T>(
        &self,
        attempted: &str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let writer = self.inner.writer.as_ref().ok_or_else(|| {
            StoreError::new(
                ErrorKind::ReadOnly,
                format!("cannot {attempted}: the store was opened for reading only"),
            )
        })?;
        let mut connection = lock(writer);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| StoreError::sqlite(attempted, error))?;
        let result = work(&transaction)?;
        transaction
            .commit()
            .map_err(|error| StoreError::sqlite(attempted, error))?;
        Ok(result)
    }

    /// Runs `work` on the writing connection, outside a transaction.
    pub(super) fn with_writer<T>(
        &self,
        attempted: &str,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let writer = self.inner.writer.as_ref().ok_or_else(|| {
            StoreError::new(
                ErrorKind::ReadOnly,
                format!("cannot {attempted}: the store was opened for reading only"),
            )
        })?;
        work(&lock(writer))
    }

    /// Runs `work` on a read-only connection of its own, in one read transaction: all it reads is of one moment.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = lock(&self.inner.readers).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(
                &database_path(&self.inner.folder),
                OpenFlags::SQLITE_OPEN_READ_ONLY,
                self.inner.options,
            )?,
        };
        let result = {
            let transaction = connection
                .transaction()
                .map_err(|error| StoreError::sqlite("read the database", error))?;
            work(&transaction)
        };
        let mut readers = lock(&self.inner.readers);
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        result
    }
}

/// Returns the path of the database in a data folder.
pub(super) fn database_path(folder: &Path) -> PathBuf {
    folder.join("emberwatch.sqlite3")
}

fn connect(path: &Path, flags: OpenFlags, options: StoreOptions) -> Result<Connection, StoreError> {
    let attempted = format!("open the database {}", path.display());
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| StoreError::sqlite(&attempted, error))?;
    let cache_kib = if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        WRITER_CACHE_KIB
    } else {
        READER_CACHE_KIB
    };
    connection
        .busy_timeout(options.busy_timeout)
        .and_then(|()| connection.pragma_update(None, "foreign_keys", true))
        .and_then(|()| connection.pragma_update(None, "trusted_schema", false))
        .and_then(|()| connection.pragma_update(None, "cache_size", -cache_kib))
        .map_err(|error| StoreError::sqlite(&attempted, error))?;
    Ok(connection)
}

/// A poisoned lock means that a thread panicked between two transactions: the database itself is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn make_private_folder(folder: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| StoreError::io("make the folder", folder, error))
}

#[cfg(not(unix))]
fn make_private_folder(folder: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(folder).map_err(|error| StoreError::io("make the folder", folder, error))
}

/// The log and index beside the database inherit its mode from SQLite.
#[cfg(unix)]
fn make_private_file(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    let attempted = "look at the mode of";
    let mode = std::fs::metadata(path)
        .map_err(|error| StoreError::io(attempted, path, error))?
        .permissions()
        .mode();
    // Only a file that was just made is empty; a mode that somebody set later is theirs.
    let is_new = std::fs::metadata(path)
        .map_err(|error| StoreError::io(attempted, path, error))?
        .len()
        == 0;
    if is_new && mode & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| StoreError::io("set the mode of", path, error))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private_file(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// Returns milliseconds since 1970, as times stand in columns.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// Returns the time that a column holds.
pub(super) fn from_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

impl Store {
    /// Sets the most pages of 4 KiB that the database may have from now on.
    pub fn set_max_pages(&self, pages: u32) -> Result<(), StoreError> {
        self.with_writer("limit the size of the database", |connection| {
            connection
                .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
                .map_err(|error| StoreError::sqlite("limit the size of the database", error))
        })
    }
}
