//! One picture out of encoded packets: a snapshot of the large stream where detection looks at a small one.

#[cfg(feature = "video")]
mod gst;

#[cfg(feature = "video")]
pub use gst::decode_still;

/// Why no picture came out of packets.
#[derive(Debug, thiserror::Error)]
pub enum StillError {
    /// No packet lies at or before the time that is asked for.
    #[error("no picture of that time is kept")]
    Nothing,
    /// The library failed.
    #[error("no picture can be decoded: {reason}")]
    Decode {
        /// What the library says.
        reason: String,
    },
}
