//! The service and the dispatch system: `emberwatch run` as a child with a broker, a person on the command line and a
//! disk that fails.

use std::path::Path;
use std::process::Command;

use emberwatch::clock::{Clock as _, SystemClock};
use emberwatch::flow::incident::{Incident, IncidentId, State};
use emberwatch::flow::report::{Evidence, EvidenceKind};
use emberwatch::stages::publish::samples;
use emberwatch::store::{Change, Store};
use jiff::SignedDuration;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::analysis::has_runtime;
use crate::dispatch_brokers::Listener;
use crate::dispatch_damage::read_only_disk;
use crate::faults::Server;
use crate::fixtures::fixture;
use crate::servers::{Program, free_port};
use crate::service::{Service, write_pipeline};

/// Puts an incident as a service left it into the data folder: opened so many days ago, in this state, with a file.
fn leave(store: &Store, number: u128, state: State, days_ago: i64) -> IncidentId {
    let now = SystemClock::new().wall() - SignedDuration::from_hours(24 * days_ago);
    let name = format!("{number}-thumbnail.jpg");
    std::fs::write(store.evidence_folder().join(&name), b"0123456789abc").unwrap();
    let mut incident: Incident = samples::incident(number);
    incident.revision = 1;
    incident.state = state;
    incident.opened_at = now;
    incident.changed_at = now;
    incident.first_seen.at = now;
    incident.last_seen.at = now;
    incident.evidence = vec![Evidence {
        kind: EvidenceKind::Thumbnail,
        name,
        ..incident.evidence[1].clone()
    }];
    store
        .commit(
            &[Change {
                transition: samples::transition(&incident),
                events: vec![samples::event_of(&incident)],
                evidence: incident.evidence.clone(),
                incident: incident.clone(),
            }],
            now,
        )
        .unwrap();
    incident.id
}

fn append(folder: &Path, more: &str) {
    let path = folder.join("pipeline.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, more.to_owned() + &text).unwrap();
}

fn mosquitto_pub(port: u16, topic: &str, message: &str) {
    let status = Command::new("mosquitto_pub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-q",
            "1",
            "-t",
            topic,
            "-m",
            message,
        ])
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_takes_acts_by_mqtt_and_from_the_command_line_and_keeps_to_retention() {
    let folder = tempfile::tempdir().unwrap();
    if !has_runtime() {
        return;
    }
    let Some(broker) = Program::mosquitto(folder.path(), free_port(), "").await else {
        return;
    };
    let answers = Listener::start(broker.port, "emberwatch/v1/command/incident/+/answer").await;
    let store = Store::open(&folder.path().join("data")).unwrap();
    let dispatched = leave(&store, 1, State::Dispatched, 0);
    let forgotten = leave(&store, 2, State::Suspected, 31);
    drop(store);
    // A camera that cannot be reached: whatever it does, the rest of the service works.
    write_pipeline(folder.path(), &[("gone", "rtsp://127.0.0.1:9/none", "")]);
    append(
        folder.path(),
        &format!(
            "[way_back]\nname = 'dispatch'\nhost = '127.0.0.1'\nport = {}\n\
             [retention]\nunconfirmed_days = 30\n",
            broker.port
        ),
    );
    let service = Service::start(folder.path());
    let state = |it: &Service, id: IncidentId| -> Value {
        let (status, body) = it.get(&format!("/api/v1/incidents/{id}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["state"].clone()
    };
    // An act that comes before the way is open is lost with QoS 1 too, as nobody is subscribed: it is sent again, which
    // changes nothing when it was taken.
    let topic = format!("emberwatch/v1/command/incident/{dispatched}");
    service.until("the act of the dispatch system", |it| {
        mosquitto_pub(broker.port, &topic, r#"{"action":"accept"}"#);
        state(it, dispatched) == "accepted"
    });
    mosquitto_pub(broker.port, &topic, r#"{"action":"confirm"}"#);
    service.until("the refusal of what is not for it to judge", |_| {
        answers
            .events()
            .iter()
            .any(|answer| answer["problem"]["type"] == "urn:emberwatch:problem:wrong-role")
    });
    assert!(
        answers
            .events()
            .iter()
            .any(|answer| answer["done"] == json!(true))
    );
    service.until("the event of what was accepted", |it| {
        it.events()
            .iter()
            .any(|event| event["type"] == "emberwatch.incident.accepted.v1")
    });

    let command = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .args(arguments)
            .env("EMBERWATCH_DATA", folder.path().join("data"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    command(&["incidents", "confirm", &forgotten.to_string(), "--as", "李"]);
    assert_eq!(state(&service, forgotten), "confirmed");
    command(&["incidents", "drill", "on", "--as", "李"]);
    service.until("the drill to be known", |it| {
        it.get("/api/v1/drill").1.contains("true")
    });

    // The picture of what nobody had confirmed for 31 days is gone, and its deletion is written down.
    let picture = folder.path().join("data/evidence/2-thumbnail.jpg");
    service.until("retention", |_| !picture.try_exists().unwrap());
    let (status, body) = service.get("/api/v1/evidence/2-thumbnail.jpg");
    assert_eq!(status, 410, "{body}");
    assert!(
        folder
            .path()
            .join("data/evidence/1-thumbnail.jpg")
            .try_exists()
            .unwrap()
    );
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code(), Some(0));

    let store = Store::open_read_only(&folder.path().join("data")).unwrap();
    assert_eq!(store.deletions().unwrap().len(), 1);
    let audit = store.audit_after(0, 1000).unwrap();
    let did = |who: &str, what: &str, done: bool| {
        audit.iter().any(|line| {
            (
                line.entry.actor.name.as_str(),
                line.entry.action.as_str(),
                line.entry.done,
            ) == (who, what, done)
        })
    };
    assert!(did("dispatch", "accept", true));
    assert!(did("dispatch", "confirm", false));
    assert!(did("李", "confirm", true));
    assert!(did("李", "drill", true));
    assert!(did("local", "read_evidence", false));
}

/// Runs the service over the recording of a house fire, with these further lines of its source, to its end.
fn over_a_fire(clip: &Path, more: &str) -> (tempfile::TempDir, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("alarm_rate = 4.0\n{more}");
    write_pipeline(folder.path(), &[("house", clip.to_str().unwrap(), &lines)]);
    let path = folder.path().join("pipeline.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("kind = \"live\"", "kind = \"recorded\"")).unwrap();
    let service = Service::start(folder.path());
    let events = folder.path().join("data/events.jsonl");
    assert_eq!(service.wait().code(), Some(0));
    let events = std::fs::read_to_string(events).unwrap();
    let events = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (folder, events)
}

/// Returns the names of the evidence of this kind that events tell of.
fn told(events: &[Value], kind: &str) -> Vec<String> {
    let mut names: Vec<String> = events
        .iter()
        .flat_map(|event| {
            event["data"]["properties"]["evidence"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .filter(|file| file["kind"] == kind)
        .map(|file| file["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn a_source_with_a_private_part_has_blanked_pictures_and_no_clips() {
    let Some(fire) = fixture("video/house6.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let private = "[[source.mask]]\nname = 'garden'\nkind = 'privacy'\n\
                   corners = [[0.62, 0.05], [0.85, 0.05], [0.85, 0.35], [0.62, 0.35]]\n";
    let files = |folder: &tempfile::TempDir, ending: &str| {
        let all = std::fs::read_dir(folder.path().join("data/evidence")).unwrap();
        all.filter(|file| {
            file.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(ending)
        })
        .count()
    };
    let (open, events) = over_a_fire(&fire, "");
    assert!(
        !told(&events, "clip").is_empty(),
        "without a private part there is a clip"
    );
    assert!(files(&open, ".mp4") > 0);
    // The snapshot is told at once, the clip when it is cut: an update.
    let first = |kind: &str| {
        events
            .iter()
            .position(|event| !told(std::slice::from_ref(event), kind).is_empty())
            .unwrap()
    };
    assert!(first("snapshot") < first("clip"));
    let revision = |index: usize| events[index]["data"]["properties"]["revision"].as_u64().unwrap();
    assert!(revision(first("snapshot")) < revision(first("clip")));

    let (closed, events) = over_a_fire(&fire, private);
    assert_eq!(told(&events, "clip"), Vec::<String>::new());
    assert_eq!(files(&closed, ".mp4"), 0);
    let snapshots = told(&events, "snapshot");
    assert!(!snapshots.is_empty(), "the fire itself is still seen");
    let luma = |folder: &tempfile::TempDir, name: &str| {
        let picture = image::open(folder.path().join("data/evidence").join(name))
            .unwrap()
            .to_luma8();
        let at = |share: u32, of: u32| of * share / 100;
        // Clear of the labels that are drawn beside the fire.
        let (left, top) = (at(73, picture.width()), at(10, picture.height()));
        let (width, height) = (at(11, picture.width()), at(20, picture.height()));
        let part = image::imageops::crop_imm(&picture, left, top, width, height).to_image();
        part.pixels().map(|pixel| pixel.0[0]).max().unwrap()
    };
    for name in &snapshots {
        assert!(luma(&closed, name) < 40, "{name} shows what is private");
    }
    let seen = told(&over_events(&open), "snapshot");
    assert!(luma(&open, &seen[0]) > 60, "there is something to be seen there");
}

fn over_events(folder: &tempfile::TempDir) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.path().join("data/events.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn detection_goes_on_while_the_disk_is_read_only_and_the_fire_is_told_when_it_is_not() {
    let Some(fire) = fixture("video/house6.mp4") else {
        return;
    };
    if !has_runtime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = read_only_disk(folder.path()) else {
        return;
    };
    let server = Server::start(&fire, 0, None);
    write_pipeline(
        folder.path(),
        &[("house", &server.address, "rate = 5.0\nalarm_rate = 5.0")],
    );
    let fault = folder.path().join("fault");
    let service = Service::start_with(
        folder.path(),
        &[
            ("LD_PRELOAD", &library),
            ("EMBERWATCH_DISK", &folder.path().join("data")),
            ("EMBERWATCH_DISK_FAULT", &fault),
        ],
    );
    std::fs::write(&fault, "").unwrap();
    service.until("a fire that cannot be written", |it| {
        it.get("/metrics")
            .1
            .lines()
            .any(|line| line.starts_with("emberwatch_unsaved_steps ") && !line.ends_with(" 0"))
    });
    let before = service.inferred("house");
    service.until("detection to go on", |it| it.inferred("house") > before + 5.0);
    let is_fire = |event: &Value| event["type"] == "emberwatch.incident.suspected.v1";
    assert!(!service.events().iter().any(is_fire));
    std::fs::remove_file(&fault).unwrap();
    service.until("the fire to be told, with a picture", |it| {
        it.events().iter().any(is_fire) && !told(&it.events(), "snapshot").is_empty()
    });
    // What became of the camera meanwhile was not lost either.
    service.until("the camera to be told", |it| {
        it.events()
            .iter()
            .any(|event| event["type"] == "emberwatch.source.live.v1")
    });
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code(), Some(0));
    let store = Store::open_read_only(&folder.path().join("data")).unwrap();
    assert_eq!(store.verify(false).unwrap().findings, []);
}
