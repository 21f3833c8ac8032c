//! Chooses a decoder among those that GStreamer has, and builds decoder, converter, turner and sink.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_app::prelude::BaseTransformExt as _;

use super::super::error::IngestErrorKind;
use super::super::spec::DecoderChoice;
use super::super::wire::Wire;
use crate::flow::source::Liveness;

/// Joins a parsed video stream to the sink; refuses through the wire where that cannot be.
pub(crate) fn attach(
    pipeline: &gst::Pipeline,
    video: &gst::Pad,
    caps: &gst::Caps,
    sink: &gst_app::AppSink,
    wire: &Arc<Wire>,
) {
    if wire.request.evidence_only {
        wire.watch_packets(video);
        let end = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build();
        let joined = end.ok().and_then(|end| {
            pipeline.add(&end).ok()?;
            end.sync_state_with_parent().ok()?;
            video.link(&end.static_pad("sink")?).ok()
        });
        if joined.is_none() {
            wire.refuse(
                IngestErrorKind::PluginMissing,
                "the element fakesink cannot be used",
            );
        }
        return;
    }
    let is_raw = caps
        .structure(0)
        .is_some_and(|structure| structure.name() == "video/x-raw");
    let decoder = if is_raw {
        gst::ElementFactory::make("identity").build().ok()
    } else {
        let Some(factory) = choose(caps, wire.request.spec.decoder) else {
            refuse_codec(caps, wire);
            return;
        };
        factory.create().build().ok()
    };
    let Some(decoder) = decoder else {
        wire.refuse(
            IngestErrorKind::DecoderMissing,
            "its decoder is installed and cannot be made",
        );
        return;
    };
    if decoder.has_property("max-threads") {
        let threads = i32::try_from(wire.request.spec.decoder_threads).unwrap_or(i32::MAX);
        decoder.set_property("max-threads", threads);
    }
    if let Some(factory) = decoder.factory() {
        wire.set_decoder(factory.name().to_string());
    }
    let joined = join(pipeline, video, &decoder, sink, wire);
    if let Err(error) = joined {
        wire.refuse(
            IngestErrorKind::Undecodable,
            format!("its decoder cannot be joined to it ({error})"),
        );
    }
}

fn join(
    pipeline: &gst::Pipeline,
    video: &gst::Pad,
    decoder: &gst::Element,
    sink: &gst_app::AppSink,
    wire: &Arc<Wire>,
) -> Result<(), gst::glib::BoolError> {
    // It passes buffers through untouched where the decoder gives I420 or NV12.
    let converter = gst::ElementFactory::make("videoconvert").build()?;
    let mut elements = vec![decoder.clone(), converter];
    let queue = wire.request.queues_packets().then(queue).transpose()?;
    if let Some(queue) = &queue {
        elements.insert(0, queue.clone());
    }
    if wire.request.spec.liveness == Liveness::Recorded {
        let turner = gst::ElementFactory::make("videoflip").build()?;
        turn_when_asked(video, &turner);
        elements.push(turner);
    }
    pipeline.add_many(&elements)?;
    elements.push(sink.clone().upcast());
    gst::Element::link_many(&elements)?;
    let first = queue.as_ref().unwrap_or(decoder);
    let (Some(entry), Some(taken), Some(exit)) = (
        first.static_pad("sink"),
        decoder.static_pad("sink"),
        sink.static_pad("sink"),
    ) else {
        return Err(gst::glib::bool_error!("a decoder without a sink pad"));
    };
    wire.watch_packets(&entry);
    if queue.is_some() {
        wire.watch_taken(&taken);
    }
    wire.watch_frames(&exit);
    // Downstream first, so that nothing arrives at an element that still sleeps.
    for element in elements.iter().rev() {
        element.sync_state_with_parent()?;
    }
    video
        .link(&entry)
        .map_err(|error| gst::glib::bool_error!("{error}"))?;
    Ok(())
}

/// Makes the queue between the thread that receives and the one that decodes. The wire bounds it (see [`Wire`]): a bound
/// of its own would stop the receiving, or drop packets out of the middle of what refers to them.
fn queue() -> Result<gst::Element, gst::glib::BoolError> {
    gst::ElementFactory::make("queue")
        .property("max-size-buffers", 0_u32)
        .property("max-size-bytes", 0_u32)
        .property("max-size-time", 0_u64)
        .property("silent", true)
        .build()
}

/// Lets `turner` follow the tag of a recording that was made with the camera on its side.
///
/// Until such a tag comes it passes pictures through: left to itself, it copies each of them to turn it by nothing.
fn turn_when_asked(video: &gst::Pad, turner: &gst::Element) {
    if let Some(transform) = turner.downcast_ref::<gst_app::gst_base::BaseTransform>() {
        transform.set_passthrough(true);
    }
    let turner = turner.downgrade();
    video.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, passing| {
        if let Some(gst::PadProbeData::Event(event)) = &passing.data
            && let gst::EventView::Tag(tag) = event.view()
            && let Some(orientation) = tag.tag().get::<gst::tags::ImageOrientation>()
            && orientation.get() != "rotate-0"
            && let Some(turner) = turner.upgrade()
        {
            turner.set_property_from_str("video-direction", "auto");
        }
        gst::PadProbeReturn::Ok
    });
}

fn refuse_codec(caps: &gst::Caps, wire: &Wire) {
    let codec = caps
        .structure(0)
        .map(|structure| structure.name().to_string())
        .unwrap_or_default();
    match wire.request.spec.decoder {
        DecoderChoice::Auto | DecoderChoice::Software => {
            wire.refuse(
                IngestErrorKind::UnsupportedCodec,
                format!("no decoder on this machine reads {codec}"),
            );
        }
        asked => wire.refuse(
            IngestErrorKind::DecoderMissing,
            format!(
                "decoder = {:?} was asked for and no such decoder for {codec} is on this machine",
                asked.name()
            ),
        ),
    }
}

/// Returns the best decoder for these caps, by the choice; hardware first where the choice is automatic.
fn choose(caps: &gst::Caps, choice: DecoderChoice) -> Option<gst::ElementFactory> {
    let mut candidates: Vec<_> = gst::ElementFactory::factories_with_type(
        gst::ElementFactoryType::DECODER
            | gst::ElementFactoryType::MEDIA_VIDEO
            | gst::ElementFactoryType::MEDIA_IMAGE,
        gst::Rank::NONE,
    )
    .into_iter()
    .filter(|factory| factory.can_sink_any_caps(caps))
    .filter(|factory| suits(factory, choice))
    .collect();
    candidates.sort_by_key(|factory| {
        let prefers_hardware = choice == DecoderChoice::Auto && is_hardware(factory);
        let is_libav = factory.name().starts_with("avdec_");
        (!prefers_hardware, std::cmp::Reverse(factory.rank()), !is_libav)
    });
    candidates.into_iter().next()
}

fn suits(factory: &gst::ElementFactory, choice: DecoderChoice) -> bool {
    let name = factory.name();
    match choice {
        DecoderChoice::Auto => factory.rank() >= gst::Rank::MARGINAL || is_hardware(factory),
        DecoderChoice::Software => factory.rank() >= gst::Rank::MARGINAL && !is_hardware(factory),
        DecoderChoice::VaApi => is_hardware(factory) && name.starts_with("va"),
        DecoderChoice::NvDec => is_hardware(factory) && name.starts_with("nv"),
        DecoderChoice::V4l2 => is_hardware(factory) && name.starts_with("v4l2"),
    }
}

fn is_hardware(factory: &gst::ElementFactory) -> bool {
    factory
        .metadata("klass")
        .is_some_and(|class| class.contains("Hardware"))
}
