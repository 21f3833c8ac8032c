//! Where the test material lies that is not part of the project.

use std::path::PathBuf;

/// Returns the path of a fixture, or says that the test is skipped.
pub(crate) fn fixture(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("EMBERWATCH_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.try_exists().unwrap_or(false) {
        Some(path)
    } else {
        println!(
            "skipped: there is no {} (set EMBERWATCH_FIXTURES)",
            path.display()
        );
        None
    }
}
