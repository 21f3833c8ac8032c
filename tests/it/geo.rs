//! Figures of positions: how often the stated ellipse holds the truth, how far off points are, how views join.

use std::fmt::Write as _;

use emberwatch::flow::pose::{
    Attitude, Height, HeightDatum, Heights, LaserRange, Pose, PoseFlag, PoseFlags, PoseSigmas, Wgs84,
};
use emberwatch::flow::position::Method;
use emberwatch::geo::ellipsoid::{FlatMap, distance_m};
use emberwatch::geo::spread::{Covariance, inverse_normal};
use emberwatch::geo::terrain::{NodeGrid, Tile};
use emberwatch::geo::{Assumptions, CameraModel, Located, Sigmas, Terrain, locate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::fixtures::fixture;

const HOME: Wgs84 = Wgs84 {
    lat: 35.2,
    lon: 113.25,
};

/// The sigmas of the simulated drone; whatever it does not name is known.
const DRONE: Sigmas = Sigmas {
    horizontal_m: 1.5,
    vertical_m: 3.0,
    yaw_deg: 1.0,
    pitch_deg: 0.3,
    roll_deg: 0.0,
    focal_share: 0.0,
    time_s: 0.0,
    across_px: 0.0,
    down_px: 0.0,
    terrain_m: 0.0,
    laser_m: 0.0,
};

/// A drone about which everything is a little uncertain.
const ORDINARY: Sigmas = Sigmas {
    roll_deg: 0.3,
    focal_share: 0.01,
    across_px: 3.0,
    down_px: 3.0,
    terrain_m: 2.0,
    ..DRONE
};

/// A tower's camera.
const TOWER: Sigmas = Sigmas {
    horizontal_m: 0.2,
    vertical_m: 0.5,
    yaw_deg: 0.2,
    pitch_deg: 0.1,
    roll_deg: 0.1,
    focal_share: 0.002,
    time_s: 0.0,
    across_px: 2.0,
    down_px: 2.0,
    terrain_m: 2.0,
    laser_m: 0.0,
};

/// Chance that is the same in every run.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn share(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(crate) fn within(&mut self, low: f64, high: f64) -> f64 {
        low + self.share() * (high - low)
    }

    pub(crate) fn normal(&mut self) -> f64 {
        inverse_normal(self.share())
    }
}

fn camera(focal_sigma: f64) -> CameraModel {
    CameraModel::from_hfov(1920, 1080, 70.0)
        .unwrap()
        .with_focal_sigma(focal_sigma)
}

fn assumptions(sigmas: Sigmas) -> Assumptions {
    Assumptions {
        sigmas,
        ..Assumptions::default()
    }
}

fn pose(at: Wgs84, height_m: f64, datum: HeightDatum, attitude: Attitude) -> Pose {
    Pose {
        position: Some(at),
        heights: Heights::default().with(Height::new(height_m, datum)),
        attitude: Some(attitude),
        ..Pose::default()
    }
}

/// Rolling hills of 1 arc-second around `HOME`, 12 km across.
fn hills() -> Terrain {
    let nodes = 401;
    let step = 1.0 / 3600.0;
    let half = (nodes / 2) as f64 * step;
    let grid = NodeGrid {
        north: HOME.lat + half,
        west: HOME.lon - half,
        step_lat: step,
        step_lon: step,
        rows: nodes,
        columns: nodes,
    };
    let heights = (0..nodes * nodes)
        .map(|index| {
            let (row, column) = ((index / nodes) as f64, (index % nodes) as f64);
            (150.0 + 25.0 * (row / 9.0).sin() * (column / 7.0).cos() + 8.0 * ((row + column) / 3.7).sin())
                as f32
        })
        .collect();
    let tile = Tile::new("hills", HeightDatum::Egm2008, grid, heights).unwrap();
    Terrain::from_tiles(vec![tile]).unwrap()
}

/// What a Monte-Carlo run found.
#[derive(Default)]
struct Coverage {
    cases: u32,
    inside: u32,
    sampled: u32,
    refused: u32,
}

impl Coverage {
    fn percent(&self) -> f64 {
        100.0 * f64::from(self.inside) / f64::from(self.cases)
    }
}

fn holds(located: &Located, truth: Wgs84) -> Option<bool> {
    let position = located.outcome.as_ref().ok()?;
    let (east, north) = FlatMap::around(position.point).offset(truth);
    let scale = 4.605_170_186;
    Some(Covariance::of_ellipse(&position.ellipse).mahalanobis_squared(east, north) <= scale)
}

/// Runs cases in which the truth is known: a true camera sees a true point, the telemetry errs by the stated sigmas.
fn coverage(
    terrain: &Terrain,
    sigmas: Sigmas,
    cases: u32,
    seed: u64,
    mut view: impl FnMut(&mut Chance) -> (Wgs84, f64, Attitude),
) -> Coverage {
    let mut chance = Chance::new(seed);
    let mut found = Coverage::default();
    let known = assumptions(Sigmas {
        horizontal_m: 0.0,
        vertical_m: 0.0,
        yaw_deg: 0.0,
        pitch_deg: 0.0,
        roll_deg: 0.0,
        focal_share: 0.0,
        time_s: 0.0,
        across_px: 0.0,
        down_px: 0.0,
        terrain_m: 0.0,
        laser_m: 0.0,
    });
    let stated = assumptions(sigmas);
    while found.cases < cases {
        let (at, height_m, attitude) = view(&mut chance);
        let pixel = (chance.within(600.0, 1320.0), chance.within(400.0, 680.0));
        let true_pose = pose(at, height_m, terrain.datum(), attitude);
        let truth = locate(pixel, &true_pose, &camera(0.0), terrain, &known);
        let Ok(truth) = truth.outcome else { continue };
        let map = FlatMap::around(at);
        let said_at = map.point(
            sigmas.horizontal_m * chance.normal(),
            sigmas.horizontal_m * chance.normal(),
        );
        let said_height = height_m + sigmas.vertical_m.hypot(sigmas.terrain_m) * chance.normal();
        let said_attitude = Attitude::new(
            attitude.yaw_deg + sigmas.yaw_deg * chance.normal(),
            attitude.pitch_deg + sigmas.pitch_deg * chance.normal(),
            attitude.roll_deg + sigmas.roll_deg * chance.normal(),
        );
        let said_pixel = (
            pixel.0 + sigmas.across_px * chance.normal(),
            pixel.1 + sigmas.down_px * chance.normal(),
        );
        let said_camera = camera(sigmas.focal_share)
            .zoomed(1.0 + sigmas.focal_share * chance.normal())
            .unwrap();
        let said_pose = pose(said_at, said_height, terrain.datum(), said_attitude);
        let located = locate(said_pixel, &said_pose, &said_camera, terrain, &stated);
        match holds(&located, truth.point) {
            Some(is_inside) => {
                found.cases += 1;
                found.inside += u32::from(is_inside);
                found.sampled += u32::from(located.details.is_some_and(|details| details.is_sampled));
            }
            None => found.refused += 1,
        }
    }
    found
}

#[test]
fn the_stated_ellipse_holds_the_truth_in_nine_cases_of_ten() {
    let plane = Terrain::plane(Height::new(100.0, HeightDatum::Egm2008));
    let hills = hills();
    let drone = |chance: &mut Chance, ground_m: f64| {
        let attitude = Attitude::new(
            chance.within(0.0, 360.0),
            chance.within(-80.0, -15.0),
            chance.within(-3.0, 3.0),
        );
        (HOME, ground_m + chance.within(60.0, 150.0), attitude)
    };
    let low = |chance: &mut Chance, ground_m: f64, least: f64, most: f64| {
        let attitude = Attitude::new(chance.within(0.0, 360.0), -chance.within(least, most), 0.0);
        (HOME, ground_m + 60.0, attitude)
    };
    let rows = [
        (
            "drone over a plane",
            coverage(&plane, DRONE, 10_000, 1, |chance| drone(chance, 100.0)),
        ),
        (
            "drone, everything uncertain",
            coverage(&plane, ORDINARY, 10_000, 2, |chance| drone(chance, 100.0)),
        ),
        (
            "drone over hills",
            coverage(&hills, ORDINARY, 10_000, 3, |chance| drone(chance, 190.0)),
        ),
        (
            "tower over a plane, 4 to 15 degrees down",
            coverage(&plane, TOWER, 10_000, 4, |chance| low(chance, 100.0, 4.0, 15.0)),
        ),
        (
            "tower over a plane, grazing",
            coverage(&plane, TOWER, 10_000, 5, |chance| low(chance, 100.0, 0.5, 3.0)),
        ),
        (
            "drone over hills, grazing",
            coverage(&hills, ORDINARY, 10_000, 6, |chance| low(chance, 170.0, 1.0, 6.0)),
        ),
    ];
    let mut table = String::from(
        "\n| view | cases | inside the 90 % ellipse | sampled | refused |\n|---|---|---|---|---|\n",
    );
    for (name, found) in &rows {
        writeln!(
            table,
            "| {name} | {} | {:.1} % | {} | {} |",
            found.cases,
            found.percent(),
            found.sampled,
            found.refused
        )
        .unwrap();
    }
    println!("{table}");
    for (name, found) in &rows {
        assert!(
            (87.0..=93.0).contains(&found.percent()),
            "{name}: {:.1} %",
            found.percent()
        );
    }
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

#[test]
fn a_drone_at_a_hundred_metres_places_fires_as_well_as_its_sensors_allow() {
    let plane = Terrain::plane(Height::new(100.0, HeightDatum::Egm2008));
    let mut chance = Chance::new(11);
    println!("\n| distance | median | CE90 | stated CE90 | goal |\n|---|---|---|---|---|");
    for (distance_m, goal_m) in [(100.0, 8.0), (200.0, 12.0), (500.0, 35.0)] {
        let down_deg = f64::atan2(100.0, distance_m).to_degrees();
        let truth = FlatMap::around(HOME).point(0.0, distance_m);
        let mut stated = Vec::new();
        let mut errors: Vec<f64> = (0..4_000)
            .map(|_| {
                let at = FlatMap::around(HOME).point(1.5 * chance.normal(), 1.5 * chance.normal());
                let attitude = Attitude::new(chance.normal(), -down_deg + 0.3 * chance.normal(), 0.0);
                let said = pose(at, 200.0 + 3.0 * chance.normal(), HeightDatum::Egm2008, attitude);
                let located = locate((960.0, 540.0), &said, &camera(0.0), &plane, &assumptions(DRONE));
                let position = located.outcome.unwrap();
                stated.push(position.ce90_m);
                distance_m_between(position.point, truth)
            })
            .collect();
        let (median, ce90) = (percentile(&mut errors, 0.5), percentile(&mut errors, 0.9));
        let said = percentile(&mut stated, 0.5);
        println!("| {distance_m} m | {median:.1} m | {ce90:.1} m | {said:.1} m | {goal_m} m |");
        assert!(ce90 <= goal_m, "{ce90} m at {distance_m} m");
        assert!((said / ce90 - 1.0).abs() < 0.1, "stated {said} m, found {ce90} m");
    }
}

fn distance_m_between(one: Wgs84, other: Wgs84) -> f64 {
    distance_m(one, other)
}

/// The real photo metadata of an M30T with a laser range: see SOURCES.md.
fn photo(text: &str) -> (Pose, Wgs84, f64) {
    let number = |name: &str| -> f64 {
        let start = text.find(&format!("drone-dji:{name}=\"")).unwrap() + name.len() + 12;
        let rest = &text[start..];
        rest[..rest.find('"').unwrap()].parse().unwrap()
    };
    let at = Wgs84 {
        lat: number("GpsLatitude"),
        lon: number("GpsLongitude"),
    };
    let mut pose = pose(
        at,
        number("AbsoluteAltitude"),
        HeightDatum::Ellipsoid,
        Attitude::new(
            number("GimbalYawDegree"),
            number("GimbalPitchDegree"),
            number("GimbalRollDegree"),
        ),
    );
    pose.heights.takeoff_m = Some(number("RelativeAltitude"));
    pose.takeoff = Some(at);
    pose.flags = PoseFlags::NONE.with(PoseFlag::Rtk);
    pose.laser = Some(LaserRange {
        range_m: Some(number("LRFTargetDistance")),
        ..LaserRange::default()
    });
    let target = Wgs84 {
        lat: number("LRFTargetLat"),
        lon: number("LRFTargetLon"),
    };
    (pose, target, number("LRFTargetAbsAlt"))
}

#[test]
fn a_laser_ranged_photo_lands_within_thirty_centimetres_and_terrain_within_five_metres() {
    let Some(path) = fixture("geo/M30T_xmp_with_LRF.xml") else {
        return;
    };
    let (mut pose, target, target_height_m) = photo(&std::fs::read_to_string(path).unwrap());
    let camera = CameraModel::from_focal_35mm(4000, 3000, 24.0, emberwatch::geo::SensorCrop::Whole).unwrap();
    let flat = Terrain::flat_at_takeoff();

    let by_laser = locate(camera.centre(), &pose, &camera, &flat, &Assumptions::default())
        .outcome
        .unwrap();
    let laser_error_m = distance_m(by_laser.point, target);
    assert_eq!(by_laser.method, Method::Laser);

    pose.laser = None;
    // Ground that falls 1 in 10 to the north and passes through the target's measured height.
    let step = 1.0 / 3600.0;
    let grid = NodeGrid {
        north: target.lat + 50.0 * step,
        west: target.lon - 50.0 * step,
        step_lat: step,
        step_lon: step,
        rows: 101,
        columns: 101,
    };
    let heights = (0..101 * 101)
        .map(|index| (target_height_m + (f64::from(index / 101) - 50.0) * 3.1) as f32)
        .collect();
    let tile = Tile::new("plzen", HeightDatum::Ellipsoid, grid, heights).unwrap();
    let terrain = Terrain::from_tiles(vec![tile]).unwrap();
    let on_terrain = locate(camera.centre(), &pose, &camera, &terrain, &Assumptions::default())
        .outcome
        .unwrap();
    let terrain_error_m = distance_m(on_terrain.point, target);
    assert_eq!(on_terrain.method, Method::RayTerrain);

    let on_flat = locate(camera.centre(), &pose, &camera, &flat, &Assumptions::default())
        .outcome
        .unwrap();
    let flat_error_m = distance_m(on_flat.point, target);
    println!(
        "\n| M30T photo | error |\n|---|---|\n| laser range | {laser_error_m:.2} m |\n| terrain | {terrain_error_m:.2} m |\n| flat at take-off | {flat_error_m:.1} m |"
    );
    assert!(laser_error_m <= 0.3, "{laser_error_m}");
    assert!(terrain_error_m <= 5.0, "{terrain_error_m}");
    assert!(
        (20.0..40.0).contains(&flat_error_m),
        "the error that terrain avoids: {flat_error_m}"
    );
}

#[test]
fn heights_above_the_wrong_datum_would_shift_a_fire_by_a_hundred_metres() {
    // Reference: N = -19.6 m in Jiaozuo; at 100 m above ground a target 500 m away moves by 98 m.
    let plane = Terrain::plane(Height::new(100.0, HeightDatum::Egm96));
    let attitude = Attitude::new(0.0, -f64::atan2(100.0, 500.0).to_degrees(), 0.0);
    let range = |datum| {
        let said = pose(HOME, 200.0, datum, attitude);
        let located = locate(
            (960.0, 540.0),
            &said,
            &camera(0.0),
            &plane,
            &Assumptions::default(),
        );
        distance_m(located.outcome.unwrap().point, HOME)
    };
    let (right, wrong) = (range(HeightDatum::Egm96), range(HeightDatum::Ellipsoid));
    assert!((right - 500.0).abs() < 0.5);
    assert!((wrong - right - 98.0).abs() < 1.5, "{wrong} - {right}");
}

#[test]
fn told_sigmas_replace_assumed_ones_in_the_answer() {
    let plane = Terrain::plane(Height::new(100.0, HeightDatum::Egm2008));
    let mut said = pose(HOME, 200.0, HeightDatum::Egm2008, Attitude::new(0.0, -45.0, 0.0));
    said.sigmas = PoseSigmas {
        yaw_deg: Some(0.05),
        ..PoseSigmas::default()
    };
    let located = locate(
        (960.0, 540.0),
        &said,
        &camera(0.0),
        &plane,
        &Assumptions::default(),
    );
    assert!((located.sigmas.yaw_deg - 0.05).abs() < 1e-12);
    assert!((located.sigmas.pitch_deg - Sigmas::default().pitch_deg).abs() < 1e-12);
}
