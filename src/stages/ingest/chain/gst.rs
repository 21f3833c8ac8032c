//! Builds the chain in front of the decoder.
//!
//! Files, HTTP, SRT, UDP, RTMP and HLS go through `parsebin`, which finds container and parser; RTSP names its codecs in
//! advance. Sound and unknown tracks end in a sink of their own, because an unlinked track stops some demuxers.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::super::decoder;
use super::super::error::{IngestError, IngestErrorKind};
use super::super::location::Location;
use super::super::reader::TelemetryKind;
use super::super::senderclock::SenderClock;
use super::super::spec::{OpenRequest, Transport};
use super::super::wire::Wire;
use crate::flow::source::Liveness;

/// Decoded frames of a live source that wait: the newest wins, the oldest is lost. 2 × 3.1 MB at 1080p.
const LIVE_FRAMES: u32 = 2;
/// Decoded frames of a recording that wait: the reading waits too. 4 × 3.1 MB at 1080p.
const RECORDED_FRAMES: u32 = 4;
/// Pieces of telemetry that wait: a minute at 30 a second.
const TELEMETRY_PIECES: u32 = 1_800;

/// A pipeline and the places where things come out of it.
pub(crate) struct Chain {
    pub(crate) pipeline: gst::Pipeline,
    pub(crate) frames: gst_app::AppSink,
    pub(crate) telemetry: Arc<std::sync::Mutex<Vec<(TelemetryKind, gst_app::AppSink)>>>,
    pub(crate) sender: Arc<SenderClock>,
}

/// Builds the pipeline of a request; nothing runs yet.
pub(crate) fn build(request: &OpenRequest, wire: &Arc<Wire>) -> Result<Chain, IngestError> {
    let is_live = request.spec.liveness == Liveness::Live;
    let frames = gst_app::AppSink::builder()
        .caps(
            &gst::Caps::builder("video/x-raw")
                .field("format", gst::List::new(["I420", "NV12"]))
                .build(),
        )
        // An HLS playlist is downloaded faster than it plays.
        .sync(is_live && matches!(request.location(), Location::Hls(_)))
        .max_buffers(if is_live { LIVE_FRAMES } else { RECORDED_FRAMES })
        .drop(is_live)
        .build();
    frames.set_enable_last_sample(false);
    frames.set_qos(false);
    let chain = Chain {
        pipeline: gst::Pipeline::new(),
        frames,
        telemetry: Arc::default(),
        sender: Arc::default(),
    };
    let outlet = Outlet {
        pipeline: chain.pipeline.downgrade(),
        frames: chain.frames.clone(),
        telemetry: Arc::clone(&chain.telemetry),
        wire: Arc::clone(wire),
        sender: Arc::clone(&chain.sender),
    };
    // The sink is there from the start: one that joins later counts as ended until then.
    let placed = if request.evidence_only {
        Ok(())
    } else {
        chain.pipeline.add(&chain.frames)
    };
    let built = placed.and_then(|()| match request.location() {
        Location::Rtsp(address) => rtsp(request, address, &chain, outlet),
        location => parsed(request, location, &chain, outlet),
    });
    built.map_err(|error| {
        IngestError::new(
            IngestErrorKind::PluginMissing,
            &request.location().to_string(),
            "a part of GStreamer is missing",
        )
        .caused_by(error)
    })?;
    Ok(chain)
}

fn rtsp(
    request: &OpenRequest,
    address: &str,
    chain: &Chain,
    outlet: Outlet,
) -> Result<(), gst::glib::BoolError> {
    let spec = &request.spec;
    let source = gst::ElementFactory::make("rtspsrc")
        .property("location", address)
        .property(
            "latency",
            u32::try_from(spec.latency.as_millis()).unwrap_or(u32::MAX),
        )
        // Its way of catching up drops packets out of the middle of a picture; it is left on only where there is no other.
        .property("drop-on-latency", !request.queues_packets())
        .property(
            "tcp-timeout",
            u64::try_from(spec.deadlines.first_packet.as_micros()).unwrap_or(u64::MAX),
        )
        .property_from_str(
            "protocols",
            match (spec.transport, address.starts_with("rtsps")) {
                (_, true) => "tls",
                (Transport::Tcp, false) => "tcp",
                (Transport::Udp, false) => "udp",
            },
        )
        .build()?;
    if let Some(credentials) = &spec.credentials {
        source.set_property("user-id", credentials.user());
        source.set_property("user-pw", credentials.password());
    }
    chain.pipeline.add(&source)?;
    chain.sender.follow_manager(&source);
    // Sound is not even asked for.
    source.connect("select-stream", false, |values| {
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let media = caps.and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
        Some((media.as_deref() != Some("audio")).to_value())
    });
    let outlet = Arc::new(outlet);
    outlet.follow(&source, Outlet::rtp_stream);
    Ok(())
}

fn parsed(
    request: &OpenRequest,
    location: &Location,
    chain: &Chain,
    outlet: Outlet,
) -> Result<(), gst::glib::BoolError> {
    let make = gst::ElementFactory::make;
    let mut elements = match location {
        Location::File(path) => vec![make("filesrc").property("location", path.clone()).build()?],
        Location::Rtmp(address) => vec![make("rtmp2src").property("location", address).build()?],
        Location::Srt(address) => vec![make("srtsrc").property("uri", address).build()?],
        Location::Udp(address) => {
            let caps = gst::Caps::builder("video/mpegts")
                .field("systemstream", true)
                .field("packetsize", 188)
                .build();
            vec![
                make("udpsrc")
                    .property("uri", address)
                    .property("caps", caps)
                    .property("buffer-size", 2_097_152_i32)
                    .build()?,
            ]
        }
        Location::Hls(address) | Location::Http(address) | Location::Rtsp(address) => {
            let timeout = u32::try_from(request.spec.deadlines.first_packet.as_secs().max(1)).unwrap_or(60);
            let source = make("souphttpsrc")
                .property("location", address)
                .property("timeout", timeout)
                .build()?;
            if let Some(credentials) = &request.spec.credentials {
                source.set_property("user-id", credentials.user());
                source.set_property("user-pw", credentials.password());
            }
            vec![source]
        }
    };
    let parsebin = make("parsebin").build()?;
    elements.push(parsebin.clone());
    chain.pipeline.add_many(&elements)?;
    gst::Element::link_many(&elements)?;
    Arc::new(outlet).follow(&parsebin, Outlet::stream);
    Ok(())
}

/// Where the streams of a source go as they appear. Holds the pipeline weakly: the pipeline holds it.
struct Outlet {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    frames: gst_app::AppSink,
    telemetry: Arc<std::sync::Mutex<Vec<(TelemetryKind, gst_app::AppSink)>>>,
    wire: Arc<Wire>,
    sender: Arc<SenderClock>,
}

impl Outlet {
    /// Takes each stream that an element exposes, and notes when there was no picture among them.
    fn follow(
        self: &Arc<Self>,
        element: &gst::Element,
        take: fn(&Arc<Self>, &gst::Pipeline, &gst::Pad, &gst::Caps) -> Result<(), gst::glib::BoolError>,
    ) {
        let outlet = Arc::clone(self);
        element.connect_pad_added(move |_, pad| {
            let Some(pipeline) = outlet.pipeline.upgrade() else {
                return;
            };
            if pad.direction() != gst::PadDirection::Src {
                return;
            }
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            if let Err(error) = take(&outlet, &pipeline, pad, &caps) {
                outlet.wire.refuse(
                    IngestErrorKind::PluginMissing,
                    format!("a stream of it cannot be joined ({error})"),
                );
            }
        });
        let wire = Arc::clone(&self.wire);
        element.connect_no_more_pads(move |_| {
            if !wire.has_video() {
                wire.refuse(IngestErrorKind::NoVideo, "it has no picture, only sound or data");
            }
        });
    }

    /// Takes a stream out of RTP.
    fn rtp_stream(
        self: &Arc<Self>,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        caps: &gst::Caps,
    ) -> Result<(), gst::glib::BoolError> {
        let field = |name: &str| caps.structure(0)?.get::<String>(name).ok();
        let encoding = field("encoding-name").unwrap_or_default();
        let is_video = field("media").as_deref() == Some("video");
        let elements: &[&str] = match encoding.as_str() {
            "H264" => &["rtph264depay", "h264parse"],
            "H265" => &["rtph265depay", "h265parse"],
            "JPEG" => &["rtpjpegdepay"],
            "MP4V-ES" => &["rtpmp4vdepay", "mpeg4videoparse"],
            "VP8" => &["rtpvp8depay"],
            "VP9" => &["rtpvp9depay", "vp9parse"],
            "AV1" => &["rtpav1depay", "av1parse"],
            "MP2T" => &["rtpmp2tdepay", "parsebin"],
            "SMPTE336M" => &["rtpklvdepay"],
            _ if is_video => {
                self.wire.refuse(
                    IngestErrorKind::UnsupportedCodec,
                    format!("it sends {encoding:?} over RTP"),
                );
                return discard(pipeline, pad);
            }
            _ => return discard(pipeline, pad),
        };
        let elements = elements
            .iter()
            .map(|name| gst::ElementFactory::make(name).build())
            .collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(last)) = (elements.first(), elements.last()) else {
            return Ok(());
        };
        pipeline.add_many(&elements)?;
        gst::Element::link_many(&elements)?;
        if last.has_property("config-interval") {
            // Parameter sets travel with each key frame, so that a clip can begin at any of them.
            last.set_property("config-interval", -1_i32);
        }
        let entry = first
            .static_pad("sink")
            .ok_or_else(|| gst::glib::bool_error!("no sink pad"))?;
        if encoding == "MP2T" {
            self.follow(last, Self::stream);
        } else if let Some(exit) = last.static_pad("src") {
            if is_video {
                let rate = caps
                    .structure(0)
                    .and_then(|structure| structure.get::<i32>("clock-rate").ok());
                self.sender.follow_packets(
                    &entry,
                    rate.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(90_000),
                );
            }
            // The caps of the elementary stream are known only when data flow; the codec is known now.
            let media_type = match encoding.as_str() {
                "H264" => "video/x-h264",
                "H265" => "video/x-h265",
                "JPEG" => "image/jpeg",
                "MP4V-ES" => "video/mpeg",
                "VP8" => "video/x-vp8",
                "VP9" => "video/x-vp9",
                "AV1" => "video/x-av1",
                _ => "meta/x-klv",
            };
            let mut codec = gst::Caps::new_empty_simple(media_type);
            if encoding == "MP4V-ES" {
                codec.make_mut().set("mpegversion", 4_i32);
            }
            self.stream(pipeline, &exit, &codec)?;
        }
        for element in elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        pad.link(&entry)
            .map_err(|error| gst::glib::bool_error!("{error}"))?;
        Ok(())
    }

    /// Takes an elementary stream.
    fn stream(
        self: &Arc<Self>,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        caps: &gst::Caps,
    ) -> Result<(), gst::glib::BoolError> {
        let Some(structure) = caps.structure(0) else {
            return discard(pipeline, pad);
        };
        let name = structure.name().as_str();
        let telemetry = match name {
            "meta/x-klv" => Some(TelemetryKind::Klv),
            "text/x-raw" | "application/x-subtitle" => Some(TelemetryKind::Subtitle),
            "application/x-onvif-metadata" => Some(TelemetryKind::Onvif),
            _ => None,
        };
        if let Some(kind) = telemetry {
            return self.telemetry(pipeline, pad, kind);
        }
        // A picture without a rate beside the video is a cover.
        let moves = structure
            .get::<gst::Fraction>("framerate")
            .is_ok_and(|rate| rate.numer() > 0);
        let is_video = name.starts_with("video/")
            || (name.starts_with("image/")
                && (moves
                    || pad
                        .parent_element()
                        .is_some_and(|parent| parent.name().starts_with("rtp"))));
        if is_video && self.wire.claim_video() {
            decoder::attach(pipeline, pad, caps, &self.frames, &self.wire);
            return Ok(());
        }
        discard(pipeline, pad)
    }

    fn telemetry(
        &self,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        kind: TelemetryKind,
    ) -> Result<(), gst::glib::BoolError> {
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .max_buffers(TELEMETRY_PIECES)
            .drop(true)
            .build();
        pipeline.add(&sink)?;
        sink.sync_state_with_parent()?;
        let entry = sink
            .static_pad("sink")
            .ok_or_else(|| gst::glib::bool_error!("no sink pad"))?;
        pad.link(&entry)
            .map_err(|error| gst::glib::bool_error!("{error}"))?;
        self.telemetry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push((kind, sink));
        Ok(())
    }
}

/// Takes a stream that nobody wants: an unlinked track stops some demuxers.
fn discard(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Result<(), gst::glib::BoolError> {
    let end = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()?;
    pipeline.add(&end)?;
    end.sync_state_with_parent()?;
    let entry = end
        .static_pad("sink")
        .ok_or_else(|| gst::glib::bool_error!("no sink pad"))?;
    pad.link(&entry)
        .map_err(|error| gst::glib::bool_error!("{error}"))?;
    Ok(())
}
