//! What people said of incidents, with the clean frames that show them: out of the data folder, or out of a file.
//!
//! The file is JSON lines, one incident a line, with clean pictures (no boxes drawn in) named relative to it:
//!
//! ```json
//! {"incident": "018f…", "verdict": "confirmed", "pictures": [
//!   {"file": "evidence/a.jpg", "source": "tower-1", "boxes": [{"class": "smoke", "box": [10, 20, 110, 90]}]}]}
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Problem;
use super::export::ExportError;
use crate::flow::incident::{ActorKind, Incident, RejectReason, State};
use crate::flow::report::EvidenceKind;
use crate::stages::evidence::clean::{Seen, seen_in};
use crate::stages::report::file_word;
use crate::store::{IncidentFilter, Store, StoreError};

/// The file's usual name.
pub const FILE: &str = "incidents.jsonl";

/// What a person said of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It burned.
    Confirmed,
    /// It did not.
    Rejected,
}

/// An incident that was judged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Judged {
    #[serde(rename = "incident")]
    pub(super) id: String,
    pub(super) verdict: Verdict,
    pub(super) pictures: Vec<Shown>,
    /// Where it stands, for messages.
    #[serde(skip)]
    pub(super) place: String,
}

/// A picture that shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    pub(super) file: PathBuf,
    #[serde(default)]
    pub(super) source: String,
    #[serde(default)]
    #[expect(dead_code, reason = "part of the input, says when, needed by nobody here")]
    captured_at: Option<String>,
    #[serde(default)]
    pub(super) boxes: Vec<Seen>,
}

/// Reads judged incidents out of `input`: a data folder, a file of incidents, or a folder that holds one. Returns with
/// them what was left out.
pub(super) fn read(input: &Path) -> Result<(Vec<Judged>, Vec<Problem>), ExportError> {
    if Store::is_in(input) {
        return Store::open_read_only(input)
            .and_then(|store| of_store(&store))
            .map_err(|source| ExportError::Store {
                path: input.to_owned(),
                source,
            });
    }
    let file = if input.is_dir() {
        input.join(FILE)
    } else {
        input.to_owned()
    };
    let text = std::fs::read_to_string(&file).map_err(|source| ExportError::Io {
        action: "read",
        path: file.clone(),
        source,
    })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let (mut judged, mut problems) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Judged>(line) {
            Ok(mut incident) => {
                incident.place = format!("{}:{}", file.display(), index + 1);
                for picture in &mut incident.pictures {
                    picture.file = folder.join(&picture.file);
                }
                judged.push(incident);
            }
            Err(error) => problems.push(Problem::at_line(
                &file,
                index + 1,
                format!("expected an incident with its verdict and pictures: {error}"),
            )),
        }
    }
    Ok((judged, problems))
}

/// Reads the incidents on which a person, or the dispatch system, has the last word. What only a rule confirmed is
/// left out: a model must not learn from its own opinion.
fn of_store(store: &Store) -> Result<(Vec<Judged>, Vec<Problem>), StoreError> {
    let (mut judged, mut problems) = (Vec::new(), Vec::new());
    let mut filter = IncidentFilter {
        drill: Some(false),
        limit: 1_000,
        ..IncidentFilter::default()
    };
    loop {
        let page = store.incidents(&filter)?;
        for incident in &page.incidents {
            let place = format!("incident {}", incident.id);
            match verdict(store, incident)? {
                Ok(verdict) => {
                    let mut pictures = Vec::new();
                    for shown in pictures_of(store, incident)? {
                        match shown {
                            Ok(picture) => pictures.push(picture),
                            Err(message) => problems.push(Problem::new(&place, message)),
                        }
                    }
                    judged.push(Judged {
                        id: incident.id.to_string(),
                        verdict,
                        pictures,
                        place,
                    });
                }
                Err(message) => problems.push(Problem::new(&place, message)),
            }
        }
        let Some(mark) = page.next else { break };
        filter.after = Some(mark);
    }
    // Oldest first, so that a later export begins as an earlier one did.
    judged.reverse();
    Ok((judged, problems))
}

/// Returns what was said of an incident, or why nothing can be learnt from it.
fn verdict(store: &Store, incident: &Incident) -> Result<Result<Verdict, String>, StoreError> {
    if incident.state == State::Rejected {
        return Ok(match incident.reject_reason {
            Some(
                RejectReason::Steam
                | RejectReason::Dust
                | RejectReason::Fog
                | RejectReason::Sunlight
                | RejectReason::VehicleLight,
            ) => Ok(Verdict::Rejected),
            // It burns, though nobody has to act.
            Some(RejectReason::PermittedBurn | RejectReason::Ritual) => Ok(Verdict::Confirmed),
            Some(reason) => Err(format!(
                "rejected as {}, which does not say whether it burned",
                reason.name()
            )),
            None => Err("rejected without a reason".to_owned()),
        });
    }
    if matches!(incident.state, State::Suspected | State::Merged) {
        return Ok(Err(format!("{}: nobody has judged it", incident.state.name())));
    }
    let is_judged = store.history(incident.id)?.iter().any(|line| {
        matches!(
            line.transition.actor.kind,
            ActorKind::Person | ActorKind::Dispatch
        ) && !matches!(
            line.transition.to,
            State::Suspected | State::Rejected | State::Merged
        )
    });
    Ok(if is_judged {
        Ok(Verdict::Confirmed)
    } else {
        Err("confirmed by a rule alone: nobody has judged it".to_owned())
    })
}

/// Returns the clean frames of an incident, or why one cannot be used.
fn pictures_of(store: &Store, incident: &Incident) -> Result<Vec<Result<Shown, String>>, StoreError> {
    let mut pictures = Vec::new();
    for stored in store.evidence_of(incident.id)? {
        if stored.file.kind != EvidenceKind::Frame || stored.deleted_at.is_some() {
            continue;
        }
        let file = store.evidence_folder().join(&stored.file.name);
        let boxes = std::fs::read(&file)
            .map_err(|error| error.to_string())
            .and_then(|bytes| seen_in(&bytes).ok_or_else(|| "does not say what was seen in it".to_owned()));
        pictures.push(match boxes {
            Ok(boxes) => Ok(Shown {
                source: incident
                    .views
                    .iter()
                    .map(|view| view.source.as_str())
                    .find(|source| stored.file.name.starts_with(&format!("{}-", file_word(source))))
                    .unwrap_or_default()
                    .to_owned(),
                file,
                captured_at: None,
                boxes,
            }),
            Err(message) => Err(format!("{}: {message}", stored.file.name)),
        });
    }
    Ok(pictures)
}
