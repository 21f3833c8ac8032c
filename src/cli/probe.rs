//! Opens the model and every source of a pipeline, and says of each whether a frame came.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::looking::models_of;
use crate::clock::{Clock, SystemClock};
use crate::config::file::PipelineFile;
use crate::config::plan;
use crate::stages::infer::{Runtime, SessionOptions};
use crate::stages::ingest::GstOpener;
use crate::stages::ingest::{DutyControl, OpenRequest, Opener as _, Read};

/// How long a source may take to its first frame.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns whether the model and every source could be opened.
pub(crate) fn run(path: &Path, file: &PipelineFile) -> anyhow::Result<bool> {
    let models = models_of(&file.model)?;
    let runtime = Runtime::load()?;
    let options = SessionOptions {
        provider: file.model.provider,
        ..SessionOptions::default()
    };
    for model in models.each() {
        for variant in &model.manifest().variants {
            model.open(variant, &runtime, &options)?;
            println!("opened    {}", variant.file);
        }
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let opener = GstOpener::new(Arc::clone(&clock))?;
    let mut is_sound = true;
    for source in &file.source {
        let spec = Arc::new(plan::spec(source, path)?);
        let request = OpenRequest::new(spec, Arc::new(DutyControl::new(source.duty)));
        match first_frame(&opener, &request, clock.as_ref()) {
            Ok(what) => println!("opened    {:<20} {what}", source.id),
            Err(why) => {
                is_sound = false;
                println!("no frame  {:<20} {why}", source.id);
            }
        }
    }
    Ok(is_sound)
}

/// Opens a source and describes its first frame.
fn first_frame(opener: &GstOpener, request: &OpenRequest, clock: &dyn Clock) -> Result<String, String> {
    let mut reader = opener.open(request).map_err(|error| error.to_string())?;
    let began = clock.monotonic();
    let mut look = || match reader.read(Duration::from_millis(200)) {
        Read::Frame(frame) => {
            let decoder = reader
                .decoder()
                .unwrap_or_else(|| "an unknown decoder".to_owned());
            ControlFlow::Break(Ok(format!("{:?} by {decoder}", frame.picture)))
        }
        Read::Failed(error) => ControlFlow::Break(Err(error.to_string())),
        Read::Ended => ControlFlow::Break(Err("the stream ended before its first frame".to_owned())),
        Read::Nothing if clock.monotonic().since(began) > PATIENCE => {
            ControlFlow::Break(Err(format!("nothing came within {} s", PATIENCE.as_secs())))
        }
        Read::Nothing | Read::Telemetry(_) => ControlFlow::Continue(()),
    };
    loop {
        if let ControlFlow::Break(outcome) = look() {
            return outcome;
        }
    }
}
