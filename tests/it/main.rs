//! One binary for all tests by property: linking it once is what takes the time.

mod fixtures;

#[cfg(feature = "video")]
mod reading;

#[cfg(feature = "video")]
mod ingest;
