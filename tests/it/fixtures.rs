//! Finds the real files that tests read.

use std::path::{Path, PathBuf};

/// Returns a file of the fixtures folder; where that is absent, says so and returns nothing.
///
/// The folder is given by `EMBERWATCH_FIXTURES`, or lies beside the repository.
pub(crate) fn fixture(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("EMBERWATCH_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let file = folder.join(path);
    if file.is_file() {
        Some(file)
    } else {
        println!("skipped: there is no fixture {}", file.display());
        None
    }
}
