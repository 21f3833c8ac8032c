//! What one source's ingest has counted, readable from other threads while it runs.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::error::IngestErrorKind;
use super::reader::ReaderCounts;

/// Every kind of error, in the order in which reconnects are counted.
const KINDS: [IngestErrorKind; 17] = [
    IngestErrorKind::BadLocation,
    IngestErrorKind::NotFound,
    IngestErrorKind::Unreadable,
    IngestErrorKind::Empty,
    IngestErrorKind::NotMedia,
    IngestErrorKind::Truncated,
    IngestErrorKind::NoVideo,
    IngestErrorKind::UnsupportedCodec,
    IngestErrorKind::DecoderMissing,
    IngestErrorKind::PluginMissing,
    IngestErrorKind::Unauthorised,
    IngestErrorKind::Unreachable,
    IngestErrorKind::Silent,
    IngestErrorKind::Lost,
    IngestErrorKind::Undecodable,
    IngestErrorKind::TooLarge,
    IngestErrorKind::Hung,
];

/// Stands for a clock of which nothing is known.
const UNKNOWN_CLOCK: i64 = i64::MIN;

/// Counters of one source over all its connections, which only grow, and how far its clock is off.
#[derive(Debug)]
pub struct IngestStats {
    packets: AtomicU64,
    undecoded: AtomicU64,
    behind: AtomicU64,
    decoded: AtomicU64,
    damaged: AtomicU64,
    overtaken: AtomicU64,
    stale: AtomicU64,
    retimed: AtomicU64,
    connections: AtomicU64,
    reconnects: [AtomicU64; KINDS.len() + 1],
    clock_offset_ms: AtomicI64,
}

impl Default for IngestStats {
    fn default() -> Self {
        Self {
            packets: AtomicU64::default(),
            undecoded: AtomicU64::default(),
            behind: AtomicU64::default(),
            decoded: AtomicU64::default(),
            damaged: AtomicU64::default(),
            overtaken: AtomicU64::default(),
            stale: AtomicU64::default(),
            retimed: AtomicU64::default(),
            connections: AtomicU64::default(),
            reconnects: Default::default(),
            clock_offset_ms: AtomicI64::new(UNKNOWN_CLOCK),
        }
    }
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestSnapshot {
    /// Encoded access units that arrived.
    pub packets: u64,
    /// Of those, left undecoded on purpose (patrol).
    pub undecoded: u64,
    /// Of those, left undecoded because the decoder had fallen behind.
    pub behind: u64,
    /// Frames that came out of the decoder.
    pub decoded: u64,
    /// Of those, flagged as damaged.
    pub damaged: u64,
    /// Decoded frames that a newer one overtook.
    pub overtaken: u64,
    /// Decoded frames that were too old to be worth inferring.
    pub stale: u64,
    /// Frames whose time did not grow, and was corrected.
    pub retimed: u64,
    /// Connections that were tried.
    pub connections: u64,
    /// Connections that failed, by reason; reasons that never occurred are left out.
    pub failures: Vec<(&'static str, u64)>,
    /// Milliseconds to add to the camera's time to get ours, where its stream says what time it is there.
    pub clock_offset_ms: Option<i64>,
}

impl IngestStats {
    /// Returns the counters as they are.
    #[must_use]
    pub fn snapshot(&self) -> IngestSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let names = KINDS
            .iter()
            .map(|kind| kind.name())
            .chain(std::iter::once(IngestErrorKind::Other.name()));
        IngestSnapshot {
            packets: read(&self.packets),
            undecoded: read(&self.undecoded),
            behind: read(&self.behind),
            decoded: read(&self.decoded),
            damaged: read(&self.damaged),
            overtaken: read(&self.overtaken),
            stale: read(&self.stale),
            retimed: read(&self.retimed),
            connections: read(&self.connections),
            failures: names
                .zip(self.reconnects.iter().map(read))
                .filter(|(_, count)| *count > 0)
                .collect(),
            clock_offset_ms: Some(self.clock_offset_ms.load(Ordering::Relaxed))
                .filter(|offset_ms| *offset_ms != UNKNOWN_CLOCK),
        }
    }

    pub(super) fn clock(&self, offset_s: f64) {
        self.clock_offset_ms
            .store((offset_s * 1_000.0).round() as i64, Ordering::Relaxed);
    }

    pub(super) fn connecting(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, kind: IngestErrorKind) {
        let index = KINDS
            .iter()
            .position(|known| *known == kind)
            .unwrap_or(KINDS.len());
        if let Some(counter) = self.reconnects.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self, overtaken: u32, stale: u32) {
        self.overtaken.fetch_add(u64::from(overtaken), Ordering::Relaxed);
        self.stale.fetch_add(u64::from(stale), Ordering::Relaxed);
    }

    pub(super) fn retimed(&self) {
        self.retimed.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what a reader counted since the last time it was asked.
    pub(super) fn advance(&self, before: &ReaderCounts, now: &ReaderCounts) {
        let add = |counter: &AtomicU64, before: u64, now: u64| {
            counter.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        };
        add(&self.packets, before.packets, now.packets);
        add(&self.undecoded, before.undecoded, now.undecoded);
        add(&self.behind, before.behind, now.behind);
        add(&self.decoded, before.decoded, now.decoded);
        add(&self.damaged, before.damaged, now.damaged);
    }
}
