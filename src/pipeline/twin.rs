//! Joins the two streams of one camera: detection looks at the small one, clips are cut from the large one.
//!
//! Each stream counts media time from its own start. What both have in common is when their packets arrive: the packet
//! that was the least delayed says where a stream's time stands against the monotonic clock, and the difference of the
//! two is what the large stream's times are shifted by. The streams of one camera differ by some tenths of a second in
//! delay, which a clip of half a minute does not show.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::flow::packet::Packet;
use crate::flow::time::{MediaTime, MonotonicTime};
use crate::stages::evidence::ring::ClipRing;
use crate::stages::ingest::PacketTap;

/// A shift that is found to be wrong by more than this is set anew, and the ring with it.
const TOLERANCE_NS: i64 = 1_000_000_000;

/// Media time less monotonic time of both streams, in nanoseconds; the largest seen is that of the least delayed packet.
#[derive(Debug, Default)]
struct Offsets {
    detection: Option<i64>,
    evidence: Option<i64>,
    /// What is added to the large stream's times.
    shift: Option<i64>,
}

/// The clock that the two streams of a camera share.
#[derive(Clone)]
pub struct Twin {
    ring: ClipRing,
    clock: Arc<dyn Clock>,
    offsets: Arc<Mutex<Offsets>>,
}

/// Listens to the small stream: its times only.
pub struct DetectionTap(Twin);

/// Listens to the large stream: its packets go into the ring, on the small stream's time.
pub struct EvidenceTap(Twin);

impl Twin {
    /// Joins two streams around the ring that keeps the large one's packets.
    #[must_use]
    pub fn new(ring: ClipRing, clock: Arc<dyn Clock>) -> Self {
        Self {
            ring,
            clock,
            offsets: Arc::default(),
        }
    }

    /// Returns what listens to the small stream.
    #[must_use]
    pub fn detection(&self) -> Arc<dyn PacketTap> {
        Arc::new(DetectionTap(self.clone()))
    }

    /// Returns what listens to the large stream.
    #[must_use]
    pub fn evidence(&self) -> Arc<dyn PacketTap> {
        Arc::new(EvidenceTap(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset(&self, packet: &Packet) -> i64 {
        let now = self.clock.monotonic().since(MonotonicTime::default());
        packet
            .pts
            .as_nanos()
            .saturating_sub(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl PacketTap for DetectionTap {
    fn packet(&self, packet: Packet) {
        let offset = self.0.offset(&packet);
        let mut offsets = self.0.lock();
        offsets.detection = offsets.detection.max(Some(offset));
    }

    fn discontinuity(&self) {
        self.0.lock().detection = None;
    }
}

impl PacketTap for EvidenceTap {
    fn packet(&self, packet: Packet) {
        let offset = self.0.offset(&packet);
        let mut offsets = self.0.lock();
        offsets.evidence = offsets.evidence.max(Some(offset));
        let (Some(detection), Some(evidence)) = (offsets.detection, offsets.evidence) else {
            return;
        };
        let wanted = detection.saturating_sub(evidence);
        let is_wrong = |shift: i64| shift.saturating_sub(wanted).saturating_abs() > TOLERANCE_NS;
        if offsets.shift.is_some_and(is_wrong) {
            self.0.ring.discontinuity();
            offsets.shift = None;
        }
        let shift = *offsets.shift.get_or_insert(wanted);
        drop(offsets);
        let moved = |time: MediaTime| MediaTime::from_nanos(time.as_nanos().saturating_add(shift));
        self.0.ring.packet(Packet {
            pts: moved(packet.pts),
            dts: packet.dts.map(moved),
            ..packet
        });
    }

    fn discontinuity(&self) {
        let mut offsets = self.0.lock();
        offsets.evidence = None;
        offsets.shift = None;
        drop(offsets);
        self.0.ring.discontinuity();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::SimulatedClock;
    use crate::flow::packet::Codec;
    use crate::stages::evidence::ring::ClipLimits;

    fn packet(millis: i64, size: usize) -> Packet {
        Packet {
            bytes: Arc::from(vec![0_u8; size]),
            pts: MediaTime::from_nanos(millis * 1_000_000),
            dts: None,
            duration: None,
            is_key: millis % 1000 == 0,
            codec: Codec::H264,
            media_type: Arc::from("video/x-h264"),
        }
    }

    #[test]
    fn a_clip_of_the_large_stream_lies_around_an_alarm_on_the_small_one() {
        let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
        let ring = ClipRing::new(ClipLimits::default());
        let twin = Twin::new(ring.clone(), clock.clone());
        let (small, large) = (twin.detection(), twin.evidence());
        // The small stream was joined 100 s earlier: its time is ahead, and it arrives 60 ms sooner.
        for step in 0..400_i64 {
            small.packet(packet(100_000 + step * 100, 10));
            clock.advance(Duration::from_millis(60));
            large.packet(packet(step * 100, 1000));
            clock.advance(Duration::from_millis(40));
            if step == 200 {
                assert!(ring.begin("fire", MediaTime::from_nanos(120_000_000_000)));
            }
        }
        ring.finish();
        let clips = ring.take_whole();
        let start = clips[0].start().expect("the clip has packets").as_secs_f64();
        assert!((109.0..=110.1).contains(&start), "{start}");
        assert!(clips[0].packets.iter().all(|packet| packet.bytes.len() == 1000));
    }

    #[test]
    fn a_reconnect_of_either_stream_finds_the_shift_anew() {
        let clock = Arc::new(SimulatedClock::new(jiff::Timestamp::UNIX_EPOCH));
        let ring = ClipRing::new(ClipLimits::default());
        let twin = Twin::new(ring.clone(), clock.clone());
        let (small, large) = (twin.detection(), twin.evidence());
        large.packet(packet(0, 1000));
        assert_eq!(
            ring.bytes(),
            0,
            "nothing is kept before the small stream's time is known"
        );
        small.packet(packet(5_000, 10));
        large.packet(packet(0, 1000));
        assert_eq!(ring.bytes(), 1000);
        // The small stream comes back with another time: what is kept belongs to no alarm that can still come.
        small.discontinuity();
        small.packet(packet(90_000, 10));
        large.packet(packet(1000, 1000));
        assert_eq!(ring.bytes(), 1000);
        assert!(ring.begin("fire", MediaTime::from_nanos(91_000_000_000)));
        large.discontinuity();
        assert_eq!((ring.bytes(), ring.take_whole().len()), (0, 1));
    }
}
