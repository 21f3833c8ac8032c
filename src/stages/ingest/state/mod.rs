//! Changes of state that cannot hang the caller.

mod gst;

pub use gst::abandoned_state_changes;
pub(super) use gst::{change_state, shut_down};
