//! From pixel to ground: WGS 84, terrain, camera model, error propagation.
//!
//! ```text
//! pixel ─ camera ─▶ direction ─ attitude ─▶ ray ─ terrain ─▶ point ─ propagate ─▶ ellipse
//! ```
//!
//! [`locate()`] joins them. Everything here is pure: only [`Terrain::open`] reads files.

pub mod ellipsoid;

pub mod geoid;

pub mod rotation;

pub mod camera;

pub mod camera_table;

pub mod terrain;

pub mod height;

pub mod assumptions;

pub mod spread;

pub mod propagate;

pub mod locate;

pub mod fuse;

pub mod views;

pub mod areas;

pub mod calibrate;

pub mod moved;

pub mod china;

pub mod grid_reference;

pub mod links;

#[cfg(test)]
mod tests;

pub use assumptions::{Assumptions, Sigmas};
pub use camera::{CameraError, CameraModel, Distortion, SensorCrop};
pub use locate::{LocateRefusal, Located, locate};
pub use terrain::{Terrain, TerrainError};
