use std::sync::Arc;

use super::*;
use crate::flow::detection::{BBox, Class};
use crate::flow::frame::{ColourMatrix, ColourRange, FrameMeta, Gap, Picture, PixelFormat, PlanarBuffer};
use crate::flow::source::SourceId;
use crate::flow::time::MonotonicTime;
use crate::flow::track::Sighting;
use crate::stages::verify::mask::MaskKind;

/// A track as seen at a second: its box, score and activity; `None` where it is not seen.
type Shown = Option<(BBox, f32, f32)>;

fn frame(second: f64, shown: Shown, first: f64, motion: (f32, f32)) -> TrackedFrame {
    let pts = MediaTime::from_secs_f64(second);
    let seen = shown.map(|(bbox, score, _)| Sighting { pts, score, bbox });
    TrackedFrame {
        model: Arc::default(),
        meta: FrameMeta {
            source: SourceId::new("tower"),
            sequence: 0,
            pts,
            captured: None,
            arrived: MonotonicTime::default(),
            is_key: true,
            gap: Gap::default(),
            duty: Duty::Watch,
        },
        picture: Picture {
            format: PixelFormat::I420,
            width: 1000,
            height: 500,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(Vec::new())),
        },
        detections: Vec::new(),
        tracks: vec![Track {
            id: 1,
            class: Class::Smoke,
            phase: TrackPhase::Established,
            first_pts: MediaTime::from_secs_f64(first),
            last_pts: pts,
            sightings: 1,
            seen,
            bbox: shown.map_or(BBox::new(0.0, 0.0, 1.0, 1.0), |(bbox, _, _)| bbox),
            activity: shown.map_or(0.0, |(_, _, activity)| activity),
        }],
        motion,
    }
}

/// Shows a track five times a second and returns the verdict of each frame.
fn judge(mount: Mount, seconds: f64, show: impl Fn(f64) -> Shown, motion: (f32, f32)) -> Vec<Verdict> {
    judge_by(VerifySettings::default(), mount, seconds, show, motion)
}

fn judge_by(
    settings: VerifySettings,
    mount: Mount,
    seconds: f64,
    show: impl Fn(f64) -> Shown,
    motion: (f32, f32),
) -> Vec<Verdict> {
    let mut verifier = Verifier::new(settings, mount, Vec::new());
    let frames = (seconds * 5.0) as u32;
    (0..frames)
        .map(|step| {
            let second = f64::from(step) / 5.0;
            verifier.judge(frame(second, show(second), 0.0, motion)).tracks[0]
                .1
                .clone()
        })
        .collect()
}

const PLUME: BBox = BBox::new(400.0, 200.0, 460.0, 300.0);

/// A box that breathes by a share of its size.
fn breathing(second: f64, share: f64) -> BBox {
    let grow = (share * 60.0 * (second * 7.0).sin()) as f32;
    BBox::new(PLUME.x0 - grow, PLUME.y0 - 2.0 * grow, PLUME.x1 + grow, PLUME.y1)
}

#[test]
fn a_plume_that_breathes_is_fire_after_two_seconds() {
    let verdicts = judge(
        Mount::Fixed,
        4.0,
        |second| Some((breathing(second, 0.05), 0.6, 3.0)),
        (0.0, 0.0),
    );
    let first = verdicts
        .iter()
        .position(|verdict| verdict.decision == Decision::Fire)
        .unwrap();
    assert_eq!(first, 10, "2.0 s at 5 frames a second");
    assert!(matches!(verdicts[first].reason, Reason::Persistent { .. }));
}

#[test]
fn a_lamp_that_does_not_grow_is_refused() {
    let verdicts = judge(Mount::Fixed, 15.0, |_| Some((PLUME, 0.9, 0.0)), (0.0, 0.0));
    assert!(verdicts.iter().all(|verdict| verdict.decision != Decision::Fire));
    let last = verdicts.last().unwrap();
    assert_eq!(last.decision, Decision::Refused);
    assert!(matches!(last.reason, Reason::Lifeless { .. }));
}

#[test]
fn a_floor_that_somebody_uncovers_is_no_fire_for_a_camera_that_stands_still() {
    // It lies there for eight seconds, then somebody steps aside within half a second.
    let uncovered = |second: f64| {
        let wider = if second > 8.0 { 30.0 } else { 0.0 };
        let bbox = BBox::new(PLUME.x0, PLUME.y0, PLUME.x1 + wider, PLUME.y1);
        Some((bbox, 0.6, if (8.0..8.5).contains(&second) { 9.0 } else { 0.0 }))
    };
    for mount in [Mount::Fixed, Mount::Moving] {
        let verdicts = judge(mount, 9.0, uncovered, (0.0, 0.0));
        assert!(
            verdicts.iter().all(|verdict| verdict.decision != Decision::Fire),
            "{mount:?}"
        );
        assert!(matches!(verdicts.last().unwrap().reason, Reason::Lifeless { .. }));
    }
}

#[test]
fn a_still_box_whose_inside_flickers_is_fire() {
    let verdicts = judge(Mount::Fixed, 4.0, |_| Some((PLUME, 0.9, 5.0)), (0.0, 0.0));
    assert_eq!(verdicts.last().unwrap().decision, Decision::Fire);
}

#[test]
fn headlights_that_drive_by_are_refused() {
    let drive = |second: f64| {
        let dx = (120.0 * second) as f32;
        Some((breathing(second, 0.03).shifted(dx, 0.0), 0.8, 9.0))
    };
    for mount in [Mount::Fixed, Mount::Moving] {
        let verdicts = judge(mount, 12.0, drive, (0.0, 0.0));
        assert!(verdicts.iter().all(|verdict| verdict.decision != Decision::Fire));
        assert!(matches!(verdicts.last().unwrap().reason, Reason::Travels { .. }));
    }
}

#[test]
fn a_plume_seen_from_a_drone_that_flies_on_is_fire() {
    // The picture moves 30 pixels a frame, and the plume with it.
    let drift = |second: f64| {
        Some((
            breathing(second, 0.03).shifted((150.0 * second) as f32, 0.0),
            0.6,
            3.0,
        ))
    };
    let verdicts = judge(Mount::Moving, 4.0, drift, (30.0, 0.0));
    assert_eq!(verdicts.last().unwrap().decision, Decision::Fire);
}

#[test]
fn a_roof_seen_from_a_drone_that_flies_on_is_refused() {
    // Its box trembles by a few hundredths, and the camera's own motion leaves a little change inside.
    let roof = |second: f64| {
        Some((
            breathing(second, 0.03).shifted((150.0 * second) as f32, 0.0),
            0.6,
            0.7,
        ))
    };
    let verdicts = judge(Mount::Moving, 12.0, roof, (30.0, 0.0));
    assert!(verdicts.iter().all(|verdict| verdict.decision != Decision::Fire));
    assert!(matches!(verdicts.last().unwrap().reason, Reason::Lifeless { .. }));
}

#[test]
fn lamps_of_several_cars_that_are_taken_for_one_thing_are_refused() {
    // To and fro between four places along a road: no straight line, and no place either.
    let lamps = |second: f64| {
        let place = ((second * 5.0).round() as u32 * 3) % 4;
        Some((PLUME.shifted(150.0 * place as f32, 0.0), 0.8, 9.0))
    };
    for mount in [Mount::Fixed, Mount::Moving] {
        let verdicts = judge(mount, 4.0, lamps, (0.0, 0.0));
        assert!(verdicts.iter().all(|verdict| verdict.decision != Decision::Fire));
        assert!(matches!(verdicts.last().unwrap().reason, Reason::Travels { .. }));
    }
}

#[test]
fn what_is_seen_now_and_then_is_too_rare() {
    let blink = |second: f64| {
        ((second * 5.0).round() as u32)
            .is_multiple_of(2)
            .then(|| (breathing(second, 0.1), 0.9, 5.0))
    };
    let verdicts = judge(Mount::Fixed, 12.0, blink, (0.0, 0.0));
    assert!(verdicts.iter().all(|verdict| verdict.decision != Decision::Fire));
    assert!(matches!(verdicts[50].reason, Reason::TooRare { .. }));
}

#[test]
fn what_is_never_sure_is_too_weak() {
    let verdicts = judge(
        Mount::Fixed,
        12.0,
        |second| Some((breathing(second, 0.1), 0.25, 5.0)),
        (0.0, 0.0),
    );
    assert!(matches!(verdicts.last().unwrap().reason, Reason::TooWeak { .. }));
    assert_eq!(verdicts.last().unwrap().decision, Decision::Refused);
}

/// Three quarters of the score that is asked of smoke, but in the frames of which `misses` says that it is not seen.
fn pale(misses: impl Fn(u32) -> bool) -> impl Fn(f64) -> Shown {
    move |second| (!misses((second * 5.0).round() as u32)).then(|| (breathing(second, 0.1), 0.3, 5.0))
}

fn first_fire(verdicts: &[Verdict]) -> Option<usize> {
    verdicts
        .iter()
        .position(|verdict| verdict.decision == Decision::Fire)
}

#[test]
fn pale_smoke_is_fire_once_it_was_seen_for_three_seconds_in_nine_of_ten_frames() {
    let first = |misses: fn(u32) -> bool| first_fire(&judge(Mount::Fixed, 12.0, pale(misses), (0.0, 0.0)));
    assert_eq!(first(|_| false), Some(15), "3.0 s at 5 frames a second");
    assert_eq!(
        first(|step| step % 10 == 5),
        Some(19),
        "17 of 19 are too few, 18 of 20 are not"
    );
    assert_eq!(first(|step| step % 7 == 2), None, "6 of 7");
}

#[test]
fn nothing_but_smoke_that_is_looked_at_often_is_seen_steadily() {
    let pale = pale(|_| false);
    let whole = VerifySettings {
        steady_score: 1.0,
        ..VerifySettings::default()
    };
    let verdicts = judge_by(whole, Mount::Fixed, 12.0, &pale, (0.0, 0.0));
    assert!(first_fire(&verdicts).is_none());
    assert!(matches!(verdicts.last().unwrap().reason, Reason::TooWeak { .. }));
    assert_eq!(verdicts.last().unwrap().decision, Decision::Refused);

    let often = VerifySettings {
        steady_sightings: 27,
        ..VerifySettings::default()
    };
    assert!(first_fire(&judge_by(often, Mount::Fixed, 12.0, &pale, (0.0, 0.0))).is_none());

    let mut verifier = Verifier::new(VerifySettings::default(), Mount::Fixed, Vec::new());
    for step in 0..60 {
        let second = f64::from(step) / 5.0;
        let mut shown = frame(second, pale(second), 0.0, (0.0, 0.0));
        shown.tracks[0].class = Class::Flame;
        let verdict = verifier.judge(shown).tracks[0].1.clone();
        assert_ne!(verdict.decision, Decision::Fire, "at {second} s");
    }
}

#[test]
fn what_lies_in_a_mask_is_refused_by_its_name() {
    let mask = Mask {
        name: "brick kiln".into(),
        kind: MaskKind::KnownSource,
        preset: None,
        corners: vec![(0.3, 0.3), (0.6, 0.3), (0.6, 0.7), (0.3, 0.7)],
    };
    let mut verifier = Verifier::new(VerifySettings::default(), Mount::Fixed, vec![mask]);
    for step in 0..30_u8 {
        let second = f64::from(step) / 5.0;
        let judged = verifier.judge(frame(
            second,
            Some((breathing(second, 0.1), 0.9, 5.0)),
            0.0,
            (0.0, 0.0),
        ));
        assert_eq!(
            judged.tracks[0].1.reason,
            Reason::KnownSource {
                name: "brick kiln".into()
            }
        );
    }
}

#[test]
fn a_mask_of_one_preset_hides_nothing_at_another_or_between_them() {
    use std::sync::Arc;

    use crate::flow::pose::{Attitude, Height, HeightDatum, Optics, PoseSigmas};
    use crate::telemetry::fixed::{Mast, Preset, PresetCamera};

    let mast = Mast {
        lat: 35.19,
        lon: 113.25,
        height: Height::new(40.0, HeightDatum::Ground),
        sigmas: PoseSigmas::default(),
    };
    let preset = |name: &str, yaw_deg| Preset {
        name: name.into(),
        attitude: Attitude::new(yaw_deg, -3.0, 0.0),
        optics: Optics::default(),
    };
    let mask = Mask {
        name: "brick kiln".into(),
        kind: MaskKind::KnownSource,
        preset: Some("north".into()),
        corners: vec![(0.3, 0.3), (0.6, 0.3), (0.6, 0.7), (0.3, 0.7)],
    };
    let decided_at = |name: Option<&str>| {
        let camera = PresetCamera::new(mast, vec![preset("north", 0.0), preset("east", 90.0)]);
        assert!(camera.set_current(name));
        let mut verifier = Verifier::new(VerifySettings::default(), Mount::Fixed, vec![mask.clone()])
            .turned_by(Some(Arc::new(camera)));
        let mut last = None;
        for step in 0..60_u8 {
            let second = f64::from(step) / 5.0;
            let judged = verifier.judge(frame(
                second,
                Some((breathing(second, 0.1), 0.9, 5.0)),
                0.0,
                (0.0, 0.0),
            ));
            last = Some(judged.tracks[0].1.decision);
        }
        last.unwrap()
    };
    assert_eq!(decided_at(Some("north")), Decision::Refused);
    assert_eq!(decided_at(Some("east")), Decision::Fire);
    assert_eq!(decided_at(None), Decision::Fire, "while it turns");
}

#[test]
fn a_fire_that_was_told_stays_told() {
    let fades = |second: f64| Some((breathing(second, 0.1), if second < 3.0 { 0.9 } else { 0.1 }, 5.0));
    let verdicts = judge(Mount::Fixed, 12.0, fades, (0.0, 0.0));
    assert_eq!(verdicts.last().unwrap().decision, Decision::Fire);
}
