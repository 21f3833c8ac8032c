//! Tests by property, one module each, in one program.

#![expect(clippy::print_stdout, reason = "tests say why they are skipped")]

mod architecture;

mod dispatch_schema;

mod dispatch_store;

mod fixtures;

mod geo;

#[cfg(feature = "video")]
mod ingest;

#[cfg(feature = "video")]
mod reading;
