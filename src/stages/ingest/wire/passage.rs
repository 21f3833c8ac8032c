//! Where the packets of one connection are: waiting for the decoder, inside it, or decoded and waiting to be pulled.

use std::collections::VecDeque;
use std::time::Duration;

use crate::flow::time::MonotonicTime;
use crate::telemetry::klv::sei::PictureTime;

/// Packets that may wait for a decoder, and their bytes: far more than come in the time that they may wait.
const WAITING: usize = 256;
const WAITING_BYTES: usize = 32 << 20;

/// Packets inside a decoder at once: reference pictures and frame threads, with room to spare.
const INSIDE_DECODER: usize = 64;

/// Frames between the probe and the pull; the sink holds fewer.
const INSIDE_SINK: usize = 64;

/// A packet on its way to and through the decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) bytes: usize,
    pub(crate) is_key: bool,
    pub(crate) arrived: MonotonicTime,
    /// Packets left undecoded since the one before: on purpose, and because the decoder was behind.
    pub(crate) skipped: u32,
    pub(crate) behind: u32,
    pub(crate) stamp: Option<PictureTime>,
}

/// What a frame is known by. Its buffer alone could be that of a frame that was dropped, used again, and a decoder may
/// give two frames one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) address: usize,
    pub(crate) number: Option<u64>,
    /// In nanoseconds.
    pub(crate) pts: Option<u64>,
}

/// A frame that reached the sink.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    pub(crate) mark: Mark,
    pub(crate) is_key: bool,
    pub(crate) arrived: MonotonicTime,
    /// Packets left undecoded since the one before: on purpose, and because the decoder was behind.
    pub(crate) skipped: u32,
    pub(crate) behind: u32,
    /// The time that the picture carries (ST 0604).
    pub(crate) stamp: Option<PictureTime>,
}

/// The packets of one connection.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// The number of the last packet admitted.
    last: u64,
    waiting: VecDeque<(u64, Passed)>,
    waiting_bytes: usize,
    inside_decoder: VecDeque<(u64, Passed)>,
    inside_sink: VecDeque<Reached>,
}

impl Passage {
    /// Says whether a packet has waited for the decoder for longer than `bound`, or too many of them wait.
    pub(crate) fn is_behind(&self, now: MonotonicTime, bound: Duration) -> bool {
        self.waited(now) > bound || self.waiting.len() >= WAITING || self.waiting_bytes >= WAITING_BYTES
    }

    /// Returns how long the oldest packet has waited for the decoder.
    pub(crate) fn waited(&self, now: MonotonicTime) -> Duration {
        self.waiting
            .front()
            .map_or(Duration::ZERO, |(_, oldest)| now.since(oldest.arrived))
    }

    /// A packet begins to wait; returns the number it is given.
    pub(crate) fn admit(&mut self, packet: Passed) -> u64 {
        self.last += 1;
        self.waiting_bytes += packet.bytes;
        self.waiting.push_back((self.last, packet));
        self.last
    }

    /// The decoder takes the packet that waited longest.
    pub(crate) fn take(&mut self) {
        let Some((number, packet)) = self.waiting.pop_front() else {
            return;
        };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(packet.bytes);
        if self.inside_decoder.len() == INSIDE_DECODER {
            self.inside_decoder.pop_front();
        }
        self.inside_decoder.push_back((number, packet));
    }

    /// A picture leaves the decoder; returns the packet it came of.
    pub(crate) fn leave(&mut self, number: u64) -> Option<Passed> {
        let place = self
            .inside_decoder
            .iter()
            .position(|(known, _)| *known == number)?;
        self.inside_decoder.remove(place).map(|(_, packet)| packet)
    }

    /// A frame reaches the sink.
    pub(crate) fn reach(&mut self, frame: Reached) {
        if self.inside_sink.len() == INSIDE_SINK {
            self.inside_sink.pop_front();
        }
        self.inside_sink.push_back(frame);
    }

    /// A frame is pulled: returns what is known of it and how many before it were overtaken.
    pub(crate) fn pull(&mut self, mark: &Mark) -> (Option<Reached>, u32) {
        let Some(place) = self.inside_sink.iter().position(|reached| reached.mark == *mark) else {
            return (None, 0);
        };
        let (skipped, behind) = self
            .inside_sink
            .drain(..place)
            .fold((0, 0), |(skipped, behind), overtaken| {
                (skipped + overtaken.skipped, behind + overtaken.behind)
            });
        let reached = self.inside_sink.pop_front().map(|reached| Reached {
            skipped: reached.skipped + skipped,
            behind: reached.behind + behind,
            ..reached
        });
        (reached, u32::try_from(place).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(at_ms: u64, bytes: usize) -> Passed {
        Passed {
            bytes,
            is_key: false,
            arrived: after(at_ms),
            skipped: 0,
            behind: 0,
            stamp: None,
        }
    }

    fn after(ms: u64) -> MonotonicTime {
        MonotonicTime::default() + Duration::from_millis(ms)
    }

    #[test]
    fn the_decoder_is_behind_when_a_packet_waits_too_long_and_not_when_many_come_at_once() {
        let bound = Duration::from_millis(250);
        let mut passage = Passage::default();
        assert!(!passage.is_behind(after(9_000), bound));
        for _ in 0..25 {
            passage.admit(packet(1_000, 100_000));
        }
        assert!(!passage.is_behind(after(1_250), bound));
        assert!(passage.is_behind(after(1_251), bound));
        assert_eq!(passage.waited(after(1_251)), Duration::from_millis(251));
        (0..25).for_each(|_| passage.take());
        assert!(!passage.is_behind(after(9_000), bound));
    }

    #[test]
    fn what_waits_is_bounded_in_count_and_in_bytes() {
        let bound = Duration::from_secs(1);
        let waiting_until_behind = |bytes| {
            let mut passage = Passage::default();
            (0..1_000)
                .take_while(|_| {
                    passage.admit(packet(0, bytes));
                    !passage.is_behind(after(0), bound)
                })
                .count()
        };
        assert_eq!(waiting_until_behind(1_000), 255);
        assert_eq!(waiting_until_behind(4 << 20), 7);
    }

    #[test]
    fn two_frames_of_one_time_in_one_buffer_are_told_apart() {
        let mut passage = Passage::default();
        let frame = |number, skipped| Reached {
            mark: Mark {
                address: 4_096,
                number: Some(number),
                pts: Some(40),
            },
            is_key: false,
            arrived: after(number),
            skipped,
            behind: 1,
            stamp: None,
        };
        passage.reach(frame(1, 2));
        passage.reach(frame(2, 3));
        let (reached, overtaken) = passage.pull(&frame(2, 0).mark);
        let reached = reached.unwrap();
        assert_eq!((reached.arrived, overtaken), (after(2), 1));
        assert_eq!((reached.skipped, reached.behind), (5, 2));
        assert_eq!(passage.pull(&frame(2, 0).mark).1, 0);
    }
}
