//! Who may import what.

use std::path::{Path, PathBuf};

/// Returns every Rust file under `src`, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    files
}

/// Returns the lines that use one of `words` outside the files that may.
fn offenders(words: &[&str], may: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources() {
        if may(&path) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            if !code.starts_with("//") && words.iter().any(|word| code.contains(word)) {
                found.push(format!("{}:{}: {code}", path.display(), number + 1));
            }
        }
    }
    found
}

#[test]
fn gstreamer_is_used_in_files_called_gst_alone() {
    let found = offenders(&["use gstreamer", "gstreamer::", "gstreamer_app::"], |path| {
        path.file_name().is_some_and(|name| name == "gst.rs")
            || path.components().any(|part| part.as_os_str() == "gst")
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn onnx_runtime_is_used_in_files_called_ort_alone() {
    let found = offenders(
        &["ort::session::", "ort::inputs!", "ort::value::", "use ::ort"],
        |path| path.file_name().is_some_and(|name| name == "ort.rs"),
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn threads_are_spawned_by_the_runner_alone() {
    let found = offenders(&["thread::spawn(", "thread::Builder"], |path| {
        // A change of state that hangs must be left behind with its thread: the runner's threads are joined.
        path.ends_with("pipeline/runner.rs") || path.ends_with("stages/ingest/state/gst.rs")
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_nouns_import_no_verbs() {
    let found = offenders(
        &[
            "crate::stages",
            "crate::pipeline",
            "crate::store",
            "crate::cli",
            "crate::console",
            "crate::config",
        ],
        |path| !path.starts_with("flow"),
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_but_the_command_line_prints() {
    let found = offenders(&["println!(", "eprintln!(", "print!("], |path| {
        path.starts_with("cli")
            || path == Path::new("main.rs")
            || path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with("tests.rs"))
            || path.components().any(|part| part.as_os_str() == "tests")
    });
    let found: Vec<_> = found
        .into_iter()
        .filter(|line| {
            // Unit tests at the end of a file may say that they are skipped.
            !line.contains("skipped:")
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}
