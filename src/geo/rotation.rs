//! Attitudes and rotations: north-east-down, ZYX, as MISB ST 0601 and DJI use them.

use nalgebra::{Rotation3, UnitQuaternion, Vector3};

use crate::flow::pose::Attitude;

/// Returns the rotation that carries body axes (forward, right, down) into north, east, down.
#[must_use]
pub fn rotation_of(attitude: Attitude) -> Rotation3<f64> {
    Rotation3::from_euler_angles(
        attitude.roll_deg.to_radians(),
        attitude.pitch_deg.to_radians(),
        attitude.yaw_deg.to_radians(),
    )
}

/// Returns the attitude of a rotation, yaw 0 to 360. Straight up or down, where yaw and roll are the same turn, roll
/// is 0.
#[must_use]
pub fn attitude_of(rotation: &Rotation3<f64>) -> Attitude {
    let m = rotation.matrix();
    let sin_pitch = (-m[(2, 0)]).clamp(-1.0, 1.0);
    let (yaw, roll) = if sin_pitch.abs() > 1.0 - 1e-12 {
        ((-m[(0, 1)]).atan2(m[(1, 1)]), 0.0)
    } else {
        (m[(1, 0)].atan2(m[(0, 0)]), m[(2, 1)].atan2(m[(2, 2)]))
    };
    Attitude {
        yaw_deg: yaw.to_degrees().rem_euclid(360.0),
        pitch_deg: sin_pitch.asin().to_degrees(),
        roll_deg: roll.to_degrees(),
    }
}

/// Returns where the optical axis points when a sensor sits on a platform: MISB ST 0601 tags 5, 6, 7 (or 90, 91) for
/// the platform and 18, 19, 20 for the sensor relative to it. Both are ZYX; relative elevation is negative downwards.
#[must_use]
pub fn platform_and_sensor(platform: Attitude, relative: Attitude) -> Attitude {
    attitude_of(&(rotation_of(platform) * rotation_of(relative)))
}

/// Returns the attitude a share of the way (0 to 1) from one to the other, along the shortest turn.
#[must_use]
pub fn between(from: Attitude, to: Attitude, share: f64) -> Attitude {
    let first = UnitQuaternion::from_rotation_matrix(&rotation_of(from));
    let last = UnitQuaternion::from_rotation_matrix(&rotation_of(to));
    let turned = first
        .try_slerp(&last, share, 1e-9)
        .unwrap_or(if share < 0.5 { first } else { last });
    attitude_of(&turned.to_rotation_matrix())
}

/// Returns the angle between the optical axes of two attitudes, in degrees.
#[must_use]
pub fn axis_angle_deg(one: Attitude, other: Attitude) -> f64 {
    let first = rotation_of(one) * Vector3::x();
    let last = rotation_of(other) * Vector3::x();
    first.cross(&last).norm().atan2(first.dot(&last)).to_degrees()
}

/// Turns a direction in camera axes (right, down, forward) into east, north, up.
#[must_use]
#[inline]
pub fn camera_to_enu(rotation: &Rotation3<f64>, camera: &Vector3<f64>) -> Vector3<f64> {
    let ned = rotation * Vector3::new(camera.z, camera.x, camera.y);
    Vector3::new(ned.y, ned.x, -ned.z)
}

/// Turns east, north, up into camera axes (right, down, forward).
#[must_use]
pub fn enu_to_camera(rotation: &Rotation3<f64>, enu: &Vector3<f64>) -> Vector3<f64> {
    let body = rotation.inverse() * Vector3::new(enu.y, enu.x, -enu.z);
    Vector3::new(body.y, body.z, body.x)
}

/// Returns `degrees` brought into -180 to 180.
#[must_use]
pub fn wrapped_deg(degrees: f64) -> f64 {
    let turned = degrees.rem_euclid(360.0);
    if turned > 180.0 { turned - 360.0 } else { turned }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::ellipsoid::direction_of;

    fn axis(attitude: Attitude) -> (f64, f64) {
        direction_of(&camera_to_enu(&rotation_of(attitude), &Vector3::z()))
    }

    #[test]
    fn yaw_and_pitch_point_the_axis_where_they_say() {
        for (yaw, pitch) in [(0.0, 0.0), (90.0, -24.5), (359.0, 10.0), (180.0, -89.0)] {
            let (azimuth, elevation) = axis(Attitude::new(yaw, pitch, 33.0));
            assert!(wrapped_deg(azimuth - yaw).abs() < 1e-9);
            assert!((elevation - pitch).abs() < 1e-9);
        }
    }

    #[test]
    fn a_roll_of_ninety_turns_right_into_down() {
        let rotation = rotation_of(Attitude::new(0.0, 0.0, 90.0));
        let right = camera_to_enu(&rotation, &Vector3::x());
        assert!((right - Vector3::new(0.0, 0.0, -1.0)).norm() < 1e-12);
    }

    #[test]
    fn a_level_platform_adds_its_heading_to_the_sensor() {
        let axis = platform_and_sensor(Attitude::new(350.0, 0.0, 0.0), Attitude::new(20.0, -30.0, 0.0));
        assert!(wrapped_deg(axis.yaw_deg - 10.0).abs() < 1e-9);
        assert!((axis.pitch_deg + 30.0).abs() < 1e-9);
        assert!(axis.roll_deg.abs() < 1e-9);
    }

    #[test]
    fn a_banking_platform_lowers_the_sensor_that_looks_to_the_low_side() {
        let axis = platform_and_sensor(Attitude::new(0.0, 0.0, 10.0), Attitude::new(90.0, 0.0, 0.0));
        assert!((axis.pitch_deg + 10.0).abs() < 1e-9);
    }

    #[test]
    fn half_way_over_north_does_not_go_by_the_south() {
        let half = between(Attitude::new(350.0, 0.0, 0.0), Attitude::new(20.0, 0.0, 0.0), 0.5);
        assert!(wrapped_deg(half.yaw_deg - 5.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn attitude_to_rotation_and_back(yaw in 0.0..360.0f64, pitch in -89.0..89.0f64, roll in -179.0..179.0f64) {
            let attitude = Attitude::new(yaw, pitch, roll);
            let back = attitude_of(&rotation_of(attitude));
            prop_assert!(wrapped_deg(back.yaw_deg - yaw).abs() < 1e-7);
            prop_assert!((back.pitch_deg - pitch).abs() < 1e-7);
            prop_assert!(wrapped_deg(back.roll_deg - roll).abs() < 1e-7);
        }

        #[test]
        fn camera_to_enu_and_back(yaw in 0.0..360.0f64, pitch in -90.0..90.0f64, x in -1.0..1.0f64, y in -1.0..1.0f64) {
            let rotation = rotation_of(Attitude::new(yaw, pitch, 5.0));
            let camera = Vector3::new(x, y, 1.0);
            let back = enu_to_camera(&rotation, &camera_to_enu(&rotation, &camera));
            prop_assert!((back - camera).norm() < 1e-9);
        }
    }
}
