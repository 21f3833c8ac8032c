//! Opens a source, supervises it, and yields decoded frames and encoded packets.
//!
//! ```text
//!                ┌────────────────── one connection (gst.rs) ───────────────────┐
//! [`SourceSpec`] │ source ─▶ demux ─▶ parse ─┬▶ gate ─▶ queue ─▶ decode ─▶ sink │─▶ [`run_live`] ─▶ [`Ingested`]
//!                │                           └▶ tap (clip ring)                 │   [`run_recorded`]
//!                └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! One thread per source calls [`run_live`] or [`run_recorded`]; the library's own threads push packets into the sink
//! and the tap. Supervision is pure: it is driven with a fake [`Opener`] on a simulated clock in its tests.
//!
//! A live source is never given up. Its wait between attempts grows to 30 s, and is cut short when a server that was
//! away answers again ([`Doorbell`]).

pub mod location;

pub mod spec;

pub mod error;

pub mod duty;

pub mod reader;

pub mod health;

pub mod backoff;

pub mod supervisor;

pub mod stats;

pub mod drive;

mod told;

#[cfg(feature = "video")]
mod senderclock;

#[cfg(feature = "video")]
mod doorbell;

#[cfg(feature = "video")]
mod container;

#[cfg(feature = "video")]
mod fault;

#[cfg(feature = "video")]
mod state;

#[cfg(feature = "video")]
mod wire;

#[cfg(feature = "video")]
mod picture;

#[cfg(feature = "video")]
mod decoder;

#[cfg(feature = "video")]
mod chain;

#[cfg(feature = "video")]
pub mod gst;

#[cfg(feature = "video")]
pub use gst::GstOpener;
#[cfg(feature = "video")]
pub(crate) use picture::picture_of;
#[cfg(feature = "video")]
pub use state::abandoned_state_changes;

pub use drive::{Ingested, RecordedTotals, Surroundings, run_live, run_recorded};
pub use duty::DutyControl;
pub use error::{IngestError, IngestErrorKind};
pub use location::{Credentials, Location, recordings_in};
pub use reader::{
    Decoded, Doorbell, Opener, PacketTap, Read, Reader, ReaderCounts, Telemetry, TelemetryKind,
};
pub use spec::{Deadlines, DecoderChoice, MediaWindow, OpenRequest, SourceSpec, Transport};
pub use stats::{IngestSnapshot, IngestStats};
pub use supervisor::StateChange;

#[cfg(test)]
mod tests;
