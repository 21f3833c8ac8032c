//! A model on disk: its manifest, its folder and its weights, checked before they are used.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::InferError;
use super::ort::Runtime;
use super::session::{GraphSession, Session, SessionOptions};
use crate::models::catalogue::{Catalogue, MANIFEST};
use crate::models::lines::place_of;
use crate::models::manifest::{Manifest, Variant};
use crate::stages::preprocess::InputSpec;

/// A model whose manifest was read.
#[derive(Clone, Debug)]
pub struct Model {
    manifest: Manifest,
    folder: PathBuf,
}

impl Model {
    /// Reads the manifest in `folder`.
    pub fn load(folder: &Path) -> Result<Self, InferError> {
        Ok(Self {
            manifest: Manifest::read(&folder.join(MANIFEST))?,
            folder: folder.to_owned(),
        })
    }

    /// Finds a model by name or path in a catalogue and reads its manifest.
    pub fn find(catalogue: &Catalogue, name: &str) -> Result<Self, InferError> {
        Self::load(&catalogue.find(name)?)
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the model's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the variant for pictures of this size, see [`Manifest::variant_for`].
    pub fn variant_for(&self, width: u32, height: u32) -> Result<&Variant, InferError> {
        self.manifest
            .variant_for(width, height)
            .ok_or_else(|| self.no_variant(""))
    }

    /// Returns the variant with this file name.
    pub fn variant(&self, file: &str) -> Result<&Variant, InferError> {
        self.manifest
            .variants
            .iter()
            .find(|variant| variant.file == file)
            .ok_or_else(|| self.no_variant(file))
    }

    /// Returns what a variant wants as its input.
    #[must_use]
    pub fn input_spec(&self, variant: &Variant) -> InputSpec {
        InputSpec::new(&self.manifest, variant)
    }

    /// Opens a session: reads the weights, checks their hash against the manifest and the graph's shapes against
    /// what the manifest says of them.
    pub fn open(
        &self,
        variant: &Variant,
        runtime: &Runtime,
        options: &SessionOptions,
    ) -> Result<Box<dyn Session>, InferError> {
        let path = self.folder.join(&variant.file);
        let weights = std::fs::read(&path).map_err(|source| InferError::Weights {
            path: path.clone(),
            source,
        })?;
        let found = sha256_hex(&weights);
        if found != variant.sha256 {
            let field = format!("{}.sha256", self.manifest.path_of(variant));
            return Err(InferError::Hash {
                manifest: place_of(&self.folder.join(MANIFEST), &field),
                path,
                expected: variant.sha256.clone(),
                found,
            });
        }
        let session = GraphSession::open(&self.manifest, variant, &path, &weights, runtime, options)?;
        Ok(Box::new(session))
    }

    fn no_variant(&self, variant: &str) -> InferError {
        let known: Vec<&str> = self
            .manifest
            .variants
            .iter()
            .map(|variant| variant.file.as_str())
            .collect();
        InferError::Variant {
            model: self.manifest.name.clone(),
            variant: variant.to_owned(),
            known: known.join(", "),
        }
    }
}

/// Returns the SHA-256 of bytes in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}
