use super::*;
use crate::flow::detection::Class;
use crate::flow::frame::{ColourMatrix, ColourRange, FrameMeta, Gap, Picture, PixelFormat, PlanarBuffer};
use crate::flow::pose::{Attitude, Height, HeightDatum, Heights, Motion, Wgs84};
use crate::flow::source::{Duty, SourceId};
use crate::flow::time::MonotonicTime;
use crate::flow::track::{Reason, Sighting, Verdict};
use crate::geo::ellipsoid::{FlatMap, distance_m};
use crate::geo::spread::Covariance;

const HOME: Wgs84 = Wgs84 {
    lat: 35.2,
    lon: 113.25,
};

/// A drone that hovers 100 m above take-off and looks north and down.
struct Hover(fn(f64) -> Result<Pose, PoseRefusal>);

impl PoseProvider for Hover {
    fn pose_at(&self, pts: MediaTime) -> Result<Pose, PoseRefusal> {
        (self.0)(pts.as_secs_f64())
    }
}

fn hover() -> Pose {
    Pose {
        position: Some(HOME),
        heights: Heights::default().with(Height::new(100.0, HeightDatum::Takeoff)),
        attitude: Some(Attitude::new(0.0, -45.0, 0.0)),
        age_s: Some(0.0),
        ..Pose::default()
    }
}

fn locator(poses: Option<fn(f64) -> Result<Pose, PoseRefusal>>, occluders: Vec<Occluder>) -> Locator {
    Locator::new(LocateSettings {
        poses: poses.map(|poses| Arc::new(Hover(poses)) as Arc<dyn PoseProvider>),
        camera: CameraChoice::Known(CameraModel::from_hfov(1920, 1080, 60.0).unwrap()),
        terrain: Arc::new(Terrain::flat_at_takeoff()),
        assumptions: Assumptions::default(),
        staying: StayingShares::default(),
        occluders,
    })
}

fn frame(second: f64, bbox: BBox, decision: Decision, phase: TrackPhase) -> JudgedFrame {
    let pts = MediaTime::from_secs_f64(second);
    JudgedFrame {
        model: Arc::default(),
        meta: FrameMeta {
            source: SourceId::new("drone"),
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
            width: 1920,
            height: 1080,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(Vec::new())),
        },
        detections: Vec::new(),
        tracks: vec![(
            Track {
                id: 7,
                class: Class::Smoke,
                phase,
                first_pts: MediaTime::ZERO,
                last_pts: pts,
                sightings: 5,
                seen: Some(Sighting {
                    pts,
                    score: 0.8,
                    bbox,
                }),
                bbox,
                activity: 0.1,
            },
            Verdict {
                decision,
                reason: Reason::Ended,
                score: 0.8,
            },
        )],
        motion: (0.0, 0.0),
    }
}

/// A plume whose foot is in the middle of the picture.
const PLUME: BBox = BBox::new(900.0, 300.0, 1020.0, 540.0);

fn only(located: &LocatedFrame) -> &Place {
    located.places.first().unwrap()
}

#[test]
fn the_foot_of_the_plume_is_what_is_located() {
    let mut locator = locator(Some(|_| Ok(hover())), Vec::new());
    let located = locator.place(frame(0.0, PLUME, Decision::Fire, TrackPhase::Established));
    let Place::Point { position, bearing } = only(&located) else {
        panic!("{:?}", only(&located));
    };
    let expected = FlatMap::around(HOME).point(0.0, 100.0);
    assert!(distance_m(position.point, expected) < 0.1);
    assert!(bearing.unwrap().azimuth_deg < 1e-6 || bearing.unwrap().azimuth_deg > 359.99);
    assert!(!position.base_hidden);
}

#[test]
fn a_plume_that_leans_with_the_wind_still_has_its_foot_in_the_ellipse() {
    let position = |bbox| {
        let mut locator = locator(Some(|_| Ok(hover())), Vec::new());
        let located = locator.place(frame(0.0, bbox, Decision::Fire, TrackPhase::Established));
        match only(&located) {
            Place::Point { position, .. } => *position,
            other => panic!("{other:?}"),
        }
    };
    // It began at 1160,540 and was blown to the left.
    let grown = position(BBox::new(760.0, 200.0, 1160.0, 540.0));
    let young = position(BBox::new(1150.0, 510.0, 1170.0, 540.0));
    let (east, north) = FlatMap::around(grown.point).offset(young.point);
    assert!(east > 15.0, "{east}");
    let squared = Covariance::of_ellipse(&grown.ellipse).mahalanobis_squared(east, north);
    assert!(squared <= 4.605, "{squared}");
    assert!(young.ellipse.semi_major_m < 0.7 * grown.ellipse.semi_major_m);
}

#[test]
fn a_source_without_telemetry_says_so() {
    let mut locator = locator(None, Vec::new());
    let located = locator.place(frame(0.0, PLUME, Decision::Fire, TrackPhase::Established));
    assert!(matches!(only(&located), Place::Unknown { refused } if refused.contains("no telemetry")));
}

#[test]
fn a_plume_that_leaves_the_picture_below_or_ends_behind_a_roof_hides_its_base() {
    let roof = Occluder {
        x0: 0.4,
        y0: 0.5,
        x1: 0.6,
        y1: 1.0,
    };
    let cut = BBox::new(900.0, 300.0, 1020.0, 1080.0);
    for (bbox, occluders) in [(cut, Vec::new()), (PLUME, vec![roof])] {
        let mut locator = locator(Some(|_| Ok(hover())), occluders);
        let located = locator.place(frame(0.0, bbox, Decision::Fire, TrackPhase::Established));
        assert!(
            matches!(only(&located), Place::Point { position, .. } if position.base_hidden),
            "{:?}",
            only(&located)
        );
    }
}

#[test]
fn a_moment_without_a_pose_keeps_what_was_known() {
    let mut locator = locator(
        Some(|second| {
            if second < 1.0 {
                Ok(hover())
            } else {
                Err(PoseRefusal::Gap {
                    seconds: 5.0,
                    allowed_s: 2.0,
                })
            }
        }),
        Vec::new(),
    );
    locator.place(frame(0.0, PLUME, Decision::Fire, TrackPhase::Established));
    let later = locator.place(frame(2.0, PLUME, Decision::Fire, TrackPhase::Established));
    assert!(matches!(only(&later), Place::Point { bearing: None, .. }));
    assert!(later.pose.is_none());
}

#[test]
fn a_gimbal_that_slews_gives_neither_point_nor_bearing() {
    let mut locator = locator(
        Some(|_| {
            Ok(Pose {
                motion: Motion {
                    yaw_deg_s: Some(40.0),
                    ..Motion::default()
                },
                ..hover()
            })
        }),
        Vec::new(),
    );
    let located = locator.place(frame(0.0, PLUME, Decision::Fire, TrackPhase::Established));
    assert!(
        matches!(only(&located), Place::Unknown { refused } if refused.contains("turns at")),
        "{:?}",
        only(&located)
    );
}

#[test]
fn a_plume_above_the_horizon_is_a_direction() {
    let mut locator = locator(
        Some(|_| {
            Ok(Pose {
                attitude: Some(Attitude::new(30.0, 5.0, 0.0)),
                ..hover()
            })
        }),
        Vec::new(),
    );
    let located = locator.place(frame(0.0, PLUME, Decision::Fire, TrackPhase::Established));
    assert!(
        matches!(only(&located), Place::Direction { bearing, refused }
            if (bearing.azimuth_deg - 30.0).abs() < 1e-6 && refused.contains("horizon")),
        "{:?}",
        only(&located)
    );
}

#[test]
fn a_refused_track_is_not_located_and_an_ended_one_is_forgotten() {
    let mut locator = locator(Some(|_| Ok(hover())), Vec::new());
    let refused = locator.place(frame(0.0, PLUME, Decision::Refused, TrackPhase::Established));
    assert!(matches!(only(&refused), Place::Unknown { .. }));
    locator.place(frame(1.0, PLUME, Decision::Fire, TrackPhase::Ended));
    assert!(locator.tracks.is_empty());
}

#[test]
fn watching_longer_narrows_the_ellipse_but_not_below_what_stays_wrong() {
    let mut locator = locator(Some(|_| Ok(hover())), Vec::new());
    let size = |located: &LocatedFrame| match only(located) {
        Place::Point { position, .. } => position.ce90_m,
        other => panic!("{other:?}"),
    };
    let first = size(&locator.place(frame(0.0, PLUME, Decision::Fire, TrackPhase::Established)));
    let mut last = first;
    for second in 1..60 {
        last = size(&locator.place(frame(
            f64::from(second),
            PLUME,
            Decision::Fire,
            TrackPhase::Established,
        )));
    }
    assert!(last < first, "{last} after {first}");
    assert!(
        last > 0.85 * first,
        "a hovering drone cannot learn its compass error: {last} after {first}"
    );
}
