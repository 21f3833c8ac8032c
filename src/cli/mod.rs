//! One file per command.

pub mod dataset;

pub mod models;
