//! Lines that cannot be changed unseen: each carries the SHA-256 of itself and of the line before.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::error::StoreError;

/// The hash before the first line.
pub(super) const GENESIS: [u8; 32] = [0; 32];

/// Returns the hash of line `seq` with text `body` after a line with hash `previous`.
pub(super) fn hash(previous: &[u8], seq: i64, body: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(seq.to_be_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize().into()
}

/// A line's place at the end of a chain.
pub(super) struct Next {
    pub(super) seq: i64,
    pub(super) previous: Vec<u8>,
    pub(super) hash: [u8; 32],
}

/// Returns where a line with text `body` goes in `table`. The table's name is one of ours, never input.
pub(super) fn next(connection: &Connection, table: &'static str, body: &str) -> Result<Next, StoreError> {
    let last: Option<(i64, Vec<u8>)> = connection
        .prepare_cached(&format!(
            "SELECT seq, hash FROM {table} ORDER BY seq DESC LIMIT 1"
        ))
        .and_then(|mut statement| {
            statement
                .query_row(params![], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(|error| StoreError::sqlite("read the end of a chain", error))?;
    let (seq, previous) = last.map_or((1, GENESIS.to_vec()), |(seq, hash)| (seq + 1, hash));
    let hash = hash(&previous, seq, body);
    Ok(Next { seq, previous, hash })
}

/// Walks a chain and returns the first line that does not fit, with the number of lines that do.
pub(super) fn first_break(
    connection: &Connection,
    table: &'static str,
) -> Result<(u64, Option<i64>), StoreError> {
    let failed = |error| StoreError::sqlite("walk a chain", error);
    let mut statement = connection
        .prepare(&format!(
            "SELECT seq, body, previous_hash, hash FROM {table} ORDER BY seq"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![]).map_err(failed)?;
    let mut previous = GENESIS.to_vec();
    let mut good = 0_u64;
    while let Some(row) = rows.next().map_err(failed)? {
        let seq: i64 = row.get(0).map_err(failed)?;
        let body: String = row.get(1).map_err(failed)?;
        let stored_previous: Vec<u8> = row.get(2).map_err(failed)?;
        let stored: Vec<u8> = row.get(3).map_err(failed)?;
        let follows = i64::try_from(good).is_ok_and(|count| seq == count + 1);
        if !follows || stored_previous != previous || stored != hash(&previous, seq, &body) {
            return Ok((good, Some(seq)));
        }
        previous = stored;
        good += 1;
    }
    Ok((good, None))
}
