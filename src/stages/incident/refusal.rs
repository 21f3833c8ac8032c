//! Why the incident stage did not do what a person or the dispatch system asked.

use crate::flow::incident::{IncidentId, State};
use crate::store::{ErrorKind, StoreError};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such incident.
    #[error("there is no incident {0}")]
    UnknownIncident(IncidentId),
    /// Somebody changed it first.
    #[error(
        "incident {incident} is at revision {found}, expected {expected}: read it again and repeat the change"
    )]
    Stale {
        /// Which incident.
        incident: IncidentId,
        /// The revision that the caller had read.
        expected: u64,
        /// The revision that it has.
        found: u64,
    },
    /// The life cycle has no such step.
    #[error("incident {incident} is {from} and cannot become {to}, expected one of: {}", names(.from.successors()))]
    IllegalStep {
        /// Which incident.
        incident: IncidentId,
        /// Its state.
        from: State,
        /// The state that was asked for.
        to: State,
    },
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The store could not write it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn names(states: &[State]) -> String {
    if states.is_empty() {
        return "none".to_owned();
    }
    states
        .iter()
        .map(|state| state.name())
        .collect::<Vec<_>>()
        .join(", ")
}

impl Refusal {
    /// Returns the HTTP status that says it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnknownIncident(_) => 404,
            Self::Stale { .. } => 412,
            Self::IllegalStep { .. } => 409,
            Self::Invalid(_) => 422,
            Self::Store(error) => match error.kind() {
                ErrorKind::NotFound => 404,
                ErrorKind::Conflict => 412,
                ErrorKind::Invalid => 422,
                ErrorKind::NewerVersion | ErrorKind::Internal => 500,
                ErrorKind::Full
                | ErrorKind::ReadOnly
                | ErrorKind::Locked
                | ErrorKind::Corrupt
                | ErrorKind::Io => 503,
            },
        }
    }

    /// Returns a word that names the kind of refusal, for the `type` of a problem answer.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::UnknownIncident(_) => "unknown-incident",
            Self::Stale { .. } => "stale-revision",
            Self::IllegalStep { .. } => "illegal-transition",
            Self::Invalid(_) => "invalid-request",
            Self::Store(_) => "store",
        }
    }
}
