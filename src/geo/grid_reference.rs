//! UTM and MGRS, the coordinates that people read to each other over the radio.

use std::fmt;

use super::ellipsoid::{FLATTENING, SEMI_MAJOR_M};
use crate::flow::pose::Wgs84;

/// Scale on the central meridian.
const SCALE: f64 = 0.9996;

/// Universal Transverse Mercator coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Utm {
    /// Zone, 1 to 60.
    pub zone: u8,
    /// Whether the point lies north of the equator (or on it).
    pub is_north: bool,
    /// Metres east, 500,000 on the central meridian.
    pub easting_m: f64,
    /// Metres north of the equator, or of 10,000 km south of it.
    pub northing_m: f64,
}

impl Utm {
    /// Returns the coordinates of a point, or `None` outside 80° south to 84° north. Good to a millimetre (Krüger's
    /// series to the fourth order).
    #[must_use]
    pub fn of(point: Wgs84) -> Option<Self> {
        if !(-80.0..=84.0).contains(&point.lat) || !(-180.0..=180.0).contains(&point.lon) {
            return None;
        }
        let zone = zone_of(point);
        let central = f64::from(zone) * 6.0 - 183.0;
        let (easting_m, northing_m) = transverse_mercator(point.lat, point.lon - central);
        let is_north = point.lat >= 0.0;
        Some(Self {
            zone,
            is_north,
            easting_m,
            northing_m: if is_north { northing_m } else { northing_m + 1e7 },
        })
    }
}

impl fmt::Display for Utm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hemisphere = if self.is_north { 'N' } else { 'S' };
        write!(
            formatter,
            "{}{hemisphere} {:.0} {:.0}",
            self.zone, self.easting_m, self.northing_m
        )
    }
}

/// Returns the MGRS reference of a point to the metre, such as `49SGV 04879 96953`, or `None` outside 80° south to 84°
/// north.
#[must_use]
pub fn mgrs(point: Wgs84) -> Option<String> {
    const BANDS: &[u8; 20] = b"CDEFGHJKLMNPQRSTUVWX";
    const COLUMNS: [&[u8; 8]; 3] = [b"STUVWXYZ", b"ABCDEFGH", b"JKLMNPQR"];
    const ROWS: &[u8; 20] = b"ABCDEFGHJKLMNPQRSTUV";
    let utm = Utm::of(point)?;
    let band = *BANDS.get((((point.lat + 80.0) / 8.0) as usize).min(19))?;
    let (easting, northing) = (utm.easting_m.floor() as u64, utm.northing_m.floor() as u64);
    let column_set = COLUMNS.get(usize::from(utm.zone % 3))?;
    let column = *column_set.get(usize::try_from((easting / 100_000).checked_sub(1)?).ok()?)?;
    let first_row = if utm.zone % 2 == 0 { 5 } else { 0 };
    let row = *ROWS.get(((northing / 100_000 + first_row) % 20) as usize)?;
    Some(format!(
        "{}{}{}{} {:05} {:05}",
        utm.zone,
        char::from(band),
        char::from(column),
        char::from(row),
        easting % 100_000,
        northing % 100_000
    ))
}

/// Returns the zone, with the exceptions of Norway and Svalbard.
fn zone_of(point: Wgs84) -> u8 {
    let plain = ((point.lon + 180.0) / 6.0).floor().clamp(0.0, 59.0) as u8 + 1;
    if (56.0..64.0).contains(&point.lat) && (3.0..12.0).contains(&point.lon) {
        return 32;
    }
    if point.lat >= 72.0 {
        return match point.lon {
            lon if (0.0..9.0).contains(&lon) => 31,
            lon if (9.0..21.0).contains(&lon) => 33,
            lon if (21.0..33.0).contains(&lon) => 35,
            lon if (33.0..42.0).contains(&lon) => 37,
            _ => plain,
        };
    }
    plain
}

fn transverse_mercator(lat_deg: f64, from_central_deg: f64) -> (f64, f64) {
    let n = FLATTENING / (2.0 - FLATTENING);
    let (n2, n3, n4) = (n * n, n * n * n, n * n * n * n);
    let rectifying_m = SEMI_MAJOR_M / (1.0 + n) * (1.0 + n2 / 4.0 + n4 / 64.0);
    let series = [
        n / 2.0 - 2.0 / 3.0 * n2 + 5.0 / 16.0 * n3 + 41.0 / 180.0 * n4,
        13.0 / 48.0 * n2 - 3.0 / 5.0 * n3 + 557.0 / 1440.0 * n4,
        61.0 / 240.0 * n3 - 103.0 / 140.0 * n4,
        49_561.0 / 161_280.0 * n4,
    ];
    let sin_lat = lat_deg.to_radians().sin();
    let eccentricity = 2.0 * n.sqrt() / (1.0 + n);
    let conformal = (sin_lat.atanh() - eccentricity * (eccentricity * sin_lat).atanh()).sinh();
    let from_central = from_central_deg.to_radians();
    let xi = conformal.atan2(from_central.cos());
    let eta = (from_central.sin() / conformal.hypot(from_central.cos())).asinh();
    let (mut north, mut east) = (xi, eta);
    for (index, factor) in series.iter().enumerate() {
        let order = 2.0 * (index + 1) as f64;
        north += factor * (order * xi).sin() * (order * eta).cosh();
        east += factor * (order * xi).cos() * (order * eta).sinh();
    }
    (5e5 + SCALE * rectifying_m * east, SCALE * rectifying_m * north)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(point: (f64, f64), zone: u8, easting: f64, northing: f64) {
        let utm = Utm::of(Wgs84 {
            lat: point.0,
            lon: point.1,
        })
        .unwrap();
        assert_eq!(utm.zone, zone);
        assert!((utm.easting_m - easting).abs() < 0.01, "{utm:?}");
        assert!((utm.northing_m - northing).abs() < 0.01, "{utm:?}");
    }

    #[test]
    fn utm_meets_the_values_of_geographiclib() {
        // The example of GeoConvert's manual: 33.3 44.4 is 38n 444140.54 3684706.36.
        close((33.3, 44.4), 38, 444_140.54, 3_684_706.36);
        close((0.0, 3.0), 31, 500_000.0, 0.0);
    }

    #[test]
    fn the_central_meridian_has_the_length_of_the_ellipsoids() {
        // A quarter of the meridian of WGS 84 is 10 001 965.729 m; at 84° north no simple number exists, so compare by
        // the geodesic along the meridian.
        let utm = Utm::of(Wgs84 { lat: 60.0, lon: 9.0 }).unwrap();
        let meridian =
            super::super::ellipsoid::distance_m(Wgs84 { lat: 0.0, lon: 9.0 }, Wgs84 { lat: 60.0, lon: 9.0 });
        assert!((utm.northing_m - meridian * SCALE).abs() < 0.001);
    }

    #[test]
    fn mgrs_meets_the_values_of_geographiclib() {
        // The example of GeoConvert's manual: 33.3 44.4 is 38SMB4414084706.
        assert_eq!(mgrs(Wgs84 { lat: 33.3, lon: 44.4 }).unwrap(), "38SMB 44140 84706");
        // The White House in NGA's examples lies in 18SUJ.
        assert!(
            mgrs(Wgs84 {
                lat: 38.8977,
                lon: -77.0365
            })
            .unwrap()
            .starts_with("18SUJ 23")
        );
    }

    #[test]
    fn the_poles_have_no_utm() {
        assert!(Utm::of(Wgs84 { lat: 85.0, lon: 0.0 }).is_none());
        assert!(
            mgrs(Wgs84 {
                lat: f64::NAN,
                lon: 0.0
            })
            .is_none()
        );
    }

    #[test]
    fn norway_and_svalbard_have_their_wide_zones() {
        assert_eq!(Utm::of(Wgs84 { lat: 60.0, lon: 5.0 }).unwrap().zone, 32);
        assert_eq!(Utm::of(Wgs84 { lat: 78.0, lon: 20.0 }).unwrap().zone, 33);
    }
}
