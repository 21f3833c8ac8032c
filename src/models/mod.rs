//! Models are data: a folder with `model.toml`, weights and a card. The manifest says how to read the weights.

pub mod fields;

pub(crate) mod lines;

pub mod manifest;

pub mod catalogue;

pub use catalogue::Catalogue;
pub use manifest::{Manifest, ManifestError};
