#![expect(deprecated, reason = "old vehicles still send MOUNT_ORIENTATION")]

use mavlink::dialects::common::{
    ATTITUDE_DATA, CAMERA_FOV_STATUS_DATA, GIMBAL_DEVICE_ATTITUDE_STATUS_DATA, GLOBAL_POSITION_INT_DATA,
    GimbalDeviceFlags, MOUNT_ORIENTATION_DATA, MavMessage, SYSTEM_TIME_DATA,
};
use mavlink::{MavHeader, MavlinkVersion};
use nalgebra::{Rotation3, UnitQuaternion};

use super::*;
use crate::geo::rotation::wrapped_deg;
use crate::telemetry::sample::GimbalFrame;

const UNIX_US: u64 = 1_790_000_000_000_000;

fn frame(version: MavlinkVersion, message: &MavMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = MavHeader {
        system_id: 1,
        component_id: 1,
        sequence: 0,
    };
    mavlink::write_versioned_msg(&mut bytes, version, header, message).unwrap();
    bytes
}

fn tlog(messages: &[(u32, MavMessage)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (boot_ms, message) in messages {
        let received_us = UNIX_US + u64::from(*boot_ms) * 1_000;
        bytes.extend_from_slice(&received_us.to_be_bytes());
        bytes.extend(frame(MavlinkVersion::V2, message));
    }
    bytes
}

fn position(boot_ms: u32, lat: f64, lon: f64) -> (u32, MavMessage) {
    let message = MavMessage::GLOBAL_POSITION_INT(GLOBAL_POSITION_INT_DATA {
        time_boot_ms: boot_ms,
        lat: (lat * 1e7).round() as i32,
        lon: (lon * 1e7).round() as i32,
        alt: 151_500,
        relative_alt: 100_250,
        vx: 300,
        vy: -400,
        vz: -50,
        hdg: 9_000,
    });
    (boot_ms, message)
}

fn attitude(boot_ms: u32, yaw_deg: f64) -> (u32, MavMessage) {
    let message = MavMessage::ATTITUDE(ATTITUDE_DATA {
        time_boot_ms: boot_ms,
        roll: 0.2,
        pitch: 0.1,
        yaw: yaw_deg.to_radians() as f32,
        ..ATTITUDE_DATA::default()
    });
    (boot_ms, message)
}

fn quaternion(yaw_deg: f64, pitch_deg: f64) -> [f32; 4] {
    let rotation = Rotation3::from_euler_angles(0.0, pitch_deg.to_radians(), yaw_deg.to_radians());
    let q = UnitQuaternion::from_rotation_matrix(&rotation);
    [q.w as f32, q.i as f32, q.j as f32, q.k as f32]
}

fn gimbal(boot_ms: u32, yaw_deg: f64, pitch_deg: f64, flags: GimbalDeviceFlags) -> (u32, MavMessage) {
    let message = MavMessage::GIMBAL_DEVICE_ATTITUDE_STATUS(GIMBAL_DEVICE_ATTITUDE_STATUS_DATA {
        time_boot_ms: boot_ms,
        q: quaternion(yaw_deg, pitch_deg),
        flags,
        ..GIMBAL_DEVICE_ATTITUDE_STATUS_DATA::default()
    });
    (boot_ms, message)
}

fn flight(flags: GimbalDeviceFlags) -> TelemetryLog {
    parse(&tlog(&[
        position(1_000, 35.19, 113.25),
        attitude(1_000, 90.0),
        gimbal(1_100, 20.0, -30.0, flags),
        attitude(1_200, 90.0),
        position(1_200, 35.19, 113.25),
    ]))
}

#[test]
fn the_four_cases_of_the_yaw_frame_are_told_apart() {
    let lock = GimbalDeviceFlags::GIMBAL_DEVICE_FLAGS_YAW_LOCK;
    let vehicle = GimbalDeviceFlags::GIMBAL_DEVICE_FLAGS_YAW_IN_VEHICLE_FRAME;
    let earth = GimbalDeviceFlags::GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME;
    for (flags, yaw_deg) in [
        (vehicle, 110.0),
        (vehicle | lock, 110.0),
        (earth, 20.0),
        (lock, 20.0),
        (GimbalDeviceFlags::empty(), 110.0),
    ] {
        let log = flight(flags);
        assert_eq!(log.samples.len(), 1, "{flags:?}");
        let looks = log.samples[0].camera_attitude().unwrap();
        assert!(
            wrapped_deg(looks.yaw_deg - yaw_deg).abs() < 1e-3,
            "{flags:?}: {looks:?}"
        );
        assert!(
            (looks.pitch_deg + 30.0).abs() < 1e-3,
            "the aircraft's bank does not tilt the gimbal"
        );
        assert!(looks.roll_deg.abs() < 1e-3);
    }
    assert!(
        flight(vehicle | earth)
            .samples
            .iter()
            .all(|sample| sample.gimbal.is_none())
    );
    let retracted = GimbalDeviceFlags::GIMBAL_DEVICE_FLAGS_RETRACT;
    assert!(
        flight(earth | retracted)
            .samples
            .iter()
            .all(|sample| sample.gimbal.is_none())
    );
}

#[test]
fn places_heights_and_speeds_keep_their_meaning() {
    let log = flight(GimbalDeviceFlags::GIMBAL_DEVICE_FLAGS_YAW_IN_EARTH_FRAME);
    let sample = log.samples[0];
    let place = sample.position.unwrap();
    assert!((place.lat - 35.19).abs() < 1e-7 && (place.lon - 113.25).abs() < 1e-7);
    assert_eq!(sample.heights.egm96_m, Some(151.5));
    assert_eq!(sample.heights.takeoff_m, Some(100.25));
    assert_eq!(sample.heights.ellipsoid_m, None);
    assert_eq!(sample.motion.up_mps, Some(0.5));
    assert!((sample.time.unix_s.unwrap() - 1_790_000_001.1).abs() < 1e-3);
    assert_eq!(log.clock, LogTime::Unix);
}

#[test]
fn a_log_without_a_gimbal_gives_places_without_directions() {
    let log = parse(&tlog(&[position(1_000, 35.19, 113.25), attitude(1_000, 90.0)]));
    assert_eq!(log.samples.len(), 1);
    assert!(log.samples[0].camera_attitude().is_err());
    let none = parse(&tlog(&[position(1_000, 0.0, 0.0)]));
    assert!(none.samples[0].position.is_none());
}

#[test]
fn the_vehicle_s_own_time_wins_over_the_ground_station_s() {
    let mut messages = vec![(
        500,
        MavMessage::SYSTEM_TIME(SYSTEM_TIME_DATA {
            time_unix_usec: UNIX_US + 60_500_000,
            time_boot_ms: 500,
        }),
    )];
    messages.push(position(1_000, 35.19, 113.25));
    let log = parse(&tlog(&messages));
    assert!((log.samples[0].time.unix_s.unwrap() - 1_790_000_061.0).abs() < 1e-3);
}

#[test]
fn an_old_mount_is_read_in_both_its_frames() {
    let mount = |yaw: f32| {
        (
            1_100,
            MavMessage::MOUNT_ORIENTATION(MOUNT_ORIENTATION_DATA {
                time_boot_ms: 1_100,
                roll: 0.0,
                pitch: -45.0,
                yaw,
            }),
        )
    };
    let log = parse(&tlog(&[
        position(1_000, 35.19, 113.25),
        attitude(1_000, 90.0),
        mount(15.0),
        attitude(1_200, 90.0),
        position(1_200, 35.19, 113.25),
    ]));
    let looks = log.samples[0].camera_attitude().unwrap();
    assert!((looks.yaw_deg - 105.0).abs() < 1e-3 && (looks.pitch_deg + 45.0).abs() < 1e-3);
    // The extension: yaw over north, 16 bytes further on.
    let mut payload = vec![0; 16];
    payload[8..12].copy_from_slice(&(-45f32).to_le_bytes());
    payload.extend_from_slice(&200f32.to_le_bytes());
    let Some(Message::Mount {
        gimbal: Some(gimbal), ..
    }) = Message::read(265, &payload)
    else {
        panic!("a mount is expected");
    };
    assert_eq!(gimbal.frame, GimbalFrame::Earth);
    assert!((gimbal.attitude.yaw_deg - 200.0).abs() < 1e-3);
}

#[test]
fn the_view_of_a_camera_gives_its_field_and_its_direction() {
    let view = |yaw_deg: f64, lat_image: i32| {
        MavMessage::CAMERA_FOV_STATUS(CAMERA_FOV_STATUS_DATA {
            time_boot_ms: 1_000,
            lat_camera: 351_900_000,
            lon_camera: 1_132_500_000,
            alt_camera: 200_000,
            lat_image,
            lon_image: if lat_image == i32::MIN {
                i32::MIN
            } else {
                1_132_500_000
            },
            alt_image: if lat_image == i32::MIN { i32::MIN } else { 100_000 },
            q: quaternion(yaw_deg, -20.0),
            hfov: 60.0,
            vfov: 36.0,
        })
    };
    let north = 351_930_000;
    let horizon = parse(&tlog(&[
        position(900, 35.19, 113.25),
        (1_000, view(33.0, i32::MIN)),
    ]));
    let sample = horizon.samples[0];
    assert_eq!(sample.optics.hfov_deg, Some(60.0));
    assert!((sample.camera_attitude().unwrap().yaw_deg - 33.0).abs() < 1e-3);
    assert!(sample.frame_centre.is_none());
    let agreeing = parse(&tlog(&[position(900, 35.19, 113.25), (1_000, view(1.0, north))]));
    assert!((agreeing.samples[0].camera_attitude().unwrap().yaw_deg - 1.0).abs() < 1e-3);
    // The vehicle heads east: a quaternion of -90 that shows the north is relative to the vehicle.
    let relative = parse(&tlog(&[
        position(900, 35.19, 113.25),
        (1_000, view(-90.0, north)),
        position(1_100, 35.19, 113.25),
    ]));
    assert!(wrapped_deg(relative.samples[0].camera_attitude().unwrap().yaw_deg).abs() < 1e-3);
    let contradicting = parse(&tlog(&[position(900, 35.19, 113.25), (1_000, view(50.0, north))]));
    assert!(
        contradicting
            .samples
            .iter()
            .all(|sample| sample.camera_attitude().is_err())
    );
}

#[test]
fn garbage_and_damage_cost_only_the_frames_they_hit() {
    let whole = tlog(&[
        position(1_000, 35.19, 113.25),
        position(1_100, 35.19, 113.25),
        position(1_200, 35.19, 113.25),
    ]);
    let mut bytes = whole.clone();
    let third = whole.len() / 3;
    bytes[third + 8 + 15] ^= 0xFF;
    bytes.splice(0..0, [0xFD, 0xFE, 0x00, 0xFD, 0xFF]);
    let log = parse(&bytes);
    assert_eq!(log.samples.len(), 2);
    assert!(log.bad_checksums >= 1);
}

#[test]
fn a_stream_in_pieces_of_any_size_gives_the_same_samples() {
    let mut bytes = Vec::new();
    for step in 0..5u32 {
        bytes.extend(frame(MavlinkVersion::V1, &position(step * 100, 35.19, 113.25).1));
        bytes.extend(frame(MavlinkVersion::V2, &attitude(step * 100, 45.0).1));
    }
    for size in [1, 3, 7, 64, bytes.len()] {
        let mut reader = MavlinkReader::default();
        let samples: Vec<_> = bytes
            .chunks(size)
            .flat_map(|piece| reader.push(piece, 1.79e9))
            .collect();
        assert_eq!(samples.len(), 10, "pieces of {size}");
        assert_eq!(reader.bad_checksums, 0);
    }
}

#[test]
fn bare_frames_are_no_tlog() {
    let bare = frame(MavlinkVersion::V2, &position(1_000, 35.19, 113.25).1);
    assert_eq!(Framing::of(&bare), Framing::Stream);
    assert_eq!(parse(&bare).clock, LogTime::Boot);
    assert_eq!(
        Framing::of(&tlog(&[position(1_000, 35.19, 113.25)])),
        Framing::Tlog
    );
    assert_eq!(parse(&[]).samples.len(), 0);
}
