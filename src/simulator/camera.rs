//! A pinhole camera at a pose: from a point on Earth to a pixel, and from a pixel to a ray.

use nalgebra::{Matrix3, Vector3};
use serde::{Deserialize, Serialize};

use super::earth::{GroundPoint, LocalFrame};

/// Where the camera is and looks, as truth and telemetry state it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraPose {
    /// Degrees north, WGS 84.
    pub lat: f64,
    /// Degrees east, WGS 84.
    pub lon: f64,
    /// Metres above the WGS 84 ellipsoid.
    pub height_m: f64,
    /// Degrees from true north, clockwise seen from above.
    pub yaw_deg: f64,
    /// Degrees above the horizon, up positive.
    pub pitch_deg: f64,
    /// Degrees, right side down positive.
    pub roll_deg: f64,
    /// Horizontal field of view, in degrees.
    pub hfov_deg: f64,
}

impl CameraPose {
    /// Returns where the camera stands.
    #[must_use]
    pub const fn place(&self) -> GroundPoint {
        GroundPoint {
            lat: self.lat,
            lon: self.lon,
            height_m: self.height_m,
        }
    }
}

/// A pose with a picture size. Image coordinates: x right, y down, in pixels, pixel centres at .5.
#[derive(Clone, Debug)]
pub struct Camera {
    width: f64,
    height: f64,
    focal_px: f64,
    frame: LocalFrame,
    /// Takes camera axes (right, down, forward) to the camera's own east, north, up.
    to_local: Matrix3<f64>,
    /// Metres from the camera down to the ground under it.
    above_ground_m: f64,
    curvature_radius_m: f64,
}

impl Camera {
    /// Makes a camera over ground at `ground_height_m` above the ellipsoid; the size is in pixels.
    #[must_use]
    pub fn new(pose: &CameraPose, width: u32, height: u32, ground_height_m: f64) -> Self {
        let (sin_yaw, cos_yaw) = pose.yaw_deg.to_radians().sin_cos();
        let (sin_pitch, cos_pitch) = pose.pitch_deg.to_radians().sin_cos();
        let (sin_roll, cos_roll) = pose.roll_deg.to_radians().sin_cos();
        let yaw = Matrix3::new(cos_yaw, -sin_yaw, 0.0, sin_yaw, cos_yaw, 0.0, 0.0, 0.0, 1.0);
        let pitch = Matrix3::new(
            cos_pitch, 0.0, sin_pitch, 0.0, 1.0, 0.0, -sin_pitch, 0.0, cos_pitch,
        );
        let roll = Matrix3::new(1.0, 0.0, 0.0, 0.0, cos_roll, -sin_roll, 0.0, sin_roll, cos_roll);
        // Camera right is the body's y, down its z, forward its x; north-east-down becomes east-north-up.
        let body_from_camera = Matrix3::new(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0);
        let enu_from_ned = Matrix3::new(0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0);
        Self {
            width: f64::from(width),
            height: f64::from(height),
            focal_px: f64::from(width) / 2.0 / (pose.hfov_deg.to_radians() / 2.0).tan(),
            frame: LocalFrame::at(pose.place()),
            to_local: enu_from_ned * yaw * pitch * roll * body_from_camera,
            above_ground_m: (pose.height_m - ground_height_m).max(0.1),
            curvature_radius_m: pose.place().curvature_radius_m(),
        }
    }

    /// Returns the focal length in pixels.
    #[must_use]
    pub const fn focal_px(&self) -> f64 {
        self.focal_px
    }

    /// Returns the pixel that shows `point` and its depth in metres; nothing where it lies behind the camera.
    #[must_use]
    pub fn project(&self, point: GroundPoint) -> Option<(f64, f64, f64)> {
        self.project_local(self.frame.local(point.to_ecef()))
    }

    /// Returns the pixel and depth of a point in the camera's own east, north, up.
    pub(super) fn project_local(&self, local: Vector3<f64>) -> Option<(f64, f64, f64)> {
        let seen = self.to_local.transpose() * local;
        (seen.z > 0.5).then(|| {
            (
                self.width / 2.0 + self.focal_px * seen.x / seen.z,
                self.height / 2.0 + self.focal_px * seen.y / seen.z,
                seen.z,
            )
        })
    }

    /// Returns a direction seen through a pixel, in the camera's own east, north, up; its forward part has length 1.
    pub(super) fn ray(&self, u: f64, v: f64) -> Vector3<f64> {
        self.to_local
            * Vector3::new(
                (u - self.width / 2.0) / self.focal_px,
                (v - self.height / 2.0) / self.focal_px,
                1.0,
            )
    }

    /// Returns how many times `ray` must be taken to meet the ground; nothing where it does not.
    pub(super) fn ground_along(&self, ray: &Vector3<f64>) -> Option<f64> {
        // Ground at distance r lies r² / 2R lower: (ray.z) t + above + t² (x² + y²) / 2R = 0, smaller root.
        let bend = (ray.x * ray.x + ray.y * ray.y) / (2.0 * self.curvature_radius_m);
        let under_root = ray.z * ray.z - 4.0 * bend * self.above_ground_m;
        (ray.z < 0.0 && under_root > 0.0).then(|| 2.0 * self.above_ground_m / (-ray.z + under_root.sqrt()))
    }

    /// Returns the rotation and shift that take points of `scene` into the camera's own east, north, up.
    pub(super) fn reach_from(&self, scene: &LocalFrame) -> (Matrix3<f64>, Vector3<f64>) {
        self.frame.reach_from(scene)
    }

    /// Returns a direction in east, north, up as right, down, forward.
    pub(super) fn direction_seen(&self, local: Vector3<f64>) -> Vector3<f64> {
        self.to_local.transpose() * local
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pose(yaw_deg: f64, pitch_deg: f64, roll_deg: f64) -> CameraPose {
        CameraPose {
            lat: 35.2,
            lon: 113.2,
            height_m: 175.0,
            yaw_deg,
            pitch_deg,
            roll_deg,
            hfov_deg: 70.0,
        }
    }

    #[test]
    fn looking_straight_down_shows_the_own_place_in_the_middle() {
        let camera = Camera::new(&pose(33.0, -90.0, 0.0), 1280, 720, 75.0);
        let below = GroundPoint {
            lat: 35.2,
            lon: 113.2,
            height_m: 75.0,
        };
        let (u, v, depth_m) = camera.project(below).unwrap();
        assert!((u - 640.0).abs() < 1e-6 && (v - 360.0).abs() < 1e-6 && (depth_m - 100.0).abs() < 1e-6);
    }

    #[test]
    fn looking_down_by_45_degrees_shows_the_ground_as_far_away_as_the_camera_is_high() {
        let camera = Camera::new(&pose(90.0, -45.0, 0.0), 1280, 720, 75.0);
        let ray = camera.ray(640.0, 360.0);
        let along = camera.ground_along(&ray).unwrap();
        let point = ray * along;
        assert!((point.x - 100.0).abs() < 0.01 && point.y.abs() < 1e-6 && (point.z + 100.0).abs() < 0.01);
    }

    #[test]
    fn a_ray_above_the_horizon_meets_no_ground() {
        let camera = Camera::new(&pose(0.0, 0.0, 0.0), 1280, 720, 75.0);
        assert!(camera.ground_along(&camera.ray(640.0, 350.0)).is_none());
    }

    #[test]
    fn with_its_right_side_down_the_camera_sees_the_right_side_higher_up() {
        let level = Camera::new(&pose(0.0, -20.0, 0.0), 1280, 720, 75.0);
        let rolled = Camera::new(&pose(0.0, -20.0, 10.0), 1280, 720, 75.0);
        let (_, v_left, _) = rolled.project_local(level.ray(280.0, 360.0) * 100.0).unwrap();
        let (_, v_right, _) = rolled.project_local(level.ray(1000.0, 360.0) * 100.0).unwrap();
        assert!(v_right < 355.0 && v_left > 365.0, "{v_left} {v_right}");
    }

    proptest! {
        #[test]
        fn a_ground_point_seen_through_a_pixel_projects_to_that_pixel(
            yaw in -180.0..180.0f64, pitch in -80.0..-8.0f64, roll in -15.0..15.0f64,
            u in 0.0..1280.0f64, v in 300.0..720.0f64,
        ) {
            let camera = Camera::new(&pose(yaw, pitch, roll), 1280, 720, 75.0);
            let ray = camera.ray(u, v);
            if let Some(along) = camera.ground_along(&ray).filter(|along| *along < 5000.0) {
                let point = GroundPoint::from_ecef(camera.frame.ecef(ray * along));
                prop_assert!((point.height_m - 75.0).abs() < 0.02 + 1e-8 * along * along, "{}", point.height_m);
                let (back_u, back_v, _) = camera.project(point).unwrap();
                prop_assert!((back_u - u).abs() < 1e-5 && (back_v - v).abs() < 1e-5);
            }
        }
    }
}
