//! The seam between supervision, which is pure, and the library that reads streams.

use std::sync::Arc;
use std::time::Duration;

use super::error::IngestError;
use super::spec::OpenRequest;
use crate::flow::frame::{Gap, Picture};
use crate::flow::packet::Packet;
use crate::flow::source::Duty;
use crate::flow::time::{CaptureTime, MediaTime, MonotonicTime};
use crate::telemetry::clock_offset::ClockOffset;

/// A decoded frame that has no place in its source's count yet.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Its pixels.
    pub picture: Picture,
    /// When it stands in its stream, where the stream says so.
    pub pts: Option<MediaTime>,
    /// When it was taken, where that is known.
    pub captured: Option<CaptureTime>,
    /// When its packet reached this program.
    pub arrived: MonotonicTime,
    /// Whether it can be decoded by itself.
    pub is_key: bool,
    /// What was overtaken or left undecoded since the frame before.
    pub gap: Gap,
    /// The duty level under which it was decoded.
    pub duty: Duty,
}

/// What a piece of telemetry is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TelemetryKind {
    /// MISB ST 0601 and relatives, key-length-value.
    Klv,
    /// A line of text timed to the picture (DJI writes its pose there).
    Subtitle,
    /// ONVIF metadata, XML.
    Onvif,
}

/// Telemetry that travels beside the picture, unread.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// What it is written in.
    pub kind: TelemetryKind,
    /// The bytes as they came.
    pub bytes: Arc<[u8]>,
    /// When it stands in its stream, on the same line as the frames.
    pub pts: MediaTime,
    /// When it reached this program.
    pub arrived: MonotonicTime,
}

/// What one look at a reader yields.
#[derive(Debug)]
pub enum Read {
    /// A decoded frame.
    Frame(Decoded),
    /// Telemetry from a track beside the video.
    Telemetry(Telemetry),
    /// Nothing came in time.
    Nothing,
    /// The stream says that it is over; for a live source that means lost.
    Ended,
    /// The stream broke.
    Failed(IngestError),
}

/// What a reader has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderCounts {
    /// Encoded access units that arrived.
    pub packets: u64,
    /// Of those, left undecoded on purpose because the duty level asks for key frames only.
    pub undecoded: u64,
    /// Of those, left undecoded because the decoder had fallen behind.
    pub behind: u64,
    /// Frames that came out of the decoder.
    pub decoded: u64,
    /// Of those, flagged as damaged by the decoder.
    pub damaged: u64,
    /// When the last packet arrived.
    pub last_packet: Option<MonotonicTime>,
    /// How long the container says the recording is.
    pub claimed_duration: Option<Duration>,
}

impl ReaderCounts {
    /// Returns how many access units were given to the decoder.
    #[must_use]
    pub const fn given(&self) -> u64 {
        self.packets.saturating_sub(self.undecoded + self.behind)
    }
}

/// An open source. Dropping it closes the source, within the deadline of a state change.
pub trait Reader: Send {
    /// Waits up to `timeout` for the next thing.
    fn read(&mut self, timeout: Duration) -> Read;

    /// Returns what was counted so far.
    fn counts(&self) -> ReaderCounts;

    /// Returns which decoder reads the stream, once that is known (`avdec_h264`, `vah264dec`).
    fn decoder(&self) -> Option<String>;

    /// Returns how far the camera's clock is off, where its stream says what time it is there.
    fn clock_offset(&self) -> Option<ClockOffset> {
        None
    }
}

/// Opens sources.
pub trait Opener: Send + Sync {
    /// Opens a source; returns as soon as it is started, not when its first frame is there.
    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>, IngestError>;

    /// Returns a cheap way to find out whether the server of a lost source answers again, where there is one.
    fn doorbell(&self, request: &OpenRequest) -> Option<Box<dyn Doorbell>> {
        let _ = request;
        None
    }
}

/// Asks a lost server whether it is back, so that a long wait before the next attempt can be cut short.
pub trait Doorbell: Send {
    /// Says whether the server answers; takes a fraction of a second at most.
    fn is_answered(&mut self) -> bool;
}

/// Takes the encoded packets on the thread that received them: it must be quick and must not block.
pub trait PacketTap: Send + Sync {
    /// Takes one packet; they come in decoding order.
    fn packet(&self, packet: Packet);

    /// Says that the packets that follow do not continue those before (a reconnect).
    fn discontinuity(&self);
}
