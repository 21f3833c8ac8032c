//! `emberwatch dataset`: pictures for the next training.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::dataset::export::export;

/// Makes training pictures out of what people confirmed and rejected.
#[derive(Debug, Args)]
pub struct DatasetArgs {
    #[command(subcommand)]
    command: DatasetCommand,
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    /// Turn confirmed and rejected incidents into a YOLO dataset that models/training takes as it is.
    Export(ExportArgs),
}

/// Names the incidents and the new dataset.
#[derive(Debug, Args)]
struct ExportArgs {
    /// The data folder of the service, or a file of incidents (JSON lines).
    input: PathBuf,
    /// The folder to make.
    #[arg(long)]
    out: PathBuf,
    /// Share of the incidents that is kept for validation.
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    val_share: f64,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("found {text:?}, expected a share from 0 to 1"))
}

/// Runs the command.
pub fn run(args: &DatasetArgs) -> anyhow::Result<ExitCode> {
    let DatasetCommand::Export(args) = &args.command;
    let exported = export(&args.input, &args.out, args.val_share)
        .with_context(|| format!("cannot export {}", args.input.display()))?;
    for problem in &exported.problems {
        eprintln!("left out: {problem}");
    }
    println!(
        "{}: {} pictures with fire, {} without, {} of them for validation, {} left out",
        args.out.display(),
        exported.confirmed,
        exported.rejected,
        exported.val,
        exported.problems.len()
    );
    Ok(ExitCode::SUCCESS)
}
