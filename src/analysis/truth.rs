//! What is true of a recording: from when on it burns, and where in the picture.
//!
//! A simulated scene brings its truth beside it (`NAME.scene.json`, `NAME.truth.jsonl`). For other recordings a table
//! says it: `recording,burns_from_s` with the file's name and seconds, nothing after the comma where nothing burns.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dataset::Problem;
use crate::flow::detection::BBox;
use crate::simulator::{SceneRecord, Truth};

/// From when on a recording shows a fire, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipTruth {
    /// The first moment at which something that burns can be seen, in seconds; none where nothing burns.
    pub burns_from_s: Option<f64>,
    /// What burns in each frame, by time in seconds; empty where that is not known.
    pub frames: Vec<(f64, Vec<BBox>)>,
}

impl ClipTruth {
    /// Reads the truth beside a simulated recording; nothing where there is none.
    pub fn beside(recording: &Path) -> Result<Option<Self>, Problem> {
        let path = recording.with_extension("scene.json");
        if !path.is_file() {
            return Ok(None);
        }
        let unreadable = |error: &dyn std::fmt::Display| Problem::new(path.display(), error.to_string());
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
        let record: SceneRecord = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
        let frames = simulated(recording)?
            .into_iter()
            .map(|truth| (truth.pts_s, truth.boxes.iter().map(|seen| seen.bbox).collect()))
            .collect();
        Ok(Some(Self {
            burns_from_s: record.first_visible.map(|(_, second)| second),
            frames,
        }))
    }

    /// Returns whether a box at a moment touches what burns then; `None` where no boxes are known.
    #[must_use]
    pub fn touches(&self, at_s: f64, bbox: &BBox) -> Option<bool> {
        let place = self.frames.partition_point(|(second, _)| *second <= at_s + 1e-6);
        let (_, boxes) = self.frames.get(place.checked_sub(1)?)?;
        Some(boxes.iter().any(|there| there.intersection(bbox) > 0.0))
    }
}

/// Reads what is true of every frame of a simulated recording.
pub fn simulated(recording: &Path) -> Result<Vec<Truth>, Problem> {
    let path = recording.with_extension("truth.jsonl");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Problem::new(path.display(), format!("cannot be read: {error}")))?;
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                Problem::at_line(&path, index + 1, format!("expected a frame's truth: {error}"))
            })
        })
        .collect()
}

/// Reads a table of recordings, by file name.
pub fn table(path: &Path) -> Result<BTreeMap<String, ClipTruth>, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Problem::new(path.display(), format!("cannot be read: {error}")))?;
    let mut truths = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |found: &str| {
            Problem::at_line(
                path,
                index + 1,
                format!(
                    "found {found:?}, expected `recording,burns_from_s`: a file's name, then seconds, or nothing where \
                     nothing burns"
                ),
            )
        };
        if line.trim().is_empty() || line.trim() == "recording,burns_from_s" {
            continue;
        }
        let (name, from) = line.rsplit_once(',').ok_or_else(|| wrong(line))?;
        let burns_from_s = match from.trim() {
            "" => None,
            number => Some(
                number
                    .parse::<f64>()
                    .ok()
                    .filter(|second| second.is_finite() && *second >= 0.0)
                    .ok_or_else(|| wrong(number))?,
            ),
        };
        let truth = ClipTruth {
            burns_from_s,
            frames: Vec::new(),
        };
        if truths.insert(name.trim().to_owned(), truth).is_some() {
            return Err(Problem::at_line(
                path,
                index + 1,
                format!("names {:?} a second time", name.trim()),
            ));
        }
    }
    Ok(truths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_what_burns_and_its_faults_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clips.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            table(&path)
        };
        let truths = read("recording,burns_from_s\nhouse.mp4,0.5\nyard, night.mp4,\n").unwrap();
        assert_eq!(truths["house.mp4"].burns_from_s, Some(0.5));
        assert_eq!(truths["yard, night.mp4"].burns_from_s, None);
        for (text, place) in [
            ("a.mp4,1\nb.mp4,soon\n", "clips.csv:2"),
            ("a.mp4\n", "clips.csv:1"),
            ("a.mp4,-1\n", "clips.csv:1"),
            ("a.mp4,1\na.mp4,2\n", "clips.csv:2"),
        ] {
            let problem = read(text).unwrap_err().to_string();
            assert!(problem.contains(place), "{problem}");
        }
    }

    #[test]
    fn a_box_touches_only_what_burns_at_that_moment() {
        let here = BBox::new(10.0, 10.0, 20.0, 20.0);
        let truth = ClipTruth {
            burns_from_s: Some(1.0),
            frames: vec![(0.0, vec![]), (1.0, vec![here])],
        };
        assert_eq!(truth.touches(0.9, &here), Some(false));
        assert_eq!(truth.touches(1.5, &BBox::new(19.0, 19.0, 40.0, 40.0)), Some(true));
        assert_eq!(
            truth.touches(1.5, &BBox::new(20.0, 10.0, 40.0, 40.0)),
            Some(false)
        );
        assert_eq!(ClipTruth::default().touches(1.0, &here), None);
    }
}
