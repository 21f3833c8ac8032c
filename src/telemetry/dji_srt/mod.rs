//! DJI subtitle telemetry: the text beside or inside a recording, in all its dialects.
//!
//! One reader for all of them. A cue's text is cut into facts (`key: value`, `NAME(a, b, c)`, `H 85.80m`), and one table
//! says what each key means. What differs between models is decided from the text itself, never from a model's name:
//!
//! - the order of longitude and latitude in `GPS(…)`, by the shape of its third number and by what cannot be a latitude;
//! - focal lengths in tenths (`240` is 24.0 mm) and zooms in ten-thousandths, which have no decimal point;
//! - heights: above take-off (`rel_alt`, `H`, `BAROMETER`) are sound, absolute ones are of doubtful datum.
//!
//! Dates are local and without zone. `0, 0` is no fix.

mod cues;
mod facts;

#[cfg(test)]
mod tests;

use crate::flow::pose::{Attitude, PoseFlag, Wgs84};

use super::log::{LogTime, TelemetryLog};
use super::sample::{Gimbal, GimbalFrame, TelemetrySample, checked_attitude, checked_height_m, place};

pub use cues::{Cue, split};
use facts::{Fact, facts_of};

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Latitude,
    Longitude,
    HeightAboveTakeoff,
    DoubtfulHeight,
    FocalLength35,
    Zoom,
    GimbalYaw,
    GimbalPitch,
    GimbalRoll,
    AircraftYaw,
    AircraftPitch,
    AircraftRoll,
}

/// The number of meanings, for the array that holds one value of each.
const MEANINGS: usize = 12;

/// Every key that is understood, in lower case.
const KEYS: [(&str, Meaning); 27] = [
    ("latitude", Meaning::Latitude),
    ("longitude", Meaning::Longitude),
    // Older firmware cannot spell it.
    ("longtitude", Meaning::Longitude),
    ("rel_alt", Meaning::HeightAboveTakeoff),
    ("barometer", Meaning::HeightAboveTakeoff),
    ("hb", Meaning::HeightAboveTakeoff),
    ("h", Meaning::HeightAboveTakeoff),
    ("abs_alt", Meaning::DoubtfulHeight),
    ("altitude", Meaning::DoubtfulHeight),
    ("focal_len", Meaning::FocalLength35),
    ("dzoom_ratio", Meaning::Zoom),
    ("dzoom", Meaning::Zoom),
    ("gb_yaw", Meaning::GimbalYaw),
    ("gb_pitch", Meaning::GimbalPitch),
    ("gb_roll", Meaning::GimbalRoll),
    ("gimbal_yaw", Meaning::GimbalYaw),
    ("gimbal_pitch", Meaning::GimbalPitch),
    ("gimbal_roll", Meaning::GimbalRoll),
    ("gimbal.yaw", Meaning::GimbalYaw),
    ("gimbal.pitch", Meaning::GimbalPitch),
    ("gimbal.roll", Meaning::GimbalRoll),
    ("drone_yaw", Meaning::AircraftYaw),
    ("drone_pitch", Meaning::AircraftPitch),
    ("drone_roll", Meaning::AircraftRoll),
    ("drone.yaw", Meaning::AircraftYaw),
    ("drone.pitch", Meaning::AircraftPitch),
    ("drone.roll", Meaning::AircraftRoll),
];

/// The shape of a `GPS(…)` fact, which goes with one order of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GpsShape {
    /// `GPS(149.0251,-20.2533,16)`: the third is a number of satellites. Longitude first.
    Satellites,
    /// `GPS(36.6146,-6.1120,0.0M)`: the third is a height with its unit. Latitude first.
    HeightWithUnit,
    /// `GPS(39.906217,116.391305,69.800)`: the third is a height. Latitude first.
    Height,
    /// `GPS(W: 96.7, N: 32.9, 57.4m)`: each says what it is. Read as latitude, longitude.
    Labelled,
    /// Anything else: no order is known.
    Unknown,
}

impl GpsShape {
    const ALL: [Self; 5] = [
        Self::Satellites,
        Self::HeightWithUnit,
        Self::Height,
        Self::Labelled,
        Self::Unknown,
    ];

    fn of(third: Option<&str>) -> Self {
        let Some(third) = third else { return Self::Unknown };
        let unit = third.ends_with(['m', 'M']);
        let digits = third.trim_end_matches(['m', 'M']);
        match (unit, digits.contains('.')) {
            (true, _) => Self::HeightWithUnit,
            (false, true) => Self::Height,
            (false, false) => Self::Satellites,
        }
    }

    /// The order that this shape has in every sample known; `None` where none is known.
    fn longitude_first(self) -> Option<bool> {
        match self {
            Self::Satellites => Some(true),
            Self::HeightWithUnit | Self::Height | Self::Labelled => Some(false),
            Self::Unknown => None,
        }
    }
}

/// What one cue says, before the order of its coordinates is known.
#[derive(Clone, Copy, Debug)]
struct Record {
    sample: TelemetrySample,
    gps: Option<(GpsShape, f64, f64)>,
    home: Option<(f64, f64)>,
}

/// Reads a subtitle file. A cue that holds no telemetry at all is counted as malformed.
#[must_use]
pub fn parse(bytes: &[u8]) -> TelemetryLog {
    let text = String::from_utf8_lossy(bytes);
    let split = split(&text);
    let mut log = TelemetryLog::new("dji_srt", LogTime::Media);
    log.malformed = split.malformed;
    if split.timed_by_date {
        log.notes.push(
            "the cues have no subtitle times: seconds of video are counted from the first cue's clock".into(),
        );
    }
    let records: Vec<Record> = split
        .list
        .iter()
        .filter_map(|cue| {
            let record = record_of(cue);
            log.malformed += u64::from(record.is_none());
            record
        })
        .collect();
    let orders = GpsShape::ALL.map(|shape| order_of(shape, &records));
    let mut order_unknown = false;
    for record in records {
        let mut sample = record.sample;
        if let Some((shape, first, second)) = record.gps {
            if let Some(longitude_first) = orders.get(shape as usize).copied().flatten() {
                let ordered =
                    |(a, b): (f64, f64)| -> (f64, f64) { if longitude_first { (b, a) } else { (a, b) } };
                let (lat, lon) = ordered((first, second));
                sample.set_fix(lat, lon);
                sample.takeoff = record.home.map(ordered).and_then(|(lat, lon)| place(lat, lon));
            } else {
                order_unknown = true;
                sample.flags.insert(PoseFlag::NoFix);
            }
        } else if sample.position.is_none() {
            sample.flags.insert(PoseFlag::NoFix);
        }
        log.samples.push(sample);
    }
    fill_takeoff(&mut log);
    if order_unknown {
        log.notes.push(
            "the order of latitude and longitude in GPS(…) cannot be told in this dialect: no places are given".into(),
        );
    }
    if !log.samples.is_empty() && log.samples.iter().all(|sample| sample.gimbal.is_none()) {
        log.notes.push(
            "this dialect holds no gimbal angles: only the place is known, not where the camera looked"
                .into(),
        );
    }
    log
}

/// A recording that starts on the ground shows its take-off, where the dialect does not say it.
fn fill_takeoff(log: &mut TelemetryLog) {
    const ON_THE_GROUND_M: f64 = 1.5;
    let first = log.samples.iter().find(|sample| sample.position.is_some());
    let started_here = first
        .filter(|first| {
            first
                .heights
                .takeoff_m
                .is_some_and(|metres| metres.abs() <= ON_THE_GROUND_M)
        })
        .and_then(|first| first.position);
    if let Some(takeoff) = started_here {
        for sample in &mut log.samples {
            sample.takeoff = sample.takeoff.or(Some(takeoff));
        }
    }
}

/// Decides the order of one shape: what cannot be a latitude is a longitude; else what the shape usually has. `None`
/// where the numbers contradict each other or nothing is known.
fn order_of(shape: GpsShape, records: &[Record]) -> Option<bool> {
    let pairs = records
        .iter()
        .filter_map(|record| record.gps)
        .filter(|gps| gps.0 == shape);
    let (mut first_is_longitude, mut second_is_longitude) = (false, false);
    for (_, first, second) in pairs {
        first_is_longitude |= first.abs() > 90.0;
        second_is_longitude |= second.abs() > 90.0;
    }
    match (first_is_longitude, second_is_longitude) {
        (true, true) => None,
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => shape.longitude_first(),
    }
}

fn gps_of(facts: &[Fact<'_>]) -> Option<(GpsShape, f64, f64)> {
    let arguments = call(facts, "gps")?;
    if let Some((lat, lon)) = labelled(arguments) {
        return Some((GpsShape::Labelled, lat, lon));
    }
    let number = |index: usize| arguments.get(index).and_then(|text| facts::number(text));
    Some((GpsShape::of(arguments.get(2).copied()), number(0)?, number(1)?))
}

/// Reads `W: 96.7, N: 32.9` in any order as latitude and longitude.
fn labelled(arguments: &[&str]) -> Option<(f64, f64)> {
    let (mut lat, mut lon) = (None, None);
    for argument in arguments {
        let Some((letter, text)) = argument.split_once(':') else {
            continue;
        };
        let value = facts::number(text)?;
        match letter.trim() {
            "N" | "n" => lat = Some(value),
            "S" | "s" => lat = Some(-value),
            "E" | "e" => lon = Some(value),
            "W" | "w" => lon = Some(-value),
            _ => return None,
        }
    }
    lat.zip(lon)
}

fn call<'facts, 'text>(facts: &'facts [Fact<'text>], name: &str) -> Option<&'facts [&'text str]> {
    facts.iter().find_map(|fact| match fact {
        Fact::Call {
            name: called,
            arguments,
        } if called.eq_ignore_ascii_case(name) => Some(arguments.as_slice()),
        _ => None,
    })
}

/// Reads one cue; `None` if there is no fact of telemetry in it.
fn record_of(cue: &Cue<'_>) -> Option<Record> {
    let facts = facts_of(cue.text);
    let mut values: [Option<(f64, &str)>; MEANINGS] = [None; MEANINGS];
    for fact in &facts {
        let Fact::Value { key, text } = fact else { continue };
        let Some((_, meaning)) = KEYS.iter().find(|(known, _)| key.eq_ignore_ascii_case(known)) else {
            continue;
        };
        // The first statement wins: a cue may repeat itself in another unit further down.
        if let Some(slot) = values.get_mut(*meaning as usize)
            && slot.is_none()
        {
            *slot = facts::number(text).map(|value| (value, *text));
        }
    }
    let value = |meaning: Meaning| values.get(meaning as usize).copied().flatten();
    let plain = |meaning: Meaning| value(meaning).map(|(number, _)| number);

    let gps = gps_of(&facts);
    let home = call(&facts, "home").and_then(|arguments| match arguments {
        _ if labelled(arguments).is_some() => labelled(arguments),
        [first, second, ..] => Some((facts::number(first)?, facts::number(second)?)),
        _ => None,
    });
    let mut sample = TelemetrySample::default();
    sample.time.media_s = Some(cue.start_s);
    sample.time.local_s = cue.local_s;
    if cue.local_s.is_some() {
        sample.flags.insert(PoseFlag::LocalTime);
    }

    if let (Some(lat), Some(lon)) = (plain(Meaning::Latitude), plain(Meaning::Longitude)) {
        sample.set_fix(lat, lon);
    }
    sample.heights.takeoff_m = plain(Meaning::HeightAboveTakeoff).and_then(checked_height_m);
    let third = call(&facts, "gps")
        .and_then(|arguments| arguments.get(2))
        .filter(|_| matches!(gps, Some((GpsShape::Height, ..))))
        .and_then(|text| facts::number(text));
    if let Some(metres) = plain(Meaning::DoubtfulHeight)
        .or(third)
        .and_then(checked_height_m)
    {
        sample.heights.egm96_m = Some(metres);
        sample.flags.insert(PoseFlag::AltitudeDoubtful);
    }

    sample.optics.focal_length_35mm_mm = value(Meaning::FocalLength35)
        .map(|(number, text)| unscaled(number, text, 100.0, 10.0))
        .filter(|mm| (5.0..=2_000.0).contains(mm));
    sample.optics.zoom = value(Meaning::Zoom)
        .map(|(number, text)| unscaled(number, text, 1_000.0, 10_000.0))
        .filter(|zoom| (0.5..=400.0).contains(zoom));

    sample.platform = attitude(
        plain(Meaning::AircraftYaw),
        plain(Meaning::AircraftPitch),
        plain(Meaning::AircraftRoll),
    )
    .or_else(|| pitch_roll_yaw(&facts, "F.PRY"));
    sample.gimbal = attitude(
        plain(Meaning::GimbalYaw),
        plain(Meaning::GimbalPitch),
        plain(Meaning::GimbalRoll),
    )
    .or_else(|| pitch_roll_yaw(&facts, "G.PRY"))
    .map(|attitude| Gimbal {
        attitude,
        frame: GimbalFrame::Earth,
    });

    let says_something = gps.is_some()
        || home.is_some()
        || cue.local_s.is_some()
        || values.iter().any(Option::is_some)
        || sample.gimbal.is_some();
    says_something.then_some(Record { sample, gps, home })
}

/// Undoes the scaling of numbers that are written as integers from `at_least` upwards.
fn unscaled(number: f64, text: &str, at_least: f64, by: f64) -> f64 {
    if number >= at_least && !text.contains(['.', ',']) {
        number / by
    } else {
        number
    }
}

fn attitude(yaw: Option<f64>, pitch: Option<f64>, roll: Option<f64>) -> Option<Attitude> {
    checked_attitude(yaw?, pitch?, roll?)
}

fn pitch_roll_yaw(facts: &[Fact<'_>], name: &str) -> Option<Attitude> {
    match call(facts, name)? {
        [pitch, roll, yaw] => {
            checked_attitude(facts::number(yaw)?, facts::number(pitch)?, facts::number(roll)?)
        }
        _ => None,
    }
}

/// Returns the length of the path through all places, in metres over the ellipsoid.
#[must_use]
pub fn path_length_m(log: &TelemetryLog) -> f64 {
    let places: Vec<Wgs84> = log.samples.iter().filter_map(|sample| sample.position).collect();
    places
        .windows(2)
        .map(|pair| match pair {
            [from, to] => crate::geo::ellipsoid::distance_m(*from, *to),
            _ => 0.0,
        })
        .sum()
}
