//! Finds the real files that tests use; they lie beside the project, never inside it.

use std::path::PathBuf;

/// Returns the path of a fixture, or `None` (with a line that says so) where it is absent.
pub(crate) fn fixture(path: &str) -> Option<PathBuf> {
    let folder = std::env::var("EMBERWATCH_FIXTURES").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let found = folder.join(path);
    if found.try_exists().unwrap_or(false) {
        Some(found)
    } else {
        eprintln!("skipped: {} is absent", found.display());
        None
    }
}
