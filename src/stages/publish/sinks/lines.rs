//! JSON lines: one event a line, appended to a file or written to standard output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};

/// Says which file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinesConfig {
    /// The file; its folder is made.
    pub path: PathBuf,
}

/// Standard output has no settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutConfig {}

/// How many events are written and flushed to the disk together.
const BATCH: usize = 256;

/// Appends events to a file.
pub struct Lines {
    path: PathBuf,
}

/// Writes events to standard output.
pub struct Stdout;

impl Lines {
    /// Makes the sink; the file is made with the first event.
    #[must_use]
    pub fn new(config: &LinesConfig) -> Self {
        Self {
            path: config.path.clone(),
        }
    }

    async fn append(&self, lines: &str) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        // Opened anew each time, so that a rotated file is followed.
        let mut file = tokio::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .await?;
        file.write_all(lines.as_bytes()).await?;
        file.flush().await?;
        file.sync_data().await
    }
}

impl Stdout {
    /// Makes the sink.
    #[must_use]
    pub fn new(_config: &StdoutConfig) -> Self {
        Self
    }
}

impl Sink for Lines {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.append(&lines(deliveries)).await.map_err(|error| {
                let message = format!("events could not be appended: {}", self.path.display());
                SinkError::unreachable(message).because(error)
            })
        })
    }

    fn batch_size(&self) -> usize {
        BATCH
    }
}

impl Sink for Stdout {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let lines = lines(deliveries);
            let written = tokio::task::spawn_blocking(move || {
                use std::io::Write as _;
                let mut output = std::io::stdout().lock();
                output.write_all(lines.as_bytes())?;
                output.flush()
            });
            written
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                .map_err(|error| SinkError::unreachable("standard output is closed").because(error))
        })
    }

    fn batch_size(&self) -> usize {
        BATCH
    }
}

/// JSON as it is stored holds no line ends outside strings, and none unescaped inside.
fn lines(deliveries: &[Delivery]) -> String {
    let mut lines = String::new();
    for delivery in deliveries {
        lines.push_str(&delivery.body);
        lines.push('\n');
    }
    lines
}
