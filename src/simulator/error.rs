//! Why a scene could not be made or written.

use std::path::PathBuf;

/// Why a scene could not be made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatorError {
    /// The picture size is odd, too small or too large.
    #[error(
        "picture size {width}x{height} cannot be rendered: expected even numbers from 64x64 to 3840x2160"
    )]
    Size {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
    },
    /// A number lies outside its range.
    #[error("scene option {name} is {value}: expected {low} to {high}")]
    Range {
        /// Which option.
        name: &'static str,
        /// What it was.
        value: f64,
        /// The least.
        low: f64,
        /// The most.
        high: f64,
    },
    /// The fire lies where the simulator has no ground.
    #[error(
        "fire at {lat} {lon} cannot be placed: expected a latitude of -85 to 85 and a longitude of -180 to 180"
    )]
    Fire {
        /// Latitude asked for, in degrees.
        lat: f64,
        /// Longitude asked for, in degrees.
        lon: f64,
    },
    /// A file could not be written.
    #[error("writing the scene failed: check the folder's rights and its free space: {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The truth could not be put into JSON.
    #[error("writing the truth of frame {frame} as JSON failed")]
    Json {
        /// Which frame.
        frame: u64,
        /// What serde said.
        source: serde_json::Error,
    },
    /// No encoder is there.
    #[error("encoding {codec} needs one of the GStreamer elements {wanted}: install {package} ({message})")]
    NoEncoder {
        /// Which codec.
        codec: &'static str,
        /// Which elements would do.
        wanted: &'static str,
        /// Which Debian package holds them.
        package: &'static str,
        /// What GStreamer said.
        message: String,
    },
    /// The encoder failed.
    #[error("encoding {} failed: {message}", path.display())]
    Encode {
        /// Which file was being written.
        path: PathBuf,
        /// What GStreamer said.
        message: String,
    },
    /// The program was built without video.
    #[error("encoding video needs the `video` feature: build with it, or take single frames")]
    NoVideo,
}
