//! Rays to terrain allocate nothing: a drone's picture asks for thousands of them a second.
//!
//! Alone in its program: the allocator that counts sees every thread.

use std::alloc::System;
use std::hint::black_box;
use std::path::PathBuf;

use emberwatch::flow::pose::{HeightDatum, Wgs84};
use emberwatch::geo::Terrain;
use emberwatch::geo::ellipsoid::FlatMap;
use emberwatch::geo::terrain::{NodeGrid, Ray, Reach, Tile};
use nalgebra::Vector3;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Hills of one arc-second, two tiles that share an edge in the middle.
fn hills() -> Terrain {
    const NODES: usize = 400;
    let step = 1.0 / 3600.0;
    let tile = |west: f64| {
        let grid = NodeGrid {
            north: 35.06,
            west,
            step_lat: step,
            step_lon: step,
            rows: NODES,
            columns: NODES,
        };
        let heights = (0..NODES * NODES)
            .map(|index| {
                let (row, column) = ((index / NODES) as f64, (index % NODES) as f64);
                (150.0 + 30.0 * (row / 23.0).sin() * (column / 31.0).cos()) as f32
            })
            .collect();
        Tile::new("hills", HeightDatum::Egm2008, grid, heights).expect("the tile is sound")
    };
    let east = 113.0;
    Terrain::from_tiles(vec![tile(east - NODES as f64 * step), tile(east)]).expect("two tiles of one datum")
}

/// The tile of Rome, where it is at hand.
fn rome() -> Option<Terrain> {
    let folder = std::env::var_os("EMBERWATCH_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let path = folder.join("geo/Rome-30m-DEM.tif");
    path.is_file()
        .then(|| Terrain::open(&[path], HeightDatum::Egm96).expect("the tile of Rome is read"))
}

#[test]
fn rays_to_terrain_allocate_nothing() {
    let hills = (
        hills(),
        Wgs84 {
            lat: 35.0,
            lon: 113.0,
        },
    );
    let rome = rome().map(|terrain| (terrain, Wgs84 { lat: 41.9, lon: 12.5 }));
    for (terrain, home) in std::iter::once(hills).chain(rome) {
        let map = FlatMap::around(home);
        let ground_m = terrain.height_m(home).expect("the place lies on the tile");
        let mut hits = 0;
        let region = Region::new(COUNTING);
        for index in 0..5_000_u32 {
            let (sine, cosine) = (f64::from(index) * 0.71).sin_cos();
            let (down, level) = f64::from(3 + index % 60).to_radians().sin_cos();
            let ray = Ray {
                map: &map,
                east_m: 0.0,
                north_m: 0.0,
                height_m: ground_m + 120.0,
                direction: Vector3::new(sine * level, cosine * level, -down),
            };
            let reach = Reach {
                max_range_m: 20_000.0,
                refraction: 0.13,
            };
            hits += u32::from(black_box(terrain.cast(ray, reach)).is_ok());
        }
        let change = region.change();
        assert!(hits > 4_000, "{hits}");
        assert_eq!(
            (change.allocations, change.reallocations, change.bytes_allocated),
            (0, 0, 0)
        );
    }
}
