//! Puts the frames of one source back in order.

use std::collections::BTreeMap;

use super::Inferred;
use crate::flow::detection::DetectedFrame;
use crate::pipeline::credit::Creditor;
use crate::pipeline::stage::{Emit, Stage, StageError};

/// Puts the frames of one source back in order; one that failed is counted and left out.
pub struct Reorder {
    next: u64,
    early: BTreeMap<u64, Inferred>,
    _creditor: Creditor,
}

impl Reorder {
    /// Begins with the first ticket; credits end with this stage, however it ends.
    #[must_use]
    pub fn new(creditor: Creditor) -> Self {
        Self {
            next: 0,
            early: BTreeMap::new(),
            _creditor: creditor,
        }
    }
}

impl Stage for Reorder {
    type In = Inferred;
    type Out = DetectedFrame;

    fn process(&mut self, inferred: Inferred, emit: &mut Emit<'_, DetectedFrame>) -> Result<(), StageError> {
        self.early.insert(inferred.ticket, inferred);
        let mut outcome = Ok(());
        while let Some(inferred) = self.early.remove(&self.next) {
            self.next += 1;
            drop(inferred.credit);
            match inferred.result {
                Ok(frame) => emit.send(frame),
                Err(why) => {
                    let frame = inferred.meta.sequence;
                    outcome = Err(StageError::item(format!(
                        "frame {frame} could not be inferred: {why}"
                    )));
                }
            }
        }
        outcome
    }
}
