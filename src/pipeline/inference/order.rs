//! Puts the frames of one source back in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Inferred, Outcome};
use crate::flow::detection::DetectedFrame;
use crate::flow::frame::Gap;
use crate::pipeline::credit::Creditor;
use crate::pipeline::stage::{Emit, Stage, StageError};
use crate::stages::sample::FrameCounts;

/// Puts the frames of one source back in order; one that failed or was too old is counted and left out.
pub struct Reorder {
    next: u64,
    early: BTreeMap<u64, Inferred>,
    counts: Arc<FrameCounts>,
    /// What was left out since the last frame that was handed on.
    gap: Gap,
    _creditor: Creditor,
}

impl Reorder {
    /// Begins with the first ticket; credits end with this stage, however it ends.
    #[must_use]
    pub fn new(creditor: Creditor, counts: Arc<FrameCounts>) -> Self {
        Self {
            next: 0,
            early: BTreeMap::new(),
            counts,
            gap: Gap::default(),
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
            match inferred.outcome {
                Outcome::Seen(mut frame) => {
                    self.gap.add(frame.meta.gap);
                    frame.meta.gap = std::mem::take(&mut self.gap);
                    emit.send(*frame);
                }
                Outcome::Stale(meta) => {
                    self.counts.grew_stale();
                    self.gap.add(meta.gap);
                    self.gap.stale += 1;
                }
                Outcome::Failed(meta, why) => {
                    self.gap.add(meta.gap);
                    let frame = meta.sequence;
                    outcome = Err(StageError::item(format!(
                        "frame {frame} could not be inferred: {why}"
                    )));
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::frame::{ColourMatrix, ColourRange, FrameMeta, Picture, PixelFormat, PlanarBuffer};
    use crate::flow::source::{Duty, SourceId};
    use crate::flow::time::{MediaTime, MonotonicTime};
    use crate::pipeline::credit::Credits;

    fn meta(sequence: u64, skipped: u32) -> FrameMeta {
        FrameMeta {
            source: SourceId::new("camera"),
            sequence,
            pts: MediaTime::ZERO,
            captured: None,
            arrived: MonotonicTime::default(),
            is_key: true,
            gap: Gap {
                skipped,
                ..Gap::default()
            },
            duty: Duty::Watch,
        }
    }

    fn seen(meta: FrameMeta) -> Outcome {
        Outcome::Seen(Box::new(DetectedFrame {
            meta,
            picture: Picture {
                format: PixelFormat::I420,
                width: 2,
                height: 2,
                matrix: ColourMatrix::Bt709,
                range: ColourRange::Limited,
                planes: Arc::new(PlanarBuffer::new(Vec::new())),
            },
            detections: Vec::new(),
            model: Arc::default(),
        }))
    }

    #[test]
    fn the_next_frame_tells_what_was_left_out_before_it() {
        let counts = Arc::new(FrameCounts::default());
        let (credits, creditor) = Credits::new(4);
        let mut reorder = Reorder::new(creditor, Arc::clone(&counts));
        let outcomes = [
            (3, seen(meta(6, 0))),
            (1, Outcome::Stale(meta(3, 2))),
            (0, seen(meta(0, 0))),
            (2, Outcome::Failed(meta(5, 1), "a made-up failure".to_owned())),
        ];
        let mut out = Vec::new();
        let mut failures = 0;
        for (ticket, outcome) in outcomes {
            let inferred = Inferred {
                ticket,
                outcome,
                credit: credits.take().unwrap(),
            };
            let mut take = |frame: DetectedFrame| {
                out.push((frame.meta.sequence, frame.meta.gap));
                true
            };
            failures += u32::from(reorder.process(inferred, &mut Emit::new(&mut take)).is_err());
        }
        let gap = Gap {
            stale: 1,
            skipped: 3,
            ..Gap::default()
        };
        assert_eq!(out, [(0, Gap::default()), (6, gap)]);
        assert_eq!((failures, counts.stale(), credits.out()), (1, 1, 0));
    }
}
