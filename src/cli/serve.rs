//! `emberwatch serve`: recordings as live RTSP cameras, for trying out and for tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use crate::clock::SystemClock;
use crate::simulator::serve::RtspServer;

/// Serves recordings as endless live RTSP cameras on 127.0.0.1.
///
/// Prints one address per line when it is ready, then serves until it is ended.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Recordings (H.264 or H.265 in MP4, MKV, TS); FILE=NAME serves it as rtsp://127.0.0.1:PORT/NAME, otherwise the
    /// name is the file's without its ending.
    #[arg(required = true, value_name = "FILE[=NAME]")]
    files: Vec<String>,

    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 8554)]
    port: u16,

    /// Serves each recording this often, as NAME0, NAME1 and so on, each beginning at another place of it.
    #[arg(long, value_name = "N")]
    copies: Option<u32>,

    /// Asks clients for USER:PASSWORD, read from this environment variable.
    #[arg(long, value_name = "VARIABLE")]
    credentials_env: Option<String>,

    /// Every picture says when it was taken, as MISB ST 0604 has it.
    #[arg(long)]
    precision_time: bool,
}

/// Serves until the process is ended.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let guard = args
        .credentials_env
        .as_ref()
        .map(|name| {
            std::env::var(name).with_context(|| format!("the environment variable {name} is not set"))
        })
        .transpose()?;
    let guard = guard
        .as_deref()
        .map(|text| {
            text.split_once(':')
                .context("expected USER:PASSWORD in the environment variable")
        })
        .transpose()?;
    let mut server = RtspServer::bind(args.port, guard)?;
    if args.precision_time {
        server = server.stamped(Arc::new(SystemClock::new()));
    }
    let mut out = std::io::stdout().lock();
    for text in &args.files {
        let (file, name) = named(text)?;
        let names = match args.copies {
            None => vec![name],
            Some(copies) => (0..copies).map(|copy| format!("{name}{copy}")).collect(),
        };
        for address in server.serve_file(&file, &names)? {
            writeln!(out, "{address}")?;
        }
    }
    writeln!(out, "ready")?;
    out.flush()?;
    drop(out);
    server.run(&|_| false);
    Ok(ExitCode::SUCCESS)
}

/// Splits FILE=NAME; a file whose own name holds the sign is found as it is.
fn named(text: &str) -> anyhow::Result<(PathBuf, String)> {
    let whole = Path::new(text);
    if !whole.try_exists().unwrap_or(false)
        && let Some((file, name)) = text.rsplit_once('=')
    {
        if name.is_empty() || name.starts_with('/') || name.contains(char::is_whitespace) {
            bail!("expected a name without spaces after the sign =, as in clip.mp4=tower1: {text}");
        }
        return Ok((PathBuf::from(file), name.to_owned()));
    }
    let stem = whole
        .file_stem()
        .and_then(std::ffi::OsStr::to_str)
        .context("expected a file name")?;
    Ok((whole.to_owned(), stem.replace(char::is_whitespace, "-")))
}
