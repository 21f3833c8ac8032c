//! Joints: how stages become threads, and how threads are joined, stopped and counted.
//!
//! A stage is a small pure trait ([`stage::Stage`]). One runner ([`runner::Crew`]) owns thread, name, stop and exit.
//! A link ([`link::link`]) is bounded and named. Shutdown is closing the head: every stage drains its input, flushes
//! and drops its sender. [`stop::Stop`] is for impatience only. [`source::start`] wires one source,
//! [`inference::Inference`] what all share, [`service::Service`] the whole.

pub mod stop;

pub mod stage;

pub mod link;

pub mod credit;

pub mod exit;

pub mod runner;

pub mod stats;

pub mod admission;

pub mod inference;

pub mod source;

pub mod feed;

pub mod mount_watch;

#[cfg(feature = "video")]
pub mod keeper;

#[cfg(feature = "video")]
pub mod twin;

#[cfg(feature = "video")]
pub mod shared;

#[cfg(feature = "video")]
mod news;

#[cfg(feature = "video")]
pub mod service;
