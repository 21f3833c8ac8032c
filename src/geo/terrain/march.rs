//! Where a ray meets the ground: a march in steps of half a cell with the Earth's curve and refraction, then bisection.

use nalgebra::Vector3;

use crate::flow::pose::Wgs84;
use crate::geo::ellipsoid::FlatMap;

use super::{Shape, Terrain, Tile};

/// How closely the meeting point is found along the ray, in metres.
const CLOSENESS_M: f64 = 0.05;

/// A ray that starts at a camera.
#[derive(Clone, Copy, Debug)]
pub struct Ray<'a> {
    /// The map in which it runs.
    pub map: &'a FlatMap,
    /// How far east of the map's origin it starts, in metres.
    pub east_m: f64,
    /// How far north of the map's origin it starts, in metres.
    pub north_m: f64,
    /// How high it starts, in metres above the terrain's datum.
    pub height_m: f64,
    /// Where it goes: east, north, up at its start; length 1.
    pub direction: Vector3<f64>,
}

/// How far rays are followed and how much they bend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// The greatest slant range, in metres.
    pub max_range_m: f64,
    /// The coefficient of refraction: 0.13 by day.
    pub refraction: f64,
}

/// Where a ray met the ground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Metres east of the map's origin.
    pub east_m: f64,
    /// Metres north of the map's origin.
    pub north_m: f64,
    /// Height of the ground, in metres above the terrain's datum.
    pub height_m: f64,
    /// Slant range, in metres.
    pub range_m: f64,
    /// Angle between ray and ground, in degrees.
    pub grazing_deg: f64,
}

/// Why a ray met no ground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Miss {
    /// It runs over the horizon.
    AboveHorizon,
    /// It meets nothing within the greatest range.
    TooFar,
    /// It runs low over a place without a height.
    NoGround(Wgs84),
    /// It starts below the ground.
    BelowGround {
        /// By how much, in metres.
        by_m: f64,
    },
}

/// A ray with what the march needs at each step worked out once.
struct Path<'a> {
    ray: Ray<'a>,
    ground_east: f64,
    ground_north: f64,
    level: f64,
    rise: f64,
    bend: f64,
    radius_m: f64,
}

impl<'a> Path<'a> {
    fn new(ray: Ray<'a>, refraction: f64) -> Self {
        let level = ray.direction.x.hypot(ray.direction.y);
        let (ground_east, ground_north) = if level > 1e-12 {
            (ray.direction.x / level, ray.direction.y / level)
        } else {
            (0.0, 1.0)
        };
        let radius_m = ray.map.radius_m(ground_east.atan2(ground_north));
        Self {
            ray,
            ground_east,
            ground_north,
            level,
            rise: ray.direction.z,
            bend: level * level * (1.0 - refraction) / (2.0 * radius_m),
            radius_m,
        }
    }

    #[inline]
    fn height_m(&self, range_m: f64) -> f64 {
        self.ray.height_m + range_m * (self.rise + range_m * self.bend)
    }

    #[inline]
    fn ground_offset(&self, range_m: f64, height_m: f64) -> (f64, f64) {
        let mean_height_m = f64::midpoint(height_m, self.ray.height_m);
        let along_m = range_m * self.level * (1.0 - mean_height_m / self.radius_m);
        (
            self.ray.east_m + along_m * self.ground_east,
            self.ray.north_m + along_m * self.ground_north,
        )
    }

    #[inline]
    fn above(&self, range_m: f64) -> (f64, Wgs84) {
        let height_m = self.height_m(range_m);
        let (east_m, north_m) = self.ground_offset(range_m, height_m);
        (height_m, self.ray.map.point(east_m, north_m))
    }

    /// Returns the first range at which the ray comes down to a height, or `None` if it never does.
    fn range_to_height(&self, height_m: f64) -> Option<f64> {
        let above_m = self.ray.height_m - height_m;
        if above_m <= 0.0 {
            return Some(0.0);
        }
        let discriminant = self.rise * self.rise - 4.0 * self.bend * above_m;
        if self.rise >= 0.0 || discriminant < 0.0 {
            return None;
        }
        Some(2.0 * above_m / (-self.rise + discriminant.sqrt()))
    }

    fn hit(&self, range_m: f64, ground_m: f64, slope: (f64, f64)) -> Hit {
        let (east_m, north_m) = self.ground_offset(range_m, ground_m);
        let down = -(self.rise + 2.0 * range_m * self.bend);
        let (slope_east, slope_north) = slope;
        let facing = down + self.level * (self.ground_east * slope_east + self.ground_north * slope_north);
        let normal = (1.0 + slope_east * slope_east + slope_north * slope_north).sqrt();
        Hit {
            east_m,
            north_m,
            height_m: ground_m,
            range_m,
            grazing_deg: (facing / normal).clamp(-1.0, 1.0).asin().to_degrees(),
        }
    }
}

impl Terrain {
    /// Follows a ray until it meets the ground. Nothing is allocated.
    pub fn cast(&self, ray: Ray<'_>, reach: Reach) -> Result<Hit, Miss> {
        let path = Path::new(ray, reach.refraction);
        match &self.0 {
            Shape::Plane(plane) => {
                if ray.height_m < plane.metres {
                    return Err(Miss::BelowGround {
                        by_m: plane.metres - ray.height_m,
                    });
                }
                let range_m = path.range_to_height(plane.metres).ok_or(Miss::AboveHorizon)?;
                if range_m > reach.max_range_m {
                    return Err(Miss::TooFar);
                }
                Ok(path.hit(range_m, plane.metres, (0.0, 0.0)))
            }
            Shape::Tiles {
                tiles,
                lowest_m,
                highest_m,
                cell_m,
                ..
            } => {
                let bounds = Bounds {
                    lowest: *lowest_m,
                    highest: *highest_m,
                    cell: *cell_m,
                };
                self.march(&path, tiles, bounds, reach.max_range_m)
            }
        }
    }

    fn march(&self, path: &Path<'_>, tiles: &[Tile], bounds: Bounds, max_range_m: f64) -> Result<Hit, Miss> {
        let start_m = path.range_to_height(bounds.highest).ok_or(Miss::AboveHorizon)?;
        // Below the lowest height the ray is certainly under ground, so the march ends there.
        let end_m = path.range_to_height(bounds.lowest - 1.0).unwrap_or(f64::INFINITY);
        if start_m > max_range_m {
            return Err(Miss::TooFar);
        }
        let last_m = end_m.min(max_range_m);
        let step_m = bounds.cell / 2.0 / path.level.max(1e-9);
        // The tile of the last step is asked first: most steps stay in it.
        let mut near = tiles.iter().find(|tile| tile.holds(path.above(start_m).1));
        let mut clearance = |range_m: f64| {
            let (height_m, point) = path.above(range_m);
            if !near.is_some_and(|tile| tile.holds(point)) {
                near = tiles.iter().find(|tile| tile.holds(point));
            }
            let ground_m = match near {
                Some(tile) => tile.between_nodes_m(point),
                None => self.height_m(point),
            };
            ground_m
                .map(|ground_m| height_m - ground_m)
                .ok_or(Miss::NoGround(point))
        };
        let first_m = clearance(start_m)?;
        if first_m < 0.0 {
            return if start_m > 0.0 {
                // It came down exactly on the highest node.
                self.finish(path, tiles, start_m, bounds)
            } else {
                Err(Miss::BelowGround { by_m: -first_m })
            };
        }
        let mut above_m = start_m;
        loop {
            if above_m >= last_m {
                return Err(if path.rise >= 0.0 {
                    Miss::AboveHorizon
                } else {
                    Miss::TooFar
                });
            }
            let next_m = (above_m + step_m).min(last_m);
            if clearance(next_m)? < 0.0 {
                let mut below_m = next_m;
                while below_m - above_m > CLOSENESS_M {
                    let middle_m = f64::midpoint(above_m, below_m);
                    if clearance(middle_m)? < 0.0 {
                        below_m = middle_m;
                    } else {
                        above_m = middle_m;
                    }
                }
                return self.finish(path, tiles, f64::midpoint(above_m, below_m), bounds);
            }
            above_m = next_m;
            let is_rising = path.rise + 2.0 * above_m * path.bend >= 0.0;
            if is_rising && path.height_m(above_m) > bounds.highest {
                return Err(Miss::AboveHorizon);
            }
        }
    }

    fn finish(&self, path: &Path<'_>, tiles: &[Tile], range_m: f64, bounds: Bounds) -> Result<Hit, Miss> {
        let (_, point) = path.above(range_m);
        let ground_m = self.height_m(point).ok_or(Miss::NoGround(point))?;
        let (east_m, north_m) = path.ground_offset(range_m, ground_m);
        let side_m = bounds.cell / 2.0;
        let height = |east_m: f64, north_m: f64| {
            let point = path.ray.map.point(east_m, north_m);
            match tiles.first() {
                Some(tile) if tile.holds(point) => tile.between_nodes_m(point),
                _ => self.height_m(point),
            }
            .unwrap_or(ground_m)
        };
        let slope_east =
            (height(east_m + side_m, north_m) - height(east_m - side_m, north_m)) / (2.0 * side_m);
        let slope_north =
            (height(east_m, north_m + side_m) - height(east_m, north_m - side_m)) / (2.0 * side_m);
        Ok(path.hit(range_m, ground_m, (slope_east, slope_north)))
    }
}

/// What the march knows of all tiles together, in metres.
#[derive(Clone, Copy)]
struct Bounds {
    lowest: f64,
    highest: f64,
    cell: f64,
}
