//! `emberwatch incidents`: lists incidents, moves them along their life cycle, and reports on a period.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::store::with_hint;
use crate::clock::{Clock, SystemClock};
use crate::flow::incident::{Actor, Incident, IncidentId, RejectReason, State};
use crate::flow::source::SourceId;
use crate::stages::incident::{Act, Action, Ids, IncidentBook, IncidentDesk, NoGrid, kept_policy};
use crate::store::{Area, AuditEntry, IncidentFilter, Store};

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
    /// Hands it to a team, where no dispatch system does.
    Dispatch {
        #[command(flatten)]
        one: One,
        /// Which team; the grid cell's own if left out.
        #[arg(long)]
        team: Option<String>,
    },
    /// Says that the fire is out, where no dispatch system does.
    Extinguish(One),
    /// Closes an incident that was put out.
    Close(One),
    /// Says that it burns again, or was rejected or closed by mistake.
    Reopen(One),
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
    /// Begins or ends a drill: what is opened meanwhile is marked as part of it, also by a service that runs. Says whether
    /// one is on where neither is asked for.
    Drill {
        /// What to do.
        #[arg(value_enum)]
        switch: Option<Switch>,
        /// Who does it.
        #[arg(long = "as", env = "USER", default_value = "operator", value_name = "NAME")]
        name: String,
    },
    /// Reports on a day, a week, a month or any period.
    Report(period::ReportArgs),
}

/// Whether a drill begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
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
        Command::Drill { switch, name } => {
            drop(store);
            return drill(&args.data, switch, name);
        }
        Command::Confirm(one) => (one, Action::Confirm),
        Command::Reject { one, reason } => (one, Action::Reject { reason }),
        Command::Dispatch { one, team } => (one, Action::Dispatch { team }),
        Command::Extinguish(one) => (one, Action::Extinguish),
        Command::Close(one) => (one, Action::Close),
        Command::Reopen(one) => (one, Action::Reopen),
        Command::Merge { one, into } => (one, Action::Merge { into }),
        Command::Split { one, sources } => {
            let sources = sources.into_iter().map(SourceId::new).collect();
            (one, Action::Split { sources })
        }
    };
    drop(store);
    act(&args.data, one, action)
}

/// Opens a desk of its own: a program that runs on the same folder sees what it writes and goes on from it.
fn open_desk(data: &Path) -> anyhow::Result<IncidentDesk> {
    let store = Store::open(data).map_err(with_hint)?;
    let book = IncidentBook::new(kept_policy(&store)?, Box::new(NoGrid), Ids::random())?;
    Ok(IncidentDesk::open(book, store, Arc::new(SystemClock::new()))?)
}

fn act(data: &Path, one: One, action: Action) -> anyhow::Result<ExitCode> {
    let desk = open_desk(data)?;
    let actor = Actor::person(one.name);
    let mut act = Act::new(one.id, actor.clone(), action);
    act.note = one.note;
    act.expected_revision = one.revision;
    let outcome = desk.act(&act);
    desk.store().audit(&AuditEntry {
        at: SystemClock::new().wall(),
        actor,
        action: act.action.word().to_owned(),
        subject: one.id.to_string(),
        done: outcome.is_ok(),
        detail: outcome.as_ref().err().map(ToString::to_string),
    })?;
    let acted = outcome?;
    let zone = zone_of(desk.store())?;
    if acted.changed.is_empty() {
        println!("{}  {}  nothing changed", acted.incident.id, acted.incident.state);
    }
    for incident in &acted.changed {
        println!("{}", line_of(incident, &zone));
    }
    Ok(ExitCode::SUCCESS)
}

fn drill(data: &Path, switch: Option<Switch>, name: String) -> anyhow::Result<ExitCode> {
    let desk = open_desk(data)?;
    if let Some(switch) = switch {
        let is_on = switch == Switch::On;
        desk.set_drill(is_on)?;
        desk.store().audit(&AuditEntry {
            at: SystemClock::new().wall(),
            actor: Actor::person(name),
            action: "drill".to_owned(),
            subject: if is_on { "on" } else { "off" }.to_owned(),
            done: true,
            detail: None,
        })?;
    }
    println!(
        "{}",
        if desk.is_drill() {
            "演练中 a drill is on: what is opened now is marked as part of it"
        } else {
            "未在演练 no drill is on"
        }
    );
    Ok(ExitCode::SUCCESS)
}

fn list(store: &Store, which: List) -> anyhow::Result<ExitCode> {
    let zone = zone_of(store)?;
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
            println!("{}", line_of(incident, &zone));
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
    let zone = zone_of(store)?;
    let local = |at: Timestamp| local(at, &zone);
    println!("{}", line_of(&incident, &zone));
    if let Some(sla) = &incident.sla {
        for deadline in &sla.milestones {
            println!(
                "  {} {} {}: due {}, {}",
                sla.profile,
                deadline.milestone.name(),
                deadline.milestone.name_zh(),
                local(deadline.due),
                deadline
                    .done
                    .map_or("open".to_owned(), |done| format!("done {}", local(done))),
            );
        }
    }
    for view in &incident.views {
        println!(
            "  seen by {} as {} ({:.2}), {} to {}",
            view.source,
            view.class,
            view.score,
            local(view.first_seen.at),
            local(view.last_seen.at)
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
            local(transition.at),
            transition.kind,
            transition.to,
            transition.actor.name,
            transition.note.map_or(String::new(), |note| format!(": {note}")),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the time zone of the installation.
fn zone_of(store: &Store) -> anyhow::Result<TimeZone> {
    kept_policy(store)?.zone().map_err(anyhow::Error::msg)
}

/// Returns a moment as people on duty read it, with its offset.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}

fn line_of(incident: &Incident, zone: &TimeZone) -> String {
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
        local(incident.first_seen.at, zone),
        if incident.late { "  late 迟报" } else { "" },
        if incident.drill { "  drill 演练" } else { "" },
    )
}
