//! The part that all sources share: prepared frames in, detections back to each source in its own order.
//!
//! ```text
//!  a/preprocess ─┐ credit                        ┌─▶ a: back in order ─▶ a/track
//!                ├─▶ batch ─▶ infer-0 … infer-n ─┤
//!  b/preprocess ─┘ credit                        └─▶ b: back in order ─▶ b/track
//! ```
//!
//! Each live source may have [`IN_FLIGHT`] frames between its preprocess and its track stage; a credit that travels with
//! the frame keeps count. The way back has room for all of them, so a slow camera never holds up the model.
//!
//! On a machine that is too small, frames grow old on their way here. A live frame that is too old when its turn comes is
//! not looked at: the model's time goes to a newer one, and the next frame's gap tells of it.

mod gather;
mod lens;
mod order;
mod prepare;
mod worker;

use std::sync::Arc;

use self::gather::gather;
use self::lens::Lenses;
pub use self::lens::Models;
pub use self::order::Reorder;
pub use self::prepare::Preparation;
use self::worker::Worker;
use super::credit::{Credit, Credits};
use super::exit::Exit;
use super::link::{LinkReceiver, LinkSender, link};
use super::runner::Crew;
use super::stats::Board;
use crate::clock::Clock;
use crate::flow::detection::DetectedFrame;
use crate::flow::frame::{Frame, FrameMeta};
use crate::flow::report::ModelTag;
use crate::flow::source::{Duty, Liveness};
use crate::stages::batch::{BatchBounds, Batcher};
use crate::stages::infer::{InferError, Runtime, SessionOptions};
use crate::stages::preprocess::Input;
use crate::stages::sample::{FrameCounts, Freshness};

/// Frames of one live source between preprocess and track: one in the model, one ready (each at most 12.4 MB at 4K, plus
/// its tensor of 1.3 MB). More would only grow old.
pub const IN_FLIGHT: usize = 2;
/// Frames of a recording that wait, ready, while every session has one of its own.
const READY: usize = 8;

/// What runs the model and how much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InferenceSettings {
    /// How each session is opened.
    pub session: SessionOptions,
    /// How many sessions run side by side.
    pub sessions: usize,
    /// When a batch closes.
    pub bounds: BatchBounds,
}

/// A frame with its tensor.
pub struct Prepared {
    ticket: u64,
    frame: Frame,
    lens: usize,
    input: Input,
}

/// A prepared frame on its way through the model.
struct Pending {
    prepared: Prepared,
    freshness: Freshness,
    credit: Credit,
    reply: LinkSender<Inferred>,
}

/// What came back of a frame.
pub struct Inferred {
    ticket: u64,
    outcome: Outcome,
    credit: Credit,
}

enum Outcome {
    Seen(Box<DetectedFrame>),
    /// It was too old when its turn came.
    Stale(FrameMeta),
    Failed(FrameMeta, String),
}

/// The shared threads, as a source sees them.
#[derive(Clone)]
pub struct Inference {
    lenses: Arc<Lenses>,
    entry: LinkSender<Pending>,
    board: Board,
    clock: Arc<dyn Clock>,
    sessions: usize,
}

impl Inference {
    /// Opens the sessions and starts the threads `batch` and `infer-N`. They end when the last source has ended and
    /// every clone of this value is dropped.
    pub fn start(
        crew: &mut Crew,
        board: &Board,
        models: Models,
        runtime: &Runtime,
        settings: &InferenceSettings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, InferError> {
        let sessions = settings.sessions.max(1);
        let kept = sessions * settings.bounds.size + 2;
        let lenses = Arc::new(Lenses::new(models, kept));
        let (to_workers, from_batch) = link("infer", sessions, Arc::clone(clock));
        let (entry, to_batch) = link("batch", sessions, Arc::clone(clock));
        board.show(to_workers.stats());
        board.show(entry.stats());
        let spawn_failed = |error: std::io::Error| InferError::Graph {
            action: "start a thread".to_owned(),
            reason: error.to_string(),
        };
        for number in 0..sessions {
            let mut worker = Worker::new(&lenses, runtime, &settings.session, clock);
            // A model that is damaged is told now, not at the first alarm.
            for duty in [Duty::Watch, Duty::Alarm] {
                worker.open(lenses.first(duty))?;
            }
            let batches = from_batch.clone();
            crew.spawn(format!("infer-{number}"), move |_, stats| {
                while let Some(batch) = batches.receive() {
                    let failures = worker.run(batch);
                    stats.item();
                    stats.cpu(super::runner::thread_cpu());
                    for _ in 0..failures {
                        stats.failure();
                    }
                }
                Exit::Drained
            })
            .map_err(spawn_failed)?;
        }
        let (bounds, batch_clock) = (settings.bounds, Arc::clone(clock));
        crew.spawn("batch", move |_, stats| {
            let batcher = Batcher::new(bounds);
            gather(batcher, &to_batch, &to_workers, batch_clock.as_ref(), || {
                stats.item();
            })
        })
        .map_err(spawn_failed)?;
        Ok(Self {
            lenses,
            entry,
            board: board.clone(),
            clock: Arc::clone(clock),
            sessions,
        })
    }

    /// Returns the name of the model for this duty level, with the hash of its first variant.
    #[must_use]
    pub fn tag(&self, duty: Duty) -> ModelTag {
        let lens = self.lenses.get(self.lenses.first(duty));
        lens.map_or_else(ModelTag::default, |lens| ModelTag::clone(&lens.tag))
    }

    /// Starts the threads `<source>/preprocess` and `<source>/order` and returns where the detections come out. Frames
    /// that are no longer fresh when their turn comes are left out and counted.
    pub fn join(
        &self,
        crew: &mut Crew,
        source: &str,
        freshness: Freshness,
        counts: Arc<FrameCounts>,
        frames: LinkReceiver<Frame>,
    ) -> std::io::Result<LinkReceiver<DetectedFrame>> {
        let in_flight = match freshness.liveness() {
            Liveness::Live => IN_FLIGHT,
            // One recording alone keeps every session busy.
            Liveness::Recorded => self.sessions + READY,
        };
        let (reply, replies) = link(format!("{source}/inferred"), in_flight, Arc::clone(&self.clock));
        let (detected, out) = link(format!("{source}/track"), 1, Arc::clone(&self.clock));
        self.board.show(reply.stats());
        self.board.show(detected.stats());
        let (credits, creditor) = Credits::new(in_flight);
        crew.stage(
            format!("{source}/order"),
            Reorder::new(creditor, counts),
            replies,
            detected,
        )?;
        let preparation = Preparation::new(Arc::clone(&self.lenses));
        let entry = self.entry.clone();
        crew.stage_into(
            format!("{source}/preprocess"),
            preparation,
            frames,
            move |prepared| {
                let Some(credit) = credits.take() else {
                    return false;
                };
                entry
                    .send(Pending {
                        prepared,
                        freshness,
                        credit,
                        reply: reply.clone(),
                    })
                    .is_ok()
            },
        )?;
        Ok(out)
    }
}
