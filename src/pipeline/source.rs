//! Wires the stages of one source, last stage first.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::info;

use crate::clock::Clock;
use crate::flow::frame::Frame;
use crate::flow::source::{Duty, Liveness, Mount, SourceId};
use crate::flow::track::JudgedFrame;
use crate::geo::moved::MountCheck;
use crate::stages::blank::{Blank, Blanker};
use crate::stages::ingest::{
    DutyControl, IngestError, IngestErrorKind, IngestStats, Ingested, MediaWindow, OpenRequest, Opener,
    PacketTap, RecordedTotals, SourceSpec, StateChange, Surroundings, Telemetry, run_live, run_recorded,
};
use crate::stages::sample::{FrameCounts, Freshness, Rates, Sampler};
use crate::stages::track::{TrackSettings, Tracker};
use crate::stages::verify::Verifier;
use crate::stages::verify::mask::Mask;
use crate::stages::verify::rules::VerifySettings;
use crate::telemetry::clock_offset::ClockOffset;
use crate::telemetry::fixed::PresetCamera;

use super::admission::{Looks, Thinning};
use super::exit::Exit;
use super::inference::Inference;
use super::link::{LinkSender, link};
use super::runner::Crew;
use super::stats::Board;

/// Frames between two stages: the picture is shared, so this is one decoded frame each (3.1 MB at 1080p).
const FRAMES: usize = 1;

/// What is to be done with one source.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// How it is opened.
    pub spec: Arc<SourceSpec>,
    /// Whether its camera stands still.
    pub mount: Mount,
    /// The duty level at which it begins, and to which a live source falls back.
    pub duty: Duty,
    /// How many frames a second each level looks at.
    pub rates: Rates,
    /// How its tracks begin and end.
    pub track: TrackSettings,
    /// What a track must show.
    pub verify: VerifySettings,
    /// Where nothing is reported.
    pub masks: Vec<Mask>,
    /// Says at which preset the camera stands, where it turns.
    pub turning: Option<Arc<PresetCamera>>,
    /// Which parts of the picture nobody may see: no stage after the sampler does.
    pub privacy: Vec<Blank>,
    /// Which part of a recording is wanted; none is all of it.
    pub window: Option<MediaWindow>,
    /// What its looks obey when the machine is full.
    pub thinning: Arc<Thinning>,
}

impl SourcePlan {
    /// Returns the source's name.
    #[must_use]
    pub fn id(&self) -> &SourceId {
        &self.spec.id
    }
}

/// Something about a source that is not a frame.
#[derive(Debug)]
pub enum Notice {
    /// Its state changed.
    State(SourceId, StateChange),
    /// This decoder reads it.
    Decoder(SourceId, String),
    /// It is watched at this level from now on.
    Duty(SourceId, Duty),
    /// At this level, these looks are taken: the machine is full, or has room again.
    Thinned(SourceId, Duty, Looks),
    /// The camera's clock is off by more than it may be, or no longer is.
    Clock(SourceId, ClockOffset),
    /// Patrol fell back to watch (true) or returned (false): key frames are too far apart.
    FallsBack(SourceId, bool),
    /// It was looked whether its camera has turned.
    Mount(SourceId, MountCheck),
    /// A recording ended, or could not be read.
    Ended(SourceId, Result<RecordedTotals, IngestError>),
}

/// Takes what one source gives, on its own threads.
pub struct Outlets {
    /// Takes each judged frame; returns whether there is still somebody to take it.
    pub judged: Box<dyn FnMut(JudgedFrame) -> bool + Send>,
    /// Takes each piece of telemetry that travels beside the picture.
    pub telemetry: Box<dyn FnMut(Telemetry) + Send>,
    /// Takes news.
    pub notices: LinkSender<Notice>,
    /// Takes the encoded packets, for clips.
    pub tap: Option<Arc<dyn PacketTap>>,
    /// Takes the encoded packets of the large stream, where detection runs on a small one of its own.
    pub large: Option<Arc<dyn PacketTap>>,
}

/// What the rest of the program may read and set of a running source.
#[derive(Clone, Debug)]
pub struct SourceGauges {
    /// Which source.
    pub id: SourceId,
    /// What the sampler counted.
    pub frames: Arc<FrameCounts>,
    /// What ingest counted.
    pub ingest: Arc<IngestStats>,
    /// How many frames the model looked at.
    pub inferred: Arc<AtomicU64>,
    /// How hard it is watched.
    pub duty: Arc<DutyControl>,
    /// How old frames were when they were judged.
    pub ages: Arc<Ages>,
}

/// The ages of the most recent frames at the end of the chain.
#[derive(Debug, Default)]
pub struct Ages {
    recent: Mutex<std::collections::VecDeque<Duration>>,
}

impl Ages {
    /// So many frames are remembered.
    const REMEMBERED: usize = 512;

    fn add(&self, age: Duration) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == Self::REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(age);
    }

    /// Returns the ages below which the given shares (0 to 1) of the recent frames lie; zeros before the first frame.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [Duration; N] {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<Duration> = recent.iter().copied().collect();
        drop(recent);
        sorted.sort_unstable();
        shares.map(|share| {
            let last = sorted.len().saturating_sub(1);
            sorted
                .get((last as f64 * share.clamp(0.0, 1.0)).round() as usize)
                .copied()
                .unwrap_or_default()
        })
    }
}

/// Reads the large stream of a camera for its packets alone: nothing of it is decoded.
fn read_large(
    crew: &mut Crew,
    name: String,
    plan: &SourcePlan,
    tap: Arc<dyn PacketTap>,
    opener: Arc<dyn Opener>,
    clock: &Arc<dyn Clock>,
) -> std::io::Result<()> {
    let request = OpenRequest {
        tap: Some(tap),
        evidence_only: true,
        ..OpenRequest::new(Arc::clone(&plan.spec), Arc::new(DutyControl::new(Duty::Watch)))
    };
    let clock = Arc::clone(clock);
    crew.spawn(name, move |stop, _| {
        let around = Surroundings {
            clock: clock.as_ref(),
            stop: &|wait| {
                if wait.is_zero() {
                    stop.is_requested()
                } else {
                    stop.wait_for(wait)
                }
            },
            stats: &IngestStats::default(),
        };
        // Detection does not depend on this stream: what becomes of it is told, and clips are missing meanwhile.
        let mut told = |item: Ingested| {
            if let Ingested::State(change) = item {
                let reason = change.reason.map(IngestErrorKind::name);
                info!(source = %request.spec.id, from = %change.from, to = %change.to, reason, "large stream changed");
            }
            ControlFlow::Continue(())
        };
        run_live(&request, opener.as_ref(), &around, &mut told);
        Exit::Stopped
    })
}

/// Starts the threads of one source: ingest, sample, preprocess, order, track and verify.
pub fn start(
    crew: &mut Crew,
    board: &Board,
    inference: &Inference,
    plan: &SourcePlan,
    opener: Arc<dyn Opener>,
    clock: &Arc<dyn Clock>,
    outlets: Outlets,
) -> std::io::Result<SourceGauges> {
    let id = plan.id().clone();
    let name = |stage: &str| format!("{id}/{stage}");
    let Outlets {
        mut judged,
        mut telemetry,
        notices,
        tap,
        large,
    } = outlets;
    let gauges = SourceGauges {
        id: id.clone(),
        frames: Arc::default(),
        ingest: Arc::default(),
        inferred: Arc::default(),
        duty: Arc::new(DutyControl::new(plan.duty).thinned_by(Arc::clone(&plan.thinning))),
        ages: Arc::default(),
    };

    let (tracked, to_verify) = link(name("verify"), FRAMES, Arc::clone(clock));
    let (sampled, to_preprocess) = link(name("preprocess"), FRAMES, Arc::clone(clock));
    let (ingested, to_sample) = link::<Frame>(name("sample"), FRAMES, Arc::clone(clock));
    for stats in [tracked.stats(), sampled.stats(), ingested.stats()] {
        board.show(stats);
    }

    let verifier = Verifier::new(plan.verify, plan.mount, plan.masks.clone()).turned_by(plan.turning.clone());
    let (inferred, ages, age_clock) = (
        Arc::clone(&gauges.inferred),
        Arc::clone(&gauges.ages),
        Arc::clone(clock),
    );
    crew.stage_into(name("verify"), verifier, to_verify, move |frame: JudgedFrame| {
        inferred.fetch_add(1, Ordering::Relaxed);
        ages.add(age_clock.monotonic().since(frame.meta.arrived));
        judged(frame)
    })?;
    let freshness = Freshness::new(plan.spec.liveness, plan.spec.max_staleness);
    let sampler =
        Sampler::new(plan.rates, freshness, Arc::clone(clock)).thinned_by(Arc::clone(&plan.thinning));
    let gauges = SourceGauges {
        frames: sampler.counts(),
        ..gauges
    };
    let counts = Arc::clone(&gauges.frames);
    let to_track = inference.join(crew, id.as_str(), freshness, counts, to_preprocess)?;
    crew.stage(
        name("track"),
        Tracker::new(plan.track, plan.mount),
        to_track,
        tracked,
    )?;
    let mut blanker = Blanker::new(plan.privacy.clone());
    crew.stage_into(name("sample"), sampler, to_sample, move |frame: Frame| {
        // A picture that cannot be blanked is not shown to anybody.
        blanker
            .blank(frame)
            .is_none_or(|frame| sampled.send(frame).is_ok())
    })?;

    if let Some(tap) = large.filter(|_| plan.spec.detect.is_some()) {
        read_large(crew, name("large"), plan, tap, Arc::clone(&opener), clock)?;
    }
    let request = OpenRequest {
        tap,
        window: plan.window,
        ..OpenRequest::new(Arc::clone(&plan.spec), Arc::clone(&gauges.duty))
    };
    let (stats, ingest_clock) = (Arc::clone(&gauges.ingest), Arc::clone(clock));
    crew.spawn(name("ingest"), move |stop, thread| {
        let around = Surroundings {
            clock: ingest_clock.as_ref(),
            stop: &|wait| {
                if wait.is_zero() {
                    stop.is_requested()
                } else {
                    stop.wait_for(wait)
                }
            },
            stats: &stats,
        };
        let is_left = std::cell::Cell::new(false);
        let mut emit = |item: Ingested| {
            let is_taken = match item {
                Ingested::Frame(frame) => {
                    thread.item();
                    ingested.send(frame).is_ok()
                }
                Ingested::Telemetry(piece) => {
                    telemetry(piece);
                    true
                }
                Ingested::State(change) => notices.send(Notice::State(id.clone(), change)).is_ok(),
                Ingested::Decoder(decoder) => notices.send(Notice::Decoder(id.clone(), decoder)).is_ok(),
                Ingested::Clock(offset) => notices.send(Notice::Clock(id.clone(), offset)).is_ok(),
                Ingested::FallsBack(it) => notices.send(Notice::FallsBack(id.clone(), it)).is_ok(),
            };
            if is_taken {
                ControlFlow::Continue(())
            } else {
                is_left.set(true);
                ControlFlow::Break(())
            }
        };
        let natural = match request.spec.liveness {
            Liveness::Live => {
                run_live(&request, opener.as_ref(), &around, &mut emit);
                Exit::Stopped
            }
            Liveness::Recorded => {
                let outcome = run_recorded(&request, opener.as_ref(), &around, &mut emit);
                // A recording that cannot be read is told, and is no failure of the pipeline.
                let _nobody = notices.send(Notice::Ended(id.clone(), outcome));
                Exit::Drained
            }
        };
        if stop.is_requested() {
            Exit::Stopped
        } else if is_left.get() {
            Exit::DownstreamClosed
        } else {
            natural
        }
    })?;
    Ok(gauges)
}
