//! Reads sources as the pipeline does, on the test's own thread, and makes media to read.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::frame::Frame;
use emberwatch::flow::source::{Duty, SourceId};
use emberwatch::stages::ingest::{
    DutyControl, GstOpener, IngestError, IngestStats, Ingested, Location, OpenRequest, RecordedTotals, SourceSpec,
    Surroundings, Telemetry, run_recorded,
};

/// What a recording gave.
pub(crate) struct Reading {
    pub(crate) frames: Vec<Frame>,
    pub(crate) telemetry: Vec<Telemetry>,
    pub(crate) decoder: Option<String>,
    pub(crate) totals: RecordedTotals,
}

/// Asks for a whole file at watch duty.
pub(crate) fn request_for(path: &Path) -> OpenRequest {
    let spec = SourceSpec::recorded(SourceId::new("clip"), Location::File(path.to_path_buf()));
    OpenRequest::new(Arc::new(spec), Arc::new(DutyControl::new(Duty::Watch)))
}

/// Reads a recording to its end; keeps the frames' pictures only where `keep` says so.
pub(crate) fn read_with(
    request: &OpenRequest,
    each: &mut dyn FnMut(&Frame) -> ControlFlow<()>,
) -> Result<Reading, IngestError> {
    let clock = Arc::new(SystemClock::new());
    let opener = GstOpener::new(clock.clone()).expect("GStreamer loads");
    let stats = IngestStats::default();
    let around = Surroundings { clock: clock.as_ref(), stop: &|_| false, stats: &stats };
    let (mut frames, mut telemetry, mut decoder) = (Vec::new(), Vec::new(), None);
    let totals = run_recorded(request, &opener, &around, &mut |ingested| match ingested {
        Ingested::Frame(mut frame) => {
            let flow = each(&frame);
            // The pixels go back to the decoder's pool; a thousand kept frames would fill the memory.
            frame.picture.planes = Arc::new(emberwatch::flow::frame::PlanarBuffer::new(Vec::new()));
            frames.push(frame);
            flow
        }
        Ingested::Telemetry(piece) => {
            telemetry.push(piece);
            ControlFlow::Continue(())
        }
        Ingested::Decoder(name) => {
            decoder = Some(name);
            ControlFlow::Continue(())
        }
        Ingested::State(_) | Ingested::FallsBack(_) => ControlFlow::Continue(()),
    })?;
    let snapshot = stats.snapshot();
    assert_eq!(snapshot.packets, totals.frames_in);
    Ok(Reading { frames, telemetry, decoder, totals })
}

/// Reads a whole file at watch duty.
pub(crate) fn read(path: &Path) -> Result<Reading, IngestError> {
    read_with(&request_for(path), &mut |_| ControlFlow::Continue(()))
}

/// Runs `ffmpeg` and returns whether it succeeded; says what was skipped where it is not installed.
pub(crate) fn ffmpeg(arguments: &[&str]) -> bool {
    let outcome = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y", "-threads", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .status();
    match outcome {
        Ok(status) => status.success(),
        Err(error) => {
            println!("skipped: ffmpeg cannot be run ({error})");
            false
        }
    }
}

/// A folder for a test's own files, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("emberwatch-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be made");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            println!("the temporary folder stays: {error}");
        }
    }
}

/// Makes an H.264 test clip in a container chosen by its ending; 320x180 at 25 frames a second, a key frame each second.
pub(crate) fn make_clip(path: &Path, seconds: u32, more: &[&str]) -> bool {
    let source = format!("testsrc2=size=320x180:rate=25:duration={seconds}");
    let mut arguments = vec!["-f", "lavfi", "-i", source.as_str()];
    let default = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"];
    arguments.extend(default);
    arguments.extend(more);
    let path = path.to_string_lossy();
    arguments.push(&path);
    ffmpeg(&arguments)
}

/// Returns the machine's clock, for deadlines of tests that talk to real servers.
pub(crate) fn seconds_since(clock: &dyn Clock, start: emberwatch::flow::time::MonotonicTime) -> f64 {
    clock.monotonic().since(start).as_secs_f64()
}

/// A wait that ends early when the sender is dropped or says so: what the pipeline's stop is to a stage.
pub(crate) fn stop_by(receiver: &crossbeam_channel::Receiver<()>) -> impl Fn(Duration) -> bool + '_ {
    move |wait| !matches!(receiver.recv_timeout(wait), Err(crossbeam_channel::RecvTimeoutError::Timeout))
}
