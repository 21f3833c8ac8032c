//! DJI Cloud API: what aircraft push over MQTT, as JSON. This file reads payloads; who receives them is elsewhere.
//!
//! `…/osd` comes every two seconds and holds the whole state; `…/drc/up` comes up to thirty times a second and holds
//! place and gimbal (`osd_info_push`) or camera and laser (`drc_camera_osd_info_push`).

use serde_json::{Map, Value};

use crate::flow::pose::{Height, HeightDatum, LaserRange, PoseFlag};

use super::log::{LogTime, TelemetryError, TelemetryLog};
use super::sample::{Gimbal, GimbalFrame, TelemetrySample, checked_attitude, checked_height_m, place};

/// The largest payload that is read, in bytes.
const LARGEST_PAYLOAD: usize = 1 << 20;

/// What to know of a source that its payloads do not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DjiCloudSettings {
    /// What `gimbal_yaw` is measured against. The vendor's document does not say; its photos use true north. `None` takes
    /// true north and flags every attitude as assumed, until a flight over a landmark has shown it.
    pub gimbal_yaw: Option<GimbalFrame>,
}

/// Reads a number, also one that came as text. `"false"`, an empty text and anything else is unknown.
fn number(object: &Map<String, Value>, key: &str) -> Option<f64> {
    match object.get(key)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|value: &f64| value.is_finite())
}

/// Returns the object under a payload's key (`52-0-0`) that holds gimbal or laser.
fn payload_object(data: &Map<String, Value>) -> Option<&Map<String, Value>> {
    data.iter()
        .filter(|(key, _)| {
            key.split('-').count() == 3 && key.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        })
        .filter_map(|(_, value)| value.as_object())
        .max_by_key(|object| usize::from(object.contains_key("gimbal_pitch")))
}

/// Reads one payload; `None` if it is well-formed but holds nothing of a pose (a dock's state, a reply).
pub fn parse_payload(
    payload: &[u8],
    settings: DjiCloudSettings,
) -> Result<Option<TelemetrySample>, TelemetryError> {
    let malformed = |problem: String| TelemetryError::Malformed {
        what: "a DJI Cloud API payload",
        problem,
    };
    if payload.len() > LARGEST_PAYLOAD {
        return Err(malformed(format!(
            "{} bytes are more than the limit of {LARGEST_PAYLOAD}",
            payload.len()
        )));
    }
    let value: Value = serde_json::from_slice(payload).map_err(|error| malformed(error.to_string()))?;
    let envelope = value
        .as_object()
        .ok_or_else(|| malformed("an object with `data` is expected".into()))?;
    let data = envelope
        .get("data")
        .and_then(Value::as_object)
        .ok_or_else(|| malformed("an object with `data` is expected".into()))?;
    Ok(sample_of(envelope, data, settings))
}

fn sample_of(
    envelope: &Map<String, Value>,
    data: &Map<String, Value>,
    settings: DjiCloudSettings,
) -> Option<TelemetrySample> {
    let mut sample = TelemetrySample::default();
    let mut says_something = false;
    // The aircraft's own time where it gives one; else when the gateway sent it.
    sample.time.unix_s = number(data, "timestamp")
        .or_else(|| number(envelope, "timestamp"))
        .map(|milliseconds| milliseconds / 1e3)
        .filter(|seconds| (946_684_800.0..4_102_444_800.0).contains(seconds));

    if let (Some(lat), Some(lon)) = (number(data, "latitude"), number(data, "longitude")) {
        says_something = true;
        sample.set_fix(lat, lon);
        sample.heights.ellipsoid_m = number(data, "height").and_then(checked_height_m);
        sample.heights.takeoff_m = number(data, "elevation").and_then(checked_height_m);
    }
    let head = number(data, "attitude_head");
    sample.heading_deg = head.map(|degrees| degrees.rem_euclid(360.0));
    if let (Some(yaw), Some(pitch), Some(roll)) = (
        head,
        number(data, "attitude_pitch"),
        number(data, "attitude_roll"),
    ) {
        sample.platform = checked_attitude(yaw, pitch, roll);
    }
    let payload = payload_object(data);
    for object in [Some(data), payload].into_iter().flatten() {
        if let (Some(yaw), Some(pitch)) = (number(object, "gimbal_yaw"), number(object, "gimbal_pitch")) {
            let roll = number(object, "gimbal_roll").unwrap_or(0.0);
            sample.gimbal = checked_attitude(yaw, pitch, roll).map(|attitude| Gimbal {
                attitude,
                frame: settings.gimbal_yaw.unwrap_or(GimbalFrame::Earth),
            });
            if settings.gimbal_yaw.is_none() {
                sample.flags.insert(PoseFlag::AssumedAttitude);
            }
        }
    }
    says_something |= sample.gimbal.is_some();
    let camera = data
        .get("cameras")
        .and_then(Value::as_array)
        .and_then(|cameras| cameras.first())
        .and_then(Value::as_object);
    let zoom_lens = data.get("zoom_lense").and_then(Value::as_object);
    sample.optics.zoom = [payload, camera, zoom_lens]
        .into_iter()
        .flatten()
        .find_map(|object| number(object, "zoom_factor"))
        .filter(|zoom| (0.5..=400.0).contains(zoom));
    says_something |= sample.optics.zoom.is_some();

    let measured = data.get("measure_target").and_then(Value::as_object);
    sample.laser = [measured, payload, Some(data)]
        .into_iter()
        .flatten()
        .find_map(laser);
    says_something |= sample.laser.is_some();

    if let Some(state) = data.get("position_state").and_then(Value::as_object) {
        // 2 is "fixed"; quality 5 is a fixed real-time kinematic solution.
        if number(state, "quality") == Some(5.0) {
            sample.flags.insert(PoseFlag::Rtk);
        }
    }
    says_something.then_some(sample)
}

/// Reads the laser range finder, if it says that its measurement is good.
fn laser(object: &Map<String, Value>) -> Option<LaserRange> {
    if number(object, "measure_target_error_state") != Some(0.0) {
        return None;
    }
    let range_m =
        number(object, "measure_target_distance").filter(|range| (0.5..=10_000.0).contains(range))?;
    let target = number(object, "measure_target_latitude")
        .zip(number(object, "measure_target_longitude"))
        .and_then(|(lat, lon)| place(lat, lon));
    Some(LaserRange {
        range_m: Some(range_m),
        target,
        // Heights in this interface are above the ellipsoid.
        target_height: target
            .and_then(|_| number(object, "measure_target_altitude"))
            .and_then(checked_height_m)
            .map(|metres| Height::new(metres, HeightDatum::Ellipsoid)),
    })
}

/// Reads a file of payloads: one JSON object, or one a line.
#[must_use]
pub fn parse(bytes: &[u8], settings: DjiCloudSettings) -> TelemetryLog {
    let mut log = TelemetryLog::new("dji_cloud", LogTime::Unix);
    let mut take = |payload: &[u8]| match parse_payload(payload, settings) {
        Ok(sample) => log.samples.extend(sample),
        Err(_) => log.malformed += 1,
    };
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    if whole {
        take(bytes);
    } else {
        for line in bytes.split(|byte| *byte == b'\n') {
            if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                take(line);
            }
        }
    }
    if settings.gimbal_yaw.is_none() && log.samples.iter().any(|sample| sample.gimbal.is_some()) {
        log.notes.push(
            "the gimbal's yaw is taken to be over true north; the vendor does not say so: check it over a landmark and set it".into(),
        );
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixture;

    fn sample(text: &str, settings: DjiCloudSettings) -> TelemetrySample {
        parse_payload(text.as_bytes(), settings).unwrap().unwrap()
    }

    const OSD: &str = r#"{"timestamp":1670422793916,"gateway":"g","data":{
        "latitude":35.19,"longitude":113.25,"height":81.4,"elevation":100.0,"attitude_head":-90,
        "attitude_pitch":2.5,"attitude_roll":"0.5","52-0-0":{"gimbal_pitch":-30.1,"gimbal_roll":0,"gimbal_yaw":20.5,
        "zoom_factor":7.0,"measure_target_error_state":0,"measure_target_distance":412.5,"measure_target_latitude":35.2,
        "measure_target_longitude":113.26,"measure_target_altitude":60.0},"position_state":{"quality":5,"is_fixed":2}}}"#;

    #[test]
    fn an_osd_push_gives_place_heights_gimbal_zoom_and_laser() {
        let sample = sample(
            OSD,
            DjiCloudSettings {
                gimbal_yaw: Some(GimbalFrame::Earth),
            },
        );
        assert_eq!(sample.time.unix_s, Some(1_670_422_793.916));
        assert_eq!(sample.heights.ellipsoid_m, Some(81.4));
        assert_eq!(sample.heights.takeoff_m, Some(100.0));
        assert_eq!(sample.heading_deg, Some(270.0));
        assert!(
            (sample.platform.unwrap().roll_deg - 0.5).abs() < 1e-9,
            "a number that came as text"
        );
        let looks = sample.camera_attitude().unwrap();
        assert_eq!((looks.yaw_deg, looks.pitch_deg), (20.5, -30.1));
        assert_eq!(sample.optics.zoom, Some(7.0));
        assert_eq!(sample.laser.unwrap().range_m, Some(412.5));
        assert!(sample.flags.contains(PoseFlag::Rtk));
        assert!(!sample.flags.contains(PoseFlag::AssumedAttitude));
    }

    #[test]
    fn the_yaw_frame_is_a_setting_and_flagged_until_set() {
        let relative = sample(
            OSD,
            DjiCloudSettings {
                gimbal_yaw: Some(GimbalFrame::Heading),
            },
        );
        assert!((relative.camera_attitude().unwrap().yaw_deg - 290.5).abs() < 1e-9);
        let assumed = sample(OSD, DjiCloudSettings::default());
        assert!(assumed.flags.contains(PoseFlag::AssumedAttitude));
    }

    #[test]
    fn a_laser_that_reports_an_error_is_no_range() {
        let broken = OSD.replace(
            "\"measure_target_error_state\":0",
            "\"measure_target_error_state\":3",
        );
        assert_eq!(sample(&broken, DjiCloudSettings::default()).laser, None);
        let as_text = OSD.replace("\"zoom_factor\":7.0", "\"zoom_factor\":\"false\"");
        assert_eq!(sample(&as_text, DjiCloudSettings::default()).optics.zoom, None);
    }

    #[test]
    fn live_control_pushes_are_read() {
        let sample = sample(
            r#"{"method":"osd_info_push","seq":1,"data":{"attitude_head":60,"gimbal_pitch":-60,"gimbal_roll":0,"gimbal_yaw":60,"height":100.5,"latitude":35.1,"longitude":113.1,"speed_x":0,"timestamp":1670415891013}}"#,
            DjiCloudSettings::default(),
        );
        assert_eq!(sample.time.unix_s, Some(1_670_415_891.013));
        assert!((sample.camera_attitude().unwrap().pitch_deg + 60.0).abs() < 1e-9);
    }

    #[test]
    fn the_vendor_s_examples_are_read_and_hold_no_place() {
        for name in ["01_00_dock1_00_properties.json", "03_10_dock2_00_properties.json"] {
            let Some(bytes) = fixture::read(&format!("dji-cloud/{name}")) else {
                return;
            };
            let sample = parse_payload(&bytes, DjiCloudSettings::default())
                .unwrap()
                .unwrap();
            assert_eq!(sample.position, None, "0, 0 is no fix");
            assert!(sample.flags.contains(PoseFlag::NoFix));
            assert_eq!(sample.laser, None, "error state 1");
            assert!((sample.heading_deg.unwrap() - 41.7).abs() < 1e-9);
            assert!(sample.camera_attitude().is_err());
        }
        let Some(bytes) = fixture::read("dji-cloud/dock2_drc_camera_osd_info_push.json") else {
            return;
        };
        let sample = parse_payload(&bytes, DjiCloudSettings::default())
            .unwrap()
            .unwrap();
        assert!((sample.optics.zoom.unwrap() - 7.0).abs() < 1e-3);
        assert_eq!(sample.laser, None);
    }

    #[test]
    fn what_is_no_payload_is_refused_with_a_reason() {
        for text in ["", "[]", "{}", "{\"data\":[]}", "{\"data\":{}", "null"] {
            assert!(
                parse_payload(text.as_bytes(), DjiCloudSettings::default()).is_err(),
                "{text}"
            );
        }
        assert!(matches!(
            parse_payload(br#"{"data":{"job_number":3}}"#, DjiCloudSettings::default()),
            Ok(None)
        ));
        let log = parse(
            b"{\"data\":{\"latitude\":1,\"longitude\":2}}\nnonsense\n",
            DjiCloudSettings::default(),
        );
        assert_eq!((log.samples.len(), log.malformed), (1, 1));
    }
}
