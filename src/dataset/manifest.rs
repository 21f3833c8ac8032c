//! YOLO with `manifest.csv`, the layout of this project's own training pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::names;
use super::yolo::{is_picture, read_labels, stem};
use super::{DatasetError, Label, Labelled, Problem, Readings, SPLITS, canonical_split};
use crate::flow::detection::Class;

/// The manifest's file name.
pub const FILE: &str = "manifest.csv";

/// Reads a folder with `manifest.csv`, `images` and `labels`.
pub(crate) fn read(root: &Path, words: &[String]) -> Result<Readings, DatasetError> {
    let path = root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| DatasetError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let mut lines = text.lines().enumerate();
    let columns = Columns::read(lines.next().map_or("", |(_, line)| line))
        .map_err(|message| DatasetError::Unfit(Problem::at_line(&path, 1, message)))?;
    let files = picture_files(&root.join("images"))?;
    let names = if words.is_empty() {
        names::find(root).map_or_else(names::of_this_project, |(names, _, _)| names)
    } else {
        names::of_words(words)
    };
    let mut readings = Readings::default();
    let mut seen = BTreeSet::new();
    let mut swapped = Swapped::default();
    for (index, line) in lines {
        if line.trim().is_empty() {
            continue;
        }
        let row = columns.row(line);
        // A row of an unknown split is a problem of every split.
        let split = row.split().unwrap_or_default();
        let mut refuse = |problem| readings.problems.push((split.clone(), problem));
        let name = row.field("name").unwrap_or_default();
        if name.is_empty() {
            refuse(Problem::at_line(&path, index + 1, "found no name"));
            continue;
        }
        if !seen.insert(name.to_owned()) {
            refuse(Problem::at_line(
                &path,
                index + 1,
                format!("{name:?} stands there twice"),
            ));
            continue;
        }
        let Some(file) = files.get(name) else {
            let message = format!("images/ holds no picture called {name:?}");
            refuse(Problem::at_line(&path, index + 1, message));
            continue;
        };
        let said = match row.read() {
            Ok(said) => said,
            Err(message) => {
                refuse(Problem::at_line(&path, index + 1, message));
                continue;
            }
        };
        let labels_path = root.join("labels").join(format!("{name}.txt"));
        let labels = match read_labels(&labels_path, &names) {
            Ok(labels) => labels,
            Err(problem) => {
                refuse(problem.problem);
                continue;
            }
        };
        if let Some(message) = swapped.compare(&said, index + 1, &labels) {
            refuse(Problem::at_line(
                &path,
                index + 1,
                format!("{message} in {}", labels_path.display()),
            ));
            continue;
        }
        readings.pictures.push(Labelled {
            name: name.to_owned(),
            path: root.join("images").join(file),
            source: row.field("source").unwrap_or_default().to_owned(),
            cluster: row.field("cluster").map(ToOwned::to_owned),
            smoke_labelled: said.smoke_labelled,
            labels,
            claimed_size: said.size,
            split: said.split,
        });
    }
    swapped.check(&path)?;
    let unlisted: Vec<_> = files.keys().filter(|name| !seen.contains(*name)).collect();
    if let Some(first) = unlisted.first() {
        readings.notes.push(format!(
            "{} picture(s) in images/ are not in {FILE} and were left out, first {first:?}",
            unlisted.len()
        ));
    }
    Ok(readings)
}

/// Returns the pictures of a folder by their name without its ending.
fn picture_files(folder: &Path) -> Result<BTreeMap<String, String>, DatasetError> {
    let unreadable = |source| DatasetError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if let (true, Some(file)) = (is_picture(&path), path.file_name()) {
            files.insert(stem(&path), file.to_string_lossy().into_owned());
        }
    }
    Ok(files)
}

/// The columns of the manifest by name.
struct Columns(BTreeMap<String, usize>);

impl Columns {
    fn read(header: &str) -> Result<Self, String> {
        let columns: BTreeMap<_, _> = header
            .trim_start_matches('\u{feff}')
            .split(',')
            .enumerate()
            .map(|(place, name)| (name.trim().to_owned(), place))
            .collect();
        for needed in ["name", "split"] {
            if !columns.contains_key(needed) {
                return Err(format!(
                    "found the columns {header:?}, expected name and split among them"
                ));
            }
        }
        Ok(Self(columns))
    }

    fn row<'r>(&'r self, line: &'r str) -> Row<'r> {
        Row {
            columns: self,
            fields: line.split(',').map(str::trim).collect(),
        }
    }
}

struct Row<'r> {
    columns: &'r Columns,
    fields: Vec<&'r str>,
}

impl<'r> Row<'r> {
    /// Returns a field; nothing where it is empty or there is no such column.
    fn field(&self, name: &str) -> Option<&'r str> {
        let place = self.columns.0.get(name)?;
        self.fields.get(*place).copied().filter(|field| !field.is_empty())
    }

    /// Reads what is written of the picture besides its name, or says what is wrong with it.
    fn read(&self) -> Result<Said, String> {
        Ok(Said {
            split: self.split()?,
            smoke_labelled: self.smoke_labelled()?,
            flames: self.number("flames")?,
            smokes: self.number("smokes")?,
            size: self.number("width")?.zip(self.number("height")?),
        })
    }

    fn split(&self) -> Result<String, String> {
        let word = self.field("split").unwrap_or_default();
        Some(canonical_split(word))
            .filter(|split| SPLITS.contains(&split.as_str()))
            .ok_or_else(|| {
                format!(
                    "found the split {word:?}, expected {}: correct it, or remove the line",
                    SPLITS.join(", ")
                )
            })
    }

    fn smoke_labelled(&self) -> Result<bool, String> {
        const COLUMN: &str = "smoke_labelled";
        match self.field(COLUMN) {
            Some("0") => Ok(false),
            Some("1") => Ok(true),
            None if !self.columns.0.contains_key(COLUMN) => Ok(true),
            other => Err(format!(
                "found {COLUMN} {:?}, expected 0 or 1: write 0 where smoke may be seen that has no box, else 1",
                other.unwrap_or_default()
            )),
        }
    }

    /// Reads a number; an empty field says that it is not known.
    fn number(&self, name: &str) -> Result<Option<u32>, String> {
        self.field(name)
            .map(|field| {
                field.parse().map_err(|_error| {
                    format!(
                        "found {name} {field:?}, expected a whole number: correct it, or leave it empty where it is \
                         not known"
                    )
                })
            })
            .transpose()
    }
}

/// What a row says of its picture.
struct Said {
    split: String,
    smoke_labelled: bool,
    flames: Option<u32>,
    smokes: Option<u32>,
    size: Option<(u32, u32)>,
}

/// Watches whether the label files count flames and smokes as the manifest does, or the other way round.
#[derive(Default)]
struct Swapped {
    compared: usize,
    reversed: usize,
    /// Where the manifest first says otherwise.
    first_line: Option<usize>,
}

impl Swapped {
    /// Returns what is wrong when a picture's boxes are not as many as the manifest says.
    fn compare(&mut self, said: &Said, line: usize, labels: &[Label]) -> Option<String> {
        let (flames, smokes) = (said.flames?, said.smokes?);
        let count = |class| labels.iter().filter(|label| label.class == class).count() as u32;
        let found = (count(Class::Flame), count(Class::Smoke));
        if flames != smokes {
            self.compared += 1;
            if found == (smokes, flames) {
                self.reversed += 1;
                self.first_line.get_or_insert(line);
            }
        }
        (found != (flames, smokes)).then(|| {
            format!(
                "the manifest says {flames} flame(s) and {smokes} smoke(s), there are {} and {}",
                found.0, found.1
            )
        })
    }

    fn check(&self, path: &Path) -> Result<(), DatasetError> {
        if self.compared > 0 && self.reversed * 2 > self.compared {
            return Err(DatasetError::Unfit(Problem::at_line(
                path,
                self.first_line.unwrap_or(1),
                format!(
                    "in {} of {} label files flames and smokes are the other way round than the manifest says: wrong \
                     class order, expected 0 flame and 1 smoke (or a classes.txt that says otherwise)",
                    self.reversed, self.compared
                ),
            )));
        }
        Ok(())
    }
}
