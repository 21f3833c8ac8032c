//! Reads sources as the pipeline does, on the test's own thread, and makes media to read.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use emberwatch::clock::SystemClock;
use emberwatch::flow::frame::Frame;
use emberwatch::flow::source::{Duty, SourceId};
use emberwatch::stages::ingest::{
    DutyControl, GstOpener, IngestError, IngestStats, Ingested, Location, OpenRequest, RecordedTotals,
    SourceSpec, Surroundings, Telemetry, run_recorded,
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
    let around = Surroundings {
        clock: clock.as_ref(),
        stop: &|_| false,
        stats: &stats,
    };
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
        Ingested::State(_) | Ingested::FallsBack(_) | Ingested::Clock(_) => ControlFlow::Continue(()),
    })?;
    let snapshot = stats.snapshot();
    assert_eq!(snapshot.packets, totals.frames_in);
    Ok(Reading {
        frames,
        telemetry,
        decoder,
        totals,
    })
}

/// Reads a whole file at watch duty.
pub(crate) fn read(path: &Path) -> Result<Reading, IngestError> {
    read_with(&request_for(path), &mut |_| ControlFlow::Continue(()))
}

/// Runs `ffmpeg`; returns false and says that something is skipped where it is not installed.
pub(crate) fn ffmpeg(arguments: &[&str]) -> bool {
    let outcome = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y", "-threads", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .status();
    match outcome {
        Ok(status) => {
            assert!(
                status.success(),
                "ffmpeg could not make the test's clip: {arguments:?}"
            );
            true
        }
        Err(error) => {
            println!("skipped: ffmpeg cannot be run ({error})");
            false
        }
    }
}

/// Makes an H.264 test clip in a container chosen by its ending; 320x180 at 25 frames a second, a key frame each second.
pub(crate) fn make_clip(path: &Path, seconds: u32, more: &[&str]) -> bool {
    let source = format!("testsrc2=size=320x180:rate=25:duration={seconds}");
    let mut arguments = vec!["-f", "lavfi", "-i", source.as_str()];
    let default = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "25",
        "-pix_fmt",
        "yuv420p",
    ];
    arguments.extend(default);
    arguments.extend(more);
    let path = path.to_string_lossy();
    arguments.push(&path);
    ffmpeg(&arguments)
}
