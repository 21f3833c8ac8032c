//! Disks that fill up, files that may not be written, locks and damage: each a clear error, nothing acknowledged lost.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::sample::{at, folder, id, open, opened};
use crate::store::{ErrorKind, Store, StoreOptions};

fn database(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("emberwatch.sqlite3")
}

#[test]
fn a_database_that_another_program_holds_is_said_to_be_locked() {
    let folder = folder();
    let options = StoreOptions {
        busy_timeout: Duration::from_millis(20),
        ..StoreOptions::default()
    };
    let store = Store::open_with(folder.path(), options).expect("it opens");
    let other = rusqlite::Connection::open(database(&folder)).expect("it opens");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("nobody else writes");
    let error = store
        .commit(&[opened(1, 0)], at(0))
        .expect_err("the other one writes");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.is_retryable());
    assert!(error.to_string().contains("another program"), "{error}");
    other.execute_batch("ROLLBACK").expect("it is open");
    store.commit(&[opened(1, 0)], at(0)).expect("the lock is gone");
}

#[test]
fn a_store_opened_for_reading_does_not_write() {
    let folder = folder();
    open(&folder).commit(&[opened(1, 0)], at(0)).expect("it is new");
    let store = Store::open_read_only(folder.path()).expect("it is there");
    assert!(store.incident(id(1)).expect("reading works").is_some());
    let error = store
        .commit(&[opened(2, 0)], at(0))
        .expect_err("for reading only");
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    let nowhere = Store::open_read_only(&folder.path().join("nowhere")).expect_err("there is none");
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = folder();
    fs::write(database(&folder), "this is a text, not a database. ".repeat(100)).expect("it is written");
    let error = Store::open(folder.path()).expect_err("it is a text");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.hint().contains("backup"));
}

#[test]
fn a_database_of_a_newer_or_another_program_is_refused() {
    let folder = folder();
    drop(open(&folder));
    let raw = rusqlite::Connection::open(database(&folder)).expect("it opens");
    raw.pragma_update(None, "user_version", 99)
        .expect("it is written");
    drop(raw);
    let error = Store::open(folder.path()).expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::NewerVersion);
    assert!(error.to_string().contains("99"), "{error}");
    let raw = rusqlite::Connection::open(database(&folder)).expect("it opens");
    raw.pragma_update(None, "application_id", 7)
        .expect("it is written");
    drop(raw);
    assert_eq!(
        Store::open(folder.path()).expect_err("another's").kind(),
        ErrorKind::Invalid
    );
}

/// Writes ten incidents and takes a copy of the folder as a power cut would leave it, the log not yet moved over.
fn cut_off() -> tempfile::TempDir {
    let running = folder();
    let store = open(&running);
    for number in 1..=10 {
        store.commit(&[opened(number, 0)], at(0)).expect("it is new");
    }
    let copy = folder();
    for name in ["emberwatch.sqlite3", "emberwatch.sqlite3-wal"] {
        fs::copy(running.path().join(name), copy.path().join(name)).expect("it is there");
    }
    copy
}

fn count(folder: &tempfile::TempDir) -> usize {
    let page = open(folder).incidents(&crate::store::IncidentFilter::default());
    page.expect("reading works").incidents.len()
}

#[test]
fn a_power_cut_loses_nothing() {
    assert_eq!(count(&cut_off()), 10);
}

#[test]
fn a_write_that_the_power_cut_tore_is_as_if_it_had_not_been() {
    let folder = cut_off();
    let path = folder.path().join("emberwatch.sqlite3-wal");
    let whole = fs::read(&path).expect("it is there");
    // The last transaction was being written: its end is not there.
    fs::write(&path, &whole[..whole.len() - 3_000]).expect("it is written");
    assert_eq!(count(&folder), 9);
}

#[test]
fn a_damaged_log_is_refused_instead_of_losing_what_lies_behind() {
    let folder = cut_off();
    let path = folder.path().join("emberwatch.sqlite3-wal");
    let mut log = fs::read(&path).expect("it is there");
    let frame = 24 + 4096;
    // One bit in the page of the fifth frame.
    log[32 + 4 * frame + 24 + 100] ^= 1;
    fs::write(&path, &log).expect("it is written");
    let error = Store::open(folder.path()).expect_err("changes lie behind it");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("frame 5"), "{error}");
    assert_eq!(fs::read(&path).expect("it is there"), log, "nothing was touched");
    assert!(Store::open_read_only(folder.path()).is_err());
    // Its header likewise.
    log[32 + 4 * frame + 24 + 100] ^= 1;
    log[20] ^= 1;
    fs::write(&path, &log).expect("it is written");
    assert!(Store::open(folder.path()).is_err());
}

#[test]
fn a_damaged_page_is_found_by_verification() {
    let folder = folder();
    let store = open(&folder);
    for number in 1..=200 {
        store.commit(&[opened(number, 0)], at(0)).expect("it is new");
    }
    drop(store);
    let raw = rusqlite::Connection::open(database(&folder)).expect("it opens");
    raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("nobody else has it open");
    drop(raw);
    let mut bytes = fs::read(database(&folder)).expect("it is there");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xa5);
    fs::write(database(&folder), bytes).expect("it is written");
    let found = Store::open(folder.path()).and_then(|store| store.verify(false));
    match found {
        Ok(summary) => assert!(!summary.findings.is_empty()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
    }
}

#[cfg(unix)]
#[test]
fn the_data_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let outer = folder();
    let inner = outer.path().join("data");
    drop(Store::open(&inner).expect("it is made"));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join("emberwatch.sqlite3")) & 0o077, 0);
}
