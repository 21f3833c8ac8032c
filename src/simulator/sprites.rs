//! Shapes of puffs, made once out of noise.

use super::noise::{Noise, smoothstep};

/// Shapes of puffs, each at several sizes.
#[derive(Debug)]
pub(super) struct Sprites {
    shapes: Vec<Vec<Sprite>>,
}

/// One shape at one size.
#[derive(Debug)]
pub(super) struct Sprite {
    /// Width and height in texels.
    pub(super) side: usize,
    /// Density, and the slope of its surface to the right and down.
    texels: Vec<[f32; 3]>,
}

impl Sprites {
    pub(super) const COUNT: usize = 16;
    const SIDE: usize = 64;

    /// Makes the shapes out of noise.
    pub(super) fn new(noise: &Noise) -> Self {
        let shapes = (0..Self::COUNT)
            .map(|number| {
                let mut sizes = vec![Sprite::new(noise, number, Self::SIDE)];
                while let Some(half) = sizes.last().filter(|sprite| sprite.side > 4).map(Sprite::halved) {
                    sizes.push(half);
                }
                sizes
            })
            .collect();
        Self { shapes }
    }

    /// Returns the size of a shape that fits `radius` pixels best.
    pub(super) fn sized(&self, number: usize, radius: f32) -> &Sprite {
        let sizes = &self.shapes[number % Self::COUNT];
        let halvings = (Self::SIDE as f32 / (2.0 * radius).max(1.0)).log2().max(0.0) as usize;
        &sizes[halvings.min(sizes.len() - 1)]
    }
}

impl Sprite {
    fn new(noise: &Noise, number: usize, side: usize) -> Self {
        let (shift_x, shift_y) = (
            (number % 4) as f32 * 64.0 + 11.0,
            (number / 4) as f32 * 64.0 + 5.0,
        );
        let height = |x: f32, y: f32| {
            let from_middle = x.hypot(y);
            let lumps = noise.cloudy(shift_x + x * 15.0, shift_y + y * 15.0) - 0.5;
            let lumps_fine = noise.cloudy(shift_y + x * 34.0, shift_x + y * 34.0) - 0.5;
            let rough = from_middle + 0.85 * lumps + 0.28 * lumps_fine;
            let inside = smoothstep(0.98, 0.18, rough) * smoothstep(1.0, 0.8, from_middle);
            let bulge = (1.0 - from_middle * from_middle).max(0.0).sqrt();
            (inside, 0.55 * bulge - 0.9 * lumps - 0.22 * lumps_fine)
        };
        let texels = (0..side * side)
            .map(|index| {
                let unit = |cell: usize| (cell as f32 + 0.5) / side as f32 * 2.0 - 1.0;
                let (x, y) = (unit(index % side), unit(index / side));
                let (density, here) = height(x, y);
                let nudge = 0.03;
                let slope = |other: f32| ((here - other) / nudge * 0.32).clamp(-1.0, 1.0);
                [
                    density,
                    slope(height(x + nudge, y).1),
                    slope(height(x, y + nudge).1),
                ]
            })
            .collect();
        Self { side, texels }
    }

    fn halved(&self) -> Self {
        let side = self.side / 2;
        let texels = (0..side * side)
            .map(|index| {
                let at = index / side * 2 * self.side + index % side * 2;
                let four = [at, at + 1, at + self.side, at + self.side + 1];
                std::array::from_fn(|channel| {
                    four.iter().map(|texel| self.texels[*texel][channel]).sum::<f32>() / 4.0
                })
            })
            .collect();
        Self { side, texels }
    }

    pub(super) fn at(&self, x: f32, y: f32) -> Option<[f32; 3]> {
        if x < 0.0 || y < 0.0 {
            return None;
        }
        let (x, y) = (x as usize, y as usize);
        (x < self.side && y < self.side).then(|| self.texels[y * self.side + x])
    }
}
