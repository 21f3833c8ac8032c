//! From a pixel to a ground point with its error, to a bearing, or to a refusal that says why.

use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

use crate::flow::pose::{Attitude, Height, HeightDatum, Pose, PoseFlag, PoseFlags, PoseRefusal, Wgs84};
use crate::flow::position::{Bearing, Method, Place, Position};

use super::assumptions::{Assumptions, Sigmas};
use super::camera::CameraModel;
use super::ellipsoid::{FlatMap, LocalFrame, destination, direction_of};
use super::height::{CameraHeight, camera_height};
use super::propagate::{View, propagate};
use super::rotation::{camera_to_enu, rotation_of};
use super::spread::PARAMETERS;
use super::terrain::{Miss, Reach, Terrain};

/// Why there is no ground point.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LocateRefusal {
    /// Telemetry gave no pose.
    #[error(transparent)]
    Pose(#[from] PoseRefusal),
    /// The field of view is unknown or impossible.
    #[error(transparent)]
    Camera(#[from] super::camera::CameraError),
    /// The place of the camera is unknown.
    #[error("the camera's place is unknown: the receiver has no fix or telemetry has no coordinates")]
    NoPosition,
    /// The height of the camera is unknown in the terrain's datum.
    #[error(
        "the camera's height above the terrain is unknown: an absolute height, or a height above take-off with the place of take-off, is expected"
    )]
    NoHeight,
    /// The direction of the camera is unknown.
    #[error("the camera's direction is unknown: telemetry has no gimbal angles")]
    NoAttitude,
    /// The pixel lies outside the picture or where the lens model ends.
    #[error("pixel {u:.1},{v:.1} lies outside the picture of {width}x{height}")]
    Pixel {
        /// From the left.
        u: f64,
        /// From the top.
        v: f64,
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// The pose is too old.
    #[error("the pose is stale: {age_s:.2} s old, at most {allowed_s} s is allowed")]
    Stale {
        /// How old.
        age_s: f64,
        /// The most.
        allowed_s: f64,
    },
    /// The camera turns too fast for its time to be known well enough.
    #[error(
        "the camera turns at {rate_deg_s:.1} deg/s while its time is known to {time_s:.2} s: {error_deg:.1} deg off, at most {allowed_deg} deg is allowed"
    )]
    Slewing {
        /// Degrees a second.
        rate_deg_s: f64,
        /// Standard deviation of the time.
        time_s: f64,
        /// Their product.
        error_deg: f64,
        /// The most.
        allowed_deg: f64,
    },
    /// The ray never comes down.
    #[error("the ray runs above the horizon")]
    AboveHorizon,
    /// Too much of the uncertainty lies beyond the horizon.
    #[error("the ray runs so near the horizon that {share_percent:.0} % of its uncertainty meets no ground")]
    NearHorizon {
        /// The share that meets nothing, in percent.
        share_percent: f64,
    },
    /// The ground lies beyond the greatest range.
    #[error("the ray meets no ground within {max_range_m:.0} m")]
    TooFar {
        /// The greatest range.
        max_range_m: f64,
    },
    /// The terrain has no height where the ray runs low.
    #[error("the terrain has no height at {lat:.5},{lon:.5}: a tile is missing or has a hole there")]
    NoTerrain {
        /// Where.
        lat: f64,
        /// Where.
        lon: f64,
    },
    /// The camera's height contradicts the terrain.
    #[error("the camera lies {by_m:.1} m below the terrain: its height or its datum is wrong")]
    BelowGround {
        /// By how much.
        by_m: f64,
    },
}

impl LocateRefusal {
    /// Returns whether the direction is still to be trusted, so that a bearing may be given.
    #[must_use]
    pub const fn keeps_bearing(&self) -> bool {
        matches!(
            self,
            Self::NoHeight
                | Self::AboveHorizon
                | Self::NearHorizon { .. }
                | Self::TooFar { .. }
                | Self::NoTerrain { .. }
                | Self::BelowGround { .. }
        )
    }
}

/// The direction of a ray at the camera.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RayDirection {
    /// Degrees from true north, 0 to 360.
    pub azimuth_deg: f64,
    /// Degrees above the horizon, up positive.
    pub elevation_deg: f64,
}

/// How far one standard deviation of each uncertain part moves the ground point, east and north, in metres. The order
/// is that of `propagate::PART_NAMES`.
pub type Sensitivity = [[f64; 2]; PARAMETERS];

/// What is known of a ground point besides its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Details {
    /// Slant range, in metres.
    pub range_m: f64,
    /// Angle between ray and ground, in degrees.
    pub grazing_deg: f64,
    /// Whether the ellipse comes from samples because straight-line propagation does not hold.
    pub is_sampled: bool,
    /// What moves the point how far.
    pub sensitivity: Sensitivity,
    /// The camera's height that was used, and the one that was not.
    pub camera_height: Option<CameraHeight>,
}

/// Where a pixel is on the ground, or why that cannot be said.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The direction of the ray, where the attitude is known.
    pub ray: Option<RayDirection>,
    /// The direction with the camera's place and its error, where it is to be trusted.
    pub bearing: Option<Bearing>,
    /// The ground point, or why there is none.
    pub outcome: Result<Position, LocateRefusal>,
    /// More about the point; there whenever the outcome is a point.
    pub details: Option<Details>,
    /// The standard deviations that were used: told ones where telemetry tells them, assumed ones elsewhere.
    pub sigmas: Sigmas,
    /// What to know of the quality of pose and heights.
    pub flags: PoseFlags,
}

impl Located {
    /// Makes the answer for a moment without a pose.
    #[must_use]
    pub fn refused(refusal: LocateRefusal, sigmas: Sigmas) -> Self {
        Self {
            ray: None,
            bearing: None,
            outcome: Err(refusal),
            details: None,
            sigmas,
            flags: PoseFlags::NONE,
        }
    }

    /// Returns what the flow carries. Where the base is hidden the point lies beyond the fire and only its bearing is
    /// right; the flag says so.
    #[must_use]
    pub fn place(&self, base_hidden: bool) -> Place {
        match (&self.outcome, self.bearing) {
            (Ok(position), bearing) => Place::Point {
                position: Position {
                    base_hidden,
                    ..*position
                },
                bearing,
            },
            (Err(refusal), Some(bearing)) => Place::Direction {
                bearing,
                refused: refusal.to_string(),
            },
            (Err(refusal), None) => Place::Unknown {
                refused: refusal.to_string(),
            },
        }
    }
}

/// Says where on the ground a pixel is. Pixels: x right, y down, in the picture of `camera`.
#[must_use]
pub fn locate(
    pixel: (f64, f64),
    pose: &Pose,
    camera: &CameraModel,
    terrain: &Terrain,
    assumptions: &Assumptions,
) -> Located {
    let mut sigmas = assumptions.sigmas.with_pose(&pose.sigmas, pose.flags);
    sigmas.focal_share = pose.sigmas.focal_share.unwrap_or(camera.focal_sigma_share).max(
        if pose.flags.contains(PoseFlag::AssumedFieldOfView) {
            sigmas.focal_share
        } else {
            0.0
        },
    );
    let mut located = Located {
        ray: None,
        bearing: None,
        outcome: Err(LocateRefusal::NoPosition),
        details: None,
        sigmas,
        flags: pose.flags,
    };
    located.outcome = attempt(pixel, pose, camera, terrain, assumptions, &mut located);
    located
}

fn attempt(
    pixel: (f64, f64),
    pose: &Pose,
    camera: &CameraModel,
    terrain: &Terrain,
    assumptions: &Assumptions,
    located: &mut Located,
) -> Result<Position, LocateRefusal> {
    let sigmas = &located.sigmas;
    let attitude = pose
        .attitude
        .filter(|a| a.yaw_deg.is_finite() && a.pitch_deg.is_finite() && a.roll_deg.is_finite())
        .ok_or(LocateRefusal::NoAttitude)?;
    let outside = || LocateRefusal::Pixel {
        u: pixel.0,
        v: pixel.1,
        width: camera.width,
        height: camera.height,
    };
    let is_inside = (-1.0..=f64::from(camera.width) + 1.0).contains(&pixel.0)
        && (-1.0..=f64::from(camera.height) + 1.0).contains(&pixel.1);
    if !is_inside {
        return Err(outside());
    }
    let direction = ray_direction(pixel, attitude, camera).ok_or_else(outside)?;
    let (azimuth_deg, elevation_deg) = direction_of(&direction);
    located.ray = Some(RayDirection {
        azimuth_deg,
        elevation_deg,
    });
    check_time(pose, sigmas, assumptions)?;
    if pose.flags.contains(PoseFlag::NoFix) {
        return Err(LocateRefusal::NoPosition);
    }
    let from = pose
        .position
        .and_then(|point| Wgs84::checked(point.lat, point.lon))
        .filter(|point| point.lat.abs() < 89.9)
        .ok_or(LocateRefusal::NoPosition)?;
    let map = FlatMap::around(from);
    let mut view = View {
        pixel,
        attitude,
        camera: *camera,
        motion: pose.motion,
        map: &map,
        terrain,
        reach: Reach {
            max_range_m: assumptions.max_range_m,
            refraction: assumptions.refraction,
        },
        height_m: 0.0,
        laser_m: None,
        sigmas: located.sigmas,
    };
    located.bearing = Some(Bearing {
        from,
        azimuth_deg,
        elevation_deg,
        sigma_deg: view.azimuth_sigma_deg(),
    });
    let chosen = camera_height(pose, terrain);
    if let Ok(chosen) = &chosen {
        located.flags = located.flags.union(chosen.flags);
        located.sigmas = located.sigmas.with_pose(&pose.sigmas, located.flags);
        located.sigmas.focal_share = view.sigmas.focal_share;
        located.sigmas.vertical_m = located.sigmas.vertical_m.hypot(chosen.conversion_sigma_m);
        view.sigmas = located.sigmas;
        view.height_m = chosen.height.metres;
    }
    view.laser_m = laser_range(pixel, pose, camera, assumptions);
    if view.laser_m.is_none() {
        chosen.clone()?;
    }
    let spread = propagate(&view, assumptions.level)?;
    let (point, height, method) = if let Some(range_m) = view.laser_m {
        let (point, height) = laser_target(from, pose, direction * range_m, terrain, chosen.as_ref().ok());
        (point, height, Method::Laser)
    } else {
        let hit = spread.hit;
        let method = if terrain.is_plane() {
            Method::RayPlane
        } else {
            Method::RayTerrain
        };
        let azimuth = hit.east_m.atan2(hit.north_m).to_degrees();
        let point = destination(from, azimuth, hit.east_m.hypot(hit.north_m));
        (point, Height::new(hit.height_m, terrain.datum()), method)
    };
    located.details = Some(Details {
        range_m: spread.hit.range_m,
        grazing_deg: spread.hit.grazing_deg,
        is_sampled: spread.is_sampled,
        sensitivity: spread.sensitivity,
        camera_height: chosen.ok(),
    });
    Ok(Position {
        point,
        height,
        ellipse: spread.ellipse,
        ce90_m: spread.ce90_m,
        method,
        base_hidden: false,
    })
}

/// Returns the direction of a pixel's ray at the camera: east, north, up, with length 1; `None` where the lens model
/// has no answer.
#[must_use]
pub fn ray_direction(pixel: (f64, f64), attitude: Attitude, camera: &CameraModel) -> Option<Vector3<f64>> {
    let direction = camera.direction(pixel)?;
    Some(camera_to_enu(&rotation_of(attitude), &direction).normalize())
}

fn check_time(pose: &Pose, sigmas: &Sigmas, assumptions: &Assumptions) -> Result<(), LocateRefusal> {
    let age_s = pose.age_s.unwrap_or(0.0);
    // Not a number is neither young nor slow: ranges refuse it.
    if pose.flags.contains(PoseFlag::Stale) || !(0.0..=assumptions.max_age_s).contains(&age_s.abs()) {
        return Err(LocateRefusal::Stale {
            age_s,
            allowed_s: assumptions.max_age_s,
        });
    }
    let level = pose
        .attitude
        .map_or(1.0, |attitude| attitude.pitch_deg.to_radians().cos());
    let yaw_rate = pose.motion.yaw_deg_s.unwrap_or(0.0) * level;
    let rate_deg_s = yaw_rate.hypot(pose.motion.pitch_deg_s.unwrap_or(0.0));
    let error_deg = rate_deg_s * sigmas.time_s;
    if pose.flags.contains(PoseFlag::Slewing) || !(0.0..=assumptions.max_slew_error_deg).contains(&error_deg)
    {
        return Err(LocateRefusal::Slewing {
            rate_deg_s,
            time_s: sigmas.time_s,
            error_deg,
            allowed_deg: assumptions.max_slew_error_deg,
        });
    }
    Ok(())
}

/// Returns the laser's range where it was measured and looks at this pixel.
fn laser_range(
    pixel: (f64, f64),
    pose: &Pose,
    camera: &CameraModel,
    assumptions: &Assumptions,
) -> Option<f64> {
    let range_m = pose.laser?.range_m?;
    let off_px = (pixel.0 - camera.cx).hypot(pixel.1 - camera.cy);
    let is_plausible = range_m.is_finite() && range_m > 0.5 && range_m <= assumptions.max_range_m;
    (is_plausible && off_px <= assumptions.laser_centre_share * f64::from(camera.width)).then_some(range_m)
}

/// Returns the point at the end of a measured range and its height, in the datum that is known best.
fn laser_target(
    from: Wgs84,
    pose: &Pose,
    enu: Vector3<f64>,
    terrain: &Terrain,
    chosen: Option<&CameraHeight>,
) -> (Wgs84, Height) {
    let told = pose.heights.absolute();
    let start = told
        .or(chosen.map(|chosen| chosen.height))
        .unwrap_or(Height::new(0.0, HeightDatum::Takeoff));
    let above_ellipsoid_m =
        super::geoid::converted(start, from, HeightDatum::Ellipsoid).map_or(0.0, |height| height.metres);
    let (point, end_m) = LocalFrame::at(from, above_ellipsoid_m).point_at(&enu);
    let height = Height::new(start.metres + end_m - above_ellipsoid_m, start.datum);
    let in_terrain = super::geoid::converted(height, point, terrain.datum());
    (point, in_terrain.unwrap_or(height))
}

impl From<Miss> for LocateRefusal {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::AboveHorizon => Self::AboveHorizon,
            Miss::TooFar => Self::TooFar {
                max_range_m: f64::NAN,
            },
            Miss::NoGround(point) => Self::NoTerrain {
                lat: point.lat,
                lon: point.lon,
            },
            Miss::BelowGround { by_m } => Self::BelowGround { by_m },
        }
    }
}
