//! A pose is where the camera was and looked, with its uncertainty.
//!
//! Every part of a [`Pose`] may be unknown: a subtitle file knows no attitude, a tower knows no velocity, a receiver
//! before its first fix knows no place. Whoever fills a pose leaves unknown things `None` and never writes a zero.

use serde::{Deserialize, Serialize};

use super::time::MediaTime;

/// A point in WGS 84. It cannot be mixed with GCJ-02 or BD-09: those are other types.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Wgs84 {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

impl Wgs84 {
    /// Makes a point, or `None` if a number is not finite or out of range (±90°, ±180°).
    #[must_use]
    pub fn checked(lat: f64, lon: f64) -> Option<Self> {
        ((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon)).then_some(Self { lat, lon })
    }
}

/// What a height is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeightDatum {
    /// Above the WGS 84 ellipsoid.
    Ellipsoid,
    /// Above the EGM96 geoid (mean sea level as most receivers say it).
    Egm96,
    /// Above the EGM2008 geoid (Copernicus terrain).
    Egm2008,
    /// Above the point of take-off.
    Takeoff,
    /// Above the ground below.
    Ground,
}

/// A height with its datum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Height {
    /// Metres.
    pub metres: f64,
    /// From where.
    pub datum: HeightDatum,
}

impl Height {
    /// Makes a height of `metres` above `datum`.
    #[must_use]
    pub const fn new(metres: f64, datum: HeightDatum) -> Self {
        Self { metres, datum }
    }
}

/// The heights of one camera, each above its own datum. They are kept apart: which one to trust is decided where
/// terrain is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Heights {
    /// Metres above the WGS 84 ellipsoid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ellipsoid_m: Option<f64>,
    /// Metres above mean sea level: EGM96.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub egm96_m: Option<f64>,
    /// Metres above EGM2008.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub egm2008_m: Option<f64>,
    /// Metres above the point of take-off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub takeoff_m: Option<f64>,
    /// Metres above the ground below the camera: a mast's height, a radar altimeter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ground_m: Option<f64>,
}

impl Heights {
    /// Returns these heights with one more, or with a better one for the same datum.
    #[must_use]
    pub const fn with(mut self, height: Height) -> Self {
        let slot = match height.datum {
            HeightDatum::Ellipsoid => &mut self.ellipsoid_m,
            HeightDatum::Egm96 => &mut self.egm96_m,
            HeightDatum::Egm2008 => &mut self.egm2008_m,
            HeightDatum::Takeoff => &mut self.takeoff_m,
            HeightDatum::Ground => &mut self.ground_m,
        };
        *slot = Some(height.metres);
        self
    }

    /// Returns the height above one datum, if it was told.
    #[must_use]
    pub const fn above(&self, datum: HeightDatum) -> Option<f64> {
        match datum {
            HeightDatum::Ellipsoid => self.ellipsoid_m,
            HeightDatum::Egm96 => self.egm96_m,
            HeightDatum::Egm2008 => self.egm2008_m,
            HeightDatum::Takeoff => self.takeoff_m,
            HeightDatum::Ground => self.ground_m,
        }
    }

    /// Returns the best height that is tied to the Earth, not to a point of take-off: ellipsoid, then geoid.
    #[must_use]
    pub fn absolute(&self) -> Option<Height> {
        [HeightDatum::Ellipsoid, HeightDatum::Egm2008, HeightDatum::Egm96]
            .into_iter()
            .find_map(|datum| self.above(datum).map(|metres| Height::new(metres, datum)))
    }

    /// Returns whether no height is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the camera's axis points: ZYX, north-east-down, as MISB ST 0601 and DJI use it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attitude {
    /// Degrees from true north, clockwise seen from above.
    pub yaw_deg: f64,
    /// Degrees above the horizon, up positive.
    pub pitch_deg: f64,
    /// Degrees, right side down positive.
    pub roll_deg: f64,
}

impl Attitude {
    /// Makes an attitude from degrees.
    #[must_use]
    pub const fn new(yaw_deg: f64, pitch_deg: f64, roll_deg: f64) -> Self {
        Self {
            yaw_deg,
            pitch_deg,
            roll_deg,
        }
    }
}

/// What telemetry says of the lens. Several forms of the same thing may be known; `geo::CameraModel` chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Optics {
    /// Horizontal field of view of the picture as it is, all zoom included, in degrees.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hfov_deg: Option<f64>,
    /// Vertical field of view of the picture as it is, in degrees.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vfov_deg: Option<f64>,
    /// True focal length, in millimetres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub focal_length_mm: Option<f64>,
    /// Focal length as a 35 mm camera would have it, by the diagonal, in millimetres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub focal_length_35mm_mm: Option<f64>,
    /// Width of the part of the sensor that the full picture uses, in millimetres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sensor_width_mm: Option<f64>,
    /// Height of that part, in millimetres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sensor_height_mm: Option<f64>,
    /// Zoom that the focal lengths above do not hold: 1 is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub zoom: Option<f64>,
}

/// What a laser range finder measured along the optical axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LaserRange {
    /// Slant range, in metres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub range_m: Option<f64>,
    /// The target as the device computed it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Wgs84>,
    /// The target's height as the device computed it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target_height: Option<Height>,
}

/// How fast the camera moves and turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Motion {
    /// Metres a second to the north.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub north_mps: Option<f64>,
    /// Metres a second to the east.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub east_mps: Option<f64>,
    /// Metres a second upwards.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub up_mps: Option<f64>,
    /// Degrees a second that the optical axis turns clockwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub yaw_deg_s: Option<f64>,
    /// Degrees a second that the optical axis turns upwards.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pitch_deg_s: Option<f64>,
}

/// One standard deviation of each part of a pose, where whoever made it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PoseSigmas {
    /// Of the place, along each horizontal axis, in metres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub horizontal_m: Option<f64>,
    /// Of the height, in metres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vertical_m: Option<f64>,
    /// Of the yaw, in degrees.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub yaw_deg: Option<f64>,
    /// Of the pitch, in degrees.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pitch_deg: Option<f64>,
    /// Of the roll, in degrees.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub roll_deg: Option<f64>,
    /// Of the focal length, as a share of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub focal_share: Option<f64>,
    /// Of the time at which the pose holds against the picture, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time_s: Option<f64>,
    /// Of the laser range, in metres.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub laser_m: Option<f64>,
}

/// Something that whoever uses a pose should know of its quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoseFlag {
    /// The newest sample is too old to be used.
    Stale,
    /// The gimbal turns too fast for the telemetry to follow.
    Slewing,
    /// Made between two samples.
    Interpolated,
    /// The receiver has no fix: the place is not to be used.
    NoFix,
    /// The place has centimetres: real-time kinematic.
    Rtk,
    /// The height above sea level is barometric, of unknown datum or known to be wrong on this model.
    AltitudeDoubtful,
    /// Two heights differ by more than 10 m after conversion to one datum.
    HeightsDisagree,
    /// The height was assumed, not measured.
    AssumedHeight,
    /// The attitude was assumed, not measured.
    AssumedAttitude,
    /// Only the aircraft's own attitude is known: the camera is assumed to be fixed to it.
    BodyAttitude,
    /// The field of view was assumed, not measured.
    AssumedFieldOfView,
    /// The offset between telemetry and picture was never measured.
    TimeOffsetAssumed,
    /// Time stamps have no zone: only differences between them mean anything.
    LocalTime,
    /// The packet's checksum does not match.
    ChecksumFailed,
}

impl PoseFlag {
    /// Every flag, in the order of the enumeration.
    pub const ALL: [Self; 14] = [
        Self::Stale,
        Self::Slewing,
        Self::Interpolated,
        Self::NoFix,
        Self::Rtk,
        Self::AltitudeDoubtful,
        Self::HeightsDisagree,
        Self::AssumedHeight,
        Self::AssumedAttitude,
        Self::BodyAttitude,
        Self::AssumedFieldOfView,
        Self::TimeOffsetAssumed,
        Self::LocalTime,
        Self::ChecksumFailed,
    ];
}

/// A set of [`PoseFlag`]s, written as a list of words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "Vec<PoseFlag>", into = "Vec<PoseFlag>")]
#[schemars(with = "Vec<PoseFlag>")]
pub struct PoseFlags(u16);

impl PoseFlags {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Returns this set with `flag` in it.
    #[must_use]
    pub const fn with(self, flag: PoseFlag) -> Self {
        Self(self.0 | 1 << flag as u16)
    }

    /// Returns this set without `flag`.
    #[must_use]
    pub const fn without(self, flag: PoseFlag) -> Self {
        Self(self.0 & !(1 << flag as u16))
    }

    /// Puts `flag` in.
    pub const fn insert(&mut self, flag: PoseFlag) {
        *self = self.with(flag);
    }

    /// Returns whether `flag` is in this set.
    #[must_use]
    pub const fn contains(self, flag: PoseFlag) -> bool {
        self.0 & 1 << flag as u16 != 0
    }

    /// Returns all that is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Lists what is in it, in the order of the enumeration.
    pub fn iter(self) -> impl Iterator<Item = PoseFlag> {
        PoseFlag::ALL.into_iter().filter(move |flag| self.contains(*flag))
    }
}

impl From<Vec<PoseFlag>> for PoseFlags {
    fn from(flags: Vec<PoseFlag>) -> Self {
        flags.into_iter().fold(Self::NONE, Self::with)
    }
}

impl From<PoseFlags> for Vec<PoseFlag> {
    fn from(flags: PoseFlags) -> Self {
        flags.iter().collect()
    }
}

/// Where the camera was and looked at one moment. Unknown parts are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pose {
    /// Where the camera is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub position: Option<Wgs84>,
    /// How high it is, above each datum that was told.
    #[serde(default)]
    pub heights: Heights,
    /// Where it took off: the height above take-off is tied to the terrain there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub takeoff: Option<Wgs84>,
    /// Where the optical axis points: the camera's own direction, not the aircraft's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attitude: Option<Attitude>,
    /// What is known of the lens.
    #[serde(default)]
    pub optics: Optics,
    /// What the laser measured; left out when the device says that the measurement is not valid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub laser: Option<LaserRange>,
    /// How it moves and turns.
    #[serde(default)]
    pub motion: Motion,
    /// Seconds between the moment asked for and the nearest sample that was measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub age_s: Option<f64>,
    /// How sure each part is.
    #[serde(default)]
    pub sigmas: PoseSigmas,
    /// What to know of its quality.
    #[serde(default)]
    pub flags: PoseFlags,
}

/// Why there is no pose for a moment.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PoseRefusal {
    /// Nothing was ever received.
    #[error("no telemetry was received for this source")]
    NoTelemetry,
    /// The moment lies before the first or after the last sample.
    #[error("telemetry ends {seconds:.2} s from the picture, at most {allowed_s} s is bridged")]
    OutOfRange {
        /// How far outside.
        seconds: f64,
        /// The most that is bridged.
        allowed_s: f64,
    },
    /// The samples around the moment lie too far apart.
    #[error("telemetry has a gap of {seconds:.2} s around the picture, at most {allowed_s} s is bridged")]
    Gap {
        /// How long it is.
        seconds: f64,
        /// The most that is bridged.
        allowed_s: f64,
    },
    /// The clocks of picture and telemetry cannot be joined.
    #[error("telemetry cannot be tied to the picture's time: {0}")]
    NoCommonTime(String),
    /// The camera stands at none of its known presets.
    #[error("the camera stands at no known preset")]
    NoPreset,
}

/// Tells where a source's camera was and looked. Implemented by each kind of telemetry and by fixed cameras.
pub trait PoseProvider: Send + Sync {
    /// Returns the pose at a moment of the source's media time, made between samples where that is safe.
    fn pose_at(&self, pts: MediaTime) -> Result<Pose, PoseRefusal>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_written_as_words_and_read_back() {
        for flag in PoseFlag::ALL {
            let set = PoseFlags::NONE.with(flag);
            assert_eq!(set.iter().collect::<Vec<_>>(), [flag]);
        }
        let set = PoseFlags::NONE.with(PoseFlag::Stale).with(PoseFlag::Rtk);
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(text, r#"["stale","rtk"]"#);
        assert_eq!(serde_json::from_str::<PoseFlags>(&text).unwrap(), set);
        assert!(set.without(PoseFlag::Stale).without(PoseFlag::Rtk).is_empty());
    }

    #[test]
    fn heights_above_different_datums_are_kept_apart() {
        let heights = Heights::default()
            .with(Height::new(120.0, HeightDatum::Egm96))
            .with(Height::new(40.0, HeightDatum::Takeoff));
        assert_eq!(heights.above(HeightDatum::Takeoff), Some(40.0));
        assert_eq!(heights.above(HeightDatum::Ellipsoid), None);
        assert_eq!(heights.absolute(), Some(Height::new(120.0, HeightDatum::Egm96)));
    }

    #[test]
    fn points_that_are_no_numbers_or_off_the_earth_are_refused() {
        assert!(Wgs84::checked(f64::NAN, 0.0).is_none());
        assert!(Wgs84::checked(91.0, 0.0).is_none());
        assert!(Wgs84::checked(0.0, f64::INFINITY).is_none());
        assert!(Wgs84::checked(35.2, 113.2).is_some());
    }
}
