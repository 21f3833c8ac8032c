//! HTTP interface: incidents, sources, evidence, health, server-sent events, and a page that shows them on one map.
//!
//! ```text
//!  browser, dispatch system ─▶ access ─▶ incidents · evidence · events · sources     all under /api/v1, by token
//!  orchestrator, Prometheus ─▶ /healthz /readyz /metrics                             without a token
//!  dispatch system by MQTT  ─▶ way_back ─▶ the same acts                             by the broker's own rules
//! ```
//!
//! Binds to loopback unless told otherwise, and does not start on any other address without a token. Every change and
//! every read of evidence is in the audit before the answer goes out. Errors are problem documents (RFC 9457).

mod access;

mod act;

mod drill;

mod evidence;

mod guard;

mod health;

mod incidents;

mod openapi;

mod page;

mod precondition;

mod problem;

mod server;

mod stream;

mod way_back;

pub use access::{Role, TokenConfig, hash_token};
pub use openapi::{asyncapi, openapi};
pub use problem::Problem;
pub use server::{Console, ConsoleConfig, ConsoleError, Hooks, start};
pub use way_back::{WayBack, WayBackConfig, WayBackError};
