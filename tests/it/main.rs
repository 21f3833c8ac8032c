//! Tests by property, one module each, in one program.

#![expect(clippy::print_stdout, reason = "tests say why they are skipped")]

mod architecture;

mod fixtures;

mod geo;

mod geo_many;

#[cfg(feature = "video")]
mod ingest;

#[cfg(feature = "video")]
mod reading;

mod telemetry;
