//! The live service: all sources, one model, one desk of incidents, all sinks. Everything is wired here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::exit::{Ending, Exit, root_cause};
use super::feed::Feed;
use super::inference::{Inference, InferenceSettings};
use super::keeper::FolderKeeper;
use super::link::{LinkReceiver, LinkSender, Received, link};
use super::mount_watch::{MountWatch, MountWatchSettings};
use super::runner::Crew;
use super::source::{self, Notice, Outlets, SourceGauges, SourcePlan};
use super::stats::Board;
use super::stop::Stop;
use crate::clock::Clock;
use crate::flow::event::{EventMaker, SourceStatus};
use crate::flow::report::TrackReport;
use crate::flow::source::{Duty, Liveness, SourceId, SourceState};
use crate::flow::track::{Decision, JudgedFrame};
use crate::geo::moved::MountCheck;
use crate::stages::evidence::ring::{ClipLimits, ClipRing};
use crate::stages::incident::{Ids, IncidentDesk};
use crate::stages::infer::{InferError, Model, Runtime};
use crate::stages::ingest::{Opener, PacketTap};
use crate::stages::locate::{LocateSettings, Locator};
use crate::stages::report::{ReportSettings, Reporter};
use crate::stages::verify::duty::{DutyPolicy, DutySettings};

/// Reports that wait for the incident stage: small, without pictures.
const REPORTS: usize = 64;
/// News that wait.
const NOTICES: usize = 256;
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A source whose stage broke is started again after so long.
const REBUILD_AFTER: Duration = Duration::from_secs(5);
/// A hint, as a share of the alarm threshold.
const HINT_SHARE: f32 = 0.5;

/// What one source needs besides its stages.
pub struct LivePlan {
    /// Its stages.
    pub source: SourcePlan,
    /// Where it stands and looks; made anew for each start of the source.
    pub locate: Arc<dyn Fn() -> LocateSettings + Send + Sync>,
    /// Telemetry that comes while the source runs; none for a camera that stands still or a log.
    pub feed: Option<Arc<Feed>>,
    /// Looks daily whether the camera has turned; none for one that moves or was not calibrated.
    pub mount_watch: Option<MountWatchSettings>,
    /// Clips; none for pictures alone.
    pub clips: Option<ClipLimits>,
    /// After how long without a hint the duty level falls.
    pub quiet: Duration,
    /// How often a burning track is reported.
    pub report_every: Duration,
}

/// What is known of a source, for people and metrics.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// Its state.
    pub state: SourceState,
    /// Since when.
    pub since: Timestamp,
    /// Why, in words.
    pub detail: Option<String>,
    /// Which decoder reads it.
    pub decoder: Option<String>,
    /// The counters of its stages.
    pub gauges: SourceGauges,
    /// How often a stage of it broke and was started again.
    pub rebuilt: u64,
    /// How often the duty level moved.
    pub duty_moves: u64,
}

/// What all threads of the service share.
#[derive(Clone)]
pub struct Shared {
    /// Counters of stages and links.
    pub board: Board,
    views: Arc<Mutex<BTreeMap<SourceId, SourceView>>>,
    clock: Arc<dyn Clock>,
}

impl Shared {
    /// Returns what is known of every source, by name.
    #[must_use]
    pub fn views(&self) -> BTreeMap<SourceId, SourceView> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, id: &SourceId, change: impl FnOnce(&mut SourceView)) {
        if let Some(view) = self
            .views
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(id)
        {
            change(view);
        }
    }
}

struct Running {
    plan: LivePlan,
    crew: Crew,
    again_at: Option<crate::flow::time::MonotonicTime>,
}

/// The running service.
pub struct Service {
    shared: Shared,
    inference: Option<Inference>,
    opener: Arc<dyn Opener>,
    clock: Arc<dyn Clock>,
    evidence: PathBuf,
    crew: Crew,
    sources: BTreeMap<SourceId, Running>,
    reports: Option<LinkSender<TrackReport>>,
    notices: Option<LinkSender<Notice>>,
}

/// What could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The model.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A thread or a folder.
    #[error("cannot {action}: {source}")]
    Machine {
        /// What was attempted.
        action: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

fn machine(action: &str) -> impl FnOnce(std::io::Error) -> ServiceError {
    let action = action.to_owned();
    move |source| ServiceError::Machine { action, source }
}

impl Service {
    /// Starts the shared threads: incidents, news, batch and infer. Sources are added afterwards.
    pub fn start(
        model: Model,
        runtime: &Runtime,
        settings: &InferenceSettings,
        desk: &IncidentDesk,
        site: &str,
        opener: Arc<dyn Opener>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ServiceError> {
        let evidence = desk.store().evidence_folder();
        std::fs::create_dir_all(&evidence)
            .map_err(machine(&format!("make the folder {}", evidence.display())))?;
        let shared = Shared {
            board: Board::default(),
            views: Arc::default(),
            clock: Arc::clone(clock),
        };
        let mut crew = Crew::new(shared.board.clone(), Stop::new());
        let (reports, to_incident) = link("incident", REPORTS, Arc::clone(clock));
        let (notices, to_news) = link("news", NOTICES, Arc::clone(clock));
        shared.board.show(reports.stats());
        shared.board.show(notices.stats());
        let incident_desk = desk.clone();
        crew.spawn("incident", move |_, stats| {
            keep_desk(&incident_desk, &to_incident, || stats.item())
        })
        .map_err(machine("start a thread"))?;
        let (news_shared, news_desk) = (shared.clone(), desk.clone());
        let maker = EventMaker::new(site, None);
        crew.spawn("news", move |_, _| {
            tell_news(&to_news, &news_shared, &news_desk, &maker)
        })
        .map_err(machine("start a thread"))?;
        let inference = Inference::start(&mut crew, &shared.board, model, runtime, settings, clock)?;
        Ok(Self {
            shared,
            inference: Some(inference),
            opener,
            clock: Arc::clone(clock),
            evidence,
            crew,
            sources: BTreeMap::new(),
            reports: Some(reports),
            notices: Some(notices),
        })
    }

    /// Returns what all threads share.
    #[must_use]
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Starts a source. One of the same name is stopped first; the others go on untouched.
    pub fn add(&mut self, plan: LivePlan) -> Result<(), ServiceError> {
        let id = plan.source.id().clone();
        self.remove(&id);
        let crew = self.start_source(&plan)?;
        self.sources.insert(
            id,
            Running {
                plan,
                crew,
                again_at: None,
            },
        );
        Ok(())
    }

    /// Stops a source and waits until it has left.
    pub fn remove(&mut self, id: &SourceId) {
        if let Some(running) = self.sources.remove(id) {
            running.crew.stop().request();
            let _endings = running.crew.join();
            self.shared.board.remove(&format!("{id}/"));
            self.shared
                .views
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(id);
        }
    }

    /// Returns the names of the sources.
    #[must_use]
    pub fn ids(&self) -> Vec<SourceId> {
        self.sources.keys().cloned().collect()
    }

    fn start_source(&self, plan: &LivePlan) -> Result<Crew, ServiceError> {
        let (Some(inference), Some(reports), Some(notices)) = (&self.inference, &self.reports, &self.notices)
        else {
            return Err(machine("start a source")(std::io::Error::other(
                "the service is leaving",
            )));
        };
        let id = plan.source.id().clone();
        // A stop of this source alone: its own request, not that of the shared threads.
        let mut crew = Crew::new(self.shared.board.clone(), Stop::new());
        let ring = plan.clips.map(ClipRing::new);
        let keeper = FolderKeeper::new(self.evidence.clone(), ring.clone());
        let reporter = Reporter::new(
            ReportSettings {
                source: id.clone(),
                liveness: plan.source.spec.liveness,
                mount: plan.source.mount,
                model: inference.tag().clone(),
                every: plan.report_every,
                origin: self.clock.wall(),
            },
            Box::new(keeper),
        );
        let (judged, to_locate) = link::<JudgedFrame>(format!("{id}/locate"), 2, Arc::clone(&self.clock));
        let (located, to_report) = link(format!("{id}/report"), 2, Arc::clone(&self.clock));
        self.shared.board.show(judged.stats());
        self.shared.board.show(located.stats());
        let failed = || machine("start a thread");
        crew.stage(format!("{id}/report"), reporter, to_report, reports.clone())
            .map_err(failed())?;
        crew.stage(
            format!("{id}/locate"),
            Locator::new((plan.locate)()),
            to_locate,
            located,
        )
        .map_err(failed())?;
        let threshold = plan
            .source
            .verify
            .smoke
            .patrol
            .min(plan.source.verify.flame.patrol);
        let mut policy = DutyPolicy::new(DutySettings {
            floor: plan.source.duty,
            hint_score: threshold * HINT_SHARE,
            quiet: plan.quiet,
        });
        let is_live = plan.source.spec.liveness == Liveness::Live;
        if let Some(feed) = plan.feed.as_ref().filter(|feed| is_live && feed.is_received()) {
            let (feed, clock) = (Arc::clone(feed), Arc::clone(&self.clock));
            crew.spawn(format!("{id}/telemetry"), move |stop, _| {
                feed.receive(clock.as_ref(), &|wait| {
                    if wait.is_zero() {
                        stop.is_requested()
                    } else {
                        stop.wait_for(wait)
                    }
                });
                Exit::Stopped
            })
            .map_err(failed())?;
        }
        let mut mount = plan
            .mount_watch
            .clone()
            .map(|settings| MountTeller::new(settings, &id, notices, &self.clock));
        let (tie, pieces) = (plan.feed.clone(), plan.feed.clone());
        let (shared, duty_id) = (self.shared.clone(), id.clone());
        let outlets = Outlets {
            judged: Box::new(move |frame: JudgedFrame| {
                if let Some(feed) = &tie {
                    feed.tie_to(&frame.meta, f64::from(frame.motion.0));
                }
                if let Some(mount) = &mut mount {
                    mount.look(&frame);
                }
                if let Some(level) = policy.follow(&frame).filter(|_| is_live) {
                    shared.update(&duty_id, |view| {
                        view.gauges.duty.set(level);
                        view.duty_moves += 1;
                    });
                    info!(source = %duty_id, duty = %level, "duty level moved");
                }
                // The rest of the chain is only asked where there is something to tell, or a clip to finish.
                let is_of_interest = frame
                    .tracks
                    .iter()
                    .any(|(_, verdict)| verdict.decision == Decision::Fire)
                    || frame.meta.sequence.is_multiple_of(16);
                !is_of_interest || judged.send(frame).is_ok()
            }),
            telemetry: Box::new(move |piece| {
                if let Some(feed) = &pieces {
                    feed.piece(&piece);
                }
            }),
            notices: notices.clone(),
            tap: ring.map(|ring| Arc::new(ring) as Arc<dyn PacketTap>),
        };
        let gauges = source::start(
            &mut crew,
            &self.shared.board,
            inference,
            &plan.source,
            Arc::clone(&self.opener),
            &self.clock,
            outlets,
        )
        .map_err(failed())?;
        let mut views = self.shared.views.lock().unwrap_or_else(PoisonError::into_inner);
        let before = views
            .get(&id)
            .map_or((0, 0), |view| (view.rebuilt, view.duty_moves));
        views.insert(
            id,
            SourceView {
                state: SourceState::Connecting,
                since: self.clock.wall(),
                detail: None,
                decoder: None,
                gauges,
                rebuilt: before.0,
                duty_moves: before.1,
            },
        );
        Ok(crew)
    }

    /// Looks after the threads for at most `timeout`: a source whose stage broke is started again, the others go on.
    ///
    /// Returns the root cause when a shared thread has ended, which ends the service; `None` while all is well.
    pub fn look_after(&mut self, timeout: Duration) -> Option<String> {
        if self.crew.wait(timeout) {
            return Some("a shared stage has ended".to_owned());
        }
        let now = self.clock.monotonic();
        let broken: Vec<SourceId> = self
            .sources
            .iter()
            .filter(|(_, running)| {
                running.plan.source.spec.liveness == Liveness::Live && running.crew.wait(Duration::ZERO)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in broken {
            let Some(mut running) = self.sources.remove(&id) else {
                continue;
            };
            match running.again_at {
                None => {
                    running.crew.stop().request();
                    error!(source = %id, "a stage of this source broke; it is started again");
                    running.again_at = Some(now + REBUILD_AFTER);
                    self.sources.insert(id, running);
                }
                Some(at) if now < at || !running.crew.has_ended() => {
                    self.sources.insert(id, running);
                }
                Some(_) => {
                    let endings = running.crew.join();
                    let why = root_cause(&endings).map(|cause| format!("{}: {}", cause.thread, cause.exit));
                    self.shared.update(&id, |view| {
                        view.rebuilt += 1;
                        view.detail.clone_from(&why);
                    });
                    match self.start_source(&running.plan) {
                        Ok(crew) => {
                            self.sources.insert(
                                id,
                                Running {
                                    plan: running.plan,
                                    crew,
                                    again_at: None,
                                },
                            );
                        }
                        Err(why) => error!(source = %id, %why, "the source could not be started again"),
                    }
                }
            }
        }
        None
    }

    /// Returns whether every source was a recording and has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.sources.is_empty()
            && self.sources.values().all(|running| {
                running.plan.source.spec.liveness == Liveness::Recorded && running.crew.has_ended()
            })
    }

    /// Drains: sources stop reading, what is on its way is finished, and every thread is joined.
    #[must_use]
    pub fn drain(mut self) -> Vec<Ending> {
        for running in self.sources.values() {
            running.crew.stop().request();
        }
        let mut endings = Vec::new();
        for (_, running) in std::mem::take(&mut self.sources) {
            endings.extend(running.crew.join());
        }
        self.inference = None;
        self.reports = None;
        self.notices = None;
        endings.extend(self.crew.join());
        endings
    }
}

/// Tells the news when a camera has turned.
struct MountTeller {
    watch: MountWatch,
    id: SourceId,
    notices: LinkSender<Notice>,
    clock: Arc<dyn Clock>,
}

impl MountTeller {
    fn new(
        settings: MountWatchSettings,
        id: &SourceId,
        notices: &LinkSender<Notice>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            watch: MountWatch::new(settings),
            id: id.clone(),
            notices: notices.clone(),
            clock: Arc::clone(clock),
        }
    }

    fn look(&mut self, frame: &JudgedFrame) {
        match self.watch.look(&frame.picture, self.clock.wall()) {
            Ok(Some(check)) => {
                // News that nobody takes any more means that the service is leaving.
                let _is_told = self.notices.send(Notice::Mount(self.id.clone(), check));
            }
            Ok(None) => {}
            Err(why) => warn!(source = %self.id, %why, "the reference picture of the mount cannot be kept"),
        }
    }
}

/// Takes reports to the desk and looks at deadlines every second.
fn keep_desk(desk: &IncidentDesk, reports: &LinkReceiver<TrackReport>, mut count: impl FnMut()) -> Exit {
    loop {
        match reports.receive_within(TICK) {
            Received::Item(report) => {
                count();
                match desk.report(&report) {
                    Ok(changes) => {
                        for change in &changes {
                            info!(incident = %change.incident.id, state = ?change.incident.state, "incident changed");
                        }
                    }
                    Err(why) => error!(source = %report.source, %why, "an incident could not be written yet"),
                }
            }
            Received::Nothing => {}
            Received::Closed => return Exit::Drained,
        }
        if let Err(why) = desk.tick() {
            warn!(%why, "deadlines could not be looked at");
        }
    }
}

/// Notes the states of sources and tells them to the world.
fn tell_news(news: &LinkReceiver<Notice>, shared: &Shared, desk: &IncidentDesk, maker: &EventMaker) -> Exit {
    let mut ids = Ids::random();
    while let Some(notice) = news.receive() {
        let now = shared.clock.wall();
        match notice {
            Notice::State(id, change) => {
                let detail = change.reason.map(|reason| reason.name().to_owned());
                info!(source = %id, from = %change.from, to = %change.to, ?detail, "source changed");
                shared.update(&id, |view| {
                    view.state = change.to;
                    view.since = now;
                    view.detail.clone_from(&detail);
                });
                tell_state(desk, maker, &mut ids, id, change.to, now, detail);
            }
            Notice::Mount(id, check) => {
                let detail = match check {
                    MountCheck::InPlace(shift) => {
                        info!(source = %id, ?shift, "the camera looks where its calibration says");
                        continue;
                    }
                    MountCheck::Unknown => {
                        info!(source = %id, "too dark or foggy to say where the camera looks");
                        continue;
                    }
                    MountCheck::Moved(shift) => format!(
                        "the picture is shifted by {:.0} px to the right and {:.0} px down (of {} blocks, {:.0} % agree)",
                        shift.right_px,
                        shift.down_px,
                        shift.blocks,
                        shift.agreement * 100.0
                    ),
                    MountCheck::Lost => "nothing of the reference picture is found again".to_owned(),
                };
                warn!(source = %id, %detail, "the camera no longer looks where its calibration says: calibrate it again");
                shared.update(&id, |view| {
                    view.state = SourceState::Moved;
                    view.since = now;
                    view.detail = Some(detail.clone());
                });
                tell_state(desk, maker, &mut ids, id, SourceState::Moved, now, Some(detail));
            }
            Notice::Decoder(id, decoder) => {
                info!(source = %id, %decoder, "decoder in use");
                shared.update(&id, |view| view.decoder = Some(decoder));
            }
            Notice::FallsBack(id, is_far) => {
                warn!(source = %id, falls_back = is_far, "key frames are too far apart for patrol");
            }
            Notice::Ended(id, outcome) => {
                let detail = match outcome {
                    Ok(totals) => format!("{} frames", totals.frames_in),
                    Err(why) => {
                        error!(source = %id, %why, "a recording could not be read");
                        why.to_string()
                    }
                };
                shared.update(&id, |view| {
                    view.state = SourceState::Ended;
                    view.since = now;
                    view.detail = Some(detail);
                });
            }
        }
    }
    Exit::Drained
}

/// Writes the event of a source's new state to the outbox.
fn tell_state(
    desk: &IncidentDesk,
    maker: &EventMaker,
    ids: &mut Ids,
    source: SourceId,
    state: SourceState,
    now: Timestamp,
    detail: Option<String>,
) {
    let status = SourceStatus {
        source,
        state,
        since: now,
        detail,
    };
    if let Some(event) = maker.source(ids.next(now), status)
        && let Err(why) = desk.store().enqueue(&event, now)
    {
        error!(%why, "the state of a source could not be written to the outbox");
    }
}

/// Returns whether every source has a picture, or which have none.
pub fn readiness(shared: &Shared) -> Result<(), String> {
    let views = shared.views();
    let is_blind = |state| matches!(state, SourceState::Blind | SourceState::Connecting);
    let blind = views.values().filter(|view| is_blind(view.state)).count();
    if !views.is_empty() && blind == views.len() {
        return Err(format!("none of {} sources has a picture", views.len()));
    }
    Ok(())
}

/// Returns the lightest and hardest level at which sources are watched, for logs.
#[must_use]
pub fn duties(shared: &Shared) -> BTreeMap<Duty, usize> {
    let mut counts = BTreeMap::new();
    for view in shared.views().values() {
        *counts.entry(view.gauges.duty.effective()).or_insert(0) += 1;
    }
    counts
}

/// Returns where the store of a pipeline lies.
#[must_use]
pub fn data_folder(pipeline: &Path, data: &Path) -> PathBuf {
    crate::config::plan::beside(pipeline, data)
}
