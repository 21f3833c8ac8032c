//! Makes a frame-like picture out of RGB pixels, so that still pictures take the way of video.

use std::sync::Arc;

use crate::flow::frame::{ColourMatrix, ColourRange, Picture, PixelFormat, PlanarBuffer};

use super::colour::luma_weights;

/// Makes a picture in I420, BT.601, full range (as JPEG stores it) out of RGB pixels of 8 bits a channel.
///
/// Returns nothing when the size is zero, larger than 65,535 or not that of the pixels.
#[must_use]
pub fn picture_from_rgb(pixels: &[u8], width: u32, height: u32) -> Option<Picture> {
    let (across, down) = (
        usize::from(u16::try_from(width).ok()?),
        usize::from(u16::try_from(height).ok()?),
    );
    if across == 0 || down == 0 || pixels.len() != across.checked_mul(down)?.checked_mul(3)? {
        return None;
    }
    let (chroma_width, chroma_height) = (across.div_ceil(2), down.div_ceil(2));
    let (red, blue) = luma_weights(ColourMatrix::Bt601);
    let green = 1.0 - red - blue;
    let luma = pixels
        .chunks_exact(3)
        .map(|pixel| match pixel {
            [r, g, b] => {
                let code = red * f32::from(*r) + green * f32::from(*g) + blue * f32::from(*b);
                (code + 0.5) as u8
            }
            _ => 0,
        })
        .collect();
    let mut u_plane = Vec::with_capacity(chroma_width * chroma_height);
    let mut v_plane = Vec::with_capacity(chroma_width * chroma_height);
    let rows: Vec<&[u8]> = pixels.chunks_exact(across * 3).collect();
    for pair in rows.chunks(2) {
        let upper = pair.first().copied().unwrap_or_default();
        let lower = pair.get(1).copied().unwrap_or(upper);
        for (above, below) in upper.chunks(6).zip(lower.chunks(6)) {
            let (mut sum, mut count) = ([0_u32; 3], 0_u32);
            for pixel in above.chunks_exact(3).chain(below.chunks_exact(3)) {
                for (part, code) in sum.iter_mut().zip(pixel) {
                    *part += u32::from(*code);
                }
                count += 1;
            }
            let [r, g, b] = sum.map(|part| part as f32 / count.max(1) as f32);
            let y = red * r + green * g + blue * b;
            let code = |difference: f32| (difference + 128.5).clamp(0.0, 255.0) as u8;
            u_plane.push(code((b - y) * 0.5 / (1.0 - blue)));
            v_plane.push(code((r - y) * 0.5 / (1.0 - red)));
        }
    }
    Some(Picture {
        format: PixelFormat::I420,
        width,
        height,
        matrix: ColourMatrix::Bt601,
        range: ColourRange::Full,
        planes: Arc::new(PlanarBuffer::new(vec![
            (luma, across),
            (u_plane, chroma_width),
            (v_plane, chroma_width),
        ])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_pixels_get_the_codes_of_jpeg_red() {
        let picture = picture_from_rgb(&[255, 0, 0].repeat(15), 5, 3).unwrap();
        assert_eq!(picture.planes.plane(0).0, [76; 15]);
        assert_eq!(picture.planes.plane(1), ([85_u8; 6].as_slice(), 3));
        assert_eq!(picture.planes.plane(2).0, [255; 6]);
    }

    #[test]
    fn pixels_that_do_not_fit_the_size_are_refused() {
        assert!(picture_from_rgb(&[0; 12], 2, 3).is_none());
        assert!(picture_from_rgb(&[], 0, 0).is_none());
        assert!(picture_from_rgb(&[0; 3], 70_000, 1).is_none());
    }
}
