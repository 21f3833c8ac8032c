//! A log is what was read of one telemetry file or track: its samples and what was wrong with it.

use std::path::PathBuf;

use serde::Serialize;

use super::sample::TelemetrySample;
use crate::geo::camera_table::{self, CameraEntry, Lens};

/// Which clock a log's samples are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTime {
    /// The video's own time: exact.
    #[default]
    Media,
    /// UTC.
    Unix,
    /// A clock without a zone: only differences mean anything.
    Local,
    /// Time since the device was switched on.
    Boot,
    /// A single record without a time: a photo, a fixed camera.
    None,
}

/// What was read of one telemetry file or track.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TelemetryLog {
    /// The word for its format, as `telemetry dump` shows it.
    pub format: &'static str,
    /// Which clock orders it.
    pub clock: LogTime,
    /// The records, in the order of the file.
    pub samples: Vec<TelemetrySample>,
    /// The device's model, where it names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Which of the device's cameras took the picture, in the device's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lens: Option<String>,
    /// Width and height of the picture in pixels, where they are stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_px: Option<(u32, u32)>,
    /// Records that could not be read and were left out.
    pub malformed: u64,
    /// Packets whose checksum did not match; they were left out.
    pub bad_checksums: u64,
    /// Bytes that belong to no record.
    pub skipped_bytes: u64,
    /// What to know before relying on it, one sentence each.
    pub notes: Vec<String>,
}

impl TelemetryLog {
    /// Returns the wide camera of a device that is known by its name, where that took the picture. Other lenses zoom,
    /// which a name does not tell.
    #[must_use]
    pub fn named_camera(&self) -> Option<&'static CameraEntry> {
        let is_wide = self
            .lens
            .as_deref()
            .is_some_and(|lens| lens.to_ascii_lowercase().contains("wide"));
        let device = self.device.as_deref().filter(|_| is_wide)?;
        camera_table::find(device, Lens::Wide)
    }

    /// Makes an empty log.
    #[must_use]
    pub fn new(format: &'static str, clock: LogTime) -> Self {
        Self {
            format,
            clock,
            ..Self::default()
        }
    }

    /// Returns a sample's time on the log's own clock, in seconds.
    #[must_use]
    pub fn time_of(&self, sample: &TelemetrySample) -> Option<f64> {
        time_on(self.clock, sample)
    }
}

/// Returns a sample's time on one clock, in seconds.
#[must_use]
pub fn time_on(clock: LogTime, sample: &TelemetrySample) -> Option<f64> {
    match clock {
        LogTime::Media => sample.time.media_s,
        LogTime::Unix => sample.time.unix_s,
        LogTime::Local => sample.time.local_s,
        LogTime::Boot => sample.time.boot_s,
        LogTime::None => None,
    }
}

/// Why telemetry could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The file system refused.
    #[error("cannot read telemetry from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any telemetry is.
    #[error("cannot read telemetry from {path}: {bytes} bytes are more than the limit of {limit}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// Nothing in it is telemetry that is known here.
    #[error("no telemetry found in {what}: {expected}")]
    NotFound {
        /// What was read.
        what: String,
        /// What was looked for, and what to do.
        expected: String,
    },
    /// It has the right shape but breaks its own rules.
    #[error("cannot read {what}: {problem}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong, and what was expected.
        problem: String,
    },
}
