//! Makes one incident of the reports of all sources, and keeps its life cycle.
//!
//! [`IncidentBook`] is the pure core: reports, acts and the time go in, changes come out. [`IncidentDesk`] puts the
//! store behind it: each change, its line in the history and its events are written in one transaction before anybody
//! is told that it is done.
//!
//! ```text
//! report ─▶ known track? ─▶ masked? ─▶ fits an open incident? ─▶ quiet zone? ─▶ place of an ended one? ─▶ new
//!              │                          │                                        │
//!              └──────── update ◀─────────┘                  dismissed: quiet, unless it changed: re-open
//! ```

mod act;

mod action;

mod associate;

mod book;

mod config;

mod deadlines;

mod desk;

mod fuse;

mod grid;

mod ids;

mod plane;

mod refusal;

mod schedule;

mod step;

mod update;

pub use action::{Act, Action};
pub use book::{IncidentBook, Quiet};
pub use config::{ConfigProblems, ConfirmRule, IncidentConfig, PictureMask, QuietZone};
pub use desk::{Acted, IncidentDesk, kept_policy};
pub use grid::{GridAnswer, GridLookup, NoGrid};
pub use ids::Ids;
pub use refusal::Refusal;
pub use schedule::{Day, Schedule, TimeWindow, Zone};

#[cfg(test)]
mod tests;
