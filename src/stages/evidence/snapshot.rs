//! A picture of the fire: the frame at source size with its boxes, or a small one.

use font8x8::UnicodeFonts as _;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{Rgb, RgbImage};

use super::picture::to_rgb;
use crate::flow::detection::{BBox, Class};
use crate::flow::frame::Picture;
use crate::flow::track::{Decision, JudgedFrame};

/// Quality of the JPEG: 90 keeps thin smoke visible at about 0.4 bytes a pixel.
const QUALITY: u8 = 90;

/// A thumbnail shows at least this share of the picture's longer side.
const LEAST_CROP: f64 = 0.1;

/// A box with its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// Where, in source pixels.
    pub bbox: BBox,
    /// What it looks like: it gives the colour.
    pub class: Class,
    /// What is written above it.
    pub label: String,
    /// Whether it is drawn thick: called fire.
    pub is_alarm: bool,
}

impl Annotation {
    /// Returns the boxes of a judged frame: its tracks as seen in it, and detections that belong to none.
    #[must_use]
    pub fn of(frame: &JudgedFrame) -> Vec<Self> {
        let tracked = frame.tracks.iter().filter_map(|(track, verdict)| {
            let seen = track.seen?;
            Some(Self {
                bbox: seen.bbox,
                class: track.class,
                label: format!("{} {:.2} #{}", track.class, seen.score, track.id),
                is_alarm: verdict.decision == Decision::Fire,
            })
        });
        let loose = frame
            .detections
            .iter()
            .filter(|(_, track)| track.is_none())
            .map(|(seen, _)| Self {
                bbox: seen.bbox,
                class: seen.class,
                label: format!("{} {:.2}", seen.class, seen.score),
                is_alarm: false,
            });
        tracked.chain(loose).collect()
    }
}

const fn colour(class: Class) -> Rgb<u8> {
    match class {
        Class::Flame => Rgb([255, 48, 32]),
        Class::Smoke => Rgb([255, 200, 0]),
    }
}

/// Draws the boxes into a picture.
pub fn draw(image: &mut RgbImage, boxes: &[Annotation]) {
    // Thickness and letters follow the picture's size, so that they are read on a small screen too.
    let unit = (image.width().max(image.height()) / 960).max(1);
    for annotation in boxes {
        let colour = colour(annotation.class);
        let thickness = if annotation.is_alarm { 3 * unit } else { unit };
        let edge = |value: f32| value.max(0.0) as u32;
        let (left, top) = (edge(annotation.bbox.x0), edge(annotation.bbox.y0));
        let (right, bottom) = (edge(annotation.bbox.x1), edge(annotation.bbox.y1));
        fill(image, (left, top), (right, top + thickness), colour);
        fill(
            image,
            (left, bottom.saturating_sub(thickness)),
            (right, bottom),
            colour,
        );
        fill(image, (left, top), (left + thickness, bottom), colour);
        fill(
            image,
            (right.saturating_sub(thickness), top),
            (right, bottom),
            colour,
        );
        let height = 8 * unit + 2 * unit;
        let below = if top >= height {
            top - height
        } else {
            bottom.min(image.height().saturating_sub(height))
        };
        write(image, (left, below), &annotation.label, unit, colour);
    }
}

fn fill(image: &mut RgbImage, from: (u32, u32), to: (u32, u32), colour: Rgb<u8>) {
    for y in from.1..to.1.min(image.height()) {
        for x in from.0..to.0.min(image.width()) {
            image.put_pixel(x, y, colour);
        }
    }
}

/// Writes dark letters of 8 by 8 `unit`s on a bar of the given colour.
fn write(image: &mut RgbImage, at: (u32, u32), text: &str, unit: u32, colour: Rgb<u8>) {
    let letters = u32::try_from(text.chars().count()).unwrap_or(0);
    fill(image, at, (at.0 + letters * 8 * unit, at.1 + 10 * unit), colour);
    for (index, letter) in (0_u32..).zip(text.chars()) {
        let Some(rows) = font8x8::BASIC_FONTS.get(letter) else {
            continue;
        };
        for (row, bits) in (0_u32..).zip(rows) {
            for column in 0..8_u32 {
                if bits & (1 << column) != 0 {
                    let from = (at.0 + (index * 8 + column) * unit, at.1 + (row + 1) * unit);
                    fill(image, from, (from.0 + unit, from.1 + unit), Rgb([16, 16, 16]));
                }
            }
        }
    }
}

/// Returns a picture as JPEG; `None` where it has no pixels.
pub(super) fn encode(image: &RgbImage) -> Option<Vec<u8>> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode_image(image)
        .ok()?;
    Some(jpeg)
}

/// Returns the frame at source size with its boxes, as JPEG; `None` where the picture cannot be read.
#[must_use]
pub fn snapshot_jpeg(picture: &Picture, boxes: &[Annotation]) -> Option<Vec<u8>> {
    let mut image = to_rgb(picture)?;
    draw(&mut image, boxes);
    encode(&image)
}

/// Returns the fire alone, with boxes, at most `width` pixels wide, as JPEG: `fire` with half its size around it, and
/// no less than a tenth of the picture's longer side, so that one sees what it is. This is what leaves the house.
#[must_use]
pub fn thumbnail_jpeg(picture: &Picture, boxes: &[Annotation], fire: &BBox, width: u32) -> Option<Vec<u8>> {
    let mut image = to_rgb(picture)?;
    draw(&mut image, boxes);
    let (left, right) = around(fire.x0, fire.x1, image.width(), &image);
    let (top, bottom) = around(fire.y0, fire.y1, image.height(), &image);
    let mut image = image::imageops::crop_imm(&image, left, top, right - left, bottom - top).to_image();
    if image.width() > width {
        let height = (image.height() * width / image.width()).max(1);
        image = image::imageops::resize(&image, width, height, FilterType::Triangle);
    }
    encode(&image)
}

/// Returns what of a side of `length` pixels is shown around what lies from `from` to `to`: at least one pixel.
fn around(from: f32, to: f32, length: u32, image: &RgbImage) -> (u32, u32) {
    let least = f64::from(image.width().max(image.height())) * LEAST_CROP;
    let (from, to) = (f64::from(from), f64::from(to));
    let half = (to - from).max(least / 2.0).max(0.0);
    let (middle, end) = (f64::midpoint(from, to), f64::from(length));
    // A box that lies outside the picture, as a track's forecast may, shows the border.
    let middle = if middle.is_finite() { middle } else { 0.0 };
    let first = (middle - half).floor().clamp(0.0, end - 1.0);
    let last = (middle + half).ceil().clamp(first + 1.0, end);
    (first as u32, last as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::frame::{ColourMatrix, ColourRange, PixelFormat, PlanarBuffer};

    #[test]
    fn a_snapshot_has_the_size_of_its_frame_and_its_box_in_the_right_place() {
        let picture = Picture {
            format: PixelFormat::Nv12,
            width: 64,
            height: 48,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(vec![
                (vec![60; 64 * 48], 64),
                (vec![128; 64 * 24], 64),
            ])),
        };
        let boxes = [Annotation {
            bbox: BBox::new(20.0, 20.0, 40.0, 40.0),
            class: Class::Flame,
            label: "x".into(),
            is_alarm: true,
        }];
        let jpeg = snapshot_jpeg(&picture, &boxes).unwrap();
        let image = image::load_from_memory(&jpeg).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (64, 48));
        let red = |x, y| image.get_pixel(x, y).0[0] > 180 && image.get_pixel(x, y).0[1] < 120;
        assert!(red(30, 21) && red(21, 30) && red(38, 30));
        assert!(!red(30, 30) && !red(10, 30) && !red(50, 30));
        // A box of 20 by 20 with half its size around it, then at most 32 wide.
        let small = thumbnail_jpeg(&picture, &boxes, &boxes[0].bbox, 32).unwrap();
        let small = image::load_from_memory(&small).unwrap().to_rgb8();
        assert_eq!(small.dimensions(), (32, 30));
    }

    #[test]
    fn a_thumbnail_shows_the_fire_and_not_the_house_beside_it() {
        let mut luma = vec![60; 640 * 480];
        // Something bright, 200 pixels to the right of the fire.
        for row in luma.chunks_exact_mut(640).skip(100).take(50) {
            row[350..400].fill(235);
        }
        let picture = Picture {
            format: PixelFormat::Nv12,
            width: 640,
            height: 480,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(vec![(luma, 640), (vec![128; 640 * 240], 640)])),
        };
        let brightest = |jpeg: &[u8]| {
            let image = image::load_from_memory(jpeg).unwrap().to_luma8();
            image.pixels().map(|pixel| pixel.0[0]).max().unwrap()
        };
        let fire = BBox::new(100.0, 100.0, 150.0, 150.0);
        assert!(brightest(&snapshot_jpeg(&picture, &[]).unwrap()) > 200);
        assert!(brightest(&thumbnail_jpeg(&picture, &[], &fire, 480).unwrap()) < 100);
        for strange in [
            BBox::new(-50.0, -50.0, -10.0, -10.0),
            BBox::new(700.0, 500.0, 900.0, 600.0),
            BBox::new(f32::NAN, 0.0, 10.0, 10.0),
        ] {
            assert!(thumbnail_jpeg(&picture, &[], &strange, 480).is_some());
        }
    }

    #[test]
    fn a_box_at_the_border_of_the_picture_is_drawn_without_harm() {
        let mut image = RgbImage::new(20, 20);
        let outside = Annotation {
            bbox: BBox::new(-5.0, -5.0, 300.0, 300.0),
            class: Class::Smoke,
            label: "smoke 0.99 #12345".into(),
            is_alarm: true,
        };
        draw(&mut image, &[outside]);
        assert_eq!(image.get_pixel(1, 10).0, [255, 200, 0]);
    }
}
