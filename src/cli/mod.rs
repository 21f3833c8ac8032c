//! One file per command.

pub mod send_test;
