//! `emberwatch models eval`: how good is a model on labelled pictures?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::dataset::{Dataset, ReadOptions};
use crate::evaluation::report::{Measured, MeasuredModel, Report, Subject};
use crate::evaluation::run::{Looks, look_at_all};
use crate::evaluation::{plots, sheet};
use crate::flow::detection::Class;
use crate::flow::source::Duty;
use crate::models::Catalogue;
use crate::models::catalogue::DEFAULT_MODEL;
use crate::stages::infer::{Closer, Inferrer, Model, Provider, Runtime, SessionOptions};

/// Names the pictures, the model and what to write.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 measured; 1 measured, but with --strict the dataset has problems; 2 not \
                        measured: the dataset or the model cannot be used."
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(super) struct EvalArgs {
    /// The dataset: a folder (YOLO with or without manifest.csv, or COCO) or a COCO file.
    dataset: PathBuf,
    /// The model: a name, a folder or a model.toml.
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    /// Use this file of the model for every picture, not the one that fits each.
    #[arg(long)]
    variant: Option<String>,
    /// The split: val, test, train or all. Without it val, else test, else all.
    #[arg(long)]
    split: Option<String>,
    /// Take the thresholds of this duty level: patrol, watch or alarm.
    #[arg(long, default_value = "watch", value_parser = duty)]
    duty: Duty,
    /// Also look at tiles at native resolution around what scored at least a third of the threshold.
    #[arg(long)]
    tiles: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Write report.json, table.txt, plots and a contact sheet (which shows pictures of the dataset) here.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Fail when anything is wrong with the dataset.
    #[arg(long)]
    strict: bool,
    /// Take a picture without a label file for one in which nothing burns.
    #[arg(long)]
    missing_labels_are_empty: bool,
    /// What the class numbers of a YOLO dataset stand for, from 0 on, where it does not say: `smoke,fire`.
    #[arg(long, value_delimiter = ',')]
    names: Vec<String>,
    /// How often to draw the pictures again for the confidence intervals.
    #[arg(long, default_value_t = 200)]
    replicates: u64,
    /// What the draws start from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many pictures to look at at once; as many as there are processors if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// On what to run: cpu, cuda, tensorrt, openvino, coreml or directml.
    #[arg(long, default_value_t)]
    provider: Provider,
}

fn duty(text: &str) -> Result<Duty, String> {
    Duty::ALL
        .into_iter()
        .find(|duty| duty.name() == text)
        .ok_or_else(|| format!("found {text:?}, expected patrol, watch or alarm"))
}

/// Detections below this are not looked at: they change no figure's third digit and cost most of the time.
const FLOOR: f32 = 0.001;

pub(super) fn run(args: &EvalArgs, catalogue: &Catalogue) -> anyhow::Result<ExitCode> {
    let model = Model::find(catalogue, &args.model)?;
    let options = ReadOptions {
        split: args.split.clone(),
        missing_labels_are_empty: args.missing_labels_are_empty,
        names: args.names.clone(),
    };
    let dataset = Dataset::read(&args.dataset, &options)
        .with_context(|| format!("cannot measure on {}", args.dataset.display()))?;
    let thresholds = Class::ALL.map(|class| f64::from(model.manifest().threshold(class, args.duty)));
    let looks = look(args, &model, &dataset, thresholds)?;
    anyhow::ensure!(
        !looks.looks.is_empty(),
        "none of the {} pictures of {} can be opened, first: {}",
        dataset.pictures.len(),
        args.dataset.display(),
        looks
            .problems
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    );
    let measured = Measured::of_classes(&looks.looks);
    let problems = [dataset.problems.clone(), looks.problems.clone()].concat();
    let report = Report::new(
        &looks.looks,
        &measured,
        Subject {
            dataset: args.dataset.display().to_string(),
            split: dataset.split.clone(),
            model: measured_model(&model, &looks),
            duty: args.duty.name().to_owned(),
            thresholds,
            tiles: args.tiles,
            problems,
            notes: dataset.notes.clone(),
            replicates: args.replicates,
            seed: args.seed,
        },
    );
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    let shown = if args.strict { usize::MAX } else { 20 };
    for problem in report.problems.iter().take(shown) {
        eprintln!("problem: {problem}");
    }
    if report.problems.len() > shown {
        eprintln!("problem: … and {} more", report.problems.len() - shown);
    }
    if let Some(out) = &args.out {
        write(out, &report, &measured, &dataset, &looks)?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
        if let Some(out) = &args.out {
            println!("written to {}", out.display());
        }
    }
    Ok(if args.strict && !report.problems.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn look(args: &EvalArgs, model: &Model, dataset: &Dataset, thresholds: [f64; 2]) -> anyhow::Result<Looks> {
    let runtime = Runtime::load()?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args
        .threads
        .unwrap_or(processors)
        .clamp(1, dataset.pictures.len().max(1));
    let session = SessionOptions {
        provider: args.provider,
        floor: FLOOR,
        ..SessionOptions::default()
    };
    let inferrers = (0..threads)
        .map(|_| {
            let inferrer = Inferrer::new(model.clone(), runtime.clone(), session);
            match &args.variant {
                Some(file) => inferrer.with_variant(file),
                None => Ok(inferrer),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let closer = if args.tiles {
        Closer::From((thresholds[0].min(thresholds[1]) / 3.0) as f32)
    } else {
        Closer::Never
    };
    // Hidden by itself where standard error is not a terminal.
    let progress = ProgressBar::new(dataset.pictures.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {eta} left")
            .unwrap_or_else(|_error| ProgressStyle::default_bar()),
    );
    let looks = look_at_all(dataset, inferrers, closer, &|| progress.inc(1))?;
    progress.finish_and_clear();
    Ok(looks)
}

fn measured_model(model: &Model, looks: &Looks) -> MeasuredModel {
    let manifest = model.manifest();
    let first = looks.variants.first().and_then(|file| model.variant(file).ok());
    MeasuredModel {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        sha256: first.map(|variant| variant.sha256.clone()).unwrap_or_default(),
        variant: looks.variants.clone(),
    }
}

fn write(
    out: &Path,
    report: &Report,
    measured: &[Measured; 2],
    dataset: &Dataset,
    looks: &Looks,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let save = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    save("report.json", &serde_json::to_string_pretty(report)?)?;
    save("table.txt", &report.table())?;
    let title = format!(
        "{} {} on {} pictures",
        report.model.name, report.model.version, report.images
    );
    let mut curves = Vec::new();
    for (class, measured) in Class::ALL.into_iter().zip(measured) {
        let curve = measured.curves.first().context("there should be a curve")?;
        let at = report
            .at_threshold
            .get(class.name())
            .context("every class should have a threshold")?;
        curves.push((class, curve, *at));
    }
    if let Ok(curves) = <[_; 2]>::try_from(curves) {
        save(
            "precision-recall.svg",
            &plots::precision_against_recall(&title, curves),
        )?;
    }
    let [flame, smoke] = measured;
    let tallies = [(Class::Flame, &flame.tally), (Class::Smoke, &smoke.tally)];
    save("scores.svg", &plots::scores(&title, 0.05, tallies))?;
    let pictures: Vec<_> = looks
        .pictures
        .iter()
        .zip(&looks.looks)
        .filter_map(|(place, look)| Some((dataset.pictures.get(*place)?, look)))
        .collect();
    let floor = report
        .at_threshold
        .values()
        .map(|at| at.threshold / 2.0)
        .fold(1.0, f64::min);
    let path = out.join("worst.jpg");
    sheet::draw(&pictures, floor as f32)
        .save(&path)
        .with_context(|| format!("cannot write {}", path.display()))
}
