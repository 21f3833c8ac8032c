//! WGS 84 to Earth-centred and to local east-north-up, exactly.
//!
//! Deliberately independent of `crate::geo`: positions found by the product are judged against scenes made with
//! this file, and a mistake shared by both would go unseen.

use nalgebra::{Matrix3, Vector3};
use serde::{Deserialize, Serialize};

/// Semi-major axis of WGS 84, in metres.
const SEMI_MAJOR_M: f64 = 6_378_137.0;
/// Flattening of WGS 84.
const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// First eccentricity, squared.
const ECCENTRICITY_SQUARED: f64 = FLATTENING * (2.0 - FLATTENING);

/// A point in WGS 84 with its height above the ellipsoid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroundPoint {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Metres above the WGS 84 ellipsoid.
    pub height_m: f64,
}

impl GroundPoint {
    /// Returns the Earth-centred, Earth-fixed coordinates in metres.
    pub(super) fn to_ecef(self) -> Vector3<f64> {
        let (sin_lat, cos_lat) = self.lat.to_radians().sin_cos();
        let (sin_lon, cos_lon) = self.lon.to_radians().sin_cos();
        let prime_vertical_m = prime_vertical_radius_m(sin_lat);
        let from_axis_m = (prime_vertical_m + self.height_m) * cos_lat;
        Vector3::new(
            from_axis_m * cos_lon,
            from_axis_m * sin_lon,
            (prime_vertical_m * (1.0 - ECCENTRICITY_SQUARED) + self.height_m) * sin_lat,
        )
    }

    /// Returns the point with these Earth-centred coordinates, to better than a micrometre near the surface.
    pub(super) fn from_ecef(ecef: Vector3<f64>) -> Self {
        let from_axis_m = ecef.x.hypot(ecef.y);
        let mut lat = ecef.z.atan2(from_axis_m * (1.0 - ECCENTRICITY_SQUARED));
        let mut height_m = 0.0;
        for _ in 0..6 {
            let (sin_lat, cos_lat) = lat.sin_cos();
            let prime_vertical_m = prime_vertical_radius_m(sin_lat);
            // Stable at every latitude, unlike p / cos(lat) - N.
            height_m =
                from_axis_m * cos_lat + ecef.z * sin_lat - SEMI_MAJOR_M * SEMI_MAJOR_M / prime_vertical_m;
            lat = (ecef.z + ECCENTRICITY_SQUARED * prime_vertical_m * sin_lat).atan2(from_axis_m);
        }
        Self {
            lat: lat.to_degrees(),
            lon: ecef.y.atan2(ecef.x).to_degrees(),
            height_m,
        }
    }

    /// Returns the mean radius of curvature here, in metres: what the ground looks like within a few kilometres.
    pub(super) fn curvature_radius_m(self) -> f64 {
        let sin_lat = self.lat.to_radians().sin();
        let prime_vertical_m = prime_vertical_radius_m(sin_lat);
        let meridional_m = prime_vertical_m * (1.0 - ECCENTRICITY_SQUARED)
            / (1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat);
        (prime_vertical_m * meridional_m).sqrt()
    }
}

fn prime_vertical_radius_m(sin_lat: f64) -> f64 {
    SEMI_MAJOR_M / (1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat).sqrt()
}

/// An east-north-up frame at a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalFrame {
    /// Earth-centred coordinates of the origin.
    origin: Vector3<f64>,
    /// Rows east, north and up, in Earth-centred coordinates.
    axes: Matrix3<f64>,
}

impl LocalFrame {
    /// Makes the frame whose origin is `at`.
    pub(super) fn at(at: GroundPoint) -> Self {
        let (sin_lat, cos_lat) = at.lat.to_radians().sin_cos();
        let (sin_lon, cos_lon) = at.lon.to_radians().sin_cos();
        Self {
            origin: at.to_ecef(),
            axes: Matrix3::new(
                -sin_lon,
                cos_lon,
                0.0,
                -sin_lat * cos_lon,
                -sin_lat * sin_lon,
                cos_lat,
                cos_lat * cos_lon,
                cos_lat * sin_lon,
                sin_lat,
            ),
        }
    }

    /// Returns east, north and up in metres.
    pub(super) fn local(&self, ecef: Vector3<f64>) -> Vector3<f64> {
        self.axes * (ecef - self.origin)
    }

    /// Returns the Earth-centred coordinates of a local point.
    pub(super) fn ecef(&self, local: Vector3<f64>) -> Vector3<f64> {
        self.origin + self.axes.transpose() * local
    }

    /// Returns the rotation and shift that take points of `other` into this frame.
    pub(super) fn reach_from(&self, other: &Self) -> (Matrix3<f64>, Vector3<f64>) {
        (self.axes * other.axes.transpose(), self.local(other.origin))
    }

    /// Returns the point `east_m` and `north_m` away whose height above the ellipsoid is exactly `height_m`.
    pub(super) fn at_height(&self, east_m: f64, north_m: f64, height_m: f64) -> GroundPoint {
        let mut local = Vector3::new(east_m, north_m, 0.0);
        let mut point = GroundPoint::from_ecef(self.ecef(local));
        for _ in 0..4 {
            local.z += height_m - point.height_m;
            point = GroundPoint::from_ecef(self.ecef(local));
        }
        GroundPoint { height_m, ..point }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_equator_and_the_pole_lie_where_wgs84_says() {
        let equator = GroundPoint {
            lat: 0.0,
            lon: 0.0,
            height_m: 0.0,
        };
        assert!((equator.to_ecef() - Vector3::new(6_378_137.0, 0.0, 0.0)).norm() < 1e-9);
        let pole = GroundPoint {
            lat: 90.0,
            lon: 0.0,
            height_m: 0.0,
        };
        assert!((pole.to_ecef().z - 6_356_752.314_245_179).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn ecef_and_back_is_the_same_point(lat in -89.9..89.9f64, lon in -179.9..179.9f64, height_m in -400.0..9000.0f64) {
            let there = GroundPoint { lat, lon, height_m };
            let back = GroundPoint::from_ecef(there.to_ecef());
            prop_assert!((back.to_ecef() - there.to_ecef()).norm() < 1e-6);
            prop_assert!((back.lat - lat).abs() < 1e-10 && (back.height_m - height_m).abs() < 1e-6);
        }

        #[test]
        fn a_point_at_a_height_has_that_height(east_m in -8000.0..8000.0f64, north_m in -8000.0..8000.0f64) {
            let frame = LocalFrame::at(GroundPoint { lat: 35.2, lon: 113.2, height_m: 75.0 });
            let point = frame.at_height(east_m, north_m, 120.0);
            let local = frame.local(point.to_ecef());
            prop_assert!((local.x - east_m).abs() < 1e-3 && (local.y - north_m).abs() < 1e-3);
            prop_assert!((GroundPoint::from_ecef(point.to_ecef()).height_m - 120.0).abs() < 1e-6);
        }
    }
}
