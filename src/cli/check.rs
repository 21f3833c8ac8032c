//! `emberwatch check`: every problem of a pipeline file at once, and what the file means.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::clock::SystemClock;
use crate::config::file::PipelineFile;
use crate::config::load;
use crate::config::secret::process_environment;
use crate::models::catalogue::Catalogue;
use crate::stages::publish::settings::Surroundings;
use crate::stages::sample::Rate;
use crate::tls::{ClientTls, TlsError};

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

/// Makes every sink without sending anything, and looks at our own certificates; returns whether all is well.
fn sinks(file: &PipelineFile) -> bool {
    let mut is_sound = true;
    let mut note = |at: &str, outcome: anyhow::Result<()>| {
        if let Err(error) = outcome {
            is_sound = false;
            eprintln!("{at}: {error:#}");
        }
    };
    let surroundings = Surroundings {
        environment: &process_environment,
        clock: Arc::new(SystemClock::new()),
        evidence: None,
        data_folder: file.service.data.clone(),
    };
    for (number, sink) in file.sink.iter().enumerate() {
        println!("sink      {:<20} {}", sink.name, sink.to.kind());
        let at = format!("sink[{number}] {:?}", sink.name);
        note(&at, sink.build(&surroundings).map(drop).map_err(Into::into));
        let tls = sink.to.tls().map_or(Ok(()), ClientTls::check);
        // What cannot be read was told when the sink was made.
        if let Err(error @ TlsError::OutOfTime { .. }) = tls {
            note(&at, Err(error.into()));
        }
    }
    if let Some(tls) = file.way_back.as_ref().and_then(|way_back| way_back.tls.as_ref()) {
        note("way_back.tls", tls.build().map(drop).map_err(Into::into));
        note("way_back.tls", tls.check().map_err(Into::into));
    }
    if let Some(tls) = &file.console.tls {
        note("console.tls", tls.build().map(drop).map_err(Into::into));
        note("console.tls", tls.check().map_err(Into::into));
    }
    is_sound
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
    let on_alarm = file.model.alarm.as_ref().map(|name| ("alarm", name));
    for (field, name) in std::iter::once(("name", &file.model.name)).chain(on_alarm) {
        match Catalogue::of_this_machine().manifest(name) {
            Ok((manifest, folder)) => {
                println!(
                    "{:<9} {} {} in {}",
                    if field == "name" { "model" } else { "on alarm" },
                    manifest.name,
                    manifest.version,
                    folder.display()
                );
            }
            Err(error) => {
                is_sound = false;
                eprintln!("model.{field}: {error}");
            }
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
    is_sound &= sinks(&file);
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
