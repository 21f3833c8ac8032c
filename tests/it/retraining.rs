//! From what people said of incidents to a model that runs: export, train, export, verify, analyse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::dataset::{Dataset, ReadOptions};
use emberwatch::flow::detection::{BBox, Class};
use emberwatch::flow::incident::{Actor, IncidentId, RejectReason};
use emberwatch::flow::report::{Evidence, EvidenceKind};
use emberwatch::stages::evidence::clean::{Seen, clean_jpeg};
use emberwatch::stages::incident::{Act, Action, IncidentDesk};
use emberwatch::stages::infer::model::sha256_hex;
use emberwatch::stages::preprocess::rgb::picture_from_rgb;
use emberwatch::store::Store;

use super::analysis::has_runtime;
use super::dispatch_crash::open_desk;
use super::dispatch_store::report;
use crate::command_line::emberwatch;

const SIZE: (u32, u32) = (320, 180);

/// A field with an orange disc and its box, at a place that depends on `number`.
fn frame(number: u64) -> (Vec<u8>, BBox) {
    let (x, y) = (40 + (number * 37 % 240) as u32, 60 + (number * 23 % 90) as u32);
    let radius = 14;
    let mut pixels = Vec::new();
    for row in 0..SIZE.1 {
        for column in 0..SIZE.0 {
            let grain = ((column * 31 + row * 17 + number as u32 * 7) % 23) as u8;
            let is_inside = column.abs_diff(x).pow(2) + row.abs_diff(y).pow(2) < radius * radius;
            pixels.extend(if is_inside {
                [250, 140 + grain, 30]
            } else {
                [60 + grain, 90 + grain, 50]
            });
        }
    }
    let edge = |middle: u32, sign: f32| middle as f32 + sign * radius as f32;
    let bbox = BBox::new(edge(x, -1.0), edge(y, -1.0), edge(x, 1.0), edge(y, 1.0));
    let seen = [Seen {
        class: Class::Flame,
        bbox,
    }];
    let picture = picture_from_rgb(&pixels, SIZE.0, SIZE.1).unwrap();
    (clean_jpeg(&picture, &seen).unwrap(), bbox)
}

/// Opens an incident of its own with a clean frame, kept as the service keeps it.
fn open(desk: &IncidentDesk, store: &Store, clock: &dyn Clock, number: u64) -> (IncidentId, BBox) {
    let lat = 35.0 + number as f64 * 0.1;
    let mut report = report("tower-1", number, lat, 113.0, clock.wall());
    let (jpeg, bbox) = frame(number);
    let name = format!("tower-1-20261125T0100{number:02}-{number}-flame-clean.jpg");
    fs::write(store.evidence_folder().join(&name), &jpeg).unwrap();
    report.class = Class::Flame;
    report.bbox = bbox;
    report.picture_size = SIZE;
    report.evidence = vec![Evidence {
        kind: EvidenceKind::Frame,
        name,
        sha256: sha256_hex(&jpeg),
        bytes: jpeg.len() as u64,
        captured: report.last_seen,
    }];
    let changes = desk.report(&report).unwrap();
    (changes[0].incident.id, bbox)
}

fn act(desk: &IncidentDesk, id: IncidentId, action: Action) {
    desk.act(&Act::new(id, Actor::person("operator"), action))
        .unwrap();
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn what_people_said_of_incidents_becomes_a_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("set"));
    let store = Store::open(&data).unwrap();
    let clock = Arc::new(SystemClock::new());
    let desk = open_desk(store.clone(), clock.clone());
    let opened: Vec<_> = (1..=5)
        .map(|number| open(&desk, &store, clock.as_ref(), number))
        .collect();
    let reject = |reason| Action::Reject { reason };
    act(&desk, opened[0].0, Action::Confirm);
    act(&desk, opened[1].0, reject(RejectReason::Dust));
    act(&desk, opened[2].0, reject(RejectReason::PermittedBurn));
    act(&desk, opened[3].0, reject(RejectReason::NotFoundOnSite));
    let run = emberwatch(&[
        "dataset",
        "export",
        data.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--val-share",
        "0",
    ]);
    let said = words(&run);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("2 pictures with fire, 1 without"), "{said}");
    for reason in [
        "not_found_on_site, which does not say whether it burned",
        "suspected: nobody has judged it",
    ] {
        assert!(said.contains(reason), "{said}");
    }
    let dataset = Dataset::read(&out, &ReadOptions::default()).unwrap();
    assert!(dataset.problems.is_empty(), "{:?}", dataset.problems);
    let mut boxes: Vec<_> = dataset
        .pictures
        .iter()
        .flat_map(|picture| {
            picture
                .labels
                .iter()
                .map(|label| label.edges[0] * f64::from(SIZE.0))
        })
        .collect();
    boxes.sort_by(f64::total_cmp);
    let mut expected = [f64::from(opened[0].1.x0), f64::from(opened[2].1.x0)];
    expected.sort_by(f64::total_cmp);
    assert!(
        boxes.len() == 2
            && boxes
                .iter()
                .zip(expected)
                .all(|(found, wanted)| (found - wanted).abs() < 0.01),
        "{boxes:?} for {expected:?}"
    );
    assert!(dataset.pictures.iter().all(|picture| picture.source == "tower-1"));
    // Where a flame was confirmed and smoke has no box, smoke is not labelled.
    assert_eq!(
        dataset
            .pictures
            .iter()
            .filter(|picture| picture.smoke_labelled)
            .count(),
        1
    );
}

/// The interpreter with torch, or why the test is skipped.
fn python() -> Option<PathBuf> {
    let Some(python) = std::env::var_os("EMBERWATCH_PYTHON") else {
        println!(
            "skipped: EMBERWATCH_PYTHON names no interpreter with models/training/requirements.txt installed"
        );
        return None;
    };
    let has_torch = Command::new(&python)
        .args(["-c", "import torch, cv2, onnx, onnxruntime"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_torch {
        println!("skipped: {} has no torch", python.display());
        return None;
    }
    Some(PathBuf::from(python))
}

fn train(python: &Path, arguments: &[&str]) {
    let run = Command::new(python)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/training"))
        .env("OMP_NUM_THREADS", "1")
        .args(["-B", "-m", "ember_train"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(run.status.success(), "{arguments:?}: {}", words(&run));
}

#[test]
fn judged_incidents_train_a_model_that_verifies_and_analyses() {
    let Some(python) = python() else { return };
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let store = Store::open(&folder.path().join("data")).unwrap();
    let clock = Arc::new(SystemClock::new());
    let desk = open_desk(store.clone(), clock.clone());
    for number in 1..=24 {
        let (id, _) = open(&desk, &store, clock.as_ref(), number);
        let action = if number % 3 == 0 {
            Action::Reject {
                reason: RejectReason::Dust,
            }
        } else {
            Action::Confirm
        };
        act(&desk, id, action);
    }
    let run = emberwatch(&[
        "dataset",
        "export",
        &path("data"),
        "--out",
        &path("set"),
        "--val-share",
        "0.5",
    ]);
    assert!(run.status.success(), "{}", words(&run));

    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fire-smoke-nano/fire-smoke-nano.pt");
    let (pack, model) = (path("pack"), path("tuned"));
    train(
        &python,
        &["data", &path("set"), "--pack", &pack, "--longest", "320"],
    );
    train(
        &python,
        &[
            "train",
            "--pack",
            &pack,
            "--out",
            &path("run"),
            "--weights",
            weights.to_str().unwrap(),
            "--processes",
            "1",
            "--batch",
            "2",
            "--steps",
            "4",
            "--warm-up",
            "1",
            "--rate",
            "1e-5",
            "--bank",
            "7",
            "--freeze",
            "2",
        ],
    );
    let files: Vec<String> = ["416x256", "416x416"]
        .iter()
        .map(|size| format!("{model}/tuned-{size}.onnx"))
        .collect();
    let final_weights = format!("{}/final.pt", path("run"));
    train(
        &python,
        &["export", &final_weights, "--name", "tuned", "--out", &model],
    );
    train(
        &python,
        &[
            "evaluate",
            &files[0],
            &files[1],
            "--pack",
            &pack,
            "--out",
            &path("report"),
        ],
    );
    let report = format!("{}/report.json", path("report"));
    train(
        &python,
        &[
            "manifest",
            &files[0],
            &files[1],
            "--report",
            &report,
            "--version",
            "0.0.1",
            "--origin",
            "frames of a test",
        ],
    );

    let run = emberwatch(&["models", "verify", &model]);
    let said = words(&run);
    assert!(run.status.success(), "{said}");
    assert_eq!(
        said.matches("hash, shapes and a run are sound").count(),
        2,
        "{said}"
    );

    let run = emberwatch(&[
        "simulate",
        "--scene",
        "drone",
        "--seconds",
        "4",
        "--fire-start",
        "-20",
        "--size",
        "640x360",
        "--fps",
        "5",
        "--out",
        &path("scene"),
        "--name",
        "clip",
    ]);
    assert!(run.status.success(), "{}", words(&run));
    let clip = format!("{}/clip.mp4", path("scene"));
    let run = emberwatch(&[
        "analyze",
        "--model",
        &model,
        "--rate",
        "0",
        "--out",
        &path("out"),
        &clip,
    ]);
    assert!(run.status.success(), "{}", words(&run));
    let summary = fs::read_to_string(folder.path().join("out/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["model"]["name"], "tuned");
    assert_eq!(summary["inputs"][0]["frames_inferred"], 20, "{summary}");
    // Weights that were hardly moved still see the fire that the shipped ones see.
    let detections = fs::read_to_string(folder.path().join("out/detections.jsonl")).unwrap();
    assert!(detections.contains("flame"), "{detections}");
}
