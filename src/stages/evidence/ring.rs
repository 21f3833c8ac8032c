//! Keeps the last seconds of a source's encoded packets, and cuts clips that begin before the alarm.
//!
//! The ring costs what the camera sends: 10 s of a 1080p stream at 4 Mbit/s are 5 MB, and never more than its bound of
//! 12 MiB. A clip being cut holds its packets beside the ring (shared, not copied) until it is whole: 30 s are 15 MB, at
//! most 64 MiB.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::flow::packet::Packet;
use crate::flow::time::MediaTime;
use crate::stages::ingest::PacketTap;

/// How much is kept and how long a clip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipLimits {
    /// What a clip shows of the time before the alarm.
    pub before: Duration,
    /// What it shows of the time after.
    pub after: Duration,
    /// The most bytes kept while nothing happens.
    pub ring_bytes: usize,
    /// The most bytes of one clip; a clip that reaches them ends there.
    pub clip_bytes: usize,
    /// The most clips that are cut at once; further alarms are covered by these or go without.
    pub clips_at_once: usize,
}

impl Default for ClipLimits {
    fn default() -> Self {
        Self {
            before: Duration::from_secs(10),
            after: Duration::from_secs(20),
            ring_bytes: 12 << 20,
            clip_bytes: 64 << 20,
            clips_at_once: 4,
        }
    }
}

/// A whole clip, still encoded: begins at a key frame.
#[derive(Clone, Debug)]
pub struct Clip {
    /// What the caller called it.
    pub name: String,
    /// When the alarm was, on the source's media time.
    pub alarm: MediaTime,
    /// The packets in decoding order.
    pub packets: Vec<Packet>,
}

impl Clip {
    /// Returns when its first picture is shown.
    #[must_use]
    pub fn start(&self) -> Option<MediaTime> {
        self.packets.iter().map(|packet| packet.pts).min()
    }
}

/// A bounded memory of encoded packets. Clones share it: the reader's thread fills it, the pipeline cuts clips.
#[derive(Clone, Debug)]
pub struct ClipRing {
    limits: ClipLimits,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    packets: VecDeque<Packet>,
    bytes: usize,
    open: Vec<Cut>,
    whole: Vec<Clip>,
    refused: u64,
}

/// A clip that is being cut.
#[derive(Debug)]
struct Cut {
    clip: Clip,
    bytes: usize,
    until: MediaTime,
}

/// So many packets may be decoded before one that is shown earlier.
const REORDERED: usize = 4;

impl ClipRing {
    /// Makes an empty ring.
    #[must_use]
    pub fn new(limits: ClipLimits) -> Self {
        Self {
            limits,
            shared: Arc::default(),
        }
    }

    /// Begins a clip around an alarm. It becomes whole when the time after the alarm has passed in the stream; returns
    /// false where too many are being cut, or where nothing that can be decoded is there.
    #[must_use]
    pub fn begin(&self, name: impl Into<String>, alarm: MediaTime) -> bool {
        let mut shared = self.lock();
        if shared.open.len() >= self.limits.clips_at_once {
            shared.refused += 1;
            return false;
        }
        let from = alarm - self.limits.before;
        // The last key frame at or before the wanted start; the first at all where the ring is younger.
        let keys = shared
            .packets
            .iter()
            .enumerate()
            .filter(|(_, packet)| packet.is_key);
        let start = keys
            .clone()
            .rfind(|(_, packet)| packet.pts <= from)
            .or_else(|| keys.clone().next());
        let Some((start, _)) = start else {
            shared.refused += 1;
            return false;
        };
        let packets: Vec<Packet> = shared.packets.range(start..).cloned().collect();
        let bytes = packets.iter().map(|packet| packet.bytes.len()).sum();
        let clip = Clip {
            name: name.into(),
            alarm,
            packets,
        };
        shared.open.push(Cut {
            clip,
            bytes,
            until: alarm + self.limits.after,
        });
        true
    }

    /// Returns the packets from which the picture shown at `at` can be decoded: the key frame before it and all that
    /// follow, with a few beyond `at`, since pictures may be reordered. Nothing where no key frame is old enough.
    #[must_use]
    pub fn packets_to(&self, at: MediaTime) -> Vec<Packet> {
        let shared = self.lock();
        let start = shared
            .packets
            .iter()
            .rposition(|packet| packet.is_key && packet.pts <= at);
        let Some(start) = start else {
            return Vec::new();
        };
        let beyond = shared
            .packets
            .iter()
            .rposition(|packet| packet.pts <= at)
            .map_or(start, |last| last + 1 + REORDERED);
        let end = beyond.clamp(start + 1, shared.packets.len());
        shared.packets.range(start..end).cloned().collect()
    }

    /// Returns the clips that became whole since the last time.
    #[must_use]
    pub fn take_whole(&self) -> Vec<Clip> {
        std::mem::take(&mut self.lock().whole)
    }

    /// Ends all clips that are being cut, as far as they got: at the end of a recording, or when the program leaves.
    pub fn finish(&self) {
        self.lock().end_all();
    }

    /// Returns how many bytes the ring keeps, without the clips.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Returns how many clips were asked for and could not be begun.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn end_all(&mut self) {
        let ended = self.open.drain(..).map(|cut| cut.clip);
        self.whole.extend(ended);
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
    }

    /// Lets go of the oldest packets, so that the ring still begins at a key frame.
    fn trim(&mut self, limits: &ClipLimits, newest: MediaTime) {
        let from = newest - limits.before;
        loop {
            // The ring may begin at the next key frame as soon as that one reaches far enough back.
            let next_key = self
                .packets
                .iter()
                .enumerate()
                .skip(1)
                .find(|(_, packet)| packet.is_key);
            let can_go = match next_key {
                Some((count, packet)) if packet.pts <= from || self.bytes > limits.ring_bytes => count,
                // One group of pictures larger than the bound cannot be kept, or the bound means nothing.
                None if self.bytes > limits.ring_bytes => self.packets.len(),
                _ => return,
            };
            for packet in self.packets.drain(..can_go) {
                self.bytes -= packet.bytes.len();
            }
        }
    }
}

impl PacketTap for ClipRing {
    fn packet(&self, packet: Packet) {
        let mut shared = self.lock();
        let is_other_stream = shared
            .packets
            .back()
            .is_some_and(|last| last.media_type != packet.media_type);
        if is_other_stream {
            shared.end_all();
            shared.clear();
        }
        if shared.packets.is_empty() && !packet.is_key {
            return;
        }
        let size = packet.bytes.len();
        let mut open = std::mem::take(&mut shared.open);
        let ended = open.extract_if(.., |cut| {
            packet.pts >= cut.until || cut.bytes + size > self.limits.clip_bytes
        });
        shared.whole.extend(ended.map(|cut| cut.clip));
        for cut in &mut open {
            cut.bytes += size;
            cut.clip.packets.push(packet.clone());
        }
        shared.open = open;
        let newest = packet.pts;
        shared.bytes += size;
        shared.packets.push_back(packet);
        shared.trim(&self.limits, newest);
    }

    fn discontinuity(&self) {
        let mut shared = self.lock();
        shared.end_all();
        shared.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::packet::Codec;

    const SECOND: i64 = 1_000_000_000;

    /// One packet of 1000 bytes each 100 ms, a key frame each 2 s.
    fn packet(index: i64) -> Packet {
        Packet {
            bytes: Arc::from(vec![0_u8; 1000]),
            pts: MediaTime::from_nanos(index * SECOND / 10),
            dts: None,
            duration: None,
            is_key: index % 20 == 0,
            codec: Codec::H264,
            media_type: Arc::from("video/x-h264"),
        }
    }

    fn at(seconds: i64) -> MediaTime {
        MediaTime::from_nanos(seconds * SECOND)
    }

    fn filled(limits: ClipLimits, packets: std::ops::Range<i64>) -> ClipRing {
        let ring = ClipRing::new(limits);
        for index in packets {
            ring.packet(packet(index));
        }
        ring
    }

    #[test]
    fn the_ring_keeps_ten_seconds_and_begins_at_a_key_frame() {
        let ring = filled(ClipLimits::default(), 0..1000);
        // 10 s and at most one more group of 2 s.
        assert!((100_000..=121_000).contains(&ring.bytes()), "{}", ring.bytes());
        assert!(ring.lock().packets.front().is_some_and(|packet| packet.is_key));
    }

    #[test]
    fn a_picture_is_decoded_from_the_key_frame_before_it() {
        let ring = filled(ClipLimits::default(), 0..500);
        let packets = ring.packets_to(at(47));
        assert_eq!(
            packets.first().map(|packet| (packet.is_key, packet.pts)),
            Some((true, at(46)))
        );
        assert_eq!(packets.len(), 11 + REORDERED);
        // The large stream may be a little behind: its newest picture does.
        assert_eq!(ring.packets_to(at(60)).len(), 20);
        assert!(ring.packets_to(at(20)).is_empty());
    }

    #[test]
    fn a_clip_begins_ten_seconds_before_the_alarm_and_ends_twenty_after() {
        let ring = filled(ClipLimits::default(), 0..500);
        assert!(ring.begin("fire", at(49)));
        for index in 500..800 {
            ring.packet(packet(index));
        }
        let clips = ring.take_whole();
        let [clip] = clips.as_slice() else {
            panic!("expected one clip, got {clips:?}")
        };
        assert_eq!(
            clip.packets.first().map(|packet| (packet.is_key, packet.pts)),
            Some((true, at(38)))
        );
        assert_eq!(
            clip.packets.last().map(|packet| packet.pts),
            Some(MediaTime::from_nanos(689 * SECOND / 10))
        );
        assert!(ring.take_whole().is_empty());
    }

    #[test]
    fn a_young_ring_gives_what_it_has() {
        let ring = filled(ClipLimits::default(), 5..45);
        assert!(ring.begin("fire", at(4)));
        ring.finish();
        let clips = ring.take_whole();
        assert_eq!(clips[0].start(), Some(at(2)));
        assert!(!ClipRing::new(ClipLimits::default()).begin("nothing", at(0)));
    }

    #[test]
    fn the_byte_bound_wins_over_the_seconds() {
        let limits = ClipLimits {
            ring_bytes: 50_000,
            ..ClipLimits::default()
        };
        let ring = filled(limits, 0..1000);
        assert!(ring.bytes() <= 50_000, "{}", ring.bytes());
        assert!(ring.lock().packets.front().is_some_and(|packet| packet.is_key));
        // A group of pictures that alone is larger is not kept at all.
        let ring = filled(
            ClipLimits {
                ring_bytes: 10_000,
                ..limits
            },
            0..1000,
        );
        assert!(ring.bytes() <= 10_000);
    }

    #[test]
    fn a_clip_does_not_grow_beyond_its_bytes_and_not_more_are_cut_than_allowed() {
        let limits = ClipLimits {
            clip_bytes: 150_000,
            clips_at_once: 1,
            ..ClipLimits::default()
        };
        let ring = filled(limits, 0..500);
        assert!(ring.begin("first", at(49)));
        assert!(!ring.begin("second", at(49)));
        assert_eq!(ring.refused(), 1);
        for index in 500..800 {
            ring.packet(packet(index));
        }
        assert_eq!(ring.take_whole()[0].packets.len(), 150);
    }

    #[test]
    fn a_reconnect_ends_the_clip_and_empties_the_ring() {
        let ring = filled(ClipLimits::default(), 0..100);
        assert!(ring.begin("fire", at(9)));
        ring.discontinuity();
        assert_eq!((ring.take_whole().len(), ring.bytes()), (1, 0));
        // Another codec under the same name is a break too.
        let ring = filled(ClipLimits::default(), 0..100);
        assert!(ring.begin("fire", at(9)));
        ring.packet(Packet {
            media_type: Arc::from("video/x-h265"),
            ..packet(100)
        });
        assert_eq!((ring.take_whole().len(), ring.bytes()), (1, 1000));
    }
}
