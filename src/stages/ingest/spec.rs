//! What the configuration says of one source.

use std::sync::Arc;
use std::time::Duration;

use super::duty::DutyControl;
use super::location::{Credentials, Location};
use super::reader::PacketTap;
use crate::flow::source::{Liveness, SourceId};
use crate::flow::time::MediaTime;

/// How RTSP carries the pictures.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Inside the RTSP connection: nothing is lost, the default.
    #[default]
    Tcp,
    /// In datagrams of their own: less delay, and losses show as broken pictures.
    Udp,
}

/// Which decoder reads the stream.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DecoderChoice {
    /// Hardware where GStreamer has it, otherwise software; which one is used is reported.
    #[default]
    Auto,
    /// The processor.
    Software,
    /// VA-API (Intel, AMD); its absence is an error.
    VaApi,
    /// NVIDIA; its absence is an error.
    NvDec,
    /// `Video4Linux` 2 (single-board computers); its absence is an error.
    V4l2,
}

impl DecoderChoice {
    /// Returns the word used in configuration and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Software => "software",
            Self::VaApi => "va_api",
            Self::NvDec => "nv_dec",
            Self::V4l2 => "v4l2",
        }
    }
}

/// How long each thing may take before the source counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For each change of state of the pipeline; one that takes longer is abandoned.
    pub state_change: Duration,
    /// From opening to the first packet.
    pub first_packet: Duration,
    /// From opening or from the last packet to calling the source blind and building it anew.
    pub blind: Duration,
    /// Added to two frame periods: silence longer than that is called stalled.
    pub stalled: Duration,
    /// From the last decoded frame, while packets arrive, to building anew.
    pub undecodable: Duration,
    /// For a recording: from the last progress to giving up.
    pub recorded_progress: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            state_change: Duration::from_secs(5),
            first_packet: Duration::from_secs(10),
            blind: Duration::from_secs(5),
            stalled: Duration::from_secs(2),
            undecodable: Duration::from_secs(20),
            recorded_progress: Duration::from_mins(1),
        }
    }
}

/// All that is needed to open a source.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// Its name.
    pub id: SourceId,
    /// Where its large stream is.
    pub location: Location,
    /// Where its small stream is, when detection runs on that one and evidence is cut from the large one.
    pub detect: Option<Location>,
    /// Declared, never guessed.
    pub liveness: Liveness,
    /// How RTSP carries the pictures.
    pub transport: Transport,
    /// How long packets of a live source wait for stragglers.
    pub latency: Duration,
    /// Which decoder reads the stream.
    pub decoder: DecoderChoice,
    /// How many threads a software decoder may use; live sources use 1, because there are as many sources as cores.
    pub decoder_threads: u32,
    /// What the camera asks for; never printed.
    pub credentials: Option<Credentials>,
    /// How long each thing may take.
    pub deadlines: Deadlines,
    /// Key frames further apart than this make patrol fall back to watch.
    pub key_frame_bound: Duration,
    /// A live frame older than this is not worth inferring.
    pub max_staleness: Duration,
    /// The same picture for this long is called frozen; zero never calls it that.
    pub frozen_after: Duration,
    /// A picture without structure for this long is called covered; zero never calls it that.
    pub covered_after: Duration,
    /// The largest width or height taken, in pixels.
    pub max_side: u32,
    /// The largest decoded picture taken, in bytes; a decoder holds up to twenty of them.
    pub max_picture_bytes: u64,
}

impl SourceSpec {
    /// Describes a live camera with the defaults of this program.
    #[must_use]
    pub fn live(id: SourceId, location: Location) -> Self {
        Self {
            id,
            location,
            detect: None,
            liveness: Liveness::Live,
            transport: Transport::Tcp,
            latency: Duration::from_millis(200),
            decoder: DecoderChoice::Auto,
            decoder_threads: 1,
            credentials: None,
            deadlines: Deadlines::default(),
            key_frame_bound: Duration::from_secs(10),
            max_staleness: Duration::from_millis(500),
            frozen_after: Duration::from_secs(30),
            covered_after: Duration::from_secs(10),
            max_side: 16_384,
            max_picture_bytes: 512 << 20,
        }
    }

    /// Describes a recording with the defaults of this program: nothing is lost and no health is judged.
    #[must_use]
    pub fn recorded(id: SourceId, location: Location) -> Self {
        Self {
            liveness: Liveness::Recorded,
            decoder_threads: 2,
            frozen_after: Duration::ZERO,
            covered_after: Duration::ZERO,
            ..Self::live(id, location)
        }
    }

    /// Returns where detection reads: the small stream where there is one.
    #[must_use]
    pub fn detection_location(&self) -> &Location {
        self.detect.as_ref().unwrap_or(&self.location)
    }

    /// Says whether evidence comes from another stream than detection, which then needs a second reader without a
    /// decoder (see [`OpenRequest::evidence_only`]).
    #[must_use]
    pub const fn has_separate_evidence(&self) -> bool {
        self.detect.is_some()
    }
}

/// One attempt to open a source.
#[derive(Clone)]
pub struct OpenRequest {
    /// Which source.
    pub spec: Arc<SourceSpec>,
    /// How hard it is watched, now and later.
    pub duty: Arc<DutyControl>,
    /// Who wants the encoded packets; nobody is cheaper.
    pub tap: Option<Arc<dyn PacketTap>>,
    /// Where the first packet of a live source stands in media time, so that media time goes on over reconnects.
    pub origin: MediaTime,
    /// Which part of a recording is wanted; the decoder starts at the key frame before and delivers from `start`.
    pub window: Option<MediaWindow>,
    /// Read the large stream for its packets and decode nothing.
    pub evidence_only: bool,
}

impl OpenRequest {
    /// Asks for the whole source, decoded, from the start, without a tap.
    #[must_use]
    pub fn new(spec: Arc<SourceSpec>, duty: Arc<DutyControl>) -> Self {
        Self {
            spec,
            duty,
            tap: None,
            origin: MediaTime::ZERO,
            window: None,
            evidence_only: false,
        }
    }

    /// Returns where this request reads.
    #[must_use]
    pub fn location(&self) -> &Location {
        if self.evidence_only {
            &self.spec.location
        } else {
            self.spec.detection_location()
        }
    }

    /// Says whether packets wait for the decoder in a queue of their own.
    ///
    /// They do where the sender sets the pace: a decoder that stops the receiving for a moment makes somebody in front of
    /// it drop packets, which breaks pictures. A recording and a playlist are fetched at the pace of the decoder.
    #[must_use]
    pub fn queues_packets(&self) -> bool {
        self.spec.liveness == Liveness::Live
            && matches!(
                self.location(),
                Location::Rtsp(_) | Location::Rtmp(_) | Location::Srt(_) | Location::Udp(_)
            )
    }
}

/// A part of a recording: half-open, in media time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaWindow {
    /// The first moment wanted.
    pub start: MediaTime,
    /// The first moment not wanted any more; none reads to the end.
    pub end: Option<MediaTime>,
}
