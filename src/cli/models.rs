//! `emberwatch models`: which models there are, what they are, whether they are sound and how good they are.

#[cfg(feature = "video")]
mod curve;

mod eval;

mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::models::Catalogue;
use crate::models::catalogue::DEFAULT_MODEL;
use crate::models::manifest::Manifest;

/// Lists, shows, verifies and measures models.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// List the models that are installed.
    List(ListArgs),
    /// Show what a model's manifest says.
    Show(ShowArgs),
    /// Check a model's hashes and shapes and run it on a generated picture.
    Verify(verify::VerifyArgs),
    /// Measure a model on labelled pictures.
    Eval(eval::EvalArgs),
    #[cfg(feature = "video")]
    /// Show time to detect against false alarms over analysed recordings.
    Curve(curve::CurveArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The model: a name, a folder or a model.toml.
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &ModelsArgs) -> anyhow::Result<ExitCode> {
    let catalogue = Catalogue::of_this_machine();
    match &args.command {
        ModelsCommand::List(args) => list(args, &catalogue),
        ModelsCommand::Show(args) => show(args, &catalogue),
        ModelsCommand::Verify(args) => verify::run(args, &catalogue),
        ModelsCommand::Eval(args) => eval::run(args, &catalogue),
        #[cfg(feature = "video")]
        ModelsCommand::Curve(args) => curve::run(args, &catalogue),
    }
}

fn list(args: &ListArgs, catalogue: &Catalogue) -> anyhow::Result<ExitCode> {
    let mut listed = Vec::new();
    let mut is_sound = true;
    for (name, folder) in catalogue.folders() {
        match catalogue.manifest(&folder.to_string_lossy()) {
            Ok((manifest, _)) => listed.push(manifest),
            Err(error) => {
                is_sound = false;
                eprintln!("{name}: {error}");
            }
        }
    }
    if args.json {
        let entries: Vec<_> = listed.iter().map(described).collect();
        println!("{}", serde_json::to_string_pretty(&entries)?);
    } else {
        for manifest in &listed {
            let duty: Vec<_> = manifest.duty.iter().map(|duty| duty.name()).collect();
            let variants: Vec<_> = manifest
                .variants
                .iter()
                .map(|variant| {
                    format!(
                        "{}x{} {} {} ms",
                        variant.width,
                        variant.height,
                        variant.precision.name(),
                        variant.cpu_ms
                    )
                })
                .collect();
            println!(
                "{:<20} {:<8} {:<20} {}",
                manifest.name,
                manifest.version,
                duty.join(","),
                variants.join("; ")
            );
        }
        if listed.is_empty() {
            eprintln!(
                "no models: expected folders with model.toml in ./models, or name a folder in EMBERWATCH_MODELS"
            );
        }
    }
    Ok(if is_sound && !listed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(args: &ShowArgs, catalogue: &Catalogue) -> anyhow::Result<ExitCode> {
    let (manifest, folder) = catalogue.manifest(&args.model)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&described(&manifest))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} {}  ({})", manifest.name, manifest.version, folder.display());
    println!("  {}", manifest.description);
    println!("  licence  {}", manifest.licence);
    println!("  origin   {}", manifest.origin);
    println!(
        "  head     {}, suppression at {}",
        manifest.head.kind.name(),
        manifest.head.nms_iou
    );
    for variant in &manifest.variants {
        println!(
            "  variant  {}x{} {}, {} CPU ms, {}\n           sha256 {}",
            variant.width,
            variant.height,
            variant.precision.name(),
            variant.cpu_ms,
            variant.file,
            variant.sha256
        );
    }
    for class in &manifest.classes {
        let at = class.thresholds;
        println!(
            "  class    {}: patrol ≥ {}, watch ≥ {}, alarm ≥ {}",
            class.class, at.patrol, at.watch, at.alarm
        );
    }
    for (name, figure) in &manifest.quality {
        println!("  quality  {name} = {figure}");
    }
    Ok(ExitCode::SUCCESS)
}

fn described(manifest: &Manifest) -> serde_json::Value {
    let variants: Vec<_> = manifest
        .variants
        .iter()
        .map(|variant| {
            serde_json::json!({
                "file": variant.file,
                "sha256": variant.sha256,
                "precision": variant.precision.name(),
                "width": variant.width,
                "height": variant.height,
                "cpu_ms": variant.cpu_ms,
            })
        })
        .collect();
    let classes: Vec<_> = manifest
        .classes
        .iter()
        .map(|class| {
            let at = class.thresholds;
            serde_json::json!({
                "name": class.class,
                "threshold": {"patrol": at.patrol, "watch": at.watch, "alarm": at.alarm},
            })
        })
        .collect();
    let quality: serde_json::Map<_, _> = manifest
        .quality
        .iter()
        .map(|(name, figure)| (name.clone(), serde_json::json!(figure)))
        .collect();
    serde_json::json!({
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "licence": manifest.licence,
        "origin": manifest.origin,
        "duty": manifest.duty,
        "head": manifest.head.kind.name(),
        "variants": variants,
        "classes": classes,
        "quality": quality,
    })
}
