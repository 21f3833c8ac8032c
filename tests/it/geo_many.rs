//! Figures of positions out of many frames and many cameras: an orbiting drone against the Cramér–Rao bound, towers that
//! cross their bearings.

use emberwatch::flow::pose::{Attitude, Height, HeightDatum, Heights, Pose, Wgs84};
use emberwatch::flow::position::Bearing;
use emberwatch::geo::ellipsoid::{FlatMap, destination, distance_azimuth, distance_m};
use emberwatch::geo::fuse::{StayingShares, TrackFusion};
use emberwatch::geo::spread::Covariance;
use emberwatch::geo::views::{Sight, join};
use emberwatch::geo::{Assumptions, CameraModel, Sigmas, Terrain, locate};
use nalgebra::{DMatrix, Matrix2, Vector2};

use crate::geo::Chance;

const FIRE: Wgs84 = Wgs84 {
    lat: 35.2,
    lon: 113.25,
};
const HEIGHT_M: f64 = 100.0;
const RADIUS_M: f64 = 200.0;
const FRAMES: usize = 60;

const SIGMAS: Sigmas = Sigmas {
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

/// How the errors of one second follow from those that stay and those that are new: east, north, height, yaw, pitch.
struct Errors {
    staying: [f64; 5],
}

impl Errors {
    const SCALE: [f64; 5] = [1.5, 1.5, 3.0, 1.0, 0.3];

    fn shares() -> [f64; 5] {
        let [east, north, height, yaw, pitch, ..] = StayingShares::default().0;
        [east, north, height, yaw, pitch]
    }

    fn drawn(chance: &mut Chance) -> Self {
        let shares = Self::shares();
        Self {
            staying: std::array::from_fn(|part| Self::SCALE[part] * shares[part].sqrt() * chance.normal()),
        }
    }

    fn now(&self, chance: &mut Chance) -> [f64; 5] {
        let shares = Self::shares();
        std::array::from_fn(|part| {
            self.staying[part] + Self::SCALE[part] * (1.0 - shares[part]).sqrt() * chance.normal()
        })
    }
}

/// Flies around the fire by `turn_deg` within a minute and returns the fused error and whether the ellipse held.
fn flight(chance: &mut Chance, turn_deg: f64, frames: usize) -> (f64, bool) {
    let plane = Terrain::plane(Height::new(0.0, HeightDatum::Egm2008));
    let camera = CameraModel::from_hfov(1920, 1080, 60.0)
        .unwrap()
        .with_focal_sigma(0.0);
    let assumptions = Assumptions {
        sigmas: SIGMAS,
        refraction: 1.0,
        ..Assumptions::default()
    };
    let errors = Errors::drawn(chance);
    let start_deg = chance.within(0.0, 360.0);
    let mut fusion = TrackFusion::new(StayingShares::default(), 0.9);
    for frame in 0..frames {
        let at = destination(
            FIRE,
            start_deg + turn_deg * frame as f64 / FRAMES as f64,
            RADIUS_M,
        );
        let (_, yaw_deg) = distance_azimuth(at, FIRE);
        let [east, north, height, yaw, pitch] = errors.now(chance);
        let said = Pose {
            position: Some(FlatMap::around(at).point(east, north)),
            heights: Heights::default().with(Height::new(HEIGHT_M + height, HeightDatum::Egm2008)),
            attitude: Some(Attitude::new(
                yaw_deg + yaw,
                -f64::atan2(HEIGHT_M, RADIUS_M).to_degrees() + pitch,
                0.0,
            )),
            ..Pose::default()
        };
        fusion.add(&locate(camera.centre(), &said, &camera, &plane, &assumptions));
    }
    let position = fusion.position(&plane).unwrap();
    let (east, north) = FlatMap::around(position.point).offset(FIRE);
    let squared = Covariance::of_ellipse(&position.ellipse).mahalanobis_squared(east, north);
    (distance_m(position.point, FIRE), squared <= 4.605_170_186)
}

/// The Cramér–Rao bound of the root mean square error, by algebra on flat ground that knows nothing of the library.
fn bound_m(turn_deg: f64, frames: usize) -> f64 {
    let shares = Errors::shares();
    let mut information = DMatrix::<f64>::zeros(7, 7);
    for part in 2..7 {
        information[(part, part)] = 1.0;
    }
    for frame in 0..frames {
        let from_fire = (turn_deg * frame as f64 / FRAMES as f64).to_radians();
        let ahead = Vector2::new(-from_fire.sin(), -from_fire.cos());
        let aside = Vector2::new(ahead.y, -ahead.x);
        let slant_squared = RADIUS_M * RADIUS_M + HEIGHT_M * HEIGHT_M;
        let columns = [
            Vector2::new(Errors::SCALE[0], 0.0),
            Vector2::new(0.0, Errors::SCALE[1]),
            ahead * (RADIUS_M / HEIGHT_M * Errors::SCALE[2]),
            aside * (RADIUS_M * Errors::SCALE[3].to_radians()),
            ahead * (slant_squared / HEIGHT_M * Errors::SCALE[4].to_radians()),
        ];
        let mut fresh = Matrix2::zeros();
        let mut design = DMatrix::<f64>::zeros(2, 7);
        design[(0, 0)] = 1.0;
        design[(1, 1)] = 1.0;
        for (part, column) in columns.iter().enumerate() {
            fresh += column * column.transpose() * (1.0 - shares[part]);
            design[(0, 2 + part)] = column.x * shares[part].sqrt();
            design[(1, 2 + part)] = column.y * shares[part].sqrt();
        }
        let inverse = fresh.try_inverse().unwrap();
        information += design.transpose() * inverse * &design;
    }
    let covariance = information.try_inverse().unwrap();
    (covariance[(0, 0)] + covariance[(1, 1)]).sqrt()
}

#[test]
fn an_orbiting_drone_narrows_its_error_as_the_cramer_rao_bound_says() {
    const RUNS: usize = 300;
    let mut chance = Chance::new(21);
    println!("\n| flight | frames | error (rms) | bound | ellipse held |\n|---|---|---|---|---|");
    let mut found = Vec::new();
    for (name, turn_deg, frames) in [
        ("one frame", 0.0, 1),
        ("hovering 60 s", 0.0, FRAMES),
        ("a quarter orbit in 60 s", 90.0, FRAMES),
        ("one orbit in 60 s", 360.0, FRAMES),
    ] {
        let runs: Vec<(f64, bool)> = (0..RUNS).map(|_| flight(&mut chance, turn_deg, frames)).collect();
        let rms = (runs.iter().map(|(error, _)| error * error).sum::<f64>() / RUNS as f64).sqrt();
        let held = runs.iter().filter(|(_, held)| *held).count() as f64 / RUNS as f64;
        let bound = bound_m(turn_deg, frames);
        println!(
            "| {name} | {frames} | {rms:.2} m | {bound:.2} m | {:.0} % |",
            held * 100.0
        );
        assert!(
            (0.8..1.2).contains(&(rms / bound)),
            "{name}: {rms} m against {bound} m"
        );
        assert!((0.83..0.97).contains(&held), "{name}: {held}");
        found.push(rms);
    }
    assert!(
        found[3] < 0.5 * found[0],
        "an orbit must teach more than one frame: {found:?}"
    );
}

#[test]
fn one_wild_frame_does_not_pull_the_fused_point() {
    let plane = Terrain::plane(Height::new(0.0, HeightDatum::Egm2008));
    let camera = CameraModel::from_hfov(1920, 1080, 60.0).unwrap();
    let mut fusion = TrackFusion::new(StayingShares::default(), 0.9);
    for frame in 0..20 {
        let at = destination(FIRE, 180.0, RADIUS_M);
        let wild = if frame == 7 { 40.0 } else { 0.0 };
        let said = Pose {
            position: Some(at),
            heights: Heights::default().with(Height::new(HEIGHT_M, HeightDatum::Egm2008)),
            attitude: Some(Attitude::new(
                wild,
                -f64::atan2(HEIGHT_M, RADIUS_M).to_degrees(),
                0.0,
            )),
            ..Pose::default()
        };
        fusion.add(&locate(
            camera.centre(),
            &said,
            &camera,
            &plane,
            &Assumptions::default(),
        ));
    }
    let error_m = distance_m(fusion.position(&plane).unwrap().point, FIRE);
    assert!(error_m < 1.0, "{error_m} m, a plain mean would be off by 7 m");
}

#[test]
fn towers_that_cross_their_bearings_are_as_good_as_their_angles() {
    println!("\n| towers | crossing | sigma | CE90 | stated | reference |\n|---|---|---|---|---|---|");
    let mut chance = Chance::new(31);
    for (range_m, crossing_deg, sigma_deg, reference_m) in [
        (3_000.0, 90.0, 0.2, 23.0),
        (3_000.0, 30.0, 0.2, 48.0),
        (2_000.0, 75.0, 0.2, 16.0),
        (5_000.0, 60.0, 0.2, 44.0),
        (3_000.0, 90.0, 0.5, 56.0),
    ] {
        let stands = [
            destination(FIRE, 0.0, range_m),
            destination(FIRE, crossing_deg, range_m),
        ];
        let mut stated = 0.0;
        let mut errors: Vec<f64> = (0..3_000)
            .map(|_| {
                let sights = stands.map(|from| Sight {
                    position: None,
                    bearing: Some(Bearing {
                        from,
                        azimuth_deg: distance_azimuth(from, FIRE).1 + sigma_deg * chance.normal(),
                        elevation_deg: -1.0,
                        sigma_deg,
                    }),
                });
                let joined = join(&sights, 0.9).unwrap();
                stated += joined.position.ce90_m / 3_000.0;
                distance_m(joined.position.point, FIRE)
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        let ce90 = errors[2_700];
        println!(
            "| {range_m} m | {crossing_deg}° | {sigma_deg}° | {ce90:.1} m | {stated:.1} m | {reference_m} m |"
        );
        assert!(
            (ce90 / reference_m - 1.0).abs() < 0.1,
            "{ce90} m against {reference_m} m"
        );
        assert!(
            (stated / ce90 - 1.0).abs() < 0.08,
            "stated {stated} m, found {ce90} m"
        );
        if (crossing_deg, sigma_deg) == (90.0, 0.2) {
            assert!(ce90 <= 23.0, "{ce90}");
        }
    }
}
