use proptest::prelude::*;

use super::*;
use crate::flow::pose::{PoseProvider, Wgs84};
use crate::flow::time::MediaTime;
use crate::geo::ellipsoid::distance_m;
use crate::telemetry::sample::GimbalFrame;

fn sample(at_s: f64, lat: f64, lon: f64, yaw_deg: f64) -> TelemetrySample {
    let mut sample = TelemetrySample {
        gimbal: Some(Gimbal {
            attitude: Attitude::new(yaw_deg, -30.0, 0.0),
            frame: GimbalFrame::Earth,
        }),
        ..TelemetrySample::default()
    };
    sample.set_fix(lat, lon);
    sample.time.media_s = Some(at_s);
    sample.heights.takeoff_m = Some(100.0 + at_s);
    sample
}

fn timeline(samples: &[TelemetrySample]) -> Timeline {
    Timeline::of_samples(LogTime::Media, Limits::default(), samples)
}

#[test]
fn half_way_is_half_way_and_over_north_goes_by_north() {
    let timeline = timeline(&[
        sample(0.0, 35.0, 113.0, 350.0),
        sample(1.0, 35.0001, 113.0001, 10.0),
    ]);
    let pose = timeline.pose_at(0.5).unwrap();
    let middle = Wgs84 {
        lat: 35.000_05,
        lon: 113.000_05,
    };
    assert!(distance_m(pose.position.unwrap(), middle) < 0.01);
    assert!(wrapped_deg(pose.attitude.unwrap().yaw_deg).abs() < 1e-6);
    assert_eq!(pose.heights.takeoff_m, Some(100.5));
    assert!((pose.motion.yaw_deg_s.unwrap() - 20.0).abs() < 1e-6);
    assert_eq!(pose.age_s, Some(0.5));
    assert!(pose.flags.contains(PoseFlag::Interpolated));
}

#[test]
fn the_moment_of_a_sample_is_the_sample() {
    let samples = [sample(0.0, 35.0, 113.0, 5.0), sample(0.5, 35.0001, 113.0, 6.0)];
    let pose = timeline(&samples).pose_at(0.5).unwrap();
    assert!(distance_m(pose.position.unwrap(), samples[1].position.unwrap()) < 1e-6);
    assert!(!pose.flags.contains(PoseFlag::Interpolated));
}

#[test]
fn nothing_is_carried_on_for_more_than_half_a_second() {
    let timeline = timeline(&[sample(1.0, 35.0, 113.0, 5.0), sample(2.0, 35.0001, 113.0, 6.0)]);
    assert!(timeline.pose_at(2.49).is_ok());
    assert!(timeline.pose_at(0.51).is_ok());
    assert!(matches!(
        timeline.pose_at(2.51),
        Err(PoseRefusal::OutOfRange { .. })
    ));
    assert!(matches!(
        timeline.pose_at(0.49),
        Err(PoseRefusal::OutOfRange { .. })
    ));
    let moved = timeline.pose_at(2.4).unwrap();
    assert!((moved.position.unwrap().lat - 35.000_14).abs() < 1e-8);
    assert!(
        (moved.attitude.unwrap().yaw_deg - 6.0).abs() < 1e-9,
        "a turn is not carried on"
    );
}

#[test]
fn a_gap_of_more_than_two_seconds_gives_no_pose() {
    let timeline = timeline(&[sample(0.0, 35.0, 113.0, 5.0), sample(2.1, 35.0001, 113.0, 6.0)]);
    assert!(matches!(timeline.pose_at(1.0), Err(PoseRefusal::Gap { .. })));
    assert!(timeline.pose_at(0.0).is_ok());
    assert!(timeline.pose_at(2.1).is_ok());
    assert_eq!(
        Timeline::live(LogTime::Media, Limits::default()).pose_at(0.0),
        Err(PoseRefusal::NoTelemetry)
    );
}

#[test]
fn time_that_goes_back_is_left_out_until_the_clock_was_set() {
    let mut timeline = timeline(&[sample(10.0, 35.0, 113.0, 5.0)]);
    timeline.push(&sample(9.0, 36.0, 113.0, 5.0));
    assert_eq!(timeline.left_out(), 1);
    assert!((timeline.pose_at(10.0).unwrap().position.unwrap().lat - 35.0).abs() < 1e-9);
    for step in 0..30 {
        timeline.push(&sample(1.0 + f64::from(step) * 0.1, 37.0, 113.0, 5.0));
    }
    assert!((timeline.pose_at(3.0).unwrap().position.unwrap().lat - 37.0).abs() < 1e-9);
    timeline.push(&sample(f64::NAN, 37.0, 113.0, 5.0));
}

#[test]
fn a_stale_gimbal_gives_no_pose_even_with_a_fresh_place() {
    let mut samples = vec![sample(0.0, 35.0, 113.0, 5.0)];
    for step in 1..50 {
        let mut bare = sample(f64::from(step) * 0.1, 35.0, 113.0, 5.0);
        bare.gimbal = None;
        samples.push(bare);
    }
    let timeline = timeline(&samples);
    assert!(timeline.pose_at(0.4).is_ok());
    assert!(timeline.pose_at(1.0).is_err());
}

#[test]
fn a_provider_adds_its_offset_and_says_when_it_was_never_measured() {
    let provider = TimelineProvider::new(
        timeline(&[sample(100.0, 35.0, 113.0, 5.0), sample(101.0, 35.0, 113.0, 5.0)]),
        TimeTie {
            offset_s: 100.0,
            sigma_s: None,
        },
    );
    let pose = provider.pose_at(MediaTime::from_secs_f64(0.5)).unwrap();
    assert!(pose.flags.contains(PoseFlag::TimeOffsetAssumed));
    provider.set_tie(TimeTie {
        offset_s: 100.25,
        sigma_s: Some(0.02),
    });
    let pose = provider.pose_at(MediaTime::ZERO).unwrap();
    assert_eq!(pose.sigmas.time_s, Some(0.02));
    assert!(!pose.flags.contains(PoseFlag::TimeOffsetAssumed));
}

proptest! {
    #[test]
    fn every_moment_gives_a_pose_near_its_neighbours_or_a_refusal(
        steps in proptest::collection::vec((0.0..3.0f64, -0.001..0.001f64, 0.0..360.0f64), 1..30),
        at_s in -5.0..100.0f64,
    ) {
        let (mut time_s, mut lat) = (0.0, 35.0);
        let samples: Vec<TelemetrySample> = steps
            .iter()
            .map(|(step_s, move_deg, yaw_deg)| {
                time_s += step_s;
                lat += move_deg;
                sample(time_s, lat, 113.0, *yaw_deg)
            })
            .collect();
        if let Ok(pose) = timeline(&samples).pose_at(at_s) {
            let attitude = pose.attitude.unwrap();
            prop_assert!((0.0..=360.0).contains(&attitude.yaw_deg));
            prop_assert!(pose.age_s.unwrap() <= 1.0 + 1e-9);
            prop_assert!(samples.iter().any(|near| (near.time.media_s.unwrap() - at_s).abs() <= 2.0));
        }
    }
}
