//! A square kilometre of farmland, repeated: its colours from above, and what stands on it.
//!
//! The tile's border is always a road, so that a turned or mirrored tile still joins its neighbours: eight variants
//! keep the repetition out of sight.

use super::farmland::Farmland;
use super::light::Colour;
use super::noise::{Noise, floor, hash};

/// Side of the tile, in metres.
pub(super) const TILE_M: f32 = 1024.0;

/// What the field in the middle of the scene is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Harvested: straw lies on it.
    Stubble,
    /// Rows of plastic greenhouses.
    Greenhouses,
}

/// What stands on the ground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ThingKind {
    /// A tree: which sprite, height in metres.
    Tree { sprite: u8, height_m: f32 },
    /// A house: half sizes east and north, height of the eaves, rise of the ridge (0 for a flat roof), in metres.
    House {
        half_east_m: f32,
        half_north_m: f32,
        eaves_m: f32,
        ridge_m: f32,
        roof: Colour,
        wall: Colour,
    },
}

/// Something that stands on the ground; metres from the tile's south-west corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Thing {
    pub(super) east_m: f32,
    pub(super) north_m: f32,
    pub(super) kind: ThingKind,
}

/// The colours of the tile at one resolution.
#[derive(Debug)]
struct Level {
    side: usize,
    texels: Vec<[u8; 4]>,
}

/// One of the eight ways to lay a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) swap: bool,
    mirror_east: bool,
    mirror_north: bool,
}

impl Turn {
    /// Returns how the tile is laid at a place of the grid; as it is at (0, 0).
    pub(super) fn of(seed: u64, column: i32, row: i32) -> Self {
        let drawn = if column == 0 && row == 0 {
            0
        } else {
            hash(seed, ((column as u32 as u64) << 32) | u64::from(row as u32))
        };
        Self {
            swap: drawn & 1 != 0,
            mirror_east: drawn & 2 != 0,
            mirror_north: drawn & 4 != 0,
        }
    }

    /// Returns where a point of the laid tile lies in the tile itself, in metres.
    fn into_tile(self, east_m: f32, north_m: f32) -> (f32, f32) {
        let (east_m, north_m) = if self.swap {
            (north_m, east_m)
        } else {
            (east_m, north_m)
        };
        (
            if self.mirror_east { TILE_M - east_m } else { east_m },
            if self.mirror_north {
                TILE_M - north_m
            } else {
                north_m
            },
        )
    }

    /// Returns where a point of the tile lies once it is laid, in metres.
    pub(super) fn out_of_tile(self, east_m: f32, north_m: f32) -> (f32, f32) {
        let east_m = if self.mirror_east { TILE_M - east_m } else { east_m };
        let north_m = if self.mirror_north {
            TILE_M - north_m
        } else {
            north_m
        };
        if self.swap {
            (north_m, east_m)
        } else {
            (east_m, north_m)
        }
    }
}

/// The farmland.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) seed: u64,
    texel_m: f32,
    levels: Vec<Level>,
    pub(super) things: Vec<Thing>,
    /// The middle of a harvested field, in metres from the tile's south-west corner: it burns there.
    pub(super) stubble: (f32, f32),
}

impl Ground {
    /// Makes the farmland that belongs to `seed`, `texel_m` metres to a texel (a power of two of at most 2).
    pub(super) fn new(seed: u64, texel_m: f32, field: Field, noise: &Noise) -> Self {
        let side = (TILE_M / texel_m) as usize;
        let farmland = Farmland::new(seed, texel_m, field, noise);
        Self {
            seed,
            texel_m,
            levels: levels(side, farmland.texels),
            things: farmland.things,
            stubble: farmland.centre,
        }
    }

    /// Returns the colour at a place, in metres from the south-west corner of tile (0, 0), seen `footprint_m` wide.
    pub(super) fn level_for(&self, footprint_m: f32) -> usize {
        let wanted = (footprint_m / self.texel_m).max(1.0).log2();
        (wanted as usize).min(self.levels.len() - 1)
    }

    /// Returns the colour at a place inside a laid tile, at the given level.
    pub(super) fn colour(&self, level: usize, turn: Turn, east_m: f32, north_m: f32) -> Colour {
        let (east_m, north_m) = turn.into_tile(east_m, north_m);
        let level = &self.levels[level];
        let scale = level.side as f32 / TILE_M;
        // In 256ths of a texel, so that blending is done on whole numbers, two channels at once.
        let x = floor((east_m * scale - 0.5) * 256.0);
        let y = floor((north_m * scale - 0.5) * 256.0);
        let (fx, fy) = ((x & 255) as u32, (y & 255) as u32);
        let mask = level.side - 1;
        let (x0, y0) = ((x >> 8) as usize & mask, (y >> 8) as usize & mask);
        let (x1, y1) = ((x0 + 1) & mask, (y0 + 1) & mask);
        let texel = |x: usize, y: usize| u32::from_le_bytes(level.texels[y * level.side + x]);
        let top = blend(texel(x0, y0), texel(x1, y0), fx);
        let bottom = blend(texel(x0, y1), texel(x1, y1), fx);
        let [r, g, b, _] = blend(top, bottom, fy).to_le_bytes();
        [f32::from(r), f32::from(g), f32::from(b)]
    }
}

/// Blends four bytes at once, `share` in 256ths.
fn blend(from: u32, to: u32, share: u32) -> u32 {
    const EVEN: u32 = 0x00ff_00ff;
    let mixed = |from: u32, to: u32| (from * (256 - share) + to * share) >> 8 & EVEN;
    mixed(from & EVEN, to & EVEN) | mixed(from >> 8 & EVEN, to >> 8 & EVEN) << 8
}

/// Halves the colours again and again until one texel is left.
fn levels(side: usize, texels: Vec<[u8; 4]>) -> Vec<Level> {
    let mut levels = vec![Level { side, texels }];
    while let Some(finer) = levels.last().filter(|level| level.side > 8) {
        let side = finer.side / 2;
        let mut texels = vec![[0_u8; 4]; side * side];
        for (index, texel) in texels.iter_mut().enumerate() {
            let (x, y) = (index % side * 2, index / side * 2);
            let four = [(0, 0), (1, 0), (0, 1), (1, 1)];
            for (channel, value) in texel.iter_mut().enumerate() {
                let sum: u32 = four
                    .iter()
                    .map(|(dx, dy)| u32::from(finer.texels[(y + dy) * finer.side + x + dx][channel]))
                    .sum();
                *value = (sum / 4) as u8;
            }
        }
        levels.push(Level { side, texels });
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_point_turns_back() {
        for column in -3..4 {
            for row in -3..4 {
                let turn = Turn::of(9, column, row);
                let (east, north) = turn.out_of_tile(100.0, 700.0);
                assert_eq!(turn.into_tile(east, north), (100.0, 700.0));
            }
        }
    }

    #[test]
    fn the_fire_lies_on_straw() {
        let noise = Noise::new(5);
        let ground = Ground::new(5, 2.0, Field::Stubble, &noise);
        let [r, g, b] = ground.colour(1, Turn::of(5, 0, 0), ground.stubble.0, ground.stubble.1);
        assert!(r > g && g > b && r > 110.0, "{r} {g} {b}");
    }

    #[test]
    fn coarser_levels_keep_the_mean_colour() {
        let noise = Noise::new(5);
        let ground = Ground::new(5, 2.0, Field::Stubble, &noise);
        let mean = |level: &Level| {
            level.texels.iter().map(|texel| f64::from(texel[1])).sum::<f64>() / level.texels.len() as f64
        };
        let fine = mean(&ground.levels[0]);
        for level in &ground.levels {
            assert!((mean(level) - fine).abs() < 6.0);
        }
    }
}
