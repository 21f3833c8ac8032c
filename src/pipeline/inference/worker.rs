//! One thread that runs the models: a session of each lens, opened when it is first needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lens::{Lens, Lenses};
use super::{Inferred, Outcome, Pending, Prepared};
use crate::clock::Clock;
use crate::flow::detection::{BBox, DetectedFrame, Detection};
use crate::flow::frame::Frame;
use crate::flow::source::Duty;
use crate::stages::infer::{InferError, Runtime, Session, SessionOptions};
use crate::stages::preprocess::{Input, Preparer, tiles};

/// A detection at or above this score asks for a closer look in alarm.
const SUSPICION: f32 = 0.15;

/// Runs batches and sends each result back to its source.
pub(super) struct Worker {
    lenses: Arc<Lenses>,
    runtime: Runtime,
    options: SessionOptions,
    clock: Arc<dyn Clock>,
    sessions: BTreeMap<usize, (Box<dyn Session>, Preparer)>,
}

impl Worker {
    pub(super) fn new(
        lenses: &Arc<Lenses>,
        runtime: &Runtime,
        options: &SessionOptions,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            lenses: Arc::clone(lenses),
            runtime: runtime.clone(),
            options: *options,
            clock: Arc::clone(clock),
            sessions: BTreeMap::new(),
        }
    }

    /// Opens the session of a lens, if it is not open yet.
    pub(super) fn open(&mut self, number: usize) -> Result<&mut (Box<dyn Session>, Preparer), InferError> {
        if !self.sessions.contains_key(&number) {
            let lens = lens(&self.lenses, number)?;
            let variant = lens
                .model
                .manifest()
                .variants
                .get(lens.variant)
                .ok_or_else(|| unknown(&self.lenses, number))?;
            let session = lens.model.open(variant, &self.runtime, &self.options)?;
            let preparer = Preparer::new(session.spec().clone());
            self.sessions.insert(number, (session, preparer));
        }
        Ok(self.sessions.get_mut(&number).expect("it was just put there"))
    }

    /// Runs a batch and returns how many of its frames failed.
    pub(super) fn run(&mut self, batch: Vec<Pending>) -> u32 {
        let mut failures = 0;
        let mut by_lens: BTreeMap<usize, Vec<Pending>> = BTreeMap::new();
        let now = self.clock.monotonic();
        for pending in batch {
            if pending
                .freshness
                .is_stale(pending.prepared.frame.meta.arrived, now)
            {
                pass_over(pending);
                continue;
            }
            by_lens.entry(pending.prepared.lens).or_default().push(pending);
        }
        for (number, group) in by_lens {
            let mut inputs = Vec::with_capacity(group.len());
            let mut waiting = Vec::with_capacity(group.len());
            for Pending {
                prepared: Prepared {
                    ticket, frame, input, ..
                },
                credit,
                reply,
                ..
            } in group
            {
                inputs.push(input);
                waiting.push((ticket, frame, credit, reply));
            }
            let found = self.look(number, &inputs);
            drop(inputs);
            let (mut found, why) = match found {
                Ok(found) => (found.into_iter(), String::new()),
                Err(error) => (Vec::new().into_iter(), error.to_string()),
            };
            for (ticket, frame, credit, reply) in waiting {
                let meta = frame.meta.clone();
                let result = match found.next() {
                    Some(detections) => self
                        .finish(number, frame, detections)
                        .map_err(|error| error.to_string()),
                    None => Err(why.clone()),
                };
                failures += u32::from(result.is_err());
                let outcome = match result {
                    Ok(seen) => Outcome::Seen(Box::new(seen)),
                    Err(why) => Outcome::Failed(meta, why),
                };
                // Nobody waits for it any more when the source was taken away: that is no failure.
                let _gone = reply.send(Inferred {
                    ticket,
                    outcome,
                    credit,
                });
            }
        }
        failures
    }

    fn look(&mut self, number: usize, inputs: &[Input]) -> Result<Vec<Vec<Detection>>, InferError> {
        self.open(number)?.0.run(inputs)
    }

    fn finish(
        &mut self,
        number: usize,
        frame: Frame,
        whole: Vec<Detection>,
    ) -> Result<DetectedFrame, InferError> {
        let detections = self.look_closer(number, &frame, whole)?;
        Ok(DetectedFrame {
            meta: frame.meta,
            picture: frame.picture,
            detections,
            model: Arc::clone(&lens(&self.lenses, number)?.tag),
        })
    }

    /// In alarm, looks again at tiles of native resolution around what is suspected, in the same frame.
    fn look_closer(
        &mut self,
        number: usize,
        frame: &Frame,
        whole: Vec<Detection>,
    ) -> Result<Vec<Detection>, InferError> {
        let suspicions: Vec<BBox> = whole
            .iter()
            .filter(|seen| seen.score >= SUSPICION)
            .map(|seen| seen.bbox)
            .collect();
        if frame.meta.duty != Duty::Alarm || suspicions.is_empty() {
            return Ok(whole);
        }
        let size = (frame.picture.width, frame.picture.height);
        let lenses = Arc::clone(&self.lenses);
        let pool = &lens(&lenses, number)?.pool;
        let (session, preparer) = self.open(number)?;
        let spec = session.spec();
        let mut looks = Vec::new();
        for tile in tiles::around(&suspicions, size, (spec.width, spec.height)) {
            let input = preparer.prepare(&frame.picture, tile, pool)?;
            looks.push((
                tile,
                session
                    .run(std::slice::from_ref(&input))?
                    .pop()
                    .unwrap_or_default(),
            ));
        }
        Ok(if looks.is_empty() {
            whole
        } else {
            tiles::merge(whole, &looks, size)
        })
    }
}

/// Sends a frame back that nobody needs to look at any more.
fn pass_over(pending: Pending) {
    let Pending {
        prepared: Prepared { ticket, frame, .. },
        credit,
        reply,
        ..
    } = pending;
    let _gone = reply.send(Inferred {
        ticket,
        outcome: Outcome::Stale(frame.meta),
        credit,
    });
}

fn lens(lenses: &Lenses, number: usize) -> Result<&Lens, InferError> {
    lenses.get(number).ok_or_else(|| unknown(lenses, number))
}

fn unknown(lenses: &Lenses, number: usize) -> InferError {
    InferError::Variant {
        model: lenses.models().at(Duty::Watch).manifest().name.clone(),
        variant: number.to_string(),
        known: String::new(),
    }
}
