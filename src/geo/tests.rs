//! From pixel to ground as a whole: what is refused, and why.

use proptest::prelude::*;

use super::ellipsoid::{FlatMap, distance_m};
use super::*;
use crate::flow::pose::{
    Attitude, Height, HeightDatum, Heights, LaserRange, Motion, Pose, PoseFlag, PoseFlags, PoseSigmas, Wgs84,
};
use crate::flow::position::{Method, Place};

const HOME: Wgs84 = Wgs84 {
    lat: 35.2,
    lon: 113.25,
};
const CENTRE: (f64, f64) = (960.0, 540.0);

fn camera() -> CameraModel {
    CameraModel::from_hfov(1920, 1080, 60.0).unwrap()
}

fn plane() -> Terrain {
    Terrain::plane(Height::new(90.0, HeightDatum::Egm96))
}

fn pose(yaw_deg: f64, pitch_deg: f64) -> Pose {
    Pose {
        position: Some(HOME),
        heights: Heights::default().with(Height::new(190.0, HeightDatum::Egm96)),
        attitude: Some(Attitude::new(yaw_deg, pitch_deg, 0.0)),
        age_s: Some(0.0),
        ..Pose::default()
    }
}

fn at(pixel: (f64, f64), pose: &Pose) -> Located {
    locate(pixel, pose, &camera(), &plane(), &Assumptions::default())
}

fn refusal(pose: &Pose) -> LocateRefusal {
    at(CENTRE, pose).outcome.unwrap_err()
}

#[test]
fn nadir_is_the_cameras_own_place() {
    let located = at(CENTRE, &pose(123.0, -90.0));
    assert!(distance_m(located.outcome.unwrap().point, HOME) < 1e-3);
}

#[test]
fn forty_five_degrees_down_is_as_far_as_it_is_high_in_the_direction_of_yaw() {
    for yaw_deg in [0.0, 90.0, 225.0, 359.5, -0.5, 719.5] {
        let located = at(CENTRE, &pose(yaw_deg, -45.0));
        let point = located.outcome.unwrap().point;
        let (sin, cos) = f64::to_radians(yaw_deg).sin_cos();
        assert!(distance_m(point, FlatMap::around(HOME).point(100.0 * sin, 100.0 * cos)) < 0.05);
    }
}

#[test]
fn pixels_left_and_right_of_the_axis_are_mirror_images() {
    let left = at((460.0, 540.0), &pose(0.0, -45.0)).outcome.unwrap().point;
    let right = at((1460.0, 540.0), &pose(0.0, -45.0)).outcome.unwrap().point;
    assert!((left.lat - right.lat).abs() < 1e-9);
    assert!((left.lon + right.lon - 2.0 * HOME.lon).abs() < 1e-9);
}

#[test]
fn a_roll_of_ninety_degrees_turns_right_into_down() {
    let mut rolled = pose(0.0, -45.0);
    rolled.attitude = Some(Attitude::new(0.0, -45.0, 90.0));
    let right = at((1460.0, 540.0), &rolled).outcome.unwrap().point;
    let lower = at((960.0, 1040.0), &pose(0.0, -45.0)).outcome.unwrap().point;
    assert!(distance_m(right, lower) < 0.01);
}

#[test]
fn a_view_above_the_horizon_leaves_a_bearing() {
    let located = at(CENTRE, &pose(77.0, 2.0));
    assert_eq!(located.outcome, Err(LocateRefusal::AboveHorizon));
    let Place::Direction { bearing, refused } = located.place(false) else {
        panic!("a direction is expected");
    };
    assert!((bearing.azimuth_deg - 77.0).abs() < 1e-9 && refused.contains("horizon"));
    assert!(
        (bearing.sigma_deg - 2.0).abs() < 0.5,
        "about the yaw's sigma: {}",
        bearing.sigma_deg
    );
}

#[test]
fn a_view_that_grazes_the_horizon_is_refused_rather_than_guessed() {
    let refusal = refusal(&pose(0.0, -0.6));
    assert!(
        matches!(refusal, LocateRefusal::NearHorizon { share_percent } if share_percent > 10.0),
        "{refusal}"
    );
}

#[test]
fn a_stale_pose_gives_neither_point_nor_bearing() {
    let mut stale = pose(0.0, -45.0);
    stale.age_s = Some(3.0);
    assert!(matches!(refusal(&stale), LocateRefusal::Stale { .. }));
    assert!(matches!(at(CENTRE, &stale).place(false), Place::Unknown { .. }));
    let mut flagged = pose(0.0, -45.0);
    flagged.flags.insert(PoseFlag::Stale);
    assert!(matches!(refusal(&flagged), LocateRefusal::Stale { .. }));
}

#[test]
fn a_slewing_camera_is_refused_when_rate_times_time_error_is_too_much() {
    let mut turning = pose(0.0, -30.0);
    turning.motion.yaw_deg_s = Some(20.0);
    assert!(
        matches!(refusal(&turning), LocateRefusal::Slewing { error_deg, .. } if (error_deg - 1.73).abs() < 0.01)
    );
    turning.sigmas.time_s = Some(0.02);
    assert!(
        at(CENTRE, &turning).outcome.is_ok(),
        "the same rate is harmless when the time is known to 20 ms"
    );
    turning.sigmas.time_s = None;
    turning.motion.yaw_deg_s = Some(5.0);
    let slow = at(CENTRE, &turning).outcome.unwrap();
    let still = at(CENTRE, &pose(0.0, -30.0)).outcome.unwrap();
    assert!(slow.ce90_m > still.ce90_m, "the turn widens the ellipse");
}

#[test]
fn missing_parts_are_named() {
    let mut blind = pose(0.0, -45.0);
    blind.attitude = None;
    assert_eq!(refusal(&blind), LocateRefusal::NoAttitude);
    let mut lost = pose(0.0, -45.0);
    lost.flags.insert(PoseFlag::NoFix);
    assert_eq!(refusal(&lost), LocateRefusal::NoPosition);
    let mut low = pose(0.0, -45.0);
    low.heights = Heights::default();
    assert_eq!(refusal(&low), LocateRefusal::NoHeight);
    assert!(at(CENTRE, &low).bearing.is_some());
    let mut buried = pose(0.0, -45.0);
    buried.heights.egm96_m = Some(50.0);
    assert!(matches!(refusal(&buried), LocateRefusal::BelowGround { by_m } if (by_m - 40.0).abs() < 1e-6));
    assert!(matches!(
        at((5000.0, 0.0), &pose(0.0, -45.0)).outcome,
        Err(LocateRefusal::Pixel { .. })
    ));
}

#[test]
fn a_laser_is_believed_in_the_middle_only() {
    let mut ranged = pose(0.0, -45.0);
    ranged.laser = Some(LaserRange {
        range_m: Some(120.0),
        ..LaserRange::default()
    });
    let middle = at(CENTRE, &ranged).outcome.unwrap();
    assert_eq!(middle.method, Method::Laser);
    assert!((distance_m(middle.point, HOME) - 120.0 * std::f64::consts::FRAC_1_SQRT_2).abs() < 0.05);
    assert!(
        (middle.height.metres - (190.0 - 84.85)).abs() < 0.1 && middle.height.datum == HeightDatum::Egm96
    );
    assert_eq!(
        at((1200.0, 540.0), &ranged).outcome.unwrap().method,
        Method::RayPlane
    );
    ranged.laser = Some(LaserRange {
        range_m: Some(f64::NAN),
        ..LaserRange::default()
    });
    assert_eq!(at(CENTRE, &ranged).outcome.unwrap().method, Method::RayPlane);
}

#[test]
fn heights_that_disagree_are_flagged_in_the_answer() {
    let mut doubtful = pose(0.0, -45.0);
    doubtful.takeoff = Some(HOME);
    doubtful.heights.takeoff_m = Some(60.0);
    let located = at(CENTRE, &doubtful);
    assert!(located.flags.contains(PoseFlag::HeightsDisagree));
    let other = located.details.unwrap().camera_height.unwrap().other.unwrap();
    assert!((other.0.metres - 150.0).abs() < 1e-9);
}

#[test]
fn an_assumed_attitude_makes_a_large_ellipse() {
    let mut assumed = pose(0.0, -60.0);
    let sure = at(CENTRE, &assumed).outcome.unwrap();
    assumed.flags = PoseFlags::NONE.with(PoseFlag::AssumedAttitude);
    let unsure = at(CENTRE, &assumed).outcome.unwrap();
    assert!(unsure.ce90_m > 2.0 * sure.ce90_m);
}

#[test]
fn the_same_view_gives_the_same_answer_every_time() {
    assert_eq!(
        at((700.0, 600.0), &pose(10.0, -4.0)),
        at((700.0, 600.0), &pose(10.0, -4.0))
    );
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -400.0..400.0f64,
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 0.0, 90.0, -90.0, 180.0]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_pose_however_wild_gives_a_wrong_number_or_a_panic(
        (lat, lon, height, yaw, pitch, roll) in (number(), number(), number(), number(), number(), number()),
        (u, v, sigma, rate, age, range) in (number(), number(), number(), number(), number(), number()),
    ) {
        let wild = Pose {
            position: Some(Wgs84 { lat, lon }),
            heights: Heights::default().with(Height::new(height, HeightDatum::Egm96)),
            attitude: Some(Attitude::new(yaw, pitch, roll)),
            motion: Motion { yaw_deg_s: Some(rate), north_mps: Some(rate), ..Motion::default() },
            sigmas: PoseSigmas { yaw_deg: Some(sigma), vertical_m: Some(sigma), ..PoseSigmas::default() },
            laser: Some(LaserRange { range_m: Some(range), ..LaserRange::default() }),
            age_s: Some(age),
            ..Pose::default()
        };
        let located = at((u + 400.0, v + 400.0), &wild);
        if let Ok(position) = located.outcome {
            prop_assert!(Wgs84::checked(position.point.lat, position.point.lon).is_some(), "{position:?}");
            prop_assert!(position.ce90_m.is_finite() && position.ce90_m >= 0.0, "{position:?}");
            prop_assert!(position.height.metres.is_finite());
            prop_assert!(position.ellipse.semi_major_m >= position.ellipse.semi_minor_m * 0.999_999);
        }
    }
}
