#![expect(clippy::print_stderr, reason = "a test says why it is skipped")]

use std::io::Cursor;

use nalgebra::Vector3;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::{Gray32Float, GrayI16};
use tiff::tags::Tag;

use super::*;
use crate::geo::ellipsoid::FlatMap;

const HOME: Wgs84 = Wgs84 {
    lat: 35.2,
    lon: 113.25,
};
const REACH: Reach = Reach {
    max_range_m: 30_000.0,
    refraction: 0.13,
};

fn ray(map: &FlatMap, height_m: f64, azimuth_deg: f64, elevation_deg: f64) -> Ray<'_> {
    let (sin, cos) = azimuth_deg.to_radians().sin_cos();
    let (up, level) = elevation_deg.to_radians().sin_cos();
    Ray {
        map,
        east_m: 0.0,
        north_m: 0.0,
        height_m,
        direction: Vector3::new(sin * level, cos * level, up),
    }
}

/// Makes a tile of 1 arc-second around `HOME` from a function of metres east and north of it.
fn tile(nodes: usize, height: impl Fn(f64, f64) -> f64) -> Tile {
    let step = 1.0 / 3600.0;
    let half = (nodes / 2) as f64;
    let map = FlatMap::around(HOME);
    let grid = NodeGrid {
        north: HOME.lat + half * step,
        west: HOME.lon - half * step,
        step_lat: step,
        step_lon: step,
        rows: nodes,
        columns: nodes,
    };
    let heights = (0..nodes * nodes)
        .map(|index| {
            let point = Wgs84 {
                lat: grid.north - (index / nodes) as f64 * step,
                lon: grid.west + (index % nodes) as f64 * step,
            };
            let (east, north) = map.offset(point);
            height(east, north) as f32
        })
        .collect();
    Tile::new("made", HeightDatum::Egm2008, grid, heights).unwrap()
}

fn terrain(height: impl Fn(f64, f64) -> f64) -> Terrain {
    Terrain::from_tiles(vec![tile(401, height)]).unwrap()
}

#[test]
fn straight_down_meets_the_ground_below() {
    let map = FlatMap::around(HOME);
    for terrain in [
        Terrain::plane(Height::new(90.0, HeightDatum::Egm2008)),
        terrain(|_, _| 90.0),
    ] {
        let hit = terrain.cast(ray(&map, 190.0, 77.0, -90.0), REACH).unwrap();
        assert!(hit.east_m.hypot(hit.north_m) < 1e-6);
        assert!((hit.range_m - 100.0).abs() < 0.1 && (hit.grazing_deg - 90.0).abs() < 1e-6);
    }
}

#[test]
fn forty_five_degrees_from_a_hundred_metres_lands_a_hundred_metres_away() {
    let map = FlatMap::around(HOME);
    for terrain in [
        Terrain::plane(Height::new(90.0, HeightDatum::Egm2008)),
        terrain(|_, _| 90.0),
    ] {
        let hit = terrain.cast(ray(&map, 190.0, 90.0, -45.0), REACH).unwrap();
        assert!((hit.east_m - 100.0).abs() < 0.1, "{hit:?}");
        assert!(hit.north_m.abs() < 0.01);
        assert!((hit.grazing_deg - 45.0).abs() < 0.01);
    }
}

#[test]
fn the_horizon_drops_with_the_square_of_the_distance() {
    // Reference: drop = d²(1−k)/(2R): 0.27 m at 2 km, 1.71 m at 5 km, 6.83 m at 10 km.
    let map = FlatMap::around(HOME);
    let plane = Terrain::plane(Height::new(0.0, HeightDatum::Egm2008));
    for (distance_m, drop_m) in [(2_000.0f64, 0.27), (5_000.0, 1.71), (10_000.0, 6.83)] {
        let down_deg = ((40.0 + drop_m) / distance_m).atan().to_degrees();
        let hit = plane.cast(ray(&map, 40.0, 30.0, -down_deg), REACH).unwrap();
        let found = hit.east_m.hypot(hit.north_m);
        assert!(
            (found - distance_m).abs() < distance_m * 3e-4,
            "{found} instead of {distance_m}"
        );
    }
}

#[test]
fn a_slope_is_met_where_algebra_says() {
    // Ground rises 1 in 10 to the east; a ray at 45° down from 100 m: 100 − x = x / 10.
    let map = FlatMap::around(HOME);
    let hit = terrain(|east, _| 100.0 + east / 10.0)
        .cast(ray(&map, 200.0, 90.0, -45.0), REACH)
        .unwrap();
    assert!((hit.east_m - 100.0 / 1.1).abs() < 0.1, "{hit:?}");
    assert!(
        (hit.grazing_deg - (45.0 + 0.1f64.atan().to_degrees())).abs() < 0.05,
        "{hit:?}"
    );
}

#[test]
fn a_ridge_hides_what_lies_behind_it() {
    let map = FlatMap::around(HOME);
    let ridge = terrain(|east, _| {
        if (900.0..1_100.0).contains(&east) {
            180.0
        } else {
            90.0
        }
    });
    let hit = ridge.cast(ray(&map, 190.0, 90.0, -2.0), REACH).unwrap();
    assert!((850.0..1_000.0).contains(&hit.east_m), "{hit:?}");
}

#[test]
fn rays_without_ground_say_why() {
    let map = FlatMap::around(HOME);
    let plain = terrain(|_, _| 90.0);
    let miss = |height, elevation| plain.cast(ray(&map, height, 90.0, elevation), REACH).unwrap_err();
    assert_eq!(miss(190.0, 1.0), Miss::AboveHorizon);
    assert_eq!(
        miss(190.0, -0.1),
        Miss::AboveHorizon,
        "the horizon lies lower than level"
    );
    assert!(matches!(miss(80.0, -10.0), Miss::BelowGround { by_m } if (by_m - 10.0).abs() < 0.1));
    assert!(
        matches!(miss(190.0, -0.9), Miss::NoGround(point) if point.lon > HOME.lon),
        "beyond the tile's edge"
    );
    let short = Reach {
        max_range_m: 50.0,
        ..REACH
    };
    assert_eq!(
        plain.cast(ray(&map, 190.0, 90.0, -45.0), short).unwrap_err(),
        Miss::TooFar
    );
}

#[test]
fn a_hole_in_the_terrain_is_no_ground() {
    let map = FlatMap::around(HOME);
    let holed = terrain(|east, _| {
        if (400.0..600.0).contains(&east) {
            f64::NAN
        } else {
            90.0
        }
    });
    assert!(matches!(
        holed.cast(ray(&map, 190.0, 90.0, -11.0), REACH),
        Err(Miss::NoGround(_))
    ));
    assert!(
        holed.cast(ray(&map, 190.0, 90.0, -45.0), REACH).is_ok(),
        "before the hole"
    );
}

#[test]
fn tiles_that_do_not_share_an_edge_are_joined_across_it() {
    // Copernicus: the last column of one tile lies one step before the first of the next.
    let step = 1.0 / 3600.0;
    let side = |west: f64, first: f64| {
        let grid = NodeGrid {
            north: 35.21,
            west,
            step_lat: step,
            step_lon: step,
            rows: 72,
            columns: 36,
        };
        let heights = (0..72 * 36)
            .map(|index| (first + f64::from(index % 36)) as f32)
            .collect();
        Tile::new("side", HeightDatum::Egm2008, grid, heights).unwrap()
    };
    let west = HOME.lon - 36.0 * step;
    let both = Terrain::from_tiles(vec![side(west, 0.0), side(HOME.lon, 36.0)]).unwrap();
    for column in [34.5, 35.0, 35.25, 35.75, 36.0, 36.5] {
        let point = Wgs84 {
            lat: 35.2,
            lon: west + column * step,
        };
        let found = both.height_m(point).unwrap();
        assert!((found - column).abs() < 1e-6, "{found} at column {column}");
    }
    let alone = Terrain::from_tiles(vec![side(west, 0.0)]).unwrap();
    let gap = Wgs84 {
        lat: 35.2,
        lon: west + 35.5 * step,
    };
    assert!(alone.height_m(gap).is_none(), "no neighbour, no height");
}

#[test]
fn tiles_above_different_datums_are_not_joined() {
    let one = tile(5, |_, _| 1.0);
    let other = Tile::new("other", HeightDatum::Egm96, one.grid(), vec![1.0; 25]).unwrap();
    let error = Terrain::from_tiles(vec![one, other]).unwrap_err().to_string();
    assert!(error.contains("different datums"), "{error}");
    assert!(matches!(
        Terrain::from_tiles(Vec::new()),
        Err(TerrainError::Empty)
    ));
}

#[test]
fn absurd_heights_are_holes() {
    let made = tile(5, |east, _| if east > 0.0 { 1e9 } else { -32_767.0 + 32_800.0 });
    assert!(made.holes() > 0);
    assert!(made.height_range_m().1 < 9_000.0);
    let grid = made.grid();
    assert!(Tile::new("none", HeightDatum::Egm96, grid, vec![f32::NAN; 25]).is_err());
    assert!(Tile::new("short", HeightDatum::Egm96, grid, vec![0.0; 24]).is_err());
}

fn geo_keys(crs: u16, raster: u16) -> Vec<u16> {
    vec![1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, raster, 2048, 0, 1, crs]
}

fn float_tiff(crs: u16, raster: u16, heights: &[f32]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<Gray32Float>(3, 2).unwrap();
    let step = 1.0 / 3600.0;
    image
        .encoder()
        .write_tag(Tag::ModelPixelScaleTag, &[step, step, 0.0][..])
        .unwrap();
    image
        .encoder()
        .write_tag(Tag::ModelTiepointTag, &[0.0, 0.0, 0.0, 113.0, 36.0, 0.0][..])
        .unwrap();
    image
        .encoder()
        .write_tag(Tag::GeoKeyDirectoryTag, &geo_keys(crs, raster)[..])
        .unwrap();
    image.encoder().write_tag(Tag::GdalNodata, "-9999").unwrap();
    image.write_data(heights).unwrap();
    bytes.into_inner()
}

#[test]
fn a_float_geotiff_is_read_with_its_no_data_and_its_datum() {
    let bytes = float_tiff(4326, 1, &[1.0, 2.0, 3.0, 4.0, 5.0, -9999.0]);
    let name = "Copernicus_DSM_COG_10_N35_00_E113_00_DEM.tif";
    let tile = geotiff::read(name, Cursor::new(&bytes), HeightDatum::Egm96).unwrap();
    assert_eq!(tile.datum(), HeightDatum::Egm2008);
    assert_eq!((tile.size(), tile.holes()), ((2, 3), 1));
    assert_eq!(tile.node_m(1, 1), Some(5.0));
    let half = 0.5 / 3600.0;
    assert!(
        (tile.grid().north - (36.0 - half)).abs() < 1e-12,
        "an area's height lies in its middle"
    );
    let point = geotiff::read(
        name,
        Cursor::new(float_tiff(4326, 2, &[1.0; 6])),
        HeightDatum::Egm96,
    )
    .unwrap();
    assert!((point.grid().north - 36.0).abs() < 1e-12);
}

#[test]
fn a_projected_geotiff_is_refused_with_the_expected_system_named() {
    let bytes = float_tiff(4490, 1, &[1.0; 6]);
    let error = geotiff::read("x.tif", Cursor::new(bytes), HeightDatum::Egm96)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("EPSG:4490") && error.contains("EPSG:4326"),
        "{error}"
    );
}

#[test]
fn a_stripped_integer_geotiff_is_read() {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<GrayI16>(4, 8).unwrap();
    image.rows_per_strip(3).unwrap();
    let step = 1.0 / 3600.0;
    image
        .encoder()
        .write_tag(Tag::ModelPixelScaleTag, &[step, step, 0.0][..])
        .unwrap();
    image
        .encoder()
        .write_tag(Tag::ModelTiepointTag, &[0.0, 0.0, 0.0, 113.0, 36.0, 0.0][..])
        .unwrap();
    image
        .encoder()
        .write_tag(Tag::GeoKeyDirectoryTag, &geo_keys(4326, 1)[..])
        .unwrap();
    let heights: Vec<i16> = (0..32).collect();
    image.write_data(&heights).unwrap();
    let tile = geotiff::read("x.tif", Cursor::new(bytes.into_inner()), HeightDatum::Egm96).unwrap();
    assert_eq!((tile.node_m(0, 0), tile.node_m(7, 3)), (Some(0.0), Some(31.0)));
}

#[test]
fn truncated_and_random_bytes_are_errors_and_never_panics() {
    let whole = float_tiff(4326, 1, &[1.0; 6]);
    for length in 0..whole.len() {
        let cut = whole.get(..length).unwrap();
        drop(geotiff::read("x.tif", Cursor::new(cut), HeightDatum::Egm96));
    }
    for index in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            if let Some(byte) = bytes.get_mut(index) {
                *byte = value;
            }
            drop(geotiff::read("x.tif", Cursor::new(bytes), HeightDatum::Egm96));
        }
    }
    assert!(geotiff::read("x.tif", Cursor::new(b"not a tiff"), HeightDatum::Egm96).is_err());
}

#[test]
fn a_missing_tile_names_its_path() {
    let error = Terrain::open(&[PathBuf::from("/nowhere/N35E113.hgt")], HeightDatum::Egm96).unwrap_err();
    assert!(error.to_string().contains("/nowhere/N35E113.hgt"));
    let error = open_tile(Path::new("/nowhere/readme.txt"), HeightDatum::Egm96).unwrap_err();
    assert!(matches!(
        error,
        TerrainError::Read { .. } | TerrainError::Kind { .. }
    ));
}

#[test]
fn the_tiled_integer_sample_of_rome_is_read() {
    let folder = std::env::var("EMBERWATCH_FIXTURES").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let path = folder.join("geo/Rome-30m-DEM.tif");
    if !path.try_exists().unwrap_or(false) {
        eprintln!("skipped: {} is absent", path.display());
        return;
    }
    let rome = Terrain::open(&[path], HeightDatum::Egm96).unwrap();
    let tile = rome.tiles().first().unwrap();
    assert_eq!(tile.size(), (720, 1080));
    // St Peter's Square lies about 20 m above the sea.
    let square = rome
        .height_m(Wgs84 {
            lat: 41.9022,
            lon: 12.4574,
        })
        .unwrap();
    assert!((10.0..60.0).contains(&square), "{square}");
}
