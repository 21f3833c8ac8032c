//! The encoder: pictures in, an MP4 file out, through GStreamer.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::error::SimulatorError;
use super::write::Codec;
use crate::flow::frame::Picture;

/// Pictures that may wait for the encoder: four of 1920x1080 are 12 MB.
const WAITING: u64 = 4;
/// How long the encoder may take for what it holds once the last picture is in.
const FINISH: gst::ClockTime = gst::ClockTime::from_seconds(60);
/// How long one picture may wait for room.
const STUCK: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// What the encoder must know before the first picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) codec: Codec,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Frames a second, as a fraction.
    pub(super) rate: (u32, u32),
    /// Frames from one key frame to the next.
    pub(super) key_interval: u32,
}

/// Writes one file. Dropping it before [`Encoder::finish`] leaves a broken one.
pub(super) struct Encoder<'a> {
    path: &'a Path,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    video: gst_video::VideoInfo,
    rate: (u32, u32),
    sent: u64,
}

impl<'a> Encoder<'a> {
    /// Opens the file and starts the encoder.
    pub(super) fn start(path: &'a Path, stream: Stream) -> Result<Self, SimulatorError> {
        let failed = |message: String| SimulatorError::Encode {
            path: path.to_owned(),
            message,
        };
        gst::init().map_err(|error| failed(error.to_string()))?;
        let rate = (stream.rate.0 as i32, stream.rate.1 as i32);
        let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, stream.width, stream.height)
            .fps(gst::Fraction::new(rate.0, rate.1))
            .colorimetry(&gst_video::VideoColorimetry::new(
                gst_video::VideoColorRange::Range16_235,
                gst_video::VideoColorMatrix::Bt709,
                gst_video::VideoTransferFunction::Bt709,
                gst_video::VideoColorPrimaries::Bt709,
            ))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let caps = video.to_caps().map_err(|error| failed(error.to_string()))?;
        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .max_bytes(WAITING * video.size() as u64)
            .build();
        let encoder = encoder(stream)?;
        let parser = match stream.codec {
            Codec::H264 => "h264parse",
            Codec::H265 => "h265parse",
        };
        let pipeline = gst::Pipeline::new();
        let make = |name: &str| {
            gst::ElementFactory::make(name)
                .build()
                .map_err(|error| failed(format!("element {name}: {error}")))
        };
        let (parser, muxer, sink) = (make(parser)?, make("mp4mux")?, make("filesink")?);
        muxer.set_property("faststart", true);
        sink.set_property("location", path);
        let elements = [source.upcast_ref(), &encoder, &parser, &muxer, &sink];
        pipeline
            .add_many(elements)
            .and_then(|()| gst::Element::link_many(elements))
            .map_err(|error| failed(error.to_string()))?;
        pipeline
            .set_state(gst::State::Playing)
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            path,
            pipeline,
            source,
            video,
            rate: stream.rate,
            sent: 0,
        })
    }

    /// Encodes the next picture; waits while the encoder has its hands full.
    pub(super) fn push(&mut self, picture: &Picture) -> Result<(), SimulatorError> {
        let mut waited = gst::ClockTime::ZERO;
        while self.source.current_level_bytes() >= WAITING * self.video.size() as u64 {
            let step = gst::ClockTime::from_mseconds(5);
            self.watch(step)?;
            waited += step;
            if waited > STUCK {
                return Err(self.failed("the encoder took no picture for 30 s"));
            }
        }
        self.watch(gst::ClockTime::ZERO)?;
        let buffer =
            gst::Buffer::with_size(self.video.size()).map_err(|error| self.failed(error.to_string()))?;
        let mut frame =
            gst_video::VideoFrame::from_buffer_writable(buffer, &self.video).map_err(|buffer| {
                self.failed(format!(
                    "a picture of {} bytes could not be mapped",
                    buffer.size()
                ))
            })?;
        for plane in 0..3 {
            let (samples, stride) = picture.planes.plane(plane as usize);
            let wide = if plane == 0 {
                self.video.width()
            } else {
                self.video.width() / 2
            } as usize;
            let to_stride = frame.plane_stride()[plane as usize] as usize;
            let target = frame
                .plane_data_mut(plane)
                .map_err(|error| self.failed(error.to_string()))?;
            for (to, from) in target.chunks_mut(to_stride).zip(samples.chunks(stride)) {
                if let (Some(to), Some(from)) = (to.get_mut(..wide), from.get(..wide)) {
                    to.copy_from_slice(from);
                }
            }
        }
        let mut buffer = frame.into_buffer();
        if let Some(stamped) = buffer.get_mut() {
            let at = |frame: u64| {
                let nanos =
                    u128::from(frame) * 1_000_000_000 * u128::from(self.rate.1) / u128::from(self.rate.0);
                gst::ClockTime::from_nseconds(nanos as u64)
            };
            stamped.set_pts(at(self.sent));
            stamped.set_duration(at(self.sent + 1).saturating_sub(at(self.sent)));
        }
        self.sent += 1;
        self.source
            .push_buffer(buffer)
            .map_err(|error| self.failed(error.to_string()))?;
        Ok(())
    }

    /// Lets the encoder finish and closes the file.
    pub(super) fn finish(self) -> Result<(), SimulatorError> {
        self.source
            .end_of_stream()
            .map_err(|error| self.failed(error.to_string()))?;
        if self.watch(FINISH)? {
            Ok(())
        } else {
            Err(self.failed("the encoder did not finish within 60 s"))
        }
    }

    /// Waits for the end of the stream, at most this long; true once it came.
    fn watch(&self, at_most: gst::ClockTime) -> Result<bool, SimulatorError> {
        let wanted = [gst::MessageType::Error, gst::MessageType::Eos];
        let message = self
            .pipeline
            .bus()
            .and_then(|bus| bus.timed_pop_filtered(at_most, &wanted));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => Err(self.failed(error.error().to_string())),
            Some(gst::MessageView::Eos(_)) => Ok(true),
            _ => Ok(false),
        }
    }

    fn failed(&self, message: impl Into<String>) -> SimulatorError {
        SimulatorError::Encode {
            path: self.path.to_owned(),
            message: message.into(),
        }
    }
}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.pipeline.set_state(gst::State::Null) {
            tracing::warn!(path = %self.path.display(), %error, "the encoder did not stop");
        }
    }
}

/// Makes the first encoder that is there, without B-frames and scene cuts, as cameras encode.
fn encoder(stream: Stream) -> Result<gst::Element, SimulatorError> {
    let key_interval = stream.key_interval.max(1);
    let make = gst::ElementFactory::make;
    let missing = |wanted, package| {
        move |error: gst::glib::BoolError| SimulatorError::NoEncoder {
            codec: stream.codec.name(),
            wanted,
            package,
            message: error.to_string(),
        }
    };
    match stream.codec {
        Codec::H264 => make("x264enc")
            .property_from_str("tune", "zerolatency")
            .property_from_str("speed-preset", "superfast")
            .property_from_str("pass", "qual")
            .property("quantizer", 24_u32)
            // The cap in kbit/s: 6 Mbit/s at 1280x720.
            .property("bitrate", (stream.width * stream.height / 150).max(500))
            .property("bframes", 0_u32)
            .property("key-int-max", key_interval)
            .property("option-string", "scenecut=0")
            .build()
            .or_else(|_| {
                make("openh264enc")
                    .property("gop-size", key_interval)
                    .property("bitrate", stream.width * stream.height * 4)
                    .property("max-bitrate", stream.width * stream.height * 6)
                    .build()
            })
            .map_err(missing("x264enc, openh264enc", "gstreamer1.0-plugins-ugly")),
        Codec::H265 => make("x265enc")
            .property_from_str("tune", "zerolatency")
            .property_from_str("speed-preset", "ultrafast")
            .property("key-int-max", key_interval as i32)
            .property("option-string", "scenecut=0:crf=27:log-level=0")
            .build()
            .map_err(missing("x265enc", "gstreamer1.0-plugins-bad")),
    }
}
