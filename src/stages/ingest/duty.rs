//! Which access units are decoded at the duty level of the moment.
//!
//! The decoder's own switch cannot do it: `skip-frame` of `avdec_h264` does nothing in GStreamer 1.22, its values are
//! not those of the library below. So packets are dropped before the decoder, where that costs nothing.
//!
//! A decoder that has fallen behind is spared in the same place: what comes up to the next key frame is left out, so that
//! no picture is decoded that refers to a missing one. Where key frames are further apart than patrol's bound, it goes on
//! with the first packet instead: a picture that heals is better than none for so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::flow::source::{Duty, Liveness};
use crate::flow::time::MediaTime;
use crate::pipeline::admission::Thinning;

/// How hard a source is watched: set by the pipeline, obeyed by the reader. Shared between their threads.
#[derive(Debug)]
pub struct DutyControl {
    wanted: AtomicU8,
    falls_back: AtomicBool,
    key_frame_distance_ns: AtomicU64,
    thinning: Arc<Thinning>,
}

impl DutyControl {
    /// Makes a control at a level.
    #[must_use]
    pub fn new(duty: Duty) -> Self {
        Self {
            wanted: AtomicU8::new(code(duty)),
            falls_back: AtomicBool::new(false),
            key_frame_distance_ns: AtomicU64::new(0),
            thinning: Arc::default(),
        }
    }

    /// Obeys what gives way when the machine is full.
    #[must_use]
    pub fn thinned_by(mut self, thinning: Arc<Thinning>) -> Self {
        self.thinning = thinning;
        self
    }

    /// Returns the level that was asked for.
    #[must_use]
    pub fn wanted(&self) -> Duty {
        match self.wanted.load(Ordering::Relaxed) {
            0 => Duty::Patrol,
            1 => Duty::Watch,
            _ => Duty::Alarm,
        }
    }

    /// Asks for a level; the reader obeys with the next packet, and on the way up from patrol with the next key frame.
    pub fn set(&self, duty: Duty) {
        self.wanted.store(code(duty), Ordering::Relaxed);
    }

    /// Returns the level in force: watch instead of patrol where the stream's key frames are too far apart.
    #[must_use]
    pub fn effective(&self) -> Duty {
        match self.wanted() {
            Duty::Patrol if self.falls_back() => Duty::Watch,
            duty => duty,
        }
    }

    /// Says whether key frames are too far apart for patrol.
    #[must_use]
    pub fn falls_back(&self) -> bool {
        self.falls_back.load(Ordering::Relaxed)
    }

    /// Returns the distance between the last two key frames, once two were seen.
    #[must_use]
    pub fn key_frame_distance(&self) -> Option<Duration> {
        match self.key_frame_distance_ns.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

const fn code(duty: Duty) -> u8 {
    match duty {
        Duty::Patrol => 0,
        Duty::Watch => 1,
        Duty::Alarm => 2,
    }
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is decoded.
    Decoded,
    /// It is left out on purpose: the duty level does not ask for it, or what it refers to was left out.
    LeftOut,
    /// It is lost, because the decoder had fallen behind.
    Behind,
}

/// How many key frames in a row must come within the bound before patrol is trusted again.
const KEY_FRAMES_TO_TRUST: u32 = 2;

/// No more than this counts between two packets of a live stream, or twice the step before where pictures come seldom.
/// After a pause of the network, or of this machine, the library gives the late packets the time of their arrival: taken
/// for a distance of key frames, that would make patrol decode everything on a machine that is too full already.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// Decides for one connection which packets reach the decoder. Not shared: it lives where the packets pass.
#[derive(Debug)]
pub struct KeyFrameGate {
    bound: Duration,
    longest_step: Duration,
    last_step: Duration,
    newest: Option<MediaTime>,
    has_key: bool,
    /// Media time since the last key frame, or since the first packet.
    since_key: Duration,
    /// Whether the decoder holds the pictures that the next delta refers to.
    is_decodable: bool,
    /// Whether that is so because the decoder had fallen behind.
    is_broken_off: bool,
    in_bound_in_a_row: u32,
    /// Key frames since the last one that patrol decoded.
    due: u32,
}

impl KeyFrameGate {
    /// Makes a gate that trusts key frames at most `bound` apart.
    #[must_use]
    pub const fn new(bound: Duration, liveness: Liveness) -> Self {
        Self {
            bound,
            longest_step: match liveness {
                Liveness::Live => LONGEST_STEP,
                Liveness::Recorded => Duration::MAX,
            },
            last_step: Duration::ZERO,
            newest: None,
            has_key: false,
            since_key: Duration::ZERO,
            is_decodable: false,
            is_broken_off: false,
            in_bound_in_a_row: 0,
            // The first is decoded, however full the machine is: it shows that the camera lives.
            due: u32::MAX,
        }
    }

    /// Says what becomes of a packet while the decoder `is_behind` or is not. One without a time counts as no later than
    /// the one before.
    pub fn judge(
        &mut self,
        control: &DutyControl,
        pts: Option<MediaTime>,
        is_key: bool,
        is_behind: bool,
    ) -> Verdict {
        let pts = pts.or(self.newest).unwrap_or_default();
        let is_admitted = self.admits(control, pts, is_key);
        if is_admitted && is_behind {
            self.is_decodable = false;
            self.is_broken_off = true;
            return Verdict::Behind;
        }
        if is_admitted {
            self.is_broken_off = false;
            return Verdict::Decoded;
        }
        if self.is_broken_off {
            Verdict::Behind
        } else {
            Verdict::LeftOut
        }
    }

    /// Says whether a packet is to be decoded, and tells the control what was seen of the key frames.
    pub fn admits(&mut self, control: &DutyControl, pts: MediaTime, is_key: bool) -> bool {
        self.advance(pts);
        if is_key {
            if self.has_key {
                self.observe(control, self.since_key);
            }
            self.has_key = true;
            self.since_key = Duration::ZERO;
            self.due = self.due.saturating_add(1);
            self.is_decodable =
                control.effective() != Duty::Patrol || self.due >= control.thinning.one_of(Duty::Patrol);
            if self.is_decodable {
                self.due = 0;
            }
            return self.is_decodable;
        }
        if self.since_key > self.bound && !control.falls_back() {
            self.in_bound_in_a_row = 0;
            control.falls_back.store(true, Ordering::Relaxed);
        }
        match control.effective() {
            Duty::Patrol => {
                self.leave_out();
                false
            }
            Duty::Watch if control.thinning.watches_key_frames() && !control.falls_back() => {
                self.leave_out();
                false
            }
            // A stream that refreshes in stripes has no key frames: the decoder heals by itself after some deltas.
            Duty::Watch | Duty::Alarm => {
                self.is_decodable |= control.falls_back();
                self.is_decodable
            }
        }
    }

    fn advance(&mut self, pts: MediaTime) {
        let newest = *self.newest.get_or_insert(pts);
        let step = pts.since(newest);
        self.since_key += step.min(self.longest_step.max(self.last_step * 2));
        // Pictures out of order step back by less than a second.
        if pts > newest || newest.since(pts) > LONGEST_STEP {
            self.newest = Some(pts);
            self.last_step = step;
        }
    }

    const fn leave_out(&mut self) {
        self.is_decodable = false;
        self.is_broken_off = false;
    }

    fn observe(&mut self, control: &DutyControl, distance: Duration) {
        let nanos = u64::try_from(distance.as_nanos()).unwrap_or(u64::MAX);
        control.key_frame_distance_ns.store(nanos, Ordering::Relaxed);
        self.in_bound_in_a_row = if distance <= self.bound {
            self.in_bound_in_a_row + 1
        } else {
            0
        };
        if self.in_bound_in_a_row >= KEY_FRAMES_TO_TRUST {
            control.falls_back.store(false, Ordering::Relaxed);
        } else if distance > self.bound {
            control.falls_back.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::admission::STEPS;

    const BOUND: Duration = Duration::from_secs(10);

    /// Sends 25 packets a second with a key frame each `gop` packets, and returns which were admitted.
    fn admitted(
        gate: &mut KeyFrameGate,
        control: &DutyControl,
        packets: std::ops::Range<i64>,
        gop: i64,
    ) -> Vec<i64> {
        packets
            .filter(|&index| {
                gate.admits(
                    control,
                    MediaTime::from_nanos(index * 40_000_000),
                    index % gop == 0,
                )
            })
            .collect()
    }

    #[test]
    fn patrol_decodes_key_frames_only() {
        let control = DutyControl::new(Duty::Patrol);
        let mut gate = KeyFrameGate::new(BOUND, Liveness::Live);
        assert_eq!(admitted(&mut gate, &control, 0..200, 50), [0, 50, 100, 150]);
        assert_eq!(control.key_frame_distance(), Some(Duration::from_secs(2)));
        assert_eq!(control.effective(), Duty::Patrol);
    }

    #[test]
    fn on_the_way_up_deltas_wait_for_the_next_key_frame() {
        let control = DutyControl::new(Duty::Patrol);
        let mut gate = KeyFrameGate::new(BOUND, Liveness::Live);
        admitted(&mut gate, &control, 0..60, 50);
        control.set(Duty::Alarm);
        assert_eq!(
            admitted(&mut gate, &control, 60..105, 50),
            [100, 101, 102, 103, 104]
        );
    }

    #[test]
    fn a_stream_is_joined_at_its_first_key_frame() {
        let control = DutyControl::new(Duty::Watch);
        let mut gate = KeyFrameGate::new(BOUND, Liveness::Live);
        assert_eq!(admitted(&mut gate, &control, 48..53, 50), [50, 51, 52]);
    }

    #[test]
    fn a_full_machine_decodes_fewer_key_frames_of_patrol_and_in_the_end_only_those_of_watch() {
        let thinning = Arc::new(Thinning::default());
        let control = |duty| DutyControl::new(duty).thinned_by(Arc::clone(&thinning));
        let seen = |step, duty| {
            thinning.set(step);
            let control = control(duty);
            let seen = admitted(
                &mut KeyFrameGate::new(BOUND, Liveness::Live),
                &control,
                0..500,
                50,
            );
            assert!(!control.falls_back());
            seen
        };
        assert_eq!(seen(2, Duty::Patrol), [0, 200, 400]);
        assert_eq!(seen(3, Duty::Patrol), [0, 400]);
        assert_eq!(
            seen(STEPS, Duty::Watch),
            [0, 50, 100, 150, 200, 250, 300, 350, 400, 450]
        );
        assert_eq!(seen(STEPS - 1, Duty::Watch).len(), 500);
        assert_eq!(seen(STEPS, Duty::Alarm).len(), 500);
        // Without key frames watch has nothing else to look at.
        thinning.set(STEPS);
        let all = admitted(
            &mut KeyFrameGate::new(BOUND, Liveness::Live),
            &control(Duty::Watch),
            0..500,
            1000,
        );
        assert!(all.len() > 200, "{}", all.len());
    }

    #[test]
    fn key_frames_too_far_apart_make_patrol_watch_and_near_ones_make_it_patrol_again() {
        let control = DutyControl::new(Duty::Patrol);
        let mut gate = KeyFrameGate::new(BOUND, Liveness::Live);
        // 400 packets are 16 s: after 10 s without a key frame all is decoded.
        let seen = admitted(&mut gate, &control, 0..400, 1000);
        assert_eq!(seen, std::iter::once(0).chain(251..400).collect::<Vec<_>>());
        assert_eq!(control.effective(), Duty::Watch);
        // Key frames at 400, 450, 500, 550: the distances 2 s at 450 and 500 are trusted.
        let seen = admitted(&mut gate, &control, 400..600, 50);
        assert!(seen.contains(&499) && !seen.contains(&501) && seen.contains(&550));
        assert_eq!(control.effective(), Duty::Patrol);
    }

    #[test]
    fn a_decoder_that_has_fallen_behind_goes_on_at_the_next_key_frame() {
        let judged = |duty, gop: i64, behind: std::ops::Range<i64>| {
            let control = DutyControl::new(duty);
            let mut gate = KeyFrameGate::new(BOUND, Liveness::Live);
            let verdicts: Vec<_> = (0..150)
                .map(|index| {
                    let pts = MediaTime::from_nanos(index * 40_000_000);
                    gate.judge(&control, Some(pts), index % gop == 0, behind.contains(&index))
                })
                .collect();
            let places = |wanted| -> Vec<i64> {
                (0..)
                    .zip(&verdicts)
                    .filter(|(_, it)| **it == wanted)
                    .map(|(place, _)| place)
                    .collect()
            };
            (places(Verdict::Behind), places(Verdict::LeftOut).len())
        };
        // Behind for a moment in the middle, and over a key frame.
        assert_eq!(judged(Duty::Watch, 50, 60..62), ((60..100).collect(), 0));
        assert_eq!(judged(Duty::Alarm, 50, 40..60), ((40..100).collect(), 0));
        // On patrol a key frame alone is lost.
        assert_eq!(judged(Duty::Patrol, 50, 40..60), (vec![50], 147));
    }

    #[test]
    fn a_pause_of_the_network_is_no_distance_of_key_frames() {
        let control = DutyControl::new(Duty::Patrol);
        let mut gate = KeyFrameGate::new(BOUND, Liveness::Live);
        for index in 0..300 {
            // Two pauses longer than the bound, between key frames.
            let late = [60, 160].iter().filter(|&&pause| index >= pause).count() as i64;
            let pts = MediaTime::from_nanos(index * 40_000_000 + late * 15_000_000_000);
            gate.admits(&control, pts, index % 50 == 0);
            assert!(!control.falls_back(), "{index}");
        }
        assert_eq!(control.key_frame_distance(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn key_frames_of_a_slow_stream_and_of_a_recording_are_as_far_apart_as_they_say() {
        // A picture each four seconds, a key frame each third.
        for liveness in [Liveness::Live, Liveness::Recorded] {
            let control = DutyControl::new(Duty::Patrol);
            let mut gate = KeyFrameGate::new(BOUND, liveness);
            for index in 0..9 {
                gate.admits(
                    &control,
                    MediaTime::from_nanos(index * 4_000_000_000),
                    index % 3 == 0,
                );
            }
            assert_eq!(control.key_frame_distance(), Some(Duration::from_secs(12)));
            assert!(control.falls_back());
        }
        // A recording with a pause in it, and a packet without a time.
        let control = DutyControl::new(Duty::Patrol);
        let mut gate = KeyFrameGate::new(BOUND, Liveness::Recorded);
        for (seconds, is_key) in [(Some(0), true), (None, false), (Some(8), false), (Some(9), true)] {
            let pts = seconds.map(|seconds| MediaTime::from_nanos(seconds * 1_000_000_000));
            gate.judge(&control, pts, is_key, false);
        }
        assert_eq!(control.key_frame_distance(), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_stream_without_any_key_frame_is_decoded_after_the_bound() {
        let control = DutyControl::new(Duty::Patrol);
        let mut gate = KeyFrameGate::new(BOUND, Liveness::Live);
        let seen = (0..300)
            .filter(|&index| gate.admits(&control, MediaTime::from_nanos(index * 40_000_000), false))
            .count();
        assert_eq!(seen, 49);
        assert!(control.falls_back());
    }
}
