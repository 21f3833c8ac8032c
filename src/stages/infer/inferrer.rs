//! From a picture to its detections in one call, by the same steps as the pipeline: prepare, run, and on request a
//! closer look by tiles. It opens the variant that fits each picture's shape and keeps it open.

use super::InferError;
use super::model::Model;
use super::ort::Runtime;
use super::session::{Session, SessionOptions};
use crate::flow::detection::{BBox, Detection};
use crate::flow::frame::Picture;
use crate::stages::preprocess::{Preparer, Rect, TensorPool, tiles};

/// Whether to look closer where something was suspected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Closer {
    /// The whole picture only.
    Never,
    /// Also tiles at native resolution around what scored at least this much.
    From(f32),
}

/// Finds flame and smoke in pictures, one at a time, on the calling thread.
pub struct Inferrer {
    model: Model,
    runtime: Runtime,
    options: SessionOptions,
    /// The variant to use for every picture; otherwise the one that fits each.
    fixed: Option<String>,
    open: Vec<Opened>,
}

/// One variant, opened.
struct Opened {
    file: String,
    session: Box<dyn Session>,
    preparer: Preparer,
    pool: TensorPool,
}

impl std::fmt::Debug for Inferrer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Inferrer({})", self.model.manifest().name)
    }
}

impl Inferrer {
    /// Makes an inferrer; a variant is opened when the first picture that it fits comes along.
    #[must_use]
    pub fn new(model: Model, runtime: Runtime, options: SessionOptions) -> Self {
        Self {
            model,
            runtime,
            options,
            fixed: None,
            open: Vec::new(),
        }
    }

    /// Uses the variant with this file name for every picture.
    pub fn with_variant(mut self, file: &str) -> Result<Self, InferError> {
        self.fixed = Some(self.model.variant(file)?.file.clone());
        Ok(self)
    }

    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the file names of the variants that were used so far.
    pub fn used(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|opened| opened.file.as_str())
    }

    /// Returns the detections of a picture in source pixels, sorted by falling score.
    pub fn detect(&mut self, picture: &Picture, closer: Closer) -> Result<Vec<Detection>, InferError> {
        let place = self.opened_for(picture)?;
        let Some(opened) = self.open.get_mut(place) else {
            return Ok(Vec::new());
        };
        let whole = opened.look(picture, Rect::whole(picture.width, picture.height))?;
        let Closer::From(least) = closer else {
            return Ok(whole);
        };
        let suspicions: Vec<BBox> = whole
            .iter()
            .filter(|detection| detection.score >= least)
            .map(|detection| detection.bbox)
            .collect();
        let size = (picture.width, picture.height);
        let spec = opened.session.spec();
        let mut looks = Vec::new();
        for tile in tiles::around(&suspicions, size, (spec.width, spec.height)) {
            looks.push((tile, opened.look(picture, tile)?));
        }
        if looks.is_empty() {
            return Ok(whole);
        }
        Ok(tiles::merge(whole, &looks, size))
    }

    /// Returns the place of the opened variant for a picture, opening it if need be.
    fn opened_for(&mut self, picture: &Picture) -> Result<usize, InferError> {
        let variant = match &self.fixed {
            Some(file) => self.model.variant(file)?,
            None => self.model.variant_for(picture.width, picture.height)?,
        };
        if let Some(place) = self.open.iter().position(|opened| opened.file == variant.file) {
            return Ok(place);
        }
        let session = self.model.open(variant, &self.runtime, &self.options)?;
        let spec = session.spec().clone();
        self.open.push(Opened {
            file: variant.file.clone(),
            pool: TensorPool::new(spec.elements(), 1),
            preparer: Preparer::new(spec),
            session,
        });
        Ok(self.open.len() - 1)
    }
}

impl Opened {
    fn look(&mut self, picture: &Picture, region: Rect) -> Result<Vec<Detection>, InferError> {
        let input = self.preparer.prepare(picture, region, &self.pool)?;
        let mut found = self.session.run(std::slice::from_ref(&input))?;
        Ok(found.pop().unwrap_or_default())
    }
}
