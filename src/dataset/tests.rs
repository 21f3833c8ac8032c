use std::fs;

use image::{ImageBuffer, Rgb, RgbImage};

use super::export::{ExportError, export};
use super::*;

/// A folder of files with their text; pictures are grey and of 32 by 24 pixels.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = folder.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if yolo::is_picture(&path) && text.is_empty() {
                // A grey of its own for each name: twins are made on purpose, by `copy`.
                let grey = name
                    .bytes()
                    .fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
                RgbImage::from_pixel(32, 24, Rgb([grey; 3])).save(&path).unwrap();
            } else {
                fs::write(path, text).unwrap();
            }
        }
        folder
    }

    fn read(&self, options: &ReadOptions) -> Result<Dataset, DatasetError> {
        Dataset::read(self.0.path(), options)
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.0.path().join(from), self.0.path().join(to)).unwrap();
    }
}

fn split(name: &str) -> ReadOptions {
    ReadOptions {
        split: Some(name.to_owned()),
        ..ReadOptions::default()
    }
}

fn assert_edges(label: &Label, expected: [f64; 4]) {
    for (found, wanted) in label.edges.iter().zip(expected) {
        assert!((found - wanted).abs() < 1e-6, "{label:?} for {expected:?}");
    }
}

const HEADER: &str = "name,split,source,width,height,smoke_labelled,flames,smokes,cluster\n";

#[test]
fn the_projects_own_layout_is_read_with_split_source_and_unlabelled_smoke() {
    let manifest =
        format!("{HEADER}a,val,tower,32,24,1,1,1,4\nb,train,web,32,24,1,0,0,5\nc,val,web,32,24,0,1,0,6\n");
    let folder = Folder::new(&[
        ("manifest.csv", &manifest),
        ("images/a.jpg", ""),
        ("images/b.jpg", ""),
        ("images/c.png", ""),
        ("labels/a.txt", "0 0.5 0.5 0.2 0.2\n1 0.25 0.25 0.5 0.5\n"),
        ("labels/b.txt", ""),
        ("labels/c.txt", "0 0.5 0.5 0.2 0.2\n"),
    ]);
    let dataset = folder.read(&ReadOptions::default()).unwrap();
    assert_eq!(
        (dataset.layout, dataset.split.as_str()),
        (Layout::Manifest, "val")
    );
    assert!(dataset.problems.is_empty(), "{:?}", dataset.problems);
    let [a, c] = dataset.pictures.as_slice() else {
        panic!("{:?}", dataset.pictures)
    };
    assert_eq!(
        (a.source.as_str(), a.labels.len(), a.smoke_labelled),
        ("tower", 2, true)
    );
    assert_edges(&a.labels[1], [0.0, 0.0, 0.5, 0.5]);
    assert!(!c.smoke_labelled);
    assert_eq!(folder.read(&split("all")).unwrap().pictures.len(), 3);
    let error = folder.read(&split("night")).unwrap_err().to_string();
    assert!(error.contains("[train, val, all]"), "{error}");
}

/// Forty rows of a manifest without a fault, and their pictures and labels.
fn good() -> (String, Vec<(String, String)>) {
    let rows: Vec<_> = (0..40)
        .map(|number| format!("good{number},val,,,,1,,,\n"))
        .collect();
    let files = (0..40)
        .flat_map(|number| {
            [
                (format!("images/good{number}.jpg"), String::new()),
                (
                    format!("labels/good{number}.txt"),
                    "0 0.5 0.5 0.2 0.2\n".to_owned(),
                ),
            ]
        })
        .collect();
    (rows.concat(), files)
}

#[test]
fn faults_are_named_by_file_and_line_and_the_rest_is_used() {
    let (rows, mut files) = good();
    let manifest = format!(
        "{HEADER}{rows}nopicture,val,,,,1,0,0,\nnolabel,val,,,,1,0,0,\noutside,val,,,,1,1,0,\nodd,val,,,,1,1,0,\n\
         stranger,val,,,,1,1,0,\ncount,val,,,,1,3,0,\ngood0,val,,,,1,,,\n"
    );
    for (name, label) in [
        ("outside", "0 0.5 0.5 0.2 0.2\n0 0.9 0.5 0.4 0.2\n"),
        ("odd", "0 0.5 half 0.2 0.2\n"),
        ("stranger", "7 0.5 0.5 0.2 0.2\n"),
        ("count", "0 0.5 0.5 0.2 0.2\n"),
    ] {
        files.push((format!("images/{name}.jpg"), String::new()));
        files.push((format!("labels/{name}.txt"), label.to_owned()));
    }
    files.push(("images/nolabel.jpg".to_owned(), String::new()));
    files.push(("images/unlisted.jpg".to_owned(), String::new()));
    files.push(("manifest.csv".to_owned(), manifest));
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let dataset = Folder::new(&files).read(&ReadOptions::default()).unwrap();
    assert_eq!(dataset.pictures.len(), 40);
    let problems: Vec<_> = dataset.problems.iter().map(ToString::to_string).collect();
    for (place, message) in [
        ("manifest.csv:42", "no picture called \"nopicture\""),
        ("nolabel.txt", "no such label file"),
        ("outside.txt:2", "inside the picture"),
        ("odd.txt:1", "\"half\""),
        ("stranger.txt:1", "expected one of 0 flame, 1 smoke"),
        ("manifest.csv:47", "says 3 flame(s)"),
        ("manifest.csv:48", "twice"),
    ] {
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains(place) && problem.contains(message)),
            "{place} {message} is not in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
    assert!(dataset.notes[0].contains("\"unlisted\""));
}

#[test]
fn values_of_a_manifest_that_can_mean_nothing_are_named_by_their_line() {
    let cases = [
        ("vla,,,,1,,,", "the split \"vla\", expected train, val, test"),
        (",,,,1,,,", "the split \"\""),
        ("val,,,,yes,,,", "smoke_labelled \"yes\", expected 0 or 1"),
        ("val,,,,,,,", "smoke_labelled \"\""),
        ("val,,,,1,many,0,", "flames \"many\", expected a whole number"),
        ("val,,,,1,1,-1,", "smokes \"-1\""),
        ("val,,32px,24,1,,,", "width \"32px\""),
        ("val,,32,24.5,1,,,", "height \"24.5\""),
    ];
    let (rows, mut files) = good();
    let mut manifest = format!("{HEADER}{rows}");
    for (number, (fields, _)) in cases.iter().enumerate() {
        manifest.extend([format!("wrong{number},{fields}\n")]);
        files.push((format!("images/wrong{number}.jpg"), String::new()));
        files.push((format!("labels/wrong{number}.txt"), String::new()));
    }
    files.push(("manifest.csv".to_owned(), manifest));
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let folder = Folder::new(&files);
    let dataset = folder.read(&split("val")).unwrap();
    assert_eq!(dataset.pictures.len(), 40);
    assert_eq!(dataset.problems.len(), cases.len(), "{:#?}", dataset.problems);
    for (number, ((_, message), problem)) in cases.iter().zip(&dataset.problems).enumerate() {
        let problem = problem.to_string();
        let place = format!("manifest.csv:{}: ", 42 + number);
        assert!(
            problem.contains(&place) && problem.contains(message),
            "{place}{message} is not in {problem}"
        );
    }
    let error = folder.read(&split("vla")).unwrap_err().to_string();
    assert!(error.contains("[val, all]"), "{error}");
}

#[test]
fn a_manifest_without_the_columns_that_may_be_left_out_is_read() {
    let folder = Folder::new(&[
        ("manifest.csv", "name,split\na,validation\n"),
        ("images/a.jpg", ""),
        ("labels/a.txt", ""),
    ]);
    let dataset = folder.read(&split("val")).unwrap();
    let [a] = dataset.pictures.as_slice() else {
        panic!("{dataset:?}")
    };
    assert!(a.smoke_labelled && a.claimed_size.is_none());
}

#[test]
fn classes_the_other_way_round_are_refused() {
    let manifest = format!("{HEADER}a,val,,,,1,1,0,\nb,val,,,,1,2,0,\n");
    let folder = Folder::new(&[
        ("manifest.csv", &manifest),
        ("images/a.jpg", ""),
        ("images/b.jpg", ""),
        ("labels/a.txt", "1 0.5 0.5 0.2 0.2\n"),
        ("labels/b.txt", "1 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.2 0.2\n"),
    ]);
    let error = folder.read(&ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("wrong class order"), "{error}");
}

#[test]
fn plain_yolo_is_read_by_the_names_it_brings_and_by_folders_of_splits() {
    let folder = Folder::new(&[
        ("data.yaml", "nc: 3\nnames: ['smoke', 'person', 'fire']\n"),
        ("valid/images/a.jpg", ""),
        (
            "valid/labels/a.txt",
            "2 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.9 0.9\n0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3\n",
        ),
        ("train/images/b.jpg", ""),
        ("train/labels/b.txt", ""),
    ]);
    let dataset = folder.read(&ReadOptions::default()).unwrap();
    assert_eq!((dataset.layout, dataset.split.as_str()), (Layout::Yolo, "val"));
    let labels = &dataset.pictures[0].labels;
    assert_eq!(labels.len(), 2, "the person is left aside");
    assert_eq!((labels[0].class, labels[1].class), (Class::Flame, Class::Smoke));
    let edges = labels[1].edges;
    assert!(
        (edges[0] - 0.1).abs() < 1e-9 && (edges[3] - 0.3).abs() < 1e-9,
        "{edges:?}"
    );
}

#[test]
fn names_from_outside_say_what_the_numbers_stand_for() {
    let folder = Folder::new(&[("images/a.jpg", ""), ("labels/a.txt", "0 0.5 0.5 0.2 0.2\n")]);
    let options = ReadOptions {
        names: vec!["smoke".to_owned(), "fire".to_owned()],
        ..ReadOptions::default()
    };
    let class = |options: &ReadOptions| folder.read(options).unwrap().pictures[0].labels[0].class;
    assert_eq!(class(&options), Class::Smoke);
    assert_eq!(class(&ReadOptions::default()), Class::Flame);
}

#[test]
fn a_dataset_of_other_things_is_refused() {
    let folder = Folder::new(&[
        ("classes.txt", "car\nperson\n"),
        ("images/a.jpg", ""),
        ("labels/a.txt", "0 0.5 0.5 0.2 0.2\n"),
    ]);
    let error = folder.read(&ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("classes.txt") && error.contains("[car, person]"),
        "{error}"
    );
}

#[test]
fn missing_labels_are_empty_only_on_request_and_pixels_are_told_from_shares() {
    let folder = Folder::new(&[
        ("images/a.jpg", ""),
        ("images/b.jpg", ""),
        ("images/c.jpg", ""),
        ("labels/a.txt", ""),
    ]);
    let error = folder.read(&ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("2 of 3 pictures"), "{error}");
    let options = ReadOptions {
        missing_labels_are_empty: true,
        ..ReadOptions::default()
    };
    assert_eq!(folder.read(&options).unwrap().pictures.len(), 3);
    let folder = Folder::new(&[("images/a.jpg", ""), ("labels/a.txt", "0 120 80 40 40\n")]);
    let error = folder.read(&ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("look like pixels"), "{error}");
}

#[test]
fn coco_is_read_and_its_faults_are_named() {
    let json = |category: &str, bbox: &str| {
        format!(
            r#"{{"images": [{{"id": 1, "file_name": "a.jpg", "width": 32, "height": 24}},
                 {{"id": 2, "file_name": "b.jpg", "width": 32, "height": 24}}],
                "annotations": [{{"id": 1, "image_id": 1, "category_id": 9, "bbox": {bbox}, "iscrowd": 0}}],
                "categories": [{{"id": 9, "name": "{category}"}}]}}"#
        )
    };
    let of = |text: &str| {
        Folder::new(&[
            ("annotations/instances_val2024.json", text),
            ("images/a.jpg", ""),
            ("images/b.jpg", ""),
        ])
    };
    let dataset = of(&json("Smoke", "[8, 6, 16, 12]"))
        .read(&ReadOptions::default())
        .unwrap();
    assert_eq!((dataset.layout, dataset.split.as_str()), (Layout::Coco, "val"));
    assert_edges(&dataset.pictures[0].labels[0], [0.25, 0.25, 0.75, 0.75]);
    assert!(dataset.pictures[1].labels.is_empty());
    let error = of(&json("cat", "[8, 6, 16, 12]"))
        .read(&ReadOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("[cat]"), "{error}");
    let error = of(&json("smoke", "[8, 6, 160, 12]"))
        .read(&ReadOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("inside the picture"), "{error}");
    let sound = json("smoke", "[8, 6, 16, 12]");
    let without_id = json("smoke", "[8, 6, 160, 12]").replace("{\"id\": 1, \"image_id\"", "{\"image_id\"");
    for (text, message) in [
        (json("smoke", "[8, 6, 160, 12]"), "annotation 1: found a box from"),
        (without_id, "annotations[0]: found a box from"),
        (
            json("smoke", "[8, 6, 16]"),
            "annotation 1: found a box of 3 numbers, expected 4",
        ),
        (
            sound.replace("\"category_id\": 9", "\"category_id\": 4"),
            "annotation 1: found the unknown category 4, expected one of [9]",
        ),
    ] {
        let error = of(&text).read(&ReadOptions::default()).unwrap_err().to_string();
        let place = "instances_val2024.json:3: image \"a.jpg\": ";
        assert!(error.contains(&format!("{place}{message}")), "{error}");
    }
    let nowhere = sound.replace("b.jpg", "c.jpg");
    let error = of(&nowhere)
        .read(&ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("instances_val2024.json:2: image \"c.jpg\": there is no such picture"),
        "{error}"
    );
    // Names of more than one byte a letter, and items on lines of their own.
    let not_a_number = sound
        .replace("a.jpg", "麦田.jpg")
        .replace("\"iscrowd\": 0", "\n\"iscrowd\": \"at line 9\"");
    for (text, line) in [(not_a_number.clone(), 4), (not_a_number.replace('\n', ""), 1)] {
        let error = of(&text).read(&ReadOptions::default()).unwrap_err().to_string();
        let words = format!("instances_val2024.json:{line}: expected a COCO file");
        assert!(error.contains(&words), "{error}");
        assert!(
            error.contains("annotations[0]: invalid type: string \"at line 9\", expected i64"),
            "{error}"
        );
    }
    let broken = Folder::new(&[(
        "x.json",
        "{\"images\": [],\n\"annotations\": [], \"categories\": 3}",
    )]);
    let error = broken.read(&ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("x.json:2"), "{error}");
}

#[test]
fn pictures_that_stand_in_two_splits_are_reported() {
    let folder = Folder::new(&[
        ("images/val/a.jpg", ""),
        ("images/val/b.jpg", ""),
        ("images/train/b.jpg", ""),
        ("images/train/d.jpg", ""),
        ("labels/val/a.txt", ""),
        ("labels/val/b.txt", ""),
        ("labels/train/b.txt", ""),
        ("labels/train/d.txt", ""),
    ]);
    folder.copy("images/val/a.jpg", "images/train/d.jpg");
    let dataset = folder.read(&ReadOptions::default()).unwrap();
    let problems: Vec<_> = dataset.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(
        problems[0].contains("the same content") && problems[0].contains("d.jpg"),
        "{problems:#?}"
    );
    assert!(problems[1].contains("the same name"), "{problems:#?}");
    assert_eq!(dataset.pictures.len(), 2, "they are kept");
    let everything = folder.read(&split("all")).unwrap();
    assert_eq!(everything.pictures.len(), 4);
    assert_eq!(everything.problems, dataset.problems, "each pair is named once");
}

#[test]
fn an_empty_folder_and_one_that_is_not_there_are_refused() {
    let error = Folder::new(&[])
        .read(&ReadOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("found no picture"), "{error}");
    let error = Dataset::read(Path::new("/nowhere"), &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
}

#[test]
fn damaged_and_deep_pictures_are_refused_with_their_reason() {
    let folder = Folder::new(&[("a.jpg", "not a picture")]);
    let error = picture::open(&folder.0.path().join("a.jpg"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected a JPEG or PNG"), "{error}");
    let deep = folder.0.path().join("deep.png");
    ImageBuffer::<Rgb<u16>, _>::from_pixel(8, 8, Rgb([40_000, 0, 0]))
        .save(&deep)
        .unwrap();
    let error = picture::open(&deep).unwrap_err().to_string();
    assert!(error.contains("16 bits a channel"), "{error}");
}

#[test]
fn confirmed_and_rejected_incidents_become_a_dataset_that_is_read_again() {
    let folder = Folder::new(&[
        ("evidence/a.jpg", ""),
        ("evidence/b.jpg", ""),
        ("evidence/c.png", ""),
        (
            "incidents.jsonl",
            r#"{"incident": "1", "verdict": "confirmed", "pictures": [{"file": "evidence/a.jpg", "source": "tower 1", "boxes": [{"class": "smoke", "box": [8, 6, 24, 18]}]}, {"file": "evidence/b.jpg"}]}
{"incident": "2", "verdict": "rejected", "pictures": [{"file": "evidence/c.png", "boxes": [{"class": "flame", "box": [1, 1, 5, 5]}]}]}
{"incident": "3", "verdict": "perhaps", "pictures": []}
{"incident": "4", "verdict": "rejected", "pictures": [{"file": "evidence/a.jpg"}, {"file": "evidence/gone.jpg"}]}
"#,
        ),
    ]);
    let out = folder.0.path().join("out");
    let exported = export(folder.0.path(), &out, 0.0).unwrap();
    assert_eq!((exported.confirmed, exported.rejected, exported.val), (1, 1, 0));
    let problems: Vec<_> = exported.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 4, "{problems:#?}");
    for (place, message) in [
        ("incidents.jsonl:1", "without a box"),
        ("incidents.jsonl:3", "perhaps"),
        ("incidents.jsonl:4", "taken before"),
        ("incidents.jsonl:4", "gone.jpg"),
    ] {
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains(place) && problem.contains(message)),
            "{place} {message} is not in {problems:#?}"
        );
    }
    let dataset = Dataset::read(&out, &split("train")).unwrap();
    assert!(dataset.problems.is_empty(), "{:?}", dataset.problems);
    let with: Vec<_> = dataset
        .pictures
        .iter()
        .filter(|picture| !picture.labels.is_empty())
        .collect();
    assert_eq!((dataset.pictures.len(), with.len()), (2, 1));
    assert_edges(&with[0].labels[0], [0.25, 0.25, 0.75, 0.75]);
    assert_eq!(with[0].source, "tower_1");
    assert!(matches!(
        export(folder.0.path(), &out, 0.0),
        Err(ExportError::NotEmpty { .. })
    ));
    let everything_val = folder.0.path().join("val");
    assert_eq!(export(folder.0.path(), &everything_val, 1.0).unwrap().val, 2);
}
