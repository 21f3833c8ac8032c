//! Pipeline files: what was written ([`mod@file`]) and what it means ([`plan`]).
//!
//! A file is checked whole: every problem is reported at once, with its place in the TOML, what was expected and what
//! to do. Unknown fields are refused. Secrets come from the environment (`"${NAME}"`) or from a file, never from the
//! pipeline file itself.

pub mod problem;

pub mod file;

pub mod place;

pub mod load;

pub mod plan;

pub mod secret;
