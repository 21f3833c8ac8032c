//! The command line: parse, run, exit code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use emberwatch::cli::{Command, LogFormat, run};
use tracing_subscriber::EnvFilter;

/// Sees smoke and flame in drone and camera video, says where on the ground it is, and gets it to the people who put
/// it out.
///
/// Exit codes: 0 done, 1 done in part or something was found wrong, 2 not done, 141 nobody reads the output any more.
#[derive(Debug, Parser)]
#[command(name = "emberwatch", version, propagate_version = true)]
struct Arguments {
    /// How logs are written to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or by module as in `emberwatch::stages=debug`.
    #[arg(long, global = true, env = "EMBERWATCH_LOG", default_value = "warn")]
    log: String,

    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = match EnvFilter::builder().parse(&arguments.log) {
        Ok(filter) => filter,
        Err(error) => {
            Arguments::command()
                .error(clap::error::ErrorKind::InvalidValue, error)
                .exit();
        }
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_unread(panic.payload()) {
            usual(panic);
        }
    }));
    match catch_unwind(AssertUnwindSafe(|| run(arguments.command, Arguments::command))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            complain(&error);
            ExitCode::from(2)
        }
        Err(panic) if is_unread(panic.as_ref()) => ExitCode::from(UNREAD),
        Err(panic) => resume_unwind(panic),
    }
}

/// As a shell says of a program that was ended because nobody read what it wrote: 128 and the number of the signal.
const UNREAD: u8 = 141;

/// Returns whether the program stopped because its output is read by nobody any more, as after `| head`.
fn is_unread(panic: &(dyn Any + Send)) -> bool {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    words.is_some_and(|words| words.starts_with("failed printing to stdout") && words.contains("Broken pipe"))
}

/// Prints an error with its causes, each once.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to a person")]
fn complain(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    eprintln!("error: {text}");
}
