//! Grid files: whatever polygons and teams they hold, a point that is asked for has an answer.
//!
//! `fuzz/run grid -max_total_time=60`

#![no_main]

use emberwatch::flow::pose::Wgs84;
use emberwatch::geo::areas::Areas;
use emberwatch::geo::china::DeclaredCrs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(areas) = Areas::from_geojson(&String::from_utf8_lossy(bytes), DeclaredCrs::Gcj02) {
        let point = Wgs84 { lat: 35.2, lon: 113.25 };
        let _cell = areas.cell_at(point);
        assert!(areas.nearest_teams(point, 3).iter().all(|(_, distance_m)| distance_m.is_finite()));
    }
});
