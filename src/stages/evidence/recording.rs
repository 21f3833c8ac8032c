//! Cuts a clip out of a recording: reads the packets around the alarm, decodes nothing, keeps nothing else.
//!
//! A ring does not do here. A recording is read faster than it plays and ahead of its frames, by several groups of
//! pictures in patrol, so that the ring would have let go of the beginning of the clip.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::ring::{Clip, ClipLimits};
use crate::clock::Clock;
use crate::flow::packet::Packet;
use crate::flow::time::MediaTime;
use crate::stages::ingest::{
    DutyControl, IngestError, IngestStats, OpenRequest, Opener, PacketTap, SourceSpec, Surroundings,
    run_recorded,
};

/// Reads the packets from the key frame before `alarm - before` to `alarm + after`. `stop` is as in [`Surroundings`].
pub fn clip_of_recording(
    spec: &Arc<SourceSpec>,
    opener: &dyn Opener,
    clock: &dyn Clock,
    stop: &dyn Fn(Duration) -> bool,
    name: &str,
    alarm: MediaTime,
    limits: &ClipLimits,
) -> Result<Clip, IngestError> {
    let excerpt = Arc::new(Excerpt {
        from: alarm - limits.before,
        until: alarm + limits.after,
        bytes_at_most: limits.clip_bytes,
        shared: Mutex::default(),
    });
    let duty = Arc::new(DutyControl::new(crate::flow::source::Duty::Watch));
    let request = OpenRequest {
        tap: Some(excerpt.clone()),
        evidence_only: true,
        ..OpenRequest::new(Arc::clone(spec), duty)
    };
    let stats = IngestStats::default();
    let stop = |wait: Duration| excerpt.is_whole() || stop(wait);
    let around = Surroundings {
        clock,
        stop: &stop,
        stats: &stats,
    };
    run_recorded(&request, opener, &around, &mut |_| ControlFlow::Continue(()))?;
    let packets = std::mem::take(
        &mut excerpt
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .packets,
    );
    Ok(Clip {
        name: name.to_owned(),
        alarm,
        packets,
    })
}

/// Takes the packets of a span of time.
struct Excerpt {
    from: MediaTime,
    until: MediaTime,
    bytes_at_most: usize,
    shared: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    packets: Vec<Packet>,
    bytes: usize,
    is_whole: bool,
}

impl Excerpt {
    fn is_whole(&self) -> bool {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_whole
    }
}

impl PacketTap for Excerpt {
    fn packet(&self, packet: Packet) {
        let mut taken = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.is_whole {
            return;
        }
        if packet.is_key && packet.pts <= self.from {
            // What came before is not needed: decoding can begin here.
            taken.packets.clear();
            taken.bytes = 0;
        }
        // By decoding time: where pictures are reordered, one shown before the end may come after the first beyond it.
        let is_beyond = packet.dts.unwrap_or(packet.pts) >= self.until;
        if is_beyond || taken.bytes + packet.bytes.len() > self.bytes_at_most {
            taken.is_whole = true;
        } else if packet.is_key || !taken.packets.is_empty() {
            taken.bytes += packet.bytes.len();
            taken.packets.push(packet);
        }
    }

    fn discontinuity(&self) {}
}
