//! What all threads of the service share, and what people and metrics read of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::admission::Thinning;
use super::source::SourceGauges;
use super::stats::Board;
use crate::clock::Clock;
use crate::flow::source::{Duty, SourceId, SourceState};

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
    pub(super) views: Arc<Mutex<BTreeMap<SourceId, SourceView>>>,
    pub(super) clock: Arc<dyn Clock>,
    /// What gives way when the machine is full.
    pub thinning: Arc<Thinning>,
}

impl Shared {
    /// Returns what is known of every source, by name.
    #[must_use]
    pub fn views(&self) -> BTreeMap<SourceId, SourceView> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(&self, id: &SourceId, change: impl FnOnce(&mut SourceView)) {
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
