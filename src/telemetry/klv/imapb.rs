//! IMAPB: the mapping of MISB ST 1201 between numbers and integers of any length.

/// What an IMAPB value holds besides numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Imapb {
    /// A number in the mapped range.
    Number(f64),
    /// An infinity, not a number, or a value outside the range: unknown to us.
    Special,
}

/// The constants of one mapping.
#[derive(Clone, Copy, Debug)]
struct Map {
    forward: f64,
    reverse: f64,
    zero_offset: f64,
}

impl Map {
    fn new(low: f64, high: f64, length: usize) -> Option<Self> {
        if !(low < high && (1..=8).contains(&length)) {
            return None;
        }
        let bits = (high - low).log2().ceil();
        let exponent = (8 * length) as f64 - 1.0;
        let forward = 2f64.powf(exponent - bits);
        let reverse = 2f64.powf(bits - exponent);
        let zero_offset = if low < 0.0 && high > 0.0 {
            forward * low - (forward * low).floor()
        } else {
            0.0
        };
        Some(Self {
            forward,
            reverse,
            zero_offset,
        })
    }
}

/// Reads the number that `bytes` hold in the range `low` to `high`.
#[must_use]
pub fn decode(low: f64, high: f64, bytes: &[u8]) -> Option<Imapb> {
    let map = Map::new(low, high, bytes.len())?;
    let value = bytes
        .iter()
        .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let top = 1u64 << (8 * bytes.len() as u32 - 1);
    // With the top bit set, only the bare top bit is a number: the upper end of the range.
    if value > top {
        return Some(Imapb::Special);
    }
    let number = map.reverse * (value as f64 - map.zero_offset) + low;
    Some(if number >= low - map.reverse && number <= high + map.reverse {
        Imapb::Number(number.clamp(low, high))
    } else {
        Imapb::Special
    })
}

/// Writes a number in the range `low` to `high` into `length` bytes; `None` if it is outside the range.
#[must_use]
pub fn encode(low: f64, high: f64, length: usize, number: f64) -> Option<Vec<u8>> {
    let map = Map::new(low, high, length)?;
    if !(low..=high).contains(&number) {
        return None;
    }
    let value = (map.forward * (number - low) + map.zero_offset).floor() as u64;
    value.to_be_bytes().get(8 - length..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture;

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        #[serde(rename = "L")]
        length: usize,
        a: f64,
        b: f64,
        x: f64,
        forward_result_hex: String,
        reverse_result: f64,
    }

    #[test]
    fn the_vectors_of_the_standard_are_met() {
        let Some(bytes) = fixture::read("klv/st1201tests.json") else {
            return;
        };
        // Infinities are written as words: those entries are no numbers, which another test looks at.
        let values: Vec<serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
        let vectors: Vec<Vector> = values
            .into_iter()
            .filter_map(|value| serde_json::from_value(value).ok())
            .collect();
        assert!(vectors.len() > 900, "{}", vectors.len());
        let mut checked = 0;
        for vector in &vectors {
            if vector.length > 8 {
                continue;
            }
            let hex = vector.forward_result_hex.trim_start_matches("0x");
            let wide = format!("{:0>width$}", hex, width = 2 * vector.length);
            let bytes: Vec<u8> = (0..vector.length)
                .map(|index| u8::from_str_radix(&wide[2 * index..2 * index + 2], 16).unwrap())
                .collect();
            let Some(Imapb::Number(number)) = decode(vector.a, vector.b, &bytes) else {
                continue;
            };
            // A value that only rounding put outside the range is brought back to its end.
            let expected = vector.reverse_result.clamp(vector.a, vector.b);
            assert!(
                (number - expected).abs() <= 1e-9 * (vector.b - vector.a),
                "{} {}..{} {} -> {number}, expected {}",
                vector.forward_result_hex,
                vector.a,
                vector.b,
                vector.x,
                vector.reverse_result
            );
            if vector.length <= 6 {
                assert_eq!(
                    encode(vector.a, vector.b, vector.length, vector.x).unwrap(),
                    bytes,
                    "{}",
                    vector.x
                );
            }
            checked += 1;
        }
        assert!(checked > 800, "{checked}");
    }

    #[test]
    fn special_values_are_no_numbers() {
        assert_eq!(decode(-900.0, 40_000.0, &[0xC8, 0, 0]), Some(Imapb::Special));
        assert_eq!(decode(-900.0, 40_000.0, &[]), None);
        assert_eq!(decode(-900.0, 40_000.0, &[0; 9]), None);
        assert_eq!(encode(-900.0, 40_000.0, 3, f64::NAN), None);
    }
}
