//! Every pipeline that ships is sound.

use std::path::{Path, PathBuf};

use emberwatch::config::load;

use super::servers::Authority;

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

#[test]
fn a_mask_of_a_preset_names_one_that_the_camera_has_and_is_not_private() {
    let camera = "[source.ptz]\nservice = 'http://127.0.0.1/onvif/ptz_service'\nprofile = 'p'\n\
        mast = { lat = 35.19, lon = 113.25, height = { metres = 40, datum = 'ground' } }\n\
        [[source.ptz.preset]]\nname = 'north'\nattitude = { yaw_deg = 0, pitch_deg = -3, roll_deg = 0 }\n";
    let mask = |preset: &str, kind: &str| {
        format!(
            "[[source.mask]]\nname = 'kiln'\nkind = '{kind}'\npreset = '{preset}'\ncorners = [[0, 0], [0.5, 0], [0, 0.5]]\n"
        )
    };
    let parse = |text: &str| load::parse(Path::new("pipeline.toml"), &with(text));
    let file = parse(&(camera.to_owned() + &mask("north", "known_source"))).unwrap();
    let masks = file.source[0].masks();
    assert!(masks[0].holds_at(Some("north")) && !masks[0].holds_at(Some("east")) && !masks[0].holds_at(None));
    for (text, said) in [
        (
            camera.to_owned() + &mask("nrth", "ignore"),
            "expected one of [\"north\"]",
        ),
        (mask("north", "ignore"), "there is no preset"),
        (
            camera.to_owned() + &mask("north", "privacy"),
            "blanked at every one",
        ),
    ] {
        let problems = parse(&text).unwrap_err().to_string();
        assert!(
            problems.contains("mask[0].preset") && problems.contains(said),
            "{problems}"
        );
    }
}

#[test]
fn a_check_names_every_sink_that_could_not_work() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write(folder.path());
    let (old, old_key) = authority.issue(folder.path(), "old", true);
    let (new, new_key) = authority.issue(folder.path(), "new", false);
    let mqtt = |name: &str, certificate: &str, key: &str| {
        format!(
            "[[sink]]\nname = '{name}'\nto = {{ kind = 'mqtt', host = 'broker.example', tls = {{ ca = '{ca}', \
             certificate = '{certificate}', key = '{key}' }} }}\n"
        )
    };
    let hook = "[[sink]]\nname = 'hook'\nto = { kind = 'webhook', url = 'https://dispatch.example/', \
                secrets = ['${EMBERWATCH_NOT_SET_ANYWHERE}'] }\n";
    let house = "[[sink]]\nname = 'house'\nto = { kind = 'gb28181', url = 'http://127.0.0.1/', \
                 device_id = '64010000001340000001' }\n";
    let check = |text: &str| {
        let path = folder.path().join("pipeline.toml");
        std::fs::write(&path, with(text)).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .arg("check")
            .arg(&path)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let text = mqtt("sound", &new, &new_key) + &mqtt("stale", &old, &old_key) + hook + house;
    let (code, said) = check(&text);
    assert_eq!(code, 1, "{said}");
    for word in [
        "sink[1] \"stale\": certificate has expired",
        "EMBERWATCH_NOT_SET_ANYWHERE",
        "sink[3] \"house\"",
        "allow_networks",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("sink[0]"), "{said}");
    let (code, said) = check("[[sink]]\nname = 'bird'\nto = { kind = 'pigeon' }\n");
    assert_eq!(code, 1);
    assert!(said.contains("pigeon") && said.contains("webhook"), "{said}");
}
