//! KLV inside MPEG transport streams: asynchronous (private data with the registration `KLVA`) and synchronous (metadata
//! in PES, stream type 0x15).

use std::collections::BTreeMap;

use super::klv::packet::UasPacket;
use super::klv::read::{Counts, PacketReader};
use super::klv::sample::{add_counts, sample_of};
use super::klv::sei;
use super::log::{LogTime, TelemetryLog};

/// The size of a packet.
const PACKET: usize = 188;
/// The mark at the start of each packet.
const SYNC: u8 = 0x47;
/// Bytes of one piece of metadata at most.
const LONGEST_UNIT: usize = 1 << 17;
/// Streams followed at most.
const MOST_STREAMS: usize = 64;
/// After 2^33 ticks the presentation times start again.
const WRAP_TICKS: i64 = 1 << 33;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KlvAsynchronous,
    KlvSynchronous,
    Video,
}

/// One piece of a stream, whole.
#[derive(Clone, Debug, PartialEq)]
struct Unit {
    kind: Kind,
    /// Presentation time in ticks of 90 kHz.
    pts: Option<i64>,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Demux {
    programs: Vec<u16>,
    streams: BTreeMap<u16, Kind>,
    pending: BTreeMap<u16, Vec<u8>>,
    sections: BTreeMap<u16, Vec<u8>>,
}

/// Returns whether bytes look like a transport stream, and where its first packet starts and how far apart packets are
/// (188, or 192 with a time before each).
#[must_use]
pub fn detect(bytes: &[u8]) -> Option<(usize, usize)> {
    for stride in [188, 192, 204] {
        for start in 0..stride {
            let marks = (0..5)
                .map(|index| bytes.get(start + index * stride).copied())
                .take_while(Option::is_some);
            let (mut seen, mut right) = (0, 0);
            for mark in marks {
                seen += 1;
                right += u32::from(mark == Some(SYNC));
            }
            if seen >= 2 && right == seen {
                return Some((start, stride));
            }
        }
    }
    None
}

impl Demux {
    fn packet(&mut self, packet: &[u8], out: &mut impl FnMut(Unit)) {
        let &[SYNC, high, low, control, ..] = packet else {
            return;
        };
        let pid = u16::from_be_bytes([high & 0x1F, low]);
        let starts = high & 0x40 != 0;
        let payload_at = match control >> 4 & 3 {
            1 => 4,
            3 => 5 + usize::from(packet.get(4).copied().unwrap_or(0)),
            _ => return,
        };
        let Some(payload) = packet.get(payload_at..).filter(|payload| !payload.is_empty()) else {
            return;
        };
        if high & 0x80 != 0 {
            // The receiver marked it as damaged.
            self.pending.remove(&pid);
            return;
        }
        if pid == 0 || self.programs.contains(&pid) {
            self.section(pid, starts, payload);
        } else if let Some(kind) = self.streams.get(&pid).copied() {
            self.pes(pid, kind, starts, payload, out);
        }
    }

    /// Gathers a table that may span packets.
    fn section(&mut self, pid: u16, starts: bool, payload: &[u8]) {
        let gathered = self.sections.entry(pid).or_default();
        if starts {
            gathered.clear();
            let pointer = usize::from(payload.first().copied().unwrap_or(0));
            gathered.extend_from_slice(payload.get(1 + pointer..).unwrap_or_default());
        } else if !gathered.is_empty() {
            gathered.extend_from_slice(payload);
        }
        let &[table, high, low, ..] = &gathered[..] else {
            return;
        };
        let length = 3 + usize::from(u16::from_be_bytes([high & 0x0F, low]));
        let Some(section) = gathered.get(..length) else {
            return;
        };
        // The last four bytes are a CRC: a damaged table names streams that carry no packets, which does no harm.
        let Some(body) = section.get(8..length.saturating_sub(4)) else {
            return;
        };
        match (pid, table) {
            (0, 0) => {
                self.programs = body
                    .chunks_exact(4)
                    .filter_map(|entry| match entry {
                        [0, 0, ..] => None,
                        [_, _, high, low] => Some(u16::from_be_bytes([high & 0x1F, *low])),
                        _ => None,
                    })
                    .take(MOST_STREAMS)
                    .collect();
            }
            (_, 2) => {
                let streams = program_streams(body);
                for (pid, kind) in streams {
                    if self.streams.len() < MOST_STREAMS {
                        self.streams.insert(pid, kind);
                    }
                }
            }
            _ => {}
        }
        self.sections.remove(&pid);
    }

    fn pes(&mut self, pid: u16, kind: Kind, starts: bool, payload: &[u8], out: &mut impl FnMut(Unit)) {
        let gathered = self.pending.entry(pid).or_default();
        if starts {
            if let Some(unit) = unit_of(kind, gathered) {
                out(unit);
            }
            gathered.clear();
        } else if gathered.is_empty() {
            return;
        }
        // Of a picture only its start is needed: the time stamp stands there.
        let most = if kind == Kind::Video { 4_096 } else { LONGEST_UNIT };
        let room = most.saturating_sub(gathered.len()).min(payload.len());
        gathered.extend_from_slice(payload.get(..room).unwrap_or_default());
        // A packet of known length is handed out as soon as it is whole: metadata comes once a second.
        let stated = match &gathered[..] {
            [0, 0, 1, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        if kind != Kind::Video && stated > 0 && gathered.len() >= 6 + stated {
            gathered.truncate(6 + stated);
            if let Some(unit) = unit_of(kind, gathered) {
                out(unit);
            }
            gathered.clear();
        }
    }

    fn finish(&mut self, out: &mut impl FnMut(Unit)) {
        for (pid, gathered) in std::mem::take(&mut self.pending) {
            if let Some(unit) = self.streams.get(&pid).and_then(|kind| unit_of(*kind, &gathered)) {
                out(unit);
            }
        }
    }
}

/// Reads the streams of a program map: those that may hold KLV, and video.
fn program_streams(body: &[u8]) -> Vec<(u16, Kind)> {
    let mut found = Vec::new();
    let Some(&[_, _, high, low]) = body.get(..4) else {
        return found;
    };
    let mut at = 4 + usize::from(u16::from_be_bytes([high & 0x0F, low]));
    while let Some(&[kind, pid_high, pid_low, length_high, length_low]) = body.get(at..at + 5) {
        let pid = u16::from_be_bytes([pid_high & 0x1F, pid_low]);
        let length = usize::from(u16::from_be_bytes([length_high & 0x0F, length_low]));
        let descriptors = body.get(at + 5..at + 5 + length).unwrap_or_default();
        match kind {
            0x06 if descriptors.windows(6).any(|window| window == *b"\x05\x04KLVA") => {
                found.push((pid, Kind::KlvAsynchronous));
            }
            0x15 => found.push((pid, Kind::KlvSynchronous)),
            0x1B | 0x24 => found.push((pid, Kind::Video)),
            _ => {}
        }
        at += 5 + length;
    }
    found
}

/// Reads a whole PES packet.
fn unit_of(kind: Kind, pes: &[u8]) -> Option<Unit> {
    let [0, 0, 1, _, _, _, _, flags, header_length, rest @ ..] = pes else {
        return None;
    };
    let pts = (flags & 0x80 != 0).then(|| pts_of(rest)).flatten();
    let payload = rest.get(usize::from(*header_length)..)?;
    let bytes = if kind == Kind::KlvSynchronous {
        cells(payload)
    } else {
        payload.to_vec()
    };
    (!bytes.is_empty()).then_some(Unit { kind, pts, bytes })
}

fn pts_of(bytes: &[u8]) -> Option<i64> {
    let &[a, b, c, d, e] = bytes.get(..5)? else {
        return None;
    };
    let [a, b, c, d, e] = [a, b, c, d, e].map(i64::from);
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

/// Takes the metadata access units out of their cells: five bytes of header each. Streams that lack the headers are
/// taken as they are.
fn cells(payload: &[u8]) -> Vec<u8> {
    if payload.starts_with(&super::klv::UAS_KEY) {
        return payload.to_vec();
    }
    let mut out = Vec::with_capacity(payload.len());
    let mut at = 0;
    while let Some(&[_, _, _, high, low]) = payload.get(at..at + 5) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(cell) = payload.get(at + 5..at + 5 + length) else {
            break;
        };
        out.extend_from_slice(cell);
        at += 5 + length;
    }
    out
}

/// Reads the KLV of a transport stream. Media time counts from the first picture, or from the first KLV where there is
/// no video.
#[must_use]
pub fn parse(bytes: &[u8]) -> TelemetryLog {
    let mut log = TelemetryLog::new("klv_ts", LogTime::Unix);
    let Some((start, stride)) = detect(bytes) else {
        log.skipped_bytes = bytes.len() as u64;
        return log;
    };
    let mut demux = Demux::default();
    let mut counts = Counts::default();
    let mut packets: Vec<(UasPacket, Option<i64>)> = Vec::new();
    let mut picture_times: Vec<(i64, u64)> = Vec::new();
    let mut first_pts: Option<i64> = None;
    let mut last_pts = 0i64;
    let mut without_pts = 0u64;
    let mut take = |unit: Unit| {
        // Times are unwrapped against the last one of any stream.
        let pts = unit.pts.map(|ticks| {
            let turns = (last_pts - ticks + WRAP_TICKS / 2).div_euclid(WRAP_TICKS);
            let unwrapped = ticks + turns * WRAP_TICKS;
            last_pts = unwrapped;
            unwrapped
        });
        if unit.kind == Kind::Video {
            if let Some(pts) = pts {
                first_pts = Some(first_pts.map_or(pts, |first| first.min(pts)));
                if let Some(time) = sei::find(&unit.bytes) {
                    picture_times.push((pts, time.time_us));
                }
            }
            return;
        }
        let mut reader = PacketReader::new(&unit.bytes);
        for packet in reader.by_ref() {
            without_pts += u64::from(pts.is_none());
            packets.push((packet, pts));
        }
        let met = reader.counts();
        counts.packets += met.packets;
        counts.bad_checksums += met.bad_checksums;
        counts.without_checksum += met.without_checksum;
        counts.completed_keys += met.completed_keys;
        counts.truncated += met.truncated;
        counts.malformed_items += met.malformed_items;
        counts.skipped_bytes += met.skipped_bytes;
    };
    for packet in bytes.get(start..).unwrap_or_default().chunks(stride) {
        // In 192-byte packets the four extra bytes stand before the mark, which `start` already points at.
        if let Some(packet) = packet.get(..PACKET) {
            demux.packet(packet, &mut take);
        }
    }
    demux.finish(&mut take);
    let first_pts = first_pts.or_else(|| packets.iter().find_map(|(_, pts)| *pts));
    let media_s = |pts: i64| first_pts.map(|first| (pts - first) as f64 / 90_000.0);
    // Asynchronous KLV without its own time is tied to the picture by the time stamps inside both.
    let tie_s = picture_times
        .first()
        .and_then(|(pts, time_us)| Some(media_s(*pts)? - *time_us as f64 / 1e6));
    let mut timed = 0u64;
    for (packet, pts) in &packets {
        let at_s = pts
            .and_then(media_s)
            .or_else(|| Some(packet.time_us? as f64 / 1e6 + tie_s?));
        timed += u64::from(at_s.is_some());
        log.samples.push(sample_of(packet, at_s));
    }
    if !log.samples.is_empty() && timed == log.samples.len() as u64 {
        log.clock = LogTime::Media;
    }
    if without_pts > 0 && tie_s.is_none() {
        log.notes.push(
            "the KLV carries no presentation times: its own clock must be tied to the video by an offset"
                .into(),
        );
    }
    add_counts(&mut log, counts);
    log
}

#[cfg(test)]
mod tests;
