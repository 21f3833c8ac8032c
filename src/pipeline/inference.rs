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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::flow::detection::{BBox, DetectedFrame, Detection};
use crate::flow::frame::{Frame, FrameMeta};
use crate::flow::report::ModelTag;
use crate::flow::source::{Duty, Liveness};
use crate::stages::batch::{BatchBounds, Batcher};
use crate::stages::infer::{InferError, Model, Runtime, Session, SessionOptions};
use crate::stages::preprocess::{Input, InputSpec, Preparer, Rect, TensorPool, tiles};

use super::credit::{Credit, Creditor, Credits};
use super::exit::Exit;
use super::link::{LinkReceiver, LinkSender, Received, link};
use super::runner::Crew;
use super::stage::{Emit, Stage, StageError};
use super::stats::Board;

/// Frames of one live source between preprocess and track: one in the model, one ready (each at most 12.4 MB at 4K, plus
/// its tensor of 1.3 MB). More would only grow old.
pub const IN_FLIGHT: usize = 2;
/// Frames of a recording that wait, ready, while every session has one of its own.
const READY: usize = 2;

/// A detection at or above this score asks for a closer look in alarm.
const SUSPICION: f32 = 0.15;

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
    variant: usize,
    input: Input,
}

/// A prepared frame on its way through the model.
struct Pending {
    prepared: Prepared,
    credit: Credit,
    reply: LinkSender<Inferred>,
}

/// What came back of a frame.
pub struct Inferred {
    ticket: u64,
    meta: FrameMeta,
    result: Result<DetectedFrame, String>,
    credit: Credit,
}

/// Chooses the variant that fits the picture's shape and prepares the tensor.
pub struct Preparation {
    model: Arc<Model>,
    preparers: BTreeMap<usize, Preparer>,
    pools: Arc<Pools>,
    ticket: u64,
}

/// One pool of tensors for each variant, shared by all sources.
struct Pools(Vec<TensorPool>);

impl Stage for Preparation {
    type In = Frame;
    type Out = Prepared;

    fn process(&mut self, frame: Frame, emit: &mut Emit<'_, Prepared>) -> Result<(), StageError> {
        let (width, height) = (frame.picture.width, frame.picture.height);
        let failed = |error: InferError| StageError::item("cannot prepare a frame").caused_by(error);
        let file = &self.model.variant_for(width, height).map_err(failed)?.file;
        let variants = &self.model.manifest().variants;
        let place = variants
            .iter()
            .position(|variant| variant.file == *file)
            .unwrap_or(0);
        let (Some(variant), Some(pool)) = (variants.get(place), self.pools.0.get(place)) else {
            return Err(StageError::fatal("the model has no variant"));
        };
        let spec = || self.model.input_spec(variant);
        let preparer = self
            .preparers
            .entry(place)
            .or_insert_with(|| Preparer::new(spec()));
        let input = preparer
            .prepare(&frame.picture, Rect::whole(width, height), pool)
            .map_err(|error| StageError::item("cannot prepare a frame").caused_by(error))?;
        let ticket = self.ticket;
        self.ticket += 1;
        emit.send(Prepared {
            ticket,
            frame,
            variant: place,
            input,
        });
        Ok(())
    }
}

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

/// The shared threads, as a source sees them.
#[derive(Clone)]
pub struct Inference {
    model: Arc<Model>,
    tag: ModelTag,
    pools: Arc<Pools>,
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
        model: Model,
        runtime: &Runtime,
        settings: &InferenceSettings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, InferError> {
        let model = Arc::new(model);
        let variants = &model.manifest().variants;
        let specs: Vec<InputSpec> = variants.iter().map(|variant| model.input_spec(variant)).collect();
        let sessions = settings.sessions.max(1);
        let kept = sessions * settings.bounds.size + 2;
        let pools = Arc::new(Pools(
            specs
                .iter()
                .map(|spec| TensorPool::new(spec.elements(), kept))
                .collect(),
        ));
        let tag = variants.first().map_or_else(
            || ModelTag {
                name: String::new(),
                version: String::new(),
                sha256: String::new(),
            },
            |variant| ModelTag {
                name: model.manifest().name.clone(),
                version: model.manifest().version.clone(),
                sha256: variant.sha256.clone(),
            },
        );
        let (to_workers, from_batch) = link("infer", sessions, Arc::clone(clock));
        let (entry, to_batch) = link("batch", sessions, Arc::clone(clock));
        board.show(to_workers.stats());
        board.show(entry.stats());
        let spawn_failed = |error: std::io::Error| InferError::Graph {
            action: "start a thread".to_owned(),
            reason: error.to_string(),
        };
        for number in 0..sessions {
            let mut worker = Worker::new(&model, runtime, &settings.session, &pools);
            worker.open(0)?;
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
            model,
            tag,
            pools,
            entry,
            board: board.clone(),
            clock: Arc::clone(clock),
            sessions,
        })
    }

    /// Returns the tag that verdicts carry.
    #[must_use]
    pub fn tag(&self) -> &ModelTag {
        &self.tag
    }

    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Starts the threads `<source>/preprocess` and `<source>/order` and returns where the detections come out.
    pub fn join(
        &self,
        crew: &mut Crew,
        source: &str,
        liveness: Liveness,
        frames: LinkReceiver<Frame>,
    ) -> std::io::Result<LinkReceiver<DetectedFrame>> {
        let in_flight = match liveness {
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
            Reorder::new(creditor),
            replies,
            detected,
        )?;
        let preparation = Preparation {
            model: Arc::clone(&self.model),
            preparers: BTreeMap::new(),
            pools: Arc::clone(&self.pools),
            ticket: 0,
        };
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
                        credit,
                        reply: reply.clone(),
                    })
                    .is_ok()
            },
        )?;
        Ok(out)
    }
}

/// Gathers inputs into batches until the last source has ended.
fn gather(
    mut batcher: Batcher<Pending>,
    inputs: &LinkReceiver<Pending>,
    batches: &LinkSender<Vec<Pending>>,
    clock: &dyn Clock,
    mut count: impl FnMut(),
) -> Exit {
    const IDLE: Duration = Duration::from_secs(1);
    let mut is_open = true;
    while is_open || batcher.count() > 0 {
        let mut patience = if is_open {
            batcher.patience(clock.monotonic()).unwrap_or(IDLE)
        } else {
            Duration::ZERO
        };
        // Everything that has come is taken in before the next turn is given, so that turns are fair.
        loop {
            match inputs.receive_within(patience) {
                Received::Item(pending) => {
                    count();
                    let source = pending.prepared.frame.meta.source.clone();
                    batcher.add(source, pending, clock.monotonic());
                    patience = Duration::ZERO;
                }
                Received::Nothing => break,
                Received::Closed => {
                    is_open = false;
                    break;
                }
            }
        }
        let batch = if is_open {
            batcher.due(clock.monotonic())
        } else {
            batcher.close()
        };
        if let Some(batch) = batch
            && batches.send(batch).is_err()
        {
            return Exit::DownstreamClosed;
        }
    }
    Exit::Drained
}

/// One session of each variant, opened when it is first needed.
struct Worker {
    model: Arc<Model>,
    runtime: Runtime,
    options: SessionOptions,
    pools: Arc<Pools>,
    sessions: BTreeMap<usize, (Box<dyn Session>, Preparer)>,
}

impl Worker {
    fn new(model: &Arc<Model>, runtime: &Runtime, options: &SessionOptions, pools: &Arc<Pools>) -> Self {
        Self {
            model: Arc::clone(model),
            runtime: runtime.clone(),
            options: *options,
            pools: Arc::clone(pools),
            sessions: BTreeMap::new(),
        }
    }

    fn open(&mut self, variant: usize) -> Result<&mut (Box<dyn Session>, Preparer), InferError> {
        if !self.sessions.contains_key(&variant) {
            let chosen = self
                .model
                .manifest()
                .variants
                .get(variant)
                .ok_or_else(|| InferError::Variant {
                    model: self.model.manifest().name.clone(),
                    variant: variant.to_string(),
                    known: String::new(),
                })?;
            let session = self.model.open(chosen, &self.runtime, &self.options)?;
            let preparer = Preparer::new(session.spec().clone());
            self.sessions.insert(variant, (session, preparer));
        }
        Ok(self.sessions.get_mut(&variant).expect("it was just put there"))
    }

    /// Runs a batch and sends each result back to its source; returns how many failed.
    fn run(&mut self, batch: Vec<Pending>) -> u32 {
        let mut failures = 0;
        let mut by_variant: BTreeMap<usize, Vec<Pending>> = BTreeMap::new();
        for pending in batch {
            by_variant
                .entry(pending.prepared.variant)
                .or_default()
                .push(pending);
        }
        for (variant, group) in by_variant {
            let mut inputs = Vec::with_capacity(group.len());
            let mut waiting = Vec::with_capacity(group.len());
            for Pending {
                prepared: Prepared {
                    ticket, frame, input, ..
                },
                credit,
                reply,
            } in group
            {
                inputs.push(input);
                waiting.push((ticket, frame, credit, reply));
            }
            let found = self.look(variant, &inputs);
            drop(inputs);
            let (mut found, why) = match found {
                Ok(found) => (found.into_iter(), String::new()),
                Err(error) => (Vec::new().into_iter(), error.to_string()),
            };
            for (ticket, frame, credit, reply) in waiting {
                let result = match found.next() {
                    Some(detections) => self
                        .look_closer(variant, &frame, detections)
                        .map_err(|error| error.to_string()),
                    None => Err(why.clone()),
                };
                failures += u32::from(result.is_err());
                let meta = frame.meta.clone();
                let result = result.map(|detections| DetectedFrame {
                    meta: frame.meta,
                    picture: frame.picture,
                    detections,
                });
                // Nobody waits for it any more when the source was taken away: that is no failure.
                let _gone = reply.send(Inferred {
                    ticket,
                    meta,
                    result,
                    credit,
                });
            }
        }
        failures
    }

    fn look(&mut self, variant: usize, inputs: &[Input]) -> Result<Vec<Vec<Detection>>, InferError> {
        self.open(variant)?.0.run(inputs)
    }

    /// In alarm, looks again at tiles of native resolution around what is suspected, in the same frame.
    fn look_closer(
        &mut self,
        variant: usize,
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
        let pools = Arc::clone(&self.pools);
        let (session, preparer) = self.open(variant)?;
        let Some(pool) = pools.0.get(variant) else {
            return Ok(whole);
        };
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
