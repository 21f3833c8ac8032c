//! From pixel to ground: WGS 84, terrain, camera model, error propagation.

pub mod ellipsoid;

pub mod geoid;

pub mod rotation;

pub mod camera;

pub use camera::{CameraError, CameraModel, Distortion, SensorCrop};
