//! Writes clips as transport streams with KLV, so that other viewers show where the camera was and looked.

use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::telemetry::log::TelemetryError;

/// The longest wait for the end of a clip, in seconds.
const PATIENCE_S: u64 = 120;

/// How the video of a clip is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipCodec {
    /// H.264.
    H264,
    /// H.265.
    H265,
}

/// Joins the video of a recording with ST 0601 packets in a transport stream, without transcoding. Each packet comes
/// with its time from the start of the video.
pub fn write_clip(
    video: &Path,
    codec: ClipCodec,
    packets: &[(Duration, Vec<u8>)],
    out: &Path,
) -> Result<(), TelemetryError> {
    let broken = |problem: String| TelemetryError::Malformed {
        what: "a clip to be written with KLV",
        problem: format!("{} into {}: {problem}", video.display(), out.display()),
    };
    gst::init().map_err(|error| broken(error.to_string()))?;
    let parser = match codec {
        ClipCodec::H264 => "h264parse",
        ClipCodec::H265 => "h265parse",
    };
    let pipeline = gst::parse::launch(&format!(
        "filesrc name=source ! parsebin ! {parser} config-interval=-1 ! mpegtsmux name=mux ! filesink name=sink \
         appsrc name=klv ! mux."
    ))
    .map_err(|error| broken(error.to_string()))?
    .downcast::<gst::Pipeline>()
    .map_err(|other| broken(format!("{other:?} is no pipeline")))?;
    let element = |name: &str| {
        pipeline
            .by_name(name)
            .ok_or_else(|| broken(format!("the pipeline has no element {name}")))
    };
    element("source")?.set_property("location", video.to_string_lossy().as_ref());
    element("sink")?.set_property("location", out.to_string_lossy().as_ref());
    let klv = element("klv")?
        .downcast::<gst_app::AppSrc>()
        .map_err(|other| broken(format!("{other:?} is no appsrc")))?;
    klv.set_caps(Some(
        &gst::Caps::builder("meta/x-klv").field("parsed", true).build(),
    ));
    klv.set_format(gst::Format::Time);
    klv.set_max_bytes(0);
    let ended = feed_and_wait(&pipeline, &klv, packets);
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::debug!(%error, "the pipeline of a clip did not stop cleanly");
    }
    ended.map_err(broken)
}

fn feed_and_wait(
    pipeline: &gst::Pipeline,
    klv: &gst_app::AppSrc,
    packets: &[(Duration, Vec<u8>)],
) -> Result<(), String> {
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|error| error.to_string())?;
    for (at, bytes) in packets {
        let mut buffer = gst::Buffer::from_slice(bytes.clone());
        if let Some(buffer) = buffer.get_mut() {
            let at = gst::ClockTime::try_from(*at).map_err(|error| error.to_string())?;
            buffer.set_pts(at);
            buffer.set_dts(at);
        }
        klv.push_buffer(buffer).map_err(|error| error.to_string())?;
    }
    klv.end_of_stream().map_err(|error| error.to_string())?;
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus.timed_pop_filtered(gst::ClockTime::from_seconds(PATIENCE_S), &wanted) {
        Some(message) => match message.view() {
            gst::MessageView::Error(error) => Err(error.error().to_string()),
            _ => Ok(()),
        },
        None => Err(format!("its end was not reached within {PATIENCE_S} s")),
    }
}
