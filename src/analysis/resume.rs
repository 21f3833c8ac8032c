//! What an earlier run into the same folder has already done.

use std::collections::BTreeSet;
use std::path::Path;

use super::summary::{InputSummary, Summary};

/// What is kept of an earlier run.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Recordings that were analysed to their end.
    pub inputs: Vec<InputSummary>,
    /// Their lines of `detections.jsonl`.
    pub detections: Vec<u8>,
    /// Their lines of `tracks.jsonl`.
    pub tracks: Vec<u8>,
}

impl Kept {
    /// Returns what was kept of a recording, if it is still the same file.
    #[must_use]
    pub fn input(&self, path: &str, sha256: Option<&str>) -> Option<&InputSummary> {
        self.inputs
            .iter()
            .find(|input| input.path == path && input.sha256.as_deref() == sha256)
    }

    /// Reads what an earlier run with the same program and model left in `folder`; nothing where it left nothing.
    #[must_use]
    pub fn read(folder: &Path, version: &str, model_sha256: &str) -> Self {
        let Ok(text) = std::fs::read_to_string(folder.join("summary.json")) else {
            return Self::default();
        };
        let Ok(summary) = serde_json::from_str::<Summary>(&text) else {
            return Self::default();
        };
        if summary.version != version || summary.model.sha256 != model_sha256 {
            return Self::default();
        }
        let inputs: Vec<InputSummary> = summary
            .inputs
            .into_iter()
            .filter(|input| input.error.is_none())
            .collect();
        let names: BTreeSet<&str> = inputs.iter().map(|input| input.path.as_str()).collect();
        let lines = |name: &str| lines_of(&folder.join(name), &names);
        Self {
            detections: lines("detections.jsonl"),
            tracks: lines("tracks.jsonl"),
            inputs,
        }
    }
}

/// Returns the lines whose `source` is one of `names`.
fn lines_of(path: &Path, names: &BTreeSet<&str>) -> Vec<u8> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    for line in text.lines() {
        let source = serde_json::from_str::<serde_json::Value>(line)
            .ok()
            .and_then(|value| {
                value
                    .get("source")
                    .and_then(|source| source.as_str().map(str::to_owned))
            });
        if source.is_some_and(|source| names.contains(source.as_str())) {
            kept.extend_from_slice(line.as_bytes());
            kept.push(b'\n');
        }
    }
    kept
}
