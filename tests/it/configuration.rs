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
        "way_back",
        "evidence",
        "retention",
        "verify",
        "source",
    ] {
        assert!(properties.get(section).is_some(), "{section}");
    }
}

/// Returns a pipeline of one camera with these further lines.
fn with(more: &str) -> String {
    format!(
        "[[source]]\nid = 'yard'\nurl = 'rtsp://127.0.0.1:8554/yard'\nkind = 'live'\nmount = 'fixed'\n{more}"
    )
}

#[test]
fn a_private_part_is_blanked_and_not_judged_and_the_way_back_and_retention_are_read() {
    let text = with(
        "[[source.mask]]\nname = 'yard'\nkind = 'privacy'\ncorners = [[0, 0], [0.5, 0], [0, 0.5]]\n\
         [[source.mask]]\nname = 'kiln'\nkind = 'known_source'\ncorners = [[0.5, 0], [1, 0], [1, 0.5]]\n\
         [way_back]\nname = 'dispatch'\nhost = 'broker.example'\npassword = '${BROKER}'\nuser = 'ember'\n\
         [retention]\nunconfirmed_days = 7\n",
    );
    let file = load::parse(Path::new("pipeline.toml"), &text).unwrap();
    let source = &file.source[0];
    assert_eq!(source.privacy().len(), 1);
    assert_eq!(source.privacy()[0].corners[1], (0.5, 0.0));
    assert_eq!(source.masks().len(), 1);
    assert_eq!(source.masks()[0].name, "kiln");
    assert_eq!(file.way_back.unwrap().host, "broker.example");
    assert_eq!(
        (file.retention.unconfirmed_days, file.retention.confirmed_days),
        (7, 730)
    );
}

#[test]
fn mistakes_in_the_way_back_retention_and_masks_are_named_where_they_stand() {
    let text = with(
        "[[source.mask]]\nname = 'yard'\nkind = 'secret'\ncorners = [[0, 0], [0.5, 0], [0, 0.5]]\n\
         [way_back]\nname = 'dispatch'\nhost = 'broker.example'\npassword = 'hunter2'\n\
         [retention]\nunconfirmed_days = -1\n",
    );
    let problems = load::parse(Path::new("pipeline.toml"), &text)
        .unwrap_err()
        .to_string();
    for word in ["mask", "way_back", "unconfirmed_days"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
    assert!(!problems.contains("hunter2"), "{problems}");
}
