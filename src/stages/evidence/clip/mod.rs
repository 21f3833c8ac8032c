//! Writes a clip as an MP4 file that a browser plays, without decoding it.

#[cfg(feature = "video")]
mod gst;

#[cfg(feature = "video")]
mod located;

#[cfg(feature = "video")]
pub(super) use gst::buffer_of;
#[cfg(feature = "video")]
pub use gst::cut_clip;
#[cfg(feature = "video")]
pub use located::located_clip;

use std::path::PathBuf;
use std::time::Duration;

/// Why a clip could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// It holds no packets.
    #[error("cannot write the clip: it holds no pictures: {path:?}")]
    Empty {
        /// Where it was to be written.
        path: PathBuf,
    },
    /// A clip of this codec cannot be put into MP4 without transcoding.
    #[error(
        "cannot write the clip: {codec} does not go into MP4 unchanged, expected H.264 or H.265: {path:?}"
    )]
    Codec {
        /// What the camera sends.
        codec: String,
        /// Where it was to be written.
        path: PathBuf,
    },
    /// The library failed, most often because the disk is full.
    #[error("cannot write the clip: {reason}; make room or choose another folder: {path:?}")]
    Write {
        /// What the library says.
        reason: String,
        /// Where it was to be written.
        path: PathBuf,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenClip {
    /// Bytes of the file.
    pub bytes: u64,
    /// Pictures in it.
    pub pictures: usize,
    /// From the first picture to the end of the last.
    pub duration: Duration,
}
