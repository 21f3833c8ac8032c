use super::*;

/// A manifest without a fault.
pub(crate) const SOUND: &str = r#"
schema = 1
name = "probe"
version = "0.1.0"
description = "A model for tests"
licence = "Apache-2.0"
origin = "made here"
duty = ["patrol", "watch"]

[[variant]]
file = "probe-416x256.onnx"
sha256 = "03ba94c878b4ea986b65e8f7d665ed4cfc566d3b59068f717cdf575626716b19"
precision = "fp32"
width = 416
height = 256
cpu_ms = 4.6

[[variant]]
file = "probe-416x416.onnx"
sha256 = "1007eb03714bef7affa520476909a03cfafe24b1ce4c877d0d6e2248ae5a2b5e"
precision = "fp32"
width = 416
height = 416
cpu_ms = 7.5

[input]
name = "images"
layout = "NCHW"
colour = "BGR"
scale = 1.0
mean = [0.0, 0.0, 0.0]
std = [1, 1, 1]
padding = 114
anchor = "top-left"
dynamic_batch = true

[head]
kind = "yolox-decoded"
output = "dets"
nms_iou = 0.6

[[class]]
id = 0
name = "flame"
[class.threshold]
patrol = 0.4
watch = 0.35
alarm = 0.3

[[class]]
id = 1
name = "smoke"
[class.threshold]
patrol = 0.4
watch = 0.4
alarm = 0.3

[quality]
map50_flame = 0.443
"#;

fn problems(text: &str) -> Vec<String> {
    match Manifest::parse(text, Path::new("model.toml")) {
        Err(ManifestError::Unfit { problems, .. }) => problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect(),
        other => panic!("expected problems, found {other:?}"),
    }
}

#[test]
fn a_sound_manifest_is_read() {
    let manifest = Manifest::parse(SOUND, Path::new("model.toml")).unwrap();
    assert_eq!(manifest.variants.len(), 2);
    assert_eq!(manifest.head.kind, HeadKind::YoloxDecoded);
    assert!((manifest.threshold(Class::Flame, Duty::Watch) - 0.35).abs() < 1e-6);
    assert_eq!(manifest.quality, vec![("map50_flame".to_owned(), 0.443)]);
}

#[test]
fn every_problem_is_named_at_once_with_its_path() {
    let text = SOUND
        .replace("width = 416\nheight = 256", "width = 0\nheight = \"high\"")
        .replace("colour = \"BGR\"", "colour = \"GRB\"")
        .replace("nms_iou = 0.6", "nms_iou = nan\nnms = 1")
        .replace("name = \"smoke\"", "name = \"steam\"")
        .replace("version = \"0.1.0\"\n", "")
        .replace("watch = 0.35", "watch = 1.35")
        .replace("\"watch\"]", "\"sleep\"]");
    let problems = problems(&text);
    for path in [
        "version",
        "variant[0].width",
        "variant[0].height",
        "input.colour",
        "head.nms_iou",
        "head.nms:",
        "class[1].name",
        "class[0].threshold.watch",
        "duty",
    ] {
        assert!(
            problems.iter().any(|problem| problem.starts_with(path)),
            "{path} is not named in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 9, "{problems:#?}");
}

#[test]
fn a_problem_names_its_line_and_a_missing_field_that_of_its_table() {
    let text = SOUND
        .replace("colour = \"BGR\"", "colour = \"GRB\"")
        .replace("width = 416\nheight = 416", "height = 416")
        .replace("origin = \"made here\"\n", "");
    let error = Manifest::parse(&text, Path::new("model.toml"))
        .unwrap_err()
        .to_string();
    let line = |words: &str| text.lines().position(|line| line == words).unwrap() + 1;
    let second = line("file = \"probe-416x416.onnx\"") - 1;
    for expected in [
        format!(
            "\n  line {}: input.colour: found \"GRB\"",
            line("colour = \"GRB\"")
        ),
        format!("\n  line {second}: variant[1].width: missing"),
        "\n  origin: missing".to_owned(),
    ] {
        assert!(error.contains(&expected), "{expected:?} is not in {error}");
    }
}

#[test]
fn classes_out_of_order_are_refused() {
    let text = SOUND.replace("id = 0", "id = 2").replace("id = 1", "id = 0");
    assert!(problems(&text)[0].contains("found the ids [2, 0]"));
}

#[test]
fn a_file_outside_the_folder_is_refused() {
    let text = SOUND.replace("probe-416x256.onnx", "../other/probe.onnx");
    assert!(problems(&text)[0].starts_with("variant[0].file"));
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    let error = Manifest::parse("schema = = 1", Path::new("model.toml")).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("line 1"), "{source}");
}

#[test]
fn the_variant_that_shows_the_picture_largest_is_chosen_and_the_cheapest_among_equals() {
    let manifest = Manifest::parse(SOUND, Path::new("model.toml")).unwrap();
    let file = |width, height| manifest.variant_for(width, height).unwrap().file.clone();
    assert_eq!(file(1920, 1080), "probe-416x256.onnx");
    assert_eq!(file(4096, 2160), "probe-416x256.onnx");
    assert_eq!(file(640, 480), "probe-416x416.onnx");
    assert_eq!(file(1080, 1920), "probe-416x416.onnx");
}
