//! ST 0604: the time of a picture inside its own H.264 or H.265 access unit.

/// The identity of the time stamp in H.264.
pub const H264_ID: [u8; 16] = *b"MISPmicrosectime";
/// The identity of the time stamp in H.265.
pub const H265_ID: [u8; 16] = [
    0xA8, 0x68, 0x7D, 0xD4, 0xD7, 0x59, 0x37, 0x58, 0xA5, 0xCE, 0xF0, 0x33, 0x8B, 0x65, 0x45, 0xF1,
];

/// The time of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureTime {
    /// Microseconds since 1970.
    pub time_us: u64,
    /// Whether the clock was locked to an absolute one.
    pub locked: bool,
    /// Whether the clock jumped since the picture before.
    pub jumped: bool,
}

/// Returns the 28 bytes of a user-data message: identity, status, and microseconds with 0xFF after every second byte.
#[must_use]
pub fn to_bytes(time: PictureTime, h265: bool) -> [u8; 28] {
    let mut out = [0xFF; 28];
    let id = if h265 { H265_ID } else { H264_ID };
    let status = 0x1F | u8::from(!time.locked) << 7 | u8::from(time.jumped) << 6;
    for (slot, byte) in out.iter_mut().zip(id.iter().chain([&status])) {
        *slot = *byte;
    }
    for (index, byte) in time.time_us.to_be_bytes().iter().enumerate() {
        if let Some(slot) = out.get_mut(17 + index + index / 2) {
            *slot = *byte;
        }
    }
    out
}

/// Looks for a time stamp in an access unit or a SEI message. Emulation prevention bytes are taken out first, so any
/// framing will do.
///
/// Of several the last counts: where a picture was lost on the way, its own message may stand before the next picture's.
#[must_use]
pub fn find(access_unit: &[u8]) -> Option<PictureTime> {
    // The time stands before the picture: there is no need to look through the coded slices.
    const FAR_ENOUGH: usize = 4_096;
    let head = access_unit
        .get(..FAR_ENOUGH.min(access_unit.len()))
        .unwrap_or_default();
    let plain = without_emulation_prevention(head);
    let at = plain
        .windows(16)
        .rposition(|window| window == H264_ID || window == H265_ID)?;
    let [status, coded @ ..] = plain.get(at + 16..at + 28)? else {
        return None;
    };
    let mut time_us = 0u64;
    for (index, byte) in coded.iter().enumerate() {
        if index % 3 == 2 {
            if *byte != 0xFF {
                return None;
            }
        } else {
            time_us = time_us << 8 | u64::from(*byte);
        }
    }
    Some(PictureTime {
        time_us,
        locked: status & 0x80 == 0,
        jumped: status & 0x40 != 0,
    })
}

/// Takes out the 3 of every 0, 0, 3.
fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_that_holds_zeros_survives_emulation_prevention() {
        let time = PictureTime {
            time_us: 0x0004_59F4_A6AA_4AA8,
            locked: true,
            jumped: false,
        };
        let message = to_bytes(time, false);
        assert_eq!(message[16], 0x1F);
        assert_eq!(
            &message[17..],
            &[0, 4, 0xFF, 0x59, 0xF4, 0xFF, 0xA6, 0xAA, 0xFF, 0x4A, 0xA8]
        );
        let mut unit = vec![0, 0, 0, 1, 6, 5, 28];
        unit.extend_from_slice(&message);
        assert_eq!(find(&unit), Some(time));
        assert_eq!(find(&unit[..30]), None);
        assert_eq!(find(&[]), None);
    }

    #[test]
    fn the_message_of_a_lost_picture_does_not_date_the_next_one() {
        let taken_at = |time_us| PictureTime {
            time_us,
            locked: true,
            jumped: false,
        };
        for h265 in [false, true] {
            let mut unit = to_bytes(taken_at(1_000_000), h265).to_vec();
            unit.extend([0, 0, 0, 1, 6, 5, 28]);
            unit.extend(to_bytes(taken_at(1_200_000), h265));
            assert_eq!(find(&unit), Some(taken_at(1_200_000)));
        }
    }

    proptest! {
        #[test]
        fn any_time_written_and_found_is_the_same(time_us in any::<u64>(), locked: bool, jumped: bool, h265: bool) {
            let time = PictureTime { time_us, locked, jumped };
            prop_assert_eq!(find(&to_bytes(time, h265)), Some(time));
        }
    }
}
