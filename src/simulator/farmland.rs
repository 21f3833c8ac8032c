//! How the land is used: fields in strips, villages, orchards, greenhouses, ponds, tracks and roads.

use super::ground::{Field, TILE_M, Thing, ThingKind};
use super::light::Colour;
use super::noise::{Dice, Noise, hash, unit};

/// The colours of the tile and what stands on it.
pub(super) struct Farmland {
    pub(super) texels: Vec<[u8; 4]>,
    pub(super) things: Vec<Thing>,
    /// The middle of the field that the scene is about, in metres from the south-west corner.
    pub(super) centre: (f32, f32),
}

impl Farmland {
    /// Lays out the tile that belongs to `seed`, `texel_m` metres to a texel.
    pub(super) fn new(seed: u64, texel_m: f32, field: Field, noise: &Noise) -> Self {
        let side = (TILE_M / texel_m) as usize;
        let mut dice = Dice::new(seed, 0x0067_726f_756e_6400);
        let mut painter = Painter {
            side,
            texel_m,
            texels: vec![VERGE; side * side],
            things: Vec::new(),
            noise,
        };
        let mut plots = Vec::new();
        split(WHOLE.shrunk(12.0), &mut dice, &mut plots);
        // The scene is about the field nearest to the tile's centre that is large enough.
        let central = plots
            .iter()
            .enumerate()
            .filter(|(_, plot)| plot.width().min(plot.depth()) > 60.0)
            .min_by(|(_, one), (_, two)| one.off_centre_m().total_cmp(&two.off_centre_m()))
            .map_or(0, |(index, _)| index);
        for (index, plot) in plots.iter().enumerate() {
            let usage = if index == central {
                match field {
                    Field::Stubble => Use::Stubble,
                    Field::Greenhouses => Use::Greenhouses,
                }
            } else {
                match dice.unit() {
                    share if share < 0.56 => Use::Strips,
                    share if share < 0.72 => Use::Stubble,
                    share if share < 0.84 && plot.width().min(plot.depth()) > 70.0 => Use::Village,
                    share if share < 0.92 => Use::Orchard,
                    share if share < 0.96 => Use::Greenhouses,
                    share if share < 0.98 => Use::Pond,
                    _ => Use::Strips,
                }
            };
            painter.plot(plot, usage, &mut dice);
        }
        painter.roads(&mut dice);
        let things = std::mem::take(&mut painter.things);
        painter.shadows(&things);
        Self {
            texels: painter.finished(seed),
            things,
            centre: plots
                .get(central)
                .map_or((TILE_M / 2.0, TILE_M / 2.0), Plot::middle),
        }
    }
}

/// A rectangle of land, in metres.
#[derive(Clone, Copy, Debug)]
struct Plot {
    west: f32,
    south: f32,
    east: f32,
    north: f32,
}

impl Plot {
    fn width(&self) -> f32 {
        self.east - self.west
    }

    fn depth(&self) -> f32 {
        self.north - self.south
    }

    fn middle(&self) -> (f32, f32) {
        (
            f32::midpoint(self.west, self.east),
            f32::midpoint(self.south, self.north),
        )
    }

    fn off_centre_m(&self) -> f32 {
        let (east, north) = self.middle();
        (east - TILE_M / 2.0).hypot(north - TILE_M / 2.0)
    }

    fn shrunk(&self, by: f32) -> Self {
        Self {
            west: self.west + by,
            south: self.south + by,
            east: self.east - by,
            north: self.north - by,
        }
    }
}

/// The whole tile.
const WHOLE: Plot = Plot {
    west: 0.0,
    south: 0.0,
    east: TILE_M,
    north: TILE_M,
};

/// What a plot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Strips,
    Stubble,
    Village,
    Orchard,
    Greenhouses,
    Pond,
}

const TRACK: Colour = [168.0, 152.0, 126.0];
const ROAD: Colour = [128.0, 127.0, 124.0];
const VERGE: Colour = [98.0, 112.0, 66.0];
const SHADOW: f32 = 0.52;

/// Halves land until it has the size of fields.
fn split(plot: Plot, dice: &mut Dice, plots: &mut Vec<Plot>) {
    let longest = plot.width().max(plot.depth());
    if longest < 95.0 || (longest < 260.0 && dice.chance(0.45)) {
        plots.push(plot.shrunk(dice.between(1.4, 2.6) as f32));
        return;
    }
    let at = dice.between(0.34, 0.66) as f32;
    if plot.width() > plot.depth() {
        let cut = plot.west + plot.width() * at;
        split(Plot { east: cut, ..plot }, dice, plots);
        split(Plot { west: cut, ..plot }, dice, plots);
    } else {
        let cut = plot.south + plot.depth() * at;
        split(Plot { north: cut, ..plot }, dice, plots);
        split(Plot { south: cut, ..plot }, dice, plots);
    }
}

/// Lays colours and things on the tile.
struct Painter<'a> {
    side: usize,
    texel_m: f32,
    texels: Vec<Colour>,
    things: Vec<Thing>,
    noise: &'a Noise,
}

impl Painter<'_> {
    /// Colours the rectangle by a function of metres east and north.
    fn paint(&mut self, plot: &Plot, colour: impl Fn(f32, f32) -> Option<Colour>) {
        let index = |metres: f32| ((metres / self.texel_m).round().max(0.0) as usize).min(self.side);
        for row in index(plot.south)..index(plot.north) {
            for column in index(plot.west)..index(plot.east) {
                let east = (column as f32 + 0.5) * self.texel_m;
                let north = (row as f32 + 0.5) * self.texel_m;
                if let Some(colour) = colour(east, north) {
                    self.texels[row * self.side + column] = colour;
                }
            }
        }
    }

    fn plot(&mut self, plot: &Plot, usage: Use, dice: &mut Dice) {
        // The ground between plots is a track or a grassy bank.
        let border = if dice.chance(0.5) { TRACK } else { VERGE };
        self.paint(&plot.shrunk(-2.6), |_, _| Some(border));
        match usage {
            Use::Strips | Use::Stubble => self.strips(plot, usage == Use::Stubble, dice),
            Use::Village => self.village(plot, dice),
            Use::Orchard => self.orchard(plot, dice),
            Use::Greenhouses => self.greenhouses(plot, dice),
            Use::Pond => self.paint(plot, |_, _| Some([84.0, 100.0, 98.0])),
        }
        if dice.chance(0.3) && usage != Use::Village {
            let along_north = dice.chance(0.5);
            let length = if along_north { plot.depth() } else { plot.width() };
            let gap_m = dice.between(6.0, 14.0) as f32;
            for step in 0..(length / gap_m) as usize {
                let at = step as f32 * gap_m + dice.between(0.0, 2.0) as f32;
                let (east_m, north_m) = if along_north {
                    (plot.west - 1.5, plot.south + at)
                } else {
                    (plot.west + at, plot.south - 1.5)
                };
                self.tree(east_m, north_m, dice);
            }
        }
    }

    fn strips(&mut self, plot: &Plot, is_stubble: bool, dice: &mut Dice) {
        const CROPS: [Colour; 7] = [
            [92.0, 118.0, 58.0],
            [112.0, 134.0, 74.0],
            [78.0, 104.0, 52.0],
            [128.0, 138.0, 84.0],
            [142.0, 122.0, 96.0],
            [112.0, 94.0, 74.0],
            [150.0, 142.0, 98.0],
        ];
        const STRAW: [Colour; 3] = [
            [184.0, 166.0, 118.0],
            [174.0, 154.0, 108.0],
            [166.0, 150.0, 110.0],
        ];
        let runs_north = plot.depth() > plot.width();
        let across = if runs_north { plot.width() } else { plot.depth() };
        let start = if runs_north { plot.west } else { plot.south };
        let main = dice.below(CROPS.len());
        let mut strips = Vec::new();
        let mut at = 0.0;
        while at < across {
            let colour = if is_stubble {
                STRAW[dice.below(STRAW.len())]
            } else if dice.chance(0.6) {
                CROPS[main]
            } else {
                CROPS[dice.below(CROPS.len())]
            };
            let shade = dice.between(0.93, 1.07) as f32;
            let wide = dice.between(9.0, 24.0) as f32;
            strips.push((start + at, colour.map(|channel| channel * shade)));
            at += wide;
        }
        let row_m = if is_stubble { 4.0 } else { 2.0 };
        let noise = self.noise;
        let texel_m = self.texel_m;
        self.paint(plot, |east, north| {
            let (position, along) = if runs_north { (east, north) } else { (north, east) };
            let index = strips.partition_point(|strip| strip.0 <= position).max(1) - 1;
            let (begins, colour) = *strips.get(index)?;
            if position - begins < 0.6_f32.max(texel_m * 0.6) {
                return Some(colour.map(|channel| channel * 0.86));
            }
            let rows = ((position / row_m).fract() - 0.5).abs();
            let patches = noise.cloudy(along * 0.35, position * 0.9) - 0.5;
            let shade = 1.0 + 0.10 * (rows - 0.25) + 0.26 * patches;
            Some(colour.map(|channel| channel * shade))
        });
    }

    fn village(&mut self, plot: &Plot, dice: &mut Dice) {
        let noise = self.noise;
        self.paint(plot, |east, north| {
            let shade = 0.86 + 0.28 * noise.cloudy(east * 1.3, north * 1.3);
            Some([154.0 * shade, 144.0 * shade, 128.0 * shade])
        });
        let mut north_m = plot.south + 11.0;
        while north_m < plot.north - 9.0 {
            let mut east_m = plot.west + 10.0;
            while east_m < plot.east - 9.0 {
                if dice.chance(0.86) {
                    self.house(east_m, north_m, dice);
                }
                if dice.chance(0.4) {
                    self.tree(
                        east_m + dice.between(-9.0, 9.0) as f32,
                        north_m - 9.0 + dice.between(-2.0, 2.0) as f32,
                        dice,
                    );
                }
                east_m += dice.between(15.0, 19.0) as f32;
            }
            north_m += dice.between(19.0, 26.0) as f32;
        }
    }

    fn house(&mut self, east_m: f32, north_m: f32, dice: &mut Dice) {
        const ROOFS: [Colour; 5] = [
            [146.0, 84.0, 66.0],
            [128.0, 74.0, 62.0],
            [112.0, 114.0, 118.0],
            [136.0, 134.0, 130.0],
            [92.0, 112.0, 136.0],
        ];
        let is_flat = dice.chance(0.35);
        let shade = dice.between(0.85, 1.1) as f32;
        self.things.push(Thing {
            east_m,
            north_m,
            kind: ThingKind::House {
                half_east_m: dice.between(4.5, 6.8) as f32,
                half_north_m: dice.between(3.2, 4.6) as f32,
                eaves_m: dice.between(3.0, 6.2) as f32,
                ridge_m: if is_flat {
                    0.0
                } else {
                    dice.between(1.4, 2.4) as f32
                },
                roof: if is_flat {
                    [164.0 * shade, 162.0 * shade, 156.0 * shade]
                } else {
                    ROOFS[dice.below(ROOFS.len())].map(|channel| channel * shade)
                },
                wall: [204.0 * shade, 198.0 * shade, 186.0 * shade],
            },
        });
    }

    fn orchard(&mut self, plot: &Plot, dice: &mut Dice) {
        let noise = self.noise;
        self.paint(plot, |east, north| {
            let shade = 0.86 + 0.28 * noise.cloudy(east * 0.8, north * 0.8);
            Some([120.0 * shade, 118.0 * shade, 82.0 * shade])
        });
        let mut north_m = plot.south + 3.0;
        while north_m < plot.north - 2.0 {
            let mut east_m = plot.west + 3.0;
            while east_m < plot.east - 2.0 {
                let sprite = dice.below(4) as u8;
                self.things.push(Thing {
                    east_m: east_m + dice.between(-0.8, 0.8) as f32,
                    north_m: north_m + dice.between(-0.8, 0.8) as f32,
                    kind: ThingKind::Tree {
                        sprite,
                        height_m: dice.between(3.0, 4.6) as f32,
                    },
                });
                east_m += 6.0;
            }
            north_m += 7.0;
        }
    }

    fn greenhouses(&mut self, plot: &Plot, dice: &mut Dice) {
        let bay_m = dice.between(9.0, 12.0) as f32;
        let noise = self.noise;
        self.paint(plot, |east, north| {
            let bay = (north - plot.south) / bay_m;
            if bay.fract() > 0.72 || east - plot.west < 3.0 || plot.east - east < 3.0 {
                return Some([132.0, 124.0, 98.0]);
            }
            let curve = 1.0 - ((bay.fract() / 0.72) - 0.45).abs() * 0.55;
            let dirt = 0.9 + 0.2 * noise.cloudy(east * 0.5, north * 0.5);
            let rib = if (east / 4.0).fract() < 0.12 { 0.93 } else { 1.0 };
            let shade = curve * dirt * rib;
            Some([196.0 * shade, 202.0 * shade, 205.0 * shade])
        });
    }

    fn tree(&mut self, east_m: f32, north_m: f32, dice: &mut Dice) {
        let sprite = dice.below(4) as u8;
        self.things.push(Thing {
            east_m: east_m.clamp(0.5, TILE_M - 0.5),
            north_m: north_m.clamp(0.5, TILE_M - 0.5),
            kind: ThingKind::Tree {
                sprite,
                height_m: dice.between(5.5, 12.0) as f32,
            },
        });
    }

    /// Lays half a road along each border, with its trees, and one across.
    fn roads(&mut self, dice: &mut Dice) {
        let noise = self.noise;
        self.paint(&WHOLE, |east, north| {
            let from_border = east.min(TILE_M - east).min(north).min(TILE_M - north);
            if from_border >= 12.0 {
                return None;
            }
            let rough = noise.cloudy(east * 0.9, north * 0.9) - 0.5;
            let (base, spread) = if from_border < 0.2 {
                ([196.0, 192.0, 176.0], 0.05)
            } else if from_border < 3.5 {
                (ROAD, 0.12)
            } else if from_border < 4.6 {
                (TRACK, 0.2)
            } else {
                (VERGE, 0.5)
            };
            Some(base.map(|channel| channel * (1.0 + spread * rough)))
        });
        for border in 0..4 {
            let mut along = dice.between(14.0, 18.0) as f32;
            while along < TILE_M - 12.0 {
                let off = 6.5;
                let (east_m, north_m) = match border {
                    0 => (off, along),
                    1 => (TILE_M - off, along),
                    2 => (along, off),
                    _ => (along, TILE_M - off),
                };
                if dice.chance(0.82) {
                    self.tree(east_m, north_m, dice);
                }
                along += dice.between(6.0, 9.5) as f32;
            }
        }
    }

    /// Darkens what lies in the shadow of things. The sun's side is fixed: the tile is turned anyway.
    fn shadows(&mut self, things: &[Thing]) {
        for thing in things {
            let (east_m, north_m) = (thing.east_m, thing.north_m);
            match thing.kind {
                ThingKind::Tree { height_m, .. } => {
                    let radius = height_m * 0.3;
                    self.darken(
                        east_m + radius * 0.3,
                        north_m + radius * 0.5,
                        radius * 1.1,
                        radius,
                    );
                }
                ThingKind::House {
                    half_east_m,
                    half_north_m,
                    eaves_m,
                    ..
                } => self.darken(
                    east_m,
                    north_m + eaves_m * 0.45,
                    half_east_m * 1.1,
                    half_north_m + eaves_m * 0.3,
                ),
            }
        }
    }

    fn darken(&mut self, east_m: f32, north_m: f32, half_east_m: f32, half_north_m: f32) {
        let plot = Plot {
            west: east_m - half_east_m,
            south: north_m - half_north_m,
            east: east_m + half_east_m,
            north: north_m + half_north_m,
        };
        let index = |metres: f32| ((metres / self.texel_m).round().max(0.0) as usize).min(self.side);
        for row in index(plot.south)..index(plot.north) {
            for column in index(plot.west)..index(plot.east) {
                let east = ((column as f32 + 0.5) * self.texel_m - east_m) / half_east_m;
                let north = ((row as f32 + 0.5) * self.texel_m - north_m) / half_north_m;
                if east.powi(4) + north.powi(4) < 1.0 {
                    self.texels[row * self.side + column] =
                        self.texels[row * self.side + column].map(|channel| channel * SHADOW);
                }
            }
        }
    }

    /// Adds what no plot has: unevenness over tens of metres and over single texels.
    fn finished(self, seed: u64) -> Vec<[u8; 4]> {
        let (noise, side, texel_m) = (self.noise, self.side, self.texel_m);
        self.texels
            .into_iter()
            .enumerate()
            .map(|(index, colour)| {
                let (east, north) = ((index % side) as f32 * texel_m, (index / side) as f32 * texel_m);
                let broad = noise.cloudy(east * 0.25, north * 0.25) - 0.5;
                let fine = unit(hash(seed, index as u64)) - 0.5;
                let shade = 1.0 + 0.16 * broad + 0.11 * fine;
                let [r, g, b] = colour.map(|channel| (channel * shade).clamp(0.0, 255.0) as u8);
                [r, g, b, 0]
            })
            .collect()
    }
}
