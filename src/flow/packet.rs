//! A packet is one encoded access unit, as it came out of its container or off the network.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::time::MediaTime;

/// How a video stream is encoded, as far as evidence needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264 (AVC).
    H264,
    /// H.265 (HEVC).
    H265,
    /// Anything else, by its media type.
    Other(Arc<str>),
}

impl fmt::Display for Codec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::H264 => formatter.write_str("H.264"),
            Self::H265 => formatter.write_str("H.265"),
            Self::Other(media_type) => formatter.write_str(media_type),
        }
    }
}

/// One encoded access unit. Cloning shares the bytes.
#[derive(Clone)]
pub struct Packet {
    /// The encoded bytes.
    pub bytes: Arc<[u8]>,
    /// When its picture is shown, on the same line as [`super::frame::FrameMeta::pts`].
    pub pts: MediaTime,
    /// When it must be decoded, where pictures are reordered.
    pub dts: Option<MediaTime>,
    /// For how long its picture is shown, where the stream says so.
    pub duration: Option<Duration>,
    /// Whether decoding can begin here.
    pub is_key: bool,
    /// How it is encoded.
    pub codec: Codec,
    /// The complete media type in the notation of GStreamer; two packets with different types cannot share a clip.
    pub media_type: Arc<str>,
}

impl fmt::Debug for Packet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_key { "key" } else { "delta" };
        write!(
            formatter,
            "{} {kind} {} {} bytes",
            self.codec,
            self.pts,
            self.bytes.len()
        )
    }
}
