//! `emberwatch models eval` as a person calls it: what it prints and writes, and what it says of bad input.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use emberwatch::flow::detection::Class;
use emberwatch::simulator::{Scene, SceneKind, SceneOptions};
use emberwatch::stages::evidence::picture::to_rgb;
use image::{ImageBuffer, Rgb, RgbImage};
use serde_json::Value;

use super::analysis::has_runtime;

fn eval(dataset: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["models", "eval", "--replicates", "20", "--threads", "1"])
        .arg(dataset)
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn figures(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Plain YOLO: `count` pictures, all but the first with a box, different from each other.
fn plain(count: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["images", "labels"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    for number in 0..count {
        picture(number)
            .save(folder.path().join(format!("images/{number}.png")))
            .unwrap();
        let label = if number == 0 { "" } else { "0 0.5 0.5 0.2 0.2\n" };
        fs::write(folder.path().join(format!("labels/{number}.txt")), label).unwrap();
    }
    folder
}

/// A glow before dark ground.
fn picture(number: u8) -> RgbImage {
    RgbImage::from_fn(320, 180, |x, y| {
        let (dx, dy) = (f64::from(x) - 160.0, f64::from(y) - 90.0);
        let heat = if number == 0 {
            0.0
        } else {
            (-(dx * dx + dy * dy) / 500.0).exp()
        };
        let mixed = |base: f64, glow: f64| (base + heat * (glow - base)) as u8;
        Rgb([
            mixed(40.0 + f64::from(number), 255.0),
            mixed(50.0, 160.0),
            mixed(30.0, 40.0),
        ])
    })
}

/// Rendered fields with a fire half a kilometre away: its flames are 20 pixels across, of which the model is shown
/// four when it is shown the whole picture.
fn far_fire() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["images", "labels"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    let (width, height) = (1920, 1080);
    let scene = Scene::new(SceneOptions {
        width,
        height,
        fire_start_s: -20.0,
        range_m: Some(500.0),
        ..SceneOptions::new(SceneKind::Drone)
    })
    .unwrap();
    let (width, height) = (width as f32, height as f32);
    for frame in [0, 25] {
        let (picture, truth) = scene.frame(frame);
        let path = folder.path().join(format!("images/{frame}.png"));
        to_rgb(&picture).unwrap().save(path).unwrap();
        let mut labels = String::new();
        for found in &truth.boxes {
            let class = u8::from(found.class == Class::Smoke);
            let (x, y) = found.bbox.centre();
            let (across, down) = (found.bbox.width() / width, found.bbox.height() / height);
            writeln!(labels, "{class} {} {} {across} {down}", x / width, y / height).unwrap();
        }
        fs::write(folder.path().join(format!("labels/{frame}.txt")), labels).unwrap();
    }
    folder
}

#[test]
fn an_evaluation_prints_its_figures_and_writes_table_plots_and_sheet() {
    if !has_runtime() {
        return;
    }
    let folder = plain(5);
    let out = folder.path().join("out");
    let report = figures(&eval(folder.path(), &["--json", "--out", out.to_str().unwrap()]));
    assert_eq!(report["images"], 5);
    assert_eq!(report["image_level"]["pictures_with"], 4);
    assert_eq!(report["image_level"]["pictures_without"], 1);
    assert_eq!(report["ci"]["replicates"], 20);
    let written: Value = serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(written, report);
    let table = fs::read_to_string(out.join("table.txt")).unwrap();
    assert!(
        ["mAP50 small", "mAP50-95 small", "pictures with fire"]
            .iter()
            .all(|words| table.contains(words)),
        "{table}"
    );
    for plot in ["precision-recall.svg", "scores.svg"] {
        assert!(
            fs::read_to_string(out.join(plot)).unwrap().ends_with("</svg>\n"),
            "{plot}"
        );
    }
    let sheet = image::open(out.join("worst.jpg")).unwrap().to_rgb8();
    // Cells of 320 by 240 with a gap: six rows of four, four burning pictures above and one calm below.
    assert_eq!(sheet.dimensions(), (4 * 324, 6 * 244));
    let lit = |x: u32, y: u32| sheet.get_pixel(x, y).0.iter().any(|code| *code > 60);
    assert!(
        lit(160, 120) && lit(3 * 324 + 160, 120),
        "the glow of the burning ones"
    );
    assert!(!lit(324 + 160, 3 * 244 + 120), "there is one calm picture alone");
}

#[test]
fn tiles_look_closer_and_a_second_run_gives_the_same() {
    if !has_runtime() {
        return;
    }
    let folder = far_fire();
    let with = figures(&eval(folder.path(), &["--json", "--tiles"]));
    let without = figures(&eval(folder.path(), &["--json"]));
    assert_eq!(
        (&with["tiles"], &without["tiles"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    assert_eq!(with["images"], 2);
    assert_eq!(without["images"], 2);
    let flames = |report: &Value| report["map50"]["flame"].as_f64().unwrap();
    assert!(
        flames(&with) > flames(&without),
        "mAP50 of flames {} with tiles, {} without",
        flames(&with),
        flames(&without)
    );
    assert_eq!(with, figures(&eval(folder.path(), &["--json", "--tiles"])));
}

#[test]
fn coco_and_plain_yolo_of_the_same_pictures_give_the_same_figures() {
    if !has_runtime() {
        return;
    }
    let folder = plain(4);
    let coco = tempfile::tempdir().unwrap();
    fs::create_dir(coco.path().join("images")).unwrap();
    let (mut images, mut boxes) = (Vec::new(), Vec::new());
    for number in 0..4_u8 {
        let name = format!("{number}.png");
        fs::copy(
            folder.path().join("images").join(&name),
            coco.path().join("images").join(&name),
        )
        .unwrap();
        images.push(serde_json::json!({"id": number, "file_name": name, "width": 320, "height": 180}));
        if number > 0 {
            boxes.push(
                serde_json::json!({"id": number, "image_id": number, "category_id": 1, "iscrowd": 0,
                "area": 2304, "bbox": [128, 72, 64, 36]}),
            );
        }
    }
    let whole = serde_json::json!({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "fire"}]});
    fs::write(coco.path().join("annotations.json"), whole.to_string()).unwrap();
    let (yolo, coco) = (
        figures(&eval(folder.path(), &["--json"])),
        figures(&eval(coco.path(), &["--json"])),
    );
    for key in ["map50", "map50_95", "at_threshold", "image_level", "by_size"] {
        assert_eq!(yolo[key], coco[key], "{key}");
    }
}

/// What is done to a sound folder, what is asked, the code that follows and what is said.
type Case = (fn(&Path), &'static [&'static str], i32, &'static [&'static str]);

#[test]
fn bad_input_is_named_by_file_and_line() {
    if !has_runtime() {
        return;
    }
    let cases: [Case; 10] = [
        (
            |folder| fs::remove_file(folder.join("labels/1.txt")).unwrap(),
            &["--strict"],
            1,
            &["labels/1.txt", "no such label file"],
        ),
        (
            |folder| {
                fs::write(
                    folder.join("labels/2.txt"),
                    "0 0.5 0.5 0.2 0.2\n0 0.9 0.5 0.4 0.2\n",
                )
                .unwrap();
            },
            &["--strict"],
            1,
            &["labels/2.txt:2", "inside the picture"],
        ),
        (
            |folder| fs::write(folder.join("labels/2.txt"), "0 0.5 0.5 0.2\n").unwrap(),
            &["--strict"],
            1,
            &["labels/2.txt:1", "found 3 numbers"],
        ),
        (
            |folder| fs::write(folder.join("images/3.png"), "no picture").unwrap(),
            &["--strict"],
            1,
            &["images/3.png", "expected a JPEG or PNG"],
        ),
        (
            |folder| {
                ImageBuffer::<Rgb<u16>, _>::from_pixel(64, 64, Rgb([40_000, 0, 0]))
                    .save(folder.join("images/3.png"))
                    .unwrap();
            },
            &["--strict"],
            1,
            &["images/3.png", "16 bits a channel"],
        ),
        (
            |folder| {
                fs::write(
                    folder.join("manifest.csv"),
                    "name,split,smoke_labelled\n0,val,1\n1,val,1\n2,val,1\n3,val,1\n4,val,1\n5,val,1\n9,val,1\n",
                )
                .unwrap();
            },
            &["--strict"],
            1,
            &["manifest.csv:8", "no picture called \"9\""],
        ),
        (
            |folder| {
                fs::write(
                    folder.join("manifest.csv"),
                    "name,split,smoke_labelled,flames,smokes\n1,val,1,0,1\n",
                )
                .unwrap();
            },
            &[],
            2,
            &["manifest.csv:2", "wrong class order"],
        ),
        (
            |folder| fs::write(folder.join("data.yaml"), "names: [car, person]\n").unwrap(),
            &[],
            2,
            &["data.yaml:1", "[car, person]", "expected fire or smoke"],
        ),
        (
            |folder| {
                fs::remove_dir_all(folder.join("images")).unwrap();
                fs::create_dir(folder.join("images")).unwrap();
            },
            &[],
            2,
            &["found no picture"],
        ),
        (|_| (), &["--split", "night"], 2, &["no split \"night\""]),
    ];
    for (spoil, arguments, code, words) in cases {
        let folder = plain(7);
        spoil(folder.path());
        let run = eval(folder.path(), arguments);
        let said = said(&run);
        assert_eq!(run.status.code(), Some(code), "{words:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }
    let twins = plain(7);
    for part in ["images", "labels"] {
        for split in ["train", "val"] {
            fs::create_dir(twins.path().join(part).join(split)).unwrap();
        }
        let ending = if part == "images" { "png" } else { "txt" };
        for number in 0..7 {
            let file = twins.path().join(part).join(format!("{number}.{ending}"));
            fs::rename(
                &file,
                twins.path().join(part).join(format!("val/{number}.{ending}")),
            )
            .unwrap();
        }
        fs::copy(
            twins.path().join(part).join(format!("val/1.{ending}")),
            twins.path().join(part).join(format!("train/other.{ending}")),
        )
        .unwrap();
    }
    let run = eval(twins.path(), &[]);
    assert!(run.status.success(), "reported, not refused: {}", said(&run));
    assert!(
        said(&run).contains("val/1.png") && said(&run).contains("the same content"),
        "{}",
        said(&run)
    );
}
