//! Starts a delivery loop for each sink, on a runtime of their own, and stops them in good order.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::delivery::{Counters, DeliveryLoop, LoopOptions};
use super::evidence::{EvidenceFiles, EvidenceFolder};
use super::settings::{BuildError, SinkConfig, Surroundings};
use super::sink::Sink;
use crate::clock::Clock;
use crate::config::secret::{Environment, process_environment};
use crate::store::{SinkStart, Store, StoreError};

/// How publishing behaves besides its sinks.
pub struct PublishOptions<'a> {
    /// Where secrets are looked up.
    pub environment: Environment<'a>,
    /// Makes the waits after failures uneven; the same seed makes the same waits.
    pub seed: u64,
}

impl Default for PublishOptions<'_> {
    fn default() -> Self {
        Self {
            environment: &process_environment,
            seed: rand::random(),
        }
    }
}

/// Says why publishing could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two sinks have one name.
    #[error("two sinks are called {name:?}: the outbox keeps one account for each name")]
    Twice {
        /// The name.
        name: String,
    },
    /// A sink could not be made.
    #[error("sink {name:?} could not be made")]
    Sink {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: BuildError,
    },
    /// The outbox could not be used.
    #[error("outbox could not be used")]
    Store(#[from] StoreError),
    /// The runtime could not be made.
    #[error("threads for publishing could not be started")]
    Runtime(#[source] std::io::Error),
}

/// How one sink has fared since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// The sink's name.
    pub name: String,
    /// What kind of sink it is.
    pub kind: String,
    /// Events that it took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Events that were given up.
    pub dead: u64,
    /// Events that the filter kept back.
    pub filtered: u64,
    /// Whether it cannot be reached at the moment.
    pub is_down: bool,
    /// Milliseconds from outbox to acknowledgement, of the event that was delivered last.
    pub last_latency_ms: u64,
}

struct RunningSink {
    watched: WatchedSink,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What can be told of a sink, also after its loop has ended.
#[derive(Clone)]
struct WatchedSink {
    name: String,
    kind: &'static str,
    counters: Arc<Counters>,
}

impl WatchedSink {
    fn report(&self) -> SinkReport {
        SinkReport {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            delivered: self.counters.delivered.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            dead: self.counters.dead.load(Ordering::Relaxed),
            filtered: self.counters.filtered.load(Ordering::Relaxed),
            is_down: self.counters.is_down.load(Ordering::Relaxed),
            last_latency_ms: self.counters.last_latency_ms.load(Ordering::Relaxed),
        }
    }
}

/// The running delivery loops. Dropping it stops them at once; nothing is lost, what was not acknowledged comes again.
pub struct Publisher {
    runtime: Option<Runtime>,
    sinks: Vec<RunningSink>,
    stop: watch::Sender<bool>,
}

/// Makes every sink, registers it with the outbox, and starts delivering. New sinks begin with the next event.
pub fn start(
    store: &Store,
    sinks: &[SinkConfig],
    clock: &Arc<dyn Clock>,
    options: &PublishOptions<'_>,
) -> Result<Publisher, StartError> {
    crate::tls::install_provider();
    let evidence: Arc<dyn EvidenceFiles> = Arc::new(EvidenceFolder::new(store.evidence_folder()));
    let surroundings = Surroundings {
        environment: options.environment,
        clock: Arc::clone(clock),
        evidence: Some(evidence),
        data_folder: store.folder().to_owned(),
    };
    let mut made = Vec::new();
    for config in sinks {
        if made
            .iter()
            .any(|(other, _): &(&SinkConfig, _)| other.name == config.name)
        {
            let name = config.name.clone();
            return Err(StartError::Twice { name });
        }
        let sink = config.build(&surroundings).map_err(|source| StartError::Sink {
            name: config.name.clone(),
            source,
        })?;
        made.push((config, sink));
    }
    let sinks = made
        .into_iter()
        .map(|(config, sink)| (loop_options(config), config.to.kind(), sink))
        .collect();
    start_loops(store, sinks, clock, surroundings.evidence.as_ref(), options.seed)
}

/// Starts delivering to sinks that are already made, each with how its loop behaves and its kind.
pub fn start_loops(
    store: &Store,
    sinks: Vec<(LoopOptions, &'static str, Box<dyn Sink>)>,
    clock: &Arc<dyn Clock>,
    evidence: Option<&Arc<dyn EvidenceFiles>>,
    seed: u64,
) -> Result<Publisher, StartError> {
    for (options, _, _) in &sinks {
        store.register_sink(&options.name, SinkStart::Now, clock.wall())?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("publish")
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let (stop, stopped) = watch::channel(false);
    let mut running = Vec::new();
    for (index, (options, kind, sink)) in sinks.into_iter().enumerate() {
        let name = options.name.clone();
        let (counters, wake) = (Arc::new(Counters::default()), Arc::new(Notify::new()));
        let delivery = DeliveryLoop {
            options,
            sink: sink.into(),
            store: store.clone(),
            clock: Arc::clone(clock),
            evidence: evidence.map(Arc::clone),
            rng: ChaCha8Rng::seed_from_u64(seed.wrapping_add(index as u64)),
            wake: Arc::clone(&wake),
            stop: stopped.clone(),
            counters: Arc::clone(&counters),
        };
        let task = runtime.spawn(delivery.run());
        running.push(RunningSink {
            watched: WatchedSink { name, kind, counters },
            wake,
            task,
        });
    }
    // The store outlives the publisher: it must not keep the loops awake after their end.
    let wakes = running
        .iter()
        .map(|sink| Arc::downgrade(&sink.wake))
        .collect::<Vec<Weak<Notify>>>();
    store.on_enqueued(move || {
        for wake in wakes.iter().filter_map(Weak::upgrade) {
            wake.notify_one();
        }
    });
    Ok(Publisher {
        runtime: Some(runtime),
        sinks: running,
        stop,
    })
}

/// Returns how the loop of a configured sink behaves.
#[must_use]
pub fn loop_options(config: &SinkConfig) -> LoopOptions {
    LoopOptions {
        name: config.name.clone(),
        filter: config.filter.clone(),
        backoff: config.retry,
        max_attempts: config.max_attempts,
        give_up_after: SignedDuration::from_hours(i64::from(config.give_up_after_h.max(1))),
        calls_per_minute: config.calls_per_minute(),
        dry_run: config.dry_run,
        inline_evidence: config.inline_evidence,
    }
}

impl Publisher {
    /// Returns how each sink has fared.
    #[must_use]
    pub fn reports(&self) -> Vec<SinkReport> {
        self.sinks.iter().map(|sink| sink.watched.report()).collect()
    }

    /// Returns what tells how each sink has fared, for whoever asks while the publisher is somebody else's.
    pub fn reporter(&self) -> impl Fn() -> Vec<SinkReport> + Send + Sync + 'static {
        let watched: Vec<WatchedSink> = self.sinks.iter().map(|sink| sink.watched.clone()).collect();
        move || watched.iter().map(WatchedSink::report).collect()
    }

    /// Delivers what can be delivered within `deadline`, says goodbye to every sink, and ends. Returns whether every
    /// loop ended by itself; what is left lies in the outbox and is delivered after the next start.
    pub fn stop(mut self, deadline: Duration) -> bool {
        self.stop.send_replace(true);
        let Some(runtime) = self.runtime.take() else {
            return true;
        };
        let tasks = self.sinks.drain(..).map(|sink| sink.task).collect::<Vec<_>>();
        let ended = runtime.block_on(async {
            let all = async {
                for task in tasks {
                    if let Err(error) = task.await {
                        tracing::error!(%error, "delivery loop ended badly");
                    }
                }
            };
            tokio::time::timeout(deadline, all).await.is_ok()
        });
        runtime.shutdown_background();
        ended
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
