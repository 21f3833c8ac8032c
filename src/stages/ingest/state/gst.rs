//! A change of state runs on a thread of its own and has a deadline: a server that accepts and says nothing, a mount
//! that went away or a driver with a bug can each hold it for ever. Such a thread is abandoned and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use tracing::{debug, warn};

use super::super::error::{IngestError, IngestErrorKind};
use super::super::fault;

static ABANDONED: AtomicU64 = AtomicU64::new(0);

/// Returns how many changes of state were abandoned since this program started, each with its thread and its pipeline.
#[must_use]
pub fn abandoned_state_changes() -> u64 {
    ABANDONED.load(Ordering::Relaxed)
}

/// Brings a pipeline to a state, or at least on its way there, within the deadline.
pub(crate) fn change_state(
    pipeline: &gst::Pipeline,
    state: gst::State,
    deadline: Duration,
    location: &str,
) -> Result<(), IngestError> {
    let hung = || {
        IngestError::new(
            IngestErrorKind::Hung,
            location,
            format!("its pipeline did not go to {state:?} within {deadline:?}"),
        )
    };
    let (done, outcome) = crossbeam_channel::bounded(1);
    let owned = pipeline.clone();
    std::thread::Builder::new()
        .name(format!("state/{state:?}").to_lowercase())
        .spawn(move || {
            // Nobody listens any more when the deadline has passed.
            let _abandoned = done.try_send(owned.set_state(state));
        })
        .map_err(|error| hung().caused_by(error))?;
    match outcome.recv_timeout(deadline) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(fault::first_on_bus(pipeline, location).unwrap_or_else(|| {
            IngestError::new(
                IngestErrorKind::Other,
                location,
                format!("its pipeline refused to go to {state:?}"),
            )
            .caused_by(error)
        })),
        Err(_) => {
            ABANDONED.fetch_add(1, Ordering::Relaxed);
            Err(hung())
        }
    }
}

/// Closes a pipeline within the deadline; one that does not close is left behind.
pub(crate) fn shut_down(pipeline: &gst::Pipeline, deadline: Duration, location: &str) {
    match change_state(pipeline, gst::State::Null, deadline, location) {
        Ok(()) => debug!(location, "closed"),
        Err(error) => warn!(%error, "left a pipeline behind"),
    }
}
