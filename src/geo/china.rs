//! GCJ-02 and BD-09, the shifted coordinates of Chinese maps. Inside the program everything is WGS 84: these types live
//! at the border, where a map or a navigation app is fed or a grid file is read.
//!
//! The formulas are the ones everybody uses (published in `gcoord`, MIT); they are not official. In Jiaozuo the shift is
//! 582 m: a coordinate of one kind read as the other sends the team to another village.

use serde::{Deserialize, Serialize};

use crate::flow::pose::Wgs84;

/// A point in GCJ-02, as `AMap` and Tencent use it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gcj02 {
    /// Shifted degrees north.
    pub lat: f64,
    /// Shifted degrees east.
    pub lon: f64,
}

/// A point in BD-09, as Baidu uses it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bd09 {
    /// Shifted degrees north.
    pub lat: f64,
    /// Shifted degrees east.
    pub lon: f64,
}

/// The coordinates that a file declares itself to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredCrs {
    /// WGS 84 or CGCS2000, which agree to less than a metre.
    #[serde(alias = "cgcs2000")]
    Wgs84,
    /// GCJ-02.
    Gcj02,
    /// BD-09.
    Bd09,
}

impl DeclaredCrs {
    /// Returns the point in WGS 84 that a pair of declared coordinates means.
    #[must_use]
    pub fn to_wgs84(self, lat: f64, lon: f64) -> Wgs84 {
        match self {
            Self::Wgs84 => Wgs84 { lat, lon },
            Self::Gcj02 => Gcj02 { lat, lon }.to_wgs84(),
            Self::Bd09 => Bd09 { lat, lon }.to_gcj02().to_wgs84(),
        }
    }
}

const SEMI_MAJOR_M: f64 = 6_378_245.0;
const ECCENTRICITY_SQUARED: f64 = 0.006_693_421_622_965_823;
const BAIDU_FACTOR: f64 = std::f64::consts::PI * 3000.0 / 180.0;
/// How close an inverse must come, in degrees: a tenth of a millimetre.
const CLOSENESS_DEG: f64 = 1e-9;

impl Gcj02 {
    /// Shifts a point. Outside the box around China nothing is shifted.
    #[must_use]
    pub fn from_wgs84(point: Wgs84) -> Self {
        let (shift_lat, shift_lon) = shift(point.lat, point.lon);
        Self {
            lat: point.lat + shift_lat,
            lon: point.lon + shift_lon,
        }
    }

    /// Returns the point that shifts to this one, to a tenth of a millimetre.
    #[must_use]
    pub fn to_wgs84(self) -> Wgs84 {
        let (lat, lon) = inverse(self.lat, self.lon, |lat, lon| {
            let (shift_lat, shift_lon) = shift(lat, lon);
            (lat + shift_lat, lon + shift_lon)
        });
        Wgs84 { lat, lon }
    }
}

impl Bd09 {
    /// Shifts a point of GCJ-02.
    #[must_use]
    pub fn from_gcj02(point: Gcj02) -> Self {
        let (lat, lon) = baidu(point.lat, point.lon);
        Self { lat, lon }
    }

    /// Shifts a point of WGS 84, through GCJ-02.
    #[must_use]
    pub fn from_wgs84(point: Wgs84) -> Self {
        Self::from_gcj02(Gcj02::from_wgs84(point))
    }

    /// Returns the point of GCJ-02 that shifts to this one.
    #[must_use]
    pub fn to_gcj02(self) -> Gcj02 {
        let (lat, lon) = inverse(self.lat, self.lon, baidu);
        Gcj02 { lat, lon }
    }
}

/// Finds what `forward` turns into the given coordinates, by fixed-point iteration.
fn inverse(lat: f64, lon: f64, forward: impl Fn(f64, f64) -> (f64, f64)) -> (f64, f64) {
    let (mut found_lat, mut found_lon) = (lat, lon);
    for _ in 0..30 {
        let (at_lat, at_lon) = forward(found_lat, found_lon);
        let (off_lat, off_lon) = (at_lat - lat, at_lon - lon);
        found_lat -= off_lat;
        found_lon -= off_lon;
        if off_lat.abs().max(off_lon.abs()) < CLOSENESS_DEG {
            break;
        }
    }
    (found_lat, found_lon)
}

fn is_shifted(lat: f64, lon: f64) -> bool {
    (72.004..=137.8347).contains(&lon) && (0.8293..=55.8271).contains(&lat)
}

fn shift(lat: f64, lon: f64) -> (f64, f64) {
    use std::f64::consts::PI;
    if !is_shifted(lat, lon) {
        return (0.0, 0.0);
    }
    let (x, y) = (lon - 105.0, lat - 35.0);
    let ripple = (20.0 * (6.0 * x * PI).sin() + 20.0 * (2.0 * x * PI).sin()) * 2.0 / 3.0;
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + ripple
        + (20.0 * (y * PI).sin() + 40.0 * (y / 3.0 * PI).sin()) * 2.0 / 3.0
        + (160.0 * (y / 12.0 * PI).sin() + 320.0 * (y * PI / 30.0).sin()) * 2.0 / 3.0;
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + ripple
        + (20.0 * (x * PI).sin() + 40.0 * (x / 3.0 * PI).sin()) * 2.0 / 3.0
        + (150.0 * (x / 12.0 * PI).sin() + 300.0 * (x / 30.0 * PI).sin()) * 2.0 / 3.0;
    let (sin_lat, cos_lat) = lat.to_radians().sin_cos();
    let magic = 1.0 - ECCENTRICITY_SQUARED * sin_lat * sin_lat;
    let root = magic.sqrt();
    (
        north * 180.0 / (SEMI_MAJOR_M * (1.0 - ECCENTRICITY_SQUARED) / (magic * root) * PI),
        east * 180.0 / (SEMI_MAJOR_M / root * cos_lat * PI),
    )
}

fn baidu(lat: f64, lon: f64) -> (f64, f64) {
    let radius = lon.hypot(lat) + 0.000_02 * (lat * BAIDU_FACTOR).sin();
    let angle = lat.atan2(lon) + 0.000_003 * (lon * BAIDU_FACTOR).cos();
    (radius * angle.sin() + 0.006, radius * angle.cos() + 0.0065)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::ellipsoid::FlatMap;

    #[test]
    fn the_published_vectors_are_met() {
        let bd = Bd09::from_wgs84(Wgs84 {
            lat: 39.914_266,
            lon: 116.403_988,
        });
        assert!((bd.lon - 116.416_615_600_682_97).abs() < 1e-9, "{bd:?}");
        assert!((bd.lat - 39.921_965_801_268_34).abs() < 1e-9, "{bd:?}");
        let wgs = Gcj02 {
            lat: 45.0,
            lon: 123.0,
        }
        .to_wgs84();
        // The published inverse was iterated to 1e-6 degrees only; ours goes on to 1e-9.
        assert!((wgs.lon - 122.993_955_97).abs() < 5e-7, "{wgs:?}");
        assert!((wgs.lat - 44.998_040_71).abs() < 5e-7, "{wgs:?}");
    }

    #[test]
    fn the_shift_in_jiaozuo_is_579_m_east_and_60_m_south() {
        let here = Wgs84 {
            lat: 35.19,
            lon: 113.25,
        };
        let shifted = Gcj02::from_wgs84(here);
        let (east, north) = FlatMap::around(here).offset(Wgs84 {
            lat: shifted.lat,
            lon: shifted.lon,
        });
        assert!(
            (east - 579.0).abs() < 5.0 && (north + 60.0).abs() < 5.0,
            "{east} {north}"
        );
    }

    #[test]
    fn outside_china_nothing_is_shifted() {
        let rome = Wgs84 { lat: 41.9, lon: 12.5 };
        let same = Gcj02::from_wgs84(rome);
        assert!((same.lat - rome.lat).abs() < 1e-15 && (same.lon - rome.lon).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn gcj02_and_back_is_the_same_point(lat in 18.0..53.0f64, lon in 74.0..134.0f64) {
            let point = Wgs84 { lat, lon };
            let back = Gcj02::from_wgs84(point).to_wgs84();
            prop_assert!((back.lat - lat).abs() < 2e-9 && (back.lon - lon).abs() < 2e-9);
        }

        #[test]
        fn bd09_and_back_is_the_same_point(lat in 18.0..53.0f64, lon in 74.0..134.0f64) {
            let point = Gcj02 { lat, lon };
            let back = Bd09::from_gcj02(point).to_gcj02();
            prop_assert!((back.lat - lat).abs() < 2e-9 && (back.lon - lon).abs() < 2e-9);
        }

        #[test]
        fn declared_coordinates_are_brought_to_wgs84(lat in 30.0..40.0f64, lon in 110.0..118.0f64) {
            let point = Wgs84 { lat, lon };
            let bd = Bd09::from_wgs84(point);
            let back = DeclaredCrs::Bd09.to_wgs84(bd.lat, bd.lon);
            prop_assert!((back.lat - lat).abs() < 5e-9 && (back.lon - lon).abs() < 5e-9);
        }
    }
}
