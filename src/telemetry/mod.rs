//! Pose providers: where the camera was and looked, read from the formats of drones and cameras.
//!
//! ```text
//!  bytes ─▶ one parser per format ─▶ TelemetrySample ─▶ Timeline ─▶ flow::pose::Pose
//! ```
//!
//! Parsers are pure: they take bytes or text and give samples and counts; none panics, none trusts a length. What is
//! unknown stays `None`: no parser writes a zero for a missing value, and none guesses a datum or a yaw frame.

pub mod sample;

pub mod log;

pub mod dji_srt;

pub mod klv;

pub mod ts;

pub mod mavlink_stream;

pub mod dji_cloud;

pub mod dji_cloud_mqtt;

pub mod xmp;

pub mod photo;

pub mod fixed;

pub mod onvif;

pub mod onvif_poll;
pub mod onvif_service;

pub mod gpx;

pub mod csv;

pub mod open;

pub mod timeline;

pub mod clock_offset;

pub mod calibrate;

pub mod calibrator;

#[cfg(feature = "video")]
pub mod gst;

pub use log::{LogTime, TelemetryError, TelemetryLog};
pub use sample::{Gimbal, GimbalFrame, NoAttitude, SampleTime, TelemetrySample};
pub use timeline::{Timeline, TimelineProvider};

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod random_tests;
