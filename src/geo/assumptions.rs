//! What is assumed where telemetry says nothing, and the bounds beyond which a position is refused.

use serde::{Deserialize, Serialize};

use crate::flow::pose::{PoseFlag, PoseFlags, PoseSigmas};

/// One standard deviation of everything that a ground point depends on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sigmas {
    /// Of the camera's place along each horizontal axis, in metres.
    pub horizontal_m: f64,
    /// Of the camera's height, in metres.
    pub vertical_m: f64,
    /// Of the yaw, in degrees.
    pub yaw_deg: f64,
    /// Of the pitch, in degrees.
    pub pitch_deg: f64,
    /// Of the roll, in degrees.
    pub roll_deg: f64,
    /// Of the focal length, as a share of it.
    pub focal_share: f64,
    /// Of the time between picture and telemetry, in seconds.
    pub time_s: f64,
    /// Of the pixel across the picture, in pixels.
    pub across_px: f64,
    /// Of the pixel down the picture, in pixels.
    pub down_px: f64,
    /// Of the terrain's height, in metres.
    pub terrain_m: f64,
    /// Of the laser's range, in metres.
    pub laser_m: f64,
}

impl Default for Sigmas {
    /// An ordinary drone over Copernicus terrain: GNSS without correction, a compass calibrated that day, a stabilised
    /// gimbal (`OpenAthena`'s field tests give 5 m + 2 to 6 % of the range for such drones).
    fn default() -> Self {
        Self {
            horizontal_m: 2.0,
            vertical_m: 5.0,
            yaw_deg: 2.0,
            pitch_deg: 0.5,
            roll_deg: 0.5,
            focal_share: 0.02,
            time_s: 0.1,
            across_px: 4.0,
            down_px: 4.0,
            terrain_m: 2.5,
            laser_m: 0.5,
        }
    }
}

impl Sigmas {
    /// The names and values of all parts, for checks and for printing.
    #[must_use]
    pub const fn parts(&self) -> [(&'static str, f64); 11] {
        [
            ("horizontal_m", self.horizontal_m),
            ("vertical_m", self.vertical_m),
            ("yaw_deg", self.yaw_deg),
            ("pitch_deg", self.pitch_deg),
            ("roll_deg", self.roll_deg),
            ("focal_share", self.focal_share),
            ("time_s", self.time_s),
            ("across_px", self.across_px),
            ("down_px", self.down_px),
            ("terrain_m", self.terrain_m),
            ("laser_m", self.laser_m),
        ]
    }

    /// Returns these sigmas with what a pose knows better, and with what its flags make worse.
    #[must_use]
    pub fn with_pose(&self, pose: &PoseSigmas, flags: PoseFlags) -> Self {
        let told = |told: Option<f64>, assumed: f64| {
            told.filter(|sigma| sigma.is_finite() && *sigma >= 0.0)
                .unwrap_or(assumed)
        };
        let mut sigmas = Self {
            horizontal_m: told(pose.horizontal_m, self.horizontal_m),
            vertical_m: told(pose.vertical_m, self.vertical_m),
            yaw_deg: told(pose.yaw_deg, self.yaw_deg),
            pitch_deg: told(pose.pitch_deg, self.pitch_deg),
            roll_deg: told(pose.roll_deg, self.roll_deg),
            focal_share: told(pose.focal_share, self.focal_share),
            time_s: told(pose.time_s, self.time_s),
            laser_m: told(pose.laser_m, self.laser_m),
            ..*self
        };
        if flags.contains(PoseFlag::Rtk) {
            sigmas.horizontal_m = told(pose.horizontal_m, 0.05);
            sigmas.vertical_m = told(pose.vertical_m, 0.1);
        }
        if flags.contains(PoseFlag::AssumedFieldOfView) {
            sigmas.focal_share = sigmas.focal_share.max(0.1);
        }
        if flags.contains(PoseFlag::TimeOffsetAssumed) {
            sigmas.time_s = sigmas.time_s.max(0.5);
        }
        if flags.contains(PoseFlag::BodyAttitude) {
            sigmas.yaw_deg = sigmas.yaw_deg.max(5.0);
            sigmas.pitch_deg = sigmas.pitch_deg.max(3.0);
            sigmas.roll_deg = sigmas.roll_deg.max(3.0);
        }
        if flags.contains(PoseFlag::AssumedAttitude) {
            sigmas.yaw_deg = sigmas.yaw_deg.max(10.0);
            sigmas.pitch_deg = sigmas.pitch_deg.max(5.0);
            sigmas.roll_deg = sigmas.roll_deg.max(5.0);
        }
        if flags.contains(PoseFlag::AssumedHeight) {
            sigmas.vertical_m = sigmas.vertical_m.max(10.0);
        }
        sigmas
    }
}

/// What is assumed, and where a position ends and a refusal begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Assumptions {
    /// Standard deviations where the pose tells none.
    pub sigmas: Sigmas,
    /// The coefficient of refraction: 0.13 by day.
    pub refraction: f64,
    /// The greatest slant range, in metres.
    pub max_range_m: f64,
    /// The greatest age of a pose, in seconds.
    pub max_age_s: f64,
    /// The greatest turn of the camera within one standard deviation of the time, in degrees.
    pub max_slew_error_deg: f64,
    /// How far from the middle, as a share of the picture's width, the laser is believed.
    pub laser_centre_share: f64,
    /// The share of probability that the stated ellipse holds.
    pub level: f64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            sigmas: Sigmas::default(),
            refraction: 0.13,
            max_range_m: 20_000.0,
            max_age_s: 2.0,
            max_slew_error_deg: 1.0,
            laser_centre_share: 0.02,
            level: 0.9,
        }
    }
}

impl Assumptions {
    /// Lists what is wrong with these figures: each with its name and what is expected.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self
            .sigmas
            .parts()
            .into_iter()
            .filter(|(_, value)| !(value.is_finite() && *value >= 0.0))
            .map(|(name, value)| format!("sigmas.{name} = {value}: a number of at least 0 is expected"))
            .collect();
        let mut within = |name: &str, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                problems.push(format!("{name} = {value}: {low} to {high} is expected"));
            }
        };
        within("refraction", self.refraction, -0.5, 0.9);
        within("max_range_m", self.max_range_m, 10.0, 100_000.0);
        within("max_age_s", self.max_age_s, 0.0, 60.0);
        within("max_slew_error_deg", self.max_slew_error_deg, 0.0, 90.0);
        within("laser_centre_share", self.laser_centre_share, 0.0, 0.5);
        within("level", self.level, 0.1, 0.99);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pose_knows_replaces_what_is_assumed() {
        let told = PoseSigmas {
            yaw_deg: Some(0.2),
            pitch_deg: Some(f64::NAN),
            ..PoseSigmas::default()
        };
        let sigmas = Sigmas::default().with_pose(&told, PoseFlags::NONE);
        assert!((sigmas.yaw_deg - 0.2).abs() < 1e-12);
        assert!(
            (sigmas.pitch_deg - 0.5).abs() < 1e-12,
            "not a number tells nothing"
        );
    }

    #[test]
    fn an_assumed_attitude_is_never_thought_to_be_good() {
        let flags = PoseFlags::NONE.with(PoseFlag::AssumedAttitude);
        assert!(Sigmas::default().with_pose(&PoseSigmas::default(), flags).yaw_deg >= 10.0);
    }

    #[test]
    fn every_wrong_figure_is_listed() {
        let wrong = Assumptions {
            sigmas: Sigmas {
                yaw_deg: f64::NAN,
                pitch_deg: -1.0,
                ..Sigmas::default()
            },
            level: 1.0,
            ..Assumptions::default()
        };
        assert_eq!(wrong.problems().len(), 3);
        assert!(Assumptions::default().problems().is_empty());
    }
}
