//! `emberwatch run`: the service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tracing::{error, info, warn};

use super::looking::{models_of, verify_settings};
use super::{ground, machine, poses};
use crate::clock::{Clock, SystemClock};
use crate::config::file::{PipelineFile, SourceSection};
use crate::config::secret::process_environment;
use crate::config::{load, plan};
use crate::console::{self, Console, Hooks, WayBack};
use crate::flow::source::{Liveness, SourceId};
use crate::geo::Terrain;
use crate::metrics;
use crate::pipeline::exit::Exit;
use crate::pipeline::inference::{InferenceSettings, Models};
use crate::pipeline::mount_watch::MountWatchSettings;
use crate::pipeline::runner::Crew;
use crate::pipeline::service::{LivePlan, Service};
use crate::pipeline::shared::{Shared, readiness};
use crate::pipeline::source::SourcePlan;
use crate::pipeline::stats::Board;
use crate::pipeline::stop::Stop;
use crate::stages::batch::BatchBounds;
use crate::stages::evidence::ring::ClipLimits;
use crate::stages::incident::{Ids, IncidentBook, IncidentDesk};
use crate::stages::infer::{Runtime, SessionOptions};
use crate::stages::ingest::{GstOpener, Opener};
use crate::stages::publish::{self, PublishOptions, Publisher};
use crate::stages::track::TrackSettings;
use crate::store::{RetentionPolicy, RetentionRounds, Store};

/// Runs the service until it is told to leave.
///
/// The first interrupt or termination drains: sources stop, what is on its way is finished, events are delivered. The
/// second quits at once. A hang-up (SIGHUP) or an edit of the file reloads the sources: those that did not change go on
/// untouched.
///
/// Exit codes: 0 drained, 1 a shared stage broke, 2 not started.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pipeline file.
    pub pipeline: PathBuf,

    /// Leave after so many seconds, for trials.
    #[arg(long, value_name = "SECONDS")]
    pub for_seconds: Option<f64>,
}

/// How often it is looked whether a round of retention is due.
const RETENTION_LOOK: Duration = Duration::from_mins(5);
/// How long sinks may take to deliver what is left.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// The service with everything around it.
pub(crate) struct Running {
    service: Service,
    models: Models,
    publisher: Publisher,
    console: Console,
    way_back: Option<WayBack>,
    /// What goes on beside the pipeline and may end without ending it.
    housekeeping: Crew,
    desk: IncidentDesk,
    path: PathBuf,
    file: PipelineFile,
    ground: Option<Arc<Terrain>>,
    /// The service's shared threads' counters.
    pub(crate) shared: Shared,
}

impl Running {
    /// Starts the service of a pipeline file.
    pub(crate) fn start(path: &Path, file: PipelineFile, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let models = models_of(&file.model)?;
        let runtime = Runtime::load()?;
        let opener: Arc<dyn Opener> = Arc::new(GstOpener::new(Arc::clone(clock))?);
        let data = plan::beside(path, &file.service.data);
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make the data folder {}", data.display()))?;
        let store = Store::open(&data)?;
        let ground = ground::of(&file.terrain, path)?.map(Arc::new);
        let book = IncidentBook::new(
            file.incidents.clone(),
            poses::grid(file.grid.as_ref(), path)?,
            Ids::random(),
        )?;
        let desk = IncidentDesk::open(book, store.clone(), Arc::clone(clock))?;
        let mut sinks = file.sink.clone();
        for sink in &mut sinks {
            // A file of events lies with the rest of the data unless it is named from the root.
            if let publish::Target::JsonLines(lines) = &mut sink.to {
                lines.path = data.join(&lines.path);
            }
        }
        let publisher = publish::start(&store, &sinks, clock, &PublishOptions::default())?;
        let settings = InferenceSettings {
            session: SessionOptions {
                provider: file.model.provider,
                ..SessionOptions::default()
            },
            sessions: machine::sessions(file.model.sessions),
            bounds: BatchBounds {
                size: file.model.batch,
                wait: Duration::from_millis(file.model.batch_wait_ms),
            },
        };
        let service = Service::start(
            models.clone(),
            &runtime,
            &settings,
            &desk,
            &file.incidents.site,
            opener,
            clock,
        )?;
        let shared = service.shared();
        let hooks = Hooks {
            metrics: {
                let (shared, desk, reports) = (shared.clone(), desk.clone(), publisher.reporter());
                Arc::new(move || metrics::render(&shared) + &metrics::render_dispatch(&desk, &reports()))
            },
            ready: {
                let shared = shared.clone();
                Arc::new(move || readiness(&shared))
            },
            sources: {
                let shared = shared.clone();
                Arc::new(move || metrics::sources(&shared))
            },
        };
        let console = console::start(&file.console, desk.clone(), Arc::clone(clock), hooks)?;
        let way_back = file
            .way_back
            .as_ref()
            .map(|config| WayBack::start(config, desk.clone(), Arc::clone(clock), &process_environment))
            .transpose()
            .context("the way back cannot be opened")?;
        let mut housekeeping = Crew::new(Board::default(), Stop::new());
        keep_retention(&mut housekeeping, file.retention, &store, clock)?;
        let mut running = Self {
            service,
            models,
            publisher,
            console,
            way_back,
            housekeeping,
            desk,
            path: path.to_owned(),
            file,
            ground,
            shared,
        };
        for source in running.file.source.clone() {
            running.add(&source)?;
        }
        Ok(running)
    }

    fn add(&mut self, source: &SourceSection) -> anyhow::Result<()> {
        let live = live_plan(source, &self.file, &self.path, &self.models, self.ground.as_ref())?;
        self.service.add(live)?;
        Ok(())
    }

    /// Returns where the interface listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.console.address()
    }

    /// Returns the desk.
    pub(crate) const fn desk(&self) -> &IncidentDesk {
        &self.desk
    }

    /// Looks after the threads for at most `timeout`; an error ends the service.
    pub(crate) fn look_after(&mut self, timeout: Duration) -> Option<String> {
        self.service.look_after(timeout)
    }

    /// Returns whether all sources were recordings and have ended.
    pub(crate) fn is_done(&self) -> bool {
        self.service.is_done()
    }

    /// Reads the file again; sources that changed are started anew, the others go on untouched.
    pub(crate) fn reload(&mut self) {
        let file = match load::read(&self.path) {
            Ok(file) => file,
            Err(problems) => {
                error!(%problems, "the pipeline file was not taken: the service goes on as it was");
                return;
            }
        };
        let before: BTreeMap<&str, &SourceSection> = self
            .file
            .source
            .iter()
            .map(|source| (source.id.as_str(), source))
            .collect();
        let changed: Vec<SourceSection> = file
            .source
            .iter()
            .filter(|source| before.get(source.id.as_str()) != Some(source))
            .cloned()
            .collect();
        let kept: Vec<&str> = file.source.iter().map(|source| source.id.as_str()).collect();
        let gone: Vec<String> = before
            .keys()
            .filter(|id| !kept.contains(id))
            .map(|id| (*id).to_owned())
            .collect();
        for id in &gone {
            self.service.remove(&SourceId::new(id));
        }
        // Written so that a new section is compared as well.
        let rest = |file: &PipelineFile| PipelineFile {
            source: Vec::new(),
            ..file.clone()
        };
        if rest(&file) != rest(&self.file) {
            warn!("only sources are reloaded; the rest of the file takes effect at the next start");
        }
        self.file.source = file.source;
        for source in &changed {
            if let Err(why) = self.add(source) {
                error!(source = %source.id, %why, "the source could not be started");
            }
        }
        info!(changed = changed.len(), gone = gone.len(), "pipeline file taken");
    }

    /// Drains everything; returns what went wrong, if anything did.
    pub(crate) fn drain(self) -> Option<String> {
        info!("draining sources");
        drop(self.way_back);
        self.housekeeping.stop().request();
        let endings = self.service.drain();
        info!("delivering what is left");
        if !self.publisher.stop(LAST_DELIVERIES) {
            warn!("some events wait in the outbox and are delivered at the next start");
        }
        self.console.stop(Duration::from_secs(1));
        let _endings = self.housekeeping.join();
        crate::pipeline::exit::root_cause(&endings).map(|cause| format!("{}: {}", cause.thread, cause.exit))
    }
}

/// Makes a round of retention each day; looks every few minutes whether it is due.
fn keep_retention(
    crew: &mut Crew,
    policy: RetentionPolicy,
    store: &Store,
    clock: &Arc<dyn Clock>,
) -> std::io::Result<()> {
    let (store, clock) = (store.clone(), Arc::clone(clock));
    crew.spawn("retention", move |stop, stats| {
        let rounds = RetentionRounds::new(policy);
        loop {
            match rounds.tick(&store, clock.wall()) {
                Ok(None) => {}
                Ok(Some(summary)) => {
                    stats.item();
                    info!(
                        files = summary.files,
                        bytes = summary.bytes,
                        stuck = summary.stuck,
                        events = summary.events,
                        "what was over its time was deleted"
                    );
                }
                Err(why) => {
                    error!(%why, hint = why.hint(), "retention could not be enforced: it is tried again");
                }
            }
            if stop.wait_for(RETENTION_LOOK) {
                return Exit::Stopped;
            }
        }
    })
}

/// Says what is to be done with a source.
fn live_plan(
    source: &SourceSection,
    file: &PipelineFile,
    path: &Path,
    models: &Models,
    ground: Option<&Arc<Terrain>>,
) -> anyhow::Result<LivePlan> {
    let spec = plan::spec(source, path)?;
    let verify = verify_settings(models, Some(&file.verify));
    let placed = poses::of_source(source, path, ground)?;
    let locate = {
        let placed = placed.clone();
        move || placed.settings()
    };
    let is_open_to_all = source.privacy().is_empty();
    if file.evidence.clips && !is_open_to_all {
        info!(source = %source.id, "no clips are cut: encoded video cannot be blanked where a mask says private");
    }
    let mount_watch = source.camera.map(|camera| MountWatchSettings {
        folder: plan::beside(path, &file.service.data).join("mounts"),
        source: source.id.clone(),
        camera,
        hour: file.mount_check.hour,
        zone: jiff::tz::TimeZone::system(),
        allowed_deg: file.mount_check.allowed_deg,
    });
    Ok(LivePlan {
        source: SourcePlan {
            spec: Arc::new(spec),
            mount: source.mount,
            duty: source.duty,
            rates: source.rates(),
            track: TrackSettings::default(),
            verify,
            masks: source.masks(),
            turning: placed.feed.as_ref().and_then(|feed| feed.camera()),
            privacy: source.privacy(),
            window: None,
            // The service puts its own in this place.
            thinning: Arc::default(),
        },
        locate: Arc::new(locate),
        feed: placed.feed,
        mount_watch: mount_watch.filter(|_| source.kind == Liveness::Live),
        clips: (file.evidence.clips && is_open_to_all).then(|| ClipLimits {
            before: Duration::from_secs_f64(file.evidence.before_s),
            after: Duration::from_secs_f64(file.evidence.after_s),
            ..ClipLimits::default()
        }),
        quiet: Duration::from_secs_f64(file.service.quiet_s),
        report_every: Duration::from_secs(2),
    })
}

/// Runs the command.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stop = Stop::new();
    machine::stop_on_signals(&stop)?;
    let hang_up = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&hang_up))?;
    let file = match load::read(&args.pipeline) {
        Ok(file) => file,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(2));
        }
    };
    let mut edited = modified(&args.pipeline);
    let began = clock.monotonic();
    let mut running = Running::start(&args.pipeline, file, &clock)?;
    println!("listening on http://{}", running.address());
    notify_systemd(&[sd_notify::NotifyState::Ready]);
    let trouble = loop {
        if let Some(trouble) = running.look_after(Duration::from_millis(500)) {
            break Some(trouble);
        }
        let is_over = args
            .for_seconds
            .is_some_and(|seconds| clock.monotonic().since(began).as_secs_f64() >= seconds);
        if stop.is_requested() || running.is_done() || is_over {
            break None;
        }
        let now = modified(&args.pipeline);
        if hang_up.swap(false, Ordering::Relaxed) || now != edited {
            edited = now;
            running.reload();
        }
        notify_systemd(&[sd_notify::NotifyState::Watchdog]);
    };
    notify_systemd(&[sd_notify::NotifyState::Stopping]);
    let trouble = running.drain().or(trouble);
    if let Some(trouble) = trouble {
        eprintln!("error: {trouble}");
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns when a file was last changed; an editor that replaces it may leave it away for a moment.
fn modified(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// Tells systemd, where it started this program.
fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(states) {
        warn!(%why, "systemd could not be told");
    }
}
