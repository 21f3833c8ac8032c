//! A level plane around a point, for distances of a few tens of kilometres, and error ellipses as covariances in it.

use crate::flow::pose::Wgs84;
use crate::flow::position::Ellipse;

/// Equatorial radius of WGS 84, in metres.
const SEMI_MAJOR_M: f64 = 6_378_137.0;
/// First eccentricity of WGS 84, squared.
const ECCENTRICITY_SQUARED: f64 = 6.694_379_990_14e-3;

/// A point or a step on the plane, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Metres {
    pub(crate) east: f64,
    pub(crate) north: f64,
}

impl Metres {
    #[cfg(test)]
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            east: self.east - other.east,
            north: self.north - other.north,
        }
    }

    pub(crate) fn length(self) -> f64 {
        self.east.hypot(self.north)
    }

    /// Returns the direction from the origin, in degrees from north, 0 to 360.
    pub(crate) fn azimuth_deg(self) -> f64 {
        self.east.atan2(self.north).to_degrees().rem_euclid(360.0)
    }
}

/// The plane that touches the ellipsoid at `origin`. At 10 km from it the error is below 10 m in length along a
/// meridian and far below a camera's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    origin: Wgs84,
    metres_per_degree_north: f64,
    metres_per_degree_east: f64,
}

impl Plane {
    pub(crate) fn at(origin: Wgs84) -> Self {
        let latitude = origin.lat.to_radians();
        let root = (1.0 - ECCENTRICITY_SQUARED * latitude.sin().powi(2)).sqrt();
        let meridian = SEMI_MAJOR_M * (1.0 - ECCENTRICITY_SQUARED) / root.powi(3);
        let across = SEMI_MAJOR_M / root;
        Self {
            origin,
            metres_per_degree_north: meridian.to_radians(),
            metres_per_degree_east: (across * latitude.cos()).to_radians(),
        }
    }

    pub(crate) fn metres(&self, point: Wgs84) -> Metres {
        let mut east_deg = point.lon - self.origin.lon;
        if east_deg > 180.0 {
            east_deg -= 360.0;
        } else if east_deg < -180.0 {
            east_deg += 360.0;
        }
        Metres {
            east: east_deg * self.metres_per_degree_east,
            north: (point.lat - self.origin.lat) * self.metres_per_degree_north,
        }
    }

    #[cfg(test)]
    pub(crate) fn point(&self, metres: Metres) -> Wgs84 {
        Wgs84 {
            lat: self.origin.lat + metres.north / self.metres_per_degree_north,
            lon: self.origin.lon + metres.east / self.metres_per_degree_east,
        }
    }
}

/// Returns the distance between two points, in metres.
pub(crate) fn distance_m(from: Wgs84, to: Wgs84) -> f64 {
    Plane::at(from).metres(to).length()
}

/// Returns the smallest angle between two directions, in degrees, 0 to 180.
pub(crate) fn angle_between_deg(a: f64, b: f64) -> f64 {
    let difference = (a - b).rem_euclid(360.0);
    difference.min(360.0 - difference)
}

/// A symmetric two by two matrix: a covariance in square metres, or its inverse.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Symmetric {
    pub(crate) east_east: f64,
    pub(crate) east_north: f64,
    pub(crate) north_north: f64,
}

impl Symmetric {
    /// Returns the covariance of a normal error whose `ellipse.level` part lies in the ellipse.
    pub(crate) fn of_ellipse(ellipse: &Ellipse) -> Self {
        let level = ellipse.level.clamp(0.01, 0.9999);
        let squared_radius = -2.0 * (1.0 - level).ln();
        let along = ellipse.semi_major_m.max(0.1).powi(2) / squared_radius;
        let across = ellipse.semi_minor_m.max(0.1).powi(2) / squared_radius;
        let (sine, cosine) = ellipse.azimuth_deg.to_radians().sin_cos();
        Self {
            east_east: along * sine * sine + across * cosine * cosine,
            east_north: (along - across) * sine * cosine,
            north_north: along * cosine * cosine + across * sine * sine,
        }
    }

    /// Returns the covariance of a round error with standard deviation `sigma_m` in each direction.
    pub(crate) fn round(sigma_m: f64) -> Self {
        Self {
            east_east: sigma_m * sigma_m,
            east_north: 0.0,
            north_north: sigma_m * sigma_m,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            east_east: self.east_east + other.east_east,
            east_north: self.east_north + other.east_north,
            north_north: self.north_north + other.north_north,
        }
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            east_east: self.east_east * factor,
            east_north: self.east_north * factor,
            north_north: self.north_north * factor,
        }
    }

    pub(crate) fn determinant(self) -> f64 {
        self.east_east * self.north_north - self.east_north * self.east_north
    }

    /// Returns the inverse, none where there is none worth having.
    pub(crate) fn inverse(self) -> Option<Self> {
        let determinant = self.determinant();
        let scale = self.east_east.max(self.north_north).powi(2);
        (determinant > scale * 1e-12 && determinant.is_finite() && determinant > 0.0).then(|| Self {
            east_east: self.north_north / determinant,
            east_north: -self.east_north / determinant,
            north_north: self.east_east / determinant,
        })
    }

    pub(crate) fn of_vector(self, vector: Metres) -> Metres {
        Metres {
            east: self.east_east * vector.east + self.east_north * vector.north,
            north: self.east_north * vector.east + self.north_north * vector.north,
        }
    }

    /// Returns the squared Mahalanobis length of a step under this covariance; infinite where it cannot be told.
    pub(crate) fn squared_length(self, step: Metres) -> f64 {
        self.inverse().map_or(f64::INFINITY, |inverse| {
            let weighted = inverse.of_vector(step);
            step.east * weighted.east + step.north * weighted.north
        })
    }

    /// Returns the standard deviation in the direction of a unit vector.
    pub(crate) fn sigma_along(self, unit: Metres) -> f64 {
        let weighted = self.of_vector(unit);
        (unit.east * weighted.east + unit.north * weighted.north)
            .max(0.0)
            .sqrt()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Wgs84 = Wgs84 {
        lat: 35.2,
        lon: 113.25,
    };

    #[test]
    fn a_degree_at_this_latitude_is_as_long_as_the_ellipsoid_says() {
        // GeographicLib: (35.2, 113.25) to (35.21, 113.25) is 1109.46 m, to (35.2, 113.26) is 910.50 m.
        let plane = Plane::at(HERE);
        let north = plane.metres(Wgs84 { lat: 35.21, ..HERE });
        let east = plane.metres(Wgs84 { lon: 113.26, ..HERE });
        assert!((north.length() - 1109.46).abs() < 0.2, "{north:?}");
        assert!((east.length() - 910.50).abs() < 0.5, "{east:?}");
    }

    proptest! {
        #[test]
        fn a_point_goes_to_the_plane_and_back(lat in -70.0..70.0_f64, lon in -180.0..180.0_f64, east in -2e4..2e4_f64, north in -2e4..2e4_f64) {
            let plane = Plane::at(Wgs84 { lat, lon });
            let step = Metres { east, north };
            let back = plane.metres(plane.point(step));
            prop_assert!(back.minus(step).length() < 1e-5);
        }
    }
}
