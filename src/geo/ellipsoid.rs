//! The WGS 84 ellipsoid: Earth-centred coordinates, local level frames and geodesics.

use geographiclib_rs::{DirectGeodesic, Geodesic, InverseGeodesic};
use nalgebra::{Matrix3, Vector3};

use crate::flow::pose::Wgs84;

/// Half the equatorial axis, in metres.
pub const SEMI_MAJOR_M: f64 = 6_378_137.0;
/// Flattening.
pub const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// Eccentricity squared.
pub const ECCENTRICITY_SQUARED: f64 = FLATTENING * (2.0 - FLATTENING);

/// Turns geodetic coordinates into Earth-centred, Earth-fixed metres; `height_m` is above the ellipsoid.
#[must_use]
pub fn to_ecef(point: Wgs84, height_m: f64) -> Vector3<f64> {
    let (sin_lat, cos_lat) = point.lat.to_radians().sin_cos();
    let (sin_lon, cos_lon) = point.lon.to_radians().sin_cos();
    let normal_m = SEMI_MAJOR_M / (1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat).sqrt();
    Vector3::new(
        (normal_m + height_m) * cos_lat * cos_lon,
        (normal_m + height_m) * cos_lat * sin_lon,
        (normal_m * (1.0 - ECCENTRICITY_SQUARED) + height_m) * sin_lat,
    )
}

/// Turns Earth-centred metres into geodetic coordinates and the height above the ellipsoid in metres.
///
/// Bowring's formula iterated: below a micrometre from the Earth's centre region outwards to satellites.
#[must_use]
pub fn from_ecef(ecef: &Vector3<f64>) -> (Wgs84, f64) {
    let (x, y, z) = (ecef.x, ecef.y, ecef.z);
    let from_axis_m = x.hypot(y);
    let mut lat = z.atan2(from_axis_m * (1.0 - ECCENTRICITY_SQUARED));
    for _ in 0..6 {
        let sin_lat = lat.sin();
        let normal_m = SEMI_MAJOR_M / (1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat).sqrt();
        lat = (z + ECCENTRICITY_SQUARED * normal_m * sin_lat).atan2(from_axis_m);
    }
    let (sin_lat, cos_lat) = lat.sin_cos();
    let normal_m = SEMI_MAJOR_M / (1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat).sqrt();
    let height_m =
        from_axis_m * cos_lat + z * sin_lat - normal_m * (1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat);
    let point = Wgs84 {
        lat: lat.to_degrees(),
        lon: y.atan2(x).to_degrees(),
    };
    (point, height_m)
}

/// A level frame at one point of the Earth: east, north, up, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalFrame {
    origin: Vector3<f64>,
    to_enu: Matrix3<f64>,
}

impl LocalFrame {
    /// Makes the frame whose origin lies `height_m` above the ellipsoid at `point`.
    #[must_use]
    pub fn at(point: Wgs84, height_m: f64) -> Self {
        let (sin_lat, cos_lat) = point.lat.to_radians().sin_cos();
        let (sin_lon, cos_lon) = point.lon.to_radians().sin_cos();
        Self {
            origin: to_ecef(point, height_m),
            to_enu: Matrix3::new(
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

    /// Returns east, north and up of a point whose height is above the ellipsoid.
    #[must_use]
    pub fn enu_of(&self, point: Wgs84, height_m: f64) -> Vector3<f64> {
        self.to_enu * (to_ecef(point, height_m) - self.origin)
    }

    /// Returns the point and its height above the ellipsoid for east, north and up.
    #[must_use]
    pub fn point_at(&self, enu: &Vector3<f64>) -> (Wgs84, f64) {
        from_ecef(&(self.origin + self.to_enu.transpose() * enu))
    }
}

/// Returns the azimuth in degrees from north, 0 to 360, and the elevation in degrees above the horizon.
#[must_use]
pub fn direction_of(enu: &Vector3<f64>) -> (f64, f64) {
    (
        enu.x.atan2(enu.y).to_degrees().rem_euclid(360.0),
        enu.z.atan2(enu.x.hypot(enu.y)).to_degrees(),
    )
}

/// Returns the shortest distance over the ellipsoid, in metres.
#[must_use]
pub fn distance_m(from: Wgs84, to: Wgs84) -> f64 {
    Geodesic::wgs84().inverse(from.lat, from.lon, to.lat, to.lon)
}

/// Returns the distance in metres and the azimuth at `from` in degrees from north, 0 to 360.
#[must_use]
pub fn distance_azimuth(from: Wgs84, to: Wgs84) -> (f64, f64) {
    let (distance_m, azimuth_deg, _, _): (f64, f64, f64, f64) =
        Geodesic::wgs84().inverse(from.lat, from.lon, to.lat, to.lon);
    (distance_m, azimuth_deg.rem_euclid(360.0))
}

/// Returns the point `distance_m` away from `from` in the direction `azimuth_deg`.
#[must_use]
pub fn destination(from: Wgs84, azimuth_deg: f64, distance_m: f64) -> Wgs84 {
    let (lat, lon): (f64, f64) = Geodesic::wgs84().direct(from.lat, from.lon, azimuth_deg, distance_m);
    Wgs84 { lat, lon }
}

/// A flat map around one point, good to 4 cm at 10 km: what the inner loops use instead of geodesics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlatMap {
    origin: Wgs84,
    meridian_m: f64,
    normal_m: f64,
    cos_lat: f64,
    tan_lat: f64,
    /// How the meridian's radius grows with latitude: half its derivative over itself.
    meridian_growth: f64,
}

impl FlatMap {
    /// Makes the map around `origin`, which must not be a pole.
    #[must_use]
    pub fn around(origin: Wgs84) -> Self {
        let (sin_lat, cos_lat) = origin.lat.to_radians().sin_cos();
        let root = (1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat).sqrt();
        let cos_lat = cos_lat.max(1e-9);
        Self {
            origin,
            meridian_m: SEMI_MAJOR_M * (1.0 - ECCENTRICITY_SQUARED) / (root * root * root),
            normal_m: SEMI_MAJOR_M / root,
            cos_lat,
            tan_lat: sin_lat / cos_lat,
            meridian_growth: 1.5 * ECCENTRICITY_SQUARED * sin_lat * cos_lat / (root * root),
        }
    }

    /// Returns the point around which the map was made.
    #[must_use]
    pub const fn origin(&self) -> Wgs84 {
        self.origin
    }

    /// Returns the Earth's radius of curvature in the direction of an azimuth, in metres.
    #[must_use]
    pub fn radius_m(&self, azimuth_rad: f64) -> f64 {
        let (sin, cos) = azimuth_rad.sin_cos();
        1.0 / (cos * cos / self.meridian_m + sin * sin / self.normal_m)
    }

    /// Returns the point that lies `east_m` and `north_m` along the geodesic in that direction.
    #[must_use]
    #[inline]
    pub fn point(&self, east_m: f64, north_m: f64) -> Wgs84 {
        let east = east_m / self.normal_m;
        let north = north_m / self.meridian_m;
        let bow = east * east * self.tan_lat * self.normal_m / (2.0 * self.meridian_m);
        Wgs84 {
            lat: self.origin.lat + (north * (1.0 - north * self.meridian_growth) - bow).to_degrees(),
            lon: self.origin.lon
                + (east / self.cos_lat * (1.0 + north_m / self.normal_m * self.tan_lat)).to_degrees(),
        }
    }

    /// Returns how far east and north a point lies, in metres along the geodesic from the origin.
    #[must_use]
    pub fn offset(&self, point: Wgs84) -> (f64, f64) {
        let (distance_m, azimuth_deg) = distance_azimuth(self.origin, point);
        let (sin, cos) = azimuth_deg.to_radians().sin_cos();
        (distance_m * sin, distance_m * cos)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JIAOZUO: Wgs84 = Wgs84 {
        lat: 35.19,
        lon: 113.25,
    };

    #[test]
    fn the_known_corners_of_the_ellipsoid_are_met() {
        let equator = to_ecef(Wgs84 { lat: 0.0, lon: 0.0 }, 0.0);
        assert!((equator - Vector3::new(6_378_137.0, 0.0, 0.0)).norm() < 1e-6);
        let pole = to_ecef(Wgs84 { lat: 90.0, lon: 0.0 }, 0.0);
        assert!((pole.z - 6_356_752.314_245).abs() < 1e-5);
    }

    #[test]
    fn a_geodesic_from_new_york_matches_geographiclib() {
        let point = destination(
            Wgs84 {
                lat: 40.64,
                lon: -73.78,
            },
            45.0,
            10e6,
        );
        assert!((point.lat - 32.621_100_463_725_796).abs() < 1e-9);
        assert!((point.lon - 49.052_487_092_959_836).abs() < 1e-9);
    }

    #[test]
    fn the_flat_map_agrees_with_the_geodesic() {
        for (distance, allowed) in [
            (1_000.0, 0.001),
            (5_000.0, 0.01),
            (10_000.0, 0.04),
            (20_000.0, 0.3),
        ] {
            let map = FlatMap::around(JIAOZUO);
            for azimuth in (0..360).step_by(15) {
                let (sin, cos) = f64::from(azimuth).to_radians().sin_cos();
                let flat = map.point(distance * sin, distance * cos);
                let exact = destination(JIAOZUO, f64::from(azimuth), distance);
                let off = distance_m(flat, exact);
                assert!(off < allowed, "{off} m at {distance} m towards {azimuth}");
            }
        }
    }

    proptest! {
        #[test]
        fn ecef_and_back_is_the_same_point(lat in -89.9..89.9f64, lon in -179.9..179.9f64, height in -400.0..20_000.0f64) {
            let point = Wgs84 { lat, lon };
            let (back, back_height) = from_ecef(&to_ecef(point, height));
            prop_assert!((back.lat - lat).abs() < 1e-9);
            prop_assert!((back.lon - lon).abs() < 1e-9);
            prop_assert!((back_height - height).abs() < 1e-4);
        }

        #[test]
        fn local_frame_and_back_is_the_same_place(east in -9e3..9e3f64, north in -9e3..9e3f64, up in -500.0..500.0f64) {
            let frame = LocalFrame::at(JIAOZUO, 100.0);
            let enu = Vector3::new(east, north, up);
            let (point, height) = frame.point_at(&enu);
            prop_assert!((frame.enu_of(point, height) - enu).norm() < 1e-3);
        }
    }
}
