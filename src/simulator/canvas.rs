//! The picture while it is painted: red, green, blue and a mark of what hides the plume; then I420.

use std::sync::Arc;

use super::light::Colour;
use super::noise::{Noise, hash};
use crate::flow::frame::{ColourMatrix, ColourRange, Picture, PixelFormat, PlanarBuffer};

/// A picture in the making.
#[derive(Debug)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Red, green, blue, and how much of the pixel something nearer than the plume covers.
    pub(super) pixels: Vec<[u8; 4]>,
    /// Whether what is painted now stands nearer than the plume.
    pub(super) is_before_plume: bool,
}

impl Canvas {
    /// Starts from a picture painted before.
    pub(super) fn from_pixels(width: usize, height: usize, pixels: Vec<[u8; 4]>) -> Self {
        Self {
            width,
            height,
            pixels,
            is_before_plume: false,
        }
    }

    /// Makes a black picture.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![[0; 4]; width * height],
            is_before_plume: false,
        }
    }

    /// Lays a colour over a pixel with this opacity, 0 to 1.
    pub(super) fn cover(&mut self, x: usize, y: usize, colour: Colour, opacity: f32) {
        let is_before_plume = self.is_before_plume;
        if let Some(pixel) = self.pixels.get_mut(y * self.width + x) {
            for (channel, over) in pixel.iter_mut().zip(colour) {
                let under = f32::from(*channel);
                *channel = (under + (over - under) * opacity + 0.5) as u8;
            }
            if is_before_plume {
                pixel[3] = pixel[3].max((opacity * 255.0) as u8);
            }
        }
    }

    /// Adds light to a pixel.
    pub(super) fn add(&mut self, x: usize, y: usize, light: Colour) {
        if let Some(pixel) = self.pixels.get_mut(y * self.width + x) {
            for (channel, more) in pixel.iter_mut().zip(light) {
                *channel = (f32::from(*channel) + more + 0.5) as u8;
            }
        }
    }

    /// Returns how much of a pixel something nearer than the plume covers, 0 to 1.
    pub(super) fn hidden(&self, x: usize, y: usize) -> f32 {
        self.pixels
            .get(y * self.width + x)
            .map_or(0.0, |pixel| f32::from(pixel[3]) / 255.0)
    }

    /// Returns the whole pixels that a span of coordinates touches, clipped to `limit`.
    pub(super) fn span(low: f32, high: f32, limit: usize) -> std::ops::Range<usize> {
        let first = low.floor().clamp(0.0, limit as f32) as usize;
        let last = high.ceil().clamp(0.0, limit as f32) as usize;
        first..last.max(first)
    }

    /// Fills a convex polygon with soft left and right edges.
    pub(super) fn fill(&mut self, corners: &[(f32, f32)], colour: Colour) {
        let top = corners.iter().map(|corner| corner.1).fold(f32::MAX, f32::min);
        let bottom = corners.iter().map(|corner| corner.1).fold(f32::MIN, f32::max);
        for y in Self::span(top, bottom, self.height) {
            // Sample within the polygon even where it is thinner than a row.
            let row = (y as f32 + 0.5).clamp(top + 1e-3, (bottom - 1e-3).max(top + 1e-3));
            let (mut left, mut right) = (f32::MAX, f32::MIN);
            for (index, from) in corners.iter().enumerate() {
                let to = corners[(index + 1) % corners.len()];
                if (from.1 <= row) != (to.1 <= row) {
                    let x = from.0 + (to.0 - from.0) * (row - from.1) / (to.1 - from.1);
                    left = left.min(x);
                    right = right.max(x);
                }
            }
            if left >= right {
                continue;
            }
            let height_covered = (bottom.min(y as f32 + 1.0) - top.max(y as f32)).clamp(0.0, 1.0);
            for x in Self::span(left, right, self.width) {
                let covered = (right.min(x as f32 + 1.0) - left.max(x as f32)).clamp(0.0, 1.0);
                self.cover(x, y, colour, covered * height_covered);
            }
        }
    }

    /// Adds a round glow whose light falls to nothing at `radius` pixels.
    pub(super) fn glow(&mut self, centre: (f32, f32), radius: f32, light: Colour) {
        for y in Self::span(centre.1 - radius, centre.1 + radius, self.height) {
            for x in Self::span(centre.0 - radius, centre.0 + radius, self.width) {
                let (dx, dy) = (x as f32 + 0.5 - centre.0, y as f32 + 0.5 - centre.1);
                let nearness = 1.0 - (dx * dx + dy * dy) / (radius * radius);
                if nearness > 0.0 {
                    let strength = nearness * nearness * nearness;
                    self.add(x, y, light.map(|channel| channel * strength));
                }
            }
        }
    }

    /// Turns the picture into I420 (BT.709, limited range), with a lens's softness and the sensor's noise.
    ///
    /// `grain` is the noise's standard deviation in display values; `moment` chooses which noise.
    pub(super) fn develop(&self, noise: &Noise, grain: f32, moment: u64) -> Picture {
        let (width, height) = (self.width, self.height);
        let (half_width, half_height) = (width / 2, height / 2);
        let mut sharp = vec![0_u8; width * height];
        for (luma, pixel) in sharp.iter_mut().zip(&self.pixels) {
            let [r, g, b, _] = pixel.map(u32::from);
            *luma = ((47 * r + 157 * g + 16 * b + 128) / 256 + 16) as u8;
        }
        let mut luma = vec![0_u8; width * height];
        let strength = (grain * 0.859 * 256.0 / 32.0) as i32;
        let mut soft = vec![0_u16; width];
        for (y, row) in luma.chunks_exact_mut(width).enumerate() {
            let at = |row: usize| &sharp[row * width..(row + 1) * width];
            let (above, here, below) = (at(y.saturating_sub(1)), at(y), at((y + 1).min(height - 1)));
            for (soft, ((above, here), below)) in soft.iter_mut().zip(above.iter().zip(here).zip(below)) {
                *soft = u16::from(*above) + 6 * u16::from(*here) + u16::from(*below);
            }
            let grains = noise.grain(hash(moment, y as u64), width);
            let shade = |x: usize, left: u16, middle: u16, right: u16| -> u8 {
                let softened = i32::from(left + 6 * middle + right);
                let noisy = (softened * 4 + i32::from(grains[x]) * strength + 128) >> 8;
                noisy.clamp(16, 235) as u8
            };
            for x in 1..width - 1 {
                row[x] = shade(x, soft[x - 1], soft[x], soft[x + 1]);
            }
            row[0] = shade(0, soft[0], soft[0], soft[1]);
            row[width - 1] = shade(width - 1, soft[width - 2], soft[width - 1], soft[width - 1]);
        }
        let mut blue = vec![0_u8; half_width * half_height];
        let mut red = vec![0_u8; half_width * half_height];
        for y in 0..half_height {
            let upper = &self.pixels[2 * y * width..(2 * y + 1) * width];
            let lower = &self.pixels[(2 * y + 1) * width..(2 * y + 2) * width];
            let grains = noise.grain(hash(moment ^ 0x00c0_ffee, y as u64), half_width);
            let row = y * half_width..(y + 1) * half_width;
            for ((((blue, red), upper), lower), grain) in blue[row.clone()]
                .iter_mut()
                .zip(&mut red[row])
                .zip(upper.chunks_exact(2))
                .zip(lower.chunks_exact(2))
                .zip(grains)
            {
                let sum = |channel: usize| {
                    i32::from(upper[0][channel])
                        + i32::from(upper[1][channel])
                        + i32::from(lower[0][channel])
                        + i32::from(lower[1][channel])
                };
                let (r, g, b) = (sum(0), sum(1), sum(2));
                let speckle = i32::from(*grain) * strength / 768;
                *blue = (((-26 * r - 86 * g + 112 * b + 512) >> 10) + 128 + speckle).clamp(16, 240) as u8;
                *red = (((112 * r - 102 * g - 10 * b + 512) >> 10) + 128 - speckle).clamp(16, 240) as u8;
            }
        }
        Picture {
            format: PixelFormat::I420,
            width: width as u32,
            height: height as u32,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(vec![
                (luma, width),
                (blue, half_width),
                (red, half_width),
            ])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(picture: &Picture, plane: usize, x: usize, y: usize) -> u8 {
        let (samples, stride) = picture.planes.plane(plane);
        samples[y * stride + x]
    }

    #[test]
    fn primary_colours_become_their_bt709_codes() {
        let noise = Noise::new(1);
        for (colour, codes) in [
            ([255.0, 255.0, 255.0], [235, 128, 128]),
            ([0.0, 0.0, 0.0], [16, 128, 128]),
            ([255.0, 0.0, 0.0], [63, 102, 240]),
            ([0.0, 0.0, 255.0], [32, 240, 118]),
        ] {
            let mut canvas = Canvas::new(16, 16);
            for y in 0..16 {
                for x in 0..16 {
                    canvas.cover(x, y, colour, 1.0);
                }
            }
            let picture = canvas.develop(&noise, 0.0, 0);
            for (plane, code) in codes.into_iter().enumerate() {
                let got = sample(&picture, plane, 4, 4);
                assert!(
                    got.abs_diff(code) <= 1,
                    "{colour:?} plane {plane}: {got} for {code}"
                );
            }
        }
    }

    #[test]
    fn a_square_covers_its_area() {
        let mut canvas = Canvas::new(32, 32);
        canvas.fill(
            &[(4.5, 4.25), (20.0, 4.25), (20.0, 10.25), (4.5, 10.25)],
            [255.0; 3],
        );
        let sum: f32 = canvas
            .pixels
            .iter()
            .map(|pixel| f32::from(pixel[0]) / 255.0)
            .sum();
        assert!((sum - 15.5 * 6.0).abs() < 0.5, "{sum}");
    }
}
