//! A sample is what one record of telemetry says, before it is joined with others into a pose.

use serde::Serialize;

use crate::flow::pose::{
    Attitude, Heights, LaserRange, Motion, Optics, Pose, PoseFlag, PoseFlags, PoseSigmas, Wgs84,
};
use crate::geo::rotation::{platform_and_sensor, wrapped_deg};

/// When a sample was taken, on each clock that it states. They are never mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SampleTime {
    /// Seconds of the video beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_s: Option<f64>,
    /// Seconds since 1970 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_s: Option<f64>,
    /// Seconds since 1970 as a clock on a wall shows them, in a zone that nobody wrote down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_s: Option<f64>,
    /// Seconds since the device was switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_s: Option<f64>,
}

/// What the angles of a gimbal are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GimbalFrame {
    /// True north and the horizon: the angles are the camera's own.
    Earth,
    /// The horizon, but yaw against the aircraft's heading.
    Heading,
    /// The aircraft's body: a rotation after the aircraft's own, as MISB ST 0601 has it.
    Body,
}

/// The angles of a gimbal and what they are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gimbal {
    /// ZYX angles.
    pub attitude: Attitude,
    /// Against what.
    pub frame: GimbalFrame,
}

/// Why a sample does not say where the camera looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAttitude {
    /// Nothing at all about directions.
    #[error(
        "telemetry holds no gimbal angles: give them with `--yaw` and `--pitch`, or say `--assume-nadir` if the camera looked straight down"
    )]
    NoGimbal,
    /// The aircraft's attitude is known, the camera's is not.
    #[error(
        "telemetry holds the aircraft's attitude but no gimbal angles, and a gimbal does not follow the aircraft: give `--yaw` and `--pitch`, or say `--assume-nadir`"
    )]
    OnlyAircraft,
    /// The gimbal's angles are against the aircraft, whose attitude is unknown.
    #[error(
        "gimbal angles are relative to the aircraft, whose {missing} is unknown in this record: no direction over ground follows"
    )]
    NoAircraft {
        /// What is missing.
        missing: &'static str,
    },
}

/// What one record of telemetry says. Unknown parts are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TelemetrySample {
    /// When it was taken.
    pub time: SampleTime,
    /// Where the camera is, in WGS 84.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Wgs84>,
    /// How high it is, above each datum that was told.
    #[serde(skip_serializing_if = "Heights::is_empty")]
    pub heights: Heights,
    /// Where it took off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takeoff: Option<Wgs84>,
    /// The aircraft's whole attitude, in true north and the horizon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Attitude>,
    /// The aircraft's heading where only that is known, degrees from true north.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heading_deg: Option<f64>,
    /// The gimbal's angles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gimbal: Option<Gimbal>,
    /// What is known of the lens.
    pub optics: Optics,
    /// What the laser measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub laser: Option<LaserRange>,
    /// Where the middle of the picture meets the ground, as the device computed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_centre: Option<Wgs84>,
    /// The height of that place.
    #[serde(skip_serializing_if = "Heights::is_empty")]
    pub frame_centre_heights: Heights,
    /// How it moves and turns.
    pub motion: Motion,
    /// How sure each part is, where the device says.
    pub sigmas: PoseSigmas,
    /// What to know of its quality.
    pub flags: PoseFlags,
}

impl TelemetrySample {
    /// Returns where the optical axis points: degrees from true north and above the horizon.
    pub fn camera_attitude(&self) -> Result<Attitude, NoAttitude> {
        let Some(gimbal) = self.gimbal else {
            return Err(if self.platform.is_some() || self.heading_deg.is_some() {
                NoAttitude::OnlyAircraft
            } else {
                NoAttitude::NoGimbal
            });
        };
        match gimbal.frame {
            GimbalFrame::Earth => Ok(gimbal.attitude),
            GimbalFrame::Heading => {
                let heading_deg = self
                    .platform
                    .map(|platform| platform.yaw_deg)
                    .or(self.heading_deg)
                    .ok_or(NoAttitude::NoAircraft { missing: "heading" })?;
                Ok(Attitude {
                    yaw_deg: wrapped_deg(heading_deg + gimbal.attitude.yaw_deg).rem_euclid(360.0),
                    ..gimbal.attitude
                })
            }
            GimbalFrame::Body => {
                let platform = self.platform.ok_or(NoAttitude::NoAircraft {
                    missing: if self.heading_deg.is_some() {
                        "pitch and roll"
                    } else {
                        "attitude"
                    },
                })?;
                Ok(platform_and_sensor(platform, gimbal.attitude))
            }
        }
    }

    /// Returns this sample as a pose; the attitude is `None` where [`Self::camera_attitude`] refuses.
    #[must_use]
    pub fn to_pose(&self) -> Pose {
        Pose {
            position: self.position,
            heights: self.heights,
            takeoff: self.takeoff,
            attitude: self.camera_attitude().ok(),
            optics: self.optics,
            laser: self.laser,
            motion: self.motion,
            age_s: Some(0.0),
            sigmas: self.sigmas,
            flags: self.flags,
        }
    }

    /// Puts a place in, or flags that there is none: out of range, or 0, 0, which devices write before their first fix.
    pub(crate) fn set_fix(&mut self, lat: f64, lon: f64) {
        self.position = place(lat, lon);
        if self.position.is_none() {
            self.flags.insert(PoseFlag::NoFix);
        }
    }
}

/// Returns a place, or `None` when it is out of range or 0, 0: that is a device without a fix, never a place.
#[must_use]
pub fn place(lat: f64, lon: f64) -> Option<Wgs84> {
    Wgs84::checked(lat, lon).filter(|point| point.lat.abs() > 1e-7 || point.lon.abs() > 1e-7)
}

/// Returns an attitude if its three angles are finite and within a turn.
#[must_use]
pub fn checked_attitude(yaw_deg: f64, pitch_deg: f64, roll_deg: f64) -> Option<Attitude> {
    let sane = yaw_deg.abs() <= 720.0 && pitch_deg.abs() <= 180.0 && roll_deg.abs() <= 360.0;
    sane.then(|| Attitude::new(yaw_deg.rem_euclid(360.0), pitch_deg, wrapped_deg(roll_deg)))
}

/// Returns a height in metres if a camera can be there: 1,000 m below to 100,000 m above.
#[must_use]
pub fn checked_height_m(metres: f64) -> Option<f64> {
    (-1_000.0..=100_000.0).contains(&metres).then_some(metres)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_gimbal(frame: GimbalFrame) -> TelemetrySample {
        TelemetrySample {
            gimbal: Some(Gimbal {
                attitude: Attitude::new(20.0, -30.0, 0.0),
                frame,
            }),
            ..TelemetrySample::default()
        }
    }

    #[test]
    fn an_aircraft_without_a_gimbal_has_no_camera_direction() {
        let bare = TelemetrySample::default();
        assert_eq!(bare.camera_attitude(), Err(NoAttitude::NoGimbal));
        let flying = TelemetrySample {
            platform: Some(Attitude::new(10.0, 0.0, 0.0)),
            ..bare
        };
        assert_eq!(flying.camera_attitude(), Err(NoAttitude::OnlyAircraft));
        assert!(flying.to_pose().attitude.is_none());
    }

    #[test]
    fn the_same_gimbal_angles_point_elsewhere_in_each_frame() {
        let banking = Attitude::new(350.0, 0.0, 30.0);
        let earth = TelemetrySample {
            platform: Some(banking),
            ..with_gimbal(GimbalFrame::Earth)
        };
        assert!((earth.camera_attitude().unwrap().yaw_deg - 20.0).abs() < 1e-9);
        let heading = TelemetrySample {
            platform: Some(banking),
            ..with_gimbal(GimbalFrame::Heading)
        };
        let level = heading.camera_attitude().unwrap();
        assert!((level.yaw_deg - 10.0).abs() < 1e-9);
        assert!(
            (level.pitch_deg + 30.0).abs() < 1e-9,
            "the bank does not tilt a levelled gimbal"
        );
        let body = TelemetrySample {
            platform: Some(banking),
            ..with_gimbal(GimbalFrame::Body)
        };
        assert!((body.camera_attitude().unwrap().pitch_deg + 30.0).abs() > 1.0);
    }

    #[test]
    fn relative_angles_without_the_aircraft_are_refused() {
        assert_eq!(
            with_gimbal(GimbalFrame::Heading).camera_attitude(),
            Err(NoAttitude::NoAircraft { missing: "heading" })
        );
        let heading_only = TelemetrySample {
            heading_deg: Some(5.0),
            ..with_gimbal(GimbalFrame::Body)
        };
        assert!(heading_only.camera_attitude().is_err());
    }

    #[test]
    fn zero_zero_is_no_fix_and_no_place() {
        let mut sample = TelemetrySample::default();
        sample.set_fix(0.0, 0.0);
        assert!(sample.position.is_none() && sample.flags.contains(PoseFlag::NoFix));
        assert!(place(f64::NAN, 1.0).is_none());
        assert!(place(0.0, 1.0).is_some(), "the equator is a place");
        assert!(place(95.0, 1.0).is_none());
    }
}
