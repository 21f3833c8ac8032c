use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::clock::SystemClock;
use crate::flow::frame::Gap;
use crate::flow::pose::{Attitude, Height, HeightDatum, Optics, PoseFlag, PoseRefusal, PoseSigmas, Wgs84};
use crate::flow::source::Duty;
use crate::flow::time::{CaptureTime, MediaTime, MonotonicTime};
use crate::telemetry::TelemetrySample;
use crate::telemetry::fixed::{Mast, Preset};
use crate::telemetry::klv::{UasPacket, write};
use crate::tls::ClientTls;

fn meta(pts_s: f64, captured: CaptureTime) -> FrameMeta {
    FrameMeta {
        source: SourceId::new("drone"),
        sequence: 0,
        pts: MediaTime::from_secs_f64(pts_s),
        captured: Some(captured),
        arrived: MonotonicTime::from_origin(Duration::from_secs_f64(pts_s)),
        is_key: true,
        gap: Gap::default(),
        duty: Duty::Watch,
    }
}

fn captured(unix_s: i64, clock: CaptureClock) -> CaptureTime {
    CaptureTime {
        at: jiff::Timestamp::from_second(unix_s).unwrap(),
        clock,
        sigma_s: 0.05,
    }
}

/// A feed whose telemetry flies north by 0.001 degrees a second from unix second 1,000.
fn flight(rule: TieRule) -> Feed {
    let feed = Feed::moving(
        SourceId::new("drone"),
        FeedOrigin::Mavlink("udp://127.0.0.1:0".into()),
        rule,
    );
    let Poses::Timeline(poses) = &feed.poses else {
        panic!("a drone has a timeline")
    };
    for step in 0..20 {
        let mut sample = TelemetrySample::default();
        sample.time.unix_s = Some(1_000.0 + f64::from(step));
        sample.position = Wgs84::checked(35.0 + f64::from(step) * 0.001, 113.0);
        poses.push(&sample);
    }
    feed
}

fn lat_at(feed: &Feed, pts_s: f64) -> (f64, bool) {
    let pose = feed.poses().pose_at(MediaTime::from_secs_f64(pts_s)).unwrap();
    let assumed = pose.flags.contains(PoseFlag::TimeOffsetAssumed);
    (pose.position.unwrap().lat, assumed)
}

#[test]
fn a_sender_report_ties_the_picture_to_telemetry_and_a_latency_does_so_where_there_is_none() {
    let feed = flight(TieRule::default());
    assert!(
        feed.poses().pose_at(MediaTime::from_secs_f64(3.0)).is_err(),
        "nothing ties the clocks yet"
    );
    feed.tie_to(&meta(3.0, captured(1_005, CaptureClock::RtcpSenderReport)), 0.0);
    let (lat, assumed) = lat_at(&feed, 3.0);
    assert!((lat - 35.005).abs() < 1e-9 && !assumed, "{lat}");

    let late = flight(TieRule {
        latency_s: Some(2.0),
        ..TieRule::default()
    });
    late.tie_to(&meta(3.0, captured(1_007, CaptureClock::Arrival)), 0.0);
    let (lat, assumed) = lat_at(&late, 3.0);
    assert!((lat - 35.005).abs() < 1e-9 && !assumed, "{lat}");

    let untold = flight(TieRule::default());
    untold.tie_to(&meta(3.0, captured(1_005, CaptureClock::Arrival)), 0.0);
    assert!(lat_at(&untold, 3.0).1, "a latency that nobody gave is assumed");
}

#[test]
fn klv_beside_the_picture_gives_the_pose_of_its_moment() {
    let feed = Feed::moving(SourceId::new("drone"), FeedOrigin::Stream, TieRule::default());
    assert!(!feed.is_received());
    for step in 0..4_u32 {
        let packet = UasPacket {
            sensor_lat_deg: Some(35.0 + f64::from(step) * 0.001),
            sensor_lon_deg: Some(113.0),
            ..UasPacket::default()
        };
        feed.piece(&Telemetry {
            kind: TelemetryKind::Klv,
            bytes: Arc::from(write::to_bytes(&packet, None).as_slice()),
            pts: MediaTime::from_secs_f64(f64::from(step)),
            arrived: MonotonicTime::default(),
        });
    }
    let (lat, assumed) = lat_at(&feed, 1.5);
    assert!((lat - 35.0015).abs() < 1e-6 && !assumed, "{lat}");
}

#[test]
fn a_subtitle_beside_the_picture_gives_the_pose_of_its_moment() {
    let feed = Feed::moving(SourceId::new("drone"), FeedOrigin::Stream, TieRule::default());
    feed.piece(&Telemetry {
        kind: TelemetryKind::Subtitle,
        bytes: Arc::from(
            &b"FrameCnt: 1, DiffTime: 20ms\n2021-12-25 12:27:52.373\n[focal_len: 24.00] [latitude: 35.5] [longitude: 113.5] [rel_alt: 40.0 abs_alt: 120.0]"[..],
        ),
        pts: MediaTime::from_secs_f64(7.0),
        arrived: MonotonicTime::default(),
    });
    let (lat, _) = lat_at(&feed, 7.0);
    assert!((lat - 35.5).abs() < 1e-9);
}

/// Answers ONVIF questions on loopback until `leave`; the camera stands at preset 1.
fn answer_onvif(listener: &TcpListener, leave: &AtomicBool, questions: &AtomicU32) {
    for socket in listener.incoming() {
        if leave.load(Ordering::Relaxed) {
            return;
        }
        let mut socket = socket.unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while !bytes
            .windows(11)
            .any(|window| window == b"</s:Envelope>".get(..11).unwrap())
        {
            match socket.read(&mut buffer).unwrap() {
                0 => break,
                length => bytes.extend_from_slice(&buffer[..length]),
            }
        }
        questions.fetch_add(1, Ordering::Relaxed);
        let position = "<tt:PanTilt x=\"0.25\" y=\"-0.1\"/>";
        let body = if String::from_utf8_lossy(&bytes).contains("<GetPresets") {
            format!(
                "<GetPresetsResponse><Preset token=\"1\"><Name>north</Name><PTZPosition>{position}</PTZPosition></Preset></GetPresetsResponse>"
            )
        } else {
            format!(
                "<GetStatusResponse><PTZStatus><Position>{position}</Position><MoveStatus><PanTilt>IDLE</PanTilt></MoveStatus></PTZStatus></GetStatusResponse>"
            )
        };
        write!(socket, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}").unwrap();
    }
}

#[test]
fn a_camera_that_is_asked_stands_at_its_surveyed_preset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (leave, questions) = (AtomicBool::new(false), AtomicU32::new(0));
    let mast = Mast {
        lat: 35.19,
        lon: 113.25,
        height: Height::new(40.0, HeightDatum::Ground),
        sigmas: PoseSigmas::default(),
    };
    let north = Preset {
        name: "north".into(),
        attitude: Attitude::new(3.0, -5.0, 0.0),
        optics: Optics::default(),
    };
    let service = PtzService::new(
        &format!("http://{address}/onvif/ptz"),
        "p",
        None,
        &ClientTls::default(),
    )
    .unwrap();
    let feed = Feed::turning(
        SourceId::new("tower"),
        FeedOrigin::Ptz {
            service,
            map: None,
            every: Duration::from_millis(1),
        },
        PresetCamera::new(mast, vec![north]),
    );
    assert_eq!(feed.poses().pose_at(MediaTime::ZERO), Err(PoseRefusal::NoPreset));
    std::thread::scope(|scope| {
        scope.spawn(|| answer_onvif(&listener, &leave, &questions));
        feed.receive(&SystemClock::new(), &|_wait| {
            questions.load(Ordering::Relaxed) >= 2
        });
        leave.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(address));
    });
    let pose = feed.poses().pose_at(MediaTime::ZERO).unwrap();
    assert!((pose.attitude.unwrap().yaw_deg - 3.0).abs() < 1e-9);
}
