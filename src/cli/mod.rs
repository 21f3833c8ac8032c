//! One file per command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program speaks to a person"
)]

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

pub(crate) mod machine;

#[cfg(feature = "video")]
pub mod analyze;

pub mod check;

pub mod send_test;
#[cfg(feature = "video")]
mod probe;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// Lines of JSON for machines.
    Json,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[cfg(feature = "video")]
    /// Analyses recordings.
    Analyze(analyze::AnalyzeArgs),
    /// Checks a pipeline file and says what it means.
    Check(check::CheckArgs),
    /// Prints a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs a command and returns its exit code; `grammar` is the whole command line, for completions.
pub fn run(command: Command, grammar: impl FnOnce() -> clap::Command) -> anyhow::Result<ExitCode> {
    match command {
        #[cfg(feature = "video")]
        Command::Analyze(args) => analyze::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut grammar(), "emberwatch", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
