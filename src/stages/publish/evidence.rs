//! Evidence on its way out: by link, or inside the event up to a size.
//!
//! What leaves the house inside an event is the thumbnail, which shows the fire alone; the whole picture, with whatever
//! else it shows, goes only where the sink says so.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sink::BoxFuture;
use crate::flow::event::EvidenceLink;
use crate::flow::report::EvidenceKind;

/// Lends evidence files.
pub trait EvidenceFiles: Send + Sync {
    /// Returns the bytes of a file; nothing when it is not there, is larger than `limit` bytes, or is no plain name.
    fn read<'a>(&'a self, name: &'a str, limit: u64) -> BoxFuture<'a, Option<Vec<u8>>>;
}

/// Says which evidence travels inside events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InlineEvidence {
    /// Largest file, in bytes; 0 leaves it at links.
    pub bytes: u64,
    /// Whether whole pictures and clips leave the house, not only the crop of the fire.
    pub whole_pictures: bool,
}

/// The evidence folder.
#[derive(Clone, Debug)]
pub struct EvidenceFolder {
    folder: PathBuf,
}

impl EvidenceFolder {
    /// Makes a lender of the files of one folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Returns the path of a file, if its name is plain: no folder, no `..`, no hidden file, nothing strange.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        is_plain_name(name).then(|| self.folder.join(name))
    }
}

impl EvidenceFiles for EvidenceFolder {
    fn read<'a>(&'a self, name: &'a str, limit: u64) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let path = self.path(name)?;
            let task = tokio::task::spawn_blocking(move || read_up_to(&path, limit));
            task.await.ok().flatten()
        })
    }
}

/// Returns whether a name can only be a file inside the folder.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(plain)
}

fn read_up_to(path: &Path, limit: u64) -> Option<Vec<u8>> {
    // A link in the folder could lead out of it.
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// Returns whether a file may leave the house as a copy.
pub(crate) fn may_leave(link: &EvidenceLink, whole_pictures: bool) -> bool {
    whole_pictures || link.kind == EvidenceKind::Thumbnail
}

/// Returns the event's JSON with the bytes of its evidence inside, as `content` in base64 beside each link.
pub(crate) async fn with_content(
    body: &str,
    files: &dyn EvidenceFiles,
    inline: InlineEvidence,
) -> Option<String> {
    let mut event = serde_json::from_str::<Value>(body).ok()?;
    let evidence = event.pointer_mut("/data/properties/evidence")?.as_array_mut()?;
    let mut added = false;
    for entry in evidence {
        let Ok(link) = serde_json::from_value::<EvidenceLink>(entry.clone()) else {
            continue;
        };
        if link.bytes > inline.bytes || !may_leave(&link, inline.whole_pictures) {
            continue;
        }
        if let (Some(bytes), Some(entry)) =
            (files.read(&link.name, inline.bytes).await, entry.as_object_mut())
        {
            entry.insert("content".to_owned(), Value::String(STANDARD.encode(bytes)));
            added = true;
        }
    }
    added.then(|| event.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn names_with_path_tricks_are_refused() {
        for name in [
            "", "..", "../x", "a/b", "a\\b", ".hidden", "a\0b", "%2e%2e", "火.jpg",
        ] {
            assert!(!is_plain_name(name), "{name:?}");
        }
        assert!(is_plain_name("0192f3a0-thumbnail.jpg"));
    }

    #[tokio::test]
    async fn only_the_crop_of_the_fire_leaves_the_house_unless_the_sink_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("snapshot.jpg"), b"whole picture").unwrap();
        std::fs::write(folder.path().join("thumbnail.jpg"), b"fire").unwrap();
        let files = EvidenceFolder::new(folder.path());
        let body = serde_json::to_string(&samples::confirmed()).unwrap();
        let contents = async |whole_pictures| {
            let inline = InlineEvidence {
                bytes: 1000,
                whole_pictures,
            };
            let body = with_content(&body, &files, inline).await.unwrap();
            let event = serde_json::from_str::<Value>(&body).unwrap();
            let evidence = event.pointer("/data/properties/evidence").unwrap().clone();
            [
                evidence[0].get("content").cloned(),
                evidence[1].get("content").cloned(),
            ]
        };
        let fire = Some(Value::String(STANDARD.encode("fire")));
        let whole = Some(Value::String(STANDARD.encode("whole picture")));
        assert_eq!(contents(false).await, [None, fire.clone()]);
        assert_eq!(contents(true).await, [whole, fire]);
    }

    #[tokio::test]
    async fn a_file_over_the_limit_and_a_link_out_of_the_folder_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("large"), [0; 11]).unwrap();
        let files = EvidenceFolder::new(folder.path());
        assert_eq!(files.read("large", 10).await, None);
        assert_eq!(files.read("large", 11).await.unwrap().len(), 11);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link")).unwrap();
            assert_eq!(files.read("link", 1000).await, None);
        }
    }
}
