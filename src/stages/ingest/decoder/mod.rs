//! Which decoder reads the stream, and the path from it to the sink.

mod gst;

pub(crate) use gst::attach;
