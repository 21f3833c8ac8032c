//! The picture of a cloud alone, stamped puff by puff, then laid over the frame.

use super::canvas::Canvas;
use super::light::mix;
use super::noise::floor;
use super::puffs::Seen;
use super::sprites::Sprites;
use super::truth::Extent;

/// A picture of clouds alone, in premultiplied red, green, blue and opacity, perhaps coarser than the frame.
pub(super) struct Layer {
    left: i32,
    top: i32,
    scale: usize,
    width: usize,
    height: usize,
    pixels: Vec<[f32; 4]>,
}

impl Layer {
    /// Makes a clear layer over left, top, right and bottom of the frame, in pixels.
    pub(super) fn new((left, top, right, bottom): (f32, f32, f32, f32), scale: usize) -> Self {
        let width = ((right - left) / scale as f32).ceil() as usize + 1;
        let height = ((bottom - top) / scale as f32).ceil() as usize + 1;
        Self {
            left: left as i32,
            top: top as i32,
            scale,
            width,
            height,
            pixels: vec![[0.0; 4]; width * height],
        }
    }

    /// Lays a puff over what is there; `shine` points to the light, right and down.
    pub(super) fn stamp(&mut self, puff: &Seen, sprites: &Sprites, shine: (f32, f32), squat: f32) {
        let scale = self.scale as f32;
        let radius = puff.radius / scale;
        let (u, v) = (
            (puff.u - self.left as f32) / scale,
            (puff.v - self.top as f32) / scale,
        );
        let sprite = sprites.sized(puff.sprite, radius);
        let half = sprite.side as f32 / 2.0;
        let (sin, cos) = puff.turn.sin_cos();
        let step = half / radius.max(0.3);
        let light_at = (shine.0 * cos + shine.1 * sin, -shine.0 * sin + shine.1 * cos);
        // A puff smaller than a pixel must not vanish between two: it becomes wider and thinner.
        let (reach, opacity) = if radius < 0.7 {
            (0.7, puff.opacity * (radius / 0.7).powi(2))
        } else {
            (radius, puff.opacity)
        };
        let step = if radius < 0.7 { half / 0.7 } else { step };
        let squat = if radius < 0.7 { 1.0 } else { squat };
        for y in Canvas::span(v - reach * squat, v + reach * squat, self.height) {
            let dy = (y as f32 + 0.5 - v) * step / squat;
            let row = &mut self.pixels[y * self.width..(y + 1) * self.width];
            for x in Canvas::span(u - reach, u + reach, self.width) {
                let dx = (x as f32 + 0.5 - u) * step;
                let column = dx * cos + dy * sin + half;
                let line = -dx * sin + dy * cos + half;
                let Some([density, slope_x, slope_y]) = sprite.at(column, line) else {
                    continue;
                };
                let covers = opacity * density;
                let shade = (0.5 + slope_x * light_at.0 + slope_y * light_at.1).clamp(0.0, 1.0);
                let pixel = &mut row[x];
                let rest = 1.0 - covers;
                let [r, g, b] = mix(puff.dark, puff.light, shade);
                for (under, over) in pixel.iter_mut().zip([r, g, b, 1.0]) {
                    *under = *under * rest + over * covers;
                }
            }
        }
    }

    /// Returns the layer's value at a frame pixel.
    fn at(&self, x: i32, y: i32) -> [f32; 4] {
        if self.scale == 1 {
            return self.texel(x - self.left, y - self.top);
        }
        let scale = self.scale as f32;
        let u = ((x - self.left) as f32 + 0.5) / scale - 0.5;
        let v = ((y - self.top) as f32 + 0.5) / scale - 0.5;
        let (column, row) = (floor(u), floor(v));
        let (fx, fy) = (u - column as f32, v - row as f32);
        let (a, b) = (self.texel(column, row), self.texel(column + 1, row));
        let (c, d) = (self.texel(column, row + 1), self.texel(column + 1, row + 1));
        std::array::from_fn(|channel| {
            let top = a[channel] + (b[channel] - a[channel]) * fx;
            let bottom = c[channel] + (d[channel] - c[channel]) * fx;
            top + (bottom - top) * fy
        })
    }

    fn texel(&self, x: i32, y: i32) -> [f32; 4] {
        match (usize::try_from(x), usize::try_from(y)) {
            (Ok(x), Ok(y)) if x < self.width && y < self.height => self.pixels[y * self.width + x],
            _ => [0.0; 4],
        }
    }

    /// Lays the layer over the picture and marks where it changes it by at least `visible` (opacity, display values).
    pub(super) fn lay(&self, canvas: &mut Canvas, visible: (f32, f32)) -> Laid {
        let mut seen = Vec::new();
        for (x, y) in self.frame_pixels(canvas.width, canvas.height) {
            let [r, g, b, covers] = self.at(x as i32, y as i32);
            if covers > 0.004 {
                let pixel = &mut canvas.pixels[y * canvas.width + x];
                let mut change = 0.0;
                for (channel, over) in pixel.iter_mut().zip([r, g, b]) {
                    let under = f32::from(*channel);
                    let now = under * (1.0 - covers) + over;
                    change += (now - under).abs() / 3.0;
                    *channel = (now + 0.5) as u8;
                }
                if covers > visible.0 && change > visible.1 {
                    seen.push((x, y));
                }
            }
        }
        // What reaches beyond the frame is counted at the layer's own resolution.
        let scale = self.scale as i32;
        let outside = self.pixels.iter().enumerate().filter(|(index, pixel)| {
            let x = self.left + (index % self.width) as i32 * scale;
            let y = self.top + (index / self.width) as i32 * scale;
            let is_inside = (0..canvas.width as i32).contains(&x) && (0..canvas.height as i32).contains(&y);
            pixel[3] > visible.0 && !is_inside
        });
        Laid {
            outside: outside.count() as f64 * f64::from(scale * scale),
            seen,
        }
    }

    fn frame_pixels(&self, width: usize, height: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let clip = |value: i32, limit: usize| value.clamp(0, limit as i32) as usize;
        let right = clip(self.left + (self.width * self.scale) as i32, width);
        let bottom = clip(self.top + (self.height * self.scale) as i32, height);
        let (left, top) = (clip(self.left, width), clip(self.top, height));
        (top..bottom).flat_map(move |y| (left..right).map(move |x| (x, y)))
    }
}

/// Where a layer changed the picture visibly.
pub(super) struct Laid {
    seen: Vec<(usize, usize)>,
    outside: f64,
}

impl Laid {
    /// Measures the cloud, once nearer things are painted.
    pub(super) fn extent(&self, canvas: &Canvas) -> Extent {
        let mut extent = Extent::default();
        for (x, y) in &self.seen {
            extent.add(*x, *y, canvas.hidden(*x, *y));
        }
        extent.add_outside(self.outside);
        extent
    }
}
