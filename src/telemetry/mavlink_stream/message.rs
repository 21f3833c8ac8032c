//! The messages that say where a camera is and looks.

use nalgebra::{Quaternion, UnitQuaternion};

use crate::flow::pose::{Attitude, PoseFlag, Wgs84};
use crate::geo::ellipsoid::distance_azimuth;
use crate::geo::rotation::{attitude_of, wrapped_deg};
use crate::telemetry::sample::{
    Gimbal, GimbalFrame, TelemetrySample, checked_attitude, checked_height_m, place,
};

use super::VehicleState;

/// `GIMBAL_DEVICE_FLAGS_RETRACT`: the gimbal is folded away.
const RETRACTED: u16 = 1;
/// `GIMBAL_DEVICE_FLAGS_YAW_LOCK`.
const YAW_LOCK: u16 = 16;
/// `GIMBAL_DEVICE_FLAGS_YAW_IN_VEHICLE_FRAME`.
const YAW_IN_VEHICLE_FRAME: u16 = 32;
/// `GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME`.
const YAW_IN_EARTH_FRAME: u16 = 64;

/// How far the direction of the picture's middle may be from the camera's quaternion to say in which frame that is.
const SAME_DIRECTION_DEG: f64 = 5.0;

/// What one message says, in degrees, metres and seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Message {
    SystemTime {
        unix_s: f64,
        boot_s: f64,
    },
    Position {
        boot_s: f64,
        lat: f64,
        lon: f64,
        msl_m: f64,
        above_home_m: f64,
        velocity_mps: [f64; 3],
        heading_deg: Option<f64>,
    },
    Attitude {
        boot_s: f64,
        attitude: Option<Attitude>,
    },
    Home {
        place: Option<Wgs84>,
    },
    Gimbal {
        boot_s: f64,
        gimbal: Option<Gimbal>,
    },
    Mount {
        boot_s: f64,
        gimbal: Option<Gimbal>,
    },
    CameraView {
        boot_s: f64,
        position: Option<Wgs84>,
        msl_m: Option<f64>,
        centre: Option<Wgs84>,
        centre_msl_m: Option<f64>,
        attitude: Option<Attitude>,
        hfov_deg: Option<f64>,
        vfov_deg: Option<f64>,
    },
    CameraLens {
        boot_s: f64,
        focal_mm: Option<f64>,
        sensor_mm: Option<(f64, f64)>,
    },
    StreamView {
        hfov_deg: Option<f64>,
    },
}

/// Reads little-endian fields; what a frame cut off is zero.
struct Fields<'payload>(&'payload [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        for (index, slot) in out.iter_mut().enumerate() {
            *slot = self.0.get(at + index).copied().unwrap_or(0);
        }
        out
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    fn i16(&self, at: usize) -> f64 {
        f64::from(i16::from_le_bytes(self.bytes(at)))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.bytes(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_le_bytes(self.bytes(at)))
    }

    fn boot_s(&self) -> f64 {
        f64::from(u32::from_le_bytes(self.bytes(0))) / 1e3
    }

    /// Degrees times 1e7; the end of the range means unknown.
    fn degrees(&self, at: usize) -> Option<f64> {
        let whole = self.i32(at);
        (whole != i32::MAX && whole != i32::MIN).then(|| f64::from(whole) / 1e7)
    }

    fn metres_of_mm(&self, at: usize) -> Option<f64> {
        let whole = self.i32(at);
        (whole != i32::MAX && whole != i32::MIN)
            .then(|| f64::from(whole) / 1e3)
            .and_then(checked_height_m)
    }

    fn positive(&self, at: usize, most: f64) -> Option<f64> {
        Some(self.f32(at)).filter(|value| *value > 0.0 && *value < most)
    }

    fn quaternion(&self, at: usize) -> Option<Attitude> {
        let [w, x, y, z] = [0, 4, 8, 12].map(|offset| self.f32(at + offset));
        let quaternion = Quaternion::new(w, x, y, z);
        let norm = quaternion.norm();
        (norm.is_finite() && (norm - 1.0).abs() < 0.05)
            .then(|| attitude_of(&UnitQuaternion::from_quaternion(quaternion).to_rotation_matrix()))
    }
}

impl Message {
    /// Reads a message that is needed; others give `None`.
    pub(super) fn read(id: u32, payload: &[u8]) -> Option<Self> {
        let fields = Fields(payload);
        let boot_s = fields.boot_s();
        Some(match id {
            2 => {
                let unix_us = u64::from_le_bytes(fields.bytes(0));
                // Before its first fix a vehicle tells zero or the time since boot here.
                if !(946_684_800_000_000..4_102_444_800_000_000).contains(&unix_us) {
                    return None;
                }
                Self::SystemTime {
                    unix_s: unix_us as f64 / 1e6,
                    boot_s: f64::from(u32::from_le_bytes(fields.bytes(8))) / 1e3,
                }
            }
            33 => Self::Position {
                boot_s,
                lat: fields.degrees(4).unwrap_or(f64::NAN),
                lon: fields.degrees(8).unwrap_or(f64::NAN),
                msl_m: f64::from(fields.i32(12)) / 1e3,
                above_home_m: f64::from(fields.i32(16)) / 1e3,
                velocity_mps: [20, 22, 24].map(|at| fields.i16(at) / 100.0),
                heading_deg: Some(fields.u16(26))
                    .filter(|hundredths| *hundredths < 36_000)
                    .map(|hundredths| f64::from(hundredths) / 100.0),
            },
            30 => Self::Attitude {
                boot_s,
                attitude: checked_attitude(
                    fields.f32(12).to_degrees(),
                    fields.f32(8).to_degrees(),
                    fields.f32(4).to_degrees(),
                ),
            },
            242 => Self::Home {
                place: place(
                    fields.degrees(0).unwrap_or(f64::NAN),
                    fields.degrees(4).unwrap_or(f64::NAN),
                ),
            },
            285 => {
                let flags = fields.u16(36);
                let in_vehicle = flags & YAW_IN_VEHICLE_FRAME != 0;
                let in_earth = flags & YAW_IN_EARTH_FRAME != 0;
                // Where neither is said, a locked yaw is one over north. Both at once contradict each other.
                let over_north = in_earth || (!in_vehicle && flags & YAW_LOCK != 0);
                let frame = (!(in_vehicle && in_earth)).then_some(if over_north {
                    GimbalFrame::Earth
                } else {
                    GimbalFrame::Heading
                });
                Self::Gimbal {
                    boot_s,
                    gimbal: fields
                        .quaternion(4)
                        .zip(frame)
                        .filter(|_| flags & RETRACTED == 0)
                        .map(|(attitude, frame)| Gimbal { attitude, frame }),
                }
            }
            265 => {
                let (roll, pitch, yaw) = (fields.f32(4), fields.f32(8), fields.f32(12));
                // A yaw over north that is exactly zero is one that was never filled in.
                let absolute = Some(fields.f32(16)).filter(|yaw| yaw.is_finite() && *yaw != 0.0);
                let (yaw, frame) =
                    absolute.map_or((yaw, GimbalFrame::Heading), |yaw| (yaw, GimbalFrame::Earth));
                Self::Mount {
                    boot_s,
                    gimbal: checked_attitude(yaw, pitch, if roll.is_nan() { 0.0 } else { roll })
                        .map(|attitude| Gimbal { attitude, frame }),
                }
            }
            271 => Self::CameraView {
                boot_s,
                position: fields
                    .degrees(4)
                    .zip(fields.degrees(8))
                    .and_then(|(lat, lon)| place(lat, lon)),
                msl_m: fields.metres_of_mm(12),
                centre: fields
                    .degrees(16)
                    .zip(fields.degrees(20))
                    .and_then(|(lat, lon)| place(lat, lon)),
                centre_msl_m: fields.metres_of_mm(24),
                attitude: fields.quaternion(28),
                hfov_deg: fields.positive(44, 179.0),
                vfov_deg: fields.positive(48, 179.0),
            },
            259 => Self::CameraLens {
                boot_s,
                focal_mm: fields.positive(8, 5_000.0),
                sensor_mm: fields.positive(12, 500.0).zip(fields.positive(16, 500.0)),
            },
            269 => Self::StreamView {
                hfov_deg: Some(fields.u16(16))
                    .filter(|deg| (1..179).contains(deg))
                    .map(f64::from),
            },
            _ => return None,
        })
    }

    /// Returns the time since boot; not a number if the message has none.
    pub(super) fn boot_s(&self) -> f64 {
        match self {
            Self::SystemTime { boot_s, .. }
            | Self::Position { boot_s, .. }
            | Self::Attitude { boot_s, .. }
            | Self::Gimbal { boot_s, .. }
            | Self::Mount { boot_s, .. }
            | Self::CameraView { boot_s, .. }
            | Self::CameraLens { boot_s, .. } => *boot_s,
            // These two hold no time, and what they say holds from then on.
            Self::Home { .. } | Self::StreamView { .. } => f64::NAN,
        }
    }

    /// Puts what the message says into a sample, or into the state of the vehicle where it holds from then on.
    pub(super) fn put_into(&self, sample: &mut TelemetrySample, state: &mut VehicleState, boot_s: f64) {
        match *self {
            Self::SystemTime { .. } => {}
            Self::Position {
                lat,
                lon,
                msl_m,
                above_home_m,
                velocity_mps,
                heading_deg,
                ..
            } => {
                sample.set_fix(lat, lon);
                sample.heights.egm96_m = checked_height_m(msl_m);
                sample.heights.takeoff_m = checked_height_m(above_home_m);
                let [north, east, down] = velocity_mps;
                sample.motion.north_mps = Some(north);
                sample.motion.east_mps = Some(east);
                sample.motion.up_mps = Some(-down);
                sample.heading_deg = heading_deg;
                sample.takeoff = state.takeoff;
                state.heading_deg = heading_deg.or(state.heading_deg);
            }
            Self::Attitude { attitude, .. } => {
                sample.platform = attitude;
                state.heading_deg = attitude.map(|attitude| attitude.yaw_deg).or(state.heading_deg);
            }
            Self::Home { place } => state.takeoff = place.or(state.takeoff),
            Self::Gimbal { gimbal, .. } | Self::Mount { gimbal, .. } => {
                sample.gimbal = gimbal;
                if gimbal.is_some() {
                    state.last_gimbal_s = Some(boot_s);
                }
            }
            Self::CameraView {
                position,
                msl_m,
                centre,
                centre_msl_m,
                attitude,
                hfov_deg,
                vfov_deg,
                ..
            } => {
                sample.position = position;
                if position.is_none() {
                    sample.flags.insert(PoseFlag::NoFix);
                }
                sample.heights.egm96_m = msl_m;
                sample.frame_centre = centre;
                sample.frame_centre_heights.egm96_m = centre_msl_m.filter(|_| centre.is_some());
                state.optics.hfov_deg = hfov_deg.or(state.optics.hfov_deg);
                state.optics.vfov_deg = vfov_deg.or(state.optics.vfov_deg);
                let own_gimbal = state
                    .last_gimbal_s
                    .is_some_and(|then_s| (boot_s - then_s).abs() <= super::GIMBAL_PREFERRED_S);
                if !own_gimbal {
                    sample.gimbal = attitude
                        .and_then(|attitude| view_frame(attitude, position, centre, state.heading_deg))
                        .zip(attitude)
                        .map(|(frame, attitude)| Gimbal { attitude, frame });
                }
            }
            Self::CameraLens {
                focal_mm, sensor_mm, ..
            } => {
                state.optics.focal_length_mm = focal_mm.or(state.optics.focal_length_mm);
                if let Some((width, height)) = sensor_mm {
                    state.optics.sensor_width_mm = Some(width);
                    state.optics.sensor_height_mm = Some(height);
                }
            }
            Self::StreamView { hfov_deg } => state.optics.hfov_deg = hfov_deg.or(state.optics.hfov_deg),
        }
    }
}

/// Tells in which frame a camera's quaternion is: over north, unless the place in the middle of its picture says
/// otherwise. `None` if that place fits neither.
fn view_frame(
    attitude: Attitude,
    from: Option<Wgs84>,
    centre: Option<Wgs84>,
    heading_deg: Option<f64>,
) -> Option<GimbalFrame> {
    let (Some(from), Some(centre)) = (from, centre) else {
        return Some(GimbalFrame::Earth);
    };
    let (away_m, azimuth_deg) = distance_azimuth(from, centre);
    // Below the camera every azimuth is as good as another.
    if away_m < 10.0 || attitude.pitch_deg < -80.0 {
        return Some(GimbalFrame::Earth);
    }
    let off = |yaw_deg: f64| wrapped_deg(yaw_deg - azimuth_deg).abs();
    if off(attitude.yaw_deg) <= SAME_DIRECTION_DEG {
        Some(GimbalFrame::Earth)
    } else if heading_deg.is_some_and(|heading_deg| off(attitude.yaw_deg + heading_deg) <= SAME_DIRECTION_DEG)
    {
        Some(GimbalFrame::Heading)
    } else {
        None
    }
}
