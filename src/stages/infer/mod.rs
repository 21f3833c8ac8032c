//! Runs the model and reads its head.
//!
//! [`Model`] is a manifest with its folder; [`Model::open`] checks hash and shapes and gives a [`Session`];
//! [`Inferrer`] does everything for a single picture. ONNX Runtime is used in `ort.rs` only.

mod heads;

mod nms;

pub mod ort;

pub mod model;

pub mod session;

pub mod inferrer;

pub use inferrer::{Closer, Inferrer};
pub use model::Model;
pub use ort::{Runtime, RuntimeError};
pub use session::{Provider, Session, SessionOptions};

use std::path::PathBuf;

use super::preprocess::PreprocessError;
use crate::models::catalogue::CatalogueError;
use crate::models::manifest::ManifestError;

/// A model that cannot be opened or run.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// No such model.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The manifest does not fit.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The library is missing.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The picture cannot be prepared.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A file of weights cannot be read.
    #[error("cannot read the weights {path}: expected the file that the manifest names")]
    Weights {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of weights is not the one that the manifest means.
    #[error(
        "the weights {path} have the hash {found}, expected {expected} as {manifest} says: the file is damaged or the \
         manifest is not its own; copy both again"
    )]
    Hash {
        /// Which file.
        path: PathBuf,
        /// The manifest, with the line of the hash.
        manifest: String,
        /// What the manifest says.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The manifest names no variant of that file name.
    #[error("the model {model} has no variant {variant:?}, expected one of [{known}]")]
    Variant {
        /// Which model.
        model: String,
        /// What was asked for.
        variant: String,
        /// What there is.
        known: String,
    },
    /// The graph's inputs or outputs are not what the manifest says.
    #[error("the weights {path} do not fit the manifest, {manifest}: {problem}")]
    Shape {
        /// Which file.
        path: PathBuf,
        /// The manifest, with the line to look at first.
        manifest: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// An accelerator was asked for that is not there.
    #[error(
        "{provider} was asked for and is not there: {reason}; install an ONNX Runtime library with it and name it in \
         ORT_DYLIB_PATH, or ask for cpu"
    )]
    Provider {
        /// Which one.
        provider: Provider,
        /// Why not.
        reason: String,
    },
    /// ONNX Runtime refused.
    #[error("cannot {action}: {reason}")]
    Graph {
        /// What was attempted.
        action: String,
        /// What ONNX Runtime said.
        reason: String,
    },
}
