//! Flight logs as tables: those of `AirData`, or any with a map of its columns. Units stand in the heading: `altitude(feet)`.

use serde::{Deserialize, Serialize};

use super::log::{LogTime, TelemetryError, TelemetryLog};
use super::sample::{Gimbal, GimbalFrame, TelemetrySample, checked_attitude, checked_height_m};
use crate::flow::pose::PoseFlag;

/// Rows read at most.
const MOST_ROWS: usize = 5_000_000;

/// Which column holds what. Headings are compared without their units, blanks and case; several may be named, the
/// first that is there counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnMap {
    /// Milliseconds since the start of the log.
    pub time_ms: Vec<String>,
    /// Date and time in UTC.
    pub utc: Vec<String>,
    /// Degrees north.
    pub lat: Vec<String>,
    /// Degrees east.
    pub lon: Vec<String>,
    /// Height above the point of take-off.
    pub above_takeoff: Vec<String>,
    /// Height above sea level: of doubtful datum in all logs known.
    pub above_sea: Vec<String>,
    /// Height above the ellipsoid.
    pub above_ellipsoid: Vec<String>,
    /// Degrees from north, of the aircraft.
    pub heading: Vec<String>,
    /// Degrees, of the aircraft.
    pub pitch: Vec<String>,
    /// Degrees, of the aircraft.
    pub roll: Vec<String>,
    /// Degrees from north, of the gimbal.
    pub gimbal_yaw: Vec<String>,
    /// Degrees above the horizon, of the gimbal.
    pub gimbal_pitch: Vec<String>,
    /// Degrees, of the gimbal.
    pub gimbal_roll: Vec<String>,
    /// Horizontal field of view, in degrees.
    pub hfov: Vec<String>,
    /// Not zero while video is recorded: media time counts from the first such row.
    pub recording: Vec<String>,
}

impl Default for ColumnMap {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            time_ms: names(&["time", "time_ms", "offset_time"]),
            utc: names(&["datetime", "datetime_utc", "utc"]),
            lat: names(&["latitude", "lat"]),
            lon: names(&["longitude", "longtitude", "lon", "lng"]),
            above_takeoff: names(&["height_above_takeoff", "rel_alt", "relative_altitude"]),
            above_sea: names(&["altitude_above_sealevel", "altitude_above_sea_level", "abs_alt"]),
            above_ellipsoid: names(&["ellipsoid_height", "height_ellipsoid", "hae"]),
            heading: names(&["compass_heading", "heading"]),
            pitch: names(&["pitch"]),
            roll: names(&["roll"]),
            gimbal_yaw: names(&["gimbal_heading", "gimbal_yaw"]),
            gimbal_pitch: names(&["gimbal_pitch"]),
            gimbal_roll: names(&["gimbal_roll"]),
            hfov: names(&["hfov"]),
            recording: names(&["isvideo"]),
        }
    }
}

/// A column that was found: where, and what its numbers are multiplied by.
#[derive(Clone, Copy, Debug)]
struct Column {
    index: usize,
    factor: f64,
}

fn normalised(heading: &str) -> (String, &str) {
    let heading = heading.trim().trim_matches('"').trim();
    let (name, unit) = heading
        .split_once(['(', '['])
        .map_or((heading, ""), |(name, unit)| {
            (name, unit.trim_end_matches([')', ']']))
        });
    (name.trim().to_ascii_lowercase().replace([' ', '-'], "_"), unit)
}

fn column(headings: &[String], wanted: &[String]) -> Option<Column> {
    wanted.iter().find_map(|wanted| {
        let wanted = normalised(wanted).0;
        headings.iter().enumerate().find_map(|(index, heading)| {
            let (name, unit) = normalised(heading);
            (name == wanted).then(|| Column {
                index,
                factor: match unit.to_ascii_lowercase().as_str() {
                    "feet" | "ft" => 0.3048,
                    "second" | "seconds" | "s" => 1_000.0,
                    "rad" | "radians" => 180.0 / std::f64::consts::PI,
                    _ => 1.0,
                },
            })
        })
    })
}

/// Cuts a line at its separators; quoted fields may hold them.
fn fields(line: &str, separator: char) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        if letter == '"' {
            quoted = !quoted;
        } else if letter == separator && !quoted {
            out.push(String::new());
        } else if let Some(field) = out.last_mut() {
            field.push(letter);
        }
    }
    out
}

/// Reads a table whose first line names its columns.
pub fn parse(text: &str, map: &ColumnMap) -> Result<TelemetryLog, TelemetryError> {
    let malformed = |problem: String| TelemetryError::Malformed {
        what: "a table of telemetry",
        problem,
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().ok_or_else(|| malformed("it is empty".into()))?;
    // Excel announces its separator in a line of its own.
    let (announced, first) = match first.strip_prefix("sep=") {
        Some(separator) => (separator.chars().next(), lines.next().unwrap_or_default()),
        None => (None, first),
    };
    let separator = announced.unwrap_or_else(|| {
        [',', ';', '\t']
            .into_iter()
            .max_by_key(|separator| first.matches(*separator).count())
            .unwrap_or(',')
    });
    let headings = fields(first, separator);
    let find = |wanted: &[String]| column(&headings, wanted);
    let (Some(lat), Some(lon)) = (find(&map.lat), find(&map.lon)) else {
        return Err(malformed(format!(
            "no columns of latitude and longitude are among {}; name them in the column map",
            headings.join(", ").chars().take(200).collect::<String>()
        )));
    };
    let columns = [
        find(&map.time_ms),
        find(&map.above_takeoff),
        find(&map.above_sea),
        find(&map.above_ellipsoid),
        find(&map.heading),
        find(&map.pitch),
        find(&map.roll),
        find(&map.gimbal_yaw),
        find(&map.gimbal_pitch),
        find(&map.gimbal_roll),
        find(&map.hfov),
        find(&map.recording),
    ];
    let utc = find(&map.utc);
    let mut log = TelemetryLog::new("csv", LogTime::Boot);
    let mut start: Option<(f64, f64)> = None;
    let mut recording_from_s: Option<f64> = None;
    for line in lines.take(MOST_ROWS) {
        let row = fields(line, separator);
        let number = |column: Option<Column>| -> Option<f64> {
            let column = column?;
            let text = row.get(column.index)?.trim();
            let plain = if separator == ',' {
                text.parse::<f64>()
            } else {
                text.replace(',', ".").parse()
            };
            plain
                .ok()
                .filter(|value| value.is_finite())
                .map(|value| value * column.factor)
        };
        let [
            time,
            takeoff,
            sea,
            ellipsoid,
            heading,
            pitch,
            roll,
            yaw,
            tilt,
            bank,
            hfov,
            recording,
        ] = columns.map(number);
        let (Some(lat), Some(lon)) = (number(Some(lat)), number(Some(lon))) else {
            log.malformed += 1;
            continue;
        };
        let mut sample = TelemetrySample::default();
        sample.set_fix(lat, lon);
        sample.heights.takeoff_m = takeoff.and_then(checked_height_m);
        sample.heights.ellipsoid_m = ellipsoid.and_then(checked_height_m);
        sample.heights.egm96_m = sea.and_then(checked_height_m);
        if sample.heights.egm96_m.is_some() {
            sample.flags.insert(PoseFlag::AltitudeDoubtful);
        }
        sample.heading_deg = heading.map(|degrees| degrees.rem_euclid(360.0));
        if let (Some(heading), Some(pitch), Some(roll)) = (heading, pitch, roll) {
            sample.platform = checked_attitude(heading, pitch, roll);
        }
        if let (Some(yaw), Some(tilt)) = (yaw, tilt) {
            sample.gimbal = checked_attitude(yaw, tilt, bank.unwrap_or(0.0)).map(|attitude| Gimbal {
                attitude,
                frame: GimbalFrame::Earth,
            });
        }
        sample.optics.hfov_deg = hfov.filter(|degrees| (0.1..179.0).contains(degrees));
        let boot_s = time.map(|milliseconds| milliseconds / 1e3);
        sample.time.boot_s = boot_s;
        let stated = utc
            .and_then(|column| row.get(column.index))
            .and_then(|text| utc_s(text.trim()));
        // Dates in such logs stand still within a second: milliseconds since the start go on from the first.
        if let (Some(boot_s), Some(stated_s), None) = (boot_s, stated, start) {
            start = Some((boot_s, stated_s));
        }
        sample.time.unix_s = match (boot_s, start) {
            (Some(boot_s), Some((from_s, unix_s))) => Some(unix_s + boot_s - from_s),
            _ => stated,
        };
        if let (Some(boot_s), Some(recording)) = (boot_s, recording) {
            if recording > 0.0 {
                recording_from_s.get_or_insert(boot_s);
            }
            sample.time.media_s = recording_from_s.map(|from_s| boot_s - from_s);
        }
        log.samples.push(sample);
    }
    if log.samples.iter().any(|sample| sample.time.unix_s.is_some()) {
        log.clock = LogTime::Unix;
    }
    Ok(log)
}

/// Reads `2024-05-06 07:08:09` or RFC 3339 as UTC.
fn utc_s(text: &str) -> Option<f64> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_nanosecond() as f64 / 1e9);
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let at = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
    Some(at.as_nanosecond() as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIRDATA: &str = "time(millisecond),datetime(utc),latitude,longitude,height_above_takeoff(feet),altitude_above_seaLevel(feet), compass_heading(degrees), pitch(degrees), roll(degrees),isVideo,gimbal_heading(degrees),gimbal_pitch(degrees),gimbal_roll(degrees)\n\
0,2026-11-23 10:00:00,35.19,113.25,328.084,600,90,1,2,0,270.5,-30.5,0\n\
100,2026-11-23 10:00:00,35.1901,113.25,328.084,600,90,1,2,1,270.5,-30.5,0\n\
200,2026-11-23 10:00:00,0,0,328.084,600,90,1,2,1,270.5,-30.5,0\n\
300,2026-11-23 10:00:00,oops,113.25,328.084,600,90,1,2,1,270.5,-30.5,0\n";

    #[test]
    fn airdata_is_read_without_a_map() {
        let log = parse(AIRDATA, &ColumnMap::default()).unwrap();
        assert_eq!((log.samples.len(), log.malformed), (3, 1));
        let sample = log.samples[1];
        assert!(
            (sample.heights.takeoff_m.unwrap() - 100.0).abs() < 1e-3,
            "feet become metres"
        );
        assert!(sample.flags.contains(PoseFlag::AltitudeDoubtful));
        let looks = sample.camera_attitude().unwrap();
        assert_eq!((looks.yaw_deg, looks.pitch_deg), (270.5, -30.5));
        assert_eq!(sample.time.unix_s, Some(1_795_428_000.1));
        assert_eq!(sample.time.media_s, Some(0.0));
        assert!(log.samples[2].position.is_none());
    }

    #[test]
    fn another_table_is_read_by_its_map() {
        let map = ColumnMap {
            lat: vec!["Breite".into()],
            lon: vec!["Länge".into()],
            time_ms: vec!["Zeit".into()],
            ..ColumnMap::default()
        };
        let log = parse("Zeit (s);Breite;Länge\n1,5;35,19;113,25\n", &map).unwrap();
        assert!((log.samples[0].position.unwrap().lat - 35.19).abs() < 1e-9);
        assert_eq!(log.samples[0].time.boot_s, Some(1.5));
        assert!(parse("a,b\n1,2\n", &map).is_err());
        assert!(parse("", &map).is_err());
    }
}
