//! Looks at a write-ahead log before SQLite opens it.
//!
//! SQLite reads a log up to the first frame whose checksum is wrong and takes the rest for a write that a power cut
//! tore. If that frame was damaged later, every transaction behind it was acknowledged and would vanish without a
//! word. With `synchronous = FULL` each transaction is on the disk before the next one begins: a wrong frame with a
//! whole transaction and the beginning of another behind it is damage, not a torn write.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::{ErrorKind, StoreError};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// Refuses a database whose log holds acknowledged transactions behind a damaged frame.
pub(super) fn check(database: &Path) -> Result<(), StoreError> {
    let path = log_path(database);
    let mut frame = 0;
    // Another program may be writing the log at this moment: what is damaged stays damaged when it is read again.
    for _ in 0..3 {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        match first_damage(BufReader::new(file)).map_err(|error| StoreError::io("read", &path, error))? {
            None => return Ok(()),
            Some(damaged) => frame = damaged,
        }
    }
    Err(StoreError::new(
        ErrorKind::Corrupt,
        format!(
            "frame {frame} of the write-ahead log is damaged and acknowledged changes lie behind it, expected whole frames: {}",
            path.display()
        ),
    ))
}

fn log_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// The running checksum of the log's format (<https://www.sqlite.org/fileformat2.html#checksum_algorithm>).
fn add_checksum(mut sum: (u32, u32), bytes: &[u8], is_big_endian: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let read = |at: usize| {
            let bytes = pair
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or([0; 4]);
            if is_big_endian {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        sum.0 = sum.0.wrapping_add(read(0)).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(read(4)).wrapping_add(sum.0);
    }
    sum
}

/// Returns the number (from 1) of the first wrong frame that has a whole transaction and more behind it.
fn first_damage(mut log: impl Read) -> std::io::Result<Option<u64>> {
    let mut header = [0_u8; HEADER_BYTES];
    if !fill(&mut log, &mut header)? {
        return Ok(None);
    }
    let is_big_endian = match word(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return Ok(None),
    };
    let page_bytes = word(&header, 8) as usize;
    if !(512..=65_536).contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return Ok(None);
    }
    let sum_of_header = add_checksum((0, 0), &header[..24], is_big_endian);
    if sum_of_header != (word(&header, 24), word(&header, 28)) {
        // SQLite ignores a log with a wrong header whole: that is a torn first write, or damage.
        return has_whole_transactions(&mut log, page_bytes, &header, is_big_endian);
    }
    let mut sum = sum_of_header;
    let mut frame = vec![0_u8; FRAME_HEADER_BYTES + page_bytes];
    let mut number = 0;
    let mut damaged: Option<u64> = None;
    let mut commits_behind = false;
    while fill(&mut log, &mut frame)? {
        number += 1;
        let is_of_this_log = frame.get(8..16) == header.get(16..24);
        if !is_of_this_log {
            // Frames of an earlier round of the log lie behind the end of this one.
            return Ok(None);
        }
        let summed = add_checksum(
            add_checksum(sum, frame.get(..8).unwrap_or_default(), is_big_endian),
            frame.get(FRAME_HEADER_BYTES..).unwrap_or_default(),
            is_big_endian,
        );
        let written = (word(&frame, 16), word(&frame, 20));
        if commits_behind && summed == written {
            return Ok(damaged);
        }
        if summed != written && damaged.is_none() {
            damaged = Some(number);
        }
        if damaged.is_some() && word(&frame, 4) != 0 {
            commits_behind = true;
        }
        // The sums run on from what was written, so that one damaged frame does not hide the whole ones behind it.
        sum = written;
    }
    Ok(None)
}

/// Returns frame 0 where whole frames of two transactions lie behind a wrong header.
fn has_whole_transactions(
    log: &mut impl Read,
    page_bytes: usize,
    header: &[u8],
    is_big_endian: bool,
) -> std::io::Result<Option<u64>> {
    let mut frame = vec![0_u8; FRAME_HEADER_BYTES + page_bytes];
    let mut sum = (word(header, 24), word(header, 28));
    let mut commits = 0;
    while fill(log, &mut frame)? {
        let summed = add_checksum(
            add_checksum(sum, frame.get(..8).unwrap_or_default(), is_big_endian),
            frame.get(FRAME_HEADER_BYTES..).unwrap_or_default(),
            is_big_endian,
        );
        sum = (word(&frame, 16), word(&frame, 20));
        if summed == sum && word(&frame, 4) != 0 {
            commits += 1;
        }
        if commits > 1 {
            return Ok(Some(0));
        }
    }
    Ok(None)
}

/// Fills the buffer; false at the end of the file, also in the middle of the buffer.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
