//! `emberwatch store`: looks whether the data folder is whole, copies it, writes it out as text.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::clock::{Clock, SystemClock};
use crate::store::{RetentionPolicy, Store, StoreError};

/// Verifies, copies and exports the data folder.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The data folder.
    #[arg(long, env = "EMBERWATCH_DATA", default_value = "data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the database, the chains of the history and the audit, and whether they agree.
    Verify {
        /// Compares the SHA-256 of every evidence file, too.
        #[arg(long)]
        files: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copies the data folder while it is in use, and verifies the copy.
    Backup {
        /// An empty or new folder.
        to: PathBuf,
        /// Leaves the evidence files out.
        #[arg(long)]
        without_evidence: bool,
    },
    /// Writes everything out as JSON lines with SHA-256 sums.
    Export {
        /// An empty or new folder.
        to: PathBuf,
    },
    /// Deletes what is over its time and writes it into the deletion log.
    Retain {
        /// Days that evidence of unconfirmed incidents is kept; 0 for ever.
        #[arg(long, default_value_t = RetentionPolicy::default().unconfirmed_days)]
        unconfirmed_days: u32,
        /// Days that evidence of confirmed incidents is kept after they ended; 0 for ever.
        #[arg(long, default_value_t = RetentionPolicy::default().confirmed_days)]
        confirmed_days: u32,
        /// Days that delivered events are kept; 0 for ever.
        #[arg(long, default_value_t = RetentionPolicy::default().events_days)]
        events_days: u32,
    },
}

/// Runs the command; verification that finds something exits with 1.
pub fn run(args: StoreArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Verify { files, json } => {
            let summary = read_only(&args.data)?.verify(files)?;
            if json {
                println!("{}", serde_json::to_string_pretty(&summary)?);
            } else {
                println!(
                    "{} incidents, {} lines of history, {} lines of audit, {} evidence files are whole",
                    summary.incidents, summary.history_lines, summary.audit_lines, summary.evidence_files
                );
                println!("history head {}", summary.history_head);
                for finding in &summary.findings {
                    println!("{}: {}", finding.what, finding.problem);
                }
            }
            Ok(if summary.findings.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Backup { to, without_evidence } => {
            let summary = read_only(&args.data)?.backup(&to, !without_evidence)?;
            println!(
                "{}: {} bytes of database, {} evidence files, {} incidents",
                to.display(),
                summary.database_bytes,
                summary.evidence_files,
                summary.verified.incidents
            );
            for finding in &summary.verified.findings {
                println!("{}: {}", finding.what, finding.problem);
            }
            Ok(if summary.verified.findings.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Export { to } => {
            let summary = read_only(&args.data)?.export(&to)?;
            for (name, lines, sum) in &summary.files {
                println!("{sum}  {} ({lines} lines)", to.join(name).display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Retain {
            unconfirmed_days,
            confirmed_days,
            events_days,
        } => {
            let policy = RetentionPolicy {
                unconfirmed_days,
                confirmed_days,
                events_days,
            };
            // Opening for writing makes a folder where there is none: look first.
            drop(read_only(&args.data)?);
            let summary = Store::open(&args.data)?.enforce_retention(&policy, SystemClock::new().wall())?;
            println!(
                "{} evidence files with {} bytes deleted, {} could not be, {} delivered events removed",
                summary.files, summary.bytes, summary.stuck, summary.events
            );
            Ok(if summary.stuck == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

fn read_only(data: &Path) -> anyhow::Result<Store> {
    Store::open_read_only(data).map_err(with_hint)
}

/// Says what can be done about trouble with the store.
#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
pub(super) fn with_hint(error: StoreError) -> anyhow::Error {
    let hint = error.hint();
    let cause = error
        .source()
        .map_or(String::new(), |source| format!(" ({source})"));
    anyhow::anyhow!("{error}{cause}; {hint}")
}
