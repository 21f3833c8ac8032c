//! From an address to parsed streams: one chain of elements per kind of source.

mod gst;

pub(crate) use gst::{Chain, build};
