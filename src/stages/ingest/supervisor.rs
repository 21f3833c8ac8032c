//! Judges a live source by what arrives and when: a pure state machine, told the time and asked for a verdict.

use std::time::Duration;

use super::backoff::{Backoff, HEALTHY_AFTER};
use super::error::IngestErrorKind;
use super::health::Sight;
use super::spec::Deadlines;
use crate::flow::source::SourceState;
use crate::flow::time::MonotonicTime;

/// A source's state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The state before.
    pub from: SourceState,
    /// The state now.
    pub to: SourceState,
    /// Why, where something went wrong.
    pub reason: Option<IngestErrorKind>,
    /// When.
    pub at: MonotonicTime,
}

/// What is to be done with a connection on which nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may still come.
    Wait,
    /// It will not: tear down and build anew.
    Rebuild(IngestErrorKind),
}

/// A decoder keeps some packets for itself before it gives the first picture back; so many in vain are too many.
const GIVEN_IN_VAIN: u64 = 4;

/// Supervises one live source over all its connections.
#[derive(Debug)]
pub struct Supervisor {
    deadlines: Deadlines,
    decodes: bool,
    backoff: Backoff,
    state: SourceState,
    opened: MonotonicTime,
    /// When the present outage began: the first opening, or the last sign of life.
    last_sign: MonotonicTime,
    first_packet: Option<MonotonicTime>,
    last_packet: Option<MonotonicTime>,
    last_frame: Option<MonotonicTime>,
    packets: u64,
    /// How many packets the decoder was given, and how many of them before its last frame.
    given: u64,
    given_before_frame: u64,
    healthy_since: Option<MonotonicTime>,
}

impl Supervisor {
    /// Makes a supervisor of a source that is about to be opened. A source that is read for its packets only (`decodes`
    /// false) lives by packets alone.
    #[must_use]
    pub fn new(deadlines: Deadlines, decodes: bool, seed: u64, now: MonotonicTime) -> Self {
        Self {
            deadlines,
            decodes,
            backoff: Backoff::new(seed),
            state: SourceState::Connecting,
            opened: now,
            last_sign: now,
            first_packet: None,
            last_packet: None,
            last_frame: None,
            packets: 0,
            given: 0,
            given_before_frame: 0,
            healthy_since: None,
        }
    }

    /// Returns the state.
    #[must_use]
    pub const fn state(&self) -> SourceState {
        self.state
    }

    /// Returns how many attempts failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// A new connection begins.
    pub const fn opening(&mut self, now: MonotonicTime) {
        self.opened = now;
        self.first_packet = None;
        self.last_packet = None;
        self.last_frame = None;
        self.packets = 0;
        self.given = 0;
        self.given_before_frame = 0;
        self.healthy_since = None;
    }

    /// Packets were counted on this connection, the last of them at `last`; so many were `given` to the decoder.
    pub fn packets(&mut self, count: u64, given: u64, last: Option<MonotonicTime>) -> Option<StateChange> {
        let last = last?;
        self.given = given;
        if self.last_packet.is_some_and(|known| last <= known) {
            return None;
        }
        self.first_packet.get_or_insert(last);
        self.last_packet = Some(last);
        self.packets = count;
        if self.decodes {
            None
        } else {
            self.lives(last, SourceState::Live)
        }
    }

    /// A frame was decoded, and this is what it shows.
    pub fn frame(&mut self, sight: Sight, now: MonotonicTime) -> Option<StateChange> {
        self.last_frame = Some(now);
        self.given_before_frame = self.given;
        self.lives(
            now,
            match sight {
                Sight::Clear => SourceState::Live,
                Sight::Frozen => SourceState::Frozen,
                Sight::Covered => SourceState::Covered,
            },
        )
    }

    /// Nothing came: says whether to wait on, and how the state changed by it.
    pub fn silence(&mut self, now: MonotonicTime) -> (Verdict, Option<StateChange>) {
        let two_periods = self.period().saturating_mul(2);
        let blind_after = self.deadlines.blind + two_periods;
        let Some(last_packet) = self.last_packet else {
            let change = if now.since(self.last_sign) >= blind_after {
                self.change(SourceState::Blind, Some(IngestErrorKind::Silent), now)
            } else {
                None
            };
            let is_over = now.since(self.opened) >= self.deadlines.first_packet;
            return (
                if is_over {
                    Verdict::Rebuild(IngestErrorKind::Silent)
                } else {
                    Verdict::Wait
                },
                change,
            );
        };
        let silent_for = now.since(last_packet);
        if silent_for >= blind_after {
            let change = self.change(SourceState::Blind, Some(IngestErrorKind::Silent), now);
            return (Verdict::Rebuild(IngestErrorKind::Silent), change);
        }
        let undecoded_for = now.since(self.last_frame.unwrap_or(self.opened));
        // A full machine gives the decoder a key frame now and then: that none came back is no fault yet.
        let is_fed = self.given.saturating_sub(self.given_before_frame) >= GIVEN_IN_VAIN;
        if self.decodes && is_fed && undecoded_for >= self.deadlines.undecodable {
            let change = self.change(SourceState::Blind, Some(IngestErrorKind::Undecodable), now);
            return (Verdict::Rebuild(IngestErrorKind::Undecodable), change);
        }
        let is_seen = matches!(
            self.state,
            SourceState::Live | SourceState::Frozen | SourceState::Covered
        );
        let change = if is_seen && silent_for >= self.deadlines.stalled + two_periods {
            self.change(SourceState::Stalled, None, now)
        } else {
            None
        };
        (Verdict::Wait, change)
    }

    /// The connection failed or could not be made: says how long to wait before the next, and how the state changed.
    pub fn failed(&mut self, kind: IngestErrorKind, now: MonotonicTime) -> (Duration, Option<StateChange>) {
        if self
            .healthy_since
            .is_some_and(|since| now.since(since) >= HEALTHY_AFTER)
        {
            self.backoff.reset();
        }
        let wait = if kind == IngestErrorKind::Unauthorised {
            self.backoff.longest_wait()
        } else {
            self.backoff.next_wait()
        };
        // Whatever the reason, nobody is watching through this camera now.
        (wait, self.change(SourceState::Blind, Some(kind), now))
    }

    fn lives(&mut self, now: MonotonicTime, state: SourceState) -> Option<StateChange> {
        self.last_sign = now;
        self.healthy_since.get_or_insert(now);
        self.change(state, None, now)
    }

    /// Returns the mean time between packets on this connection, zero while unknown.
    fn period(&self) -> Duration {
        match (
            self.first_packet,
            self.last_packet,
            u32::try_from(self.packets.saturating_sub(1)),
        ) {
            (Some(first), Some(last), Ok(intervals)) if intervals > 0 => {
                // A camera that sends less than one picture in 30 s is not a camera.
                (last.since(first) / intervals).min(Duration::from_secs(30))
            }
            _ => Duration::ZERO,
        }
    }

    fn change(
        &mut self,
        to: SourceState,
        reason: Option<IngestErrorKind>,
        at: MonotonicTime,
    ) -> Option<StateChange> {
        let from = std::mem::replace(&mut self.state, to);
        (from != to).then_some(StateChange { from, to, reason, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(millis))
    }

    fn opened() -> Supervisor {
        let mut supervisor = Supervisor::new(Deadlines::default(), true, 7, at(0));
        supervisor.opening(at(0));
        supervisor
    }

    /// Lets 25 frames a second arrive between two times in milliseconds.
    fn stream(supervisor: &mut Supervisor, from: u64, to: u64) {
        for (index, time) in (from..to).step_by(40).enumerate() {
            supervisor.packets(index as u64 + 1, index as u64 + 1, Some(at(time)));
            supervisor.frame(Sight::Clear, at(time));
        }
    }

    #[test]
    fn a_first_frame_makes_a_source_live() {
        let mut supervisor = opened();
        assert_eq!(supervisor.state(), SourceState::Connecting);
        supervisor.packets(1, 1, Some(at(300)));
        let change = supervisor
            .frame(Sight::Clear, at(310))
            .expect("the state changes");
        assert_eq!(
            (change.from, change.to),
            (SourceState::Connecting, SourceState::Live)
        );
        assert_eq!(supervisor.frame(Sight::Clear, at(350)), None);
    }

    #[test]
    fn silence_is_first_stalled_then_blind_and_rebuilt() {
        let mut supervisor = opened();
        stream(&mut supervisor, 0, 10_000);
        assert_eq!(supervisor.silence(at(11_900)), (Verdict::Wait, None));
        let (verdict, change) = supervisor.silence(at(12_100));
        assert_eq!(verdict, Verdict::Wait);
        assert_eq!(change.map(|change| change.to), Some(SourceState::Stalled));
        let (verdict, change) = supervisor.silence(at(15_100));
        assert_eq!(verdict, Verdict::Rebuild(IngestErrorKind::Silent));
        assert_eq!(change.map(|change| change.to), Some(SourceState::Blind));
    }

    #[test]
    fn a_slow_camera_is_given_two_periods_more() {
        let mut supervisor = opened();
        for index in 0..5_u64 {
            supervisor.packets(index + 1, index + 1, Some(at(index * 4_000)));
            supervisor.frame(Sight::Clear, at(index * 4_000));
        }
        assert_eq!(supervisor.silence(at(16_000 + 9_900)), (Verdict::Wait, None));
        assert_eq!(
            supervisor.silence(at(16_000 + 10_100)).1.map(|change| change.to),
            Some(SourceState::Stalled)
        );
        assert_eq!(
            supervisor.silence(at(16_000 + 13_100)).0,
            Verdict::Rebuild(IngestErrorKind::Silent)
        );
    }

    #[test]
    fn a_server_that_says_nothing_is_blind_after_five_seconds_and_rebuilt_after_ten() {
        let mut supervisor = opened();
        assert_eq!(supervisor.silence(at(4_900)), (Verdict::Wait, None));
        assert_eq!(
            supervisor.silence(at(5_000)).1.map(|change| change.to),
            Some(SourceState::Blind)
        );
        assert_eq!(supervisor.silence(at(9_900)), (Verdict::Wait, None));
        assert_eq!(
            supervisor.silence(at(10_000)),
            (Verdict::Rebuild(IngestErrorKind::Silent), None)
        );
    }

    #[test]
    fn packets_without_a_picture_are_undecodable() {
        let mut supervisor = opened();
        for time in (0..21_000).step_by(40) {
            supervisor.packets(time / 40 + 1, time / 40 + 1, Some(at(time)));
        }
        assert_eq!(
            supervisor.silence(at(21_000)).0,
            Verdict::Rebuild(IngestErrorKind::Undecodable)
        );
    }

    #[test]
    fn a_decoder_that_is_given_a_key_frame_now_and_then_is_not_called_undecodable() {
        let mut supervisor = opened();
        supervisor.frame(Sight::Clear, at(0));
        for time in (0..60_000).step_by(40) {
            supervisor.packets(time / 40 + 1, time / 32_000, Some(at(time)));
        }
        assert_eq!(supervisor.silence(at(60_000)), (Verdict::Wait, None));
    }

    #[test]
    fn one_outage_is_one_blind_event_however_often_it_is_tried() {
        let mut supervisor = opened();
        stream(&mut supervisor, 0, 10_000);
        let (_, change) = supervisor.failed(IngestErrorKind::Lost, at(10_000));
        assert_eq!(
            change.map(|change| (change.to, change.reason)),
            Some((SourceState::Blind, Some(IngestErrorKind::Lost)))
        );
        for attempt in 0..20 {
            supervisor.opening(at(20_000 + attempt * 1_000));
            assert_eq!(
                supervisor
                    .failed(IngestErrorKind::Unreachable, at(20_100 + attempt * 1_000))
                    .1,
                None
            );
        }
        supervisor.opening(at(50_000));
        let change = supervisor.frame(Sight::Clear, at(50_200));
        assert_eq!(
            change.map(|change| (change.from, change.to)),
            Some((SourceState::Blind, SourceState::Live))
        );
    }

    #[test]
    fn only_a_minute_of_health_forgets_the_failures() {
        let mut supervisor = opened();
        for _ in 0..5 {
            supervisor.failed(IngestErrorKind::Unreachable, at(0));
        }
        supervisor.opening(at(0));
        stream(&mut supervisor, 0, 59_000);
        assert!(supervisor.failed(IngestErrorKind::Lost, at(59_000)).0 > Duration::from_secs(20));
        supervisor.opening(at(100_000));
        stream(&mut supervisor, 100_000, 161_000);
        assert!(supervisor.failed(IngestErrorKind::Lost, at(161_000)).0 < Duration::from_secs(2));
    }

    #[test]
    fn a_refused_password_is_not_tried_again_at_once() {
        let mut supervisor = opened();
        assert!(supervisor.failed(IngestErrorKind::Unauthorised, at(0)).0 >= Duration::from_secs(24));
    }

    #[test]
    fn a_source_read_for_its_packets_lives_by_packets() {
        let mut supervisor = Supervisor::new(Deadlines::default(), false, 7, at(0));
        supervisor.opening(at(0));
        assert_eq!(
            supervisor.packets(1, 1, Some(at(10))).map(|change| change.to),
            Some(SourceState::Live)
        );
        for time in (0..60_000).step_by(40) {
            supervisor.packets(time / 40 + 2, time / 40 + 2, Some(at(time + 50)));
        }
        assert_eq!(supervisor.silence(at(60_000)), (Verdict::Wait, None));
    }

    #[test]
    fn frozen_and_covered_are_states() {
        let mut supervisor = opened();
        supervisor.frame(Sight::Clear, at(0));
        assert_eq!(
            supervisor.frame(Sight::Frozen, at(40)).map(|change| change.to),
            Some(SourceState::Frozen)
        );
        assert_eq!(
            supervisor.frame(Sight::Covered, at(80)).map(|change| change.to),
            Some(SourceState::Covered)
        );
        assert_eq!(
            supervisor.frame(Sight::Clear, at(90)).map(|change| change.to),
            Some(SourceState::Live)
        );
    }
}
