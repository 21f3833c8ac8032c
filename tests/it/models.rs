//! The shipped models are what their manifests say, and what does not fit is refused with its reason.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

use emberwatch::dataset::{Dataset, ReadOptions};
use emberwatch::evaluation::run::look_at_all;
use emberwatch::flow::detection::Class;
use emberwatch::flow::frame::Picture;
use emberwatch::models::Catalogue;
use emberwatch::models::manifest::Manifest;
use emberwatch::simulator::{Scene, SceneKind, SceneOptions};
use emberwatch::stages::infer::{
    Closer, InferError, Inferrer, Model, Provider, Runtime, SessionOptions, model::sha256_hex,
};
use emberwatch::stages::preprocess::rgb::picture_from_rgb;
use emberwatch::stages::preprocess::{Input, Preparer, Rect, TensorPool};

const MODEL: &str = "fire-smoke-nano";

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(MODEL)
}

/// Returns the library, or says that the test is skipped.
fn runtime() -> Option<Runtime> {
    match Runtime::load() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Copies the shipped model to a folder of its own, its manifest changed.
fn changed(change: impl Fn(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(shipped()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let manifest = folder.path().join("model.toml");
    fs::write(&manifest, change(fs::read_to_string(&manifest).unwrap())).unwrap();
    folder
}

/// The file of weights that is used for 16:9, and its hash.
fn wide(folder: &Path) -> (PathBuf, String) {
    let manifest = Manifest::read(&folder.join("model.toml")).unwrap();
    let variant = manifest.variant_for(1920, 1080).unwrap();
    (folder.join(&variant.file), variant.sha256.clone())
}

/// Where the manifest in a folder says something: its path with the line.
fn place(folder: &Path, words: &str) -> String {
    let manifest = folder.join("model.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let line = text.lines().position(|line| line.contains(words)).unwrap() + 1;
    format!("{}:{line}", manifest.display())
}

/// A field at dusk with a glow in it.
fn picture(width: u32, height: u32) -> Picture {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (
                f64::from(x) / f64::from(width) - 0.6,
                f64::from(y) / f64::from(height) - 0.6,
            );
            let heat = (-(dx * dx * 500.0 + dy * dy * 150.0)).exp();
            let grain = f64::from((x * 31 + y * 17) % 13);
            let base = if y * 5 < height * 2 {
                [120.0, 125.0, 135.0]
            } else {
                [50.0, 60.0, 35.0]
            };
            for (base, glow) in base.into_iter().zip([250.0, 150.0, 30.0]) {
                pixels.push((base + grain + heat * (glow - base)).clamp(0.0, 255.0) as u8);
            }
        }
    }
    picture_from_rgb(&pixels, width, height).unwrap()
}

/// A rendered field with a fire that has burnt for some seconds, 1920x1080.
fn burning_field() -> Picture {
    let options = SceneOptions {
        width: 1920,
        height: 1080,
        fire_start_s: -20.0,
        ..SceneOptions::new(SceneKind::Drone)
    };
    Scene::new(options).unwrap().frame(100).0
}

/// Opens the model in a folder, which must be refused; nothing where the library is missing.
fn refusal(folder: &Path) -> Option<InferError> {
    let runtime = runtime()?;
    let model = match Model::load(folder) {
        Ok(model) => model,
        Err(error) => return Some(error),
    };
    let variant = model.variant_for(1920, 1080).unwrap();
    let opened = model.open(variant, &runtime, &SessionOptions::default());
    Some(opened.err().expect("the model should be refused"))
}

#[test]
fn every_model_that_ships_has_a_sound_manifest_and_opens_in_every_variant() {
    let Some(runtime) = runtime() else { return };
    let catalogue = Catalogue::new(vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("models")]);
    let models = catalogue.folders();
    assert!(models.iter().any(|(name, _)| name == MODEL));
    for (name, folder) in models {
        let model = Model::load(&folder).unwrap();
        assert_eq!(model.manifest().name, name, "the folder is called as the model");
        assert_eq!(model.manifest().classes.len(), Class::ALL.len());
        for variant in &model.manifest().variants {
            let mut session = model.open(variant, &runtime, &SessionOptions::default()).unwrap();
            let spec = session.spec().clone();
            let pool = TensorPool::new(spec.elements(), 1);
            let picture = picture(640, 360);
            let input = Preparer::new(spec)
                .prepare(&picture, Rect::whole(640, 360), &pool)
                .unwrap();
            for detection in session.run(&[input]).unwrap().concat() {
                assert!((0.0..=1.0).contains(&detection.score));
                assert!(detection.bbox.x0 >= 0.0 && detection.bbox.x1 <= 640.0);
            }
        }
    }
}

#[test]
fn the_same_picture_gives_the_same_detections_alone_and_among_others() {
    let Some(runtime) = runtime() else { return };
    let model = Model::load(&shipped()).unwrap();
    let options = SessionOptions {
        floor: 0.01,
        ..SessionOptions::default()
    };
    let variant = model.variant_for(1920, 1080).unwrap();
    let mut session = model.open(variant, &runtime, &options).unwrap();
    let spec = session.spec().clone();
    let pool = TensorPool::new(spec.elements(), 4);
    let mut preparer = Preparer::new(spec);
    let inputs: Vec<Input> = [(1280, 720), (640, 360), (333, 217)]
        .into_iter()
        .map(|(width, height)| {
            let picture = picture(width, height);
            preparer
                .prepare(&picture, Rect::whole(width, height), &pool)
                .unwrap()
        })
        .collect();
    let together = session.run(&inputs).unwrap();
    assert!(
        together.iter().any(|found| !found.is_empty()),
        "the glow should be found"
    );
    for (input, expected) in inputs.iter().zip(&together) {
        let alone = session.run(std::slice::from_ref(input)).unwrap();
        assert_eq!(alone.first(), Some(expected));
    }
}

#[test]
fn a_closer_look_keeps_what_the_whole_picture_found_in_its_place() {
    let Some(runtime) = runtime() else { return };
    let options = SessionOptions {
        floor: 0.01,
        ..SessionOptions::default()
    };
    let mut inferrer = Inferrer::new(Model::load(&shipped()).unwrap(), runtime, options);
    let picture = burning_field();
    let whole = inferrer.detect(&picture, Closer::Never).unwrap();
    let best = whole.first().expect("the fire should be found");
    let closer = inferrer.detect(&picture, Closer::From(best.score)).unwrap();
    let is_best = |found: &&emberwatch::flow::detection::Detection| {
        found.class == best.class
            && found.score >= best.score
            && found.bbox.intersection(&best.bbox) > 0.5 * found.bbox.area().min(best.bbox.area())
    };
    assert!(
        closer.iter().find(is_best).is_some(),
        "{best:?} is not in {closer:?}"
    );
    assert_eq!(
        closer,
        inferrer.detect(&picture, Closer::From(best.score)).unwrap()
    );
}

#[test]
fn damaged_weights_are_refused_by_their_hash_and_absent_ones_by_their_name() {
    let folder = changed(|manifest| manifest);
    let (file, hash) = wide(folder.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let Some(error) = refusal(folder.path()) else {
        return;
    };
    assert!(matches!(error, InferError::Hash { .. }), "{error}");
    assert!(error.to_string().contains("damaged"), "{error}");
    let said = format!("expected {hash} as {} says", place(folder.path(), &hash));
    assert!(error.to_string().contains(&said), "{said} is not in {error}");
    fs::remove_file(&file).unwrap();
    let error = refusal(folder.path()).unwrap();
    assert!(matches!(error, InferError::Weights { .. }), "{error}");
}

#[test]
fn weights_that_are_no_graph_are_refused_by_the_library() {
    let folder = changed(|manifest| manifest);
    let (file, old) = wide(folder.path());
    let junk = b"this is no graph";
    fs::write(&file, junk).unwrap();
    let manifest = folder.path().join("model.toml");
    let text = fs::read_to_string(&manifest)
        .unwrap()
        .replace(&old, &sha256_hex(junk));
    fs::write(&manifest, text).unwrap();
    let Some(error) = refusal(folder.path()) else {
        return;
    };
    assert!(matches!(error, InferError::Graph { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(file.file_name().unwrap().to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn shapes_and_names_that_do_not_fit_are_refused_with_what_was_found() {
    for (from, to, expected) in [
        ("height = 256", "height = 288", "[N, 3, 288, 416]"),
        ("name = \"images\"", "name = \"pixels\"", "\"pixels\""),
        ("output = \"dets\"", "output = \"boxes\"", "[dets]"),
        ("kind = \"yolox-decoded\"", "kind = \"yolov8\"", "[N, 6, "),
    ] {
        let folder = changed(|manifest| manifest.replace(from, to));
        let Some(error) = refusal(folder.path()) else {
            return;
        };
        assert!(matches!(error, InferError::Shape { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        let place = format!(" {}: ", place(folder.path(), to));
        assert!(error.to_string().contains(&place), "{place} is not in {error}");
    }
}

#[test]
fn a_manifest_that_does_not_fit_names_the_line_of_each_problem() {
    let folder = changed(|manifest| manifest.replace("height = 256", "height = \"high\""));
    let error = Model::load(folder.path()).unwrap_err().to_string();
    let line = place(folder.path(), "height = \"high\"");
    let (_, line) = line.rsplit_once(':').unwrap();
    let said = format!("line {line}: variant[0].height: found \"high\"");
    assert!(error.contains(&said), "{said} is not in {error}");
}

#[test]
fn a_class_too_few_is_refused() {
    let folder = changed(|manifest| {
        let smoke = manifest.find("[[class]]\nid = 1").unwrap();
        let quality = manifest.find("[quality]").unwrap();
        format!("{}{}", &manifest[..smoke], &manifest[quality..])
    });
    let Some(error) = refusal(folder.path()) else {
        return;
    };
    assert!(matches!(error, InferError::Shape { .. }), "{error}");
}

#[test]
fn an_accelerator_that_is_asked_for_and_missing_is_an_error() {
    let Some(runtime) = runtime() else { return };
    let model = Model::load(&shipped()).unwrap();
    for provider in [Provider::CoreMl, Provider::DirectMl] {
        let options = SessionOptions {
            provider,
            ..SessionOptions::default()
        };
        let variant = model.variant_for(1920, 1080).unwrap();
        let error = model.open(variant, &runtime, &options).err().unwrap();
        assert!(matches!(error, InferError::Provider { .. }), "{error}");
        assert!(error.to_string().starts_with(provider.name()), "{error}");
    }
}

#[test]
fn an_evaluation_does_not_depend_on_how_many_look() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    for part in ["images", "labels"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    for number in 0..5_u8 {
        let image = image::RgbImage::from_fn(160 + u32::from(number), 120, |x, y| {
            image::Rgb([number * 40, x as u8, y as u8])
        });
        image
            .save(folder.path().join(format!("images/{number}.png")))
            .unwrap();
        let label = folder.path().join(format!("labels/{number}.txt"));
        fs::write(label, "0 0.5 0.5 0.2 0.2\n").unwrap();
    }
    fs::write(folder.path().join("images/4.png"), "damaged").unwrap();
    let dataset = Dataset::read(folder.path(), &ReadOptions::default()).unwrap();
    let looks = |count: usize| {
        let options = SessionOptions {
            floor: 0.001,
            ..SessionOptions::default()
        };
        let inferrers = (0..count)
            .map(|_| Inferrer::new(Model::load(&shipped()).unwrap(), runtime.clone(), options))
            .collect();
        look_at_all(&dataset, inferrers, Closer::Never, &|| {}).unwrap()
    };
    let (one, three) = (looks(1), looks(3));
    assert_eq!(one.looks, three.looks);
    assert_eq!(one.pictures, [0, 1, 2, 3]);
    assert_eq!(one.problems.len(), 1);
    assert!(one.problems[0].place.ends_with("4.png"));
}
