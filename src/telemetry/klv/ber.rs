//! Lengths and tags: BER and BER-OID.

/// Reads a BER length. Returns it with the number of bytes it took; `None` if it is cut off, of indefinite form or
/// longer than four bytes.
#[must_use]
#[inline]
pub fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((usize::from(first), 1));
    }
    let count = usize::from(first & 0x7F);
    if count == 0 || count > 4 {
        return None;
    }
    let digits = bytes.get(1..=count)?;
    let value = digits
        .iter()
        .fold(0usize, |value, byte| value << 8 | usize::from(*byte));
    Some((value, 1 + count))
}

/// Reads a BER-OID tag. Returns it with the number of bytes it took; `None` if it is cut off or longer than three
/// bytes.
#[must_use]
#[inline]
pub fn tag(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().take(3).enumerate() {
        value = value << 7 | u32::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Appends a BER length in its shortest form.
pub fn push_length(out: &mut Vec<u8>, length: usize) {
    if let Ok(short @ 0..=0x7F) = u8::try_from(length) {
        out.push(short);
        return;
    }
    let bytes = (length as u64).to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    let digits = bytes.get(start..).unwrap_or_default();
    out.push(0x80 | digits.len() as u8);
    out.extend_from_slice(digits);
}

/// Appends a BER-OID tag below 2^21.
pub fn push_tag(out: &mut Vec<u8>, tag: u32) {
    if tag >= 1 << 14 {
        out.push(0x80 | (tag >> 14 & 0x7F) as u8);
    }
    if tag >= 1 << 7 {
        out.push(0x80 | (tag >> 7 & 0x7F) as u8);
    }
    out.push((tag & 0x7F) as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_lengths_are_refused() {
        assert_eq!(length(&[]), None);
        assert_eq!(length(&[0x80]), None, "indefinite");
        assert_eq!(length(&[0x82, 0x01]), None, "cut off");
        assert_eq!(length(&[0xFF; 200]), None, "127 bytes of length");
        assert_eq!(length(&[0x81, 0xF1]), Some((241, 2)));
        assert_eq!(tag(&[0x81]), None);
        assert_eq!(tag(&[0x81, 0x08]), Some((136, 2)));
    }

    proptest! {
        #[test]
        fn lengths_and_tags_written_and_read_are_the_same(value in 0usize..0xFFFF_FFFF, number in 0u32..1 << 21) {
            let mut out = Vec::new();
            push_length(&mut out, value);
            prop_assert_eq!(length(&out), Some((value, out.len())));
            out.clear();
            push_tag(&mut out, number);
            prop_assert_eq!(tag(&out), Some((number, out.len())));
        }
    }
}
