//! Tests by property, one module each, in one program.

#![expect(clippy::print_stdout, reason = "tests say why they are skipped")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[cfg(feature = "video")]
mod analysis;
mod api;
mod architecture;
#[cfg(feature = "video")]
mod bursts;
#[cfg(feature = "video")]
mod clocks;
mod command_line;
#[cfg(feature = "video")]
mod commands;
mod configuration;
mod dispatch_brokers;
mod dispatch_crash;
mod dispatch_damage;
#[cfg(feature = "kafka")]
mod dispatch_kafka;
mod dispatch_outage;
mod dispatch_rig;
mod dispatch_schema;
mod dispatch_sinks;
mod dispatch_store;
mod dispatch_xml;
#[cfg(feature = "video")]
mod evaluation;
#[cfg(feature = "video")]
mod faults;
mod fixtures;
#[cfg(feature = "video")]
mod flow;
mod geo;
mod geo_many;
#[cfg(feature = "video")]
mod ingest;
mod locating;
mod models;
mod mutated;
#[cfg(feature = "video")]
mod overload;
#[cfg(feature = "video")]
mod positions;
mod ptz;
#[cfg(feature = "video")]
mod reading;
#[cfg(feature = "video")]
mod retraining;
mod servers;
#[cfg(feature = "video")]
mod service;
#[cfg(feature = "video")]
mod service_dispatch;
#[cfg(feature = "video")]
mod simulator;
mod telemetry;
#[cfg(feature = "video")]
mod transports;
