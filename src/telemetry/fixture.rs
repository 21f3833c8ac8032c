//! Finds the real files that the tests read.

use std::path::PathBuf;

/// Returns the bytes of a fixture, or says that the test is skipped.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("EMBERWATCH_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
        PathBuf::from,
    );
    let path = root.join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {} cannot be read", path.display());
    }
    bytes
}
