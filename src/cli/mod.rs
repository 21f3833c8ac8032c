//! One file per command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the program speaks to a person"
)]

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

#[cfg(feature = "video")]
pub(crate) mod machine;

#[cfg(feature = "video")]
pub mod analyze;

#[cfg(feature = "video")]
pub mod run;

#[cfg(feature = "video")]
mod looking;

#[cfg(feature = "video")]
mod lens;

#[cfg(feature = "video")]
mod poses;

mod ground;

#[cfg(feature = "video")]
pub mod demo;

#[cfg(feature = "video")]
pub mod bench;

pub mod check;

#[cfg(feature = "video")]
mod probe;

pub mod models;

pub mod dataset;

pub mod locate;

#[cfg(feature = "video")]
mod video_look;

pub mod telemetry;

pub mod calibrate;

pub mod incidents;

pub mod outbox;

pub mod store;

pub mod send_test;

#[cfg(feature = "video")]
pub mod simulate;

#[cfg(feature = "video")]
pub mod serve;

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
    #[cfg(feature = "video")]
    /// Runs the service.
    Run(run::RunArgs),
    #[cfg(feature = "video")]
    /// Shows the whole on a simulated patrol.
    Demo(demo::DemoArgs),
    #[cfg(feature = "video")]
    /// Measures what this machine can carry.
    Bench(bench::BenchArgs),
    /// Checks a pipeline file and says what it means.
    Check(check::CheckArgs),
    /// Lists, shows, verifies and measures models.
    Models(models::ModelsArgs),
    /// Makes training pictures of judged incidents.
    Dataset(dataset::DatasetArgs),
    /// Says where on the ground a pixel is, and how sure.
    Locate(locate::LocateArgs),
    /// Reads telemetry of drones and cameras.
    Telemetry(telemetry::TelemetryArgs),
    /// Finds out where a fixed camera looks.
    Calibrate(calibrate::CalibrateArgs),
    /// Lists, judges and reports incidents.
    Incidents(incidents::IncidentsArgs),
    /// Looks after events that wait to be delivered.
    Outbox(outbox::OutboxArgs),
    /// Verifies, backs up and exports the store.
    Store(store::StoreArgs),
    /// Sends a test event to a sink.
    SendTest(send_test::SendTestArgs),
    #[cfg(feature = "video")]
    /// Renders a scene with a fire at a known place.
    Simulate(simulate::SimulateArgs),
    #[cfg(feature = "video")]
    /// Serves recordings as RTSP streams.
    Serve(serve::ServeArgs),
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
        #[cfg(feature = "video")]
        Command::Run(args) => self::run::run(&args),
        #[cfg(feature = "video")]
        Command::Demo(args) => demo::run(&args),
        #[cfg(feature = "video")]
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Dataset(args) => dataset::run(&args),
        Command::Locate(args) => locate::run(&args),
        Command::Telemetry(args) => telemetry::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Incidents(args) => incidents::run(args),
        Command::Outbox(args) => outbox::run(args),
        Command::Store(args) => store::run(args),
        Command::SendTest(args) => send_test::run(&args),
        #[cfg(feature = "video")]
        Command::Simulate(args) => simulate::run(args),
        #[cfg(feature = "video")]
        Command::Serve(args) => serve::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut grammar(), "emberwatch", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
