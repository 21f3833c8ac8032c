//! The tables, by migration. A migration that was released is never changed; a new one is added.

use rusqlite::Connection;

use super::error::{ErrorKind, StoreError};

/// Says that a SQLite file is ours (`PRAGMA application_id`): "EMBR".
pub(super) const APPLICATION_ID: i32 = 0x454D_4252;

/// Each takes the database from version `index` to `index + 1` (`PRAGMA user_version`).
const MIGRATIONS: [&str; 1] = [FIRST];

const FIRST: &str = "
CREATE TABLE incidents (
    id            TEXT PRIMARY KEY,
    revision      INTEGER NOT NULL,
    state         TEXT NOT NULL,
    class         TEXT NOT NULL,
    opened_at     INTEGER NOT NULL, -- milliseconds since 1970, as all times in columns
    changed_at    INTEGER NOT NULL,
    first_seen    INTEGER NOT NULL,
    last_seen     INTEGER NOT NULL,
    late          INTEGER NOT NULL,
    drill         INTEGER NOT NULL,
    district      TEXT,
    township      TEXT,
    village       TEXT,
    cell          TEXT,
    lat           REAL,
    lon           REAL,
    reject_reason TEXT,
    confirmed_at  INTEGER,
    ended_at      INTEGER,
    reopened      INTEGER NOT NULL,
    legal_hold    INTEGER NOT NULL,
    sources       TEXT NOT NULL,
    profile       TEXT,
    body          TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- All that a report reads, so that it does not touch the bodies.
CREATE INDEX incidents_by_time ON incidents (opened_at, id, state, late, drill, confirmed_at, reopened, reject_reason,
    profile, district, township, village, cell, sources);
CREATE INDEX incidents_by_state ON incidents (state, opened_at, id);
CREATE INDEX incidents_by_district ON incidents (district, state, opened_at, id);
CREATE INDEX incidents_by_township ON incidents (township, state, opened_at, id);
CREATE INDEX incidents_by_village ON incidents (village, state, opened_at, id);
CREATE INDEX incidents_ended ON incidents (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE milestones (
    incident  TEXT NOT NULL,
    milestone TEXT NOT NULL,
    starts    INTEGER NOT NULL,
    due       INTEGER, -- none where no deadline is set
    done      INTEGER,
    PRIMARY KEY (incident, milestone)
) STRICT, WITHOUT ROWID;

CREATE TABLE transitions (
    seq           INTEGER PRIMARY KEY,
    incident      TEXT NOT NULL,
    revision      INTEGER NOT NULL,
    recorded_at   INTEGER NOT NULL,
    body          TEXT NOT NULL,
    previous_hash BLOB NOT NULL,
    hash          BLOB NOT NULL,
    UNIQUE (incident, revision)
) STRICT;
CREATE TRIGGER transitions_stay BEFORE UPDATE ON transitions
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER transitions_are_kept BEFORE DELETE ON transitions
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;

CREATE TABLE evidence (
    name        TEXT PRIMARY KEY,
    incident    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    sha256      TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    captured_at INTEGER NOT NULL,
    indexed_at  INTEGER NOT NULL,
    deleted_at  INTEGER,
    body        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_by_incident ON evidence (incident);
CREATE INDEX evidence_by_hash ON evidence (sha256);

CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT NOT NULL UNIQUE,
    subject     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_by_subject ON outbox (subject, seq);

CREATE TABLE sinks (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    registered_at INTEGER NOT NULL,
    disabled      TEXT
) STRICT;

CREATE TABLE deliveries (
    sink            INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    subject         TEXT NOT NULL,
    state           INTEGER NOT NULL, -- 0 pending, 1 delivered, 2 dead, 3 dropped, 4 filtered
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    settled_at      INTEGER,
    problem         TEXT,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_pending ON deliveries (sink, seq) WHERE state = 0;
CREATE INDEX deliveries_pending_by_subject ON deliveries (sink, subject, seq) WHERE state = 0;
CREATE INDEX deliveries_waiting ON deliveries (sink, next_attempt_at) WHERE state = 0 AND next_attempt_at > 0;
CREATE INDEX deliveries_dead ON deliveries (sink, seq) WHERE state = 2;

CREATE TABLE audit (
    seq           INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    body          TEXT NOT NULL,
    previous_hash BLOB NOT NULL,
    hash          BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TABLE deletions (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    name     TEXT NOT NULL,
    sha256   TEXT NOT NULL,
    incident TEXT NOT NULL,
    rule     TEXT NOT NULL
) STRICT;
CREATE TRIGGER deletions_stay BEFORE UPDATE ON deletions
    BEGIN SELECT RAISE(ABORT, 'the deletion log is append-only'); END;
CREATE TRIGGER deletions_are_kept BEFORE DELETE ON deletions
    BEGIN SELECT RAISE(ABORT, 'the deletion log is append-only'); END;

CREATE TABLE idempotency (
    key         TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    status      INTEGER NOT NULL,
    body        TEXT NOT NULL,
    at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Brings the database to this program's version, each step in its own transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    migrate_by(connection, &MIGRATIONS)
}

fn migrate_by(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let failed = |error| StoreError::sqlite("bring the database to this version", error);
    let application: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    let version = version(connection)?;
    if application != APPLICATION_ID && !(application == 0 && version == 0) {
        return Err(StoreError::new(
            ErrorKind::Invalid,
            format!("the database belongs to another program (application id {application:#x})"),
        ));
    }
    check_version_by(version, migrations)?;
    for (index, script) in migrations.iter().enumerate().skip(version) {
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        // Another program may have migrated while this one waited for the lock.
        let current: usize = transaction
            .pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
            .map(|version| version as usize)
            .map_err(failed)?;
        if current > index {
            continue;
        }
        transaction.execute_batch(script).map_err(failed)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(failed)?;
        transaction
            .pragma_update(None, "user_version", index as u32 + 1)
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

/// Reads the database's version.
pub(super) fn version(connection: &Connection) -> Result<usize, StoreError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
        .map(|version| version as usize)
        .map_err(|error| StoreError::sqlite("read the version of the database", error))
}

/// Refuses a database that a newer program made.
pub(super) fn check_version(version: usize) -> Result<(), StoreError> {
    check_version_by(version, &MIGRATIONS)
}

fn check_version_by(version: usize, migrations: &[&str]) -> Result<(), StoreError> {
    if version > migrations.len() {
        return Err(StoreError::new(
            ErrorKind::NewerVersion,
            format!(
                "the database has version {version}, this program knows versions up to {}",
                migrations.len()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: &str = "ALTER TABLE incidents ADD COLUMN wind REAL; UPDATE incidents SET wind = 3.5;";
    const BROKEN: &str = "CREATE TABLE half (a TEXT); INSERT INTO nowhere VALUES (1);";

    fn with_one_incident() -> Connection {
        let mut connection = Connection::open_in_memory().expect("memory is there");
        migrate_by(&mut connection, &[FIRST]).expect("an empty database takes the first step");
        connection
            .execute(
                "INSERT INTO incidents (id, revision, state, class, opened_at, changed_at, first_seen, last_seen, late,
                     drill, reopened, legal_hold, sources, body)
                 VALUES ('a', 1, 'suspected', 'smoke', 0, 0, 0, 0, 0, 0, 0, 0, 'tower-1', '{}')",
                [],
            )
            .expect("it fits");
        connection
    }

    #[test]
    fn an_older_database_is_brought_up_with_all_that_is_in_it() {
        let mut connection = with_one_incident();
        for _ in 0..2 {
            migrate_by(&mut connection, &[FIRST, SECOND]).expect("the second step fits, and once only");
            assert_eq!(version(&connection).expect("it is written"), 2);
            let found: (String, f64) = connection
                .query_row("SELECT id, wind FROM incidents", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .expect("the incident is still there");
            assert_eq!(found, ("a".to_owned(), 3.5));
        }
        let newer = migrate_by(&mut connection, &[FIRST]).expect_err("an older program leaves it alone");
        assert_eq!(newer.kind(), ErrorKind::NewerVersion);
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it_whole() {
        let mut connection = with_one_incident();
        migrate_by(&mut connection, &[FIRST, BROKEN, SECOND]).expect_err("the second step is broken");
        assert_eq!(version(&connection).expect("it is written"), 1);
        let tables: u32 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name = 'half'",
                [],
                |row| row.get(0),
            )
            .expect("it can be read");
        assert_eq!(tables, 0, "half a step is no step");
    }
}
