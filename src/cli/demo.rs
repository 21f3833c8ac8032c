//! `emberwatch demo`: a simulated patrol, served as real RTSP streams on loopback, watched by the real service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use jiff::Timestamp;

use super::machine;
use super::run::Running;
use crate::clock::{Clock, SystemClock};
use crate::config::load;
use crate::flow::incident::Incident;
use crate::flow::pose::Wgs84;
use crate::flow::source::SourceState;
use crate::geo::ellipsoid::distance_m;
use crate::pipeline::exit::Exit;
use crate::pipeline::runner::Crew;
use crate::pipeline::stats::Board;
use crate::pipeline::stop::Stop;
use crate::simulator::serve::RtspServer;
use crate::simulator::{DEMO_FIRE_START_S, DEMO_SECONDS, SceneRecord, WrittenScene, demo_patrol};
use crate::store::IncidentFilter;

/// Shows the whole on a simulated patrol: a drone and two towers over farmland with a fire at a known place.
///
/// The scene is rendered once and kept; the streams are real RTSP on loopback; events are printed as they are
/// published; the table at the end compares what was found with what was simulated.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the rendered scene and the demo's data are kept.
    #[arg(long, default_value = "build/demo")]
    pub folder: PathBuf,

    /// How long to watch, in seconds.
    #[arg(long, default_value_t = DEMO_SECONDS)]
    pub seconds: f64,

    /// Keep the service and its page running until interrupted.
    #[arg(long)]
    pub stay: bool,
}

/// Renders the patrol, or finds it rendered.
fn scenes(folder: &Path) -> anyhow::Result<Vec<WrittenScene>> {
    let names = ["drone", "tower", "tower-east"];
    let rendered = |name: &str| WrittenScene {
        video: folder.join(format!("{name}.mp4")),
        truth: folder.join(format!("{name}.truth.jsonl")),
        scene: folder.join(format!("{name}.scene.json")),
        srt: folder.join(format!("{name}.SRT")),
        klv: folder.join(format!("{name}.klv")),
        csv: folder.join(format!("{name}.csv")),
    };
    let all: Vec<WrittenScene> = names.into_iter().map(rendered).collect();
    if all
        .iter()
        .all(|scene| scene.video.is_file() && scene.scene.is_file())
    {
        return Ok(all);
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("rendering the patrol (once) into {}", folder.display());
    let bar = indicatif::ProgressBar::new(0);
    let written = demo_patrol(folder, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    Ok(written)
}

fn record(scene: &WrittenScene) -> anyhow::Result<SceneRecord> {
    let text = std::fs::read_to_string(&scene.scene)
        .with_context(|| format!("cannot read {}", scene.scene.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Writes the pipeline file of the patrol and returns its text.
fn pipeline(urls: &[(String, String, SceneRecord)]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "[service]\ndata = \"data\"\n\n[console]\nlisten = \"127.0.0.1:0\"\n\n[incidents]\nsite = \"urn:emberwatch:demo\"\n\n\
         [[incidents.confirm]]\nname = \"sure\"\nmin_score = 0.3\nmin_seen_s = 2.0\n\n\
         [[sink]]\nname = \"events\"\nto = { kind = \"json_lines\", path = \"events.jsonl\" }\n",
    );
    for (name, url, record) in urls {
        let is_fixed = name != "drone";
        let _written = write!(
            text,
            "\n[[source]]\nid = \"{name}\"\nurl = \"{url}\"\nkind = \"live\"\nmount = \"{}\"\nduty = \"watch\"\nrate = 5.0\n",
            if is_fixed { "fixed" } else { "moving" }
        );
        if !is_fixed {
            text.push_str("telemetry = \"../drone.SRT\"\n");
        }
        if is_fixed {
            let pose = &record.first_pose;
            let _written = write!(
                text,
                "[source.camera]\nmast = {{ lat = {}, lon = {}, height = {{ metres = {:.2}, datum = \"ground\" }} }}\n\
                 attitude = {{ yaw_deg = {}, pitch_deg = {}, roll_deg = {} }}\noptics = {{ hfov_deg = {} }}\n",
                pose.lat,
                pose.lon,
                pose.height_m - record.ground_height_m,
                pose.yaw_deg,
                pose.pitch_deg,
                pose.roll_deg,
                pose.hfov_deg
            );
        }
    }
    text
}

/// Runs the command.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stop = Stop::new();
    machine::stop_on_signals(&stop)?;
    let scenes = scenes(&args.folder)?;

    let server = RtspServer::bind(0, None)?;
    let mut urls = Vec::new();
    for scene in &scenes {
        let name = scene
            .video
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .ok_or_else(|| anyhow!("{} has no name", scene.video.display()))?;
        let served = server.serve_file(&scene.video, std::slice::from_ref(&name))?;
        let url = served
            .into_iter()
            .next()
            .ok_or_else(|| anyhow!("{name} is not served"))?;
        urls.push((name, url, record(scene)?));
    }
    let mut crew = Crew::new(Board::default(), Stop::new());
    let serving = crew.stop();
    crew.spawn("rtsp-server", move |stop, _| {
        server.run(&|wait| {
            if wait.is_zero() {
                stop.is_requested()
            } else {
                stop.wait_for(wait)
            }
        });
        Exit::Stopped
    })?;

    let folder = args.folder.join("run");
    // Each demo begins with an empty store: what an earlier one found would be found again.
    if folder.is_dir() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("pipeline.toml");
    std::fs::write(&path, pipeline(&urls))?;
    let file = load::read(&path)?;
    let mut running = Running::start(&path, file, &clock)?;
    println!(
        "watching {} streams; page and metrics on http://{}",
        urls.len(),
        running.address()
    );

    let began = clock.monotonic();
    let mut live_at: std::collections::BTreeMap<String, Timestamp> = std::collections::BTreeMap::new();
    let mut told = std::collections::BTreeMap::new();
    while !stop.is_requested() {
        if let Some(trouble) = running.look_after(Duration::from_millis(200)) {
            return Err(anyhow!(trouble));
        }
        for (id, view) in running.shared.views() {
            if view.state == SourceState::Live {
                live_at.entry(id.as_str().to_owned()).or_insert_with(|| {
                    println!("{}  {id} is live", time(view.since));
                    view.since
                });
            }
        }
        for incident in running
            .desk()
            .store()
            .incidents(&IncidentFilter::default())?
            .incidents
        {
            let seen = told.insert(incident.id, (incident.revision, incident.state));
            if seen.map(|(_, state)| state) != Some(incident.state) {
                println!(
                    "{}  火点 incident {}: {:?}, {}",
                    time(incident.changed_at),
                    short(&incident),
                    incident.state,
                    words(&incident)
                );
            }
        }
        let is_over = clock.monotonic().since(began).as_secs_f64() >= args.seconds;
        if is_over && !args.stay {
            break;
        }
    }
    let incidents = running
        .desk()
        .store()
        .incidents(&IncidentFilter::default())?
        .incidents;
    table(&urls, &live_at, &incidents);
    let trouble = running.drain();
    serving.request();
    let _endings = crew.join();
    println!("events: {}", folder.join("data").join("events.jsonl").display());
    println!(
        "pictures and clips: {}",
        folder.join("data").join("evidence").display()
    );
    if let Some(trouble) = trouble {
        return Err(anyhow!(trouble));
    }
    Ok(ExitCode::from(u8::from(incidents.is_empty())))
}

fn time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

fn short(incident: &Incident) -> String {
    let id = incident.id.to_string();
    id.get(id.len().saturating_sub(6)..)
        .unwrap_or_default()
        .to_owned()
}

fn words(incident: &Incident) -> String {
    let sources: std::collections::BTreeSet<&str> =
        incident.views.iter().map(|view| view.source.as_str()).collect();
    let sources: Vec<&str> = sources.into_iter().collect();
    let place = incident.position.as_ref().map_or_else(
        || "no position yet".to_owned(),
        |position| {
            format!(
                "{:.5}, {:.5} ± {:.0} m",
                position.point.lat, position.point.lon, position.ce90_m
            )
        },
    );
    format!(
        "{} {:.2} by {}; {place}",
        incident.class,
        incident.confidence,
        sources.join(" + ")
    )
}

/// Prints what was found beside what was simulated.
fn table(
    urls: &[(String, String, SceneRecord)],
    live_at: &std::collections::BTreeMap<String, Timestamp>,
    incidents: &[Incident],
) {
    println!(
        "\n{:<12} {:<10} {:<14} {:<12} found after",
        "source", "live", "fire visible", "first seen"
    );
    for (name, _, record) in urls {
        let visible = record
            .first_visible
            .map_or(DEMO_FIRE_START_S, |(_, second)| second);
        let live = live_at.get(name);
        let burns = live.map(|live| *live + Duration::from_secs_f64(visible));
        let seen = incidents
            .iter()
            .flat_map(|incident| &incident.views)
            .filter(|view| view.source.as_str() == name)
            .map(|view| view.first_seen.at)
            .min();
        let after = match (burns, seen) {
            (Some(burns), Some(seen)) => {
                format!("{:.1} s", seen.duration_since(burns).as_secs_f64().max(0.0))
            }
            _ => "-".to_owned(),
        };
        let or_dash = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), time);
        println!(
            "{name:<12} {:<10} {:<14} {:<12} {after}",
            or_dash(live.copied()),
            or_dash(burns),
            or_dash(seen)
        );
    }
    let truth = urls.iter().find_map(|(_, _, record)| record.fire);
    println!(
        "\n{:<8} {:<10} {:<10} {:<28} {:<8} off by",
        "incident", "opened", "state", "position", "ce90"
    );
    for incident in incidents {
        let (place, ce90, off) = match (&incident.position, truth) {
            (Some(position), Some(truth)) => {
                let fire = Wgs84 {
                    lat: truth.lat,
                    lon: truth.lon,
                };
                let off = distance_m(position.point, fire);
                (
                    format!("{:.5}, {:.5}", position.point.lat, position.point.lon),
                    format!("{:.0} m", position.ce90_m),
                    format!("{off:.0} m"),
                )
            }
            _ => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
        };
        println!(
            "{:<8} {:<10} {:<10} {place:<28} {ce90:<8} {off}",
            short(incident),
            time(incident.opened_at),
            format!("{:?}", incident.state)
        );
    }
    if incidents.is_empty() {
        println!("no incident was found");
    }
}
