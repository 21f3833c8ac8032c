//! Every parser meets random and damaged input here: it may refuse, it may not panic, and what it gives is in range.
//!
//! `PROPTEST_CASES=10000000 cargo test --release --lib telemetry::random_tests` runs ten million inputs per parser; the
//! folder `fuzz` holds the same targets for libFuzzer: `fuzz/run all -max_total_time=60`.

use std::path::Path;

use proptest::prelude::*;

use super::csv::ColumnMap;
use super::dji_cloud::DjiCloudSettings;
use super::log::TelemetryLog;
use super::open::{Format, Settings};
use super::{csv, dji_cloud, dji_srt, fixture, gpx, klv, mavlink_stream, onvif, open, photo, ts, xmp};

#[track_caller]
fn check(log: &TelemetryLog) {
    for sample in &log.samples {
        if let Some(place) = sample.position {
            assert!(place.lat.abs() <= 90.0 && place.lon.abs() <= 180.0);
            assert!(
                place.lat.abs() > 1e-7 || place.lon.abs() > 1e-7,
                "0, 0 is no place"
            );
        }
        for height in [
            sample.heights.ellipsoid_m,
            sample.heights.egm96_m,
            sample.heights.takeoff_m,
        ]
        .into_iter()
        .flatten()
        {
            assert!(height.is_finite());
        }
        if let Ok(looks) = sample.camera_attitude() {
            assert!(looks.yaw_deg.is_finite() && looks.pitch_deg.is_finite() && looks.roll_deg.is_finite());
        }
        for time in [sample.time.media_s, sample.time.unix_s].into_iter().flatten() {
            assert!(time.is_finite());
        }
    }
    let timeline = super::Timeline::of(log);
    if let Some((from_s, to_s)) = timeline.span_s()
        && let Ok(pose) = timeline.pose_at(f64::midpoint(from_s, to_s))
    {
        assert!(
            pose.position
                .is_none_or(|place| place.lat.is_finite() && place.lon.is_finite())
        );
    }
}

fn every_parser(bytes: &[u8]) {
    let settings = Settings::default();
    for format in [
        Format::DjiSrt,
        Format::Klv,
        Format::KlvTs,
        Format::Mavlink,
        Format::DjiCloud,
        Format::Photo,
        Format::Gpx,
        Format::Csv,
    ] {
        if let Ok(log) = open::parse(format, bytes, &settings) {
            check(&log);
        }
    }
    let text = String::from_utf8_lossy(bytes);
    let _status = onvif::parse_status(&text);
    let _properties = xmp::parse(&text);
    let _time = klv::sei::find(bytes);
    let _format = open::detect(Path::new("x"), bytes);
    let mut reader = mavlink_stream::MavlinkReader::default();
    for piece in bytes.chunks(17) {
        let _samples = reader.push(piece, 1.7e9);
    }
}

/// Turns bytes into a text of the letters that the text formats are made of.
fn wordy(bytes: &[u8]) -> String {
    const WORDS: [&str; 40] = [
        "1\n",
        "\n",
        "00:00:01,000",
        " --> ",
        "[latitude: ",
        "[longitude: ",
        "[longtitude : ",
        "] ",
        "GPS(",
        "HOME(",
        ")",
        ",",
        "-",
        "12.5",
        "149.02",
        "999999999999",
        "0",
        ".",
        "G.PRY (",
        "°",
        "rel_alt: ",
        "abs_alt: ",
        "focal_len: ",
        "240",
        "<font>",
        "<",
        ">",
        "2017.8.5 14:11:51",
        "NaN",
        "\u{feff}",
        "gb_yaw: ",
        "gb_pitch: ",
        "gb_roll: ",
        "H 85.80m",
        " ",
        "é",
        "M",
        "BAROMETER:",
        "dzoom: ",
        "\"",
    ];
    bytes
        .iter()
        .map(|byte| WORDS[usize::from(*byte) % WORDS.len()])
        .collect()
}

/// Turns bytes into XML of the names that the XML formats are made of.
fn marked_up(bytes: &[u8]) -> String {
    const WORDS: [&str; 24] = [
        "<x:xmpmeta>",
        "</x:xmpmeta>",
        "<gpx>",
        "</gpx>",
        "<trkpt lat=\"",
        "\" lon=\"",
        "\">",
        "</trkpt>",
        "12.5",
        "1e999",
        "-",
        "<rdf:Description drone-dji:GpsLatitude=\"",
        "drone-dji:GimbalYawDegree=\"",
        "\"/>",
        "<tt:Position>",
        "<tt:PanTilt x=\"",
        "&#0;",
        "&amp;",
        "<PTZStatus>",
        "</PTZStatus>",
        "<time>",
        "2026-11-23T10:00:00Z",
        "<ele>",
        " ",
    ];
    bytes
        .iter()
        .map(|byte| WORDS[usize::from(*byte) % WORDS.len()])
        .collect()
}

/// Damages a good file: a few bytes are changed and the end is cut off.
fn damaged(bytes: &[u8], changes: &[(usize, u8)], keep: usize) -> Vec<u8> {
    let mut damaged: Vec<u8> = bytes.iter().copied().take(6_000).collect();
    let length = damaged.len();
    for (at, value) in changes {
        if let Some(byte) = damaged.get_mut(at % length.max(1)) {
            *byte = *value;
        }
    }
    damaged.truncate(keep % (length + 1));
    damaged
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        every_parser(&bytes);
    }

    #[test]
    fn random_words_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        check(&dji_srt::parse(wordy(&bytes).as_bytes()));
        if let Ok(log) = csv::parse(&wordy(&bytes), &ColumnMap::default()) {
            check(&log);
        }
    }

    #[test]
    fn random_markup_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let text = marked_up(&bytes);
        if let Ok(log) = gpx::parse(&text) {
            check(&log);
        }
        if let Ok(log) = photo::parse(text.as_bytes()) {
            check(&log);
        }
        let _status = onvif::parse_status(&text);
    }

    #[test]
    fn damaged_files_never_panic_and_never_move_a_place_out_of_range(
        which in 0usize..8,
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..12),
        keep in any::<usize>(),
    ) {
        const FILES: [&str; 8] = [
            "klv/Truck.klv", "klv/realflight.bin", "klv/day.klv", "srt/p4_rtk.SRT", "srt/m300_h20t_blank_line_inside_cue.srt",
            "srt/mavic_pro.SRT", "geo/M30T_xmp_with_LRF.xml", "dji-cloud/03_10_dock2_00_properties.json",
        ];
        static CACHE: std::sync::OnceLock<Vec<Option<Vec<u8>>>> = std::sync::OnceLock::new();
        let files = CACHE.get_or_init(|| FILES.iter().map(|name| fixture::read(name)).collect());
        if let Some(Some(bytes)) = files.get(which) {
            every_parser(&damaged(bytes, &changes, keep));
        }
    }

    #[test]
    fn random_payloads_never_panic(
        numbers in proptest::collection::vec(any::<f64>(), 6),
        word in "[a-z0-9.\\-]{0,8}",
    ) {
        let text = format!(
            r#"{{"timestamp":{:?},"data":{{"latitude":"{}","longitude":{:?},"height":{:?},"attitude_head":{:?},"gimbal_yaw":"{word}","gimbal_pitch":{:?}}}}}"#,
            numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5],
        );
        check(&dji_cloud::parse(text.as_bytes(), DjiCloudSettings::default()));
    }

    #[test]
    fn random_transport_streams_never_panic(
        packets in proptest::collection::vec((any::<u16>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 1..20),
    ) {
        let mut bytes = Vec::new();
        for (pid, control, body) in &packets {
            let start = bytes.len();
            bytes.extend_from_slice(&[0x47, (pid >> 8) as u8, (pid % 4) as u8, *control]);
            bytes.extend_from_slice(body);
            bytes.resize(start + 188, 0xFF);
        }
        check(&ts::parse(&bytes));
    }
}
