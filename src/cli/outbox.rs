//! `emberwatch outbox`: what waits for which sink, and what to do with what was given up.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::store::with_hint;
use crate::clock::{Clock, SystemClock};
use crate::store::{DeliveryFilter, DeliveryState, Store};

/// Lists deliveries, has dead ones tried again, drops what nobody wants any more.
#[derive(Debug, Args)]
pub struct OutboxArgs {
    /// The data folder.
    #[arg(long, env = "EMBERWATCH_DATA", default_value = "data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists how every sink stands, and the deliveries that wait or were given up.
    List {
        #[command(flatten)]
        which: Which,
        /// In which state; waiting and dead ones if left out.
        #[arg(long)]
        state: Option<StateWord>,
        /// The most that are listed.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Has dead events tried again.
    Retry {
        #[command(flatten)]
        which: Which,
        /// All of them, where nothing else says which.
        #[arg(long)]
        all: bool,
    },
    /// Drops events: they are never sent.
    Drop {
        #[command(flatten)]
        which: Which,
        /// Drops waiting events; dead ones if left out.
        #[arg(long)]
        pending: bool,
        /// All of them, where nothing else says which.
        #[arg(long)]
        all: bool,
    },
}

/// Which deliveries.
#[derive(Debug, Args)]
struct Which {
    /// Of this sink.
    #[arg(long)]
    sink: Option<String>,
    /// About this incident or source.
    #[arg(long)]
    subject: Option<String>,
    /// The event with this number.
    #[arg(long)]
    seq: Option<i64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateWord {
    Pending,
    Delivered,
    Dead,
    Dropped,
    Filtered,
}

impl From<StateWord> for DeliveryState {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Pending => Self::Pending,
            StateWord::Delivered => Self::Delivered,
            StateWord::Dead => Self::Dead,
            StateWord::Dropped => Self::Dropped,
            StateWord::Filtered => Self::Filtered,
        }
    }
}

impl Which {
    const fn is_everything(&self) -> bool {
        self.sink.is_none() && self.subject.is_none() && self.seq.is_none()
    }

    fn filter(self, state: Option<DeliveryState>, limit: u32) -> DeliveryFilter {
        DeliveryFilter {
            sink: self.sink,
            state,
            subject: self.subject,
            seq: self.seq,
            limit,
        }
    }
}

/// Runs the command.
pub fn run(args: OutboxArgs) -> anyhow::Result<ExitCode> {
    let read_only = Store::open_read_only(&args.data).map_err(with_hint)?;
    match args.command {
        Command::List {
            which,
            state,
            limit,
            json,
        } => list(&read_only, &which.filter(state.map(Into::into), limit), json),
        Command::Retry { which, all } => {
            refuse_everything(&which, all)?;
            drop(read_only);
            let count = Store::open(&args.data)?.retry(&which.filter(None, 0))?;
            println!("{count} dead events are tried again");
            Ok(ExitCode::SUCCESS)
        }
        Command::Drop { which, pending, all } => {
            refuse_everything(&which, all)?;
            drop(read_only);
            let state = if pending {
                DeliveryState::Pending
            } else {
                DeliveryState::Dead
            };
            let now = SystemClock::new().wall();
            let count = Store::open(&args.data)?.drop_deliveries(&which.filter(Some(state), 0), now)?;
            println!("{count} {} events were dropped", state.name());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn refuse_everything(which: &Which, all: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        all || !which.is_everything(),
        "nothing says which events: give --sink, --subject or --seq, or --all"
    );
    Ok(())
}

fn list(store: &Store, filter: &DeliveryFilter, json: bool) -> anyhow::Result<ExitCode> {
    let sinks = store.sinks()?;
    let mut deliveries = Vec::new();
    let states = filter
        .state
        .map_or(vec![DeliveryState::Pending, DeliveryState::Dead], |state| {
            vec![state]
        });
    for state in states {
        deliveries.extend(store.deliveries(&DeliveryFilter {
            state: Some(state),
            ..filter.clone()
        })?);
    }
    if json {
        let all = serde_json::json!({ "sinks": sinks, "deliveries": deliveries });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    for sink in sinks {
        let oldest = sink
            .oldest_pending
            .map_or(String::new(), |at| format!(", oldest since {at}"));
        let disabled = sink
            .disabled
            .map_or(String::new(), |why| format!(", switched off: {why}"));
        println!(
            "{}: {} pending{oldest}, {} dead{disabled}",
            sink.name, sink.pending, sink.dead
        );
    }
    for delivery in deliveries {
        println!(
            "{:>8}  {:<9} {:<16} {:<40} {}  attempts {}{}",
            delivery.seq,
            delivery.state.name(),
            delivery.sink,
            delivery.kind,
            delivery.subject,
            delivery.attempts,
            delivery
                .problem
                .map_or(String::new(), |problem| format!("  {}", one_line(&problem))),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What a server answered must not write on the terminal as it likes.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(120)
        .collect()
}
