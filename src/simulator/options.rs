//! What a scene is made of: everything a caller may choose.

use serde::{Deserialize, Serialize};

use super::error::SimulatorError;
use crate::flow::pose::Wgs84;

/// What is shown and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SceneKind {
    /// A drone that flies past the fire and looks around.
    Drone,
    /// A drone that circles the fire and looks at it.
    Orbit,
    /// A camera on a mast, standing still.
    Tower,
    /// A second mast, a quarter turn around the fire from the first.
    TowerEast,
    /// A camera on a mast that turns between presets.
    TowerPan,
    /// No fire: shadows of clouds cross the fields.
    LookalikeCloudShadow,
    /// No fire: a tractor raises dust.
    LookalikeDust,
    /// No fire: a chimney lets off steam.
    LookalikeSteam,
    /// No fire: big red roofs.
    LookalikeRedRoof,
    /// No fire: vehicles with their lamps on, at dusk or at night.
    LookalikeHeadlights,
    /// No fire: a low sun under red clouds.
    LookalikeSunset,
    /// No fire: a patch of ground fog.
    LookalikeFog,
    /// No fire: plastic greenhouses that glint.
    LookalikeGreenhouse,
}

impl SceneKind {
    /// Every scene without a fire.
    pub const LOOKALIKES: [Self; 8] = [
        Self::LookalikeCloudShadow,
        Self::LookalikeDust,
        Self::LookalikeSteam,
        Self::LookalikeRedRoof,
        Self::LookalikeHeadlights,
        Self::LookalikeSunset,
        Self::LookalikeFog,
        Self::LookalikeGreenhouse,
    ];

    /// Returns whether the scene is one of those that only look like fire.
    #[must_use]
    pub fn is_lookalike(self) -> bool {
        Self::LOOKALIKES.contains(&self)
    }

    /// Returns whether the camera stands on a mast.
    #[must_use]
    pub const fn is_fixed(self) -> bool {
        matches!(
            self,
            Self::Tower
                | Self::TowerEast
                | Self::TowerPan
                | Self::LookalikeSunset
                | Self::LookalikeHeadlights
        )
    }

    /// Returns the word that names the scene's files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drone => "drone",
            Self::Orbit => "orbit",
            Self::Tower => "tower",
            Self::TowerEast => "tower-east",
            Self::TowerPan => "tower-pan",
            Self::LookalikeCloudShadow => "lookalike-cloud-shadow",
            Self::LookalikeDust => "lookalike-dust",
            Self::LookalikeSteam => "lookalike-steam",
            Self::LookalikeRedRoof => "lookalike-red-roof",
            Self::LookalikeHeadlights => "lookalike-headlights",
            Self::LookalikeSunset => "lookalike-sunset",
            Self::LookalikeFog => "lookalike-fog",
            Self::LookalikeGreenhouse => "lookalike-greenhouse",
        }
    }
}

/// The weather and the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Weather {
    /// Midday, visibility 16 km.
    Clear,
    /// Midday, visibility 3.2 km.
    Haze,
    /// The sun 3° above the horizon, visibility 9 km.
    Dusk,
    /// A moonlit night.
    Night,
}

/// Where it burns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirePlace {
    /// At the place that belongs to the scene; look-alikes have none.
    Scene,
    /// At this place.
    At(Wgs84),
    /// Nowhere.
    None,
}

/// One standard deviation of each thing that telemetry gets wrong; drawn once per clip, as a compass error is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TelemetryErrors {
    /// East and north, each, in metres.
    pub horizontal_m: f64,
    /// Up, in metres.
    pub height_m: f64,
    /// Yaw, in degrees.
    pub yaw_deg: f64,
    /// Pitch, in degrees.
    pub pitch_deg: f64,
}

impl TelemetryErrors {
    /// What a drone without RTK is said to have: 1.5 m, 3 m, 1° and 0.3°.
    pub const DRONE: Self = Self {
        horizontal_m: 1.5,
        height_m: 3.0,
        yaw_deg: 1.0,
        pitch_deg: 0.3,
    };
}

/// Everything that decides what a scene looks like. The same options give the same pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SceneOptions {
    /// What is shown and from where.
    pub kind: SceneKind,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Length in seconds.
    pub seconds: f64,
    /// Width in pixels; even, 64 to 3840.
    pub width: u32,
    /// Height in pixels; even, 64 to 2160.
    pub height: u32,
    /// Frames a second; taken to a thousandth.
    pub frames_per_second: f64,
    /// The weather and the hour.
    pub weather: Weather,
    /// Where it burns.
    pub fire: FirePlace,
    /// When the fire starts, in seconds from the first frame; negative where it burns already.
    pub fire_start_s: f64,
    /// How long the fire burns before it fades, in seconds.
    pub fire_lasts_s: f64,
    /// Size of the fire: 1 is a heap of straw a few metres across.
    pub fire_size: f64,
    /// From the camera to the scene's centre over ground, in metres; each scene has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_m: Option<f64>,
    /// What telemetry gets wrong.
    pub telemetry_errors: TelemetryErrors,
}

impl SceneOptions {
    /// Returns the options of a scene with everything else at its default: 20 s of 1280x720 at 12.5 frames a second.
    #[must_use]
    pub fn new(kind: SceneKind) -> Self {
        Self {
            kind,
            seed: 1,
            seconds: 20.0,
            width: 1280,
            height: 720,
            frames_per_second: 12.5,
            weather: match kind {
                SceneKind::LookalikeSunset => Weather::Dusk,
                SceneKind::LookalikeHeadlights => Weather::Night,
                _ => Weather::Clear,
            },
            fire: FirePlace::Scene,
            fire_start_s: 3.0,
            fire_lasts_s: 600.0,
            fire_size: 1.0,
            range_m: None,
            telemetry_errors: TelemetryErrors::default(),
        }
    }

    /// Checks every value against its range.
    pub(super) fn checked(self) -> Result<Self, SimulatorError> {
        let size_is_good = |size: u32, most: u32| size.is_multiple_of(2) && (64..=most).contains(&size);
        if !size_is_good(self.width, 3840) || !size_is_good(self.height, 2160) {
            return Err(SimulatorError::Size {
                width: self.width,
                height: self.height,
            });
        }
        for (name, value, low, high) in [
            ("seconds", self.seconds, 0.04, 86_400.0),
            ("frames_per_second", self.frames_per_second, 0.1, 120.0),
            ("fire_start_s", self.fire_start_s, -3600.0, 86_400.0),
            ("fire_lasts_s", self.fire_lasts_s, 0.1, 86_400.0),
            ("fire_size", self.fire_size, 0.1, 10.0),
            ("range_m", self.range_m.unwrap_or(200.0), 30.0, 3_000.0),
            (
                "telemetry_errors.horizontal_m",
                self.telemetry_errors.horizontal_m,
                0.0,
                1000.0,
            ),
            (
                "telemetry_errors.height_m",
                self.telemetry_errors.height_m,
                0.0,
                1000.0,
            ),
            (
                "telemetry_errors.yaw_deg",
                self.telemetry_errors.yaw_deg,
                0.0,
                90.0,
            ),
            (
                "telemetry_errors.pitch_deg",
                self.telemetry_errors.pitch_deg,
                0.0,
                45.0,
            ),
        ] {
            // Written so that a value that is not a number is refused too.
            if !(low..=high).contains(&value) {
                return Err(SimulatorError::Range {
                    name,
                    value,
                    low,
                    high,
                });
            }
        }
        if let FirePlace::At(place) = self.fire
            && !((-85.0..=85.0).contains(&place.lat) && (-180.0..=180.0).contains(&place.lon))
        {
            return Err(SimulatorError::Fire {
                lat: place.lat,
                lon: place.lon,
            });
        }
        Ok(self)
    }

    /// Returns the frame rate as a fraction.
    #[must_use]
    pub fn rate(&self) -> (u32, u32) {
        let thousandths = (self.frames_per_second * 1000.0).round() as u32;
        let divisor = gcd(thousandths, 1000);
        (thousandths / divisor, 1000 / divisor)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}
