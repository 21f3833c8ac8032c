//! Trees and houses: found on the ground, sorted by distance, painted from far to near.

use nalgebra::Vector3;

use super::camera::Camera;
use super::canvas::Canvas;
use super::ground::{Ground, TILE_M, Thing, ThingKind, Turn};
use super::light::{Colour, Light, lit, mix};
use super::noise::{Noise, hash, smoothstep, unit};

/// Things farther away than this are left to the ground's texture, in metres.
const FARTHEST_M: f64 = 3500.0;

/// The ground curves away under the scene's level plane: enough precision for where a tree stands.
const EARTH_RADIUS_M: f64 = 6_371_000.0;

/// A thing as the camera sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) depth_m: f64,
    thing: Thing,
    swap: bool,
    /// Its foot in the camera's own east, north, up.
    foot: Vector3<f64>,
    tint: f32,
}

/// Returns what may be seen, farthest first; `to_camera` takes a point of the scene into the camera's east, north, up.
pub(super) fn in_view(
    ground: &Ground,
    extra: &[Thing],
    camera: &Camera,
    camera_at: Vector3<f64>,
    to_camera: &dyn Fn(Vector3<f64>) -> Vector3<f64>,
    frame: (usize, usize),
    visibility_m: f32,
) -> Vec<Standing> {
    let reach_m = FARTHEST_M.min(f64::from(visibility_m) * 1.2);
    let (east_m, north_m) = (
        camera_at.x + f64::from(ground.stubble.0),
        camera_at.y + f64::from(ground.stubble.1),
    );
    let tile_m = f64::from(TILE_M);
    let cells = |at: f64| ((at - reach_m) / tile_m).floor() as i32..=((at + reach_m) / tile_m).floor() as i32;
    let mut standing = Vec::new();
    let mut place = |thing: &Thing, east_m: f64, north_m: f64, swap: bool, tint: f32| {
        let sunk_m = (east_m * east_m + north_m * north_m) / (2.0 * EARTH_RADIUS_M);
        let foot = to_camera(Vector3::new(east_m, north_m, -sunk_m));
        let Some((u, v, depth_m)) = camera.project_local(foot) else {
            return;
        };
        let tall = 16.0 * camera.focal_px() / depth_m;
        if foot.norm() < reach_m
            && u > -tall
            && u < frame.0 as f64 + tall
            && v > -2.0
            && v < frame.1 as f64 + tall
        {
            standing.push(Standing {
                depth_m,
                thing: *thing,
                swap,
                foot,
                tint,
            });
        }
    };
    for row in cells(north_m) {
        for column in cells(east_m) {
            let centre = Vector3::new(
                (f64::from(column) + 0.5) * tile_m - f64::from(ground.stubble.0),
                (f64::from(row) + 0.5) * tile_m - f64::from(ground.stubble.1),
                0.0,
            );
            let seen = camera.direction_seen(to_camera(centre));
            let half_diagonal_m = tile_m * 0.75;
            let slope = frame.0 as f64 / 2.0 / camera.focal_px();
            if seen.z < -half_diagonal_m || seen.x.abs() - half_diagonal_m * 1.5 > slope * seen.z.max(0.0) {
                continue;
            }
            let turn = Turn::of(ground.seed, column, row);
            for (index, thing) in ground.things.iter().enumerate() {
                let (east_m, north_m) = turn.out_of_tile(thing.east_m, thing.north_m);
                place(
                    thing,
                    centre.x - tile_m / 2.0 + f64::from(east_m),
                    centre.y - tile_m / 2.0 + f64::from(north_m),
                    turn.swap,
                    unit(hash(ground.seed, index as u64)),
                );
            }
        }
    }
    for thing in extra {
        place(
            thing,
            f64::from(thing.east_m),
            f64::from(thing.north_m),
            false,
            0.5,
        );
    }
    standing.sort_by(|one, two| two.depth_m.total_cmp(&one.depth_m));
    standing
}

/// Paints things.
pub(super) struct ThingPainter<'a> {
    pub(super) camera: &'a Camera,
    pub(super) light: &'a Light,
    pub(super) trees: &'a Trees,
}

impl ThingPainter<'_> {
    /// Paints one thing.
    pub(super) fn paint(&self, canvas: &mut Canvas, standing: &Standing) {
        match standing.thing.kind {
            ThingKind::Tree { sprite, height_m } => self.tree(canvas, standing, sprite, height_m),
            ThingKind::House {
                half_east_m,
                half_north_m,
                eaves_m,
                ridge_m,
                roof,
                wall,
            } => {
                let (half_east_m, half_north_m) = if standing.swap {
                    (half_north_m, half_east_m)
                } else {
                    (half_east_m, half_north_m)
                };
                let half = (f64::from(half_east_m), f64::from(half_north_m));
                self.house(
                    canvas,
                    standing,
                    half,
                    (f64::from(eaves_m), f64::from(ridge_m)),
                    roof,
                    wall,
                );
            }
        }
    }

    fn tree(&self, canvas: &mut Canvas, standing: &Standing, sprite: u8, height_m: f32) {
        let Some((u, v, depth_m)) = self.camera.project_local(standing.foot) else {
            return;
        };
        let up = Vector3::new(0.0, 0.0, f64::from(height_m));
        let Some((_, top, _)) = self.camera.project_local(standing.foot + up) else {
            return;
        };
        let wide = f64::from(height_m) * 0.72 * self.camera.focal_px() / depth_m;
        // From above a tree is as round as it is wide.
        let tall = (v - top).max(wide * 0.9) as f32;
        let (left, wide, bottom) = ((u - wide / 2.0) as f32, wide as f32, v as f32);
        if wide < 0.4 {
            return;
        }
        let distance_m = standing.foot.norm() as f32;
        let clear = self.light.clearness(distance_m);
        let leaf = mix([66.0, 92.0, 44.0], [104.0, 112.0, 58.0], standing.tint);
        let bright = self.light.on(0.9, 1.0);
        let dim = self.light.on(0.12, 1.0);
        let shape = self.trees.sized(sprite, tall);
        let side = shape.side as f32;
        for y in Canvas::span(bottom - tall, bottom, canvas.height) {
            let line = (y as f32 + 0.5 - (bottom - tall)) / tall * side;
            for x in Canvas::span(left, left + wide, canvas.width) {
                let column = (x as f32 + 0.5 - left) / wide * side;
                let Some((covers, shade)) = shape.at(column, line) else {
                    continue;
                };
                if covers < 0.03 {
                    continue;
                }
                let colour: Colour = std::array::from_fn(|channel| {
                    let light = dim[channel] + (bright[channel] - dim[channel]) * shade;
                    let own = leaf[channel] * light;
                    self.light.haze[channel] + (own - self.light.haze[channel]) * clear
                });
                canvas.cover(x, y, colour, covers);
            }
        }
    }

    fn house(
        &self,
        canvas: &mut Canvas,
        standing: &Standing,
        half: (f64, f64),
        heights: (f64, f64),
        roof: Colour,
        wall: Colour,
    ) {
        let (east, north) = half;
        let (eaves, ridge) = (heights.0, heights.0 + heights.1);
        let corner = |x: f64, y: f64, z: f64| Vector3::new(x, y, z);
        let (a, b) = (corner(-east, -north, 0.0), corner(east, -north, 0.0));
        let (c, d) = (corner(east, north, 0.0), corner(-east, north, 0.0));
        let up = |point: Vector3<f64>| Vector3::new(point.x, point.y, eaves);
        let (west_end, east_end) = (corner(-east, 0.0, ridge), corner(east, 0.0, ridge));
        let is_flat = heights.1 <= 0.0;
        self.face(canvas, standing, &[a, b, up(b), up(a)], wall);
        self.face(canvas, standing, &[c, d, up(d), up(c)], wall);
        if is_flat {
            self.face(canvas, standing, &[b, c, up(c), up(b)], wall);
            self.face(canvas, standing, &[d, a, up(a), up(d)], wall);
            self.face(canvas, standing, &[up(a), up(b), up(c), up(d)], roof);
        } else {
            self.face(canvas, standing, &[b, c, up(c), east_end, up(b)], wall);
            self.face(canvas, standing, &[d, a, up(a), west_end, up(d)], wall);
            self.face(canvas, standing, &[up(a), up(b), east_end, west_end], roof);
            self.face(canvas, standing, &[up(c), up(d), west_end, east_end], roof);
        }
    }

    /// Paints a face whose corners run counter-clockwise seen from outside, if it is seen from outside.
    fn face(&self, canvas: &mut Canvas, standing: &Standing, corners: &[Vector3<f64>], colour: Colour) {
        let normal = (corners[1] - corners[0])
            .cross(&(corners[2] - corners[0]))
            .normalize();
        if normal.dot(&(standing.foot + corners[0])) >= 0.0 {
            return;
        }
        let mut seen = Vec::with_capacity(corners.len());
        for corner in corners {
            let Some((u, v, _)) = self.camera.project_local(standing.foot + corner) else {
                return;
            };
            seen.push((u as f32, v as f32));
        }
        let cosine = normal.dot(&self.light.towards_sun) as f32;
        let bright = lit(colour, self.light.on(cosine, 1.0));
        canvas.fill(&seen, self.light.through_air(bright, standing.foot.norm() as f32));
    }
}

/// Shapes of trees, each at several sizes.
#[derive(Debug)]
pub(super) struct Trees {
    shapes: Vec<Vec<TreeShape>>,
}

#[derive(Debug)]
struct TreeShape {
    side: usize,
    /// Opacity and brightness, 0 to 1.
    texels: Vec<(f32, f32)>,
}

impl Trees {
    const SIDE: usize = 64;

    /// Grows four shapes out of noise.
    pub(super) fn new(noise: &Noise) -> Self {
        let shapes = (0..4)
            .map(|number| {
                let mut sizes = vec![TreeShape::new(noise, number, Self::SIDE)];
                while let Some(half) = sizes.last().filter(|shape| shape.side > 2).map(TreeShape::halved) {
                    sizes.push(half);
                }
                sizes
            })
            .collect();
        Self { shapes }
    }

    fn sized(&self, number: u8, pixels: f32) -> &TreeShape {
        let sizes = &self.shapes[usize::from(number) % self.shapes.len()];
        let halvings = (Self::SIDE as f32 / pixels.max(1.0)).log2().max(0.0) as usize;
        &sizes[halvings.min(sizes.len() - 1)]
    }
}

impl TreeShape {
    fn new(noise: &Noise, number: usize, side: usize) -> Self {
        let shift = number as f32 * 61.0;
        // Tall like a poplar, or round.
        let crown = [
            (0.56, 0.44, 0.42),
            (0.46, 0.50, 0.40),
            (0.60, 0.38, 0.36),
            (0.34, 0.52, 0.44),
        ][number % 4];
        let texels = (0..side * side)
            .map(|index| {
                let x = (index % side) as f32 / side as f32 * 2.0 - 1.0;
                let y = (index / side) as f32 / side as f32;
                let (narrow, middle, tall) = crown;
                let from_middle = (x / (1.15 - narrow)).hypot((y - middle) / tall);
                let lumps = noise.cloudy(shift + x * 24.0, y * 48.0) - 0.5;
                let leaves = smoothstep(1.04, 0.84, from_middle + 0.7 * lumps);
                let trunk = if x.abs() < 0.06 && y > middle { 0.9 } else { 0.0 };
                let clumps = noise.cloudy(shift + 90.0 + x * 30.0, y * 60.0 + 33.0);
                let shade = if leaves > 0.2 {
                    (0.86 - 0.62 * y - 0.14 * x + 0.75 * (clumps - 0.5)).clamp(0.0, 1.0)
                } else {
                    0.1
                };
                (leaves.max(trunk), shade)
            })
            .collect();
        Self { side, texels }
    }

    fn halved(&self) -> Self {
        let side = self.side / 2;
        let texels = (0..side * side)
            .map(|index| {
                let at = index / side * 2 * self.side + index % side * 2;
                let four = [at, at + 1, at + self.side, at + self.side + 1].map(|texel| self.texels[texel]);
                let covers: f32 = four.iter().map(|texel| texel.0).sum();
                let shade: f32 = four.iter().map(|texel| texel.0 * texel.1).sum();
                (covers / 4.0, shade / covers.max(1e-3))
            })
            .collect();
        Self { side, texels }
    }

    fn at(&self, x: f32, y: f32) -> Option<(f32, f32)> {
        if x < 0.0 || y < 0.0 {
            return None;
        }
        let (x, y) = (x as usize, y as usize);
        (x < self.side && y < self.side).then(|| self.texels[y * self.side + x])
    }
}
