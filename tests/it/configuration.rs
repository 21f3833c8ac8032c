//! Every pipeline that ships is sound.

use std::path::{Path, PathBuf};

use emberwatch::config::load;

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_shipped_pipeline_loads_without_a_problem() {
    let files = shipped();
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        if let Err(problems) = load::read(&path) {
            panic!("{problems}");
        }
    }
}

#[test]
fn the_schema_names_every_section() {
    let schema = load::schema();
    let properties = schema.get("properties").unwrap();
    for section in [
        "model",
        "service",
        "console",
        "incidents",
        "sink",
        "evidence",
        "verify",
        "source",
    ] {
        assert!(properties.get(section).is_some(), "{section}");
    }
}
