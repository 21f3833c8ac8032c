use std::sync::Arc;

use super::*;
use crate::flow::frame::{ColourMatrix, ColourRange, FrameMeta, Gap, Picture, PixelFormat, PlanarBuffer};
use crate::flow::source::{Duty, SourceId};
use crate::flow::time::MonotonicTime;

fn frame(second: f64, detections: &[(Class, f32, BBox)]) -> DetectedFrame {
    let planes = PlanarBuffer::new(vec![
        (vec![100; 64 * 36], 64),
        (vec![128; 576], 32),
        (vec![128; 576], 32),
    ]);
    DetectedFrame {
        model: Arc::default(),
        meta: FrameMeta {
            source: SourceId::new("tower"),
            sequence: (second * 5.0) as u64,
            pts: MediaTime::from_secs_f64(second),
            captured: None,
            arrived: MonotonicTime::default(),
            is_key: true,
            gap: Gap::default(),
            duty: Duty::Watch,
        },
        picture: Picture {
            format: PixelFormat::I420,
            width: 64,
            height: 36,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(planes),
        },
        detections: detections
            .iter()
            .map(|(class, score, bbox)| Detection {
                class: *class,
                score: *score,
                bbox: *bbox,
            })
            .collect(),
    }
}

fn tracker() -> Tracker {
    Tracker::new(TrackSettings::default(), Mount::Fixed)
}

const PLUME: BBox = BBox::new(10.0, 5.0, 20.0, 25.0);

#[test]
fn a_plume_that_breathes_is_one_track() {
    let mut tracker = tracker();
    for step in 0..20_u8 {
        let breath = f32::from(step % 3) * 2.0;
        let plume = BBox::new(PLUME.x0 - breath, PLUME.y0 - breath, PLUME.x1 + breath, PLUME.y1);
        let tracked = tracker.track(frame(f64::from(step) / 5.0, &[(Class::Smoke, 0.5, plume)]));
        assert_eq!(tracked.tracks.len(), 1);
        assert_eq!(tracked.tracks[0].id, 1);
        assert_eq!(tracked.detections[0].1, Some(1));
    }
}

#[test]
fn flame_and_smoke_at_one_place_are_two_tracks() {
    let mut tracker = tracker();
    for step in 0..5_u8 {
        let tracked = tracker.track(frame(
            f64::from(step) / 5.0,
            &[(Class::Smoke, 0.5, PLUME), (Class::Flame, 0.4, PLUME)],
        ));
        assert_eq!(tracked.tracks.len(), 2);
    }
}

#[test]
fn a_weak_detection_prolongs_a_track_and_begins_none() {
    let mut tracker = tracker();
    assert!(
        tracker
            .track(frame(0.0, &[(Class::Smoke, 0.15, PLUME)]))
            .tracks
            .is_empty()
    );
    tracker.track(frame(0.2, &[(Class::Smoke, 0.5, PLUME)]));
    let tracked = tracker.track(frame(0.4, &[(Class::Smoke, 0.15, PLUME)]));
    assert_eq!(tracked.tracks[0].sightings, 2);
}

#[test]
fn a_track_survives_a_gap_and_ends_after_a_longer_one() {
    let mut tracker = tracker();
    for step in 0..5_u8 {
        tracker.track(frame(f64::from(step) / 5.0, &[(Class::Flame, 0.6, PLUME)]));
    }
    for step in 5..10_u8 {
        tracker.track(frame(f64::from(step) / 5.0, &[]));
    }
    assert_eq!(
        tracker.track(frame(2.0, &[(Class::Flame, 0.6, PLUME)])).tracks[0].id,
        1
    );
    let mut phases = Vec::new();
    for step in 11..30_u8 {
        phases.extend(
            tracker
                .track(frame(f64::from(step) / 5.0, &[]))
                .tracks
                .iter()
                .map(|track| track.phase),
        );
    }
    assert_eq!(
        phases.iter().filter(|phase| **phase == TrackPhase::Ended).count(),
        1
    );
    assert_eq!(phases.last(), Some(&TrackPhase::Ended));
}

#[test]
fn two_fires_side_by_side_keep_their_numbers() {
    let mut tracker = tracker();
    let other = PLUME.shifted(30.0, 0.0);
    for step in 0..10_u8 {
        // The order of detections changes, the tracks must not.
        let both = if step % 2 == 0 {
            [(Class::Smoke, 0.5, PLUME), (Class::Smoke, 0.6, other)]
        } else {
            [(Class::Smoke, 0.6, other), (Class::Smoke, 0.5, PLUME)]
        };
        let tracked = tracker.track(frame(f64::from(step) / 5.0, &both));
        assert_eq!(tracked.tracks.len(), 2);
        assert!((tracked.tracks[0].bbox.centre().0 - 15.0).abs() < 3.0);
        assert!((tracked.tracks[1].bbox.centre().0 - 45.0).abs() < 3.0);
    }
}
