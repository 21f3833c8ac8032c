use serde::Deserialize;

use super::curve::{Tally, at_all_overlaps, pairs_of};
use super::matching::{ANY_SIZE, SIZES};
use super::report::{Measured, MeasuredModel, Report, Subject};
use super::*;

#[derive(Deserialize)]
struct Golden {
    width: u32,
    height: u32,
    pictures: Vec<GoldenPicture>,
    expected: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Expected>>,
}

#[derive(Deserialize)]
struct GoldenPicture {
    truths: Vec<(Class, u8, f32, f32, f32, f32)>,
    detections: Vec<(Class, f32, f32, f32, f32, f32)>,
}

#[derive(Deserialize)]
struct Expected {
    ap50: f64,
    ap50_95: f64,
}

/// Synthetic boxes with what pycocotools 2.0.11 says of them (its area ranges set to our sizes).
fn golden() -> (Vec<Look>, Golden) {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/coco.json"));
    let golden: Golden = serde_json::from_str(text).unwrap();
    let looks = golden
        .pictures
        .iter()
        .map(|picture| Look {
            truths: picture
                .truths
                .iter()
                .map(|(class, crowd, x, y, w, h)| Truth {
                    class: *class,
                    bbox: BBox::new(*x, *y, x + w, y + h),
                    is_crowd: *crowd == 1,
                })
                .collect(),
            detections: picture
                .detections
                .iter()
                .map(|(class, score, x, y, w, h)| Detection {
                    class: *class,
                    score: *score,
                    bbox: BBox::new(*x, *y, x + w, y + h),
                })
                .collect(),
            width: golden.width,
            height: golden.height,
            smoke_labelled: true,
        })
        .collect();
    (looks, golden)
}

fn subject(thresholds: [f64; 2]) -> Subject {
    Subject {
        dataset: "synthetic".to_owned(),
        split: "all".to_owned(),
        model: MeasuredModel {
            name: "probe".to_owned(),
            version: "0".to_owned(),
            sha256: String::new(),
            variant: vec!["probe.onnx".to_owned()],
        },
        duty: "watch".to_owned(),
        thresholds,
        tiles: false,
        problems: Vec::new(),
        notes: Vec::new(),
        replicates: 100,
        seed: 1,
    }
}

#[test]
fn average_precision_agrees_with_pycocotools_at_every_size() {
    let (looks, golden) = golden();
    let once = vec![1; looks.len()];
    for class in Class::ALL {
        let pairs = pairs_of(&looks, class);
        for range in SIZES.iter().chain([&ANY_SIZE]) {
            let curves = at_all_overlaps(&pairs, range);
            let figures: Vec<f64> = curves
                .iter()
                .map(|curve| curve.average_precision(&once).unwrap())
                .collect();
            let mean = figures.iter().sum::<f64>() / figures.len() as f64;
            let expected = &golden.expected[range.name][class.name()];
            // Half a point is what was promised; the protocols are the same, so only rounding may differ.
            assert!(
                (figures[0] - expected.ap50).abs() < 0.0005,
                "{class} {} AP50 {} for {}",
                range.name,
                figures[0],
                expected.ap50
            );
            assert!(
                (mean - expected.ap50_95).abs() < 0.0005,
                "{class} {} AP50-95 {mean} for {}",
                range.name,
                expected.ap50_95
            );
        }
    }
}

fn look(truths: &[(Class, BBox)], detections: &[(Class, f32, BBox)], smoke_labelled: bool) -> Look {
    Look {
        truths: truths
            .iter()
            .map(|(class, bbox)| Truth {
                class: *class,
                bbox: *bbox,
                is_crowd: false,
            })
            .collect(),
        detections: detections
            .iter()
            .map(|(class, score, bbox)| Detection {
                class: *class,
                score: *score,
                bbox: *bbox,
            })
            .collect(),
        width: 100,
        height: 100,
        smoke_labelled,
    }
}

const HERE: BBox = BBox::new(10.0, 10.0, 50.0, 50.0);
const THERE: BBox = BBox::new(60.0, 60.0, 90.0, 90.0);

#[test]
fn smoke_that_is_not_labelled_is_neither_right_nor_wrong() {
    let looks = [
        look(&[(Class::Smoke, HERE)], &[(Class::Smoke, 0.6, HERE)], true),
        look(
            &[(Class::Flame, THERE)],
            &[(Class::Smoke, 0.9, HERE), (Class::Flame, 0.5, THERE)],
            false,
        ),
    ];
    let measured = Measured::of_classes(&looks);
    let report = Report::new(&looks, &measured, subject([0.3, 0.3]));
    assert_eq!(report.map50["smoke"], Some(1.0));
    assert_eq!(report.map50["flame"], Some(1.0));
    assert_eq!(report.at_threshold["smoke"].precision, Some(1.0));
}

#[test]
fn precision_and_recall_are_those_at_the_threshold() {
    let looks = [look(
        &[(Class::Flame, HERE), (Class::Flame, THERE)],
        &[
            (Class::Flame, 0.9, HERE),
            (Class::Flame, 0.8, BBox::new(0.0, 0.0, 5.0, 5.0)),
            (Class::Flame, 0.7, HERE),
            (Class::Flame, 0.2, THERE),
        ],
        true,
    )];
    let tally = Tally::new(&pairs_of(&looks, Class::Flame));
    let at = tally.at(0.5, &[1]);
    assert_eq!(at.recall, Some(0.5));
    assert!((at.precision.unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert!((at.f1.unwrap() - 0.4).abs() < 1e-9);
    assert_eq!(tally.at(0.1, &[1]).recall, Some(1.0));
}

#[test]
fn whole_pictures_are_judged_by_any_class_and_only_where_it_is_known_that_nothing_burns() {
    let looks = [
        // Burns; found as the other class: still an alarm.
        look(&[(Class::Smoke, HERE)], &[(Class::Flame, 0.6, THERE)], true),
        look(&[(Class::Flame, HERE)], &[(Class::Flame, 0.1, HERE)], true),
        look(&[], &[(Class::Smoke, 0.9, HERE)], true),
        look(&[], &[], true),
        // No flame, smoke unknown: neither with nor without fire.
        look(&[], &[(Class::Smoke, 0.9, HERE)], false),
    ];
    let report = Report::new(&looks, &Measured::of_classes(&looks), subject([0.3, 0.3]));
    assert_eq!(report.image_level.pictures_with, 2);
    assert_eq!(report.image_level.pictures_without, 2);
    assert_eq!(report.image_level.recall, Some(0.5));
    assert_eq!(report.image_level.false_alarm_rate, Some(0.5));
}

#[test]
fn a_class_without_boxes_has_no_figure_and_does_not_drag_the_mean() {
    let looks = [look(&[(Class::Flame, HERE)], &[(Class::Flame, 0.6, HERE)], true)];
    let report = Report::new(&looks, &Measured::of_classes(&looks), subject([0.3, 0.3]));
    assert_eq!(report.map50["smoke"], None);
    assert_eq!(report.map50["all"], Some(1.0));
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["map50"]["smoke"].is_null());
}

#[test]
fn the_intervals_hold_the_figures_and_the_keys_are_those_documented() {
    let (looks, _) = golden();
    let measured = Measured::of_classes(&looks);
    let report = Report::new(&looks, &measured, subject([0.5, 0.5]));
    for name in ["flame", "smoke", "all"] {
        let [low, high] = report.ci.map50[name].unwrap();
        let figure = report.map50[name].unwrap();
        assert!(
            low < figure && figure < high && high - low < 0.5,
            "{name} {low} {figure} {high}"
        );
    }
    for class in Class::ALL.map(Class::name) {
        for size in SIZES.map(|size| size.name) {
            let [low, high] = report.ci.by_size[size].map50[class].unwrap();
            let figure = report.by_size[size].map50[class].unwrap();
            assert!(
                low < figure && figure < high,
                "{class} {size} {low} {figure} {high}"
            );
        }
        let [low, high] = report.ci.f1[class].unwrap();
        let figure = report.at_threshold[class].f1.unwrap();
        assert!(
            low < figure && figure < high,
            "F1 of {class} {low} {figure} {high}"
        );
    }
    let again = Report::new(&looks, &measured, subject([0.5, 0.5]));
    assert_eq!(report, again, "the same seed gives the same intervals");
    let json = serde_json::to_value(&report).unwrap();
    for pointer in [
        "/dataset",
        "/split",
        "/images",
        "/model/name",
        "/model/version",
        "/model/sha256",
        "/model/variant",
        "/map50/flame",
        "/map50/smoke",
        "/map50/all",
        "/map50_95/all",
        "/by_size/tiny/map50/flame",
        "/by_size/small/map50_95/smoke",
        "/by_size/large/boxes/smoke",
        "/at_threshold/flame/threshold",
        "/at_threshold/smoke/f1",
        "/image_level/recall",
        "/image_level/false_alarm_rate",
        "/image_level/pictures_with",
        "/image_level/pictures_without",
        "/ci/map50/all/0",
        "/ci/f1/smoke/1",
        "/ci/by_size/tiny/map50/flame/0",
        "/ci/by_size/large/map50/all/1",
        "/ci/image_recall",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer} is not in the report");
    }
    let table = report.table();
    assert!(
        table.contains("mAP50 tiny") && table.contains("95 % intervals"),
        "{table}"
    );
}

#[test]
fn figures_by_size_and_f1_stand_in_the_table_with_their_intervals() {
    const TINY: BBox = BBox::new(80.0, 80.0, 88.0, 88.0);
    // Every draw of a single picture is that picture, so that an interval is the figure itself.
    let looks = [look(
        &[(Class::Flame, HERE), (Class::Flame, TINY)],
        &[
            (Class::Flame, 0.9, HERE),
            (Class::Flame, 0.8, BBox::new(0.0, 0.0, 5.0, 5.0)),
            (Class::Flame, 0.7, TINY),
        ],
        true,
    )];
    let report = Report::new(&looks, &Measured::of_classes(&looks), subject([0.3, 0.3]));
    for (size, expected) in [("tiny", Some(0.5)), ("small", None), ("large", Some(1.0))] {
        for name in ["flame", "all"] {
            assert_eq!(report.by_size[size].map50[name], expected, "{size} {name}");
            let interval = report.ci.by_size[size].map50[name];
            assert_eq!(interval, expected.map(|figure| [figure, figure]), "{size} {name}");
        }
        assert_eq!(report.ci.by_size[size].map50["smoke"], None);
    }
    assert_eq!(report.ci.f1["flame"], Some([0.8, 0.8]));
    assert_eq!(report.ci.f1["smoke"], None);
    let table = report.table();
    for (label, figure) in [
        ("mAP50 tiny ", "0.500 (0.500–0.500)"),
        ("mAP50-95 tiny ", "0.500 [1 boxes]"),
        ("mAP50 large ", "1.000 (1.000–1.000)"),
        ("mAP50-95 large ", "1.000 [1 boxes]"),
        ("  flame ≥ 0.30", "F1 0.800 (0.800–0.800)"),
    ] {
        let line = table.lines().find(|line| line.starts_with(label));
        assert!(
            line.is_some_and(|line| line.contains(figure)),
            "{label} {figure} is not in {table}"
        );
    }
}

#[test]
fn the_plots_are_whole_and_show_both_classes() {
    let (looks, _) = golden();
    let measured = Measured::of_classes(&looks);
    let [flame, smoke] = &measured;
    let once = vec![1; looks.len()];
    let curves = [
        (Class::Flame, &flame.curves[0], flame.tally.at(0.5, &once)),
        (Class::Smoke, &smoke.curves[0], smoke.tally.at(0.5, &once)),
    ];
    let svg = plots::precision_against_recall("a < b", curves);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
    assert_eq!(svg.matches("<polyline").count(), 2);
    let svg = plots::scores(
        "scores",
        0.05,
        [(Class::Flame, &flame.tally), (Class::Smoke, &smoke.tally)],
    );
    assert_eq!(svg.matches("<rect x=").count(), 80);
}
