//! Plain YOLO: pictures with a text file of boxes each.

use std::path::{Path, PathBuf};

use super::names::{self, Names};
use super::{DatasetError, Label, Labelled, Problem, ReadOptions, Readings, canonical_split, label};

/// Folders deeper than this below the dataset are not searched.
const DEEPEST: usize = 6;

/// The most label lines of a picture.
const MOST_LINES: usize = 10_000;

/// Reads a folder of pictures with labels; splits are folders called train, val or test.
pub(crate) fn read(root: &Path, options: &ReadOptions) -> Result<Readings, DatasetError> {
    let mut readings = Readings::default();
    let found = if options.names.is_empty() {
        names::find(root)
    } else {
        Some((
            names::of_words(&options.names),
            PathBuf::from("the command line"),
            1,
        ))
    };
    let names = if let Some((names, file, line)) = found {
        if names.iter().all(|(_, class)| class.is_none()) {
            let words: Vec<_> = names.iter().map(|(word, _)| word.as_str()).collect();
            return Err(DatasetError::Unfit(Problem::at_line(
                &file,
                line,
                format!(
                    "found the classes [{}], expected fire or smoke among them",
                    words.join(", ")
                ),
            )));
        }
        readings.notes.push(note_on(&names, &file));
        names
    } else {
        readings
            .notes
            .push("no data.yaml or classes.txt: class 0 is taken for flame, class 1 for smoke".to_owned());
        names::of_this_project()
    };
    let mut pictures = Vec::new();
    find_pictures(root, 0, &mut pictures).map_err(|source| DatasetError::Unreadable {
        path: root.to_owned(),
        source,
    })?;
    pictures.sort();
    for path in pictures {
        let split = split_of(root, &path);
        let labels_path = labels_of(root, &path);
        let labels = match read_labels(&labels_path, &names) {
            Ok(labels) => labels,
            Err(problem) if problem.is_missing && options.missing_labels_are_empty => Vec::new(),
            Err(problem) => {
                readings.problems.push((split, problem.problem));
                continue;
            }
        };
        readings.pictures.push(Labelled {
            name: stem(&path),
            path,
            split,
            source: String::new(),
            cluster: None,
            smoke_labelled: true,
            labels,
            claimed_size: None,
        });
    }
    Ok(readings)
}

fn note_on(names: &Names, file: &Path) -> String {
    let list: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(number, (word, class))| match class {
            Some(class) => format!("{number} {word:?} is {class}"),
            None => format!("{number} {word:?} is left aside"),
        })
        .collect();
    format!("classes by {}: {}", file.display(), list.join(", "))
}

/// Returns a file's name without its ending.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether a file is a picture by its ending.
pub(crate) fn is_picture(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| ["jpg", "jpeg", "png"].contains(&ending.to_lowercase().as_str()))
}

fn find_pictures(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        // A linked file is read, a linked folder is not entered: links can form a ring.
        if kind.is_dir() && depth < DEEPEST {
            find_pictures(&path, depth + 1, found)?;
        } else if !kind.is_dir() && is_picture(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn split_of(root: &Path, picture: &Path) -> String {
    let below = picture.strip_prefix(root).unwrap_or(picture);
    below
        .iter()
        .filter_map(|part| part.to_str())
        .map(canonical_split)
        .find(|part| ["train", "val", "test"].contains(&part.as_str()))
        .unwrap_or_default()
}

/// Where the labels of a picture lie: in `labels` instead of `images`, or beside it.
fn labels_of(root: &Path, picture: &Path) -> PathBuf {
    let below = picture.strip_prefix(root).unwrap_or(picture);
    let parts: Vec<_> = below.iter().collect();
    if let Some(place) = parts.iter().rposition(|part| *part == "images") {
        let mut path = root.to_owned();
        for (index, part) in parts.iter().enumerate() {
            path.push(if index == place {
                std::ffi::OsStr::new("labels")
            } else {
                part
            });
        }
        return path.with_extension("txt");
    }
    picture.with_extension("txt")
}

/// A problem with a label file, and whether the file is simply not there.
#[derive(Debug)]
pub(crate) struct LabelProblem {
    pub(crate) problem: Problem,
    pub(crate) is_missing: bool,
}

/// Reads a label file: `class cx cy w h` or `class x y x y …` a line, in shares of the picture.
pub(crate) fn read_labels(path: &Path, names: &Names) -> Result<Vec<Label>, LabelProblem> {
    let wrong = |problem: Problem| LabelProblem {
        problem,
        is_missing: false,
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let message = if is_missing {
            "there is no such label file: where nothing burns an empty one is expected".to_owned()
        } else {
            format!("cannot read the label file: {error}")
        };
        LabelProblem {
            problem: Problem::new(path.display(), message),
            is_missing,
        }
    })?;
    let mut labels = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if index >= MOST_LINES {
            return Err(wrong(Problem::at_line(
                path,
                index + 1,
                format!("more than {MOST_LINES} lines"),
            )));
        }
        if line.trim().is_empty() {
            continue;
        }
        let label =
            read_line(line, names).map_err(|message| wrong(Problem::at_line(path, index + 1, message)))?;
        labels.extend(label);
    }
    Ok(labels)
}

/// Reads one line; nothing when it is of a class that is left aside.
fn read_line(line: &str, names: &Names) -> Result<Option<Label>, String> {
    let shape = "expected `class cx cy w h` in shares of the picture";
    let mut words = line.split_whitespace();
    let number = words.next().unwrap_or_default();
    let class = number
        .parse::<usize>()
        .ok()
        .or_else(|| {
            let number = number.parse::<f64>().ok()?;
            (number.fract() == 0.0 && (0.0..1000.0).contains(&number)).then_some(number as usize)
        })
        .and_then(|number| names.get(number))
        .ok_or_else(|| {
            let known: Vec<_> = names
                .iter()
                .enumerate()
                .map(|(number, (word, _))| format!("{number} {word}"))
                .collect();
            format!("found the class {number:?}, expected one of {}", known.join(", "))
        })?;
    let numbers: Vec<f64> = words
        .map(|word| {
            word.parse::<f64>()
                .map_err(|_error| format!("found {word:?} for a number, {shape}"))
        })
        .collect::<Result<_, _>>()?;
    let edges = match numbers.as_slice() {
        [cx, cy, w, h] => [cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0],
        // A polygon, as segmentation datasets have: its bounding box.
        corners if corners.len() >= 6 && corners.len().is_multiple_of(2) => {
            let mut edges = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
            for corner in corners.chunks_exact(2) {
                if let [x, y] = corner {
                    edges = [
                        edges[0].min(*x),
                        edges[1].min(*y),
                        edges[2].max(*x),
                        edges[3].max(*y),
                    ];
                }
            }
            edges
        }
        other => return Err(format!("found {} numbers after the class, {shape}", other.len())),
    };
    if numbers.iter().any(|number| *number > 2.0) {
        return Err(format!("found {numbers:?}, which look like pixels: {shape}"));
    }
    let Some(class) = class.1 else { return Ok(None) };
    label(class, edges, false).map(Some)
}
