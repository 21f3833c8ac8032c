//! What goes wrong between a camera and its first decoded frame, and what to do about it.

use std::fmt;

/// What kind of thing went wrong, which decides whether trying again can help and what the operator should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IngestErrorKind {
    /// The address is not one.
    BadLocation,
    /// The file, the folder or the path on the server does not exist.
    NotFound,
    /// The file or folder exists and may not be read.
    Unreadable,
    /// The file holds nothing.
    Empty,
    /// The file is not a video, whatever its name says.
    NotMedia,
    /// The file ends before its index or its first picture.
    Truncated,
    /// There is sound or data, but no picture.
    NoVideo,
    /// No decoder on this machine knows the codec.
    UnsupportedCodec,
    /// The decoder that was asked for is not on this machine.
    DecoderMissing,
    /// A part of GStreamer is not installed.
    PluginMissing,
    /// The camera refused the user or the password.
    Unauthorised,
    /// Nothing answers at the address.
    Unreachable,
    /// The server accepted the connection and then said nothing.
    Silent,
    /// The stream was there and ended or broke.
    Lost,
    /// Packets arrive and no picture can be made of them.
    Undecodable,
    /// The picture is larger than this program takes.
    TooLarge,
    /// GStreamer did not finish a change of state within its deadline.
    Hung,
    /// The library reported something else.
    Other,
}

impl IngestErrorKind {
    /// Returns the word used in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadLocation => "bad_location",
            Self::NotFound => "not_found",
            Self::Unreadable => "unreadable",
            Self::Empty => "empty",
            Self::NotMedia => "not_media",
            Self::Truncated => "truncated",
            Self::NoVideo => "no_video",
            Self::UnsupportedCodec => "unsupported_codec",
            Self::DecoderMissing => "decoder_missing",
            Self::PluginMissing => "plugin_missing",
            Self::Unauthorised => "unauthorised",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Lost => "lost",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
            Self::Hung => "hung",
            Self::Other => "other",
        }
    }

    /// Returns what the operator should do.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::BadLocation => {
                "write the address as rtsp://host/path, srt://host:port, udp://host:port, https://host/live.m3u8 or a path"
            }
            Self::NotFound => "check the path, upper and lower case included",
            Self::Unreadable => "check the permissions and the disk",
            Self::Empty => "copy the recording again: this copy has no content",
            Self::NotMedia => "play the file in another program; if it plays there, convert it to MP4",
            Self::Truncated => {
                "copy the recording again, or repair its index with `ffmpeg -i in.mp4 -c copy out.mp4`"
            }
            Self::NoVideo => "give the file or stream that holds the picture",
            Self::UnsupportedCodec => "install gstreamer1.0-libav, or set the camera to H.264 or H.265",
            Self::DecoderMissing => "install the driver and its GStreamer plugin, or set decoder = \"auto\"",
            Self::PluginMissing => {
                "install gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad and gstreamer1.0-libav"
            }
            Self::Unauthorised => {
                "check the user and the password that the environment or the secrets file gives"
            }
            Self::Unreachable => "check the address, the port, the cable and the firewall",
            Self::Silent => "restart the camera or its server; it answers and sends no picture",
            Self::Lost => "nothing to do: the source is opened again",
            Self::Undecodable => "lower the resolution or the profile of the stream, or restart the camera",
            Self::TooLarge => "choose a smaller stream of the camera, or convert the recording",
            Self::Hung => "nothing to do: the connection was abandoned and is built anew",
            Self::Other => "run again with RUST_LOG=debug and GST_DEBUG=3 for the library's own words",
        }
    }
}

/// Why a source cannot be read: what was attempted, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub struct IngestError {
    kind: IngestErrorKind,
    location: String,
    detail: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl IngestError {
    /// Makes an error about a location, which must be printable (no credentials), with what was observed.
    pub fn new(kind: IngestErrorKind, location: &str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            location: location.to_owned(),
            detail: detail.into(),
            source: None,
        }
    }

    /// Adds the error that lies below.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> IngestErrorKind {
        self.kind
    }

    /// Returns what was being read, without credentials.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Returns what the operator should do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.kind.hint()
    }

    /// Says whether trying again soon can help without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            IngestErrorKind::NotFound
                | IngestErrorKind::Unreachable
                | IngestErrorKind::Silent
                | IngestErrorKind::Lost
                | IngestErrorKind::Undecodable
                | IngestErrorKind::Hung
                | IngestErrorKind::Other
        )
    }
}

impl fmt::Display for IngestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "cannot read the source: {}; {}",
            self.detail,
            self.hint()
        )?;
        if self.location.is_empty() {
            Ok(())
        } else {
            write!(formatter, ": {}", self.location)
        }
    }
}
