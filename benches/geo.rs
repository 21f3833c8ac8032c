//! Rays to terrain a second on one core, over a tile with the spacing of Copernicus GLO-30, made up and real, and whole
//! positions with their ellipses. Rays are measured in CPU time of their thread: other work on the machine does not count.

use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use emberwatch::flow::pose::{Attitude, Height, HeightDatum, Heights, Pose, Wgs84};
use emberwatch::geo::ellipsoid::FlatMap;
use emberwatch::geo::terrain::{NodeGrid, Ray, Reach, Tile};
use emberwatch::geo::{Assumptions, CameraModel, Terrain, locate};

const HOME: Wgs84 = Wgs84 {
    lat: 35.5,
    lon: 113.5,
};

/// A whole degree at one arc-second: hills of 60 m.
fn degree() -> Terrain {
    let nodes = 3600;
    let grid = NodeGrid {
        north: 36.0,
        west: 113.0,
        step_lat: 1.0 / 3600.0,
        step_lon: 1.0 / 3600.0,
        rows: nodes,
        columns: nodes,
    };
    let heights = (0..nodes * nodes)
        .map(|index| {
            let (row, column) = ((index / nodes) as f64, (index % nodes) as f64);
            (150.0 + 30.0 * (row / 23.0).sin() * (column / 31.0).cos()) as f32
        })
        .collect();
    let tile = Tile::new("degree", HeightDatum::Egm2008, grid, heights).expect("the tile is sound");
    Terrain::from_tiles(vec![tile]).expect("one tile is enough")
}

/// Returns the CPU time that this thread has used.
fn cpu() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("the clock of the thread is there")
}

/// Returns the tile of Rome, where it is at hand.
fn rome() -> Option<Terrain> {
    let folder = std::env::var_os("EMBERWATCH_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    Terrain::open(&[folder.join("geo/Rome-30m-DEM.tif")], HeightDatum::Egm96).ok()
}

fn rays(criterion: &mut Criterion) {
    let terrain = degree();
    let reach = Reach {
        max_range_m: 20_000.0,
        refraction: 0.13,
    };
    let directions: Vec<_> = (0..1000)
        .map(|index| {
            let azimuth = f64::from(index) * 0.71;
            let down = 4.0 + f64::from(index % 40);
            let (sin, cos) = azimuth.sin_cos();
            let (up, level) = (-down).to_radians().sin_cos();
            nalgebra::Vector3::new(sin * level, cos * level, up)
        })
        .collect();
    let mut group = criterion.benchmark_group("terrain");
    group.throughput(Throughput::Elements(directions.len() as u64));
    let rome = rome();
    let centre_of_rome = Wgs84 { lat: 41.9, lon: 12.5 };
    let places = [
        ("made up", Some(&terrain), HOME),
        ("Rome", rome.as_ref(), centre_of_rome),
    ];
    for (name, terrain, home) in places {
        let Some(terrain) = terrain else { continue };
        let map = FlatMap::around(home);
        let ground_m = terrain.height_m(home).expect("the place lies on the tile");
        let all = || {
            directions
                .iter()
                .filter_map(|direction| {
                    let ray = Ray {
                        map: &map,
                        east_m: 0.0,
                        north_m: 0.0,
                        height_m: ground_m + 100.0,
                        direction: *direction,
                    };
                    terrain.cast(ray, reach).ok()
                })
                .map(|hit| hit.range_m)
                .sum::<f64>()
        };
        let title = format!("{name}: rays from 100 m above ground, 4 to 44 degrees down");
        group.bench_function(title, |bencher| {
            bencher.iter_custom(|times| {
                let start = cpu();
                for _ in 0..times {
                    std::hint::black_box(all());
                }
                cpu().saturating_sub(start)
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    let camera = CameraModel::from_hfov(1920, 1080, 70.0).expect("the camera is sound");
    let pose = Pose {
        position: Some(HOME),
        heights: Heights::default().with(Height::new(270.0, HeightDatum::Egm2008)),
        attitude: Some(Attitude::new(40.0, -20.0, 0.0)),
        ..Pose::default()
    };
    let assumptions = Assumptions::default();
    group.bench_function("one position with its ellipse", |bencher| {
        bencher.iter(|| locate((700.0, 600.0), &pose, &camera, &terrain, &assumptions));
    });
    group.finish();
}

criterion_group!(benches, rays);
criterion_main!(benches);
