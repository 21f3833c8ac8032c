use super::*;
use crate::telemetry::fixture;

fn read(name: &str) -> Option<TelemetryLog> {
    Some(parse(&fixture::read(&format!("srt/{name}"))?))
}

#[track_caller]
fn near(place: Option<Wgs84>, lat: f64, lon: f64) {
    let place = place.unwrap();
    assert!(
        (place.lat - lat).abs() < 1e-9 && (place.lon - lon).abs() < 1e-9,
        "{place:?} is not {lat}, {lon}"
    );
}

/// File, records, places, first place, last place.
type Expected = (&'static str, usize, usize, Option<(f64, f64)>, Option<(f64, f64)>);

const FILES: [Expected; 30] = [
    ("air2s.srt", 17, 17, Some((41.424_724, 2.234_156)), None),
    ("broken_empty.SRT", 0, 0, None, None),
    ("broken_empty2.SRT", 0, 0, None, None),
    (
        "broken_incomplete.SRT",
        20,
        19,
        Some((-34.7383, -58.4563)),
        Some((-34.7383, -58.4563)),
    ),
    (
        "broken_incomplete2.SRT",
        6,
        4,
        Some((-34.869_950, -57.823_395)),
        None,
    ),
    (
        "dock2_embedded_cn.srt",
        2,
        2,
        Some((28.941_126, 106.921_302)),
        Some((28.941_126, 106.921_302)),
    ),
    ("emb_Avata360.SRT", 5, 5, Some((53.365_080, 6.460_739)), None),
    ("emb_Mini5PRO.SRT", 5, 5, Some((53.365_108, 6.460_719)), None),
    (
        "emb_air3.SRT",
        2,
        2,
        Some((59.1111, 18.2222)),
        Some((59.1112, 18.2223)),
    ),
    ("emb_air3S.SRT", 5, 5, Some((34.270_373, -84.176_160)), None),
    (
        "emb_avata2.SRT",
        2,
        2,
        Some((39.906_217, 116.391_305)),
        Some((39.906_218, 116.391_306)),
    ),
    (
        "emb_mini4pro.SRT",
        2,
        2,
        Some((59.0, 18.0)),
        Some((59.0001, 18.0001)),
    ),
    ("emb_neo2.SRT", 5, 5, Some((45.607_181, 13.753_860)), None),
    ("emb_neo2_nogps.SRT", 6, 3, Some((32.848_932, -84.861_966)), None),
    (
        "m2e_thermal_DJI_0094.srt",
        1,
        1,
        Some((-36.885_326, 174.697_242)),
        None,
    ),
    ("m2zoom_head.SRT", 136, 135, Some((31.452_012, 74.398_751)), None),
    (
        "m300_h20t_blank_line_inside_cue.srt",
        1,
        1,
        Some((-44.228_828, 171.193_516)),
        None,
    ),
    (
        "m3e_video2.srt",
        2,
        2,
        Some((48.267_013, 25.914_562)),
        Some((48.267_014, 25.914_563)),
    ),
    (
        "m3t_thermal_DJI_20230628182818_0001_T.srt",
        1,
        1,
        Some((-37.996_099, 177.035_704)),
        None,
    ),
    (
        "matrice_300.srt",
        381,
        381,
        Some((36.6146, -6.1120)),
        Some((36.6146, -6.1120)),
    ),
    (
        "mavic_2_style.SRT",
        468,
        468,
        Some((-20.2533, 149.0251)),
        Some((-20.2532, 149.0251)),
    ),
    ("mavic_3_head.srt", 208, 207, Some((3.41531, -3.37440)), None),
    ("mavic_air.SRT", 2, 0, None, None),
    ("mavic_air2.srt", 25, 25, Some((41.420_684, 2.162_162)), None),
    (
        "mavic_mini.SRT",
        117,
        117,
        Some((48.0771, -121.7458)),
        Some((48.0775, -121.7476)),
    ),
    (
        "mavic_pro.SRT",
        468,
        468,
        Some((-20.2533, 149.0251)),
        Some((-20.2532, 149.0251)),
    ),
    (
        "mix_p4rtk_mavic2pro.srt",
        12,
        12,
        Some((-34.650_200, -59.409_424)),
        Some((-34.651_180, -59.409_483)),
    ),
    (
        "old_format.SRT",
        468,
        468,
        Some((-20.2533, 149.0251)),
        Some((-20.2532, 149.0251)),
    ),
    ("p4_rtk.SRT", 55, 55, Some((-34.237_922, -58.851_745)), None),
    (
        "p4p_sample.SRT",
        5,
        5,
        Some((47.4692, 8.2090)),
        Some((47.4692, 8.2090)),
    ),
];

#[test]
fn every_dialect_gives_its_records_and_places() {
    for (name, records, places, first, last) in FILES {
        let Some(log) = read(name) else { return };
        let with_place: Vec<_> = log
            .samples
            .iter()
            .filter(|sample| sample.position.is_some())
            .collect();
        assert_eq!(
            (log.samples.len(), with_place.len()),
            (records, places),
            "{name}: {:?}",
            log.notes
        );
        if let Some((lat, lon)) = first {
            near(with_place[0].position, lat, lon);
        }
        if let Some((lat, lon)) = last {
            near(with_place[with_place.len() - 1].position, lat, lon);
        }
        for sample in &log.samples {
            assert!(
                sample.position.is_some() || sample.flags.contains(PoseFlag::NoFix),
                "{name}"
            );
            assert!(sample.time.unix_s.is_none(), "local time is never taken for UTC");
        }
    }
}

#[test]
fn the_mavic_pro_flew_its_path() {
    for name in ["mavic_pro.SRT", "old_format.SRT"] {
        let Some(log) = read(name) else { return };
        near(log.samples[0].takeoff, -20.2532, 149.0251);
        let last = log.samples[log.samples.len() - 1].time.media_s.unwrap();
        let first = log.samples[0].time.media_s.unwrap();
        assert!((last + 1.0 - first - 468.0).abs() < 1e-9, "468 cues of a second");
        let path_m = path_length_m(&log);
        // The parser that states 2,804.6 m smooths the path first; the places themselves are 2,871 m apart in sum.
        assert!((path_m / 2_804.6 - 1.0).abs() < 0.03, "{name}: {path_m}");
        let highest = log
            .samples
            .iter()
            .filter_map(|sample| sample.heights.takeoff_m)
            .fold(f64::MIN, f64::max);
        assert!((highest - 118.65).abs() < 0.1, "{highest}");
        assert!(log.samples.iter().all(|sample| sample.gimbal.is_none()));
        assert!(log.samples[0].camera_attitude().is_err());
    }
}

#[test]
fn a_phantom_with_rtk_says_where_its_camera_looks() {
    let Some(log) = read("p4_rtk.SRT") else { return };
    let first = &log.samples[0];
    let attitude = first.camera_attitude().unwrap();
    assert_eq!(
        (attitude.yaw_deg, attitude.pitch_deg, attitude.roll_deg),
        (110.4, -24.4, 0.0)
    );
    let platform = first.platform.unwrap();
    assert!((platform.yaw_deg - 110.1).abs() < 1e-9 && (platform.pitch_deg - 2.7).abs() < 1e-9);
    assert!((platform.roll_deg + 7.0).abs() < 1e-9);
    assert_eq!(first.heights.takeoff_m, Some(85.8));
    assert_eq!(first.heights.absolute(), None);
    near(first.takeoff, -34.232_707, -58.847_509);
}

#[test]
fn two_models_in_one_file_are_each_read_in_their_own_way() {
    let Some(log) = read("mix_p4rtk_mavic2pro.srt") else {
        return;
    };
    assert!(log.samples[0].gimbal.is_some());
    let last = log.samples[log.samples.len() - 1];
    assert!(last.gimbal.is_none());
    assert_eq!(last.optics.focal_length_35mm_mm, Some(28.0));
    assert!(last.flags.contains(PoseFlag::AltitudeDoubtful));
}

#[test]
fn gimbal_angles_of_new_models_are_read() {
    for (name, yaw, pitch) in [
        ("dock2_embedded_cn.srt", 4.5, -20.0),
        ("emb_Avata360.SRT", 197.2, 0.0),
        ("m3e_video2.srt", 294.2, -89.9),
        ("m3t_thermal_DJI_20230628182818_0001_T.srt", 76.8, -49.1),
        ("m300_h20t_blank_line_inside_cue.srt", 330.0, -29.9),
    ] {
        let Some(log) = read(name) else { return };
        let attitude = log.samples[0].camera_attitude().unwrap();
        assert!((attitude.yaw_deg - yaw).abs() < 1e-9, "{name}: {attitude:?}");
        assert!((attitude.pitch_deg - pitch).abs() < 1e-9, "{name}: {attitude:?}");
    }
}

#[test]
fn an_aircraft_attitude_is_no_gimbal_attitude() {
    let Some(log) = read("m2e_thermal_DJI_0094.srt") else {
        return;
    };
    let sample = log.samples[0];
    assert!((sample.platform.unwrap().yaw_deg - 214.0).abs() < 1e-9);
    assert_eq!(
        sample.camera_attitude(),
        Err(crate::telemetry::NoAttitude::OnlyAircraft)
    );
}

#[test]
fn scaled_numbers_are_unscaled() {
    let optics = |name: &str| read(name).map(|log| log.samples[0].optics);
    let Some(air2s) = optics("air2s.srt") else { return };
    assert_eq!(air2s.focal_length_35mm_mm, Some(24.0));
    assert_eq!(
        optics("mavic_3_head.srt").unwrap().focal_length_35mm_mm,
        Some(24.0)
    );
    let h20t = optics("m300_h20t_blank_line_inside_cue.srt").unwrap();
    assert_eq!((h20t.focal_length_35mm_mm, h20t.zoom), (Some(58.0), Some(1.0)));
    let scaled = parse(b"1\n00:00:00,000 --> 00:00:00,033\n[focal_len: 240] [dzoom_ratio: 20000, delta:0]\n");
    assert_eq!(scaled.samples[0].optics.zoom, Some(2.0));
}

#[test]
fn heights_keep_their_datum() {
    let Some(log) = read("m3e_video2.srt") else { return };
    let heights = log.samples[0].heights;
    assert_eq!(
        (heights.takeoff_m, heights.egm96_m),
        (Some(102.229), Some(426.185))
    );
    assert!(log.samples[0].flags.contains(PoseFlag::AltitudeDoubtful));
    let Some(log) = read("matrice_300.srt") else {
        return;
    };
    assert_eq!(log.samples[9].heights.takeoff_m, Some(26.3));
    assert_eq!(
        log.samples[9].heights.egm96_m, None,
        "0.0M is never filled by this model"
    );
    let Some(log) = read("emb_avata2.SRT") else { return };
    assert_eq!(
        log.samples[0].heights.takeoff_m, None,
        "BAROMETER(91.2) has no known zero"
    );
}

#[test]
fn cues_without_subtitle_times_are_timed_by_their_dates() {
    let Some(log) = read("mavic_2_style.SRT") else {
        return;
    };
    assert_eq!(log.samples[0].time.media_s, Some(0.0));
    assert!((log.samples[467].time.media_s.unwrap() - 468.0).abs() < 2.0);
    assert!(!log.notes.is_empty());
}

#[test]
fn the_order_of_coordinates_follows_what_cannot_be_a_latitude() {
    let cue = |gps: &str| {
        parse(format!("1\n00:00:00,000 --> 00:00:01,000\n{gps}\n").as_bytes()).samples[0].position
    };
    near(cue("GPS(116.39,39.9,16)"), 39.9, 116.39);
    near(cue("GPS(39.9,116.39,16)"), 39.9, 116.39);
    near(cue("GPS(116.39,39.9,16.5M)"), 39.9, 116.39);
    near(cue("GPS(12.5,41.9,0.0M)"), 12.5, 41.9);
    near(cue("GPS(12,5,41,9,16)"), 41.9, 12.5);
    near(cue("GPS(W: 96.75, N: 32.5, 57.4m)"), 32.5, -96.75);
    near(cue("GPS(S: 12.5, E: 41.9)"), -12.5, 41.9);
    assert_eq!(cue("GPS(12.5,41.9)"), None, "no order is known: refused");
    assert_eq!(cue("GPS(120.5,140.9,16)"), None);
}

#[test]
fn decimal_commas_blank_lines_and_carriage_returns_are_no_obstacle() {
    let text = "\u{feff}1\r\n00:00:00.000 --> 00:00:00.033\r\n[latitude: 35,190001] [longtitude : 113,25]\r\n\r\n0\r\n[rel_alt: 50,5 abs_alt: 130,5]\r\n\r\n2\r\n00:00:00.033 --> 00:00:00.066\r\n[latitude: 35,2] [longitude: 113,26]\r\n";
    let log = parse(text.as_bytes());
    assert_eq!(log.samples.len(), 2);
    near(log.samples[0].position, 35.190_001, 113.25);
    assert_eq!(log.samples[0].heights.takeoff_m, Some(50.5));
    near(log.samples[1].position, 35.2, 113.26);
}

#[test]
fn a_cue_without_telemetry_is_counted() {
    let log = parse(b"1\n00:00:00,000 --> 00:00:01,000\n[rel_alt: 5.0]\n\n2\n00:00:01,000 --> oops\n[latitude: 1.0] [longitude: 2.0]\n\n3\n00:00:02,000 --> 00:00:03,000\nhello\n");
    assert_eq!((log.samples.len(), log.malformed), (1, 2));
    assert_eq!(
        log.samples[0].position, None,
        "the damaged cue lends its place to nobody"
    );
}
