//! Cuts a subtitle file into cues, whatever its cues look like inside.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Most cues that are read of one file: more than a day of a picture a cue at 60 a second.
const MOST_CUES: usize = 6_000_000;

/// One subtitle: when it is shown and what it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cue<'text> {
    /// Seconds of the video at which it appears.
    pub start_s: f64,
    /// Seconds at which it goes, where the file says so.
    pub end_s: Option<f64>,
    /// The date in it: seconds since 1970 on a clock without a zone.
    pub local_s: Option<f64>,
    /// What it says.
    pub text: &'text str,
}

/// All cues of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cues<'text> {
    /// In the order of the file.
    pub list: Vec<Cue<'text>>,
    /// Cues that could not be read.
    pub malformed: u64,
    /// Whether the cues had no subtitle times and were timed by the dates in them.
    pub timed_by_date: bool,
}

/// Where the cue before ends, where this one's text starts, and its times unless they are damaged.
type Start = (usize, usize, Option<(f64, f64)>);

/// A line with its place in the text.
#[derive(Clone, Copy)]
struct Line<'text> {
    start: usize,
    end: usize,
    text: &'text str,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let base = text.as_ptr() as usize;
    text.lines().map(move |line| {
        let start = line.as_ptr() as usize - base;
        Line {
            start,
            end: start + line.len(),
            text: line.trim(),
        }
    })
}

/// Cuts a text into cues at its lines of times: blank lines and numbers inside a cue do not end it. A file without any
/// line of times is cut at its numbers and timed by its dates.
#[must_use]
pub fn split(text: &str) -> Cues<'_> {
    let text = text.trim_start_matches('\u{feff}');
    let mut starts: Vec<Start> = Vec::new();
    let mut previous: Option<Line<'_>> = None;
    let mut malformed = 0;
    for line in lines(text) {
        if line.text.contains("-->") {
            let body_ends = previous
                .filter(|before| is_index(before.text))
                .map_or(line.start, |before| before.start);
            let times = times(line.text);
            malformed += u64::from(times.is_none());
            if starts.len() < MOST_CUES {
                starts.push((body_ends, line.end, times));
            }
        }
        previous = Some(line);
    }
    if starts.is_empty() {
        return split_by_number(text, malformed);
    }
    let ends = starts.iter().skip(1).map(|next| next.0).chain([text.len()]);
    let cues = starts
        .iter()
        .zip(ends)
        .filter_map(|(&(_, body, times), body_end)| {
            let (start_s, end_s) = times?;
            let text = text.get(body..body_end.max(body)).unwrap_or_default();
            Some(Cue {
                start_s,
                end_s: Some(end_s),
                local_s: date(text),
                text,
            })
        })
        .collect();
    Cues {
        list: cues,
        malformed,
        timed_by_date: false,
    }
}

fn split_by_number(text: &str, malformed: u64) -> Cues<'_> {
    let mut starts: Vec<(usize, usize)> = Vec::new();
    let mut after_blank = true;
    for line in lines(text) {
        if after_blank && is_index(line.text) && starts.len() < MOST_CUES {
            starts.push((line.start, line.end));
        }
        after_blank = line.text.is_empty();
    }
    let ends = starts.iter().skip(1).map(|next| next.0).chain([text.len()]);
    let mut first_s = None;
    let mut found = Cues {
        malformed,
        timed_by_date: !starts.is_empty(),
        ..Cues::default()
    };
    for (&(_, body), body_end) in starts.iter().zip(ends) {
        let text = text.get(body..body_end).unwrap_or_default();
        let Some(local_s) = date(text) else {
            found.malformed += 1;
            continue;
        };
        let start_s = local_s - *first_s.get_or_insert(local_s);
        found.list.push(Cue {
            start_s,
            end_s: None,
            local_s: Some(local_s),
            text,
        });
    }
    found.timed_by_date &= !found.list.is_empty();
    found
}

fn is_index(line: &str) -> bool {
    !line.is_empty() && line.len() <= 9 && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads `00:15:04,904 --> 00:15:05,905`.
fn times(line: &str) -> Option<(f64, f64)> {
    let (start, end) = line.split_once("-->")?;
    Some((seconds(start)?, seconds(end)?))
}

/// Reads hours, minutes and seconds, the seconds with a comma or a point.
fn seconds(text: &str) -> Option<f64> {
    let mut parts = text.trim().splitn(3, ':');
    let hours: u32 = parts.next()?.trim().parse().ok()?;
    let minutes: u32 = parts.next()?.parse().ok().filter(|minutes| *minutes < 60)?;
    let seconds = parts.next()?.split_whitespace().next()?;
    let (whole, share) = seconds.split_once([',', '.']).unwrap_or((seconds, "0"));
    let whole: u32 = whole.parse().ok().filter(|seconds| *seconds <= 60)?;
    let share = fraction(share)?;
    (hours < 1_000).then(|| f64::from(hours * 3_600 + minutes * 60 + whole) + share)
}

/// Reads the digits after a decimal sign.
fn fraction(digits: &str) -> Option<f64> {
    let known = digits.len() <= 9 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !known {
        return None;
    }
    let whole: u32 = digits.parse().ok()?;
    Some(f64::from(whole) / 10f64.powi(digits.len() as i32))
}

/// Finds the first date: `2017.8.5 14:11:51`, `2022-08-07 13:40:40,774,808` (milliseconds, then microseconds).
fn date(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    // Every date has the shape "d d:d": look at each blank between two digits.
    bytes
        .windows(3)
        .enumerate()
        .find_map(|(at, window)| match window {
            [before, b' ', after] if before.is_ascii_digit() && after.is_ascii_digit() => {
                date_around(text.get(..=at)?, text.get(at + 2..)?)
            }
            _ => None,
        })
}

fn date_around(before: &str, after: &str) -> Option<f64> {
    let start = before
        .rfind(|letter: char| !(letter.is_ascii_digit() || letter == '.' || letter == '-'))
        .map_or(0, |at| {
            at + before
                .get(at..)
                .and_then(|rest| rest.chars().next())
                .map_or(1, char::len_utf8)
        });
    let mut day_parts = before.get(start..)?.split(['.', '-']);
    let year: i16 = day_parts.next()?.parse().ok()?;
    let month: i8 = day_parts.next()?.parse().ok()?;
    let day: i8 = day_parts.next()?.parse().ok()?;
    if day_parts.next().is_some() {
        return None;
    }
    let end = after
        .find(|letter: char| !(letter.is_ascii_digit() || matches!(letter, ':' | ',' | '.')))
        .unwrap_or(after.len());
    let mut clock = after.get(..end)?.splitn(3, ':');
    let hour: i8 = clock.next()?.parse().ok()?;
    let minute: i8 = clock.next()?.parse().ok()?;
    let mut second_parts = clock.next()?.split([',', '.']);
    let second: i8 = second_parts.next()?.parse().ok()?;
    let milliseconds = second_parts.next().and_then(fraction).unwrap_or(0.0);
    let microseconds = second_parts
        .next()
        .filter(|digits| digits.len() == 3)
        .and_then(fraction)
        .unwrap_or(0.0);
    let at = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let whole = TimeZone::UTC.to_timestamp(at).ok()?.as_second();
    Some(whole as f64 + milliseconds + microseconds / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_form_are_read() {
        let expected = 1_501_942_311.0;
        for text in [
            "HOME(149.0,-20.2) 2017.8.5 14:11:51",
            "x\n2017-08-05 14:11:51.000\n",
            "2017.08.05 14:11:51,000,000,393,525",
        ] {
            assert_eq!(date(text), Some(expected), "{text}");
        }
        let fine = date("2022-08-07 13:40:40,774,808").unwrap();
        assert!((fine.fract() - 0.774_808).abs() < 1e-6);
        assert_eq!(date("2022-13-07 13:40:40"), None);
        assert_eq!(date("no date 1 2"), None);
    }

    #[test]
    fn times_with_points_or_commas_are_read() {
        assert_eq!(times("00:00:01,500 --> 00:00:02.250"), Some((1.5, 2.25)));
        assert_eq!(times("00:00:01,500 --> 00:99:02.250"), None);
        assert_eq!(times("-->"), None);
    }
}
