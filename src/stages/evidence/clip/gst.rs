//! Puts packets into MP4.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::super::ring::Clip;
use super::{ClipError, WrittenClip};
use crate::flow::packet::{Codec, Packet};
use crate::flow::time::MediaTime;

/// How long writing may take; a minute of video is written in well under a second.
const DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Writes a clip to an MP4 file with its index in front. The file appears under its name when it is whole.
pub fn cut_clip(clip: &Clip, path: &Path) -> Result<WrittenClip, ClipError> {
    let failed = |reason: String| ClipError::Write {
        reason,
        path: path.to_owned(),
    };
    let (Some(first), Some(start)) = (clip.packets.first(), clip.start()) else {
        return Err(ClipError::Empty {
            path: path.to_owned(),
        });
    };
    let parser = match &first.codec {
        Codec::H264 => "h264parse",
        Codec::H265 => "h265parse",
        Codec::Other(codec) => {
            return Err(ClipError::Codec {
                codec: codec.to_string(),
                path: path.to_owned(),
            });
        }
    };
    gst::init().map_err(|error| failed(error.to_string()))?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let pipeline = gst::Pipeline::new();
    let written = write(&pipeline, clip, start, parser, &partial);
    // The file is closed by this, well or ill; what was wrong is known already.
    let _closed = pipeline.set_state(gst::State::Null);
    let finished = written.map_err(failed).and_then(|()| {
        let file = std::fs::File::open(&partial).and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        let bytes = file.map_err(|error| failed(error.to_string()))?.len();
        std::fs::rename(&partial, path).map_err(|error| failed(error.to_string()))?;
        Ok(bytes)
    });
    let bytes = match finished {
        Ok(bytes) => bytes,
        Err(error) => {
            // The partial file is of no use to anybody; that it cannot be removed either adds nothing.
            let _removed = std::fs::remove_file(&partial);
            return Err(error);
        }
    };
    let last = clip
        .packets
        .iter()
        .map(|packet| packet.pts)
        .max()
        .unwrap_or(start);
    let pictures = clip.packets.len();
    let intervals = u32::try_from(pictures.saturating_sub(1).max(1)).unwrap_or(u32::MAX);
    let shown = last.since(start);
    Ok(WrittenClip {
        bytes,
        pictures,
        duration: shown + shown / intervals,
    })
}

fn write(
    pipeline: &gst::Pipeline,
    clip: &Clip,
    start: MediaTime,
    parser: &str,
    path: &Path,
) -> Result<(), String> {
    let words = |error: gst::glib::BoolError| error.to_string();
    let Some(first) = clip.packets.first() else {
        return Ok(());
    };
    let caps = first.media_type.parse::<gst::Caps>().map_err(words)?;
    let source = gst_app::AppSrc::builder()
        .caps(&caps)
        .format(gst::Format::Time)
        .max_bytes(4 << 20)
        .block(true)
        .build();
    let make = |name: &str| gst::ElementFactory::make(name).build().map_err(words);
    let (parser, muxer, sink) = (make(parser)?, make("mp4mux")?, make("filesink")?);
    // Players begin before the file has arrived; the temporary index stays out of the evidence folder.
    muxer.set_property("faststart", true);
    sink.set_property("location", path.to_path_buf());
    let elements = [source.upcast_ref(), &parser, &muxer, &sink];
    pipeline.add_many(elements).map_err(words)?;
    gst::Element::link_many(elements).map_err(words)?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|error| first_error(pipeline).unwrap_or(error.to_string()))?;
    // Decoding times of reordered pictures may lie before the first picture: all move by the same.
    let earliest = clip
        .packets
        .iter()
        .filter_map(|packet| packet.dts)
        .min()
        .map_or(start, |dts| dts.min(start));
    for packet in &clip.packets {
        if source.push_buffer(buffer_of(packet, earliest)).is_err() {
            break;
        }
    }
    // What went wrong stands on the bus, and that is read next.
    let _ended = source.end_of_stream();
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let verdict = bus.timed_pop_filtered(DEADLINE, &[gst::MessageType::Error, gst::MessageType::Eos]);
    match verdict.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(error.error().message().to_owned()),
        _ => Err(format!("writing did not end within {DEADLINE}")),
    }
}

fn first_error(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(error.error().message().to_owned()),
        _ => None,
    }
}

/// Returns a packet as the library takes it, its times counted from `earliest`.
pub(in crate::stages::evidence) fn buffer_of(packet: &Packet, earliest: MediaTime) -> gst::Buffer {
    let time = |at: MediaTime| gst::ClockTime::try_from(at.since(earliest)).ok();
    let mut buffer = gst::Buffer::from_slice(packet.bytes.clone());
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(time(packet.pts));
        buffer.set_dts(packet.dts.and_then(time));
        buffer.set_duration(
            packet
                .duration
                .filter(|duration| *duration > Duration::ZERO)
                .and_then(|duration| gst::ClockTime::try_from(duration).ok()),
        );
        if !packet.is_key {
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
    }
    buffer
}
