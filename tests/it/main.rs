//! Tests by property, one module each, in one program.

#![expect(clippy::print_stdout, reason = "tests say why they are skipped")]

mod architecture;

mod fixtures;

mod servers;

mod dispatch_rig;

mod dispatch_sinks;

mod dispatch_brokers;

mod api;

mod geo;

#[cfg(feature = "video")]
mod faults;

#[cfg(feature = "video")]
mod ingest;

#[cfg(feature = "video")]
mod reading;
