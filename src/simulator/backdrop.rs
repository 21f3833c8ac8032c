//! Sky and ground, pixel by pixel along rays.

use nalgebra::Vector3;

use super::camera::Camera;
use super::canvas::Canvas;
use super::ground::{Ground, TILE_M, Turn};
use super::light::{Colour, Light, mix};
use super::noise::{Noise, floor, smoothstep};

/// Rays are followed at every so many pixels; places in between are interpolated.
const SPAN: usize = 8;

/// Shadows of clouds on the ground.
#[derive(Clone, Copy, Debug)]
pub(super) struct CloudShadows {
    /// How much of the ground lies in shadow, 0 to 1.
    pub(super) cover: f32,
    /// How far the clouds have moved, in metres east and north.
    pub(super) moved_m: (f32, f32),
}

/// What the backdrop is painted from.
pub(super) struct Backdrop<'a> {
    pub(super) camera: &'a Camera,
    /// Takes a point of the camera's east, north, up into the scene's.
    pub(super) to_scene: &'a dyn Fn(Vector3<f64>) -> Vector3<f64>,
    pub(super) ground: &'a Ground,
    pub(super) light: &'a Light,
    pub(super) noise: &'a Noise,
    pub(super) shadows: CloudShadows,
}

/// What a ray meets.
#[derive(Clone, Copy)]
enum Meets {
    Sky(Colour),
    Ground {
        east_m: f32,
        north_m: f32,
        footprint_m: f32,
        /// Factor on the ground's colour: light, then what the air leaves of it.
        keeps: Colour,
        /// What the air adds.
        adds: Colour,
    },
}

impl Backdrop<'_> {
    /// Paints the whole picture.
    pub(super) fn paint(&self, canvas: &mut Canvas) {
        let (width, height) = (canvas.width, canvas.height);
        for y in 0..height {
            let row = &mut canvas.pixels[y * width..(y + 1) * width];
            let mut lookup = Lookup::new(self.ground);
            let mut from = self.meets(0.0, y as f64 + 0.5);
            for (part, pixels) in row.chunks_mut(SPAN).enumerate() {
                let left = (part * SPAN) as f64;
                let to = self.meets(left + pixels.len() as f64, y as f64 + 0.5);
                match (from, to) {
                    (Meets::Sky(one), Meets::Sky(two)) => {
                        for (index, pixel) in pixels.iter_mut().enumerate() {
                            set(pixel, mix(one, two, (index as f32 + 0.5) / SPAN as f32));
                        }
                    }
                    (Meets::Ground { .. }, Meets::Ground { .. }) => {
                        self.ground_span(pixels, from, to, &mut lookup);
                    }
                    _ => {
                        for (index, pixel) in pixels.iter_mut().enumerate() {
                            let here = self.meets(left + index as f64 + 0.5, y as f64 + 0.5);
                            match here {
                                Meets::Sky(colour) => set(pixel, colour),
                                Meets::Ground { .. } => {
                                    self.ground_span(std::slice::from_mut(pixel), here, here, &mut lookup);
                                }
                            }
                        }
                    }
                }
                from = to;
            }
        }
    }

    fn meets(&self, u: f64, v: f64) -> Meets {
        let ray = self.camera.ray(u, v);
        let far_m = f64::from(self.light.visibility_m) * 2.5;
        match self.camera.ground_along(&ray) {
            Some(along) if along < far_m => {
                let point = (self.to_scene)(ray * along);
                let distance_m = (ray.norm() * along) as f32;
                let across_m = along / self.camera.focal_px();
                // Seen at a slant a pixel is a long strip: take a size between its width and its length.
                let slant = (ray.norm() / -ray.z).clamp(1.0, 12.0).sqrt();
                let (east_m, north_m) = (point.x as f32, point.y as f32);
                let sunshine = self.sunshine(east_m, north_m);
                let on = self.light.on(self.light.towards_sun.z as f32, sunshine);
                let clear = self.light.clearness(distance_m);
                Meets::Ground {
                    east_m,
                    north_m,
                    footprint_m: (across_m * slant) as f32,
                    keeps: on.map(|channel| channel * clear),
                    adds: self.light.haze.map(|channel| channel * (1.0 - clear)),
                }
            }
            _ => Meets::Sky(self.sky(&ray.normalize())),
        }
    }

    /// Returns how much of the sun reaches a place on the ground, 0 to 1.
    pub(super) fn sunshine(&self, east_m: f32, north_m: f32) -> f32 {
        if self.shadows.cover <= 0.0 {
            return 1.0;
        }
        let cloud = self.noise.cloudy(
            (east_m - self.shadows.moved_m.0) * 0.055 + 20.0,
            (north_m - self.shadows.moved_m.1) * 0.055 + 70.0,
        );
        let edge = 0.78 - 0.42 * self.shadows.cover;
        1.0 - 0.78 * smoothstep(edge, edge + 0.08, cloud)
    }

    fn sky(&self, direction: &Vector3<f64>) -> Colour {
        let clear = self.light.sky(direction);
        let up = direction.z as f32;
        if up < 0.004 {
            return clear;
        }
        // A flat layer of cloud, 1 unit above; it thins into the haze near the horizon.
        let (x, y) = (direction.x as f32 / (up + 0.09), direction.y as f32 / (up + 0.09));
        let (colour, cover) = self.light.cloud;
        let puffy =
            self.noise.cloudy(x * 9.0, y * 9.0) * 0.65 + self.noise.cloudy(x * 25.0 + 9.0, y * 25.0) * 0.35;
        let edge = 0.72 - 0.45 * cover;
        let share = smoothstep(edge, edge + 0.25, puffy) * smoothstep(0.004, 0.12, up) * 0.8;
        mix(clear, colour, share)
    }

    fn ground_span(&self, pixels: &mut [[u8; 4]], from: Meets, to: Meets, lookup: &mut Lookup<'_>) {
        let (
            Meets::Ground {
                east_m,
                north_m,
                footprint_m,
                keeps,
                adds,
            },
            Meets::Ground {
                east_m: to_east_m,
                north_m: to_north_m,
                keeps: to_keeps,
                adds: to_adds,
                ..
            },
        ) = (from, to)
        else {
            return;
        };
        let count = pixels.len() as f32;
        let level = self.ground.level_for(footprint_m);
        for (index, pixel) in pixels.iter_mut().enumerate() {
            let share = (index as f32 + 0.5) / count;
            let (east_m, north_m) = (
                east_m + (to_east_m - east_m) * share,
                north_m + (to_north_m - north_m) * share,
            );
            let mut colour = lookup.colour(level, east_m, north_m);
            if footprint_m < 0.45 {
                let near = 1.0 - footprint_m / 0.45;
                let fine = self.noise.speck(east_m * 5.0, north_m * 5.0) - 0.5;
                let shade = 1.0 + 0.34 * near * fine;
                colour = colour.map(|channel| channel * shade);
            }
            set(
                pixel,
                std::array::from_fn(|channel| {
                    let keep = keeps[channel] + (to_keeps[channel] - keeps[channel]) * share;
                    let add = adds[channel] + (to_adds[channel] - adds[channel]) * share;
                    colour[channel] * keep + add
                }),
            );
        }
    }
}

fn set(pixel: &mut [u8; 4], colour: Colour) {
    let [r, g, b] = colour.map(|channel| (channel + 0.5) as u8);
    *pixel = [r, g, b, 0];
}

/// Remembers which tile of the ground was looked at last.
struct Lookup<'a> {
    ground: &'a Ground,
    cell: (i32, i32),
    turn: Turn,
}

impl<'a> Lookup<'a> {
    fn new(ground: &'a Ground) -> Self {
        Self {
            ground,
            cell: (0, 0),
            turn: Turn::of(ground.seed, 0, 0),
        }
    }

    /// Returns the ground's colour at a place of the scene, whose origin is the fire's field.
    fn colour(&mut self, level: usize, east_m: f32, north_m: f32) -> Colour {
        let (east_m, north_m) = (east_m + self.ground.stubble.0, north_m + self.ground.stubble.1);
        let cell = (floor(east_m / TILE_M), floor(north_m / TILE_M));
        if cell != self.cell {
            self.cell = cell;
            self.turn = Turn::of(self.ground.seed, cell.0, cell.1);
        }
        self.ground.colour(
            level,
            self.turn,
            east_m - cell.0 as f32 * TILE_M,
            north_m - cell.1 as f32 * TILE_M,
        )
    }
}
