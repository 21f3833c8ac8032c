//! `emberwatch outbox`: what waits for which sink, and what to do with what was given up.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::store::with_hint;
use crate::clock::{Clock, SystemClock};
use crate::flow::incident::Actor;
use crate::store::{AuditEntry, DeliveryFilter, DeliveryState, Store};

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
    /// Forgets a sink that the pipeline file no longer names, with all that waits for it. Until then events are kept for
    /// it, as for a sink that comes back.
    Retire {
        /// The sink.
        sink: String,
        #[command(flatten)]
        who: Who,
    },
    /// Has dead events tried again.
    Retry {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        who: Who,
        /// All of them, where nothing else says which.
        #[arg(long)]
        all: bool,
    },
    /// Drops events: they are never sent.
    Drop {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        who: Who,
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

/// Who asks; stands in the audit.
#[derive(Debug, Args)]
struct Who {
    /// Who does it.
    #[arg(long = "as", env = "USER", default_value = "operator", value_name = "NAME")]
    name: String,
}

impl Who {
    fn audit(self, store: &Store, action: &str, subject: String, count: u64) -> anyhow::Result<()> {
        store.audit(&AuditEntry {
            at: SystemClock::new().wall(),
            actor: Actor::person(self.name),
            action: action.to_owned(),
            subject,
            done: true,
            detail: Some(format!("{count} events")),
        })?;
        Ok(())
    }
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

impl std::fmt::Display for Which {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seq = self.seq.map(|seq| seq.to_string());
        let said: Vec<&str> = [self.sink.as_deref(), self.subject.as_deref(), seq.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        match said.as_slice() {
            [] => formatter.write_str("all"),
            said => formatter.write_str(&said.join(" ")),
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
        Command::Retire { sink, who } => {
            drop(read_only);
            let store = Store::open(&args.data).map_err(with_hint)?;
            let count = store.retire_sink(&sink).map_err(with_hint)?;
            println!("{sink} is forgotten, {count} events that waited for it are not sent");
            who.audit(&store, "retire_sink", sink, count)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Retry { which, who, all } => {
            refuse_everything(&which, all)?;
            drop(read_only);
            let store = Store::open(&args.data).map_err(with_hint)?;
            let subject = which.to_string();
            let count = store.retry(&which.filter(None, 0))?;
            who.audit(&store, "retry_events", subject, count)?;
            println!("{count} dead events are tried again");
            Ok(ExitCode::SUCCESS)
        }
        Command::Drop {
            which,
            who,
            pending,
            all,
        } => {
            refuse_everything(&which, all)?;
            drop(read_only);
            let state = if pending {
                DeliveryState::Pending
            } else {
                DeliveryState::Dead
            };
            let now = SystemClock::new().wall();
            let store = Store::open(&args.data).map_err(with_hint)?;
            let subject = which.to_string();
            let count = store.drop_deliveries(&which.filter(Some(state), 0), now)?;
            who.audit(&store, "drop_events", subject, count)?;
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
