//! `emberwatch analyze`: recordings in, a summary, lines of JSON, pictures and a page out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::lens;
use super::looking::{models_of, verify_settings};
use super::machine;
use crate::analysis::files::{Extras, Outputs, sha256_of, write_whole};
use crate::analysis::page::{PageInput, page};
use crate::analysis::resume::Kept;
use crate::analysis::run::{AnalysisSettings, Analyst};
use crate::analysis::summary::{InputSummary, Summary, SummaryModel, rounded};
use crate::clock::{Clock, SystemClock};
use crate::config::file::ModelSection;
use crate::config::load;
use crate::config::place::LensSection;
use crate::flow::source::{Duty, Mount};
use crate::pipeline::inference::{Inference, InferenceSettings};
use crate::pipeline::runner::Crew;
use crate::pipeline::stats::Board;
use crate::pipeline::stop::Stop;
use crate::stages::batch::BatchBounds;
use crate::stages::infer::{Runtime, SessionOptions};
use crate::stages::sample::{Rate, Rates};

/// Returns how many threads decode a recording.
///
/// Where every frame is looked at, the model takes several times what the decoder does, and a decoder of several
/// threads costs a sixth more for nothing. Where few are, decoding is what takes the time.
fn decoder_threads(cores: usize, rate: Rate) -> u32 {
    let threads = match rate {
        Rate::All => (cores / 4).clamp(1, 4),
        Rate::PerSecond(_) => cores.clamp(1, 4),
    };
    threads as u32
}

/// Analyses recordings: files, or folders of files.
///
/// Writes into the output folder: summary.json, detections.jsonl, tracks.jsonl, events.jsonl, incidents.geojson,
/// incidents.kml, evidence/ and report.html. A recording that cannot be read is reported and the rest goes on.
///
/// Exit codes: 0 all analysed, 1 at least one recording could not be analysed, 2 nothing could be done.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct AnalyzeArgs {
    /// Recordings, or folders that hold some.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub inputs: Vec<PathBuf>,

    /// Where to write.
    #[arg(long, value_name = "DIR", default_value = "emberwatch-analysis")]
    pub out: PathBuf,

    /// A pipeline file whose model and rules apply.
    #[arg(long, value_name = "PIPELINE.toml")]
    pub pipeline: Option<PathBuf>,

    /// A model by name, or the path of its folder.
    #[arg(long)]
    pub model: Option<String>,

    /// How hard to look: patrol (key frames, then closer where something is suspected), watch, or alarm (every frame,
    /// with tiles).
    #[arg(long, default_value = "watch", value_parser = duty)]
    pub duty: Duty,

    /// Frames a second to look at; 0 stands for every frame.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,

    /// Whether the camera stood still: fixed or moving. Drones and hand-held cameras move.
    #[arg(long, default_value = "moving", value_parser = mount)]
    pub mount: Mount,

    /// Skip recordings that an earlier run into the same folder has done.
    #[arg(long)]
    pub resume: bool,

    /// Also write a video of the frames that were looked at, with their boxes.
    #[arg(long)]
    pub annotate: bool,

    /// Also write looks.jsonl: what the rules were shown of each frame, for `emberwatch models curve`.
    #[arg(long, conflicts_with = "resume")]
    pub looks: bool,

    /// Say of every track why it was refused or not.
    #[arg(long)]
    pub explain: bool,

    /// Terrain: Copernicus or other `GeoTIFF`, SRTM .hgt. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub dem: Vec<PathBuf>,

    /// The lens, where the telemetry does not tell it: the drone by name, as in M30T or M3T:tele (wide, medium, tele or
    /// thermal), or its horizontal field of view in degrees.
    #[arg(long, value_name = "NAME[:CAMERA]|DEGREES", value_parser = lens::parse)]
    pub lens: Option<LensSection>,

    /// Sessions of the model that run side by side; 0 stands for one per core.
    #[arg(long, default_value_t = 0)]
    pub sessions: usize,
}

fn duty(text: &str) -> Result<Duty, String> {
    Duty::ALL
        .into_iter()
        .find(|duty| duty.name() == text)
        .ok_or_else(|| format!("{text:?} is none of patrol, watch, alarm"))
}

fn mount(text: &str) -> Result<Mount, String> {
    match text {
        "fixed" => Ok(Mount::Fixed),
        "moving" => Ok(Mount::Moving),
        _ => Err(format!("{text:?} is none of fixed, moving")),
    }
}

/// Returns every recording that is meant, in order, each once.
fn recordings(inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for input in inputs {
        if input.is_dir() {
            found.extend(crate::stages::ingest::recordings_in(input)?);
        } else {
            found.push(input.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Ok(found)
}

/// Returns a name for the evidence of a recording: its stem, numbered where two have the same.
fn evidence_name(path: &Path, used: &mut std::collections::BTreeMap<String, u32>) -> String {
    let stem: String = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
        .chars()
        .map(|letter| {
            if letter.is_alphanumeric() || "._-".contains(letter) {
                letter
            } else {
                '_'
            }
        })
        .collect();
    let count = used.entry(stem.clone()).or_default();
    *count += 1;
    if *count == 1 {
        stem
    } else {
        format!("{stem}-{count}")
    }
}

/// Runs the command.
#[cfg(feature = "video")]
pub fn run(args: &AnalyzeArgs) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let began = clock.monotonic();
    let opener = Arc::new(crate::stages::ingest::GstOpener::new(Arc::clone(&clock))?);
    let pipeline = args.pipeline.as_deref().map(load::read).transpose()?;
    let recordings = recordings(&args.inputs)?;
    let ground = match (args.dem.as_slice(), &args.pipeline, &pipeline) {
        ([], Some(path), Some(file)) => super::ground::of(&file.terrain, path)?.map(Arc::new),
        ([], _, _) => None,
        (files, _, _) => Some(Arc::new(crate::geo::Terrain::open(
            files,
            crate::flow::pose::HeightDatum::Egm2008,
        )?)),
    };

    let mut section = pipeline
        .as_ref()
        .map_or_else(ModelSection::default, |file| file.model.clone());
    if let Some(name) = &args.model {
        section.name.clone_from(name);
        section.alarm = None;
    }
    let models = models_of(&section)?;
    let runtime = Runtime::load()?;
    let provider = pipeline
        .as_ref()
        .map_or_else(Default::default, |file| file.model.provider);
    let verify = verify_settings(&models, pipeline.as_ref().map(|file| &file.verify));
    let watch = match args.rate {
        None => Rate::PerSecond(5.0),
        Some(0.0) => Rate::All,
        Some(rate) if rate.is_finite() && rate > 0.0 => Rate::PerSecond(rate),
        Some(rate) => {
            bail!("--rate {rate} is not a number of frames a second: write 0 for every frame, or more than 0")
        }
    };
    let alarm = if args.rate.is_some() { watch } else { Rate::All };

    let stop = Stop::new();
    machine::stop_on_signals(&stop)?;
    let board = Board::default();
    let mut crew = Crew::new(board.clone(), Stop::new());
    let settings = InferenceSettings {
        session: SessionOptions {
            provider,
            ..SessionOptions::default()
        },
        sessions: machine::sessions(args.sessions),
        bounds: BatchBounds {
            size: pipeline.as_ref().map_or(1, |file| file.model.batch),
            wait: Duration::from_millis(pipeline.as_ref().map_or(20, |file| file.model.batch_wait_ms)),
        },
    };
    let inference = Inference::start(&mut crew, &board, models, &runtime, &settings, &clock)?;
    let tag = inference.tag(args.duty);
    let version = env!("CARGO_PKG_VERSION");
    let kept = if args.resume {
        Kept::read(&args.out, version, &tag.sha256)
    } else {
        Kept::default()
    };
    let mut outputs = Outputs::create(
        &args.out,
        Extras {
            annotate: args.annotate,
            looks: args.looks,
        },
        &kept,
    )?;
    let mut analyst = Analyst {
        inference: &inference,
        opener,
        clock: Arc::clone(&clock),
        stop: stop.clone(),
        settings: AnalysisSettings {
            mount: args.mount,
            duty: args.duty,
            rates: Rates { watch, alarm },
            verify,
            masks: Vec::new(),
            privacy: Vec::new(),
            decoder_threads: decoder_threads(machine::cores(), watch),
            ground,
            lens: args.lens.as_ref().map(lens::lens_of).transpose()?,
        },
    };
    if let Some(file) = &pipeline {
        analyst.settings.masks = file
            .source
            .iter()
            .flat_map(crate::config::file::SourceSection::masks)
            .collect();
        analyst.settings.privacy = file
            .source
            .iter()
            .flat_map(crate::config::file::SourceSection::privacy)
            .collect();
    }

    let bar = progress_bar(recordings.len());
    let mut pages: Vec<PageInput> = Vec::new();
    let mut used = std::collections::BTreeMap::new();
    for path in &recordings {
        if stop.is_requested() {
            break;
        }
        let shown = path.display().to_string();
        bar.set_message(shown.clone());
        outputs.begin(&evidence_name(path, &mut used));
        let hash = if args.resume { sha256_of(path).ok() } else { None };
        let page = match kept.input(&shown, hash.as_deref()).filter(|_| hash.is_some()) {
            Some(done) => PageInput {
                summary: done.clone(),
                ..PageInput::default()
            },
            None => analyst.analyse(path, &mut outputs, &mut |second, frames| {
                bar.set_message(format!("{shown} {second:.0} s, {frames} frames"));
            })?,
        };
        outputs.end()?;
        if args.explain {
            explain(&page);
        }
        bar.inc(1);
        pages.push(page);
    }
    bar.finish_and_clear();
    drop(inference);
    let endings = crew.join();
    if let Some(cause) = crate::pipeline::exit::root_cause(&endings) {
        bail!("{} {}", cause.thread, cause.exit);
    }

    let summary = Summary {
        version: version.to_owned(),
        model: SummaryModel {
            name: tag.name,
            version: tag.version,
            sha256: tag.sha256,
        },
        wall_s: rounded(clock.monotonic().since(began).as_secs_f64(), 3),
        cpu_s: rounded(machine::cpu_used().as_secs_f64(), 3),
        inputs: pages.iter().map(|page| page.summary.clone()).collect(),
    };
    let folder = outputs.finish()?;
    write_whole(&folder.join("report.html"), page(&summary, &pages).as_bytes())?;
    let text = serde_json::to_string_pretty(&summary).context("cannot write the summary")?;
    write_whole(&folder.join("summary.json"), text.as_bytes())?;
    print_table(&summary, &folder);
    let has_failed = summary.inputs.iter().any(|input| input.error.is_some());
    Ok(ExitCode::from(u8::from(has_failed || stop.is_requested())))
}

fn progress_bar(count: usize) -> ProgressBar {
    // indicatif draws nothing when the output is not a terminal.
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn explain(page: &PageInput) {
    for track in &page.tracks {
        println!(
            "{} track {} {} {:.1}-{:.1} s: {:?}, {}",
            page.summary.path,
            track.track,
            track.class,
            track.first_s,
            track.last_s,
            track.decision,
            crate::analysis::page::reason_words(&track.reason)
        );
    }
}

fn print_table(summary: &Summary, folder: &Path) {
    let width = summary
        .inputs
        .iter()
        .map(|input| input.path.chars().count())
        .max()
        .unwrap_or(0)
        .max(9);
    println!(
        "{:width$}  {:>8}  {:>8}  {:>8}  {:>11}  incidents",
        "recording", "seconds", "frames", "inferred", "first alert"
    );
    for input in &summary.inputs {
        let InputSummary {
            path,
            duration_s,
            frames_in,
            frames_inferred,
            first_alert_s,
            incidents,
            error,
            ..
        } = input;
        let alert = first_alert_s.map_or_else(|| "-".to_owned(), |second| format!("{second:.1} s"));
        println!(
            "{path:width$}  {duration_s:>8.1}  {frames_in:>8}  {frames_inferred:>8}  {alert:>11}  {incidents}"
        );
        if let Some(error) = error {
            println!("{:width$}  error: {error}", "");
        }
    }
    println!(
        "{:.1} s, {:.1} CPU s; see {}",
        summary.wall_s,
        summary.cpu_s,
        folder.join("report.html").display()
    );
}
