//! The simulator: right in geometry, the same for the same seed, and readable by what reads real recordings.

use emberwatch::flow::detection::Class;
use emberwatch::simulator::{
    CameraPose, FirePlace, GroundPoint, Scene, SceneKind, SceneOptions, TelemetryErrors, Truth, Weather,
};
use proptest::prelude::*;

fn small(kind: SceneKind) -> SceneOptions {
    SceneOptions {
        width: 640,
        height: 360,
        seconds: 30.0,
        ..SceneOptions::new(kind)
    }
}

/// Projects a place through a pose by the textbook, sharing no code with the simulator: geodetic to Earth-centred,
/// to north, east, down at the camera, then by yaw, pitch and roll into the picture.
fn project(place: GroundPoint, pose: &CameraPose, width: f64, height: f64) -> (f64, f64) {
    let ecef = |lat: f64, lon: f64, h: f64| {
        let (a, b) = (6_378_137.0_f64, 6_356_752.314_245_179_f64);
        let (lat, lon) = (lat.to_radians(), lon.to_radians());
        let n = a * a / ((a * lat.cos()).powi(2) + (b * lat.sin()).powi(2)).sqrt();
        [
            (n + h) * lat.cos() * lon.cos(),
            (n + h) * lat.cos() * lon.sin(),
            (b * b / (a * a) * n + h) * lat.sin(),
        ]
    };
    let target = ecef(place.lat, place.lon, place.height_m);
    let camera = ecef(pose.lat, pose.lon, pose.height_m);
    let [dx, dy, dz] = std::array::from_fn(|axis| target[axis] - camera[axis]);
    let (sin_lat, cos_lat) = pose.lat.to_radians().sin_cos();
    let (sin_lon, cos_lon) = pose.lon.to_radians().sin_cos();
    let north = -sin_lat * cos_lon * dx - sin_lat * sin_lon * dy + cos_lat * dz;
    let east = -sin_lon * dx + cos_lon * dy;
    let down = -(cos_lat * cos_lon * dx + cos_lat * sin_lon * dy + sin_lat * dz);
    let (sin_yaw, cos_yaw) = pose.yaw_deg.to_radians().sin_cos();
    let (ahead, right) = (north * cos_yaw + east * sin_yaw, east * cos_yaw - north * sin_yaw);
    let (sin_pitch, cos_pitch) = pose.pitch_deg.to_radians().sin_cos();
    let (forward, below) = (
        ahead * cos_pitch - down * sin_pitch,
        ahead * sin_pitch + down * cos_pitch,
    );
    let (sin_roll, cos_roll) = pose.roll_deg.to_radians().sin_cos();
    let (x, y) = (
        right * cos_roll + below * sin_roll,
        below * cos_roll - right * sin_roll,
    );
    let focal = width / 2.0 / (pose.hfov_deg / 2.0).to_radians().tan();
    (
        width / 2.0 + focal * x / forward,
        height / 2.0 + focal * y / forward,
    )
}

fn boxed(truth: &Truth, class: Class) -> Option<emberwatch::flow::detection::BBox> {
    truth
        .boxes
        .iter()
        .find(|found| found.class == class)
        .map(|found| found.bbox)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_true_place_projected_through_the_true_pose_is_the_foot_of_the_flames(
        seed in 0_u64..10_000,
        kind in prop::sample::select(vec![SceneKind::Drone, SceneKind::Orbit, SceneKind::Tower, SceneKind::TowerEast]),
        lat in -60.0..60.0f64,
        lon in -179.0..179.0f64,
        frame in 80_u64..200,
    ) {
        let scene = Scene::new(SceneOptions {
            seed,
            fire: FirePlace::At(emberwatch::flow::pose::Wgs84 { lat, lon }),
            fire_start_s: 0.0,
            fire_size: 4.0,
            weather: Weather::Dusk,
            ..small(kind)
        }).unwrap();
        let (_, truth) = scene.frame(frame);
        let fire = truth.fire.unwrap();
        let (u, v) = project(fire, &truth.pose, 640.0, 360.0);
        let stated = truth.foot_px;
        if let Some([stated_u, stated_v]) = stated {
            prop_assert!((stated_u - u).abs() < 1e-3 && (stated_v - v).abs() < 1e-3);
        }
        let flame = truth.boxes.iter().find(|found| found.class == Class::Flame);
        // Where a tree or a house stands before the flames, or the picture ends, the foot is not to be seen.
        if let Some(flame) = flame.filter(|flame| flame.visible_fraction > 0.999) {
            prop_assert!((f64::from(flame.bbox.y1) - v).abs() <= 1.0, "foot at {v}, flames end at {}", flame.bbox.y1);
            prop_assert!(f64::from(flame.bbox.x0) - 1.0 < u && u < f64::from(flame.bbox.x1) + 1.0);
        }
    }
}

#[test]
fn flames_in_the_open_end_where_the_true_place_is() {
    let mut seen = 0;
    for seed in 1..=6 {
        let scene = Scene::new(SceneOptions {
            seed,
            fire_start_s: 0.0,
            fire_size: 4.0,
            ..small(SceneKind::Orbit)
        })
        .unwrap();
        let (_, truth) = scene.frame(150);
        let flame = truth.boxes.iter().find(|found| found.class == Class::Flame);
        if let Some(flame) = flame.filter(|flame| flame.visible_fraction > 0.999) {
            let (u, v) = project(truth.fire.unwrap(), &truth.pose, 640.0, 360.0);
            let off = (f64::from(flame.bbox.y1) - v).abs();
            assert!(
                off <= 1.0,
                "seed {seed}: foot at {v}, flames end at {}",
                flame.bbox.y1
            );
            assert!((f64::from(flame.bbox.centre().0) - u).abs() < f64::from(flame.bbox.width()) / 2.0);
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} of 6 fires were in the open");
}

#[test]
fn the_same_options_give_the_same_pixels_and_the_same_truth() {
    let options = SceneOptions {
        seed: 9,
        ..small(SceneKind::Drone)
    };
    let (one, two) = (
        Scene::new(options.clone()).unwrap(),
        Scene::new(options.clone()).unwrap(),
    );
    // Out of order on purpose: a frame must not depend on those rendered before it.
    let _frame = one.frame(40);
    for frame in [200, 3, 100] {
        let ((picture, truth), (other_picture, other_truth)) = (one.frame(frame), two.frame(frame));
        for plane in 0..3 {
            assert_eq!(picture.planes.plane(plane), other_picture.planes.plane(plane));
        }
        assert_eq!(
            serde_json::to_string(&truth).unwrap(),
            serde_json::to_string(&other_truth).unwrap()
        );
    }
    let other = Scene::new(SceneOptions { seed: 10, ..options }).unwrap();
    assert_ne!(one.frame(3).0.planes.plane(0), other.frame(3).0.planes.plane(0));
}

#[test]
fn the_plume_grows_rises_and_is_where_the_truth_says() {
    let scene = Scene::new(SceneOptions {
        seed: 4,
        ..small(SceneKind::Tower)
    })
    .unwrap();
    let before = scene.frame(10);
    assert!(before.1.boxes.is_empty() && before.1.fire.is_none());
    let (early, late) = (scene.frame(125).1, scene.frame(350).1);
    let (early, late) = (
        boxed(&early, Class::Smoke).unwrap(),
        boxed(&late, Class::Smoke).unwrap(),
    );
    assert!(late.area() > 3.0 * early.area() && late.y0 < early.y0);
    // A mast does not move: inside the box the picture changes, well outside of it only by noise.
    let (picture, _) = scene.frame(350);
    let change = |x0: f32, x1: f32| {
        let ((now, stride), (then, _)) = (picture.planes.plane(0), before.0.planes.plane(0));
        let mut sum = 0.0;
        let mut count = 0.0;
        for y in late.y0 as usize..late.y1 as usize {
            for x in x0 as usize..x1 as usize {
                sum += f64::from(now[y * stride + x].abs_diff(then[y * stride + x]));
                count += 1.0;
            }
        }
        sum / count
    };
    let inside = change(late.x0, late.x1);
    let outside = if late.x0 > 200.0 {
        change(late.x0 - 180.0, late.x0 - 100.0)
    } else {
        change(late.x1 + 100.0, late.x1 + 180.0)
    };
    assert!(inside > 2.0 * outside, "inside {inside}, outside {outside}");
}

#[test]
fn three_cameras_of_one_seed_see_one_fire() {
    let places: Vec<GroundPoint> = emberwatch::simulator::demo_scenes()
        .into_iter()
        .map(|options| {
            let scene = Scene::new(SceneOptions {
                width: 640,
                height: 360,
                ..options
            })
            .unwrap();
            let (_, truth) = scene.frame(400);
            let kind = scene.options().kind;
            let smoke = truth.boxes.iter().find(|found| found.class == Class::Smoke);
            assert!(
                smoke.is_some_and(|smoke| smoke.area_fraction > 0.02),
                "{kind:?} sees too little smoke"
            );
            let flame = truth.boxes.iter().find(|found| found.class == Class::Flame);
            assert!(
                flame.is_some_and(|flame| flame.visible_fraction > 0.9),
                "{kind:?} does not see the foot"
            );
            truth.fire.unwrap()
        })
        .collect();
    assert!(places.iter().all(|place| *place == places[0]));
}

#[test]
fn a_lookalike_scene_has_no_fire_and_shows_what_it_is_about() {
    for kind in SceneKind::LOOKALIKES {
        let scene = Scene::new(small(kind)).unwrap();
        let (picture, truth) = scene.frame(150);
        assert!(truth.boxes.is_empty() && truth.fire.is_none(), "{kind:?}");
        let (luma, _) = picture.planes.plane(0);
        let mean = luma.iter().map(|sample| f64::from(*sample)).sum::<f64>() / luma.len() as f64;
        let spread = luma
            .iter()
            .map(|sample| (f64::from(*sample) - mean).powi(2))
            .sum::<f64>()
            / luma.len() as f64;
        assert!(spread.sqrt() > 6.0, "{kind:?} is blank: {}", spread.sqrt());
    }
}

#[test]
fn telemetry_errors_move_what_is_reported_and_not_what_is_true() {
    let exact = Scene::new(small(SceneKind::Orbit)).unwrap();
    let wrong = Scene::new(SceneOptions {
        telemetry_errors: TelemetryErrors::DRONE,
        ..small(SceneKind::Orbit)
    })
    .unwrap();
    assert_eq!(exact.pose(3.0), wrong.pose(3.0));
    assert_eq!(exact.reported_pose(3.0), exact.pose(3.0));
    let (reported, truth) = (wrong.reported_pose(3.0), wrong.pose(3.0));
    let yaw_error_deg = (reported.yaw_deg - truth.yaw_deg + 180.0).rem_euclid(360.0) - 180.0;
    assert!(yaw_error_deg.abs() > 1e-3 && yaw_error_deg.abs() < 6.0);
    let later = wrong.reported_pose(9.0).pitch_deg - wrong.pose(9.0).pitch_deg;
    assert!(
        (later - (reported.pitch_deg - truth.pitch_deg)).abs() < 1e-9,
        "a compass error stays"
    );
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut SceneOptions)| {
        let mut options = small(SceneKind::Drone);
        change(&mut options);
        Scene::new(options).unwrap_err().to_string()
    };
    assert!(refused(&|options| options.width = 641).contains("641x360"));
    assert!(refused(&|options| options.height = 20_000).contains("640x20000"));
    assert!(refused(&|options| options.seconds = f64::NAN).contains("seconds"));
    assert!(refused(&|options| options.frames_per_second = 0.0).contains("frames_per_second"));
    assert!(
        refused(
            &|options| options.fire = FirePlace::At(emberwatch::flow::pose::Wgs84 { lat: 91.0, lon: 0.0 })
        )
        .contains("91")
    );
}

#[cfg(feature = "video")]
mod files {
    use emberwatch::simulator::{Codec, OutputOptions, SceneRecord, write};

    use super::*;

    #[test]
    fn a_written_scene_is_complete_and_its_truth_is_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let options = SceneOptions {
            width: 320,
            height: 180,
            seconds: 4.0,
            fire_start_s: -20.0,
            ..small(SceneKind::Orbit)
        };
        let mut truths = Vec::new();
        for name in ["one", "two"] {
            let output = OutputOptions {
                name: Some(name.to_owned()),
                ..OutputOptions::default()
            };
            let mut frames = 0;
            let written = write(&options, &output, folder.path(), &mut |done| frames = done).unwrap();
            assert_eq!(frames, 50);
            let video = std::fs::read(&written.video).unwrap();
            assert!(
                video.windows(4).any(|window| window == b"moov")
                    && video.windows(4).any(|window| window == b"avc1")
            );
            assert!(video.len() > 20_000);
            truths.push(std::fs::read(&written.truth).unwrap());
            let record: SceneRecord =
                serde_json::from_slice(&std::fs::read(&written.scene).unwrap()).unwrap();
            assert_eq!(record.frames, 50);
            assert_eq!(record.first_visible, Some((0, 0.0)));
            let srt = std::fs::read_to_string(&written.srt).unwrap();
            assert_eq!(srt.matches("-->").count(), 50);
        }
        assert_eq!(truths[0], truths[1]);
        let lines: Vec<Truth> = String::from_utf8(truths.remove(0))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 50);
        assert!(lines.iter().all(|truth| truth.fire.is_some()));
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|end| end == "partial")
            })
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn h265_is_written_too() {
        let folder = tempfile::tempdir().unwrap();
        let options = SceneOptions {
            width: 320,
            height: 180,
            seconds: 1.0,
            ..small(SceneKind::Tower)
        };
        let output = OutputOptions {
            codec: Codec::H265,
            ..OutputOptions::default()
        };
        match write(&options, &output, folder.path(), &mut |_| ()) {
            Ok(written) => {
                let video = std::fs::read(written.video).unwrap();
                assert!(
                    video
                        .windows(4)
                        .any(|window| window == b"hvc1" || window == b"hev1")
                );
            }
            Err(emberwatch::simulator::SimulatorError::NoEncoder { .. }) => {
                println!("skipped: no H.265 encoder here");
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"not a folder").unwrap();
        let options = SceneOptions {
            width: 128,
            height: 72,
            seconds: 0.2,
            ..small(SceneKind::Tower)
        };
        let error = write(
            &options,
            &OutputOptions::default(),
            &file.join("below"),
            &mut |_| (),
        )
        .unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
