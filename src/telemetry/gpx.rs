//! GPX: tracks of a receiver. They know where and when, never where a camera looked.

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::log::{LogTime, TelemetryError, TelemetryLog};
use super::sample::{TelemetrySample, checked_height_m};
use crate::flow::pose::PoseFlag;

/// Points read at most.
const MOST_POINTS: usize = 5_000_000;

/// Reads the track points of a file.
pub fn parse(text: &str) -> Result<TelemetryLog, TelemetryError> {
    let malformed = |problem: String| TelemetryError::Malformed { what: "GPX", problem };
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut log = TelemetryLog::new("gpx", LogTime::Unix);
    let mut point: Option<TelemetrySample> = None;
    let mut inside = String::new();
    let mut is_gpx = false;
    loop {
        match reader
            .read_event()
            .map_err(|error| malformed(error.to_string()))?
        {
            Event::Start(element) => {
                let name: &str = element.local_name().into_inner();
                is_gpx |= name == "gpx";
                if name == "trkpt" {
                    point = Some(point_of(&element, &mut log));
                }
                inside.clear();
                inside.push_str(name);
            }
            Event::Empty(element) if element.local_name().into_inner() == "trkpt" => {
                let sample = point_of(&element, &mut log);
                push(&mut log, &sample);
            }
            Event::Text(value) => {
                let value = value.xml10_content();
                let value = value.trim();
                if let Some(sample) = point.as_mut().filter(|_| !value.is_empty()) {
                    match inside.as_str() {
                        "ele" => {
                            // The standard names no datum; receivers write sea level, some the ellipsoid.
                            sample.heights.egm96_m = value.parse().ok().and_then(checked_height_m);
                            sample.flags.insert(PoseFlag::AltitudeDoubtful);
                        }
                        "time" => {
                            sample.time.unix_s = value
                                .parse::<jiff::Timestamp>()
                                .ok()
                                .map(|at| at.as_nanosecond() as f64 / 1e9);
                        }
                        _ => {}
                    }
                }
            }
            Event::End(element) => {
                if element.local_name().into_inner() == "trkpt"
                    && let Some(sample) = point.take()
                {
                    push(&mut log, &sample);
                }
                inside.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if is_gpx {
        Ok(log)
    } else {
        Err(malformed("no <gpx> element is in it".into()))
    }
}

fn push(log: &mut TelemetryLog, sample: &TelemetrySample) {
    if log.samples.len() < MOST_POINTS {
        log.samples.push(*sample);
    }
}

fn point_of(element: &quick_xml::events::BytesStart<'_>, log: &mut TelemetryLog) -> TelemetrySample {
    let mut sample = TelemetrySample::default();
    let (mut lat, mut lon) = (f64::NAN, f64::NAN);
    for attribute in element.attributes().flatten() {
        let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else {
            continue;
        };
        let number = value.trim().parse().unwrap_or(f64::NAN);
        let key: &str = attribute.key.local_name().into_inner();
        match key {
            "lat" => lat = number,
            "lon" => lon = number,
            _ => {}
        }
    }
    sample.set_fix(lat, lon);
    log.malformed += u64::from(sample.position.is_none());
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_with_their_times_and_heights() {
        let log = parse(
            r#"<?xml version="1.0"?><gpx><trk><trkseg>
            <trkpt lat="35.19" lon="113.25"><ele>81.5</ele><time>2026-11-23T10:00:00.5Z</time></trkpt>
            <trkpt lat="95" lon="113.25"><time>2026-11-23T10:00:01Z</time></trkpt>
            <trkpt lat="35.2" lon="113.26"/></trkseg></trk></gpx>"#,
        )
        .unwrap();
        assert_eq!((log.samples.len(), log.malformed), (3, 1));
        assert_eq!(log.samples[0].time.unix_s, Some(1_795_428_000.5));
        assert_eq!(log.samples[0].heights.egm96_m, Some(81.5));
        assert!(log.samples[1].position.is_none());
        assert!(log.samples[0].camera_attitude().is_err());
    }

    #[test]
    fn what_is_no_gpx_is_refused() {
        assert!(parse("<kml/>").is_err());
        assert!(parse("").is_err());
        assert!(parse("<gpx><trkpt lat='1").is_err());
    }
}
