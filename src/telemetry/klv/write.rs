//! Writes ST 0601 packets: tag 2 first, tag 1 (the checksum) last.

use super::packet::UasPacket;
use super::{UAS_KEY, ber, checksum};

/// The version of the standard that is written.
const VERSION: u8 = 19;

/// Rounds `value` in `low` to `low + span` to an unsigned integer of `N` bytes; out of range gives no bytes.
fn unsigned<const N: usize>(value: f64, low: f64, span: f64) -> Option<[u8; N]> {
    let largest = ((1u128 << (8 * N)) - 1) as f64;
    let scaled = ((value - low) / span * largest).round();
    (0.0..=largest).contains(&scaled).then(|| last(scaled as u64))
}

/// Rounds `value` in ±`half` to a signed integer of `N` bytes.
fn signed<const N: usize>(value: f64, half: f64) -> Option<[u8; N]> {
    let largest = ((1i64 << (8 * N - 1)) - 1) as f64;
    let scaled = (value / half * largest).round();
    (-largest..=largest)
        .contains(&scaled)
        .then(|| last(scaled as i64 as u64))
}

fn last<const N: usize>(whole: u64) -> [u8; N] {
    let bytes = whole.to_be_bytes();
    let mut out = [0; N];
    for (slot, byte) in out.iter_mut().rev().zip(bytes.iter().rev()) {
        *slot = *byte;
    }
    out
}

fn push(out: &mut Vec<u8>, tag: u32, value: Option<impl AsRef<[u8]>>) {
    let Some(value) = value else { return };
    let value = value.as_ref();
    ber::push_tag(out, tag);
    ber::push_length(out, value.len());
    out.extend_from_slice(value);
}

/// Returns the packet as bytes. Values outside what the standard can hold are left out, never clamped. `mission` is
/// tag 3, at most 127 bytes.
#[must_use]
pub fn to_bytes(packet: &UasPacket, mission: Option<&str>) -> Vec<u8> {
    let mut items = Vec::with_capacity(256);
    push(&mut items, 2, packet.time_us.map(u64::to_be_bytes));
    push(
        &mut items,
        3,
        mission.map(str::as_bytes).filter(|name| name.len() <= 127),
    );
    let p = packet;
    let turn = |degrees: f64| degrees.rem_euclid(360.0);
    push(
        &mut items,
        5,
        p.platform_heading_deg
            .and_then(|v| unsigned::<2>(turn(v), 0.0, 360.0)),
    );
    push(
        &mut items,
        6,
        p.platform_pitch_deg.and_then(|v| signed::<2>(v, 20.0)),
    );
    push(
        &mut items,
        7,
        p.platform_roll_deg.and_then(|v| signed::<2>(v, 50.0)),
    );
    push(
        &mut items,
        13,
        p.sensor_lat_deg.and_then(|v| signed::<4>(v, 90.0)),
    );
    push(
        &mut items,
        14,
        p.sensor_lon_deg.and_then(|v| signed::<4>(v, 180.0)),
    );
    push(
        &mut items,
        15,
        p.sensor_msl_m.and_then(|v| unsigned::<2>(v, -900.0, 19_900.0)),
    );
    push(
        &mut items,
        16,
        p.hfov_deg.and_then(|v| unsigned::<2>(v, 0.0, 180.0)),
    );
    push(
        &mut items,
        17,
        p.vfov_deg.and_then(|v| unsigned::<2>(v, 0.0, 180.0)),
    );
    push(
        &mut items,
        18,
        p.relative_azimuth_deg
            .and_then(|v| unsigned::<4>(turn(v), 0.0, 360.0)),
    );
    push(
        &mut items,
        19,
        p.relative_elevation_deg.and_then(|v| signed::<4>(v, 180.0)),
    );
    push(
        &mut items,
        20,
        p.relative_roll_deg
            .and_then(|v| unsigned::<4>(turn(v), 0.0, 360.0)),
    );
    push(
        &mut items,
        21,
        p.slant_range_m.and_then(|v| unsigned::<4>(v, 0.0, 5e6)),
    );
    push(
        &mut items,
        22,
        p.target_width_m.and_then(|v| unsigned::<2>(v, 0.0, 10_000.0)),
    );
    push(
        &mut items,
        23,
        p.centre_lat_deg.and_then(|v| signed::<4>(v, 90.0)),
    );
    push(
        &mut items,
        24,
        p.centre_lon_deg.and_then(|v| signed::<4>(v, 180.0)),
    );
    push(
        &mut items,
        25,
        p.centre_msl_m.and_then(|v| unsigned::<2>(v, -900.0, 19_900.0)),
    );
    push(&mut items, 40, p.target.0.and_then(|v| signed::<4>(v, 90.0)));
    push(&mut items, 41, p.target.1.and_then(|v| signed::<4>(v, 180.0)));
    push(
        &mut items,
        42,
        p.target_msl_m.and_then(|v| unsigned::<2>(v, -900.0, 19_900.0)),
    );
    push(
        &mut items,
        45,
        p.ce90_m.and_then(|v| unsigned::<2>(v, 0.0, 4_095.0)),
    );
    push(
        &mut items,
        46,
        p.le90_m.and_then(|v| unsigned::<2>(v, 0.0, 4_095.0)),
    );
    push(&mut items, 65, Some([p.version.unwrap_or(VERSION)]));
    push(
        &mut items,
        75,
        p.sensor_hae_m.and_then(|v| unsigned::<2>(v, -900.0, 19_900.0)),
    );
    push(
        &mut items,
        78,
        p.centre_hae_m.and_then(|v| unsigned::<2>(v, -900.0, 19_900.0)),
    );
    push(&mut items, 79, p.north_mps.and_then(|v| signed::<2>(v, 327.0)));
    push(&mut items, 80, p.east_mps.and_then(|v| signed::<2>(v, 327.0)));
    for (index, corner) in (0u32..).zip(&p.corners) {
        push(
            &mut items,
            82 + 2 * index,
            corner.0.and_then(|v| signed::<4>(v, 90.0)),
        );
        push(
            &mut items,
            83 + 2 * index,
            corner.1.and_then(|v| signed::<4>(v, 180.0)),
        );
    }
    push(
        &mut items,
        90,
        p.platform_pitch_deg.and_then(|v| signed::<4>(v, 90.0)),
    );
    push(
        &mut items,
        91,
        p.platform_roll_deg.and_then(|v| signed::<4>(v, 90.0)),
    );
    push(
        &mut items,
        104,
        p.sensor_hae_m
            .and_then(|v| super::imapb::encode(-900.0, 40_000.0, 3, v)),
    );
    push(&mut items, 136, p.leap_seconds.map(i32::to_be_bytes));

    let mut out = Vec::with_capacity(items.len() + 24);
    out.extend_from_slice(&UAS_KEY);
    ber::push_length(&mut out, items.len() + 4);
    out.extend_from_slice(&items);
    out.extend_from_slice(&[1, 2]);
    let sum = checksum(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::fixture;
    use crate::telemetry::klv::PacketReader;

    #[track_caller]
    fn same(one: Option<f64>, other: Option<f64>, within: f64) {
        match (one, other) {
            (Some(one), Some(other)) => assert!((one - other).abs() <= within, "{one} is not {other}"),
            (None, None) => {}
            _ => panic!("{one:?} became {other:?}"),
        }
    }

    #[track_caller]
    fn assert_same(one: &UasPacket, other: &UasPacket) {
        assert_eq!(one.time_us, other.time_us);
        same(one.platform_heading_deg, other.platform_heading_deg, 0.003);
        same(one.platform_pitch_deg, other.platform_pitch_deg, 1e-7);
        same(one.platform_roll_deg, other.platform_roll_deg, 1e-7);
        same(one.sensor_lat_deg, other.sensor_lat_deg, 1e-7);
        same(one.sensor_lon_deg, other.sensor_lon_deg, 1e-7);
        same(one.sensor_msl_m, other.sensor_msl_m, 0.16);
        same(one.sensor_hae_m, other.sensor_hae_m, 0.01);
        same(one.hfov_deg, other.hfov_deg, 0.0015);
        same(one.relative_azimuth_deg, other.relative_azimuth_deg, 1e-7);
        same(one.relative_elevation_deg, other.relative_elevation_deg, 1e-7);
        same(one.slant_range_m, other.slant_range_m, 0.001);
        same(one.centre_lat_deg, other.centre_lat_deg, 1e-7);
        same(one.centre_msl_m, other.centre_msl_m, 0.16);
        for (one, other) in one.corners.iter().zip(&other.corners) {
            same(one.0, other.0, 1e-7);
            same(one.1, other.1, 1e-7);
        }
    }

    #[test]
    fn real_packets_written_and_read_are_the_same() {
        for file in ["klv/Truck.klv", "klv/realflight.bin", "klv/day.klv"] {
            let Some(bytes) = fixture::read(file) else { return };
            for packet in PacketReader::new(&bytes) {
                let written = to_bytes(&packet, Some("EMBERWATCH"));
                let mut reader = PacketReader::new(&written);
                let back = reader.next().unwrap();
                assert_eq!(reader.counts().bad_checksums, 0);
                assert_same(&packet, &back);
            }
        }
    }

    #[test]
    fn values_that_the_standard_cannot_hold_are_left_out() {
        let packet = UasPacket {
            sensor_lat_deg: Some(f64::NAN),
            platform_pitch_deg: Some(45.0),
            sensor_msl_m: Some(25_000.0),
            ..UasPacket::default()
        };
        let back = PacketReader::new(&to_bytes(&packet, None)).next().unwrap();
        assert_eq!(back.sensor_lat_deg, None);
        assert_eq!(back.sensor_msl_m, None);
        same(back.platform_pitch_deg, Some(45.0), 1e-7);
    }

    proptest! {
        #[test]
        fn any_packet_written_and_read_is_the_same(
            time in any::<u64>(),
            lat in -90.0..90.0f64, lon in -180.0..180.0f64,
            hae in -900.0..19_000.0f64, heading in 0.0..359.99f64,
            pitch in -90.0..90.0f64, azimuth in 0.0..360.0f64, elevation in -180.0..180.0f64,
        ) {
            let packet = UasPacket {
                time_us: Some(time),
                sensor_lat_deg: Some(lat),
                sensor_lon_deg: Some(lon),
                sensor_hae_m: Some(hae),
                platform_heading_deg: Some(heading),
                platform_pitch_deg: Some(pitch),
                relative_azimuth_deg: Some(azimuth),
                relative_elevation_deg: Some(elevation),
                ..UasPacket::default()
            };
            let back = PacketReader::new(&to_bytes(&packet, None)).next().unwrap();
            assert_same(&packet, &back);
        }
    }
}
