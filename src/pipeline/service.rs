//! The live service: all sources, one model, one desk of incidents, all sinks. Everything is wired here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use super::admission::{Admission, AdmissionSettings, Slowable, Strain};
use super::exit::{Ending, Exit, root_cause};
use super::feed::Feed;
use super::inference::{Inference, InferenceSettings, Models};
use super::keeper::FolderKeeper;
use super::link::{LinkSender, link};
use super::mount_watch::MountWatchSettings;
use super::news::{MountTeller, keep_desk, tell_news};
use super::runner::{Crew, process_cpu};
use super::shared::{Shared, SourceView};
use super::source::{self, Notice, Outlets, SourcePlan};
use super::stats::Board;
use super::stop::Stop;
use super::twin::Twin;
use crate::clock::Clock;
use crate::flow::report::TrackReport;
use crate::flow::source::{Duty, Liveness, SourceId, SourceState};
use crate::flow::time::MonotonicTime;
use crate::flow::track::{Decision, JudgedFrame};
use crate::stages::event_maker::EventMaker;
use crate::stages::evidence::ring::{ClipLimits, ClipRing};
use crate::stages::incident::IncidentDesk;
use crate::stages::infer::{InferError, Runtime};
use crate::stages::ingest::{Opener, PacketTap};
use crate::stages::locate::{LocateSettings, Locator};
use crate::stages::report::{ReportSettings, Reporter};
use crate::stages::verify::duty::{DutyPolicy, DutySettings};

/// Reports that wait for the incident stage: small, without pictures.
const REPORTS: usize = 64;
/// News that wait.
const NOTICES: usize = 256;
/// A source whose stage broke is started again after so long.
const REBUILD_AFTER: Duration = Duration::from_secs(5);
/// How often the machine's strain is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(2);
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

struct Running {
    plan: LivePlan,
    crew: Crew,
    again_at: Option<MonotonicTime>,
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
    admission: Admission,
    measured: Measured,
}

/// What the last measurement of the machine's strain saw.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    at: MonotonicTime,
    cpu: Duration,
    passed: u64,
    stale: u64,
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
        models: Models,
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
            thinning: Arc::default(),
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
        let inference = Inference::start(&mut crew, &shared.board, models, runtime, settings, clock)?;
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
            admission: Admission::new(AdmissionSettings::default()),
            measured: Measured::default(),
        })
    }

    /// Returns what all threads share.
    #[must_use]
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Starts a source. One of the same name is stopped first; the others go on untouched.
    pub fn add(&mut self, mut plan: LivePlan) -> Result<(), ServiceError> {
        plan.source.thinning = Arc::clone(&self.shared.thinning);
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
        let locate = (plan.locate)();
        let keeper = match &ring {
            Some(ring) if plan.source.spec.detect.is_some() => {
                FolderKeeper::of_larger(self.evidence.clone(), ring.clone())
            }
            _ => FolderKeeper::new(self.evidence.clone(), ring.clone()),
        }
        .with_poses(locate.poses.clone(), locate.camera);
        let reporter = Reporter::new(
            ReportSettings {
                source: id.clone(),
                liveness: plan.source.spec.liveness,
                mount: plan.source.mount,
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
        crew.stage(format!("{id}/locate"), Locator::new(locate), to_locate, located)
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
            .map(|settings| MountTeller::start(&mut crew, settings, &id, notices, &self.clock))
            .transpose()
            .map_err(failed())?;
        let (tie, pieces) = (plan.feed.clone(), plan.feed.clone());
        let (shared, duty_id, duty_news) = (self.shared.clone(), id.clone(), notices.clone());
        let (tap, large) = match ring {
            Some(ring) if plan.source.spec.detect.is_some() => {
                let twin = Twin::new(ring, Arc::clone(&self.clock));
                (Some(twin.detection()), Some(twin.evidence()))
            }
            ring => (ring.map(|ring| Arc::new(ring) as Arc<dyn PacketTap>), None),
        };
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
                    let _leaving = duty_news.send(Notice::Duty(duty_id.clone(), level));
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
            tap,
            large,
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
        self.admit(now);
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

    /// Measures the machine's strain every other second, slows what may be slowed, and tells of it.
    fn admit(&mut self, now: MonotonicTime) {
        let passed_s = now.since(self.measured.at).as_secs_f64();
        if passed_s < MEASURE_EVERY.as_secs_f64() {
            return;
        }
        let views = self.shared.views();
        let sum = |count: fn(&SourceView) -> u64| views.values().map(count).sum::<u64>();
        let measured = Measured {
            at: now,
            cpu: process_cpu(),
            passed: sum(|view| view.gauges.frames.passed()),
            stale: sum(|view| view.gauges.frames.stale()),
        };
        let last = std::mem::replace(&mut self.measured, measured);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let stale = measured.stale.saturating_sub(last.stale);
        let looks = stale + measured.passed.saturating_sub(last.passed);
        let strain = Strain {
            cores: measured.cpu.saturating_sub(last.cpu).as_secs_f64() / (passed_s * cores as f64),
            late: stale as f64 / looks.max(1) as f64,
        };
        let has = |level| views.values().any(|view| view.gauges.duty.effective() == level);
        let slowable = Slowable {
            patrol: has(Duty::Patrol),
            watch: has(Duty::Watch),
        };
        let before = self.shared.thinning.step();
        let Some(step) = self.admission.follow(strain, slowable, now) else {
            return;
        };
        self.shared.thinning.set(step);
        let looks = |duty| self.shared.thinning.looks(duty);
        let (cores, late) = (format!("{:.2}", strain.cores), format!("{:.2}", strain.late));
        let (patrol, watch) = (looks(Duty::Patrol), looks(Duty::Watch));
        if step > before {
            warn!(
                cores,
                late, "the machine is full: patrol takes {patrol}, watch {watch}"
            );
        } else {
            info!(
                cores,
                late, "there is room again: patrol takes {patrol}, watch {watch}"
            );
        }
        for (id, view) in &views {
            let duty = view.gauges.duty.effective();
            if let Some(notices) = self.notices.as_ref().filter(|_| duty != Duty::Alarm) {
                let _leaving = notices.send(Notice::Thinned(id.clone(), duty, looks(duty)));
            }
        }
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
