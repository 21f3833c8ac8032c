//! `emberwatch send-test`: sends one event of a drill to one sink, past the outbox, and says how it went.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::clock::{Clock, SystemClock};
use crate::config::secret::process_environment;
use crate::stages::publish::evidence::EvidenceFolder;
use crate::stages::publish::settings::Surroundings;
use crate::stages::publish::sink::Delivery;
use crate::stages::publish::{SinkConfig, samples};

/// Which sink is tried, and where it is written.
#[derive(Clone, Debug, clap::Args)]
pub struct SendTestArgs {
    /// The sink's name.
    pub sink: String,
    /// The pipeline file that holds it under `[[sink]]`.
    #[arg(long, value_name = "FILE")]
    pub pipeline: PathBuf,
    /// Gives up after so many seconds.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub timeout_s: u64,
}

/// All of a pipeline file that matters here.
#[derive(serde::Deserialize)]
struct Sinks {
    #[serde(default)]
    sink: Vec<SinkConfig>,
}

/// Sends the event; the exit code is 1 when it was not taken.
pub fn run(args: &SendTestArgs) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&args.pipeline)
        .with_context(|| format!("pipeline file could not be read: {}", args.pipeline.display()))?;
    let sinks = toml::from_str::<Sinks>(&text)
        .with_context(|| format!("sinks were not understood: {}", args.pipeline.display()))?
        .sink;
    let config = sinks
        .iter()
        .find(|sink| sink.name == args.sink)
        .with_context(|| {
            let names = sinks.iter().map(|sink| sink.name.as_str()).collect::<Vec<_>>();
            format!("there is no sink {:?}, expected one of {names:?}", args.sink)
        })?;
    send(config, Duration::from_secs(args.timeout_s.max(1)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an operator at the command line wants to know how long it took"
)]
fn send(config: &SinkConfig, timeout: Duration) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let folder = std::env::temp_dir().join(format!("emberwatch-send-test-{}", std::process::id()));
    let surroundings = Surroundings {
        environment: &process_environment,
        clock: Arc::clone(&clock),
        evidence: Some(Arc::new(EvidenceFolder::new(&folder))),
        data_folder: folder.clone(),
    };
    let sink = config
        .build(&surroundings)
        .with_context(|| format!("sink {:?} could not be made", config.name))?;
    let event = samples::drill(clock.wall());
    let delivery = Delivery {
        sequence: 0,
        id: event.id.to_string(),
        kind: event.kind.name().to_owned(),
        subject: event.subject.clone(),
        time: event.time,
        body: serde_json::to_string(&event)?.into(),
        attempts: 0,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let start = Instant::now();
    let outcome = runtime.block_on(async {
        let sent = tokio::time::timeout(timeout, sink.deliver(std::slice::from_ref(&delivery))).await;
        sink.close().await;
        sent
    });
    runtime.shutdown_background();
    // What a sink remembered of a drill is of no use; it may have remembered nothing.
    if folder.try_exists()? {
        std::fs::remove_dir_all(&folder)?;
    }
    let took = start.elapsed().as_millis();
    let (name, kind, id) = (&config.name, config.to.kind(), &delivery.id);
    match outcome {
        Ok(Ok(())) => {
            println!("{name} ({kind}): 已送达 delivered, {took} ms, id {id}");
            println!("发送的是一条演练事件 / what was sent is an event of a drill");
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(error)) => {
            println!("{name} ({kind}): 未送达 not delivered: {}", error.chain());
            let next = if error.is_retryable() {
                "服务会重试 / the service would try again"
            } else {
                "服务不会重试 / the service would set it aside"
            };
            println!("{next}");
            Ok(ExitCode::FAILURE)
        }
        Err(_elapsed) => {
            println!("{name} ({kind}): 超时 no answer within {} s", timeout.as_secs());
            Ok(ExitCode::FAILURE)
        }
    }
}
