//! One file per command.

pub mod calibrate;
