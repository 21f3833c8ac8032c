//! Maps video frames and reads their colours out of the caps.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::flow::frame::{ColourMatrix, ColourRange, Picture, PixelFormat, Planes};

/// A mapped frame: its memory belongs to the decoder's pool and returns there when the last picture is dropped.
struct Mapped(gst_video::VideoFrame<gst_video::video_frame::Readable>);

impl Planes for Mapped {
    fn plane(&self, index: usize) -> (&[u8], usize) {
        let samples = u32::try_from(index)
            .ok()
            .and_then(|plane| self.0.plane_data(plane).ok());
        let stride = self
            .0
            .plane_stride()
            .get(index)
            .and_then(|&stride| usize::try_from(stride).ok());
        match (samples, stride) {
            (Some(samples), Some(stride)) => (samples, stride),
            _ => (&[], 0),
        }
    }
}

/// Lends a sample's buffer as a picture; nothing where the sample is no I420 or NV12 frame.
pub(crate) fn picture_of(sample: &gst::Sample) -> Option<Picture> {
    let description = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gst_video::VideoFrame::from_buffer_readable(sample.buffer_owned()?, &description).ok()?;
    let format = match description.format() {
        gst_video::VideoFormat::I420 => PixelFormat::I420,
        gst_video::VideoFormat::Nv12 => PixelFormat::Nv12,
        _ => return None,
    };
    let colours = description.colorimetry();
    let matrix = match colours.matrix() {
        gst_video::VideoColorMatrix::Bt601 | gst_video::VideoColorMatrix::Fcc => ColourMatrix::Bt601,
        gst_video::VideoColorMatrix::Bt709 | gst_video::VideoColorMatrix::Smpte240m => ColourMatrix::Bt709,
        gst_video::VideoColorMatrix::Bt2020 => ColourMatrix::Bt2020,
        // Not said: by the convention of every player, small pictures are BT.601 and large ones BT.709.
        _ if description.height() < 720 => ColourMatrix::Bt601,
        _ => ColourMatrix::Bt709,
    };
    let range = match colours.range() {
        gst_video::VideoColorRange::Range0_255 => ColourRange::Full,
        _ => ColourRange::Limited,
    };
    Some(Picture {
        format,
        width: description.width(),
        height: description.height(),
        matrix,
        range,
        planes: Arc::new(Mapped(frame)),
    })
}
