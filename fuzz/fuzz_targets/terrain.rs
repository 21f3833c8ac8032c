//! Terrain tiles, GeoTIFF: what is read has heights on Earth.
//!
//! `fuzz/run terrain -max_total_time=60`

#![no_main]

use emberwatch::flow::pose::HeightDatum;
use emberwatch::geo::Terrain;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("emberwatch-fuzz-{}.tif", std::process::id()));
    std::fs::write(&path, bytes).expect("there should be room for a tile");
    if let Ok(terrain) = Terrain::open(std::slice::from_ref(&path), HeightDatum::Egm2008) {
        for tile in terrain.tiles() {
            let (lowest_m, highest_m) = tile.height_range_m();
            assert!(lowest_m > highest_m || (lowest_m >= -1_000.0 && highest_m <= 10_000.0));
        }
    }
});
