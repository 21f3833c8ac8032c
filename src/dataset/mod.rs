//! Labelled pictures: reads the common layouts, says what is wrong with them by file and line.
//!
//! | layout | recognised by |
//! |---|---|
//! | YOLO with a manifest | `manifest.csv` beside `images` and `labels`; columns as below |
//! | COCO | a JSON file, or a folder that holds one, with `images`, `annotations` and `categories` |
//! | plain YOLO | pictures with a `.txt` beside them or in `labels` instead of `images`; names from `data.yaml` or `classes.txt` |
//!
//! Columns of the manifest: `name`, `split` (train, val, test), and optionally `source`, `width`, `height` (pixels),
//! `smoke_labelled` (0, 1), `flames`, `smokes` (boxes), `cluster`.

pub mod coco;

pub mod export;

pub mod judged;

pub mod manifest;

mod names;

pub mod picture;

pub mod yolo;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::flow::detection::Class;
use crate::stages::infer::model::sha256_hex;

/// One thing that is wrong with a dataset.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, with its line where there is one: `labels/a.txt:3`.
    pub place: String,
    /// What was found and what was expected.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(place: impl fmt::Display, message: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            message: message.into(),
        }
    }

    pub(crate) fn at_line(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self::new(format_args!("{}:{line}", path.display()), message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// A dataset that cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no picture in it.
    #[error(
        "found no picture (JPEG or PNG) in {path}: expected images/ and labels/ with or without manifest.csv, or a \
         COCO file with its pictures"
    )]
    Empty {
        /// Which folder.
        path: PathBuf,
    },
    /// It has no such split.
    #[error("the dataset {path} has no split {split:?}, expected one of [{known}]")]
    Split {
        /// Which dataset.
        path: PathBuf,
        /// What was asked for.
        split: String,
        /// What there is.
        known: String,
    },
    /// A file of the dataset does not say what it must.
    #[error("{0}")]
    Unfit(Problem),
    /// So many labels are wrong that the figures would be of something else.
    #[error(
        "{wrong} of {pictures} pictures of {path} cannot be used, first: {}; mend the labels, or measure another split",
        .first.first().map(ToString::to_string).unwrap_or_default()
    )]
    TooManyProblems {
        /// Which dataset.
        path: PathBuf,
        /// How many pictures.
        pictures: usize,
        /// How many of them have a problem.
        wrong: usize,
        /// The first problems.
        first: Vec<Problem>,
    },
}

/// A labelled box, in shares of the picture's width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// What it is.
    pub class: Class,
    /// Left, top, right and bottom edge, 0 to 1.
    pub edges: [f64; 4],
    /// Whether it stands for a crowd: found or not, it counts neither way.
    pub is_crowd: bool,
}

/// A picture with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The file's name without its ending.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The split it belongs to, empty where there are none.
    pub split: String,
    /// Where it was taken from, empty where that is not written down.
    pub source: String,
    /// Pictures with the same number show the same thing.
    pub cluster: Option<String>,
    /// Whether smoke, where it is seen, is labelled.
    pub smoke_labelled: bool,
    /// What burns in it.
    pub labels: Vec<Label>,
    /// Width and height that the dataset claims, in pixels.
    pub claimed_size: Option<(u32, u32)>,
}

/// How a dataset is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// YOLO with `manifest.csv`.
    Manifest,
    /// COCO.
    Coco,
    /// YOLO without a manifest.
    Yolo,
}

/// A dataset, or one split of it.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Where it lies.
    pub path: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// Which split was taken, `all` for everything.
    pub split: String,
    /// The pictures that can be used, by name.
    pub pictures: Vec<Labelled>,
    /// What is wrong; the pictures concerned are left out unless the message says otherwise.
    pub problems: Vec<Problem>,
    /// What was assumed.
    pub notes: Vec<String>,
}

/// What a reader of one layout hands over.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    pub(crate) pictures: Vec<Labelled>,
    /// Problems with the split of the picture concerned.
    pub(crate) problems: Vec<(String, Problem)>,
    pub(crate) notes: Vec<String>,
}

/// How to read a dataset.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Which split; without it `val`, else `test`, else everything. `all` takes everything.
    pub split: Option<String>,
    /// Whether a picture without a label file shows nothing that burns; otherwise it is a problem.
    pub missing_labels_are_empty: bool,
    /// What the class numbers of a YOLO dataset stand for, from 0 on; empty takes the dataset's own word for it.
    pub names: Vec<String>,
}

/// Above this share of unusable pictures a dataset is refused.
const MOST_WRONG: f64 = 0.2;

impl Dataset {
    /// Reads the labels of a dataset; the pictures themselves are not opened yet.
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Self, DatasetError> {
        let unreadable = |source| DatasetError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let kind = std::fs::metadata(path).map_err(unreadable)?;
        let (layout, readings) = if kind.is_file() {
            (Layout::Coco, coco::read(&[path.to_owned()])?)
        } else if path.join(manifest::FILE).is_file() {
            (Layout::Manifest, manifest::read(path, &options.names)?)
        } else {
            let files = coco::files_in(path);
            if files.is_empty() {
                (Layout::Yolo, yolo::read(path, options)?)
            } else {
                (Layout::Coco, coco::read(&files)?)
            }
        };
        if readings.pictures.is_empty() && readings.problems.is_empty() {
            return Err(DatasetError::Empty {
                path: path.to_owned(),
            });
        }
        Self::of_split(path, layout, readings, options.split.as_deref())
    }

    fn of_split(
        path: &Path,
        layout: Layout,
        mut readings: Readings,
        wanted: Option<&str>,
    ) -> Result<Self, DatasetError> {
        let mut splits: Vec<String> = readings
            .pictures
            .iter()
            .map(|picture| picture.split.clone())
            .chain(readings.problems.iter().map(|(split, _)| split.clone()))
            .filter(|split| !split.is_empty())
            .collect();
        splits.sort();
        splits.dedup();
        let split = choose_split(&splits, wanted).ok_or_else(|| DatasetError::Split {
            path: path.to_owned(),
            split: wanted.unwrap_or_default().to_owned(),
            known: [splits.clone(), vec![EVERYTHING.to_owned()]].concat().join(", "),
        })?;
        let twins = twins_across_splits(&readings.pictures, &splits, &split);
        let is_taken = |of: &str| split == EVERYTHING || of.is_empty() || of == split;
        readings.pictures.retain(|picture| is_taken(&picture.split));
        readings.pictures.sort_by(|one, other| one.path.cmp(&other.path));
        let mut problems: Vec<Problem> = readings
            .problems
            .into_iter()
            .filter(|(of, _)| is_taken(of))
            .map(|(_, problem)| problem)
            .collect();
        let (usable, wrong) = (readings.pictures.len(), problems.len());
        if usable == 0 || wrong as f64 > MOST_WRONG * (usable + wrong) as f64 {
            return Err(DatasetError::TooManyProblems {
                path: path.to_owned(),
                pictures: usable + wrong,
                wrong,
                first: problems.into_iter().take(20).collect(),
            });
        }
        problems.extend(twins);
        Ok(Self {
            path: path.to_owned(),
            layout,
            split,
            pictures: readings.pictures,
            problems,
            notes: readings.notes,
        })
    }
}

/// The word for all splits together.
pub const EVERYTHING: &str = "all";

fn choose_split(splits: &[String], wanted: Option<&str>) -> Option<String> {
    let has = |name: &str| splits.iter().any(|split| split == name);
    match wanted.map(canonical_split) {
        Some(wanted) if wanted == EVERYTHING || has(&wanted) => Some(wanted),
        // A dataset without splits is its own validation set.
        Some(wanted) if splits.is_empty() && wanted == "val" => Some(EVERYTHING.to_owned()),
        Some(_) => None,
        None => Some(
            ["val", "test"]
                .into_iter()
                .find(|name| has(name))
                .unwrap_or(EVERYTHING)
                .to_owned(),
        ),
    }
}

/// The usual words for splits.
pub(crate) const SPLITS: [&str; 3] = ["train", "val", "test"];

/// Returns the usual word for a split.
pub(crate) fn canonical_split(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "val" | "valid" | "validation" => "val".to_owned(),
        "train" | "training" => "train".to_owned(),
        "test" | "testing" => "test".to_owned(),
        other => other.to_owned(),
    }
}

/// Finds pictures of the split that stand in another as well; of everything, those that stand in any two splits.
fn twins_across_splits(pictures: &[Labelled], splits: &[String], split: &str) -> Vec<Problem> {
    if split != EVERYTHING {
        return twins_of(pictures, split, |other| other != split);
    }
    // Each pair of splits once.
    let of_one = |one: &String| twins_of(pictures, one, |other| other < one.as_str());
    splits.iter().flat_map(of_one).collect()
}

/// Finds pictures of the split that stand in another as well: by cluster, by name and by content.
fn twins_of(pictures: &[Labelled], split: &str, is_other: impl Fn(&str) -> bool) -> Vec<Problem> {
    let size_of = |picture: &Labelled| std::fs::metadata(&picture.path).map_or(0, |file| file.len());
    let mut clusters: BTreeMap<&str, &Labelled> = BTreeMap::new();
    let mut names: BTreeMap<&str, &Labelled> = BTreeMap::new();
    let mut sizes: BTreeMap<u64, Vec<&Labelled>> = BTreeMap::new();
    let others = pictures
        .iter()
        .filter(|picture| !picture.split.is_empty() && is_other(&picture.split));
    for other in others {
        names.entry(&other.name).or_insert(other);
        sizes.entry(size_of(other)).or_default().push(other);
        if let Some(cluster) = &other.cluster {
            clusters.entry(cluster).or_insert(other);
        }
    }
    let mut twins = Vec::new();
    for picture in pictures.iter().filter(|picture| picture.split == split) {
        let report = |how: &str, other: &Labelled| {
            Problem::new(
                picture.path.display(),
                format!(
                    "{how} as {} of the split {:?}: figures on it are too good (it was kept)",
                    other.path.display(),
                    other.split
                ),
            )
        };
        let by_cluster = picture
            .cluster
            .as_deref()
            .and_then(|cluster| clusters.get(cluster));
        if let Some(other) = by_cluster {
            twins.push(report("the same cluster", other));
        } else if let Some(other) = names.get(picture.name.as_str()) {
            twins.push(report("the same name", other));
        } else if let Some(same_size) = sizes.get(&size_of(picture)) {
            let Some(own) = digest(&picture.path) else {
                continue;
            };
            if let Some(other) = same_size
                .iter()
                .find(|other| digest(&other.path).as_ref() == Some(&own))
            {
                twins.push(report("the same content", other));
            }
        }
    }
    twins
}

fn digest(path: &Path) -> Option<String> {
    std::fs::read(path).ok().map(|bytes| sha256_hex(&bytes))
}

/// Makes a label out of edges in shares of the picture: those a rounding outside are cut, those far outside refused.
///
/// Returns what is wrong instead when no box can be meant.
pub(crate) fn label(class: Class, edges: [f64; 4], is_crowd: bool) -> Result<Label, String> {
    const ROUNDING: f64 = 0.01;
    let [x0, y0, x1, y1] = edges;
    if edges.iter().any(|edge| !edge.is_finite()) {
        return Err("found a box with a number that is not finite".to_owned());
    }
    if x1 <= x0 || y1 <= y0 {
        return Err(format!(
            "found a box of width {:.4} and height {:.4}, expected both above 0",
            x1 - x0,
            y1 - y0
        ));
    }
    if edges
        .iter()
        .any(|edge| !(-ROUNDING..=1.0 + ROUNDING).contains(edge))
    {
        return Err(format!(
            "found a box from ({x0:.4}, {y0:.4}) to ({x1:.4}, {y1:.4}), expected it inside the picture (0 to 1)"
        ));
    }
    Ok(Label {
        class,
        edges: edges.map(|edge| edge.clamp(0.0, 1.0)),
        is_crowd,
    })
}

#[cfg(test)]
mod tests;
