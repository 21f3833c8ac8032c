//! Turns judged tracks and poses into places on the ground.
//!
//! The point of a track is its lowest visible point: the bottom centre of its box, where flame or plume meets the ground.
//! Where that is hidden (the box reaches the picture's lower edge or an occluder) the place says so. Each frame in which a
//! track is seen adds to its fused position; a frame without a usable pose adds nothing.

mod occluder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flow::detection::{BBox, Class};
use crate::flow::pose::{Pose, PoseProvider, PoseRefusal};
use crate::flow::position::Place;
use crate::flow::time::MediaTime;
use crate::flow::track::{Decision, JudgedFrame, Track, TrackId, TrackPhase};
use crate::geo::fuse::{StayingShares, TrackFusion};
use crate::geo::{
    Assumptions, CameraError, CameraModel, LocateRefusal, Located, SensorCrop, Terrain, locate,
};
use crate::pipeline::stage::{Emit, Stage, StageError};

pub use occluder::Occluder;

/// Where the camera's field of view comes from.
#[derive(Clone, Copy, Debug)]
pub enum CameraChoice {
    /// A camera that was measured or configured; pictures of another size are taken to show the same view.
    Known(CameraModel),
    /// What each pose says of its lens, with this part of the sensor shown; the fallback serves poses that say nothing.
    FromPose {
        /// Which part of the sensor the video shows.
        crop: SensorCrop,
        /// What to use where the pose says nothing, at the zoom that the pose tells.
        fallback: Option<CameraModel>,
    },
}

impl CameraChoice {
    /// Returns the camera for a picture of this size.
    pub fn camera(&self, pose: &Pose, width: u32, height: u32) -> Result<CameraModel, CameraError> {
        match self {
            Self::Known(camera) => camera.resized(width, height),
            Self::FromPose { crop, fallback } => {
                match (
                    CameraModel::from_optics(width, height, &pose.optics, *crop),
                    fallback,
                ) {
                    (Err(CameraError::Unknown), Some(fallback)) => {
                        let camera = fallback.resized(width, height)?;
                        pose.optics.zoom.map_or(Ok(camera), |zoom| camera.zoomed(zoom))
                    }
                    (camera, _) => camera,
                }
            }
        }
    }
}

/// What the stage needs to know of one source.
pub struct LocateSettings {
    /// Tells where the camera was; none for a source without any telemetry.
    pub poses: Option<Arc<dyn PoseProvider>>,
    /// Tells what the camera sees.
    pub camera: CameraChoice,
    /// The ground.
    pub terrain: Arc<Terrain>,
    /// What is assumed where telemetry says nothing.
    pub assumptions: Assumptions,
    /// Which errors stay over a track.
    pub staying: StayingShares,
    /// What stands in front of the ground, in shares of the picture.
    pub occluders: Vec<Occluder>,
}

/// A judged frame with the place of each of its tracks.
#[derive(Clone, Debug)]
pub struct LocatedFrame {
    /// The frame with its tracks and verdicts.
    pub frame: JudgedFrame,
    /// The places, in the order of the tracks.
    pub places: Vec<Place>,
    /// The pose of the frame, or why there is none: what a flight path is drawn from.
    pub pose: Option<Pose>,
}

struct TrackPlace {
    fusion: TrackFusion,
    last: Place,
}

/// Locates the tracks of one source.
pub struct Locator {
    settings: LocateSettings,
    tracks: BTreeMap<TrackId, TrackPlace>,
}

impl Locator {
    /// Makes a locator for one source.
    #[must_use]
    pub const fn new(settings: LocateSettings) -> Self {
        Self {
            settings,
            tracks: BTreeMap::new(),
        }
    }

    /// Locates every track of a frame.
    pub fn place(&mut self, frame: JudgedFrame) -> LocatedFrame {
        let size = (frame.picture.width, frame.picture.height);
        let pose = self.pose_at(frame.meta.pts);
        let mut places = Vec::with_capacity(frame.tracks.len());
        for (track, verdict) in &frame.tracks {
            let place = if verdict.decision == Decision::Refused {
                self.last_place(track)
            } else {
                self.place_of(track, &pose, size)
            };
            if track.phase == TrackPhase::Ended {
                self.tracks.remove(&track.id);
            }
            places.push(place);
        }
        LocatedFrame {
            frame,
            places,
            pose: pose.ok(),
        }
    }

    /// Locates one pixel of a picture at one moment: what `emberwatch locate` does.
    #[must_use]
    pub fn pixel(&self, pixel: (f64, f64), at: MediaTime, size: (u32, u32)) -> Located {
        self.locate_pixel(pixel, &self.pose_at(at), size, &self.settings.assumptions)
    }

    fn pose_at(&self, at: MediaTime) -> Result<Pose, PoseRefusal> {
        match &self.settings.poses {
            Some(poses) => poses.pose_at(at),
            None => Err(PoseRefusal::NoTelemetry),
        }
    }

    fn locate_pixel(
        &self,
        pixel: (f64, f64),
        pose: &Result<Pose, PoseRefusal>,
        size: (u32, u32),
        assumptions: &Assumptions,
    ) -> Located {
        let settings = &self.settings;
        let pose = match pose {
            Ok(pose) => pose,
            Err(refusal) => return Located::refused(refusal.clone().into(), assumptions.sigmas),
        };
        match settings.camera.camera(pose, size.0, size.1) {
            Ok(camera) => locate(pixel, pose, &camera, &settings.terrain, assumptions),
            Err(error) => Located::refused(LocateRefusal::Camera(error), assumptions.sigmas),
        }
    }

    fn place_of(&mut self, track: &Track, pose: &Result<Pose, PoseRefusal>, size: (u32, u32)) -> Place {
        let Some(sighting) = track.seen else {
            return self.last_place(track);
        };
        let pixel = lowest_point(&sighting.bbox);
        let base_hidden = self.is_base_hidden(&sighting.bbox, size);
        let assumptions = foot_of(track.class, &sighting.bbox, self.settings.assumptions);
        let located = self.locate_pixel(pixel, pose, size, &assumptions);
        let single = located.place(base_hidden);
        let level = assumptions.level;
        let staying = self.settings.staying;
        let known = self.tracks.entry(track.id).or_insert_with(|| TrackPlace {
            fusion: TrackFusion::new(staying, level),
            last: Place::Unknown {
                refused: "the track was not located yet".to_owned(),
            },
        });
        // A hidden base lies long: it must not pull on frames in which the base was seen.
        if !base_hidden {
            known.fusion.add(&located);
        }
        let fused = known.fusion.position(&self.settings.terrain);
        known.last = match (fused, single) {
            (Some(position), Place::Point { bearing, .. }) => Place::Point { position, bearing },
            (Some(position), Place::Direction { bearing, .. }) => Place::Point {
                position,
                bearing: Some(bearing),
            },
            (Some(position), Place::Unknown { .. }) => Place::Point {
                position,
                bearing: None,
            },
            (_, single) => single,
        };
        known.last.clone()
    }

    fn last_place(&self, track: &Track) -> Place {
        self.tracks.get(&track.id).map_or_else(
            || Place::Unknown {
                refused: "the track was not located".to_owned(),
            },
            |known| known.last.clone(),
        )
    }

    fn is_base_hidden(&self, bbox: &BBox, size: (u32, u32)) -> bool {
        let (width, height) = (size.0 as f32, size.1 as f32);
        let touches_edge = bbox.y1 >= height - 1.0;
        let (x, y) = lowest_point(bbox);
        let share = (x as f32 / width.max(1.0), y as f32 / height.max(1.0));
        touches_edge
            || self
                .settings
                .occluders
                .iter()
                .any(|occluder| occluder.touches(share))
    }
}

impl Stage for Locator {
    type In = JudgedFrame;
    type Out = LocatedFrame;

    fn process(&mut self, frame: JudgedFrame, emit: &mut Emit<'_, LocatedFrame>) -> Result<(), StageError> {
        emit.send(self.place(frame));
        Ok(())
    }
}

/// Where the foot may be within a box, one standard deviation in shares of its width and height.
///
/// The wind takes a plume to one side, so that its foot lies under a corner of the box: anywhere along the lower edge
/// (uniform: 0.29). A flame stands above its foot. Detectors place lower edges to a few hundredths of the height.
const fn foot_shares(class: Class) -> (f64, f64) {
    match class {
        Class::Smoke => (0.29, 0.04),
        Class::Flame => (0.15, 0.08),
    }
}

/// Returns the assumptions for the foot of this box: the larger a plume has grown, the less its box says where it began.
fn foot_of(class: Class, bbox: &BBox, mut assumptions: Assumptions) -> Assumptions {
    let (across, down) = foot_shares(class);
    let sigmas = &mut assumptions.sigmas;
    sigmas.across_px = sigmas.across_px.hypot(across * f64::from(bbox.width()));
    sigmas.down_px = sigmas.down_px.hypot(down * f64::from(bbox.height()));
    assumptions
}

/// Returns the lowest visible point of a flame or plume, in source pixels: the middle of its box's lower edge.
#[must_use]
pub fn lowest_point(bbox: &BBox) -> (f64, f64) {
    (f64::from(f32::midpoint(bbox.x0, bbox.x1)), f64::from(bbox.y1))
}
