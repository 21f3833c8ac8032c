//! A full disk, a folder that may not be written, a lock that does not go away and a damaged log, under the desk, the
//! outbox and a webhook: detection goes on, the error says what to do, and nothing that was acknowledged is lost.
//!
//! The full disk is a small tmpfs in a mount namespace of its own; the one that turns read-only is made by a library that
//! is preloaded (see `turned_read_only.c`). Where the machine allows neither, the test says so.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::incident::{Actor, IncidentId};
use emberwatch::stages::incident::{Act, Action, IncidentDesk};
use emberwatch::store::{ErrorKind, Store, StoreOptions};

use super::dispatch_crash::{ROOM, Room, open_desk, say, until_all_is_settled};
use super::dispatch_rig::{assert_all_in_order, event_ids, stop};
use super::dispatch_store::report;
use super::servers::{Receiver, Reply, Request};

const DISK: &str = "EMBERWATCH_DISK_ROOM";
const FAULTY: &str = "EMBERWATCH_FAULTY_DISK_ROOM";

/// Returns a place that is far from that of every other number.
fn place(number: u64) -> (f64, f64) {
    (
        20.0 + number as f64 % 100.0 / 10.0,
        90.0 + (number as f64 / 100.0).floor() / 10.0,
    )
}

/// Reports a new fire; returns its incident where it was acknowledged.
fn report_one(
    desk: &IncidentDesk,
    clock: &dyn Clock,
    number: u64,
) -> Result<IncidentId, emberwatch::store::StoreError> {
    let (lat, lon) = place(number);
    let changes = desk.report(&report("tower-1", number, lat, lon, clock.wall()))?;
    Ok(changes[0].incident.id)
}

fn settle(store: &Store) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(until_all_is_settled(store));
}

/// Lives on a disk of its own through its filling up, and finds it read-only at the next start.
#[test]
fn child_on_a_small_disk() {
    let Ok(room) = std::env::var(DISK) else {
        println!("skipped: only runs as the child of the disk test");
        return;
    };
    let room = Room::parse(&room);
    let data = Path::new(&room.data);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Store::open(data).unwrap();
    let publisher = room.publish_to_hook(&store, &clock);
    let desk = open_desk(store.clone(), Arc::clone(&clock));
    let mut acknowledged: Vec<IncidentId> = (0..5)
        .map(|number| report_one(&desk, clock.as_ref(), number).unwrap())
        .collect();
    settle(&store);

    let filler = data.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = loop {
        if let Err(error) = std::io::Write::write_all(&mut file, &[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    drop(file);
    // What room the log still had is used up first.
    let (refused, error) = (5..500)
        .find_map(|number| match report_one(&desk, clock.as_ref(), number) {
            Ok(id) => {
                acknowledged.push(id);
                None
            }
            Err(error) => Some((number, error)),
        })
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.hint().contains("free space"), "{}", error.hint());
    // Detection goes on; a person is told that nothing was done.
    for number in refused + 1..refused + 10 {
        assert_eq!(
            report_one(&desk, clock.as_ref(), number).unwrap_err().kind(),
            ErrorKind::Full
        );
    }
    assert_eq!(desk.backlog(), (10, 0));
    let act = Act::new(acknowledged[0], Actor::person("李"), Action::Confirm);
    assert_eq!(desk.act(&act).unwrap_err().status(), 503);
    assert_eq!(store.incident(acknowledged[0]).unwrap().unwrap().revision, 1);
    say(&format!(
        "full after {} acknowledged incidents: {error}; {}",
        acknowledged.len(),
        error.hint()
    ));

    std::fs::remove_file(&filler).unwrap();
    desk.tick().unwrap();
    assert_eq!(desk.backlog(), (0, 0));
    assert_eq!(desk.act(&act).unwrap().incident.revision, 2);
    for id in &acknowledged {
        assert!(store.incident(*id).unwrap().is_some());
    }
    settle(&store);
    assert!(publisher.stop(Duration::from_secs(5)));
    let count = store.events_after(0, 10_000).unwrap().len();
    assert_eq!(count, acknowledged.len() + 10 + 1);
    assert_eq!(store.verify(false).unwrap().findings, []);
    drop((desk, store));

    let remounted = Command::new("mount")
        .args(["-o", "remount,ro", &room.data])
        .status()
        .unwrap();
    assert!(remounted.success());
    let error = Store::open(data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    say(&format!("read-only: {error}; {}", error.hint()));
    let (code, complaint) = run_with(
        data,
        &["incidents", "confirm", &acknowledged[1].to_string(), "--as", "李"],
    );
    assert_eq!(code, 2);
    assert!(
        complaint.contains("read-only") || complaint.contains("written"),
        "{complaint}"
    );
}

/// Lives on a disk that turns read-only under open files, and is put right again.
#[test]
fn child_on_a_disk_that_turns_read_only() {
    let Ok(room) = std::env::var(FAULTY) else {
        println!("skipped: only runs as the child of the test of a disk that turns read-only");
        return;
    };
    let room = Room::parse(&room);
    let fault = std::env::var("EMBERWATCH_DISK_FAULT").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Store::open(Path::new(&room.data)).unwrap();
    let publisher = room.publish_to_hook(&store, &clock);
    let desk = open_desk(store.clone(), Arc::clone(&clock));
    let acknowledged: Vec<IncidentId> = (0..5)
        .map(|number| report_one(&desk, clock.as_ref(), number).unwrap())
        .collect();
    settle(&store);

    std::fs::write(&fault, "").unwrap();
    let refused = std::fs::write(Path::new(&room.data).join("evidence/new.jpg"), "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    // Detection goes on, a person is told that nothing was done, and what is known can be read.
    for number in 5..15 {
        let error = report_one(&desk, clock.as_ref(), number).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.hint().contains("read-only"), "{}", error.hint());
    }
    assert_eq!(desk.backlog(), (10, 0));
    let act = Act::new(acknowledged[0], Actor::person("李"), Action::Confirm);
    assert_eq!(desk.act(&act).unwrap_err().status(), 503);
    for id in &acknowledged {
        assert_eq!(store.incident(*id).unwrap().unwrap().revision, 1);
    }
    let error = desk.tick().unwrap_err();
    say(&format!("turned read-only: {error}; {}", error.hint()));

    std::fs::remove_file(&fault).unwrap();
    desk.tick().unwrap();
    assert_eq!(desk.backlog(), (0, 0));
    assert_eq!(desk.act(&act).unwrap().incident.revision, 2);
    settle(&store);
    assert!(publisher.stop(Duration::from_secs(5)));
    assert_eq!(store.events_after(0, 1_000).unwrap().len(), 5 + 10 + 1);
    assert_eq!(store.verify(false).unwrap().findings, []);
    drop((desk, store));
    let again = Store::open(Path::new(&room.data)).unwrap();
    assert_eq!(again.verify(false).unwrap().incidents, 15);
}

/// Builds the library that makes a disk behave as one that has turned read-only; says what is skipped where it cannot be.
pub(crate) fn read_only_disk(folder: &Path) -> Option<std::path::PathBuf> {
    let library = folder.join("turned_read_only.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/turned_read_only.c"))
        .arg("-ldl")
        .status();
    if built.is_ok_and(|status| status.success()) {
        return Some(library);
    }
    println!("skipped: there is no C compiler to build the faulty disk with");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_while_it_is_used_costs_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = read_only_disk(folder.path()) else {
        return;
    };
    let receiver = Receiver::start(|_, _| Reply::With(204, "")).await;
    let room = Room {
        data: folder.path().join("data").to_str().unwrap().to_owned(),
        port: 1,
        hook: receiver.url(),
    };
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dispatch_damage::child_on_a_disk_that_turns_read_only",
            "--nocapture",
        ])
        .env(FAULTY, room.text())
        .env("LD_PRELOAD", library)
        .env("EMBERWATCH_DISK", &room.data)
        .env("EMBERWATCH_DISK_FAULT", folder.path().join("fault"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success());
    let bodies: Vec<serde_json::Value> = receiver.requests().iter().map(Request::json).collect();
    let ids: Vec<String> = bodies
        .iter()
        .map(|body| body["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.len() >= 16);
    assert_all_in_order(&ids, &bodies);
}

fn run_with(data: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .args(arguments)
        .env("EMBERWATCH_DATA", data)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_read_only_one_stop_neither_detection_nor_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let receiver = Receiver::start(|_, _| Reply::With(204, "")).await;
    let room = Room {
        data: data.to_str().unwrap().to_owned(),
        port: 1,
        hook: receiver.url(),
    };
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$1" || exit 77; exec "$2" --exact dispatch_damage::child_on_a_small_disk --nocapture"#;
    let child = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh", &room.data])
        .arg(std::env::current_exe().unwrap())
        .env(DISK, room.text())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(child) = child else {
        println!("skipped: there is no unshare on this machine");
        return;
    };
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(77) || said.is_empty() {
        println!("skipped: this machine lets no test mount a small disk");
        return;
    }
    println!("{said}");
    assert!(output.status.success());
    let bodies: Vec<serde_json::Value> = receiver.requests().iter().map(Request::json).collect();
    let ids: Vec<String> = bodies
        .iter()
        .map(|body| body["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.len() > 15);
    assert_all_in_order(&ids, &bodies);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_program_holds_delays_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| Reply::With(204, "")).await;
    let options = StoreOptions {
        busy_timeout: Duration::from_millis(30),
        ..StoreOptions::default()
    };
    let store = Store::open_with(folder.path(), options).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let room = Room {
        data: folder.path().to_str().unwrap().to_owned(),
        port: 1,
        hook: receiver.url(),
    };
    let publisher = room.publish_to_hook(&store, &clock);
    let desk = open_desk(store.clone(), Arc::clone(&clock));
    let first = report_one(&desk, clock.as_ref(), 0).unwrap();

    let other = rusqlite::Connection::open(folder.path().join("emberwatch.sqlite3")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = report_one(&desk, clock.as_ref(), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(desk.backlog(), (1, 0));
    let act = Act::new(first, Actor::person("李"), Action::Confirm);
    assert_eq!(desk.act(&act).unwrap_err().status(), 503);
    assert!(store.incident(first).unwrap().is_some(), "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();

    desk.tick().unwrap();
    assert_eq!(desk.backlog(), (0, 0));
    assert_eq!(desk.act(&act).unwrap().incident.revision, 2);
    until_all_is_settled(&store).await;
    let sent = event_ids(&store);
    assert_eq!(sent.len(), 3);
    let bodies: Vec<serde_json::Value> = receiver.requests().iter().map(Request::json).collect();
    assert_all_in_order(&sent, &bodies);
    assert!(stop(publisher).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_left_by_a_crash_is_refused_by_name_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| Reply::With(204, "")).await;
    let room = Room {
        data: folder.path().to_str().unwrap().to_owned(),
        port: 1,
        hook: receiver.url(),
    };
    let mut child = room.spawn(ROOM, "dispatch_crash::child_that_serves_until_it_is_killed");
    super::servers::until("there is something to damage", async || {
        std::fs::metadata(folder.path().join("emberwatch.sqlite3-wal")).is_ok_and(|log| log.len() > 400_000)
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let path = folder.path().join("emberwatch.sqlite3-wal");
    let mut log = std::fs::read(&path).unwrap();
    // One bit in the page of the fifth frame: a header of 32 bytes, then frames of 24 and 4096.
    log[32 + 4 * (24 + 4096) + 24 + 100] ^= 1;
    std::fs::write(&path, &log).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for arguments in [
        ["store", "verify"].as_slice(),
        &["incidents", "list"],
        &["outbox", "list"],
    ] {
        let (code, complaint) = run_with(folder.path(), arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(
            complaint.contains("frame 5") && complaint.contains("backup"),
            "{complaint}"
        );
    }
    assert_eq!(std::fs::read(&path).unwrap(), log, "nothing was touched");
    // Put right (from a copy), all of it is there again.
    log[32 + 4 * (24 + 4096) + 24 + 100] ^= 1;
    std::fs::write(&path, &log).unwrap();
    assert_eq!(
        Store::open(folder.path())
            .unwrap()
            .verify(false)
            .unwrap()
            .findings,
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_is_tried_by_hand_and_its_trouble_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, _| Reply::With(204, "")).await;
    let file = folder.path().join("pipeline.toml");
    let hook = |name: &str, url: &str, secret: &str| {
        format!(
            "[[sink]]\nname = '{name}'\n[sink.to]\nkind = 'webhook'\nurl = '{url}'\nsecrets = ['${{{secret}}}']\n\
             allow_networks = ['127.0.0.0/8']\n"
        )
    };
    let text = [
        hook("good", &receiver.url(), "SECRET"),
        hook("closed", "http://127.0.0.1:1/hook", "SECRET"),
        hook("unset", &receiver.url(), "EMBERWATCH_NOT_SET_ANYWHERE"),
    ];
    std::fs::write(&file, text.concat()).unwrap();
    let try_sink = |name: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .args(["send-test", name, "--pipeline", file.to_str().unwrap()])
            .env("SECRET", "a secret that only tests know")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("only tests know"));
        (output.status.code().unwrap(), said)
    };
    let (code, said) = tokio::task::block_in_place(|| try_sink("good"));
    assert_eq!(code, 0, "{said}");
    assert_eq!(receiver.requests()[0].json()["data"]["properties"]["drill"], true);
    for (name, expected, word) in [
        ("closed", 1, "not delivered"),
        ("unset", 2, "EMBERWATCH_NOT_SET_ANYWHERE"),
        ("nobody", 2, "there is no sink"),
    ] {
        let (code, said) = tokio::task::block_in_place(|| try_sink(name));
        assert_eq!(code, expected, "{said}");
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(receiver.requests().len(), 1);
}
