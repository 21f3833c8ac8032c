//! One ST 0601 packet: the items that say where a camera was and looked.

use super::imapb::{self, Imapb};

/// A place with latitude and longitude in degrees, each unknown on its own.
pub type LatLon = (Option<f64>, Option<f64>);

/// The items of one packet, in the units of the standard; what is absent, of a wrong length or marked as invalid is
/// `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UasPacket {
    /// Tag 2: microseconds since 1970.
    pub time_us: Option<u64>,
    /// Tag 5: degrees from true north.
    pub platform_heading_deg: Option<f64>,
    /// Tag 90, else tag 6: degrees, up positive.
    pub platform_pitch_deg: Option<f64>,
    /// Tag 91, else tag 7: degrees, right wing down positive.
    pub platform_roll_deg: Option<f64>,
    /// Tag 13: degrees north.
    pub sensor_lat_deg: Option<f64>,
    /// Tag 14: degrees east.
    pub sensor_lon_deg: Option<f64>,
    /// Tag 15: metres above mean sea level.
    pub sensor_msl_m: Option<f64>,
    /// Tag 104, else tag 75: metres above the ellipsoid.
    pub sensor_hae_m: Option<f64>,
    /// Tag 16: degrees.
    pub hfov_deg: Option<f64>,
    /// Tag 17: degrees.
    pub vfov_deg: Option<f64>,
    /// Tag 18: degrees clockwise from the nose, seen from above.
    pub relative_azimuth_deg: Option<f64>,
    /// Tag 19: degrees, down negative.
    pub relative_elevation_deg: Option<f64>,
    /// Tag 20: degrees clockwise, seen from behind the camera.
    pub relative_roll_deg: Option<f64>,
    /// Tag 21: metres.
    pub slant_range_m: Option<f64>,
    /// Tag 22: metres.
    pub target_width_m: Option<f64>,
    /// Tag 23: degrees north.
    pub centre_lat_deg: Option<f64>,
    /// Tag 24: degrees east.
    pub centre_lon_deg: Option<f64>,
    /// Tag 25: metres above mean sea level.
    pub centre_msl_m: Option<f64>,
    /// Tag 78: metres above the ellipsoid.
    pub centre_hae_m: Option<f64>,
    /// Tags 82 to 89, else 26 to 33 added to the frame centre: upper left, upper right, lower right, lower left.
    pub corners: [LatLon; 4],
    /// Tags 40 and 41: the target, in degrees.
    pub target: LatLon,
    /// Tag 42: metres above mean sea level.
    pub target_msl_m: Option<f64>,
    /// Tag 45: metres, radius that holds 90 %.
    pub ce90_m: Option<f64>,
    /// Tag 46: metres, half the span that holds 90 %.
    pub le90_m: Option<f64>,
    /// Tag 79: metres a second to the north.
    pub north_mps: Option<f64>,
    /// Tag 80: metres a second to the east.
    pub east_mps: Option<f64>,
    /// Tag 65: version of the standard.
    pub version: Option<u8>,
    /// Tag 136: seconds.
    pub leap_seconds: Option<i32>,
    /// Items whose length or content was wrong.
    pub malformed_items: u32,
}

/// A packet while its items are read: what is stated in a long and a short form waits here for the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PacketBuilder {
    pub(super) packet: UasPacket,
    /// Tags 26 to 33, until they are added to the frame centre.
    corner_offsets: [LatLon; 4],
    /// Tag 6, until it is known whether 90 is there.
    short_pitch_deg: Option<f64>,
    /// Tag 7, until it is known whether 91 is there.
    short_roll_deg: Option<f64>,
    /// Tag 75, until it is known whether 104 is there.
    short_hae_m: Option<f64>,
}

/// Reads an unsigned value of the exact length.
#[inline]
fn unsigned<const N: usize>(value: &[u8]) -> Option<u64> {
    let bytes: [u8; N] = value.try_into().ok()?;
    Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// What one item turned out to be.
type Item = Result<Option<f64>, ()>;

/// Maps an unsigned integer of `N` bytes onto `low` to `low + span`.
#[inline]
fn mapped_unsigned<const N: usize>(value: &[u8], low: f64, span: f64) -> Item {
    let whole = unsigned::<N>(value).ok_or(())?;
    let largest = ((1u128 << (8 * N)) - 1) as f64;
    Ok(Some(whole as f64 * span / largest + low))
}

/// Maps a signed integer of `N` bytes onto ±`half`; the most negative one means "unknown".
#[inline]
fn mapped_signed<const N: usize>(value: &[u8], half: f64) -> Item {
    let whole = unsigned::<N>(value).ok_or(())?;
    let shift = 64 - 8 * N as u32;
    let signed = (whole << shift) as i64 >> shift;
    let largest = (1i64 << (8 * N - 1)) - 1;
    if signed < -largest {
        return Ok(None);
    }
    Ok(Some(signed as f64 * half / largest as f64))
}

impl PacketBuilder {
    /// Reads one item into its place. Tags that are not needed are passed over.
    #[inline]
    pub(super) fn read_item(&mut self, tag: u32, value: &[u8]) {
        // An item of no bytes says that its value is not known.
        if value.is_empty() {
            return;
        }
        if self.place_item(tag, value).is_err() {
            self.packet.malformed_items += 1;
        }
    }

    #[inline]
    fn place_item(&mut self, tag: u32, value: &[u8]) -> Result<(), ()> {
        match tag {
            2 => self.packet.time_us = Some(unsigned::<8>(value).ok_or(())?),
            5 => self.packet.platform_heading_deg = mapped_unsigned::<2>(value, 0.0, 360.0)?,
            6 => self.short_pitch_deg = mapped_signed::<2>(value, 20.0)?,
            7 => self.short_roll_deg = mapped_signed::<2>(value, 50.0)?,
            13 => self.packet.sensor_lat_deg = mapped_signed::<4>(value, 90.0)?,
            14 => self.packet.sensor_lon_deg = mapped_signed::<4>(value, 180.0)?,
            15 => self.packet.sensor_msl_m = mapped_unsigned::<2>(value, -900.0, 19_900.0)?,
            16 => self.packet.hfov_deg = mapped_unsigned::<2>(value, 0.0, 180.0)?,
            17 => self.packet.vfov_deg = mapped_unsigned::<2>(value, 0.0, 180.0)?,
            18 => self.packet.relative_azimuth_deg = mapped_unsigned::<4>(value, 0.0, 360.0)?,
            19 => self.packet.relative_elevation_deg = mapped_signed::<4>(value, 180.0)?,
            20 => self.packet.relative_roll_deg = mapped_unsigned::<4>(value, 0.0, 360.0)?,
            21 => self.packet.slant_range_m = mapped_unsigned::<4>(value, 0.0, 5e6)?,
            22 => self.packet.target_width_m = mapped_unsigned::<2>(value, 0.0, 10_000.0)?,
            23 => self.packet.centre_lat_deg = mapped_signed::<4>(value, 90.0)?,
            24 => self.packet.centre_lon_deg = mapped_signed::<4>(value, 180.0)?,
            25 => self.packet.centre_msl_m = mapped_unsigned::<2>(value, -900.0, 19_900.0)?,
            26..=33 => set(
                &mut self.corner_offsets,
                tag - 26,
                mapped_signed::<2>(value, 0.075)?,
            ),
            40 => self.packet.target.0 = mapped_signed::<4>(value, 90.0)?,
            41 => self.packet.target.1 = mapped_signed::<4>(value, 180.0)?,
            42 => self.packet.target_msl_m = mapped_unsigned::<2>(value, -900.0, 19_900.0)?,
            45 => self.packet.ce90_m = mapped_unsigned::<2>(value, 0.0, 4_095.0)?,
            46 => self.packet.le90_m = mapped_unsigned::<2>(value, 0.0, 4_095.0)?,
            65 => self.packet.version = Some(unsigned::<1>(value).ok_or(())? as u8),
            75 => self.short_hae_m = mapped_unsigned::<2>(value, -900.0, 19_900.0)?,
            78 => self.packet.centre_hae_m = mapped_unsigned::<2>(value, -900.0, 19_900.0)?,
            79 => self.packet.north_mps = mapped_signed::<2>(value, 327.0)?,
            80 => self.packet.east_mps = mapped_signed::<2>(value, 327.0)?,
            82..=89 => {
                let half = if tag.is_multiple_of(2) { 90.0 } else { 180.0 };
                set(
                    &mut self.packet.corners,
                    tag - 82,
                    mapped_signed::<4>(value, half)?,
                );
            }
            90 => self.packet.platform_pitch_deg = mapped_signed::<4>(value, 90.0)?,
            91 => self.packet.platform_roll_deg = mapped_signed::<4>(value, 90.0)?,
            104 => {
                self.packet.sensor_hae_m = match imapb::decode(-900.0, 40_000.0, value).ok_or(())? {
                    Imapb::Number(metres) => Some(metres),
                    Imapb::Special => None,
                }
            }
            136 => {
                self.packet.leap_seconds = Some(match *value {
                    [only] => i32::from(only as i8),
                    [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
                    _ => return Err(()),
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Joins the long and the short form of what was stated twice.
    pub(super) fn finish(self) -> UasPacket {
        let mut packet = self.packet;
        packet.platform_pitch_deg = packet.platform_pitch_deg.or(self.short_pitch_deg);
        packet.platform_roll_deg = packet.platform_roll_deg.or(self.short_roll_deg);
        packet.sensor_hae_m = packet.sensor_hae_m.or(self.short_hae_m);
        for (corner, offset) in packet.corners.iter_mut().zip(&self.corner_offsets) {
            corner.0 = corner.0.or(sum(packet.centre_lat_deg, offset.0));
            corner.1 = corner.1.or(sum(packet.centre_lon_deg, offset.1));
        }
        packet
    }
}

#[inline]
fn sum(base: Option<f64>, offset: Option<f64>) -> Option<f64> {
    Some(base? + offset?)
}

#[inline]
fn set(corners: &mut [LatLon; 4], index: u32, value: Option<f64>) {
    if let Some(corner) = corners.get_mut(index as usize / 2) {
        if index.is_multiple_of(2) {
            corner.0 = value;
        } else {
            corner.1 = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(value: Option<f64>, expected: f64, within: f64) {
        let value = value.unwrap();
        assert!((value - expected).abs() < within, "{value} is not {expected}");
    }

    #[test]
    fn the_values_of_the_standard_are_met() {
        let mut packet = PacketBuilder::default();
        for (tag, value) in [
            (13u32, 0x5595_B66Du32.to_be_bytes().to_vec()),
            (14, 0x5B53_60C4u32.to_be_bytes().to_vec()),
            (15, 0xC221u16.to_be_bytes().to_vec()),
            (5, 0x71C2u16.to_be_bytes().to_vec()),
            (6, 0xFD3Du16.to_be_bytes().to_vec()),
            (7, 0x08B8u16.to_be_bytes().to_vec()),
            (16, 0xCD9Cu16.to_be_bytes().to_vec()),
            (17, 0xD917u16.to_be_bytes().to_vec()),
            (18, 0x724A_0A20u32.to_be_bytes().to_vec()),
            (19, 0x87F8_4B86u32.to_be_bytes().to_vec()),
            (20, 0x7DC5_5ECEu32.to_be_bytes().to_vec()),
            (21, 0x0383_0926u32.to_be_bytes().to_vec()),
            (23, 0xF101_A229u32.to_be_bytes().to_vec()),
            (24, 0x14BC_082Bu32.to_be_bytes().to_vec()),
            (25, 0x34F3u16.to_be_bytes().to_vec()),
        ] {
            packet.read_item(tag, &value);
        }
        let packet = packet.finish();
        near(packet.sensor_lat_deg, 60.176_822_967, 1e-8);
        near(packet.sensor_lon_deg, 128.426_759_042, 1e-8);
        near(packet.sensor_msl_m, 14_190.72, 0.01);
        near(packet.platform_heading_deg, 159.974_365, 1e-5);
        near(packet.platform_pitch_deg, -0.431_532, 1e-5);
        near(packet.platform_roll_deg, 3.405_866, 1e-5);
        near(packet.hfov_deg, 144.571_298, 1e-5);
        near(packet.vfov_deg, 152.643_626, 1e-5);
        near(packet.relative_azimuth_deg, 160.719_211, 1e-6);
        near(packet.relative_elevation_deg, -168.792_325, 1e-6);
        near(packet.relative_roll_deg, 176.865_438, 1e-6);
        near(packet.slant_range_m, 68_590.983, 0.001);
        near(packet.centre_lat_deg, -10.542_389, 1e-6);
        near(packet.centre_lon_deg, 29.157_890, 1e-6);
        near(packet.centre_msl_m, 3_216.037, 0.001);
        assert_eq!(packet.malformed_items, 0);
    }

    #[test]
    fn invalid_sentinels_are_unknown_not_the_end_of_the_range() {
        let mut packet = PacketBuilder::default();
        packet.read_item(19, &[0x80, 0, 0, 0]);
        packet.read_item(23, &[0x80, 0, 0, 0]);
        packet.read_item(6, &[0x80, 0]);
        packet.read_item(26, &[0x80, 0]);
        let packet = packet.finish();
        assert_eq!(packet, UasPacket::default());
    }

    #[test]
    fn an_item_of_a_wrong_length_is_counted_and_left_out() {
        let mut packet = PacketBuilder::default();
        packet.read_item(13, &[1, 2, 3]);
        packet.read_item(2, &[1; 9]);
        packet.read_item(136, &[1, 2]);
        packet.read_item(13, &[]);
        assert_eq!(packet.packet.malformed_items, 3);
        assert_eq!(packet.packet.sensor_lat_deg, None);
        packet.read_item(136, &[37]);
        assert_eq!(packet.finish().leap_seconds, Some(37));
    }

    #[test]
    fn long_forms_win_over_short_ones() {
        let mut packet = PacketBuilder::default();
        packet.read_item(6, &[0x7F, 0xFF]);
        packet.read_item(90, &[0x40, 0, 0, 0]);
        let packet = packet.finish();
        near(packet.platform_pitch_deg, 45.0, 1e-6);
        let mut short = PacketBuilder::default();
        short.read_item(6, &[0x7F, 0xFF]);
        let short = short.finish();
        near(short.platform_pitch_deg, 20.0, 1e-9);
    }
}
