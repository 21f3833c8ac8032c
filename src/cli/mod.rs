//! One file per command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program speaks to a person"
)]

pub mod dataset;

pub mod models;
