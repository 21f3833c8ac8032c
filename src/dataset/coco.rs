//! COCO: one JSON file of pictures, annotations and categories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::class_of;
use super::yolo::stem;
use super::{DatasetError, Labelled, Problem, Readings, SPLITS, canonical_split, label};

/// A JSON file larger than this is not read.
const LARGEST_BYTES: u64 = 1 << 30;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    images: Vec<&'a RawValue>,
    #[serde(borrow)]
    annotations: Vec<&'a RawValue>,
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
    fn name(&self, index: usize) -> String {
        match &self.id {
            Some(id) => format!("annotation {id}"),
            None => format!("annotations[{index}]"),
        }
    }
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// An item of one of the lists.
struct Item<T> {
    value: T,
    /// Its place in the list, from 0 on.
    index: usize,
    /// The line of the file on which it begins, from 1 on.
    line: usize,
}

/// A fault, and the line it is found on.
type Fault = (usize, String);

/// Reads the items of a list, parts of `text`. A fault names the list and the place in it: many files are one line long.
fn read_items<'a, T: Deserialize<'a>>(
    text: &str,
    list: &str,
    parts: &[&'a RawValue],
) -> Result<Vec<Item<T>>, Fault> {
    let (mut line, mut counted) = (1, 0);
    let mut items = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        // A raw value is a slice of the text that was read.
        let start = part.get().as_ptr().addr() - text.as_ptr().addr();
        line += text[counted..start].matches('\n').count();
        counted = start;
        let value = serde_json::from_str(part.get()).map_err(|error| {
            let within = error.line().saturating_sub(1);
            (
                line + within,
                format!("{list}[{index}]: {}", without_place(&error)),
            )
        })?;
        items.push(Item { value, index, line });
    }
    Ok(items)
}

/// What is wrong, without the line and column, which are those of the part that was read.
fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.rsplit_once(" at line ")
        .map_or(said.as_str(), |(said, _)| said)
        .to_owned()
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
    let unfit = |(line, found): Fault| {
        DatasetError::Unfit(Problem::at_line(
            path,
            line,
            format!("expected a COCO file with images, annotations and categories: {found}"),
        ))
    };
    let file: File<'_> =
        serde_json::from_str(&text).map_err(|error| unfit((error.line(), error.to_string())))?;
    let images = read_items::<Image>(&text, "images", &file.images).map_err(unfit)?;
    let annotations = read_items::<Annotation>(&text, "annotations", &file.annotations).map_err(unfit)?;
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
    let mut boxes: BTreeMap<String, Vec<&Item<Annotation>>> = BTreeMap::new();
    for annotation in &annotations {
        let image = annotation.value.image_id.to_string();
        boxes.entry(image).or_default().push(annotation);
    }
    let mut known = 0;
    for image in &images {
        let own = boxes
            .get(&image.value.id.to_string())
            .map_or(&[][..], Vec::as_slice);
        known += own.len();
        match read_image(path, image, own, &classes) {
            Ok(mut picture) => {
                picture.split.clone_from(&split);
                readings.pictures.push(picture);
            }
            Err((line, message)) => {
                let message = format!("image {:?}: {message}", image.value.file_name);
                let problem = Problem::at_line(path, line, message);
                readings.problems.push((split.clone(), problem));
            }
        }
    }
    if known < annotations.len() {
        readings.notes.push(format!(
            "{}: {} annotation(s) are of pictures that are not listed and were left out",
            path.display(),
            annotations.len() - known
        ));
    }
    Ok(())
}

fn read_image(
    json: &Path,
    image: &Item<Image>,
    annotations: &[&Item<Annotation>],
    classes: &BTreeMap<i64, Option<crate::flow::detection::Class>>,
) -> Result<Labelled, Fault> {
    let (image, line) = (&image.value, image.line);
    let of_image = |message: String| (line, message);
    let side = |side: Option<f64>| side.filter(|side| (1.0..=65_535.0).contains(side));
    let path = find_picture(json, &image.file_name)
        .ok_or_else(|| of_image("there is no such picture".to_owned()))?;
    let size = side(image.width).zip(side(image.height));
    let (width, height) = match size {
        Some(size) => size,
        // Some tools leave the size out; then it is the file's own.
        None => image::image_dimensions(&path)
            .map(|(width, height)| (f64::from(width), f64::from(height)))
            .map_err(|error| {
                of_image(format!(
                    "has no size, and the file does not say it either: {error}"
                ))
            })?,
    };
    let mut labels = Vec::new();
    for item in annotations {
        let (annotation, line) = (&item.value, item.line);
        let fault = |message: String| (line, format!("{}: {message}", annotation.name(item.index)));
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
