//! Digests as text.

/// Returns bytes as lowercase hexadecimal digits, as digests stand in events, names and the store.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0'))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_is_two_digits() {
        assert_eq!(super::hexadecimal(&[0, 9, 10, 255]), "00090aff");
    }
}
