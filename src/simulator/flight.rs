//! Where the camera is and looks at each moment: a drone's leg, an orbit, a mast.

use std::f64::consts::TAU;

use super::camera::CameraPose;
use super::earth::LocalFrame;
use super::noise::Dice;
use super::options::{SceneKind, SceneOptions};

/// Focal length of the drones' lens as telemetry states it, 35 mm equivalent by the diagonal of the full 4:3 sensor.
pub(super) const DRONE_FOCAL_35_MM: f64 = 24.0;
/// Width of a picture in units of the 35 mm-equivalent focal length, for a full-width 16:9 crop of a 4:3 sensor.
pub(super) const WIDTH_35_MM: f64 = 34.6;

/// A camera's way through the scene.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    kind: SceneKind,
    /// Direction from the scene's centre to the camera at the start, degrees from north.
    azimuth_deg: f64,
    range_m: f64,
    height_m: f64,
    /// Metres a second along a leg, degrees a second on an orbit.
    speed: f64,
    /// Where the camera looks beside the centre: yaw, pitch.
    aside_deg: (f64, f64),
    phase: f64,
    hfov_deg: f64,
}

impl Flight {
    /// Plans the way of a scene. All scenes of one seed share the wind and the directions of their cameras.
    pub(super) fn new(options: &SceneOptions, sun_azimuth_deg: f64) -> Self {
        let first_azimuth_deg = first_azimuth_deg(options.seed);
        let mut dice = Dice::new(options.seed, 0x0066_6c69_6768_7400 ^ options.kind as u64);
        let drone_hfov_deg = 2.0 * (WIDTH_35_MM / 2.0 / DRONE_FOCAL_35_MM).atan().to_degrees();
        let phase = dice.between(0.0, TAU);
        let base = Self {
            kind: options.kind,
            azimuth_deg: first_azimuth_deg,
            range_m: 0.0,
            height_m: 0.0,
            speed: 0.0,
            aside_deg: (0.0, 0.0),
            phase,
            hfov_deg: drone_hfov_deg,
        };
        let planned = match options.kind {
            SceneKind::Drone => Self {
                azimuth_deg: first_azimuth_deg - 100.0,
                range_m: dice.between(190.0, 250.0),
                height_m: dice.between(75.0, 105.0),
                speed: dice.between(4.0, 6.0),
                aside_deg: (0.0, dice.between(4.0, 8.0)),
                ..base
            },
            SceneKind::Orbit => Self {
                range_m: dice.between(170.0, 230.0),
                height_m: dice.between(80.0, 110.0),
                speed: dice.between(1.6, 2.4),
                aside_deg: (0.0, dice.between(2.0, 6.0)),
                ..base
            },
            SceneKind::Tower | SceneKind::TowerEast | SceneKind::TowerPan => Self {
                azimuth_deg: first_azimuth_deg
                    + if options.kind == SceneKind::TowerEast {
                        88.0
                    } else {
                        0.0
                    },
                range_m: dice.between(620.0, 860.0),
                height_m: dice.between(32.0, 44.0),
                aside_deg: (dice.between(-4.0, 4.0), dice.between(1.0, 2.4)),
                hfov_deg: 30.0,
                ..base
            },
            SceneKind::LookalikeSunset => Self {
                azimuth_deg: sun_azimuth_deg + 180.0,
                range_m: 900.0,
                height_m: 36.0,
                aside_deg: (dice.between(-5.0, 5.0), dice.between(3.0, 5.0)),
                hfov_deg: 44.0,
                ..base
            },
            SceneKind::LookalikeHeadlights => Self {
                range_m: dice.between(380.0, 520.0),
                height_m: dice.between(26.0, 36.0),
                aside_deg: (dice.between(-4.0, 4.0), dice.between(0.5, 2.0)),
                hfov_deg: 36.0,
                ..base
            },
            _ => Self {
                range_m: dice.between(130.0, 220.0),
                height_m: dice.between(60.0, 100.0),
                speed: dice.between(2.0, 4.0),
                aside_deg: (0.0, dice.between(2.0, 7.0)),
                ..base
            },
        };
        Self {
            range_m: options.range_m.unwrap_or(planned.range_m),
            ..planned
        }
    }

    /// Returns whether the camera neither moves nor turns.
    pub(super) fn is_still(&self) -> bool {
        self.kind.is_fixed() && self.kind != SceneKind::TowerPan
    }

    /// Returns the pose at a time, in seconds; the scene's frame has its origin on the ground at its centre.
    pub(super) fn pose(&self, time_s: f64, scene: &LocalFrame, ground_height_m: f64) -> CameraPose {
        let (east_m, north_m, azimuth_deg) = match self.kind {
            SceneKind::Orbit => {
                let azimuth_deg = self.azimuth_deg + self.speed * time_s;
                let (sin, cos) = azimuth_deg.to_radians().sin_cos();
                (self.range_m * sin, self.range_m * cos, azimuth_deg)
            }
            kind if kind.is_fixed() => {
                let (sin, cos) = self.azimuth_deg.to_radians().sin_cos();
                (self.range_m * sin, self.range_m * cos, self.azimuth_deg)
            }
            _ => {
                // A leg square to the line of sight, begun before the point of nearest approach and flown to and fro.
                let (sin, cos) = self.azimuth_deg.to_radians().sin_cos();
                let leg_m = 120.0;
                let along_m = leg_m * (self.speed * time_s / leg_m - 0.55).sin();
                let (east_m, north_m) = (
                    self.range_m * sin + along_m * cos,
                    self.range_m * cos - along_m * sin,
                );
                (east_m, north_m, east_m.atan2(north_m).to_degrees())
            }
        };
        let range_m = east_m.hypot(north_m);
        let sine = |period_s: f64, shift: f64| (TAU * time_s / period_s + self.phase + shift).sin();
        let look_yaw_deg = azimuth_deg + 180.0 + self.aside_deg.0;
        let look_pitch_deg = -(self.height_m / range_m).atan().to_degrees() + self.aside_deg.1;
        let (yaw_deg, pitch_deg, roll_deg) = match self.kind {
            SceneKind::TowerPan => (look_yaw_deg + preset_deg(time_s), look_pitch_deg, 0.0),
            kind if kind.is_fixed() => (look_yaw_deg, look_pitch_deg, 0.0),
            _ => (
                // A slow search, then what the gimbal does not take out.
                look_yaw_deg + 9.0 * sine(26.0, 0.0) + 0.06 * sine(1.3, 1.0) + 0.03 * sine(0.41, 2.0),
                look_pitch_deg + 1.6 * sine(17.0, 3.0) + 0.05 * sine(0.9, 4.0) + 0.02 * sine(0.37, 5.0),
                0.25 * sine(7.0, 6.0) + 0.08 * sine(0.8, 7.0),
            ),
        };
        let bob_m = if self.kind.is_fixed() {
            0.0
        } else {
            0.4 * sine(9.0, 0.5)
        };
        let place = scene.at_height(east_m, north_m, ground_height_m + self.height_m + bob_m);
        CameraPose {
            lat: place.lat,
            lon: place.lon,
            height_m: place.height_m,
            yaw_deg: (yaw_deg + 180.0).rem_euclid(360.0) - 180.0,
            pitch_deg,
            roll_deg,
            hfov_deg: self.hfov_deg,
        }
    }
}

/// Returns the direction from the fire to the first mast, degrees from north.
pub(super) fn first_azimuth_deg(seed: u64) -> f64 {
    Dice::new(seed, 0x0061_7a69_6d75_7468).between(0.0, 360.0)
}

/// Returns the wind of a seed, metres a second towards east and north; it crosses what the usual cameras look along.
pub(super) fn wind_m_s(seed: u64) -> (f64, f64) {
    let mut dice = Dice::new(seed, 0x0077_696e_6400);
    let towards_deg = first_azimuth_deg(seed) + 135.0 + dice.between(-20.0, 20.0);
    let speed_m_s = dice.between(1.6, 3.4);
    let (sin, cos) = towards_deg.to_radians().sin_cos();
    (speed_m_s * sin, speed_m_s * cos)
}

/// Returns how far a panning camera has turned from its middle preset: three presets, 8 s each, 2 s in between.
fn preset_deg(time_s: f64) -> f64 {
    const PRESETS_DEG: [f64; 4] = [0.0, 38.0, 0.0, -38.0];
    let turn = (time_s / 10.0).floor();
    let within_s = time_s - turn * 10.0;
    let index = turn.rem_euclid(4.0) as usize;
    let (from, to) = (PRESETS_DEG[index], PRESETS_DEG[(index + 1) % 4]);
    let share = ((within_s - 8.0) / 2.0).clamp(0.0, 1.0);
    from + (to - from) * share * share * (3.0 - 2.0 * share)
}
