//! Decodes packets up to a time and keeps the last picture.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::super::clip::buffer_of;
use super::StillError;
use crate::flow::frame::Picture;
use crate::flow::packet::Packet;
use crate::flow::time::MediaTime;
use crate::stages::ingest::picture_of;

/// How long decoding may take. Two seconds of 4K take half a second on one core.
const DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// Returns the last picture that is shown at or before `at`. The packets come in decoding order, a key frame first.
pub fn decode_still(packets: &[Packet], at: MediaTime) -> Result<Picture, StillError> {
    let first = packets.first().ok_or(StillError::Nothing)?;
    let failed = |reason: String| StillError::Decode { reason };
    gst::init().map_err(|error| failed(error.to_string()))?;
    let caps = first
        .media_type
        .parse::<gst::Caps>()
        .map_err(|error| failed(error.to_string()))?;
    let source = gst_app::AppSrc::builder()
        .caps(&caps)
        .format(gst::Format::Time)
        .build();
    let sink = gst_app::AppSink::builder()
        .caps(
            &gst::Caps::builder("video/x-raw")
                .field("format", gst::List::new(["I420", "NV12"]))
                .build(),
        )
        .sync(false)
        .max_buffers(2)
        .build();
    let pipeline = gst::Pipeline::new();
    let outcome = decode(&pipeline, &source, &sink, packets, at);
    // Whatever came out of it is mapped already; a pipeline that cannot be stopped cannot be helped.
    let _stopped = pipeline.set_state(gst::State::Null);
    outcome
}

fn decode(
    pipeline: &gst::Pipeline,
    source: &gst_app::AppSrc,
    sink: &gst_app::AppSink,
    packets: &[Packet],
    at: MediaTime,
) -> Result<Picture, StillError> {
    let failed = |reason: String| StillError::Decode { reason };
    let words = |error: gst::glib::BoolError| failed(error.to_string());
    let make = |name: &str| gst::ElementFactory::make(name).build().map_err(words);
    let (decoder, converter) = (make("decodebin")?, make("videoconvert")?);
    pipeline
        .add_many([source.upcast_ref(), &decoder, &converter, sink.upcast_ref()])
        .map_err(words)?;
    source.link(&decoder).map_err(words)?;
    converter.link(sink).map_err(words)?;
    let entry = converter
        .static_pad("sink")
        .ok_or_else(|| failed("no pad".to_owned()))?;
    decoder.connect_pad_added(move |_, pad| {
        // A second stream finds the entry taken, and is not wanted.
        let _joined = pad.link(&entry);
    });
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|error| failed(error.to_string()))?;
    let earliest = packets
        .iter()
        .map(|packet| packet.dts.map_or(packet.pts, |dts| dts.min(packet.pts)))
        .min()
        .unwrap_or(at);
    for packet in packets {
        if source.push_buffer(buffer_of(packet, earliest)).is_err() {
            break;
        }
    }
    // What went wrong stands on the bus.
    let _ended = source.end_of_stream();
    let wanted = gst::ClockTime::try_from(at.since(earliest)).unwrap_or(gst::ClockTime::MAX);
    let mut last = None;
    while let Some(sample) = sink.try_pull_sample(DEADLINE) {
        let shown = sample.buffer().and_then(gst::BufferRef::pts);
        if last.is_some() && shown.is_some_and(|shown| shown > wanted) {
            break;
        }
        last = Some(sample);
    }
    let error = || {
        let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
            _ => None,
        }
    };
    last.as_ref()
        .and_then(picture_of)
        .ok_or_else(|| failed(error().unwrap_or_else(|| "nothing came out of the decoder".to_owned())))
}
