//! Encodes pictures as H.264 in MP4, through GStreamer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use image::RgbImage;

use crate::flow::time::MediaTime;

/// How long the last packets may take to be written.
const FINISH: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Encoders in order of preference: element and its settings for clear boxes at a moderate size.
const ENCODERS: [(&str, &str); 2] = [
    ("x264enc", "speed-preset=veryfast pass=quant quantizer=22"),
    ("openh264enc", "rate-control=off complexity=low"),
];

/// An MP4 file that grows picture by picture.
pub(super) struct VideoWriter {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    partial: PathBuf,
    path: PathBuf,
    last: Option<MediaTime>,
}

fn failed(error: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(error.to_string())
}

impl VideoWriter {
    /// Opens a file for pictures of one size.
    pub(super) fn create(path: &Path, width: u32, height: u32) -> std::io::Result<Self> {
        gst::init().map_err(failed)?;
        let (encoder, settings) = ENCODERS
            .into_iter()
            .find(|(name, _)| gst::ElementFactory::find(name).is_some())
            .ok_or_else(|| failed("GStreamer has no H.264 encoder: install gstreamer1.0-plugins-ugly"))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        let description = format!(
            "appsrc name=pictures format=time block=true max-buffers=4 ! videoconvert ! video/x-raw,format=I420 ! \
             {encoder} {settings} ! h264parse ! mp4mux faststart=true ! filesink name=file"
        );
        let pipeline = gst::parse::launch(&description)
            .map_err(failed)?
            .downcast::<gst::Pipeline>()
            .map_err(|_other| failed("GStreamer made no pipeline"))?;
        let source = pipeline
            .by_name("pictures")
            .and_then(|element| element.downcast::<gst_app::AppSrc>().ok())
            .ok_or_else(|| failed("GStreamer made no appsrc"))?;
        if let Some(file) = pipeline.by_name("file") {
            file.set_property("location", partial.to_str().unwrap_or_default());
        }
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width, height)
            // Each picture has its own time. With no rate at all the last one has no length, and players never show it.
            .fps(gst::Fraction::new(25, 1))
            .build()
            .map_err(failed)?;
        source.set_caps(Some(&info.to_caps().map_err(failed)?));
        pipeline.set_state(gst::State::Playing).map_err(failed)?;
        Ok(Self {
            pipeline,
            source,
            partial,
            path: path.to_owned(),
            last: None,
        })
    }

    /// Adds a picture; pictures come in the order of their times.
    pub(super) fn add(&mut self, image: &RgbImage, pts: MediaTime) -> std::io::Result<()> {
        if self.last.is_some_and(|last| pts <= last) {
            return Ok(());
        }
        let (width, height) = (image.width() as usize, image.height() as usize);
        // GStreamer's RGB rows are padded to four bytes.
        let stride = (width * 3).next_multiple_of(4);
        let mut bytes = vec![0; stride * height];
        for (to, from) in bytes
            .chunks_exact_mut(stride)
            .zip(image.as_raw().chunks_exact(width * 3))
        {
            if let Some(row) = to.get_mut(..from.len()) {
                row.copy_from_slice(from);
            }
        }
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let since = pts.since(MediaTime::ZERO);
        let period = self
            .last
            .map_or(Duration::from_millis(40), |last| pts.since(last));
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::try_from(since).ok());
            buffer.set_duration(gst::ClockTime::try_from(period).ok());
        }
        self.last = Some(pts);
        self.source.push_buffer(buffer).map_err(failed)?;
        Ok(())
    }

    /// Writes what is left and gives the file its name.
    pub(super) fn finish(self) -> std::io::Result<()> {
        self.source.end_of_stream().map_err(failed)?;
        let bus = self
            .pipeline
            .bus()
            .ok_or_else(|| failed("the pipeline has no bus"))?;
        let last = bus.timed_pop_filtered(FINISH, &[gst::MessageType::Eos, gst::MessageType::Error]);
        self.pipeline.set_state(gst::State::Null).map_err(failed)?;
        match last.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => std::fs::rename(&self.partial, &self.path),
            Some(gst::MessageView::Error(error)) => Err(failed(error.error())),
            _ => Err(failed("the encoder did not finish within 60 s")),
        }
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        // Already stopped after `finish`; otherwise the run was broken off and the partial file is of no use.
        let _stopped = self.pipeline.set_state(gst::State::Null);
        let _removed = std::fs::remove_file(&self.partial);
    }
}
