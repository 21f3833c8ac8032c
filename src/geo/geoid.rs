//! The geoid: how far mean sea level lies above the ellipsoid.
//!
//! EGM96 is computed from its coefficients and kept per 0.01°. EGM2008 has no table here: its heights are taken to be
//! EGM96 heights, which differ from them by less than 1 m over most of the land (the two stay different datums in
//! every type, and [`DATUM_STEP_SIGMA_M`] is added to the uncertainty when one is read as the other).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::flow::pose::{Height, HeightDatum, Wgs84};

/// One standard deviation of the step from EGM96 to EGM2008, in metres.
pub const DATUM_STEP_SIGMA_M: f64 = 0.5;

/// Cells that are remembered: 2 MiB at most.
const REMEMBERED_CELLS: usize = 65_536;

static CELLS: Mutex<Option<HashMap<(i32, i32), f64>>> = Mutex::new(None);

/// Returns how many metres the EGM96 geoid lies above the WGS 84 ellipsoid, to about 5 cm.
#[must_use]
pub fn undulation_m(point: Wgs84) -> f64 {
    let key = (
        (point.lat * 100.0).round() as i32,
        (point.lon * 100.0).round() as i32,
    );
    let mut cells = CELLS.lock().unwrap_or_else(PoisonError::into_inner);
    let cells = cells.get_or_insert_default();
    if let Some(known) = cells.get(&key) {
        return *known;
    }
    if cells.len() >= REMEMBERED_CELLS {
        cells.clear();
    }
    let undulation = egm96::egm96_compute_altitude_offset(f64::from(key.0) / 100.0, f64::from(key.1) / 100.0);
    cells.insert(key, undulation);
    undulation
}

/// Turns a height into another datum at one point. Heights above take-off or ground are tied to no datum of the Earth:
/// they give `None` unless the datum asked for is their own.
#[must_use]
pub fn converted(height: Height, point: Wgs84, datum: HeightDatum) -> Option<Height> {
    use HeightDatum::{Egm96, Egm2008, Ellipsoid, Ground, Takeoff};
    let metres = match (height.datum, datum) {
        (from, to) if from == to => height.metres,
        (Takeoff | Ground, _) | (_, Takeoff | Ground) => return None,
        (Ellipsoid, Egm96 | Egm2008) => height.metres - undulation_m(point),
        (Egm96 | Egm2008, Ellipsoid) => height.metres + undulation_m(point),
        (Egm96 | Egm2008, _) | (Ellipsoid, Ellipsoid) => height.metres,
    };
    Some(Height::new(metres, datum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_geoid_has_its_known_heights() {
        for (lat, lon, expected) in [(35.19, 113.25, -19.6), (51.5, -0.13, 45.95), (39.9, 116.4, -9.9)] {
            let found = undulation_m(Wgs84 { lat, lon });
            assert!((found - expected).abs() < 0.1, "{found} at {lat} {lon}");
        }
    }

    #[test]
    fn heights_go_to_another_datum_and_back() {
        let point = Wgs84 {
            lat: 35.19,
            lon: 113.25,
        };
        let told = Height::new(100.0, HeightDatum::Egm96);
        let ellipsoid = converted(told, point, HeightDatum::Ellipsoid).unwrap();
        assert!((ellipsoid.metres - 80.4).abs() < 0.1);
        let back = converted(ellipsoid, point, HeightDatum::Egm96).unwrap();
        assert!((back.metres - 100.0).abs() < 1e-9);
        assert!(converted(Height::new(40.0, HeightDatum::Takeoff), point, HeightDatum::Egm96).is_none());
    }
}
