//! Cuts the text of a cue into facts.

/// The longest text of one number that is believed.
const LONGEST_NUMBER: usize = 32;

/// One fact in a cue.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact<'text> {
    /// `key: value`, `[key : value]` or `H 85.80m`. A key inside `[Drone: …]` is written `drone.yaw`.
    Value {
        /// The key.
        key: String,
        /// The number, as it stands.
        text: &'text str,
    },
    /// `NAME(a, b, c)`.
    Call {
        /// The name.
        name: &'text str,
        /// What stands between the commas.
        arguments: Vec<&'text str>,
    },
}

/// Reads a number at the start of a text: sign, digits, a point or a comma, digits; units may follow.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = number_end(text)?;
    let plain = text.get(..end)?.replace(',', ".");
    plain.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Returns where the number at the start of a text ends, if it is whole: a file that was cut off ends within a number,
/// and half a coordinate is another place.
fn whole_number_end(text: &str) -> Option<usize> {
    let end = number_end(text)?;
    let next = text.as_bytes().get(end)?;
    (!matches!(next, b'.' | b'-' | b'+')).then_some(end)
}

/// Returns where the number at the start of a text ends.
fn number_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let digits_from = at;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == digits_from {
        return None;
    }
    if matches!(bytes.get(at), Some(b'.' | b',')) && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
        at += 1;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
    }
    (at <= LONGEST_NUMBER).then_some(at)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}

/// Returns every fact of a text, in its order. Tags (`<font …>`) are passed over.
pub(super) fn facts_of(text: &str) -> Vec<Fact<'_>> {
    let bytes = text.as_bytes();
    let mut facts = Vec::new();
    let mut prefix: Option<&str> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'<' {
            // A tag ends on its own line; an unclosed one is no tag.
            let rest = bytes.get(at..).unwrap_or_default();
            let end = rest.iter().position(|byte| matches!(byte, b'>' | b'\n'));
            at += end.map_or(1, |end| end + 1);
            continue;
        }
        if matches!(byte, b'[' | b']' | b'\n') {
            prefix = None;
        }
        if !byte.is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let start = at;
        while bytes.get(at).copied().is_some_and(is_name) {
            at += 1;
        }
        let Some(name) = text.get(start..at) else { continue };
        let mut next = at;
        while bytes.get(next) == Some(&b' ') {
            next += 1;
        }
        match bytes.get(next) {
            Some(b'(') => {
                let inside = next + 1;
                let rest = text.get(inside..).unwrap_or_default();
                let Some(length) = rest.find([')', '\n']) else {
                    continue;
                };
                if rest.as_bytes().get(length) == Some(&b')') {
                    let arguments = arguments(rest.get(..length).unwrap_or_default());
                    // `BAROMETER(91.2)` is of unknown datum, unlike `BAROMETER:1.9`: it is a call, never a height.
                    facts.push(Fact::Call { name, arguments });
                }
                at = inside + length;
            }
            Some(b':') => {
                let mut value = next + 1;
                while bytes.get(value) == Some(&b' ') {
                    value += 1;
                }
                let rest = text.get(value..).unwrap_or_default();
                if let Some(end) = whole_number_end(rest) {
                    facts.push(Fact::Value {
                        key: keyed(prefix, name),
                        text: rest.get(..end).unwrap_or_default(),
                    });
                    at = value + end;
                } else {
                    prefix = rest
                        .as_bytes()
                        .first()
                        .is_some_and(u8::is_ascii_alphabetic)
                        .then_some(name);
                    at = next + 1;
                }
            }
            // `H 85.80m`, `D 698.70m`, `SS 400`: a blank is enough.
            Some(_) if next > at => {
                let rest = text.get(next..).unwrap_or_default();
                if let Some(end) = whole_number_end(rest) {
                    facts.push(Fact::Value {
                        key: keyed(None, name),
                        text: rest.get(..end).unwrap_or_default(),
                    });
                    at = next + end;
                }
            }
            _ => {}
        }
    }
    facts
}

fn keyed(prefix: Option<&str>, name: &str) -> String {
    prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}.{name}"))
}

/// Cuts arguments at their commas; commas inside numbers (`149,0251,-20,2533,16`) are put back.
fn arguments(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split(',').map(str::trim).take(8).collect();
    let decimal_commas = parts.len() == 5
        && parts.iter().all(|part| {
            !part.contains('.')
                && part
                    .trim_start_matches(['-', '+'])
                    .bytes()
                    .all(|b| b.is_ascii_digit())
        });
    if !decimal_commas {
        return parts;
    }
    // Two coordinates with decimal commas and a number of satellites: cut at the second and the fourth comma.
    let commas: Vec<usize> = text.match_indices(',').map(|(at, _)| at).collect();
    match commas[..] {
        [_, second, _, fourth] => [
            text.get(..second),
            text.get(second + 1..fourth),
            text.get(fourth + 1..),
        ]
        .into_iter()
        .flatten()
        .map(str::trim)
        .collect(),
        _ => parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_calls_and_plain_words_are_facts() {
        let facts = facts_of(
            "<font size=\"28\">[rel_alt: -2.4 abs_alt: 0.401] GPS (1,5, -2) H 85.80m, EV: [Drone: Yaw:-146.0] [longitude: 11",
        );
        let value = |key: &str, text: &'static str| Fact::Value {
            key: key.into(),
            text,
        };
        assert_eq!(
            facts,
            [
                value("rel_alt", "-2.4"),
                value("abs_alt", "0.401"),
                Fact::Call {
                    name: "GPS",
                    arguments: vec!["1", "5", "-2"]
                },
                value("H", "85.80"),
                value("Drone.Yaw", "-146.0"),
            ]
        );
    }

    #[test]
    fn decimal_commas_are_read_inside_and_outside_of_calls() {
        assert_eq!(number("41,424724]"), Some(41.424_724));
        assert_eq!(arguments("149,0251,-20,2533,16"), ["149,0251", "-20,2533", "16"]);
        assert_eq!(arguments("149.0251,-20.2533,16"), ["149.0251", "-20.2533", "16"]);
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", "NaN", "inf", "n/a", ".", "1e", &"9".repeat(400)] {
            assert!(number(text).is_none_or(f64::is_finite), "{text}");
        }
        assert_eq!(number("NaN"), None);
        assert_eq!(number("27.3°"), Some(27.3));
    }
}
