//! From ST 0601 packets to samples.

use super::packet::UasPacket;
use super::read::PacketReader;
use crate::flow::pose::{Attitude, Heights, Motion, Optics, PoseFlag};
use crate::telemetry::log::{LogTime, TelemetryLog};
use crate::telemetry::sample::{Gimbal, GimbalFrame, SampleTime, TelemetrySample, checked_attitude, place};

/// The radius that holds 90 % of a circular normal distribution, in standard deviations.
const CIRCULAR_90: f64 = 2.146;

/// The standard deviation of a roll that was not told, in degrees.
const UNKNOWN_ROLL_SIGMA_DEG: f64 = 10.0;

/// Turns a packet into a sample. `media_s` is its presentation time where the transport has one.
#[must_use]
pub fn sample_of(packet: &UasPacket, media_s: Option<f64>) -> TelemetrySample {
    let mut sample = TelemetrySample {
        time: SampleTime {
            media_s,
            unix_s: packet.time_us.filter(|us| *us > 0).map(|us| us as f64 / 1e6),
            ..SampleTime::default()
        },
        heights: Heights {
            ellipsoid_m: packet.sensor_hae_m,
            // ST 0601 says "mean sea level" and names no geoid: EGM96 is what its encoders use.
            egm96_m: packet.sensor_msl_m,
            ..Heights::default()
        },
        heading_deg: packet.platform_heading_deg,
        optics: Optics {
            hfov_deg: packet.hfov_deg.filter(|deg| *deg > 0.0),
            vfov_deg: packet.vfov_deg.filter(|deg| *deg > 0.0),
            ..Optics::default()
        },
        frame_centre_heights: Heights {
            ellipsoid_m: packet.centre_hae_m,
            egm96_m: packet.centre_msl_m,
            ..Heights::default()
        },
        motion: Motion {
            north_mps: packet.north_mps,
            east_mps: packet.east_mps,
            ..Motion::default()
        },
        // A slant range is not a laser's: most encoders compute it from their own terrain. It is not taken for one.
        laser: None,
        ..TelemetrySample::default()
    };
    match (packet.sensor_lat_deg, packet.sensor_lon_deg) {
        (Some(lat), Some(lon)) => sample.set_fix(lat, lon),
        _ => sample.flags.insert(PoseFlag::NoFix),
    }
    sample.frame_centre = packet
        .centre_lat_deg
        .zip(packet.centre_lon_deg)
        .and_then(|(lat, lon)| place(lat, lon));
    if let (Some(heading), Some(pitch), Some(roll)) = (
        packet.platform_heading_deg,
        packet.platform_pitch_deg,
        packet.platform_roll_deg,
    ) {
        sample.platform = checked_attitude(heading, pitch, roll);
    }
    if let (Some(azimuth), Some(elevation)) = (packet.relative_azimuth_deg, packet.relative_elevation_deg) {
        // The roll about the optical axis does not move the axis: without it the middle of the picture still holds.
        let roll = packet.relative_roll_deg.unwrap_or_else(|| {
            sample.sigmas.roll_deg = Some(UNKNOWN_ROLL_SIGMA_DEG);
            0.0
        });
        sample.gimbal = Some(Gimbal {
            attitude: Attitude::new(azimuth, elevation, roll),
            frame: GimbalFrame::Body,
        });
    }
    sample
}

/// Returns the standard deviation per axis of the device's own target from its radius of 90 %, in metres.
#[must_use]
pub fn target_sigma_m(packet: &UasPacket) -> Option<f64> {
    packet.ce90_m.map(|ce90_m| ce90_m / CIRCULAR_90)
}

/// Reads a file of bare KLV packets.
#[must_use]
pub fn log_from_bytes(bytes: &[u8]) -> TelemetryLog {
    let mut log = TelemetryLog::new("klv", LogTime::Unix);
    let mut reader = PacketReader::new(bytes);
    log.samples
        .extend(reader.by_ref().map(|packet| sample_of(&packet, None)));
    add_counts(&mut log, reader.counts());
    log
}

/// Adds what a reader met to a log.
pub(crate) fn add_counts(log: &mut TelemetryLog, counts: super::read::Counts) {
    log.malformed += counts.malformed_items + counts.truncated + counts.without_checksum;
    log.bad_checksums += counts.bad_checksums;
    log.skipped_bytes += counts.skipped_bytes;
    if counts.completed_keys > 0 {
        log.notes.push(format!(
            "{} packets lacked the first bytes of their key; their checksums match with it",
            counts.completed_keys
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pose::HeightDatum;
    use crate::geo::ellipsoid::{LocalFrame, direction_of};
    use crate::geo::geoid::converted;
    use crate::geo::rotation::{axis_angle_deg, wrapped_deg};
    use crate::telemetry::fixture;

    /// The direction from the sensor to the frame centre that the packet states.
    fn stated_direction(sample: &TelemetrySample) -> Option<Attitude> {
        let (from, to) = (sample.position?, sample.frame_centre?);
        let from_height = converted(sample.heights.absolute()?, from, HeightDatum::Ellipsoid)?;
        let to_height = converted(
            sample.frame_centre_heights.absolute()?,
            to,
            HeightDatum::Ellipsoid,
        )?;
        let enu = LocalFrame::at(from, from_height.metres).enu_of(to, to_height.metres);
        let (azimuth, elevation) = direction_of(&enu);
        Some(Attitude::new(azimuth, elevation, 0.0))
    }

    #[test]
    fn the_truck_is_looked_at_where_its_packets_say() {
        let Some(bytes) = fixture::read("klv/Truck.klv") else {
            return;
        };
        let log = log_from_bytes(&bytes);
        let mut off: Vec<f64> = log
            .samples
            .iter()
            .map(|sample| {
                axis_angle_deg(
                    sample.camera_attitude().unwrap(),
                    stated_direction(sample).unwrap(),
                )
            })
            .collect();
        off.sort_by(f64::total_cmp);
        assert_eq!(off.len(), 711);
        let (p50, p95) = (off[off.len() / 2], off[off.len() * 95 / 100]);
        assert!(p50 <= 0.11, "p50 {p50}");
        assert!(p95 <= 0.40, "p95 {p95}");
    }

    #[test]
    fn a_gimbal_marked_invalid_gives_a_place_and_no_direction() {
        let Some(bytes) = fixture::read("klv/realflight.bin") else {
            return;
        };
        for sample in log_from_bytes(&bytes).samples {
            assert!(sample.position.is_some());
            assert!(sample.platform.is_some());
            assert!(sample.gimbal.is_none());
            assert!(sample.camera_attitude().is_err());
            assert!(wrapped_deg(sample.heading_deg.unwrap()).is_finite());
        }
    }
}
