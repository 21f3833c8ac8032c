//! Commands that nobody else tests: what they print, what they leave, how they end.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::analysis::has_runtime;
use crate::command_line::emberwatch;
use crate::faults::Server;
use crate::reading::{ffmpeg, make_clip};
use crate::service::{Service, write_pipeline};

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn clip(folder: &Path) -> Option<PathBuf> {
    let path = folder.join("clip.mp4");
    (has_runtime() && make_clip(&path, 3, &[])).then_some(path)
}

#[test]
fn shells_get_a_script_that_completes_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = emberwatch(&["completions", shell]);
        let (script, _) = said(&output);
        assert!(output.status.success());
        for command in ["analyze", "run", "locate", "incidents", "outbox"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn a_missing_library_is_named_with_the_way_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    let text = folder.path().join("library.so");
    std::fs::write(&text, "no library").unwrap();
    for (library, words) in [
        (Path::new("/nowhere/libonnxruntime.so"), "which is not a file"),
        (text.as_path(), "library.so"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("ORT_DYLIB_PATH", library)
            .args(["analyze", "--out"])
            .arg(folder.path().join("out"))
            .arg(&clip)
            .output()
            .unwrap();
        let (_, complaint) = said(&output);
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(words), "{complaint}");
    }
}

#[test]
fn a_probe_says_of_each_source_whether_a_picture_came() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    let server = Server::start(&clip, 0, None);
    let wrong_path = server.address.replace("/cam", "/nothing");
    write_pipeline(
        folder.path(),
        &[
            ("there", &server.address, ""),
            ("closed", "rtsp://127.0.0.1:9/cam", ""),
            ("unknown", &wrong_path, ""),
        ],
    );
    let path = folder.path().join("pipeline.toml");
    let output = emberwatch(&["check", "--probe", path.to_str().unwrap()]);
    let (told, complaint) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}{complaint}");
    let line = |source: &str, first: &str| {
        told.lines()
            .any(|line| line.starts_with(first) && line.contains(source))
    };
    assert!(line(".onnx", "opened"), "{told}");
    assert!(line("there", "opened") && told.contains("320x180"), "{told}");
    assert!(
        line("closed", "no frame") && line("unknown", "no frame"),
        "{told}"
    );
}

#[test]
fn a_bench_prints_what_a_frame_costs_and_what_the_machine_carries() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    write_pipeline(folder.path(), &[("one", "rtsp://127.0.0.1:9/cam", "")]);
    let path = folder.path().join("pipeline.toml");
    let arguments = [
        "bench",
        path.to_str().unwrap(),
        "--clip",
        clip.to_str().unwrap(),
        "--json",
    ];
    let output = emberwatch(&arguments);
    let (told, complaint) = said(&output);
    let report: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}{complaint}"));
    for pointer in ["/costs/infer_ms", "/watch_5", "/patrol", "/share"] {
        let figure = report.pointer(pointer).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer}: {report}");
    }
    // The exit code answers whether the sources fit.
    let fits = report["share"].as_f64().unwrap() <= 0.8;
    assert_eq!(output.status.code(), Some(i32::from(!fits)));
    let (table, _) = said(&emberwatch(&arguments[..4]));
    assert!(
        table.contains("infer") && table.contains("CPU milliseconds"),
        "{table}"
    );
}

#[test]
fn an_annotated_video_has_every_frame_that_was_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    let out = folder.path().join("out");
    let output = emberwatch(&[
        "--log-format",
        "json",
        "--log",
        "info",
        "analyze",
        "--annotate",
        "--out",
        out.to_str().unwrap(),
        clip.to_str().unwrap(),
    ]);
    let (_, logs) = said(&output);
    assert!(output.status.success(), "{logs}");
    for line in logs.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
    let text = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let looked_at = summary["inputs"][0]["frames_inferred"].as_u64().unwrap();
    let video = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "mp4" || end == "mkv"))
        .expect("an annotated video");
    let probe = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            "v",
            "-of",
            "csv=p=0",
        ])
        .args(["-show_entries", "stream=width,height,nb_read_frames"])
        .arg(&video)
        .output()
        .unwrap();
    let (shown, _) = said(&probe);
    assert_eq!(shown.trim(), format!("320,180,{looked_at}"));
}

/// A camera that nothing moves in front of, and one that somebody put a hood on.
#[test]
fn a_frozen_and_a_covered_camera_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let (still, hood) = (folder.path().join("still.mp4"), folder.path().join("hood.mp4"));
    // An encoder as in a camera, without B-frames, that refines the frames between: each key frame is coarser than what
    // stood there before.
    let coarse = [
        "-c:v",
        "libx264",
        "-bf",
        "0",
        "-qp",
        "30",
        "-x264-params",
        "ipratio=0.5",
    ];
    let encode = [coarse.as_slice(), &["-g", "25", "-pix_fmt", "yuv420p"]].concat();
    let render = |source: &str, more: &[&str], path: &Path| {
        let input = ["-f", "lavfi", "-i", source];
        ffmpeg(&[&input, more, encode.as_slice(), &[path.to_str().unwrap()]].concat())
    };
    let same = "testsrc2=size=320x180:rate=25:duration=0.04,loop=loop=100:size=1,setpts=N/25/TB";
    if !has_runtime()
        || !render(same, &[], &still)
        || !render("color=c=black:size=320x180:rate=25:duration=4", &[], &hood)
    {
        return;
    }
    let (still, hood) = (Server::start(&still, 0, None), Server::start(&hood, 0, None));
    write_pipeline(
        folder.path(),
        &[("still", &still.address, ""), ("hood", &hood.address, "")],
    );
    let service = Service::start(folder.path());
    let told = |it: &Service, source: &str, kind: &str| {
        it.events().iter().any(|event| {
            event["type"] == format!("emberwatch.source.{kind}.v1") && event["subject"] == source
        })
    };
    service.until("the hood is told of", |it| told(it, "hood", "covered"));
    service.until("the still picture is told of", |it| told(it, "still", "frozen"));
}

#[test]
fn a_second_signal_quits_at_once() {
    let folder = tempfile::tempdir().unwrap();
    if !has_runtime() {
        return;
    }
    write_pipeline(folder.path(), &[("gone", "rtsp://127.0.0.1:9/cam", "")]);
    let service = Service::start(folder.path());
    // Stopped, so that both arrive before the first has done anything.
    for signal in [Signal::SIGSTOP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGCONT] {
        service.signal(signal);
    }
    let code = service.wait().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}

#[test]
fn systemd_is_told_when_the_service_is_ready_alive_and_leaving() {
    let folder = tempfile::tempdir().unwrap();
    if !has_runtime() {
        return;
    }
    write_pipeline(folder.path(), &[("gone", "rtsp://127.0.0.1:9/cam", "")]);
    let socket = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let service = Service::start_with(
        folder.path(),
        &[
            ("NOTIFY_SOCKET", &socket),
            ("WATCHDOG_USEC", Path::new("5000000")),
        ],
    );
    let next = || {
        let mut bytes = [0; 512];
        let length = systemd.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    assert!(next().contains("READY=1"));
    assert!(next().contains("WATCHDOG=1"));
    service.signal(Signal::SIGTERM);
    while !next().contains("STOPPING=1") {}
    assert!(service.wait().success());
}
