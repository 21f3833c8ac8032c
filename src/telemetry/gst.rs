//! Subtitle tracks inside MP4, MOV and MKV: newer drones keep their telemetry there.

use std::fmt::Write as _;
use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::dji_srt;
use super::log::{TelemetryError, TelemetryLog};

/// The longest wait for the next message of the pipeline, in seconds.
const STALLED_S: u64 = 20;
/// The longest text that is gathered, in bytes.
const LONGEST: usize = 512 << 20;

/// Reads the text tracks of a recording and takes them for DJI subtitles.
pub fn embedded_subtitles(path: &Path) -> Result<TelemetryLog, TelemetryError> {
    let text = subtitle_text(path)?;
    let mut log = dji_srt::parse(text.as_bytes());
    log.format = "dji_srt_embedded";
    if log.samples.is_empty() {
        return Err(TelemetryError::NotFound {
            what: path.display().to_string(),
            expected: "its text tracks hold no telemetry; give a telemetry file beside it".into(),
        });
    }
    Ok(log)
}

/// Returns all text tracks of a recording as one SRT text. Without any, the text is empty.
fn subtitle_text(path: &Path) -> Result<String, TelemetryError> {
    let broken = |problem: String| TelemetryError::Malformed {
        what: "the container",
        problem: format!("{}: {problem}", path.display()),
    };
    gst::init().map_err(|error| broken(error.to_string()))?;
    let make = |name: &str| {
        gst::ElementFactory::make(name)
            .build()
            .map_err(|error| broken(format!("{error}; install the GStreamer plugins of your system")))
    };
    let is_matroska = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("mkv"));
    let source = make("filesrc")?;
    source.set_property("location", path.to_string_lossy().as_ref());
    let demux = make(if is_matroska { "matroskademux" } else { "qtdemux" })?;
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([&source, &demux])
        .and_then(|()| source.link(&demux))
        .map_err(|error| broken(error.to_string()))?;
    let (sender, receiver) = crossbeam_channel::bounded::<(u64, u64, String)>(1_024);
    let parent = pipeline.downgrade();
    demux.connect_pad_added(move |_, pad| {
        let Some(pipeline) = parent.upgrade() else { return };
        let is_text = pad
            .current_caps()
            .or_else(|| Some(pad.query_caps(None)))
            .and_then(|caps| caps.structure(0).map(|caps| caps.name().to_string()))
            .is_some_and(|name| name.starts_with("text/") || name.starts_with("application/x-subtitle"));
        let sink: gst::Element = if is_text {
            let sender = sender.clone();
            gst_app::AppSink::builder()
                .sync(false)
                .callbacks(
                    gst_app::AppSinkCallbacks::builder()
                        .new_sample(move |sink| {
                            let sample = sink.pull_sample().or(Err(gst::FlowError::Eos))?;
                            let Some(buffer) = sample.buffer() else {
                                return Ok(gst::FlowSuccess::Ok);
                            };
                            let (Some(start), Ok(map)) = (buffer.pts(), buffer.map_readable()) else {
                                return Ok(gst::FlowSuccess::Ok);
                            };
                            let length = buffer.duration().map_or(0, gst::ClockTime::mseconds);
                            let text = String::from_utf8_lossy(map.as_slice()).into_owned();
                            match sender.try_send((start.mseconds(), length, text)) {
                                Err(crossbeam_channel::TrySendError::Disconnected(_)) => {
                                    Err(gst::FlowError::Eos)
                                }
                                Err(crossbeam_channel::TrySendError::Full(cue)) => {
                                    // The reader is behind: wait for it, as nothing may be lost of a file.
                                    sender
                                        .send_timeout(cue, std::time::Duration::from_secs(STALLED_S))
                                        .map(|()| gst::FlowSuccess::Ok)
                                        .or(Err(gst::FlowError::Eos))
                                }
                                Ok(()) => Ok(gst::FlowSuccess::Ok),
                            }
                        })
                        .build(),
                )
                .build()
                .upcast()
        } else {
            let Ok(sink) = gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .build()
            else {
                return;
            };
            sink
        };
        sink.set_property("async", false);
        let linked = pipeline.add(&sink).is_ok()
            && sink
                .static_pad("sink")
                .is_some_and(|sink_pad| pad.link(&sink_pad).is_ok());
        if !(linked && sink.sync_state_with_parent().is_ok()) {
            tracing::debug!(pad = %pad.name(), "a track of the container could not be linked");
        }
    });
    let gathered = gather(&pipeline, &receiver);
    drop(receiver);
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::debug!(%error, "the pipeline of a subtitle track did not stop cleanly");
    }
    gathered.map_err(broken)
}

/// Runs the pipeline to its end and gathers the cues.
fn gather(
    pipeline: &gst::Pipeline,
    receiver: &crossbeam_channel::Receiver<(u64, u64, String)>,
) -> Result<String, String> {
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut number = 0u64;
    let mut idle_ms = 0;
    loop {
        let mut progress = false;
        while let Ok((start_ms, length_ms, cue)) = receiver.try_recv() {
            progress = true;
            number += 1;
            if text.len() > LONGEST {
                return Err(format!("its text track is longer than {LONGEST} bytes"));
            }
            write!(
                text,
                "{number}\n{} --> {}\n{cue}\n\n",
                stamp(start_ms),
                stamp(start_ms + length_ms)
            )
            .map_err(|error| error.to_string())?;
        }
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        match bus.timed_pop_filtered(gst::ClockTime::from_mseconds(20), &wanted) {
            Some(message) => {
                if let gst::MessageView::Error(error) = message.view() {
                    return Err(error.error().to_string());
                }
                // What was sent before the end is already in the channel.
                while let Ok((start_ms, length_ms, cue)) = receiver.try_recv() {
                    number += 1;
                    write!(
                        text,
                        "{number}\n{} --> {}\n{cue}\n\n",
                        stamp(start_ms),
                        stamp(start_ms + length_ms)
                    )
                    .map_err(|error| error.to_string())?;
                }
                return Ok(text);
            }
            None if progress => idle_ms = 0,
            None => {
                idle_ms += 20;
                // A long video is skipped without any cue: only the position says that it goes on.
                if idle_ms > STALLED_S * 1_000 * 30 {
                    return Err("its end was not reached".into());
                }
            }
        }
    }
}

fn stamp(milliseconds: u64) -> String {
    let (seconds, milliseconds) = (milliseconds / 1_000, milliseconds % 1_000);
    format!(
        "{:02}:{:02}:{:02},{milliseconds:03}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}
