//! How many simulated plumes are found in time, and how many incidents are made of scenes that only look like fire.
//!
//! `cargo bench --bench scenes -- --out work/scenes --seeds 10 --hours 1`. Renders what is not there yet, runs
//! `emberwatch analyze --looks` over all of it and prints two tables. A row of the first says how many plumes were
//! alerted, at the plume, within 3 s of covering 1 % of the picture (by their box) for good. Scenes of one seed share
//! their wind and the directions of their cameras; the intervals take clips for independent.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser;
use emberwatch::analysis::looks::{self, FrameLook};
use emberwatch::analysis::summary::{InputSummary, Summary};
use emberwatch::analysis::truth::{ClipTruth, simulated};
use emberwatch::flow::detection::{BBox, Class};
use emberwatch::simulator::{OutputOptions, SceneKind, SceneOptions, Weather, write};
use serde::Deserialize;

#[derive(Debug, Parser)]
struct Args {
    /// Where clips and answers are kept; clips that are there are not rendered again.
    #[arg(long, default_value = "target/scenes")]
    out: PathBuf,
    /// How many seeds of each kind of burning scene.
    #[arg(long, default_value_t = 4)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1000)]
    first_seed: u64,
    /// Hours of scenes without fire, shared by their kinds.
    #[arg(long, default_value_t = 0.1)]
    hours: f64,
    /// Width of the clips; they are 16:9.
    #[arg(long, default_value_t = 960)]
    width: u32,
    /// Frames a second of the clips, all of which are looked at.
    #[arg(long, default_value_t = 5.0)]
    fps: f64,
    /// The model.
    #[arg(long)]
    model: Option<String>,
    /// Only render.
    #[arg(long)]
    render_only: bool,
    /// Which program analyses.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_emberwatch"))]
    program: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Length of a burning clip in seconds: the fire starts after three.
const BURNING_S: f64 = 16.0;
/// Length of a clip without fire.
const CALM_S: f64 = 60.0;
/// A plume counts from this share of the picture on.
const PLUME: f64 = 0.01;
/// It must be found so soon.
const WITHIN_S: f64 = 3.0;

/// A clip that is rendered, with the row it belongs to.
struct Clip {
    video: PathBuf,
    row: String,
    is_fixed: bool,
    burns: bool,
}

fn scenes(args: &Args) -> Vec<(SceneOptions, String)> {
    let with = |kind: SceneKind, weather: Option<Weather>, seed: u64, seconds: f64, fire_size: f64| {
        let defaults = SceneOptions::new(kind);
        SceneOptions {
            seed,
            seconds,
            width: args.width,
            height: (args.width * 9 / 16) & !1,
            frames_per_second: args.fps,
            weather: weather.unwrap_or(defaults.weather),
            fire_size,
            ..defaults
        }
    };
    let mut scenes = Vec::new();
    for seed in args.first_seed..args.first_seed + args.seeds {
        for kind in [SceneKind::Drone, SceneKind::Orbit] {
            for (weather, word) in [
                (Weather::Clear, "clear"),
                (Weather::Haze, "haze"),
                (Weather::Dusk, "dusk"),
            ] {
                // Sizes from a bundle of straw to a burning heap.
                let size = [0.3, 0.6, 1.0, 2.0][(seed % 4) as usize];
                scenes.push((with(kind, Some(weather), seed, BURNING_S, size), word.to_owned()));
            }
        }
    }
    let kinds = SceneKind::LOOKALIKES;
    let clips = (args.hours * 3600.0 / CALM_S).round() as u64;
    for number in 0..clips {
        let kind = kinds[(number % kinds.len() as u64) as usize];
        let seed = args.first_seed + number / kinds.len() as u64;
        // Each kind by turns at its usual hour, in haze and at dusk; lamps and sunsets have their own.
        let weather = match (kind, seed % 3) {
            (SceneKind::LookalikeSunset | SceneKind::LookalikeHeadlights, _) | (_, 0) => None,
            (_, 1) => Some(Weather::Haze),
            _ => Some(Weather::Dusk),
        };
        scenes.push((with(kind, weather, seed, CALM_S, 1.0), kind.name().to_owned()));
    }
    scenes
}

fn render(args: &Args) -> anyhow::Result<Vec<Clip>> {
    let mut clips = Vec::new();
    for (options, row) in scenes(args) {
        let weather = format!("{:?}", options.weather).to_lowercase();
        let name = format!("{}-{weather}-{}", options.kind.name(), options.seed);
        let video = args.out.join(format!("{name}.mp4"));
        // The record is written after video and truth.
        if !video.with_extension("scene.json").is_file() {
            let output = OutputOptions {
                name: Some(name),
                ..OutputOptions::default()
            };
            write(&options, &output, &args.out, &mut |_| {})?;
            println!("rendered {}", video.display());
        }
        clips.push(Clip {
            video,
            row,
            is_fixed: options.kind.is_fixed(),
            burns: !options.kind.is_lookalike(),
        });
    }
    Ok(clips)
}

/// What the program said of the clips.
#[derive(Default)]
struct Answers {
    summaries: BTreeMap<PathBuf, InputSummary>,
    looks: BTreeMap<String, Vec<FrameLook>>,
    alerts: BTreeMap<String, Vec<(u64, f64)>>,
    cpu_s: f64,
}

#[derive(Deserialize)]
struct TrackLine {
    source: String,
    track: u64,
    #[serde(default)]
    alert_s: Option<f64>,
}

fn analyse(args: &Args, clips: &[Clip], mount: &str, answers: &mut Answers) -> anyhow::Result<()> {
    let chosen: Vec<&Path> = clips
        .iter()
        .filter(|clip| clip.is_fixed == (mount == "fixed"))
        .map(|clip| clip.video.as_path())
        .collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let out = args.out.join(format!("analysis-{mount}"));
    let mut command = Command::new(&args.program);
    command.args(["analyze", "--looks", "--rate", "0", "--mount", mount, "--out"]);
    command.arg(&out).args(&chosen);
    if let Some(model) = &args.model {
        command.args(["--model", model]);
    }
    let done = command.output().context("the program could not be started")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let summary: Summary = serde_json::from_str(&std::fs::read_to_string(out.join("summary.json"))?)?;
    println!(
        "{} {} over {} clips of {mount} cameras: {:.0} CPU s",
        summary.model.name,
        summary.model.version,
        summary.inputs.len(),
        summary.cpu_s
    );
    answers.cpu_s += summary.cpu_s;
    for input in summary.inputs {
        answers.summaries.insert(PathBuf::from(&input.path), input);
    }
    answers
        .looks
        .append(&mut looks::read(&out.join(looks::FILE)).map_err(|problem| anyhow!("{problem}"))?);
    for line in std::fs::read_to_string(out.join("tracks.jsonl"))?.lines() {
        let track: TrackLine = serde_json::from_str(line)?;
        let alerts = answers.alerts.entry(track.source).or_default();
        alerts.extend(track.alert_s.map(|second| (track.track, second)));
    }
    Ok(())
}

/// When the plume begins to cover enough of the picture until the end of the clip or for `WITHIN_S` at least.
fn plume_from(video: &Path) -> anyhow::Result<Option<f64>> {
    let truths = simulated(video).map_err(|problem| anyhow!("{problem}"))?;
    let covers = |boxes: &[emberwatch::simulator::TrueBox]| {
        boxes
            .iter()
            .any(|seen| seen.class == Class::Smoke && seen.area_fraction >= PLUME)
    };
    for (place, truth) in truths.iter().enumerate() {
        let mut later = truths[place..]
            .iter()
            .take_while(|later| later.pts_s - truth.pts_s <= WITHIN_S);
        let lasts = truths
            .last()
            .is_some_and(|last| last.pts_s - truth.pts_s >= WITHIN_S);
        if lasts && later.all(|later| covers(&later.boxes)) {
            return Ok(Some(truth.pts_s));
        }
    }
    Ok(None)
}

/// The box of a track at a moment.
fn box_at(frames: &[FrameLook], track: u64, at_s: f64) -> Option<BBox> {
    let frame = frames
        .iter()
        .find(|frame| (frame.pts_ns.as_secs_f64() - at_s).abs() < 2e-3)?;
    frame
        .tracks
        .iter()
        .find(|look| look.track == track)
        .map(|look| look.bbox)
}

#[derive(Default)]
struct Row {
    plumes: usize,
    found: usize,
    delays: Vec<f64>,
    missed: Vec<String>,
    beside: usize,
}

fn burning(clips: &[Clip], answers: &Answers) -> anyhow::Result<BTreeMap<String, Row>> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for clip in clips.iter().filter(|clip| clip.burns) {
        let Some(from_s) = plume_from(&clip.video)? else {
            continue;
        };
        let name = clip.video.display().to_string();
        let truth = ClipTruth::beside(&clip.video)
            .map_err(|problem| anyhow!("{problem}"))?
            .context("a rendered clip should have its truth beside it")?;
        let frames = answers.looks.get(&name).map_or(&[][..], Vec::as_slice);
        let mut first: Option<f64> = None;
        let row = rows.entry(clip.row.clone()).or_default();
        for (track, at_s) in answers.alerts.get(&name).into_iter().flatten() {
            let bbox = box_at(frames, *track, *at_s).context("an alert should be among the looks")?;
            if truth.touches(*at_s, &bbox) == Some(true) {
                first = Some(first.map_or(*at_s, |first| first.min(*at_s)));
            } else {
                row.beside += 1;
            }
        }
        row.plumes += 1;
        row.delays.extend(first.map(|first| first - from_s));
        if first.is_some_and(|first| first - from_s <= WITHIN_S + 1e-6) {
            row.found += 1;
        } else {
            let late = first.map_or_else(|| "never".to_owned(), |first| format!("{:.1} s", first - from_s));
            row.missed.push(format!("{name}: {late}"));
        }
    }
    Ok(rows)
}

/// Returns the 95 % interval of a share, by Wilson.
fn wilson(part: usize, whole: usize) -> (f64, f64) {
    let (share, count, z) = (part as f64 / whole as f64, whole as f64, 1.96);
    let middle = share + z * z / (2.0 * count);
    let half = z * (share * (1.0 - share) / count + z * z / (4.0 * count * count)).sqrt();
    let scale = 1.0 + z * z / count;
    ((middle - half) / scale, (middle + half) / scale)
}

fn print(clips: &[Clip], answers: &Answers) -> anyhow::Result<()> {
    let rows = burning(clips, answers)?;
    println!(
        "\n{:<8} {:>7} {:>14} {:>18} {:>10} {:>8}",
        "weather", "plumes", "within 3 s", "95 % interval", "median s", "beside"
    );
    let mut all = Row::default();
    for (weather, row) in rows {
        print_row(&weather, &row);
        all.plumes += row.plumes;
        all.found += row.found;
        all.delays.extend(row.delays);
        all.missed.extend(row.missed);
        all.beside += row.beside;
    }
    print_row("all", &all);
    for missed in &all.missed {
        println!("  not in time: {missed}");
    }
    let mut calm: BTreeMap<&str, (f64, u64, u64)> = BTreeMap::new();
    for clip in clips.iter().filter(|clip| !clip.burns) {
        let Some(input) = answers.summaries.get(&clip.video) else {
            continue;
        };
        let row = calm.entry(&clip.row).or_default();
        row.0 += input.duration_s;
        row.1 += input.alerts;
        row.2 += input.incidents;
        if input.alerts > 0 {
            println!("  false: {}: {} alerts", clip.video.display(), input.alerts);
        }
    }
    println!(
        "\n{:<26} {:>8} {:>8} {:>10}",
        "looks like fire", "minutes", "alerts", "incidents"
    );
    let mut sum = (0.0, 0, 0);
    for (kind, (seconds, alerts, incidents)) in &calm {
        println!("{kind:<26} {:>8.1} {alerts:>8} {incidents:>10}", seconds / 60.0);
        sum = (sum.0 + seconds, sum.1 + alerts, sum.2 + incidents);
    }
    println!("{:<26} {:>8.1} {:>8} {:>10}", "all", sum.0 / 60.0, sum.1, sum.2);
    Ok(())
}

fn print_row(name: &str, row: &Row) {
    if row.plumes == 0 {
        return;
    }
    let (low, high) = wilson(row.found, row.plumes);
    let mut delays = row.delays.clone();
    delays.sort_by(f64::total_cmp);
    let median = delays
        .get(delays.len() / 2)
        .map_or_else(|| "-".to_owned(), |delay| format!("{delay:.1}"));
    println!(
        "{name:<8} {:>7} {:>14} {:>18} {median:>10} {:>8}",
        row.plumes,
        format!(
            "{} ({:.0} %)",
            row.found,
            100.0 * row.found as f64 / row.plumes as f64
        ),
        format!("{:.0} to {:.0} %", 100.0 * low, 100.0 * high),
        row.beside
    );
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let clips = render(&args)?;
    if args.render_only {
        return Ok(());
    }
    let mut answers = Answers::default();
    for mount in ["moving", "fixed"] {
        analyse(&args, &clips, mount, &mut answers)?;
    }
    print(&clips, &answers)
}
