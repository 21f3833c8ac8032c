//! What a frame may be looked at with: each variant of each model, and which of them suits a frame.

use std::sync::Arc;

use crate::flow::report::ModelTag;
use crate::flow::source::Duty;
use crate::stages::infer::{InferError, Model};
use crate::stages::preprocess::{InputSpec, TensorPool};

/// The models of a pipeline: a small one for many cameras, and where there is one a more accurate one for alarms.
#[derive(Clone, Debug)]
pub struct Models {
    quiet: Model,
    alarm: Option<Model>,
}

impl Models {
    /// Looks with `quiet`, and at sources on alarm with `alarm` where it is given.
    #[must_use]
    pub const fn new(quiet: Model, alarm: Option<Model>) -> Self {
        Self { quiet, alarm }
    }

    /// Returns the model for sources at this duty level.
    #[must_use]
    pub const fn at(&self, duty: Duty) -> &Model {
        match (&self.alarm, duty) {
            (Some(alarm), Duty::Alarm) => alarm,
            _ => &self.quiet,
        }
    }

    /// Returns the models, each once, the one for quiet first.
    pub fn each(&self) -> impl Iterator<Item = &Model> {
        std::iter::once(&self.quiet).chain(&self.alarm)
    }
}

/// One variant of one model, with its tensors.
pub(super) struct Lens {
    pub(super) model: Model,
    /// Which of the model's variants.
    pub(super) variant: usize,
    pub(super) spec: InputSpec,
    pub(super) tag: Arc<ModelTag>,
    pub(super) pool: TensorPool,
}

/// All lenses, shared by all sources.
pub(super) struct Lenses {
    models: Models,
    /// The first variant of the model for quiet comes first.
    each: Vec<Lens>,
    /// Where the lenses of the model for alarms begin.
    alarm: usize,
}

impl Lenses {
    /// Makes the lenses; each keeps so many unused tensors.
    pub(super) fn new(models: Models, kept: usize) -> Self {
        let mut each = Vec::new();
        let mut alarm = 0;
        for model in models.each() {
            alarm = each.len();
            for (variant, chosen) in model.manifest().variants.iter().enumerate() {
                let spec = model.input_spec(chosen);
                each.push(Lens {
                    model: model.clone(),
                    variant,
                    pool: TensorPool::new(spec.elements(), kept),
                    spec,
                    tag: Arc::new(ModelTag {
                        name: model.manifest().name.clone(),
                        version: model.manifest().version.clone(),
                        sha256: chosen.sha256.clone(),
                    }),
                });
            }
        }
        Self { models, each, alarm }
    }

    /// Returns the lens with this number.
    pub(super) fn get(&self, number: usize) -> Option<&Lens> {
        self.each.get(number)
    }

    /// Returns the number of the first lens for this duty level.
    pub(super) const fn first(&self, duty: Duty) -> usize {
        match duty {
            Duty::Alarm => self.alarm,
            Duty::Patrol | Duty::Watch => 0,
        }
    }

    /// Returns the number of the lens for a picture of this size at this duty level.
    pub(super) fn choose(&self, duty: Duty, width: u32, height: u32) -> Result<usize, InferError> {
        let model = self.models.at(duty);
        let chosen = &model.variant_for(width, height)?.file;
        let variants = &model.manifest().variants;
        let place = variants.iter().position(|variant| variant.file == *chosen);
        Ok(self.first(duty) + place.unwrap_or(0))
    }

    /// Returns the models.
    pub(super) const fn models(&self) -> &Models {
        &self.models
    }
}
