//! `emberwatch bench`: what this machine can carry.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde::Serialize;

use super::machine;
use crate::clock::{Clock, SystemClock};
use crate::config::load;
use crate::flow::frame::Picture;
use crate::flow::source::{Duty, SourceId};
use crate::models::catalogue::{Catalogue, DEFAULT_MODEL};
use crate::simulator::{OutputOptions, SceneKind, SceneOptions, write};
use crate::stages::infer::{Model, Runtime, SessionOptions};
use crate::stages::ingest::{
    DutyControl, GstOpener, IngestStats, Ingested, Location, OpenRequest, SourceSpec, Surroundings,
    run_recorded,
};
use crate::stages::preprocess::{Preparer, Rect, TensorPool};
use crate::stages::sample::Rate;

/// Measures what one frame costs on this machine, and says how many cameras that carries.
///
/// Costs are CPU time, not waiting: other load on the machine disturbs them little. What a network stream costs beyond a
/// recording (receiving, reordering) is not in them; leave a fifth of the machine free.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The pipeline file whose sources are to be carried.
    pub pipeline: Option<PathBuf>,

    /// A recording like those that the cameras send; without it a scene of 1920x1080 at 25 frames a second is rendered.
    #[arg(long, value_name = "FILE")]
    pub clip: Option<PathBuf>,

    /// The model, by name or folder; the pipeline's where one is given.
    #[arg(long)]
    pub model: Option<String>,

    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// How often preparing and inferring are repeated.
const REPEATS: u32 = 60;
/// A share of the machine that is left for everything else.
const USABLE: f64 = 0.8;

/// What one machine does with one kind of video.
#[derive(Clone, Debug, Serialize)]
struct Costs {
    /// Where the clip lies.
    clip: PathBuf,
    width: u32,
    height: u32,
    /// Frames a second of the clip.
    frames_per_second: f64,
    /// Seconds from one key frame to the next.
    key_interval_s: f64,
    /// CPU milliseconds to read and decode a frame when all are.
    decode_ms: f64,
    /// CPU milliseconds to read a clip and decode its key frames, for each of these.
    key_frame_ms: f64,
    /// CPU milliseconds to make a frame the model's input.
    prepare_ms: f64,
    /// CPU milliseconds of one run of the model.
    infer_ms: f64,
}

impl Costs {
    /// Returns the CPU milliseconds that a second of a source costs.
    fn of(&self, duty: Duty, rate: Rate) -> f64 {
        let look = self.prepare_ms + self.infer_ms;
        let looks = match rate {
            Rate::All => self.frames_per_second,
            Rate::PerSecond(rate) => rate.min(self.frames_per_second),
        };
        match duty {
            Duty::Patrol => (self.key_frame_ms + look) / self.key_interval_s,
            Duty::Watch | Duty::Alarm => self.frames_per_second * self.decode_ms + looks * look,
        }
    }
}

/// One source of the pipeline.
#[derive(Clone, Debug, Serialize)]
struct Load {
    id: String,
    duty: Duty,
    cpu_ms_per_s: f64,
}

/// What is printed.
#[derive(Clone, Debug, Serialize)]
struct Report {
    processor: String,
    cores: usize,
    load_average: f64,
    model: String,
    costs: Costs,
    /// How many streams like the clip the machine carries at watch, five looks a second.
    watch_5: u64,
    /// And at patrol.
    patrol: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Load>,
    /// The pipeline's share of all cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
}

/// Reads the clip at a duty level; returns CPU time and each frame's time, and keeps the last picture.
fn read(
    clip: &Path,
    duty: Duty,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Duration, Vec<f64>, Option<Picture>)> {
    let opener = GstOpener::new(Arc::clone(clock))?;
    let spec = SourceSpec::recorded(SourceId::new("bench"), Location::File(clip.to_path_buf()));
    let request = OpenRequest::new(Arc::new(spec), Arc::new(DutyControl::new(duty)));
    let stats = IngestStats::default();
    let around = Surroundings {
        clock: clock.as_ref(),
        stop: &|_| false,
        stats: &stats,
    };
    let (mut times, mut picture) = (Vec::new(), None);
    let before = machine::cpu_used();
    run_recorded(&request, &opener, &around, &mut |item| {
        if let Ingested::Frame(frame) = item {
            times.push(frame.meta.pts.as_secs_f64());
            picture = Some(frame.picture);
        }
        ControlFlow::Continue(())
    })
    .map_err(|why| anyhow!("{}: {why}", clip.display()))?;
    Ok((machine::cpu_used().saturating_sub(before), times, picture))
}

/// Returns CPU milliseconds per item.
fn per(cpu: Duration, items: usize) -> f64 {
    cpu.as_secs_f64() * 1000.0 / items.max(1) as f64
}

fn measure(clip: &Path, model: &Model, options: &SessionOptions) -> anyhow::Result<Costs> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // The first pass fills caches and loads plugins.
    read(clip, Duty::Patrol, &clock)?;
    let (cpu, times, picture) = read(clip, Duty::Watch, &clock)?;
    let (key_cpu, key_times, _) = read(clip, Duty::Patrol, &clock)?;
    let (Some(picture), Some(first), Some(last)) = (picture, times.first(), times.last()) else {
        bail!("{} has no frames", clip.display());
    };
    let length_s = last - first;
    if times.len() < 10 || length_s <= 0.0 {
        bail!(
            "{} is too short: expected at least 10 frames, found {}",
            clip.display(),
            times.len()
        );
    }
    let runtime = Runtime::load()?;
    let variant = model.variant_for(picture.width, picture.height)?;
    let mut session = model.open(variant, &runtime, options)?;
    let mut preparer = Preparer::new(model.input_spec(variant));
    let pool = TensorPool::new(preparer.spec().elements(), 2);
    let whole = Rect::whole(picture.width, picture.height);
    let mut batch = vec![preparer.prepare(&picture, whole, &pool)?];
    session.run(&batch)?;
    let before = machine::cpu_used();
    for _ in 0..REPEATS {
        batch.clear();
        batch.push(preparer.prepare(&picture, whole, &pool)?);
    }
    let prepared = machine::cpu_used();
    for _ in 0..REPEATS {
        session.run(&batch)?;
    }
    let inferred = machine::cpu_used();
    Ok(Costs {
        clip: clip.to_path_buf(),
        width: picture.width,
        height: picture.height,
        frames_per_second: (times.len() - 1) as f64 / length_s,
        key_interval_s: length_s / key_times.len().max(1) as f64,
        decode_ms: per(cpu, times.len()),
        key_frame_ms: per(key_cpu, key_times.len()),
        prepare_ms: per(prepared.saturating_sub(before), REPEATS as usize),
        infer_ms: per(inferred.saturating_sub(prepared), REPEATS as usize),
    })
}

/// Renders what a camera might send, once.
fn rendered() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join("emberwatch-bench");
    let clip = folder.join("tower-1080p.mp4");
    if clip.is_file() {
        return Ok(clip);
    }
    let options = SceneOptions {
        seconds: 8.0,
        width: 1920,
        height: 1080,
        frames_per_second: 25.0,
        ..SceneOptions::new(SceneKind::Tower)
    };
    let output = OutputOptions {
        name: Some("tower-1080p".to_owned()),
        ..OutputOptions::default()
    };
    let bar = indicatif::ProgressBar::new((options.seconds * options.frames_per_second) as u64);
    bar.println("rendering a scene (once)");
    let written = write(&options, &output, &folder, &mut |done| bar.set_position(done))?;
    bar.finish_and_clear();
    Ok(written.video)
}

/// Returns the processor's name and the load of the last minute, as Linux tells them.
fn machine_words() -> (String, f64) {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(
            || std::env::consts::ARCH.to_owned(),
            |(_, name)| name.trim().to_owned(),
        );
    let load = std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or(0.0);
    (name, load)
}

/// Runs the command.
pub fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let file = match args.pipeline.as_deref().map(load::read).transpose() {
        Ok(file) => file,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(2));
        }
    };
    let name = match (&args.model, &file) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) => file.model.name.clone(),
        (None, None) => DEFAULT_MODEL.to_owned(),
    };
    let model = Model::find(&Catalogue::of_this_machine(), &name)?;
    let options = SessionOptions {
        provider: file
            .as_ref()
            .map_or_else(Default::default, |file| file.model.provider),
        ..SessionOptions::default()
    };
    let (processor, load_average) = machine_words();
    let clip = match &args.clip {
        Some(clip) => clip.clone(),
        None => rendered().context("the scene could not be rendered")?,
    };
    let costs = measure(&clip, &model, &options)?;
    let cores = machine::cores();
    let free_ms = cores as f64 * 1000.0 * USABLE;
    let carries = |each: f64| (free_ms / each.max(1e-6)).floor() as u64;
    let sources: Vec<Load> = file
        .iter()
        .flat_map(|file| &file.source)
        .map(|source| {
            let rates = source.rates();
            let rate = if source.duty == Duty::Alarm {
                rates.alarm
            } else {
                rates.watch
            };
            Load {
                id: source.id.clone(),
                duty: source.duty,
                cpu_ms_per_s: costs.of(source.duty, rate),
            }
        })
        .collect();
    let share = (!sources.is_empty())
        .then(|| sources.iter().map(|source| source.cpu_ms_per_s).sum::<f64>() / (cores as f64 * 1000.0));
    let report = Report {
        processor,
        cores,
        load_average,
        model: format!("{} {}", model.manifest().name, model.manifest().version),
        watch_5: carries(costs.of(Duty::Watch, Rate::PerSecond(5.0))),
        patrol: carries(costs.of(Duty::Patrol, Rate::All)),
        costs,
        sources,
        share,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    // A machine that is too small is an answer, and one that a script wants to see.
    Ok(ExitCode::from(u8::from(
        report.share.is_some_and(|share| share > USABLE),
    )))
}

fn print(report: &Report) {
    let costs = &report.costs;
    println!(
        "machine   {}, {} cores, load {:.2}",
        report.processor, report.cores, report.load_average
    );
    println!("model     {}", report.model);
    println!(
        "clip      {}: {}x{}, {:.1} frames/s, a key frame each {:.1} s",
        costs.clip.display(),
        costs.width,
        costs.height,
        costs.frames_per_second,
        costs.key_interval_s
    );
    println!();
    println!("CPU milliseconds");
    println!(
        "  read and decode a frame                 {:8.2}",
        costs.decode_ms
    );
    println!(
        "  read up to and decode a key frame       {:8.2}",
        costs.key_frame_ms
    );
    println!(
        "  prepare a frame                         {:8.2}",
        costs.prepare_ms
    );
    println!("  infer                                   {:8.2}", costs.infer_ms);
    println!();
    println!(
        "With {:.0} % of the machine, streams like this clip: {} at watch (5/s), {} at patrol",
        USABLE * 100.0,
        report.watch_5,
        report.patrol
    );
    if let Some(share) = report.share {
        println!();
        for source in &report.sources {
            println!(
                "  {:<24} {:<8} {:8.1} ms of CPU a second",
                source.id,
                source.duty.name(),
                source.cpu_ms_per_s
            );
        }
        let verdict = if share <= USABLE { "fits" } else { "does not fit" };
        println!(
            "This pipeline takes {:.0} % of the machine: it {verdict}",
            share * 100.0
        );
    }
}
