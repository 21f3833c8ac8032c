//! `emberwatch incidents`: lists incidents, moves them along their life cycle, and reports on a period.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::store::with_hint;
use crate::clock::SystemClock;
use crate::flow::incident::{Actor, Incident, IncidentId, RejectReason, State};
use crate::flow::source::SourceId;
use crate::stages::incident::{Act, Action, Ids, IncidentBook, IncidentDesk, NoGrid, kept_policy};
use crate::store::{Area, IncidentFilter, Store};

mod csv;

mod html;

mod period;

/// Lists, judges and reports incidents.
#[derive(Debug, Args)]
pub struct IncidentsArgs {
    /// The data folder.
    #[arg(long, env = "EMBERWATCH_DATA", default_value = "data", global = true)]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists incidents, newest first.
    List(List),
    /// Shows one incident with its history.
    Show {
        /// The incident.
        id: IncidentId,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Says that it burns.
    Confirm(One),
    /// Says that it is no fire, or none to act on.
    Reject {
        #[command(flatten)]
        one: One,
        /// Why: `household_chimney`, `ritual`, `permitted_burn`, `steam`, `dust`, `fog`, `sunlight`, `vehicle_light`,
        /// `drill`, `duplicate`, `out_of_area`, `not_found_on_site` or `other`.
        #[arg(long)]
        reason: RejectReason,
    },
    /// Closes an incident that was put out.
    Close(One),
    /// Gives all that one incident has to another.
    Merge {
        #[command(flatten)]
        one: One,
        /// The incident that goes on.
        #[arg(long)]
        into: IncidentId,
    },
    /// Makes an incident of its own of what some sources see.
    Split {
        #[command(flatten)]
        one: One,
        /// The sources whose views go.
        #[arg(long, required = true, value_delimiter = ',')]
        sources: Vec<String>,
    },
    /// Reports on a day, a week, a month or any period.
    Report(period::ReportArgs),
}

/// Which incidents to list.
#[derive(Debug, Args)]
struct List {
    /// In these states.
    #[arg(long, value_delimiter = ',')]
    state: Vec<State>,
    /// In this district.
    #[arg(long)]
    district: Option<String>,
    /// In this township.
    #[arg(long)]
    township: Option<String>,
    /// In this village.
    #[arg(long)]
    village: Option<String>,
    /// The most that are listed.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Prints JSON lines.
    #[arg(long)]
    json: bool,
}

/// One incident, and who does something to it.
#[derive(Debug, Args)]
struct One {
    /// The incident.
    id: IncidentId,
    /// Who does it.
    #[arg(long = "as", env = "USER", default_value = "operator", value_name = "NAME")]
    name: String,
    /// What else should be written down.
    #[arg(long)]
    note: Option<String>,
    /// Refuses if the incident is no longer at this revision.
    #[arg(long)]
    revision: Option<u64>,
}

/// Runs the command.
pub fn run(args: IncidentsArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open_read_only(&args.data).map_err(with_hint)?;
    let (one, action) = match args.command {
        Command::List(which) => return list(&store, which),
        Command::Show { id, json } => return show(&store, id, json),
        Command::Report(report) => return period::run(&store, &report),
        Command::Confirm(one) => (one, Action::Confirm),
        Command::Reject { one, reason } => (one, Action::Reject { reason }),
        Command::Close(one) => (one, Action::Close),
        Command::Merge { one, into } => (one, Action::Merge { into }),
        Command::Split { one, sources } => {
            let sources = sources.into_iter().map(SourceId::new).collect();
            (one, Action::Split { sources })
        }
    };
    drop(store);
    act(&args.data, one, action)
}

/// Acts through a desk of its own: a program that runs on the same folder sees the new revision and goes on from it.
fn act(data: &std::path::Path, one: One, action: Action) -> anyhow::Result<ExitCode> {
    let store = Store::open(data).map_err(with_hint)?;
    let book = IncidentBook::new(kept_policy(&store)?, Box::new(NoGrid), Ids::random())?;
    let desk = IncidentDesk::open(book, store, Arc::new(SystemClock::new()))?;
    let mut act = Act::new(one.id, Actor::person(one.name), action);
    act.note = one.note;
    act.expected_revision = one.revision;
    let acted = desk.act(&act)?;
    if acted.changed.is_empty() {
        println!("{}  {}  nothing changed", acted.incident.id, acted.incident.state);
    }
    for incident in &acted.changed {
        println!("{}", line_of(incident));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &Store, which: List) -> anyhow::Result<ExitCode> {
    let page = store.incidents(&IncidentFilter {
        states: which.state,
        area: Area {
            district: which.district,
            township: which.township,
            village: which.village,
        },
        limit: which.limit,
        ..IncidentFilter::default()
    })?;
    for incident in &page.incidents {
        if which.json {
            println!("{}", serde_json::to_string(incident)?);
        } else {
            println!("{}", line_of(incident));
        }
    }
    if page.next.is_some() && !which.json {
        println!("there are more: raise --limit");
    }
    Ok(ExitCode::SUCCESS)
}

fn show(store: &Store, id: IncidentId, json: bool) -> anyhow::Result<ExitCode> {
    let incident = store
        .incident(id)?
        .with_context(|| format!("there is no incident {id}"))?;
    let history = store.history(id)?;
    if json {
        let all = serde_json::json!({ "incident": incident, "history": history });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", line_of(&incident));
    if let Some(sla) = &incident.sla {
        for deadline in &sla.milestones {
            println!(
                "  {} {} {}: due {}, {}",
                sla.profile,
                deadline.milestone.name(),
                deadline.milestone.name_zh(),
                deadline.due,
                deadline
                    .done
                    .map_or("open".to_owned(), |done| format!("done {done}")),
            );
        }
    }
    for view in &incident.views {
        println!(
            "  seen by {} as {} ({:.2}), {} to {}",
            view.source, view.class, view.score, view.first_seen.at, view.last_seen.at
        );
    }
    for file in &incident.evidence {
        println!("  {} {}", file.name, file.sha256);
    }
    for line in history {
        let transition = line.transition;
        println!(
            "  {:>4}  {}  {:?}  {}  by {}{}",
            transition.revision,
            transition.at,
            transition.kind,
            transition.to,
            transition.actor.name,
            transition.note.map_or(String::new(), |note| format!(": {note}")),
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of(incident: &Incident) -> String {
    let place = incident.position.map_or_else(
        || "no position".to_owned(),
        |position| {
            format!(
                "{:.6}, {:.6} ± {:.0} m",
                position.point.lat, position.point.lon, position.ce90_m
            )
        },
    );
    let cell = incident.grid.as_ref().map_or(String::new(), |grid| {
        [&grid.district, &grid.township, &grid.village]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("/")
    });
    format!(
        "{}  {:<12} {}  {:<5}  {}  {place}  {cell}{}{}",
        incident.id,
        incident.state.name(),
        incident.state.name_zh(),
        incident.class.name(),
        incident.first_seen.at,
        if incident.late { "  late 迟报" } else { "" },
        if incident.drill { "  drill 演练" } else { "" },
    )
}
