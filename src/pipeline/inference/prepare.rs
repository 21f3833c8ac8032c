//! Makes of each frame of one source the input of the model that is to look at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Prepared;
use super::lens::Lenses;
use crate::flow::frame::Frame;
use crate::pipeline::stage::{Emit, Stage, StageError};
use crate::stages::preprocess::{Preparer, Rect};

/// Chooses the lens that fits the picture's shape and the source's duty, and prepares the tensor.
pub struct Preparation {
    lenses: Arc<Lenses>,
    preparers: BTreeMap<usize, Preparer>,
    ticket: u64,
}

impl Preparation {
    pub(super) const fn new(lenses: Arc<Lenses>) -> Self {
        Self {
            lenses,
            preparers: BTreeMap::new(),
            ticket: 0,
        }
    }
}

impl Stage for Preparation {
    type In = Frame;
    type Out = Prepared;

    fn process(&mut self, frame: Frame, emit: &mut Emit<'_, Prepared>) -> Result<(), StageError> {
        let (width, height) = (frame.picture.width, frame.picture.height);
        let number = self
            .lenses
            .choose(frame.meta.duty, width, height)
            .map_err(|error| StageError::item("cannot prepare a frame").caused_by(error))?;
        let Some(lens) = self.lenses.get(number) else {
            return Err(StageError::fatal("the model has no variant"));
        };
        let input = self
            .preparers
            .entry(number)
            .or_insert_with(|| Preparer::new(lens.spec.clone()))
            .prepare(&frame.picture, Rect::whole(width, height), &lens.pool)
            .map_err(|error| StageError::item("cannot prepare a frame").caused_by(error))?;
        let ticket = self.ticket;
        self.ticket += 1;
        emit.send(Prepared {
            ticket,
            frame,
            lens: number,
            input,
        });
        Ok(())
    }
}
