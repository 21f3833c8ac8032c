//! Seeded randomness: a hash for what must be a pure function, tables for what is read per pixel.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws the parameters of a scene, in order.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Starts the sequence that belongs to `seed` and `purpose`.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(hash(seed, purpose)))
    }

    /// Returns a number in 0..1.
    pub(super) fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 4_294_967_296.0
    }

    /// Returns a number in `low..high`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Returns an index below `count`; 0 where there is none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Returns true with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a normal deviate with standard deviation 1 (sum of twelve uniforms, cut at 6).
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Mixes two numbers into one that looks random (splitmix64).
pub(super) const fn hash(a: u64, b: u64) -> u64 {
    let mut z = a
        .wrapping_add(b.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Turns a hash into a number in 0..1.
pub(super) fn unit(hashed: u64) -> f32 {
    (hashed >> 40) as f32 / 16_777_216.0
}

/// Rises smoothly from 0 at `low` to 1 at `high`.
pub(super) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Rounds down. `f32::floor` is a call into the C library on a plain x86-64, and this runs several times a pixel.
pub(super) fn floor(x: f32) -> i32 {
    let truncated = x as i32;
    truncated - i32::from(x < truncated as f32)
}

/// Side of the noise tables, a power of two.
const SIDE: usize = 256;
/// Mask that wraps an index into the tables.
const WRAP: usize = SIDE - 1;

/// The most grain that is taken at once: the widest picture.
const LONGEST_ROW: usize = 4096;

/// Tables of noise that repeat every 256 units in both directions.
#[derive(Debug)]
pub(super) struct Noise {
    cloudy: Vec<f32>,
    grain: Vec<i8>,
}

impl Noise {
    /// Makes the tables that belong to `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut cloudy = vec![0.0_f32; SIDE * SIDE];
        let mut weight = 1.0;
        for octave in 0..6_u32 {
            let cells = 8_usize << octave;
            let lattice: Vec<f32> = (0..cells * cells)
                .map(|cell| unit(hash(seed ^ u64::from(octave) << 32, cell as u64)))
                .collect();
            let scale = cells as f32 / SIDE as f32;
            for y in 0..SIDE {
                for x in 0..SIDE {
                    cloudy[y * SIDE + x] +=
                        weight * lattice_at(&lattice, cells, x as f32 * scale, y as f32 * scale);
                }
            }
            weight *= 0.55;
        }
        let low = cloudy.iter().copied().fold(f32::MAX, f32::min);
        let high = cloudy.iter().copied().fold(f32::MIN, f32::max);
        for value in &mut cloudy {
            *value = (*value - low) / (high - low);
        }
        let grain = (0..SIDE * SIDE + LONGEST_ROW)
            .map(|cell| {
                let sum: f32 = (0..6)
                    .map(|part| unit(hash(seed ^ 0x6772_6169_6e00 ^ part, cell as u64)))
                    .sum();
                // Six uniforms have a standard deviation of 0.707; 32 stands for one.
                ((sum - 3.0) * 45.25).clamp(-127.0, 127.0) as i8
            })
            .collect();
        Self { cloudy, grain }
    }

    /// Returns fractal noise in 0..1, smooth over about 30 units with detail down to 1.
    pub(super) fn cloudy(&self, x: f32, y: f32) -> f32 {
        let (column, row) = (floor(x), floor(y));
        let (fx, fy) = (x - column as f32, y - row as f32);
        let (x0, y0) = (column as usize & WRAP, row as usize & WRAP);
        let (x1, y1) = ((x0 + 1) & WRAP, (y0 + 1) & WRAP);
        let top = self.cloudy[y0 * SIDE + x0] * (1.0 - fx) + self.cloudy[y0 * SIDE + x1] * fx;
        let bottom = self.cloudy[y1 * SIDE + x0] * (1.0 - fx) + self.cloudy[y1 * SIDE + x1] * fx;
        top * (1.0 - fy) + bottom * fy
    }

    /// Returns the table's own value at whole places: rougher than [`Noise::cloudy`] and much cheaper.
    pub(super) fn speck(&self, x: f32, y: f32) -> f32 {
        self.cloudy[(floor(y) as usize & WRAP) * SIDE + (floor(x) as usize & WRAP)]
    }

    /// Returns `count` (at most 4096) normal deviates from a place that `at` chooses; 32 stands for one.
    pub(super) fn grain(&self, at: u64, count: usize) -> &[i8] {
        let start = (at % (SIDE * SIDE) as u64) as usize;
        self.grain.get(start..start + count).unwrap_or(&[])
    }
}

fn lattice_at(lattice: &[f32], cells: usize, x: f32, y: f32) -> f32 {
    let (x0, y0) = (x as usize % cells, y as usize % cells);
    let (x1, y1) = ((x0 + 1) % cells, (y0 + 1) % cells);
    let (fx, fy) = (x.fract(), y.fract());
    let (sx, sy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
    let top = lattice[y0 * cells + x0] * (1.0 - sx) + lattice[y0 * cells + x1] * sx;
    let bottom = lattice[y1 * cells + x0] * (1.0 - sx) + lattice[y1 * cells + x1] * sx;
    top * (1.0 - sy) + bottom * sy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_numbers() {
        let (mut one, mut two, mut other) = (Dice::new(7, 1), Dice::new(7, 1), Dice::new(8, 1));
        let rolls: Vec<f64> = (0..50).map(|_| one.unit()).collect();
        assert_eq!(rolls, (0..50).map(|_| two.unit()).collect::<Vec<_>>());
        assert_ne!(rolls, (0..50).map(|_| other.unit()).collect::<Vec<_>>());
        assert!(rolls.iter().all(|roll| (0.0..1.0).contains(roll)));
    }

    #[test]
    fn noise_repeats_and_stays_within_zero_and_one() {
        let noise = Noise::new(3);
        for step in 0..500 {
            let (x, y) = (step as f32 * 1.37 - 200.0, step as f32 * 0.71);
            let value = noise.cloudy(x, y);
            assert!((0.0..=1.0).contains(&value));
            assert!((value - noise.cloudy(x + 256.0, y - 256.0)).abs() < 1e-3);
        }
    }

    #[test]
    fn grain_has_the_spread_it_claims() {
        let noise = Noise::new(3);
        let squares: f64 = (0..16)
            .flat_map(|part| noise.grain(part * 4096, 4096))
            .map(|grain| f64::from(*grain).powi(2))
            .sum();
        let mean_square = squares / 65_536.0;
        assert!((mean_square.sqrt() - 32.0).abs() < 1.0, "{}", mean_square.sqrt());
    }
}
