//! A scene: any of its frames, with what is true of it, as a pure function of the options and the frame's number.

use std::sync::{Arc, OnceLock};

use super::camera::{Camera, CameraPose};
use super::earth::{GroundPoint, LocalFrame};
use super::error::SimulatorError;
use super::flight::{Flight, first_azimuth_deg, wind_m_s};
use super::ground::{Field, Ground, Thing};
use super::light::Light;
use super::lookalike::{self, BornAt};
use super::noise::{Dice, Noise, hash};
use super::options::{FirePlace, SceneKind, SceneOptions, TelemetryErrors, Weather};
use super::render::Stage;
use super::sprites::Sprites;
use super::things::Trees;
use crate::flow::pose::Wgs84;

/// Where a scene lies unless the fire says otherwise: farmland east of Jiaozuo.
pub const SCENE_PLACE: Wgs84 = Wgs84 {
    lat: 35.2154,
    lon: 113.2418,
};

/// Height of the ground above the ellipsoid, in metres; the ground is level.
pub const GROUND_HEIGHT_M: f64 = 75.0;

/// A scene, ready to be rendered.
pub struct Scene {
    pub(super) options: SceneOptions,
    pub(super) frame: LocalFrame,
    pub(super) fire: Option<GroundPoint>,
    pub(super) light: Light,
    pub(super) flight: Flight,
    pub(super) wind: (f64, f64),
    pub(super) smoke_shade: f32,
    pub(super) noise: Arc<Noise>,
    pub(super) ground: Arc<Ground>,
    pub(super) sprites: Sprites,
    pub(super) trees: Trees,
    pub(super) things: Vec<Thing>,
    pub(super) cloud: Option<BornAt>,
    /// What a camera that stands still sees besides the fire, once it was painted.
    pub(super) still: OnceLock<Stage>,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Scene({:?})", self.options)
    }
}

impl Scene {
    /// Makes the scene: its ground, its wind and the camera's way.
    pub fn new(options: SceneOptions) -> Result<Self, SimulatorError> {
        let options = options.checked()?;
        let seed = options.seed;
        let place = match options.fire {
            FirePlace::At(place) => place,
            FirePlace::Scene | FirePlace::None => SCENE_PLACE,
        };
        let centre = GroundPoint {
            lat: place.lat,
            lon: place.lon,
            height_m: GROUND_HEIGHT_M,
        };
        let burns = match options.fire {
            FirePlace::At(_) => true,
            FirePlace::Scene => !options.kind.is_lookalike(),
            FirePlace::None => false,
        };
        let mut dice = Dice::new(seed, 0x0073_6365_6e65);
        let sun_azimuth_deg = match options.weather {
            // Plastic mirrors the sun when it stands opposite the camera.
            _ if options.kind == SceneKind::LookalikeGreenhouse => {
                first_azimuth_deg(seed) + 180.0 + dice.between(-12.0, 12.0)
            }
            Weather::Dusk => 250.0 + dice.between(0.0, 20.0),
            _ => 130.0 + dice.between(0.0, 100.0),
        };
        let noise = Arc::new(Noise::new(hash(seed, 1)));
        // A small picture cannot show more than a metre.
        let texel_m = if options.width >= 900 { 0.5 } else { 1.0 };
        let field = match options.kind {
            SceneKind::LookalikeGreenhouse => Field::Greenhouses,
            _ => Field::Stubble,
        };
        Ok(Self {
            frame: LocalFrame::at(centre),
            fire: burns.then_some(centre),
            light: Light::new(options.weather, sun_azimuth_deg),
            flight: Flight::new(&options, sun_azimuth_deg),
            wind: wind_m_s(seed),
            smoke_shade: (dice.unit() * dice.unit() * 0.75) as f32,
            ground: Arc::new(Ground::new(seed, texel_m, field, &noise)),
            sprites: Sprites::new(&noise),
            trees: Trees::new(&noise),
            things: lookalike::things(options.kind),
            cloud: lookalike::cloud(options.kind, seed),
            still: OnceLock::new(),
            noise,
            options,
        })
    }

    /// Returns what the scene was made from.
    #[must_use]
    pub const fn options(&self) -> &SceneOptions {
        &self.options
    }

    /// Returns how many frames the scene has, at least 1.
    #[must_use]
    pub fn frames(&self) -> u64 {
        let (numerator, denominator) = self.options.rate();
        ((self.options.seconds * f64::from(numerator) / f64::from(denominator)).round() as u64).max(1)
    }

    /// Returns the media time of a frame, in seconds.
    #[must_use]
    pub fn pts_s(&self, index: u64) -> f64 {
        let (numerator, denominator) = self.options.rate();
        index as f64 * f64::from(denominator) / f64::from(numerator)
    }

    /// Returns where it burns, if it ever does.
    #[must_use]
    pub const fn fire(&self) -> Option<GroundPoint> {
        self.fire
    }

    /// Returns where the camera truly is and looks at a media time, in seconds.
    #[must_use]
    pub fn pose(&self, time_s: f64) -> CameraPose {
        self.flight.pose(time_s, &self.frame, GROUND_HEIGHT_M)
    }

    /// Returns the pose that telemetry states at a media time, in seconds: the true one with the errors asked for.
    #[must_use]
    pub fn reported_pose(&self, time_s: f64) -> CameraPose {
        let pose = self.pose(time_s);
        let sigma = &self.options.telemetry_errors;
        if *sigma == TelemetryErrors::default() {
            return pose;
        }
        let mut dice = Dice::new(self.options.seed, 0x6572_726f_7273);
        let at = LocalFrame::at(pose.place());
        let (east_m, north_m) = (
            dice.normal() * sigma.horizontal_m,
            dice.normal() * sigma.horizontal_m,
        );
        let height_m = pose.height_m + dice.normal() * sigma.height_m;
        let place = at.at_height(east_m, north_m, height_m);
        CameraPose {
            lat: place.lat,
            lon: place.lon,
            height_m,
            yaw_deg: (pose.yaw_deg + dice.normal() * sigma.yaw_deg + 180.0).rem_euclid(360.0) - 180.0,
            pitch_deg: pose.pitch_deg + dice.normal() * sigma.pitch_deg,
            ..pose
        }
    }

    /// Returns where a pose's axis meets the ground and how far away that is in metres, up to 20 km.
    pub(super) fn looks_at(&self, pose: &CameraPose) -> Option<(GroundPoint, f64)> {
        let camera = Camera::new(pose, self.options.width, self.options.height, GROUND_HEIGHT_M);
        let ray = camera.ray(
            f64::from(self.options.width) / 2.0,
            f64::from(self.options.height) / 2.0,
        );
        let along = camera.ground_along(&ray).filter(|along| *along < 20_000.0)?;
        let point = LocalFrame::at(pose.place()).ecef(ray * along);
        Some((GroundPoint::from_ecef(point), ray.norm() * along))
    }

    /// Returns the camera at a media time, in seconds, which projects places on Earth to pixels.
    #[must_use]
    pub fn camera(&self, time_s: f64) -> Camera {
        Camera::new(
            &self.pose(time_s),
            self.options.width,
            self.options.height,
            GROUND_HEIGHT_M,
        )
    }
}
