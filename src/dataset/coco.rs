//! COCO: one JSON file of pictures, annotations and categories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::names::class_of;
use super::yolo::stem;
use super::{DatasetError, Labelled, Problem, Readings, SPLITS, canonical_split, label};

/// A JSON file larger than this is not read.
const LARGEST_BYTES: u64 = 1 << 30;

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: serde_json::Value,
    file_name: String,
    width: Option<f64>,
    height: Option<f64>,
}

#[derive(Deserialize)]
struct Annotation {
    id: Option<serde_json::Value>,
    image_id: serde_json::Value,
    category_id: i64,
    bbox: Vec<f64>,
    #[serde(default)]
    iscrowd: i64,
}

impl Annotation {
    /// Returns what it is found by in the file: its id, or its place in the list where it has none.
    fn name(&self, place: usize) -> String {
        match &self.id {
            Some(id) => format!("annotation {id}"),
            None => format!("annotations[{place}]"),
        }
    }
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// Returns the COCO files of a folder: in it, in `annotations`, or in the folders of its splits.
pub(crate) fn files_in(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned()];
    for name in ["annotations", "train", "val", "valid", "test"] {
        folders.push(root.join(name));
    }
    let mut files = Vec::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let is_json = path.extension().is_some_and(|ending| ending == "json");
            if is_json && looks_like_coco(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn looks_like_coco(path: &Path) -> bool {
    use std::io::Read as _;
    let Ok(file) = std::fs::File::open(path) else {
        return false;
    };
    let mut head = Vec::new();
    let is_small = file.metadata().is_ok_and(|file| file.len() <= LARGEST_BYTES);
    is_small
        && file.take(LARGEST_BYTES).read_to_end(&mut head).is_ok()
        && ["\"images\"", "\"annotations\"", "\"categories\""]
            .iter()
            .all(|word| head.windows(word.len()).any(|part| part == word.as_bytes()))
}

/// Reads COCO files; the split is in the name of the file or of its folder.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Readings, DatasetError> {
    let mut readings = Readings::default();
    for path in paths {
        read_file(path, &mut readings)?;
    }
    Ok(readings)
}

fn read_file(path: &Path, readings: &mut Readings) -> Result<(), DatasetError> {
    let text = std::fs::read_to_string(path).map_err(|source| DatasetError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let file: File = serde_json::from_str(&text).map_err(|error| {
        DatasetError::Unfit(Problem::at_line(
            path,
            error.line(),
            format!("expected a COCO file with images, annotations and categories: {error}"),
        ))
    })?;
    let mut classes = BTreeMap::new();
    for category in &file.categories {
        classes.insert(category.id, class_of(&category.name));
    }
    if classes.values().all(Option::is_none) {
        let words: Vec<_> = file
            .categories
            .iter()
            .map(|category| category.name.as_str())
            .collect();
        return Err(DatasetError::Unfit(Problem::new(
            path.display(),
            format!(
                "found the categories [{}], expected fire or smoke among them",
                words.join(", ")
            ),
        )));
    }
    let split = split_of(path);
    let mut boxes: BTreeMap<String, Vec<(usize, &Annotation)>> = BTreeMap::new();
    for (place, annotation) in file.annotations.iter().enumerate() {
        boxes
            .entry(annotation.image_id.to_string())
            .or_default()
            .push((place, annotation));
    }
    let mut known = 0;
    for image in &file.images {
        let place = format!("{}: image {:?}", path.display(), image.file_name);
        let annotations = boxes.get(&image.id.to_string()).map_or(&[][..], Vec::as_slice);
        known += annotations.len();
        match read_image(path, image, annotations, &classes) {
            Ok(mut picture) => {
                picture.split.clone_from(&split);
                readings.pictures.push(picture);
            }
            Err(message) => readings
                .problems
                .push((split.clone(), Problem::new(place, message))),
        }
    }
    if known < file.annotations.len() {
        readings.notes.push(format!(
            "{}: {} annotation(s) are of pictures that are not listed and were left out",
            path.display(),
            file.annotations.len() - known
        ));
    }
    Ok(())
}

fn read_image(
    json: &Path,
    image: &Image,
    annotations: &[(usize, &Annotation)],
    classes: &BTreeMap<i64, Option<crate::flow::detection::Class>>,
) -> Result<Labelled, String> {
    let side = |side: Option<f64>| side.filter(|side| (1.0..=65_535.0).contains(side));
    let path = find_picture(json, &image.file_name).ok_or("there is no such picture")?;
    let size = side(image.width).zip(side(image.height));
    let (width, height) = match size {
        Some(size) => size,
        // Some tools leave the size out; then it is the file's own.
        None => image::image_dimensions(&path)
            .map(|(width, height)| (f64::from(width), f64::from(height)))
            .map_err(|error| format!("has no size, and the file does not say it either: {error}"))?,
    };
    let mut labels = Vec::new();
    for (place, annotation) in annotations {
        let fault = |message: String| format!("{}: {message}", annotation.name(*place));
        let class = classes.get(&annotation.category_id).ok_or_else(|| {
            let known: Vec<_> = classes.keys().map(ToString::to_string).collect();
            fault(format!(
                "found the unknown category {}, expected one of [{}]",
                annotation.category_id,
                known.join(", ")
            ))
        })?;
        let [x, y, w, h] = annotation.bbox.as_slice() else {
            return Err(fault(format!(
                "found a box of {} numbers, expected 4",
                annotation.bbox.len()
            )));
        };
        let Some(class) = class else { continue };
        let edges = [x / width, y / height, (x + w) / width, (y + h) / height];
        labels.push(label(*class, edges, annotation.iscrowd != 0).map_err(fault)?);
    }
    Ok(Labelled {
        name: stem(&path),
        path,
        split: String::new(),
        source: String::new(),
        cluster: None,
        smoke_labelled: true,
        labels,
        claimed_size: size.map(|(width, height)| (width as u32, height as u32)),
    })
}

/// Finds a picture by the name in the file: beside it, in `images`, in the folder above or in that of its split.
fn find_picture(json: &Path, name: &str) -> Option<PathBuf> {
    let folder = json.parent()?;
    let above = folder.parent().unwrap_or(folder);
    let split = split_of(json);
    let base = Path::new(name).file_name()?;
    let mut places = Vec::new();
    for root in [folder, above] {
        for middle in [
            PathBuf::new(),
            PathBuf::from("images"),
            PathBuf::from(&split),
            Path::new("images").join(&split),
        ] {
            places.push(root.join(&middle).join(name));
            places.push(root.join(&middle).join(base));
        }
    }
    places.into_iter().find(|path| path.is_file())
}

fn split_of(json: &Path) -> String {
    let name = stem(json).to_lowercase();
    let word = |text: &str| {
        text.split(|sign: char| !sign.is_alphabetic())
            .map(canonical_split)
            .find(|word| SPLITS.contains(&word.as_str()))
    };
    let folder = json
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    word(&name).or_else(|| word(&folder)).unwrap_or_default()
}
