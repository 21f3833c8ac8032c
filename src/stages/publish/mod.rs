//! Delivers events from the outbox to the world.
//!
//! ```text
//!  store (outbox) ─▶ delivery loop ─▶ sink      one loop and one sink for each `[[sink]]`; none waits for another
//!        ▲                 │
//!        └── settled ◀─────┘                    delivered · failed, again later · dead, by hand · filtered
//! ```
//!
//! Events of one incident arrive in order, each at least once and under the same id. tokio lives here and in the
//! console alone; everything before blocks.

pub mod address;

pub mod backoff;

pub mod broker;

pub mod delivery;

pub mod evidence;

pub mod filter;

mod http;

pub mod limit;

pub mod publisher;

pub mod samples;

pub mod settings;

pub mod signature;

pub mod sink;

pub mod sinks;

pub mod template;

pub mod wording;

pub use publisher::{PublishOptions, Publisher, SinkReport, StartError, start};
pub use settings::{SinkConfig, Target};
