//! The only place that spawns threads: named `<source>/<stage>`, counted, caught when they panic, and joined.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tracing::{debug, error, info};

use super::exit::{Ending, Exit};
use super::link::{LinkReceiver, LinkSender};
use super::stage::{Emit, Stage, StageError};
use super::stats::{Board, StageStats};
use super::stop::Stop;

/// After so many failed items in a row the stage gives up.
const FAILURES_IN_A_ROW: u32 = 100;

/// How often a thread's CPU time is noted, in items: reading the clock costs a system call.
const CPU_EVERY: u64 = 16;

#[derive(Default)]
struct Roll {
    endings: Mutex<Vec<Ending>>,
    changed: Condvar,
}

/// The threads of one pipeline or of one source in it.
pub struct Crew {
    board: Board,
    stop: Stop,
    threads: Vec<(String, JoinHandle<()>)>,
    roll: Arc<Roll>,
}

/// Returns the CPU time that the calling thread has used.
pub(crate) fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Returns the CPU time that all threads of this process have used.
#[cfg(feature = "video")]
pub(crate) fn process_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl Crew {
    /// Makes a crew without threads.
    #[must_use]
    pub fn new(board: Board, stop: Stop) -> Self {
        Self {
            board,
            stop,
            threads: Vec::new(),
            roll: Arc::default(),
        }
    }

    /// Returns the request to leave that this crew obeys.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Starts a thread that does `work` and ends as `work` says; a panic becomes its exit.
    pub fn spawn(
        &mut self,
        name: impl Into<String>,
        work: impl FnOnce(&Stop, &StageStats) -> Exit + Send + 'static,
    ) -> std::io::Result<()> {
        let name = name.into();
        let stats = self.board.stage(&name);
        let stop = self.stop.clone();
        let roll = Arc::clone(&self.roll);
        let thread = name.clone();
        let handle = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let exit = catch_unwind(AssertUnwindSafe(|| work(&stop, &stats)))
                .unwrap_or_else(|panic| Exit::Panicked(panic_message(panic.as_ref())));
            stats.cpu(thread_cpu());
            match &exit {
                Exit::Panicked(why) => {
                    error!(%thread, %why, "a stage panicked: this is a bug in this program");
                }
                Exit::Failed(why) => error!(%thread, %why, "a stage failed"),
                other => debug!(%thread, exit = %other, "a stage ended"),
            }
            roll.endings
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Ending { thread, exit });
            roll.changed.notify_all();
        })?;
        self.threads.push((name, handle));
        Ok(())
    }

    /// Starts a thread that feeds a stage from a link and hands on what it gives.
    pub fn stage<S: Stage + 'static>(
        &mut self,
        name: impl Into<String>,
        mut stage: S,
        input: LinkReceiver<S::In>,
        output: LinkSender<S::Out>,
    ) -> std::io::Result<()> {
        self.spawn(name, move |_, stats| {
            run_stage(&mut stage, &input, &mut |item| output.send(item).is_ok(), stats)
        })
    }

    /// Starts a thread that feeds the last stage of a chain, whose output goes to `output`, not to a link.
    pub fn stage_into<S: Stage + 'static>(
        &mut self,
        name: impl Into<String>,
        mut stage: S,
        input: LinkReceiver<S::In>,
        mut output: impl FnMut(S::Out) -> bool + Send + 'static,
    ) -> std::io::Result<()> {
        self.spawn(name, move |_, stats| {
            run_stage(&mut stage, &input, &mut output, stats)
        })
    }

    /// Waits until a thread ended otherwise than cleanly or all have ended, at most `timeout`.
    ///
    /// Returns whether everything has ended or something went wrong.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let endings = self.roll.endings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |endings: &mut Vec<Ending>| {
            endings.len() < self.threads.len() && endings.iter().all(|ending| ending.exit.is_clean())
        };
        let (mut endings, _) = self
            .roll
            .changed
            .wait_timeout_while(endings, timeout, is_over)
            .unwrap_or_else(PoisonError::into_inner);
        !is_over(&mut endings)
    }

    /// Returns whether every thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.roll
            .endings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
            == self.threads.len()
    }

    /// Waits for every thread and returns how each ended, in the order in which they did.
    #[must_use]
    pub fn join(self) -> Vec<Ending> {
        for (name, handle) in self.threads {
            if handle.join().is_err() {
                info!(thread = %name, "a thread could not be joined");
            }
        }
        let mut endings = self.roll.endings.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *endings)
    }
}

/// Returns the text of a panic.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Feeds a stage until its input ends, its output closes or it fails. A request to leave is for the head of a chain:
/// what is on its way is finished.
fn run_stage<S: Stage>(
    stage: &mut S,
    input: &LinkReceiver<S::In>,
    output: &mut dyn FnMut(S::Out) -> bool,
    stats: &StageStats,
) -> Exit {
    let mut emit = Emit::new(output);
    let mut failures = 0;
    while let Some(item) = input.receive() {
        stats.item();
        if stats.items().is_multiple_of(CPU_EVERY) {
            stats.cpu(thread_cpu());
        }
        match stage.process(item, &mut emit) {
            Ok(()) => failures = 0,
            Err(failure) => {
                stats.failure();
                failures += 1;
                debug!(failure = %chain(&failure), "an item failed");
                if failure.is_fatal() || failures >= FAILURES_IN_A_ROW {
                    return Exit::Failed(chain(&failure));
                }
            }
        }
        if !emit.is_open() {
            return Exit::DownstreamClosed;
        }
    }
    match stage.flush(&mut emit) {
        Ok(()) => Exit::Drained,
        Err(failure) => Exit::Failed(chain(&failure)),
    }
}

/// Writes an error with its causes in one line.
fn chain(failure: &StageError) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
