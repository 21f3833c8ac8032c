//! What the library's threads and the reader share: counters, arrivals, refusals.

mod passage;

mod gst;

pub(crate) use gst::{Wire, stream_time};
