//! `emberwatch check`: every problem of a pipeline file at once, and what the file means.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::load;
use crate::models::catalogue::Catalogue;
use crate::stages::sample::Rate;

/// Checks a pipeline file and says what it means.
///
/// Exit codes: 0 the file is sound, 1 it has problems (all are listed), 2 it could not be checked.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The pipeline file.
    #[arg(required_unless_present = "schema")]
    pub pipeline: Option<PathBuf>,

    /// Also open the model and every source.
    #[arg(long)]
    pub probe: bool,

    /// Print the JSON schema of pipeline files.
    #[arg(long)]
    pub schema: bool,
}

fn rate(rate: Rate) -> String {
    match rate {
        Rate::All => "every frame".to_owned(),
        Rate::PerSecond(rate) => format!("{rate}/s"),
    }
}

/// Runs the command.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    if args.schema {
        println!("{}", serde_json::to_string_pretty(&load::schema())?);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(path) = &args.pipeline else {
        anyhow::bail!("no pipeline file was given")
    };
    let file = match load::read(path) {
        Ok(file) => file,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(1));
        }
    };
    let mut is_sound = true;
    match Catalogue::of_this_machine().manifest(&file.model.name) {
        Ok((manifest, folder)) => {
            println!(
                "model     {} {} in {}",
                manifest.name,
                manifest.version,
                folder.display()
            );
        }
        Err(error) => {
            is_sound = false;
            eprintln!("model.name: {error}");
        }
    }
    println!(
        "runs on   {}, batches of {}",
        file.model.provider, file.model.batch
    );
    println!(
        "data      {}",
        crate::config::plan::beside(path, &file.service.data).display()
    );
    println!("listens   {}", file.console.listen);
    for sink in &file.sink {
        println!("sink      {:<20} {}", sink.name, sink.to.kind());
    }
    if let Some(way_back) = &file.way_back {
        println!("way back  {:<20} mqtt {}", way_back.name, way_back.host);
    }
    for source in &file.source {
        let rates = source.rates();
        println!(
            "source    {:<20} {:?} {:?}, from {}: watch {}, alarm {}{}",
            source.id,
            source.kind,
            source.mount,
            source.duty,
            rate(rates.watch),
            rate(rates.alarm),
            if source.mask.is_empty() {
                String::new()
            } else {
                format!(", {} masks", source.mask.len())
            }
        );
    }
    #[cfg(feature = "video")]
    if args.probe {
        is_sound &= super::probe::run(path, &file)?;
    }
    Ok(ExitCode::from(u8::from(!is_sound)))
}
