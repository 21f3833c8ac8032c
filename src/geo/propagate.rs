//! Error propagation: how the uncertainty of place, attitude, time, lens, pixel and terrain spreads on the ground.
//!
//! A numeric Jacobian is enough where the ground point moves in a straight line with each error. It is checked by 64
//! samples; where they stray by more than 20 %, or the ray grazes the ground, 512 samples give the ellipse.

use nalgebra::Vector3;

use crate::flow::pose::{Attitude, Motion};
use crate::flow::position::Ellipse;

use super::assumptions::Sigmas;
use super::camera::CameraModel;
use super::ellipsoid::{FlatMap, direction_of};
use super::locate::{LocateRefusal, Sensitivity, ray_direction};
use super::rotation::wrapped_deg;
use super::spread::{Covariance, PARAMETERS, SAMPLES, normal_samples, sampled};
use super::terrain::{Hit, Miss, Ray, Reach, Terrain};

/// Samples that check the linearisation.
const CHECKS: usize = 64;
/// How far samples may stray from the straight line, as a share of the spread.
const STRAY_SHARE: f64 = 0.2;
/// Below this angle between ray and ground the ellipse is always sampled, in degrees.
const GRAZING_DEG: f64 = 3.0;
/// The share of samples that may meet no ground.
const MOST_MISSES: f64 = 0.1;

/// The uncertain parts, in the order of a sample's numbers.
pub const PART_NAMES: [&str; PARAMETERS] = [
    "east", "north", "height", "yaw", "pitch", "roll", "pixel_x", "pixel_y", "focal", "time", "range",
];

/// All that a ground point depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) pixel: (f64, f64),
    pub(super) attitude: Attitude,
    pub(super) camera: CameraModel,
    pub(super) motion: Motion,
    pub(super) map: &'a FlatMap,
    pub(super) terrain: &'a Terrain,
    pub(super) reach: Reach,
    /// The camera's height above the terrain's datum.
    pub(super) height_m: f64,
    /// A range that was measured: then terrain does not matter.
    pub(super) laser_m: Option<f64>,
    pub(super) sigmas: Sigmas,
}

/// A ground point's error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) hit: Hit,
    pub(super) ellipse: Ellipse,
    pub(super) ce90_m: f64,
    pub(super) is_sampled: bool,
    pub(super) sensitivity: Sensitivity,
}

impl View<'_> {
    /// Returns the ray when each part is off by `errors` standard deviations; `None` where the lens has no answer.
    fn direction(&self, errors: &[f64; PARAMETERS]) -> Option<Vector3<f64>> {
        let [_, _, _, yaw, pitch, roll, across, down, focal, time, _] = errors;
        let late_s = time * self.sigmas.time_s;
        let attitude = Attitude {
            yaw_deg: self.attitude.yaw_deg
                + yaw * self.sigmas.yaw_deg
                + late_s * self.motion.yaw_deg_s.unwrap_or(0.0),
            pitch_deg: self.attitude.pitch_deg
                + pitch * self.sigmas.pitch_deg
                + late_s * self.motion.pitch_deg_s.unwrap_or(0.0),
            roll_deg: self.attitude.roll_deg + roll * self.sigmas.roll_deg,
        };
        let scale = (1.0 + focal * self.sigmas.focal_share).max(0.05);
        let mut camera = self.camera;
        camera.fx *= scale;
        camera.fy *= scale;
        let pixel = (
            self.pixel.0 + across * self.sigmas.across_px,
            self.pixel.1 + down * self.sigmas.down_px,
        );
        ray_direction(pixel, attitude, &camera)
    }

    fn meet(&self, errors: &[f64; PARAMETERS]) -> Result<Hit, Miss> {
        let direction = self.direction(errors).ok_or(Miss::AboveHorizon)?;
        let [east, north, height, .., time, range] = errors;
        let late_s = time * self.sigmas.time_s;
        let east_m = east * self.sigmas.horizontal_m + late_s * self.motion.east_mps.unwrap_or(0.0);
        let north_m = north * self.sigmas.horizontal_m + late_s * self.motion.north_mps.unwrap_or(0.0);
        let lift_m = late_s * self.motion.up_mps.unwrap_or(0.0);
        if let Some(laser_m) = self.laser_m {
            let range_m = (laser_m + range * self.sigmas.laser_m).max(0.0);
            return Ok(Hit {
                east_m: east_m + direction.x * range_m,
                north_m: north_m + direction.y * range_m,
                height_m: self.height_m + lift_m + direction.z * range_m,
                range_m,
                grazing_deg: -direction_of(&direction).1,
            });
        }
        // The height of the camera and of the ground matter only by their difference.
        let vertical_m = self.sigmas.vertical_m.hypot(self.sigmas.terrain_m);
        let ray = Ray {
            map: self.map,
            east_m,
            north_m,
            height_m: self.height_m + height * vertical_m + lift_m,
            direction,
        };
        self.terrain.cast(ray, self.reach)
    }

    /// Returns one standard deviation of the ray's azimuth, in degrees.
    pub(super) fn azimuth_sigma_deg(&self) -> f64 {
        let variance: f64 = (3..PARAMETERS - 1)
            .map(|part| {
                let azimuth = |error: f64| {
                    let mut errors = [0.0; PARAMETERS];
                    errors[part] = error;
                    self.direction(&errors)
                        .map(|direction| direction_of(&direction).0)
                };
                match (azimuth(0.5), azimuth(-0.5)) {
                    (Some(more), Some(less)) => wrapped_deg(more - less).powi(2),
                    _ => 0.0,
                }
            })
            .sum();
        variance.sqrt()
    }
}

/// Returns the ground point and how its error spreads, with the ellipse that holds `level` of the probability.
pub(super) fn propagate(view: &View<'_>, level: f64) -> Result<Spread, LocateRefusal> {
    let refusal = |miss: Miss| match miss {
        Miss::TooFar => LocateRefusal::TooFar {
            max_range_m: view.reach.max_range_m,
        },
        other => LocateRefusal::from(other),
    };
    let hit = view.meet(&[0.0; PARAMETERS]).map_err(refusal)?;
    let offset = |errors: &[f64; PARAMETERS]| -> Option<[f64; 2]> {
        let moved = view.meet(errors).ok()?;
        Some([moved.east_m - hit.east_m, moved.north_m - hit.north_m])
    };
    let mut sensitivity: Sensitivity = [[0.0; 2]; PARAMETERS];
    let mut is_straight = hit.grazing_deg >= GRAZING_DEG || view.laser_m.is_some();
    for (part, column) in sensitivity.iter_mut().enumerate() {
        let mut errors = [0.0; PARAMETERS];
        errors[part] = 0.5;
        let more = offset(&errors);
        errors[part] = -0.5;
        let less = offset(&errors);
        *column = match (more, less) {
            (Some(more), Some(less)) => [more[0] - less[0], more[1] - less[1]],
            (Some(more), None) => {
                is_straight = false;
                [2.0 * more[0], 2.0 * more[1]]
            }
            (None, Some(less)) => {
                is_straight = false;
                [-2.0 * less[0], -2.0 * less[1]]
            }
            (None, None) => {
                is_straight = false;
                [0.0, 0.0]
            }
        };
    }
    let covariance = Covariance::of_columns(&sensitivity);
    if is_straight {
        is_straight =
            stray_share(&covariance, &sensitivity, &offset).is_some_and(|share| share <= STRAY_SHARE);
    }
    if is_straight {
        return Ok(Spread {
            hit,
            ellipse: covariance.ellipse(level),
            ce90_m: covariance.circle_m(0.9),
            is_sampled: false,
            sensitivity,
        });
    }
    let mut offsets = [(0.0, 0.0); SAMPLES];
    let mut met = 0;
    for (slot, [east, north]) in offsets
        .iter_mut()
        .zip(normal_samples().iter().filter_map(&offset))
    {
        *slot = (east, north);
        met += 1;
    }
    let missed = 1.0 - met as f64 / SAMPLES as f64;
    let near_horizon = LocateRefusal::NearHorizon {
        share_percent: missed * 100.0,
    };
    if missed > MOST_MISSES {
        return Err(near_horizon);
    }
    let offsets = offsets.get(..met).unwrap_or_default();
    let circle = sampled(offsets, SAMPLES, 0.9).ok_or_else(|| near_horizon.clone())?;
    let spread = sampled(offsets, SAMPLES, level).ok_or(near_horizon)?;
    Ok(Spread {
        hit,
        ellipse: spread.ellipse,
        ce90_m: circle.circle_m,
        is_sampled: true,
        sensitivity,
    })
}

/// Returns how far samples lie from where the Jacobian puts them, as a share of the spread, or `None` if one meets no
/// ground.
fn stray_share(
    covariance: &Covariance,
    sensitivity: &Sensitivity,
    offset: &impl Fn(&[f64; PARAMETERS]) -> Option<[f64; 2]>,
) -> Option<f64> {
    let mut sum = 0.0;
    for errors in normal_samples().iter().take(CHECKS) {
        let [east, north] = offset(errors)?;
        let straight = errors
            .iter()
            .zip(sensitivity)
            .fold([0.0, 0.0], |sum, (error, column)| {
                [sum[0] + error * column[0], sum[1] + error * column[1]]
            });
        sum += covariance.mahalanobis_squared(east - straight[0], north - straight[1]);
    }
    Some((sum / (2.0 * CHECKS as f64)).sqrt())
}
