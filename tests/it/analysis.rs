//! The main job on real input: recordings in, the same answers out, every frame accounted for.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::fixtures::fixture;

/// Runs `emberwatch analyze` into a folder.
fn analyze(out: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["analyze", "--out"])
        .arg(out)
        .args(arguments)
        .output()
        .unwrap()
}

fn summary(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).unwrap()).unwrap()
}

/// Returns whether the ONNX Runtime library is there, or says that the test is skipped.
pub(crate) fn has_runtime() -> bool {
    match emberwatch::stages::infer::Runtime::load() {
        Ok(_) => true,
        Err(why) => {
            println!("skipped: {why}");
            false
        }
    }
}

#[test]
fn a_house_fire_is_alerted_and_every_frame_is_accounted_for() {
    let Some(clip) = fixture("video/house6.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = analyze(out.path(), &[clip.to_str().unwrap()]);
    assert!(run.status.success(), "{run:?}");
    let summary = summary(out.path());
    let input = &summary["inputs"][0];
    // The annotation claims 900 frames; the file has 899.
    assert_eq!(input["frames_in"], 899);
    assert_eq!(
        input["frames_in"].as_u64().unwrap(),
        input["frames_inferred"].as_u64().unwrap() + input["frames_skipped"].as_u64().unwrap()
    );
    assert_eq!(input["frames_lost"], 0);
    assert!(input["first_alert_s"].as_f64().unwrap() < 5.0, "{input}");
    assert!(input["incidents"].as_u64().unwrap() >= 1, "{input}");
    let report = std::fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(report.contains("house6.mp4") && report.contains("data:image/jpeg"));
    assert!(std::fs::read_dir(out.path().join("evidence")).unwrap().count() >= 1);
}

#[test]
fn a_pipeline_says_how_much_of_its_threshold_steady_smoke_must_reach() {
    let Some(clip) = fixture("video/house6.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let first_alert = |steady_score: &str| {
        let pipeline = folder.path().join(format!("steady-{steady_score}.toml"));
        // No score reaches 1.
        let rules = format!("[verify]\nflame = 1.0\nsmoke = 1.0\nsteady_score = {steady_score}\n");
        let shipped = std::fs::read_to_string("pipelines/archive.toml").unwrap();
        let source = &shipped[shipped.find("[[source]]").unwrap()..];
        std::fs::write(&pipeline, rules + "\n" + source).unwrap();
        let out = folder.path().join(steady_score);
        let run = analyze(
            &out,
            &["--pipeline", pipeline.to_str().unwrap(), clip.to_str().unwrap()],
        );
        assert!(run.status.success(), "{run:?}");
        summary(&out)["inputs"][0]["first_alert_s"].as_f64()
    };
    assert_eq!(first_alert("1.0"), None);
    assert!(first_alert("0.0").unwrap() >= 3.0);
}

#[test]
fn car_park_and_corridor_raise_no_alarm() {
    let (Some(cars), Some(people)) = (
        fixture("video/car-detection.mp4"),
        fixture("video/one-by-one-person-detection.mp4"),
    ) else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = analyze(out.path(), &[cars.to_str().unwrap(), people.to_str().unwrap()]);
    assert!(run.status.success(), "{run:?}");
    let summary = summary(out.path());
    for (input, frames) in summary["inputs"].as_array().unwrap().iter().zip([377, 1394]) {
        assert_eq!(input["frames_in"], frames);
        assert_eq!(input["first_alert_s"], Value::Null, "{input}");
    }
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let Some(clip) = fixture("video/house6.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for out in [&first, &second] {
        assert!(
            analyze(out.path(), &["--rate", "10", clip.to_str().unwrap()])
                .status
                .success()
        );
    }
    for name in ["detections.jsonl", "tracks.jsonl"] {
        let read = |out: &tempfile::TempDir| std::fs::read(out.path().join(name)).unwrap();
        assert!(!read(&first).is_empty());
        assert_eq!(read(&first), read(&second), "{name}");
    }
}

#[test]
fn a_broken_recording_is_reported_and_the_rest_goes_on() {
    let Some(clip) = fixture("video/car-detection.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.mp4");
    std::fs::write(&text, "these are not the pictures you are looking for").unwrap();
    let empty = folder.path().join("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    let out = folder.path().join("out");
    let inputs = [
        text.to_str().unwrap(),
        empty.to_str().unwrap(),
        "missing.mp4",
        clip.to_str().unwrap(),
    ];
    let run = analyze(&out, &inputs);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let summary = summary(&out);
    let inputs = summary["inputs"].as_array().unwrap();
    for (input, name) in inputs.iter().zip(["notes.mp4", "empty.mp4", "missing.mp4"]) {
        assert!(input["error"].as_str().unwrap().contains(name), "{input}");
    }
    assert_eq!(inputs[3]["frames_in"], 377);
    assert!(inputs[3].get("error").is_none());
}

#[test]
fn what_is_done_is_skipped_when_resuming() {
    let Some(clip) = fixture("video/car-detection.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let clip = clip.to_str().unwrap();
    assert!(analyze(out.path(), &[clip]).status.success());
    let lines = std::fs::read(out.path().join("detections.jsonl")).unwrap();
    let before = summary(out.path());
    assert!(analyze(out.path(), &["--resume", clip]).status.success());
    let after = summary(out.path());
    assert_eq!(after["inputs"], before["inputs"]);
    assert_eq!(std::fs::read(out.path().join("detections.jsonl")).unwrap(), lines);
    assert!(after["cpu_s"].as_f64().unwrap() < before["cpu_s"].as_f64().unwrap());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let Some(clip) = fixture("video/car-detection.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let run = analyze(Path::new("/proc/nowhere"), &[clip.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("/proc/nowhere") && said.contains("--out"), "{said}");
}

#[test]
fn a_disk_that_is_full_is_named_and_leaves_nothing_that_looks_whole() {
    let Some(clip) = fixture("video/house6.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    // Files may grow to 16 blocks of 512 bytes, and writing beyond is an error and not a signal.
    let line = format!(
        "trap '' XFSZ; ulimit -f 16; exec '{}' analyze --out '{}' '{}'",
        env!("CARGO_BIN_EXE_emberwatch"),
        out.display(),
        clip.display()
    );
    let run = Command::new("sh").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success(), "{said}");
    assert!(said.contains("out/") && said.contains("File too large"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for name in ["summary.json", "report.html"] {
        assert!(!out.join(name).try_exists().unwrap(), "{name}");
    }
}

#[test]
fn the_rules_applied_again_give_the_alerts_of_the_run_and_a_curve_around_them() {
    let (Some(house), Some(cars)) = (fixture("video/house6.mp4"), fixture("video/car-detection.mp4")) else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = analyze(
        out.path(),
        &[
            "--looks",
            "--rate",
            "2",
            house.to_str().unwrap(),
            cars.to_str().unwrap(),
        ],
    );
    assert!(run.status.success(), "{run:?}");
    let curve = |table: &str| {
        let truth = out.path().join("clips.csv");
        std::fs::write(&truth, table).unwrap();
        Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["models", "curve", "--json", "--truth"])
            .args([&truth, out.path()])
            .output()
            .unwrap()
    };
    let answer = curve("house6.mp4,0\ncar-detection.mp4,\n");
    assert!(answer.status.success(), "{answer:?}");
    let points: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let points = points["by_threshold"].as_array().unwrap();
    let shipped = points.iter().find(|point| point["factor"] == 1.0).unwrap();
    assert_eq!((&shipped["fires"], &shipped["found"]), (&1.into(), &1.into()));
    let told = summary(out.path())["inputs"][0]["first_alert_s"]
        .as_f64()
        .unwrap();
    let again = shipped["median_s"].as_f64().unwrap();
    // The summary is rounded to the millisecond.
    assert!((told - again).abs() < 1e-3, "{told} and {again}");
    assert_eq!(shipped["false_alerts"], 0);
    let strictest = points.last().unwrap();
    assert_eq!(
        strictest["found"], 0,
        "no score is twice the threshold: {strictest}"
    );
    let unsaid = curve("house6.mp4,0\n");
    assert_eq!(unsaid.status.code(), Some(2));
    let said = String::from_utf8_lossy(&unsaid.stderr).into_owned();
    assert!(
        said.contains("car-detection.mp4") && said.contains("--truth"),
        "{said}"
    );
}

#[test]
fn a_simulated_fire_is_placed_where_it_burns_and_its_clip_says_where_the_camera_was() {
    use emberwatch::flow::pose::Wgs84;
    use emberwatch::geo::ellipsoid::distance_m;
    use emberwatch::simulator::SCENE_PLACE;
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = || Command::new(env!("CARGO_BIN_EXE_emberwatch"));
    let rendered = program()
        .args([
            "simulate",
            "--scene",
            "orbit",
            "--telemetry-errors",
            "--range",
            "120",
        ])
        .args([
            "--fire-start",
            "0.5",
            "--fire-size",
            "2",
            "--seconds",
            "9",
            "--fps",
            "8",
            "--size",
            "960x540",
        ])
        .args(["--name", "near", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(rendered.status.success(), "{rendered:?}");
    let out = folder.path().join("out");
    let video = folder.path().join("near.mp4");
    let place = |out: &Path, more: &[&str]| -> Value {
        let run = analyze(out, &[more, &[video.to_str().unwrap()]].concat());
        assert!(run.status.success(), "{run:?}");
        let text = std::fs::read_to_string(out.join("incidents.geojson")).unwrap();
        let places: Value = serde_json::from_str(&text).unwrap();
        places["features"][0]["properties"]["position"].clone()
    };
    let is_on_the_fire = |position: &Value| {
        let number = |pointer: &str| position.pointer(pointer).and_then(Value::as_f64).unwrap();
        let point = Wgs84 {
            lat: number("/point/lat"),
            lon: number("/point/lon"),
        };
        let off_m = distance_m(point, SCENE_PLACE);
        println!("simulated fire at 120 m: {off_m:.1} m off, {position}");
        assert!(
            off_m <= 2.0 * number("/ellipse/semi_minor_m"),
            "{off_m} m, {position}"
        );
    };
    // NAME.SRT beside NAME.mp4 is found without a word.
    is_on_the_fire(&place(&out, &[]));
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert!(read("incidents.kml").contains("<LineString>") && read("report.html").contains("<svg"));
    let clip = std::fs::read_dir(out.join("evidence"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "ts"))
        .expect("a clip with telemetry is there");
    let dump = |path: &Path| -> Vec<Value> {
        let dumped = program()
            .args(["telemetry", "dump", "--json"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(dumped.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let (clip, flight) = (dump(&clip), dump(&folder.path().join("near.SRT")));
    assert!(clip.len() >= 20, "{}", clip.len());
    let first =
        |samples: &[Value], pointer: &str| samples[0].pointer(pointer).and_then(Value::as_f64).unwrap();
    for (pointer, tolerance) in [
        ("/position/lat", 1e-6),
        ("/position/lon", 1e-6),
        ("/camera/yaw_deg", 0.01),
        ("/camera/pitch_deg", 0.01),
    ] {
        let (written, told) = (first(&clip, pointer), first(&flight, pointer));
        let off = (written - told).rem_euclid(360.0);
        assert!(
            off.min(360.0 - off) <= tolerance,
            "{pointer}: {written} of {told}"
        );
    }
    // A drone that does not tell its lens has one by its name, and no place without.
    let told = std::fs::read_to_string(folder.path().join("near.SRT")).unwrap();
    let blind = told.replace("[focal_len: 24.00] ", "");
    assert_ne!(blind, told);
    std::fs::write(folder.path().join("near.SRT"), blind).unwrap();
    assert_eq!(place(&folder.path().join("nameless"), &[]), Value::Null);
    is_on_the_fire(&place(&folder.path().join("named"), &["--lens", "M30T:wide"]));
}
