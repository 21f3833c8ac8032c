//! The commands that read telemetry: every format by its command, and rays that point where the devices say.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::fixtures::fixture;

fn emberwatch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = emberwatch(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer} is missing in {value}"))
}

#[test]
fn every_fixture_is_dumped_one_record_a_line() {
    for (name, records) in [
        ("srt/mavic_pro.SRT", 468),
        ("srt/emb_Avata360.SRT", 5),
        ("klv/Truck.klv", 711),
        ("klv/realflight.bin", 19),
        ("klv/day.klv", 6),
        ("dji-cloud/03_10_dock2_00_properties.json", 1),
        ("geo/M30T_xmp_with_LRF.xml", 1),
    ] {
        let Some(path) = fixture(name) else { return };
        assert_eq!(
            lines(&["telemetry", "dump", text(&path), "--json"]).len(),
            records,
            "{name}"
        );
        let plain = emberwatch(&["telemetry", "dump", text(&path)]);
        assert_eq!(
            String::from_utf8_lossy(&plain.stdout).lines().count(),
            records,
            "{name}"
        );
    }
}

#[test]
fn the_photo_with_a_laser_is_placed_to_within_its_target() {
    let Some(path) = fixture("geo/M30T_xmp_with_LRF.xml") else {
        return;
    };
    let answer = &lines(&["locate", text(&path), "--pixel", "center", "--json"])[0];
    assert_eq!(answer["method"], "laser");
    let east_m = (number(answer, "/position/lon") - 13.351_629_0) * 111_320.0 * 49.726f64.to_radians().cos();
    let north_m = (number(answer, "/position/lat") - 49.726_393_2) * 111_200.0;
    assert!(east_m.hypot(north_m) <= 0.3, "{east_m} east, {north_m} north");
    assert!(
        (number(answer, "/position/height_m") - 409.1).abs() <= 0.3,
        "{answer}"
    );
    assert_eq!(answer["position"]["datum"], "ellipsoid");
    assert!((number(answer, "/ray/azimuth_deg") - 84.1).abs() < 1e-6);
    assert!((number(answer, "/ray/elevation_deg") + 24.5).abs() < 1e-6);
}

#[test]
fn every_packet_of_the_truck_gives_a_ray_and_a_place_near_its_frame_centre() {
    let Some(path) = fixture("klv/Truck.klv") else {
        return;
    };
    let answers = lines(&["locate", "--telemetry", text(&path), "--pixel", "center", "--all"]);
    let samples = lines(&["telemetry", "dump", text(&path), "--json"]);
    assert_eq!((answers.len(), samples.len()), (711, 711));
    let mut off_m: Vec<f64> = Vec::new();
    for (answer, sample) in answers.iter().zip(&samples) {
        assert!((number(answer, "/unix_s") - number(sample, "/time/unix_s")).abs() < 1e-6);
        assert!((0.0..360.0).contains(&number(answer, "/ray/azimuth_deg")));
        assert!(number(answer, "/ray/elevation_deg") < 0.0);
        assert_eq!(answer["method"], "ray_plane");
        let north_m = (number(answer, "/position/lat") - number(sample, "/frame_centre/lat")) * 111_050.0;
        let east_m = (number(answer, "/position/lon") - number(sample, "/frame_centre/lon"))
            * 111_320.0
            * 41.1f64.to_radians().cos();
        off_m.push(north_m.hypot(east_m));
    }
    off_m.sort_by(f64::total_cmp);
    let median_m = off_m[off_m.len() / 2];
    println!("Truck.klv: median {median_m:.1} m from the stated frame centre");
    assert!(median_m < 60.0, "{median_m}");
}

#[test]
fn a_dialect_without_gimbal_angles_is_refused_with_the_remedy() {
    let Some(path) = fixture("srt/mavic_3_head.srt") else {
        return;
    };
    let answers = lines(&["locate", "--telemetry", text(&path), "--all"]);
    assert_eq!(answers.len(), 208);
    for answer in &answers {
        assert!(
            answer.get("ray").is_none() && answer.get("position").is_none(),
            "{answer}"
        );
        assert!(
            answer["refused"].as_str().unwrap().contains("--assume-nadir"),
            "{answer}"
        );
    }
    let nadir = &lines(&[
        "locate",
        "--telemetry",
        text(&path),
        "--at",
        "1",
        "--assume-nadir",
        "--json",
    ])[0];
    assert!((number(nadir, "/ray/elevation_deg") + 90.0).abs() < 1e-6);
    let told = &lines(&[
        "locate",
        "--telemetry",
        text(&path),
        "--at",
        "1",
        "--yaw",
        "-30",
        "--pitch",
        "-45",
        "--json",
    ])[0];
    assert!((number(told, "/ray/azimuth_deg") - 330.0).abs() < 1e-6);
}

#[test]
fn a_gimbal_marked_invalid_gives_no_ray() {
    let Some(path) = fixture("klv/realflight.bin") else {
        return;
    };
    for answer in lines(&["locate", "--telemetry", text(&path), "--all"]) {
        assert!(answer.get("ray").is_none(), "{answer}");
        assert!(answer["refused"].is_string());
    }
}

#[test]
fn the_rays_of_a_phantom_follow_its_gimbal() {
    let Some(path) = fixture("srt/p4_rtk.SRT") else {
        return;
    };
    let answers = lines(&["locate", "--telemetry", text(&path), "--all", "--json"]);
    let first = &answers[0];
    assert!((number(first, "/ray/azimuth_deg") - 110.4).abs() < 1e-6);
    assert!((number(first, "/ray/elevation_deg") + 24.4).abs() < 1e-6);
    // 85.8 m up and 24.4 degrees down: about 189 m away over level ground, with an ellipse that says how unsure that is.
    let north_m = (number(first, "/position/lat") + 34.237_922) * 110_920.0;
    let east_m = (number(first, "/position/lon") + 58.851_745) * 111_320.0 * 34.238f64.to_radians().cos();
    assert!((north_m.hypot(east_m) - 189.1).abs() < 1.0, "{north_m} {east_m}");
    assert_eq!(first["position"]["datum"], "takeoff");
    assert!(number(first, "/ellipse/semi_major_m") > 30.0);
}

#[test]
fn a_moment_beyond_the_telemetry_is_refused() {
    let Some(path) = fixture("srt/p4_rtk.SRT") else {
        return;
    };
    let between = &lines(&["locate", "--telemetry", text(&path), "--at", "1.5", "--json"])[0];
    assert!(between.get("ray").is_some());
    let beyond = &lines(&["locate", "--telemetry", text(&path), "--at", "500", "--json"])[0];
    assert!(
        beyond["refused"].as_str().unwrap().contains("telemetry ends"),
        "{beyond}"
    );
}

#[test]
fn files_that_hold_nothing_are_errors_that_say_so() {
    for name in ["srt/broken_empty.SRT", "srt/broken_empty2.SRT"] {
        let Some(path) = fixture(name) else { return };
        let output = emberwatch(&["telemetry", "dump", text(&path)]);
        assert!(!output.status.success(), "{name}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("no telemetry found"),
            "{name}"
        );
    }
    let missing = emberwatch(&["telemetry", "dump", "/nowhere/x.srt"]);
    assert!(!missing.status.success());
}

/// Makes a short recording with a text track by ffmpeg, where there is one.
#[cfg(feature = "video")]
fn recording(folder: &Path, name: &str, subtitles: Option<&Path>) -> Option<std::path::PathBuf> {
    let path = folder.join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x180:rate=25",
    ]);
    if let Some(subtitles) = subtitles {
        ffmpeg.arg("-i").arg(subtitles).args(["-c:s", "mov_text"]);
    }
    ffmpeg
        .args([
            "-t", "4", "-c:v", "libx264", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p",
        ])
        .arg(&path);
    match ffmpeg.status() {
        Ok(status) if status.success() => Some(path),
        _ => {
            println!("skipped: ffmpeg with libx264 is needed to make a recording");
            None
        }
    }
}

#[cfg(feature = "video")]
#[test]
fn a_text_track_inside_a_video_gives_what_its_file_gives() {
    let Some(subtitles) = fixture("srt/p4_rtk.SRT") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let Some(video) = recording(folder.path(), "inside.mp4", Some(&subtitles)) else {
        return;
    };
    let inside = lines(&["telemetry", "dump", text(&video), "--json"]);
    let beside = lines(&["telemetry", "dump", text(&subtitles), "--json"]);
    assert!(inside.len() >= 4, "{}", inside.len());
    for (inside, beside) in inside.iter().zip(&beside) {
        assert_eq!(inside["position"], beside["position"]);
        assert_eq!(inside["camera"], beside["camera"]);
        assert!((number(inside, "/time/media_s") - number(beside, "/time/media_s")).abs() < 0.05);
    }
    let found = lines(&["locate", "--video", text(&video), "--at", "1", "--json"]);
    assert!((number(&found[0], "/ray/azimuth_deg") - 110.5).abs() < 0.01);
}

#[cfg(feature = "video")]
#[test]
fn a_clip_written_with_klv_is_read_back_with_its_times() {
    use std::time::Duration;

    use emberwatch::telemetry::klv::gst::{ClipCodec, write_clip};
    use emberwatch::telemetry::klv::packet::UasPacket;
    use emberwatch::telemetry::klv::write;

    let folder = tempfile::tempdir().unwrap();
    let Some(video) = recording(folder.path(), "plain.mp4", None) else {
        return;
    };
    let packets: Vec<(Duration, Vec<u8>)> = (0..16u32)
        .map(|index| {
            let packet = UasPacket {
                time_us: Some(1_790_000_000_000_000 + u64::from(index) * 250_000),
                sensor_lat_deg: Some(35.0 + f64::from(index) * 1e-4),
                sensor_lon_deg: Some(113.0),
                sensor_hae_m: Some(80.0),
                ..UasPacket::default()
            };
            (
                Duration::from_millis(u64::from(index) * 250),
                write::to_bytes(&packet, Some("clip")),
            )
        })
        .collect();
    let clip = folder.path().join("clip.ts");
    write_clip(&video, ClipCodec::H264, &packets, &clip).unwrap();
    let read = lines(&["telemetry", "dump", text(&clip), "--json"]);
    assert_eq!(read.len(), 16);
    for (index, sample) in (0u32..).zip(&read) {
        assert!(
            (number(sample, "/time/media_s") - f64::from(index) * 0.25).abs() < 0.05,
            "{sample}"
        );
        assert!((number(sample, "/position/lat") - 35.0 - f64::from(index) * 1e-4).abs() < 1e-6);
    }
    let probe = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "csv=p=0",
        ])
        .arg(&clip)
        .output();
    if let Ok(probe) = probe {
        let streams = String::from_utf8_lossy(&probe.stdout).into_owned();
        assert!(streams.contains("h264") && streams.contains("klv"), "{streams}");
    }
}

/// A place, as an autopilot sends it.
fn mavlink_place(boot_ms: u32) -> Vec<u8> {
    use mavlink::dialects::common::{GLOBAL_POSITION_INT_DATA, MavMessage};
    let message = MavMessage::GLOBAL_POSITION_INT(GLOBAL_POSITION_INT_DATA {
        time_boot_ms: boot_ms,
        lat: 351_900_000,
        lon: 1_132_500_000,
        alt: 100_000,
        relative_alt: 20_000,
        ..GLOBAL_POSITION_INT_DATA::default()
    });
    let mut bytes = Vec::new();
    mavlink::write_v2_msg(&mut bytes, mavlink::MavHeader::default(), &message).unwrap();
    bytes
}

fn dump_two(url: &str) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .args(["telemetry", "dump", url, "--json", "--limit", "2"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

fn is_two_places(child: std::process::Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 2);
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!((number(&first, "/position/lat") - 35.19).abs() < 1e-7);
    assert!((number(&first, "/heights/takeoff_m") - 20.0).abs() < 1e-9);
}

#[test]
fn mavlink_is_read_as_it_comes_over_udp() {
    use std::net::UdpSocket;
    use std::time::Duration;

    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut child = dump_two(&format!("udp://127.0.0.1:{port}"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // The listener may not be there yet: send until it has had enough.
    for boot_ms in (0..60_000u32).step_by(50) {
        socket.send_to(&mavlink_place(boot_ms), ("127.0.0.1", port)).ok();
        socket.recv(&mut [0; 1]).ok();
        if child.try_wait().unwrap().is_some() {
            break;
        }
    }
    is_two_places(child);
}

#[test]
fn mavlink_is_read_as_it_comes_over_tcp() {
    use std::io::Write as _;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let child = dump_two(&format!("tcp://{}", listener.local_addr().unwrap()));
    let (mut socket, _) = listener.accept().unwrap();
    // The stream comes in pieces that know nothing of its messages.
    let bytes = [mavlink_place(50), mavlink_place(100)].concat();
    for piece in bytes.chunks(7) {
        socket.write_all(piece).unwrap();
    }
    is_two_places(child);
    drop(socket);
}

#[test]
fn dji_cloud_pushes_come_through_a_broker() {
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::time::Duration;

    use emberwatch::telemetry::dji_cloud::DjiCloudSettings;
    use emberwatch::telemetry::dji_cloud_mqtt::{DjiCloudBroker, DjiCloudEvent};
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::{Client, MqttOptions};

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let Ok(mut mosquitto) = Command::new("mosquitto")
        .args(["-p", &port.to_string()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
    else {
        println!("skipped: mosquitto is not installed");
        return;
    };
    let broker = DjiCloudBroker {
        host: "127.0.0.1".into(),
        port,
        client_id: "emberwatch-test".into(),
        credentials: None,
        aircraft: "AIRCRAFT1".into(),
        gateway: Some("GATEWAY1".into()),
        settings: DjiCloudSettings::default(),
    };
    let (never, waits) = mpsc::channel::<()>();
    let mut heard: Vec<DjiCloudEvent> = Vec::new();
    let mut publisher = None;
    let mut samples = 0;
    let done = std::cell::Cell::new(false);
    broker.receive(
        |wait| {
            done.get()
                || matches!(
                    waits.recv_timeout(wait),
                    Err(mpsc::RecvTimeoutError::Disconnected)
                )
        },
        |event| {
            match &event {
                DjiCloudEvent::Connected => {
                    let (client, connection) =
                        Client::new(MqttOptions::new("aircraft", "127.0.0.1", port), 16);
                    publisher = Some((client, connection));
                }
                DjiCloudEvent::Sample(sample) => {
                    assert!((sample.position.unwrap().lat - 35.19).abs() < 1e-9);
                    samples += 1;
                    done.set(samples == 2);
                }
                _ => {}
            }
            if let (DjiCloudEvent::Connected, Some((client, connection))) = (&event, publisher.as_mut()) {
                for topic in ["thing/product/AIRCRAFT1/osd", "thing/product/GATEWAY1/drc/up"] {
                    let payload =
                        r#"{"timestamp":1670422793916,"data":{"latitude":35.19,"longitude":113.25}}"#;
                    client.publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
                }
                for _ in 0..12 {
                    if connection.recv_timeout(Duration::from_millis(50)).is_err() {
                        break;
                    }
                }
            }
            heard.push(event);
            // A broker that never answers ends the test instead of hanging it.
            done.set(done.get() || heard.len() > 40);
        },
    );
    drop(never);
    mosquitto.kill().unwrap();
    mosquitto.wait().unwrap();
    assert_eq!(samples, 2, "{heard:?}");
}
