//! One file per sink.

pub mod webhook;

pub mod mqtt;

pub mod nats;

#[cfg(feature = "kafka")]
pub mod kafka;

pub mod cot;

pub mod cap;

pub mod robot;

pub mod lines;

pub mod gb28181;
