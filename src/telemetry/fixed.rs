//! Fixed cameras: one pose, or a table of presets with surveyed directions.

use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::flow::pose::{
    Attitude, Height, Heights, Optics, Pose, PoseProvider, PoseRefusal, PoseSigmas, Wgs84,
};
use crate::flow::time::MediaTime;

/// Where a camera stands and how well that is known: what does not change when it turns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mast {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// The height of the lens, with its datum: `ground` is a mast's height.
    pub height: Height,
    /// How sure each part is.
    #[serde(default)]
    pub sigmas: PoseSigmas,
}

impl Mast {
    /// Returns a pose at this place without a direction.
    fn pose(&self) -> Pose {
        Pose {
            position: Wgs84::checked(self.lat, self.lon),
            heights: Heights::default().with(self.height),
            sigmas: self.sigmas,
            age_s: Some(0.0),
            ..Pose::default()
        }
    }
}

/// A camera that never moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedCamera {
    /// Where it stands.
    pub mast: Mast,
    /// Where it looks.
    pub attitude: Attitude,
    /// What it sees.
    #[serde(default)]
    pub optics: Optics,
}

impl PoseProvider for FixedCamera {
    fn pose_at(&self, _pts: MediaTime) -> Result<Pose, PoseRefusal> {
        Ok(Pose {
            attitude: Some(self.attitude),
            optics: self.optics,
            ..self.mast.pose()
        })
    }
}

/// A camera that looks this close to a preset's direction stands at it, in degrees.
const AT_PRESET_DEG: f64 = 0.5;

/// One direction that a camera returns to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name or token, as the camera tells it.
    pub name: String,
    /// Where the camera looks there, as surveyed.
    pub attitude: Attitude,
    /// What it sees there.
    #[serde(default)]
    pub optics: Optics,
}

/// A camera that turns: it stands at one of several presets or where its own numbers say, or nowhere while it moves.
#[derive(Debug)]
pub struct PresetCamera {
    mast: Mast,
    presets: Vec<Preset>,
    current: RwLock<Option<(Attitude, Optics)>>,
}

impl PresetCamera {
    /// Makes a camera of which it is not known yet where it looks.
    #[must_use]
    pub fn new(mast: Mast, presets: Vec<Preset>) -> Self {
        Self {
            mast,
            presets,
            current: RwLock::new(None),
        }
    }

    /// Says at which preset the camera stands now; `None` while it moves. Returns whether the name is known.
    pub fn set_current(&self, name: Option<&str>) -> bool {
        let found = name
            .and_then(|name| self.presets.iter().find(|preset| preset.name == name))
            .map(|preset| (preset.attitude, preset.optics));
        self.set_direction(found);
        found.is_some() == name.is_some()
    }

    /// Says where the camera looks now and what it sees there; `None` while that is unknown.
    pub fn set_direction(&self, direction: Option<(Attitude, Optics)>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = direction;
    }

    /// Returns the name of the preset at which the camera stands; none while it moves or looks elsewhere.
    #[must_use]
    pub fn preset(&self) -> Option<&str> {
        let current = *self.current.read().unwrap_or_else(PoisonError::into_inner);
        let (here, _) = current?;
        let is_at = |preset: &&Preset| {
            let turn = (preset.attitude.yaw_deg - here.yaw_deg).rem_euclid(360.0);
            turn.min(360.0 - turn) <= AT_PRESET_DEG
                && (preset.attitude.pitch_deg - here.pitch_deg).abs() <= AT_PRESET_DEG
        };
        self.presets.iter().find(is_at).map(|preset| preset.name.as_str())
    }

    /// Returns the names of the presets that were surveyed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.presets.iter().map(|preset| preset.name.as_str())
    }
}

impl PoseProvider for PresetCamera {
    fn pose_at(&self, _pts: MediaTime) -> Result<Pose, PoseRefusal> {
        let current = *self.current.read().unwrap_or_else(PoisonError::into_inner);
        let (attitude, optics) = current.ok_or(PoseRefusal::NoPreset)?;
        Ok(Pose {
            attitude: Some(attitude),
            optics,
            ..self.mast.pose()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pose::HeightDatum;

    const MAST: Mast = Mast {
        lat: 35.19,
        lon: 113.25,
        height: Height::new(40.0, HeightDatum::Ground),
        sigmas: PoseSigmas {
            horizontal_m: Some(1.0),
            vertical_m: Some(0.5),
            yaw_deg: Some(0.2),
            pitch_deg: Some(0.1),
            roll_deg: None,
            focal_share: None,
            time_s: None,
            laser_m: None,
        },
    };

    #[test]
    fn a_fixed_camera_has_the_same_pose_at_every_moment() {
        let camera = FixedCamera {
            mast: MAST,
            attitude: Attitude::new(200.0, -5.0, 0.0),
            optics: Optics::default(),
        };
        let pose = camera.pose_at(MediaTime::from_secs_f64(1e6)).unwrap();
        assert_eq!(pose.attitude, Some(camera.attitude));
        assert_eq!(pose.heights.ground_m, Some(40.0));
        assert_eq!(pose, camera.pose_at(MediaTime::ZERO).unwrap());
    }

    #[test]
    fn a_camera_between_its_presets_has_no_pose() {
        let camera = PresetCamera::new(
            MAST,
            vec![Preset {
                name: "north".into(),
                attitude: Attitude::new(0.0, -3.0, 0.0),
                optics: Optics::default(),
            }],
        );
        assert_eq!(camera.pose_at(MediaTime::ZERO), Err(PoseRefusal::NoPreset));
        assert!(camera.set_current(Some("north")));
        assert!(camera.pose_at(MediaTime::ZERO).is_ok());
        assert_eq!(camera.preset(), Some("north"));
        // A camera that tells degrees stands at a preset within half of one, also across north.
        camera.set_direction(Some((Attitude::new(359.7, -3.2, 0.0), Optics::default())));
        assert_eq!(camera.preset(), Some("north"));
        camera.set_direction(Some((Attitude::new(358.0, -3.0, 0.0), Optics::default())));
        assert_eq!(camera.preset(), None);
        assert!(!camera.set_current(Some("unknown")));
        assert_eq!(camera.pose_at(MediaTime::ZERO), Err(PoseRefusal::NoPreset));
    }
}
