//! Turns confirmed and rejected incidents into training pictures.
//!
//! A confirmed incident gives its boxes; a rejected one gives pictures in which nothing burns, the most valuable
//! there are. All pictures of an incident go to the same split: they show the same thing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::judged::{self, Judged, Shown, Verdict};
use super::{Problem, label, manifest, picture};
use crate::flow::detection::Class;
use crate::stages::infer::model::sha256_hex;
use crate::store::StoreError;

/// An export that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be read.
    #[error("cannot read the incidents of {path}")]
    Store {
        /// Which folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The target is in use.
    #[error("the folder {path} is not empty: name a new one")]
    NotEmpty {
        /// Which folder.
        path: PathBuf,
    },
    /// Nothing could be taken over.
    #[error("found no picture that can be used in {path}{}", .first.as_ref().map(|problem| format!("; first problem: {problem}")).unwrap_or_default())]
    Empty {
        /// In what.
        path: PathBuf,
        /// What was wrong with the first.
        first: Option<Problem>,
    },
}

/// What an export made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// Pictures in which something burns.
    pub confirmed: usize,
    /// Pictures in which nothing burns.
    pub rejected: usize,
    /// How many of both are in the split `val`.
    pub val: usize,
    /// What was left out, and why.
    pub problems: Vec<Problem>,
}

/// Writes `images`, `labels` and `manifest.csv` into a new folder `out`, from incidents in `input` (a data folder, a file
/// of incidents, or the folder with `incidents.jsonl`); about `val_share` of the incidents go to the split `val`.
pub fn export(input: &Path, out: &Path, val_share: f64) -> Result<Exported, ExportError> {
    let (incidents, problems) = judged::read(input)?;
    let is_in_use = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if is_in_use {
        return Err(ExportError::NotEmpty { path: out.to_owned() });
    }
    for part in ["images", "labels"] {
        let path = out.join(part);
        std::fs::create_dir_all(&path).map_err(io("create", &path))?;
    }
    let mut exported = Exported {
        problems,
        ..Exported::default()
    };
    let mut rows = "name,split,source,width,height,smoke_labelled,flames,smokes,cluster\n".to_owned();
    let mut contents = BTreeSet::new();
    for incident in &incidents {
        for picture in &incident.pictures {
            let refused = |message: String| {
                Problem::new(&incident.place, format!("{}: {message}", picture.file.display()))
            };
            match Taken::new(incident, picture, val_share) {
                Ok(taken) if contents.insert(taken.digest.clone()) => {
                    taken.write(out, &mut rows)?;
                    exported.val += usize::from(taken.split == "val");
                    match incident.verdict {
                        Verdict::Confirmed => exported.confirmed += 1,
                        Verdict::Rejected => exported.rejected += 1,
                    }
                }
                Ok(_) => exported
                    .problems
                    .push(refused("the same picture was taken before".to_owned())),
                Err(message) => exported.problems.push(refused(message)),
            }
        }
    }
    if exported.confirmed + exported.rejected == 0 {
        return Err(ExportError::Empty {
            path: input.to_owned(),
            first: exported.problems.into_iter().next(),
        });
    }
    // Last, so that a folder with a manifest is a whole one.
    let path = out.join(manifest::FILE);
    std::fs::write(&path, rows).map_err(io("write", &path))?;
    Ok(exported)
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Io { action, path, source }
}

/// A picture that is taken over.
struct Taken {
    bytes: Vec<u8>,
    digest: String,
    name: String,
    ending: &'static str,
    split: &'static str,
    source: String,
    cluster: String,
    size: (u32, u32),
    labels: String,
    counts: [usize; 2],
    smoke_labelled: bool,
}

impl Taken {
    fn new(incident: &Judged, from: &Shown, val_share: f64) -> Result<Self, String> {
        let rgb = picture::open_rgb(&from.file).map_err(|error| error.to_string())?;
        let bytes = std::fs::read(&from.file).map_err(|error| error.to_string())?;
        let size = rgb.dimensions();
        let digest = sha256_hex(&bytes);
        let is_confirmed = incident.verdict == Verdict::Confirmed;
        if is_confirmed && from.boxes.is_empty() {
            return Err(
                "confirmed without a box: without labels it would teach that nothing burns".to_owned(),
            );
        }
        if !is_confirmed && from.boxes.len() > 1 {
            return Err(
                "rejected, and more than one box was called fire in it: the others may be right".to_owned(),
            );
        }
        let (mut labels, mut counts) = (String::new(), [0; 2]);
        for boxed in from.boxes.iter().filter(|_| is_confirmed) {
            let (width, height) = (f64::from(size.0), f64::from(size.1));
            let bbox = boxed.bbox;
            let edges = [
                f64::from(bbox.x0) / width,
                f64::from(bbox.y0) / height,
                f64::from(bbox.x1) / width,
                f64::from(bbox.y1) / height,
            ];
            let [x0, y0, x1, y1] = label(boxed.class, edges, false)?.edges;
            let number = usize::from(boxed.class == Class::Smoke);
            if let Some(count) = counts.get_mut(number) {
                *count += 1;
            }
            let (cx, cy) = (f64::midpoint(x0, x1), f64::midpoint(y0, y1));
            // Writing to a string cannot fail.
            writeln!(labels, "{number} {cx:.6} {cy:.6} {:.6} {:.6}", x1 - x0, y1 - y0).unwrap_or_default();
        }
        let source = plain(&from.source);
        let prefix = if source.is_empty() { "incident" } else { &source };
        let is_png = bytes.starts_with(b"\x89PNG");
        Ok(Self {
            name: format!("{prefix}_{}", digest.get(..16).unwrap_or_default()),
            ending: if is_png { "png" } else { "jpg" },
            split: split_of(&incident.id, val_share),
            source: prefix.to_owned(),
            cluster: plain(&incident.id),
            size,
            labels,
            // A fire that was confirmed by its flames may smoke without a box around it.
            smoke_labelled: !is_confirmed || counts[1] > 0,
            counts,
            bytes,
            digest,
        })
    }

    fn write(&self, out: &Path, rows: &mut String) -> Result<(), ExportError> {
        let path = out.join("images").join(format!("{}.{}", self.name, self.ending));
        std::fs::write(&path, &self.bytes).map_err(io("write", &path))?;
        let path = out.join("labels").join(format!("{}.txt", self.name));
        std::fs::write(&path, &self.labels).map_err(io("write", &path))?;
        writeln!(
            rows,
            "{},{},{},{},{},{},{},{},{}",
            self.name,
            self.split,
            self.source,
            self.size.0,
            self.size.1,
            u8::from(self.smoke_labelled),
            self.counts[0],
            self.counts[1],
            self.cluster
        )
        .unwrap_or_default();
        Ok(())
    }
}

/// Returns the split of an incident: always the same for the same id.
fn split_of(incident: &str, val_share: f64) -> &'static str {
    let digest = sha256_hex(incident.as_bytes());
    let number = digest
        .get(..8)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .unwrap_or(0);
    if f64::from(number) < val_share * f64::from(u32::MAX) {
        "val"
    } else {
        "train"
    }
}

/// Leaves letters, digits, hyphen and underscore: the rest has no place in file names and CSV.
fn plain(text: &str) -> String {
    text.chars()
        .map(|sign| {
            if sign.is_alphanumeric() || sign == '-' {
                sign
            } else {
                '_'
            }
        })
        .take(64)
        .collect()
}
