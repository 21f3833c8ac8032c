//! Opens picture files and hands them on as frames are: I420, so that they take the way of video.
//!
//! JPEG stores BT.601 in full range, nearly always with chroma at half size; a decoded JPEG turned back into I420 is
//! therefore what a decoder of video would give, and what is measured on pictures holds for frames.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use crate::flow::frame::Picture;
use crate::stages::preprocess::rgb::picture_from_rgb;

/// The longest side of a picture file.
pub const LONGEST_SIDE: u32 = 16_384;

/// A picture file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file cannot be read.
    #[error("cannot read the picture: {0}")]
    Unreadable(#[from] std::io::Error),
    /// The file is not a picture or is damaged.
    #[error("cannot decode the picture, expected a JPEG or PNG file: {0}")]
    Damaged(#[from] image::ImageError),
    /// The samples are deeper than those of video.
    #[error("found a picture of {0} bits a channel, expected 8")]
    TooDeep(u32),
    /// The size does not fit.
    #[error("found a picture of {width}x{height} pixels, expected sides from 1 to {LONGEST_SIDE}")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// Opens a JPEG or PNG file, turned upright by its EXIF orientation, as RGB.
pub fn open_rgb(path: &Path) -> Result<image::RgbImage, PictureError> {
    let bytes = std::fs::read(path)?;
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(1 << 30);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let colour = decoder.color_type();
    let depth = u32::from(colour.bits_per_pixel()) / u32::from(colour.channel_count()).max(1);
    if depth > 8 {
        return Err(PictureError::TooDeep(depth));
    }
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Opens a JPEG or PNG file as a picture of the flow.
pub fn open(path: &Path) -> Result<Picture, PictureError> {
    let rgb = open_rgb(path)?;
    let (width, height) = rgb.dimensions();
    picture_from_rgb(rgb.as_raw(), width, height).ok_or(PictureError::Size { width, height })
}
