//! Counters of stages and links, read by metrics and by the summary of a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::link::LinkStats;

/// What one stage thread tells about itself.
#[derive(Debug, Default)]
pub struct StageStats {
    items: AtomicU64,
    failures: AtomicU64,
    cpu_ns: AtomicU64,
}

impl StageStats {
    /// Counts one item.
    pub fn item(&self) {
        self.items.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one item that failed.
    pub fn failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the CPU time that the thread has used in all.
    pub fn cpu(&self, used: Duration) {
        self.cpu_ns.store(
            u64::try_from(used.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// Returns how many items were taken.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    /// Returns how many items failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the CPU time used.
    #[must_use]
    pub fn cpu_used(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed))
    }
}

/// All counters of a pipeline, by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Board {
    stages: Arc<Mutex<BTreeMap<String, Arc<StageStats>>>>,
    links: Arc<Mutex<BTreeMap<String, Arc<LinkStats>>>>,
}

impl Board {
    /// Returns the counters of the stage thread of this name, made at the first call.
    #[must_use]
    pub fn stage(&self, thread: &str) -> Arc<StageStats> {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(stages.entry(thread.to_owned()).or_default())
    }

    /// Shows a link on the board.
    pub fn show(&self, link: Arc<LinkStats>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.insert(link.name().to_owned(), link);
    }

    /// Takes down everything whose name begins with `prefix`: that source is gone.
    pub fn remove(&self, prefix: &str) {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.retain(|name, _| !name.starts_with(prefix));
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|name, _| !name.starts_with(prefix));
    }

    /// Returns all stages with their counters, by name.
    #[must_use]
    pub fn stages(&self) -> Vec<(String, Arc<StageStats>)> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages
            .iter()
            .map(|(name, stats)| (name.clone(), Arc::clone(stats)))
            .collect()
    }

    /// Returns all links, by name.
    #[must_use]
    pub fn links(&self) -> Vec<Arc<LinkStats>> {
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
