//! MAVLink 1 and 2: from a `.tlog` file, or as bytes from UDP or TCP.
//!
//! Frames are found and checked here, over bytes that may hold anything; fields are read by the layout of the common
//! dialect, extensions included (a frame that ends early means zeros, as MAVLink 2 cuts them off).

mod frame;
mod message;

#[cfg(test)]
mod tests;

use super::log::{LogTime, TelemetryLog};
use super::sample::TelemetrySample;
use super::timeline::{Limits, Timeline};

pub use frame::Framing;
use frame::next_frame;
use message::Message;

/// How long a direction of the gimbal itself is preferred to the one of the camera, in seconds.
const GIMBAL_PREFERRED_S: f64 = 1.0;

/// Bytes of a stream that are kept while a frame is incomplete.
const MOST_PENDING: usize = 1 << 16;

/// Turns the messages of one vehicle into samples. Each sample holds what one message says.
#[derive(Clone, Debug, Default)]
pub struct VehicleState {
    system: Option<u8>,
    /// Seconds to add to the time since boot to get UTC, and whether the vehicle said so itself.
    boot_to_unix_s: Option<(f64, bool)>,
    optics: crate::flow::pose::Optics,
    takeoff: Option<crate::flow::pose::Wgs84>,
    last_gimbal_s: Option<f64>,
    heading_deg: Option<f64>,
}

impl VehicleState {
    /// Takes a message. `received_unix_s` is when a ground station received it, where that is known.
    fn take(
        &mut self,
        system: u8,
        message: &Message,
        received_unix_s: Option<f64>,
    ) -> Option<TelemetrySample> {
        // One vehicle: the first that says where it is.
        if matches!(message, Message::Position { .. }) && self.system.is_none() {
            self.system = Some(system);
        }
        if self.system.is_some_and(|known| known != system) {
            return None;
        }
        if let Message::SystemTime { unix_s, boot_s } = message {
            self.boot_to_unix_s = Some((unix_s - boot_s, true));
            return None;
        }
        let boot_s = message.boot_s();
        if let Some(received_s) = received_unix_s.filter(|_| boot_s.is_finite()) {
            // A message arrives no earlier than it was sent: the smallest difference is the nearest to the truth.
            let difference_s = received_s - boot_s;
            match self.boot_to_unix_s {
                Some((_, true)) => {}
                Some((known_s, false)) if known_s <= difference_s && difference_s < known_s + 5.0 => {}
                _ => self.boot_to_unix_s = Some((difference_s, false)),
            }
        }
        let mut sample = TelemetrySample::default();
        sample.time.boot_s = Some(boot_s);
        message.put_into(&mut sample, self, boot_s);
        // What holds from now on was kept; without a time it is no sample.
        if !boot_s.is_finite() {
            return None;
        }
        sample.time.unix_s = self.boot_to_unix_s.map(|(offset_s, _)| boot_s + offset_s);
        sample.optics = self.optics;
        Some(sample)
    }
}

/// Reads samples out of a stream of bytes, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct MavlinkReader {
    pending: Vec<u8>,
    state: VehicleState,
    /// Frames whose checksum did not match.
    pub bad_checksums: u64,
    /// Bytes that belong to no frame.
    pub skipped_bytes: u64,
}

impl MavlinkReader {
    /// Takes bytes as they came, and returns the samples that they complete. `received_unix_s` is now, in UTC.
    pub fn push(&mut self, bytes: &[u8], received_unix_s: f64) -> Vec<TelemetrySample> {
        self.pending.extend_from_slice(bytes);
        let mut samples = Vec::new();
        let mut at = 0;
        loop {
            let rest = self.pending.get(at..).unwrap_or_default();
            let found = next_frame(rest, Framing::Stream, true);
            self.bad_checksums += found.bad_checksums;
            self.skipped_bytes += found.skipped as u64;
            at += found.skipped;
            let Some(frame) = found.frame else { break };
            if let Some(message) = Message::read(frame.id, frame.payload) {
                samples.extend(self.state.take(frame.system, &message, Some(received_unix_s)));
            }
            at += frame.length;
        }
        self.pending.drain(..at.min(self.pending.len()));
        if self.pending.len() > MOST_PENDING {
            self.skipped_bytes += self.pending.len() as u64;
            self.pending.clear();
        }
        samples
    }
}

/// Reads a `.tlog` file (a time before each frame) or a file of bare frames, and joins its messages: one sample for each
/// direction of the gimbal, or for each place where the gimbal says nothing.
#[must_use]
pub fn parse(bytes: &[u8]) -> TelemetryLog {
    let framing = Framing::of(bytes);
    let mut log = TelemetryLog::new("mavlink", LogTime::Boot);
    // The vehicle is known once it says where it is; messages before that are read with the same vehicle in mind.
    let mut state = VehicleState {
        system: first_vehicle(bytes, framing),
        ..VehicleState::default()
    };
    let mut parts: Vec<TelemetrySample> = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        let found = next_frame(rest, framing, false);
        log.bad_checksums += found.bad_checksums;
        log.skipped_bytes += found.skipped as u64;
        at += found.skipped;
        let Some(frame) = found.frame else {
            log.skipped_bytes += bytes.len().saturating_sub(at) as u64;
            break;
        };
        if let Some(message) = Message::read(frame.id, frame.payload) {
            parts.extend(state.take(frame.system, &message, frame.received_unix_s));
        }
        at += frame.length;
    }
    let offset = state.boot_to_unix_s;
    if offset.is_some() {
        log.clock = LogTime::Unix;
        // The last offset is the best one; all samples share it, so that their distances stay those of the vehicle.
        for part in &mut parts {
            part.time.unix_s = part
                .time
                .boot_s
                .zip(offset)
                .map(|(boot_s, (offset_s, _))| boot_s + offset_s);
        }
    }
    if let Some((_, false)) = offset {
        log.notes.push(
            "the vehicle never told the time: UTC is when the ground station received its messages".into(),
        );
    }
    log.samples = joined(&parts, log.clock);
    log
}

fn first_vehicle(bytes: &[u8], framing: Framing) -> Option<u8> {
    let mut at = 0;
    loop {
        let found = next_frame(bytes.get(at..)?, framing, false);
        let frame = found.frame?;
        if matches!(
            Message::read(frame.id, frame.payload),
            Some(Message::Position { .. })
        ) {
            return Some(frame.system);
        }
        at += found.skipped + frame.length;
    }
}

/// Joins what single messages say into whole samples.
fn joined(parts: &[TelemetrySample], clock: LogTime) -> Vec<TelemetrySample> {
    let timeline = Timeline::of_samples(clock, Limits::default(), parts);
    let has_gimbal = parts.iter().any(|part| part.gimbal.is_some());
    let mut joined: Vec<TelemetrySample> = Vec::new();
    for part in parts {
        let wanted = if has_gimbal {
            part.gimbal.is_some()
        } else {
            part.position.is_some() || part.flags.contains(crate::flow::pose::PoseFlag::NoFix)
        };
        let Some(at_s) = super::log::time_on(clock, part).filter(|_| wanted) else {
            continue;
        };
        // Where the parts around this moment are too far apart, the message stands alone.
        let mut sample = timeline.sample_at(at_s).map_or(*part, |(sample, _)| sample);
        sample.time = part.time;
        joined.push(sample);
    }
    joined
}
