//! A decoder's buffer, lent as a picture without a copy.

mod gst;

pub(crate) use gst::picture_of;
