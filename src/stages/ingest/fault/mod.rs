//! What the library's messages mean in this program's words.

mod gst;

pub(super) use gst::{first_on_bus, from_message};
