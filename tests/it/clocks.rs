//! Whose clock says when a picture was taken: cameras with a wrong one, and cameras that stamp their pictures.

use std::path::Path;

use emberwatch::clock::{Clock as _, SystemClock};
use emberwatch::flow::source::Duty;
use emberwatch::flow::time::{CaptureClock, CaptureTime};

use crate::analysis::has_runtime;
use crate::faults::{Seen, Server, camera, watch};
use crate::reading::make_clip;
use crate::service::{Service, write_pipeline};

/// Makes a program see another time of day than the machine has.
const FAKE_TIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A camera whose clock is off by so many seconds; none where such a thing cannot be made here.
fn camera_off_by(clip: &Path, seconds: &str, arguments: &[&str]) -> Option<Server> {
    if !Path::new(FAKE_TIME).is_file() {
        println!("skipped: libfaketime is not installed");
        return None;
    }
    let environment = [
        ("LD_PRELOAD", FAKE_TIME),
        ("FAKETIME", seconds),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    Some(Server::start_with(clip, 0, arguments, &environment))
}

/// Returns how a camera's pictures are dated once that is known: by which clock, how many seconds before now.
fn dated(server: &Server, enough: impl Fn(CaptureClock) -> bool) -> f64 {
    let mut old_s = None;
    watch(camera(&server.address), Duty::Watch, |camera| {
        let (found, _) = camera.wait("a picture dated as expected", 60.0, |seen| match seen {
            Seen::Frame {
                captured: Some(captured),
                ..
            } if enough(captured.clock) => Some(
                SystemClock::new()
                    .wall()
                    .duration_since(captured.at)
                    .as_secs_f64(),
            ),
            _ => None,
        });
        old_s = Some(found);
    });
    old_s.unwrap()
}

#[test]
fn a_picture_that_carries_its_time_is_dated_by_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("a.mp4", "libx264"), ("b.mp4", "libx265")] {
        let clip = folder.path().join(name);
        if !make_clip(&clip, 4, &["-c:v", codec]) {
            return;
        }
        let server = Server::start_with(&clip, 0, &["--precision-time"], &[]);
        let old_s = dated(&server, |clock| clock == CaptureClock::Klv);
        assert!((-0.5..5.0).contains(&old_s), "{codec}: {old_s} s");
        // Without, the sender report dates them.
        let server = Server::start(&clip, 0, None);
        let old_s = dated(&server, |clock| clock == CaptureClock::RtcpSenderReport);
        assert!((-0.5..5.0).contains(&old_s), "{codec}: {old_s} s");
    }
}

#[test]
fn every_picture_of_a_stream_out_of_order_keeps_what_its_packet_said() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("a.mp4", "libx264"), ("b.mp4", "libx265")] {
        let clip = folder.path().join(name);
        if !make_clip(&clip, 4, &["-c:v", codec, "-preset", "medium", "-bf", "3"]) {
            return;
        }
        let server = Server::start_with(&clip, 0, &["--precision-time"], &[]);
        let mut seen = Vec::new();
        watch(camera(&server.address), Duty::Watch, |camera| {
            camera.wait("three seconds of pictures", 60.0, |it| {
                if let Seen::Frame { captured, is_key, .. } = it {
                    seen.push((*captured, *is_key));
                }
                (seen.len() >= 75).then_some(())
            });
        });
        // The first pictures may refer to one before the first key frame.
        let seen = &seen[10..];
        assert!(
            seen.iter()
                .all(|(captured, _)| captured.is_some_and(|it| it.clock == CaptureClock::Klv)),
            "{codec}: {seen:?}"
        );
        assert!(seen.iter().any(|(_, is_key)| *is_key), "{codec}");
        let in_order = |pair: &[(Option<CaptureTime>, bool)]| pair[0].0.unwrap().at < pair[1].0.unwrap().at;
        assert!(seen.windows(2).all(in_order), "{codec}: {seen:?}");
    }
}

#[test]
fn a_camera_whose_clock_is_wrong_is_told_of_and_its_pictures_are_dated_by_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    if !has_runtime() || !make_clip(&clip, 4, &[]) {
        return;
    }
    let Some(late) = camera_off_by(&clip, "-40s", &[]) else {
        return;
    };
    let Some(early) = camera_off_by(&clip, "+90s", &["--precision-time"]) else {
        return;
    };
    let right = Server::start(&clip, 0, None);
    write_pipeline(
        folder.path(),
        &[
            ("late", &late.address, ""),
            ("early", &early.address, ""),
            ("right", &right.address, ""),
        ],
    );
    let service = Service::start(folder.path());
    let told = |it: &Service, source: &str| {
        it.events().iter().find_map(|event| {
            (event["type"] == "emberwatch.source.clock.v1" && event["subject"] == source)
                .then(|| event["data"]["clock_offset_s"].as_f64().unwrap())
        })
    };
    service.until("both wrong clocks are told of", |it| {
        told(it, "late").is_some() && told(it, "early").is_some()
    });
    let (late_s, early_s) = (told(&service, "late").unwrap(), told(&service, "early").unwrap());
    assert!((39.0..45.0).contains(&late_s), "{late_s}");
    assert!((-91.0..-85.0).contains(&early_s), "{early_s}");
    service.until("the right one is looked at", |it| it.inferred("right") >= 20.0);
    assert_eq!(told(&service, "right"), None);
    let metrics = service.get("/metrics").1;
    assert!(
        metrics.contains("emberwatch_clock_offset_seconds{source=\"late\"}"),
        "{metrics}"
    );
    drop(service);
    // The wrong clock is believed for as long as one report cannot be told from a slow network, and not after.
    let old_s = dated(&late, |clock| clock == CaptureClock::Arrival);
    assert!((-0.5..5.0).contains(&old_s), "{old_s} s");
}
