//! A frame is one decoded picture with all that is known of it.

use std::fmt;
use std::sync::Arc;

use super::source::{Duty, SourceId};
use super::time::{CaptureTime, MediaTime, MonotonicTime};

/// How the samples of a picture lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// Three planes: Y, U and V, chroma at half width and half height.
    I420,
    /// Two planes: Y, then U and V interleaved, chroma at half width and half height.
    Nv12,
}

/// Which matrix turned RGB into YUV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourMatrix {
    /// ITU-R BT.601.
    Bt601,
    /// ITU-R BT.709.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
}

/// Which codes stand for black and white.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourRange {
    /// 16 to 235 (chroma 16 to 240).
    Limited,
    /// 0 to 255.
    Full,
}

/// Lends the planes of a decoded picture; implemented by the decoder's own buffers and by plain memory.
pub trait Planes: Send + Sync {
    /// Returns plane `index` and its stride in bytes; an empty slice where there is no such plane.
    fn plane(&self, index: usize) -> (&[u8], usize);
}

/// A decoded picture at source size. Cloning shares the pixels.
#[derive(Clone)]
pub struct Picture {
    /// How the samples lie.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Which matrix made it.
    pub matrix: ColourMatrix,
    /// Which codes it uses.
    pub range: ColourRange,
    /// The samples.
    pub planes: Arc<dyn Planes>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}x{}", self.format, self.width, self.height)
    }
}

/// A picture in plain memory, for the simulator, for files of pictures and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanarBuffer {
    planes: Vec<(Vec<u8>, usize)>,
}

impl PlanarBuffer {
    /// Makes a buffer of planes with their strides in bytes.
    #[must_use]
    pub fn new(planes: Vec<(Vec<u8>, usize)>) -> Self {
        Self { planes }
    }
}

impl Planes for PlanarBuffer {
    fn plane(&self, index: usize) -> (&[u8], usize) {
        self.planes
            .get(index)
            .map_or((&[], 0), |(samples, stride)| (samples.as_slice(), *stride))
    }
}

/// Why live frames between the one before and this one were not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Not decoded, because the decoder had fallen behind: what came up to the next key frame.
    pub behind: u32,
    /// Decoded, then overtaken by a newer one before the pipeline had room.
    pub overtaken: u32,
    /// Decoded, then too old to be worth inferring.
    pub stale: u32,
    /// Left out on purpose: the duty level asks for fewer.
    pub skipped: u32,
}

impl Gap {
    /// Returns how many frames overload cost (not those skipped on purpose).
    #[must_use]
    pub const fn lost(&self) -> u32 {
        self.behind + self.overtaken + self.stale
    }

    /// Adds another gap to this one.
    pub const fn add(&mut self, other: Self) {
        self.behind = self.behind.saturating_add(other.behind);
        self.overtaken = self.overtaken.saturating_add(other.overtaken);
        self.stale = self.stale.saturating_add(other.stale);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }
}

/// All that is known of a frame besides its pixels.
#[derive(Clone, Debug)]
pub struct FrameMeta {
    /// Which source it came from.
    pub source: SourceId,
    /// Counts the decoded frames of this source from 0; never repeats, also over reconnects.
    pub sequence: u64,
    /// When it stands in its stream.
    pub pts: MediaTime,
    /// When it was taken, where that is known.
    pub captured: Option<CaptureTime>,
    /// When it reached this program.
    pub arrived: MonotonicTime,
    /// Whether it can be decoded by itself.
    pub is_key: bool,
    /// Which frames before it were not looked at.
    pub gap: Gap,
    /// The duty level under which it was taken.
    pub duty: Duty,
}

/// A decoded frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What is known of it.
    pub meta: FrameMeta,
    /// Its pixels.
    pub picture: Picture,
}
