//! From poses to ST 0601 packets, for clips that other viewers place on their maps.

use jiff::Timestamp;

use super::packet::UasPacket;
use crate::flow::pose::{HeightDatum, Pose};
use crate::geo::CameraModel;
use crate::geo::geoid::converted;

/// Returns the packet of a pose at a moment; none where the pose has no place.
///
/// Only the camera's own direction is known: the platform is said to fly level under it, with a heading as near to the
/// camera's yaw as its 16 bits can say, and the rest is the sensor's. Heights above take-off or ground are tied to no
/// datum of the standard and are left out.
#[must_use]
pub fn packet_of(pose: &Pose, at: Timestamp, camera: Option<&CameraModel>) -> Option<UasPacket> {
    const HEADING_STEP_DEG: f64 = 360.0 / 65_535.0;
    let position = pose.position?;
    let height = |datum| {
        let told = pose.heights.absolute()?;
        converted(told, position, datum).map(|height| height.metres)
    };
    let mut packet = UasPacket {
        time_us: u64::try_from(at.as_microsecond()).ok(),
        sensor_lat_deg: Some(position.lat),
        sensor_lon_deg: Some(position.lon),
        sensor_msl_m: height(HeightDatum::Egm96),
        sensor_hae_m: height(HeightDatum::Ellipsoid),
        hfov_deg: camera.map(CameraModel::hfov_deg).or(pose.optics.hfov_deg),
        vfov_deg: camera.map(CameraModel::vfov_deg).or(pose.optics.vfov_deg),
        north_mps: pose.motion.north_mps,
        east_mps: pose.motion.east_mps,
        ..UasPacket::default()
    };
    if let Some(attitude) = pose.attitude {
        let yaw_deg = attitude.yaw_deg.rem_euclid(360.0);
        let heading_deg = (yaw_deg / HEADING_STEP_DEG).floor() * HEADING_STEP_DEG;
        packet.platform_heading_deg = Some(heading_deg);
        packet.platform_pitch_deg = Some(0.0);
        packet.platform_roll_deg = Some(0.0);
        packet.relative_azimuth_deg = Some(yaw_deg - heading_deg);
        packet.relative_elevation_deg = Some(attitude.pitch_deg);
        packet.relative_roll_deg = Some(attitude.roll_deg.rem_euclid(360.0));
    }
    Some(packet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::pose::{Attitude, Height, Heights, Wgs84};
    use crate::telemetry::klv::{PacketReader, sample_of, write};

    proptest! {
        #[test]
        fn a_pose_written_as_a_packet_and_read_again_is_the_same_pose(
            lat in -80.0..80.0f64, lon in -179.0..179.0f64, height_m in -50.0..5_000.0f64,
            yaw in 0.0..360.0f64, pitch in -89.0..89.0f64, roll in -170.0..170.0f64,
        ) {
            let pose = Pose {
                position: Some(Wgs84 { lat, lon }),
                heights: Heights::default().with(Height::new(height_m, HeightDatum::Egm96)),
                attitude: Some(Attitude::new(yaw, pitch, roll)),
                ..Pose::default()
            };
            let at: Timestamp = "2026-11-24T10:00:00.25Z".parse().unwrap();
            let camera = CameraModel::from_hfov(1920, 1080, 60.0).unwrap();
            let bytes = write::to_bytes(&packet_of(&pose, at, Some(&camera)).unwrap(), None);
            let again = sample_of(&PacketReader::new(&bytes).next().unwrap(), None);
            let back = again.to_pose();
            let (place, looks) = (back.position.unwrap(), back.attitude.unwrap());
            prop_assert!((place.lat - lat).abs() < 1e-7 && (place.lon - lon).abs() < 2e-7);
            prop_assert!((back.heights.egm96_m.unwrap() - height_m).abs() < 0.4);
            for (one, other) in [(looks.yaw_deg, yaw), (looks.pitch_deg, pitch), (looks.roll_deg, roll)] {
                let off = (one - other).rem_euclid(360.0);
                prop_assert!(off.min(360.0 - off) < 1e-4, "{one} {other}");
            }
            prop_assert!((again.optics.hfov_deg.unwrap() - 60.0).abs() < 0.01);
            prop_assert!((again.time.unix_s.unwrap() - at.as_microsecond() as f64 / 1e6).abs() < 1e-6);
        }
    }

    #[test]
    fn a_pose_without_a_place_gives_no_packet_and_one_above_take_off_no_height() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(packet_of(&Pose::default(), at, None), None);
        let pose = Pose {
            position: Some(Wgs84 {
                lat: 35.0,
                lon: 113.0,
            }),
            heights: Heights::default().with(Height::new(80.0, HeightDatum::Takeoff)),
            ..Pose::default()
        };
        let packet = packet_of(&pose, at, None).unwrap();
        assert_eq!((packet.sensor_hae_m, packet.sensor_msl_m), (None, None));
        assert_eq!(packet.relative_azimuth_deg, None);
    }
}
