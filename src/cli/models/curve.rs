//! `emberwatch models curve`: how much sooner fires are alerted, and at how many more false alarms?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::analysis::curve::{Clip, curves, table};
use crate::analysis::looks;
use crate::analysis::summary::Summary;
use crate::analysis::truth::{self, ClipTruth};
use crate::cli::looking::verify_settings;
use crate::models::Catalogue;
use crate::pipeline::inference::Models;
use crate::stages::infer::Model;

/// Names the analysis and what is true of its recordings.
#[derive(Debug, Args)]
#[command(
    after_help = "First: emberwatch analyze --looks --out DIR FILE...\nThe rules are applied again to what they were \
                  shown then; no recording is opened. Tracks begin at a score of 0.2: thresholds below that, or \
                  below 0.29 for smoke that is seen steadily, change little."
)]
pub(super) struct CurveArgs {
    /// The output folder of `emberwatch analyze --looks`.
    analysis: PathBuf,
    /// What is true of recordings that have no simulated truth beside them: `recording,burns_from_s`, nothing after
    /// the comma where nothing burns.
    #[arg(long, value_name = "FILE.csv")]
    truth: Option<PathBuf>,
    /// The model whose thresholds are multiplied; the one that looked if not given.
    #[arg(long)]
    model: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CurveArgs, catalogue: &Catalogue) -> anyhow::Result<ExitCode> {
    let path = args.analysis.join("summary.json");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read {}: expected the folder of an analysis",
            path.display()
        )
    })?;
    let summary: Summary = serde_json::from_str(&text)
        .with_context(|| format!("{} is no summary of an analysis", path.display()))?;
    let mut seen = looks::read(&args.analysis.join(looks::FILE)).map_err(|problem| anyhow!("{problem}"))?;
    let told = match &args.truth {
        Some(path) => truth::table(path).map_err(|problem| anyhow!("{problem}"))?,
        None => std::collections::BTreeMap::new(),
    };
    let name = args.model.as_deref().unwrap_or(&summary.model.name);
    let model = Model::find(catalogue, name)?;
    let mut clips = Vec::new();
    for input in &summary.inputs {
        if let Some(error) = &input.error {
            eprintln!("left out: {}: {error}", input.path);
            continue;
        }
        let recording = Path::new(&input.path);
        let beside = ClipTruth::beside(recording).map_err(|problem| anyhow!("{problem}"))?;
        let in_table = || {
            let name = recording.file_name()?.to_str()?;
            told.get(name).cloned()
        };
        let truth = beside.or_else(in_table).with_context(|| {
            format!(
                "nothing says whether {} shows a fire: expected NAME.scene.json beside it, or a line in --truth",
                input.path
            )
        })?;
        clips.push(Clip {
            duration_s: input.duration_s,
            frames: seen.remove(&input.path).unwrap_or_default(),
            truth,
        });
    }
    anyhow::ensure!(
        !clips.is_empty(),
        "no recording of {} was analysed",
        args.analysis.display()
    );
    let [by_threshold, by_persistence] =
        curves(&clips, verify_settings(&Models::new(model.clone(), None), None));
    if args.json {
        let both = serde_json::json!({"by_threshold": by_threshold, "by_persistence": by_persistence});
        println!("{}", serde_json::to_string_pretty(&both)?);
    } else {
        println!(
            "{} recordings, rules of {} {}",
            clips.len(),
            model.manifest().name,
            model.manifest().version
        );
        print!("\n{}", table("thresholds", &by_threshold));
        print!("\n{}", table("persistence", &by_persistence));
    }
    Ok(ExitCode::SUCCESS)
}
