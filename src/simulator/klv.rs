//! Telemetry as MISB ST 0601 packets, one after the other: `NAME.klv`.
//!
//! Written here and not with the product's own writer, so that its reader is tested against other code.

use super::camera::CameraPose;
use super::earth::GroundPoint;

/// Universal key of the UAS Datalink Local Set.
const KEY: [u8; 16] = [
    0x06, 0x0e, 0x2b, 0x34, 0x02, 0x0b, 0x01, 0x01, 0x0e, 0x01, 0x03, 0x01, 0x01, 0x00, 0x00, 0x00,
];

/// What one packet says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Microseconds since 1970.
    pub(super) unix_us: u64,
    pub(super) pose: CameraPose,
    /// Vertical field of view, in degrees.
    pub(super) vfov_deg: f64,
    /// Height of the geoid above the ellipsoid, in metres.
    pub(super) undulation_m: f64,
    /// Where the axis meets the ground and how far away that is, in metres.
    pub(super) centre: Option<(GroundPoint, f64)>,
}

/// Appends a packet.
pub(super) fn push(out: &mut Vec<u8>, sample: &Sample) {
    let mut body = Vec::with_capacity(160);
    let mut item = |tag: u8, value: &[u8]| {
        body.push(tag);
        body.push(value.len() as u8);
        body.extend_from_slice(value);
    };
    let pose = &sample.pose;
    item(2, &sample.unix_us.to_be_bytes());
    // The platform flies level and as near to the camera's yaw as its coarse heading can say; the rest is relative.
    let yaw_deg = pose.yaw_deg.rem_euclid(360.0);
    let heading = unsigned(yaw_deg, 0.0, 360.0, f64::from(u16::MAX)) as u16;
    let relative_deg = (yaw_deg - f64::from(heading) * 360.0 / f64::from(u16::MAX)).rem_euclid(360.0);
    item(5, &heading.to_be_bytes());
    item(6, &0_i16.to_be_bytes());
    item(7, &0_i16.to_be_bytes());
    item(10, b"Emberwatch simulator");
    item(13, &signed(pose.lat, 90.0).to_be_bytes());
    item(14, &signed(pose.lon, 180.0).to_be_bytes());
    item(15, &altitude(pose.height_m - sample.undulation_m));
    item(16, &fov(pose.hfov_deg));
    item(17, &fov(sample.vfov_deg));
    item(
        18,
        &(unsigned(relative_deg, 0.0, 360.0, f64::from(u32::MAX)) as u32).to_be_bytes(),
    );
    item(19, &signed(pose.pitch_deg, 180.0).to_be_bytes());
    let roll_deg = pose.roll_deg.rem_euclid(360.0);
    item(
        20,
        &(unsigned(roll_deg, 0.0, 360.0, f64::from(u32::MAX)) as u32).to_be_bytes(),
    );
    if let Some((centre, range_m)) = sample.centre {
        item(
            21,
            &(unsigned(range_m, 0.0, 5e6, f64::from(u32::MAX)) as u32).to_be_bytes(),
        );
        item(23, &signed(centre.lat, 90.0).to_be_bytes());
        item(24, &signed(centre.lon, 180.0).to_be_bytes());
        item(25, &altitude(centre.height_m - sample.undulation_m));
        item(78, &altitude(centre.height_m));
    }
    item(65, &[13]);
    item(75, &altitude(pose.height_m));
    let start = out.len();
    out.extend_from_slice(&KEY);
    let length = body.len() + 4;
    out.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]);
    out.extend_from_slice(&body);
    out.extend_from_slice(&[1, 2]);
    // The sum runs from the key up to and including the checksum's own length.
    let sum = out[start..].iter().enumerate().fold(0_u16, |sum, (index, byte)| {
        sum.wrapping_add(if index % 2 == 0 {
            u16::from(*byte) << 8
        } else {
            u16::from(*byte)
        })
    });
    out.extend_from_slice(&sum.to_be_bytes());
}

/// Maps `low..high` to 0 to `most`, rounded.
fn unsigned(value: f64, low: f64, high: f64, most: f64) -> f64 {
    ((value - low) / (high - low) * most).round().clamp(0.0, most)
}

/// Maps ±`most_deg` to the symmetric 32-bit range.
fn signed(value_deg: f64, most_deg: f64) -> i32 {
    (value_deg / most_deg * f64::from(i32::MAX)).round() as i32
}

fn altitude(metres: f64) -> [u8; 2] {
    (unsigned(metres, -900.0, 19_000.0, f64::from(u16::MAX)) as u16).to_be_bytes()
}

fn fov(degrees: f64) -> [u8; 2] {
    (unsigned(degrees, 0.0, 180.0, f64::from(u16::MAX)) as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_sums_to_its_checksum_and_states_its_length() {
        let mut out = Vec::new();
        let sample = Sample {
            unix_us: 1_790_000_000_000_000,
            pose: CameraPose {
                lat: 60.176_822_967,
                lon: 128.426_759_042,
                height_m: 170.0,
                yaw_deg: -12.345,
                pitch_deg: -21.5,
                roll_deg: 0.25,
                hfov_deg: 71.5,
            },
            vfov_deg: 44.0,
            undulation_m: -19.6,
            centre: None,
        };
        push(&mut out, &sample);
        assert_eq!(usize::from(out[17]) << 8 | usize::from(out[18]), out.len() - 19);
        let (covered, stored) = out.split_at(out.len() - 2);
        let sum = covered.iter().enumerate().fold(0_u32, |sum, (index, byte)| {
            sum + (u32::from(*byte) << if index % 2 == 0 { 8 } else { 0 })
        });
        assert_eq!((sum & 0xffff) as u16, u16::from_be_bytes([stored[0], stored[1]]));
        // The standard's own example of tags 13 and 14.
        let holds = |item: &[u8]| out.windows(item.len()).any(|window| window == item);
        assert!(holds(&[13, 4, 0x55, 0x95, 0xb6, 0x6d]));
        assert!(holds(&[14, 4, 0x5b, 0x53, 0x60, 0xc4]));
    }
}
