//! Turns a decoded picture into RGB, for people to look at.

use image::RgbImage;

use crate::flow::frame::{ColourMatrix, ColourRange, Picture, PixelFormat};
use crate::stages::preprocess::luma_weights;

/// Returns the picture in RGB at source size; `None` where its planes are shorter than its size says.
#[must_use]
pub fn to_rgb(picture: &Picture) -> Option<RgbImage> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let mut pixels = Vec::with_capacity(width * height * 3);
    let (red_v, green_u, green_v, blue_u) = chroma_weights(picture.matrix);
    let (black, gain, chroma_gain) = match picture.range {
        ColourRange::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
        ColourRange::Full => (0.0, 1.0, 1.0),
    };
    let (luma, luma_stride) = picture.planes.plane(0);
    let (first, first_stride) = picture.planes.plane(1);
    let (second, second_stride) = picture.planes.plane(2);
    for y in 0..height {
        let line = luma.get(y * luma_stride..y * luma_stride + width)?;
        let chroma_row = y / 2;
        for (x, sample) in line.iter().enumerate() {
            let column = x / 2;
            let (u, v) = match picture.format {
                PixelFormat::I420 => (
                    *first.get(chroma_row * first_stride + column)?,
                    *second.get(chroma_row * second_stride + column)?,
                ),
                PixelFormat::Nv12 => (
                    *first.get(chroma_row * first_stride + 2 * column)?,
                    *first.get(chroma_row * first_stride + 2 * column + 1)?,
                ),
            };
            let level = (f32::from(*sample) - black) * gain;
            let (u, v) = (
                (f32::from(u) - 128.0) * chroma_gain,
                (f32::from(v) - 128.0) * chroma_gain,
            );
            // The cast saturates at 0 and 255.
            pixels.push((level + red_v * v + 0.5) as u8);
            pixels.push((level - green_u * u - green_v * v + 0.5) as u8);
            pixels.push((level + blue_u * u + 0.5) as u8);
        }
    }
    RgbImage::from_raw(picture.width, picture.height, pixels)
}

/// Returns the weights of V in red, of U and V in green and of U in blue, from Kr and Kb of the recommendation.
fn chroma_weights(matrix: ColourMatrix) -> (f32, f32, f32, f32) {
    let (kr, kb) = luma_weights(matrix);
    let kg = 1.0 - kr - kb;
    (
        2.0 * (1.0 - kr),
        2.0 * kb * (1.0 - kb) / kg,
        2.0 * kr * (1.0 - kr) / kg,
        2.0 * (1.0 - kb),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::frame::PlanarBuffer;

    fn flat(y: u8, u: u8, v: u8, matrix: ColourMatrix, range: ColourRange) -> Picture {
        Picture {
            format: PixelFormat::I420,
            width: 3,
            height: 3,
            matrix,
            range,
            planes: Arc::new(PlanarBuffer::new(vec![
                (vec![y; 9], 3),
                (vec![u; 4], 2),
                (vec![v; 4], 2),
            ])),
        }
    }

    #[test]
    fn the_primaries_of_the_recommendations_come_back() {
        use ColourMatrix::{Bt601, Bt709};
        use ColourRange::{Full, Limited};
        // Codes of 75 % bars, from ITU-R BT.601 and BT.709.
        let near = |picture: &Picture, expected: [u8; 3]| {
            let rgb = to_rgb(picture).unwrap();
            let found = rgb.get_pixel(2, 2).0;
            assert!(
                found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 2),
                "{found:?} {expected:?}"
            );
        };
        near(&flat(81, 90, 240, Bt601, Limited), [255, 0, 0]);
        near(&flat(63, 102, 240, Bt709, Limited), [255, 0, 0]);
        near(&flat(173, 42, 26, Bt709, Limited), [0, 255, 0]);
        near(&flat(235, 128, 128, Bt709, Limited), [255, 255, 255]);
        near(&flat(235, 128, 128, Bt709, Full), [235, 235, 235]);
        near(&flat(16, 128, 128, Bt601, Limited), [0, 0, 0]);
    }

    #[test]
    fn planes_that_are_too_short_give_no_picture() {
        let mut picture = flat(1, 2, 3, ColourMatrix::Bt601, ColourRange::Full);
        picture.height = 40;
        assert!(to_rgb(&picture).is_none());
    }
}
