//! Nothing that was acknowledged is lost, whenever the program dies; and the commands over a data folder.
//!
//! The program that dies is this test program itself, started again with an environment variable that names its folder.
//! `EMBERWATCH_CRASH_RUNS` says how often it is killed (12 times without).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use emberwatch::clock::{Clock, SimulatedClock, SystemClock};
use emberwatch::flow::detection::{BBox, Class};
use emberwatch::flow::incident::{Actor, IncidentId, RejectReason};
use emberwatch::flow::pose::{Height, HeightDatum, Wgs84};
use emberwatch::flow::position::{Ellipse, Method, Place, Position};
use emberwatch::flow::report::{ModelTag, TrackReport};
use emberwatch::flow::source::{Liveness, Mount, SourceId};
use emberwatch::flow::time::{CaptureClock, CaptureTime, MediaTime};
use emberwatch::flow::track::{Decision, Reason};
use emberwatch::stages::incident::{Act, Action};
use emberwatch::store::{DeliveryFilter, DeliveryState, SinkStart, Store};
use jiff::Timestamp;
use rand::RngExt;

use super::dispatch_crash::open_desk;

#[path = "../../benches/store/fill.rs"]
mod fill;

const FOLDER: &str = "EMBERWATCH_CRASH_FOLDER";

pub(crate) fn report(source: &str, track: u64, lat: f64, lon: f64, at: Timestamp) -> TrackReport {
    let seen = CaptureTime {
        at,
        clock: CaptureClock::Arrival,
        sigma_s: 0.5,
    };
    TrackReport {
        source: SourceId::new(source),
        liveness: Liveness::Live,
        mount: Mount::Fixed,
        track,
        class: Class::Smoke,
        score: 0.7,
        decision: Decision::Fire,
        reason: Reason::Persistent {
            seen: 8,
            frames: 8,
            seconds: 4.0,
        },
        first_seen: seen,
        last_seen: seen,
        last_pts: MediaTime::ZERO,
        place: Place::Point {
            position: Position {
                point: Wgs84 { lat, lon },
                height: Height {
                    metres: 90.0,
                    datum: HeightDatum::Egm2008,
                },
                ellipse: Ellipse {
                    semi_major_m: 30.0,
                    semi_minor_m: 15.0,
                    azimuth_deg: 40.0,
                    level: 0.9,
                },
                ce90_m: 27.0,
                method: Method::RayTerrain,
                base_hidden: false,
            },
            bearing: None,
        },
        bbox: BBox::new(100.0, 100.0, 160.0, 180.0),
        picture_size: (1920, 1080),
        evidence: Vec::new(),
        model: ModelTag {
            name: "ember-nano".to_owned(),
            version: "1.0.0".to_owned(),
            sha256: "00".repeat(32),
        },
    }
}

/// What the child says on its standard output once the store has acknowledged it.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Opens incidents, confirms them, delivers their events, and says what was acknowledged, until it is killed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        println!("skipped: only runs as the child of the crash test");
        return;
    };
    let store = Store::open(Path::new(&folder)).unwrap();
    let clock = Arc::new(SystemClock::new());
    store
        .register_sink("webhook", SinkStart::Now, clock.wall())
        .unwrap();
    let desk = open_desk(store.clone(), clock.clone());
    let mut random = rand::rng();
    say("\nready");
    for track in 1.. {
        let lat = random.random_range(20.0..50.0);
        let lon = random.random_range(80.0..120.0);
        let changes = desk
            .report(&report("tower-1", track, lat, lon, clock.wall()))
            .unwrap();
        for change in &changes {
            say(&format!(
                "written {} {}",
                change.incident.id, change.incident.revision
            ));
        }
        let id = changes[0].incident.id;
        let action = if track % 3 == 0 {
            Action::Reject {
                reason: RejectReason::Fog,
            }
        } else {
            Action::Confirm
        };
        let acted = desk.act(&Act::new(id, Actor::person("李"), action)).unwrap();
        say(&format!("written {id} {}", acted.incident.revision));
        let pending = store.pending("webhook", 8, clock.wall()).unwrap();
        let seqs: Vec<i64> = pending.iter().map(|event| event.seq).collect();
        store.delivered("webhook", &seqs, clock.wall()).unwrap();
        for event in &pending {
            say(&format!(
                "delivered {} {} {}",
                event.seq, event.event_id, event.subject
            ));
        }
    }
}

#[test]
fn kill_at_random_instants_loses_nothing_that_was_acknowledged() {
    let runs: u32 = std::env::var("EMBERWATCH_CRASH_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(12);
    let folder = tempfile::tempdir().unwrap();
    let mut random = rand::rng();
    let mut written: BTreeMap<IncidentId, u64> = BTreeMap::new();
    let mut delivered: BTreeMap<i64, String> = BTreeMap::new();
    for _ in 0..runs {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "dispatch_store::child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said: Vec<String> = Vec::new();
        for line in lines.by_ref() {
            if line.unwrap() == "ready" {
                break;
            }
        }
        for _ in 0..random.random_range(0..40) {
            said.push(lines.next().unwrap().unwrap());
        }
        std::thread::park_timeout(Duration::from_micros(random.random_range(0..8_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died is still in the pipe; the last line may be torn.
        said.extend(lines.map_while(Result::ok));
        for line in said {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["written", id, revision] => {
                    let (Ok(id), Ok(revision)) = (id.parse(), revision.parse()) else {
                        continue;
                    };
                    let known = written.entry(id).or_insert(revision);
                    *known = revision.max(*known);
                }
                ["delivered", seq, event_id, subject] if subject.len() == 36 => {
                    delivered.insert(seq.parse().unwrap(), (*event_id).to_owned());
                }
                _ => {}
            }
        }
        check(folder.path(), &written, &delivered);
    }
    assert!(written.len() as u32 >= runs, "it did write");
    println!(
        "killed {runs} times: {} incidents and {} deliveries acknowledged, none lost",
        written.len(),
        delivered.len()
    );
}

fn check(folder: &Path, written: &BTreeMap<IncidentId, u64>, delivered: &BTreeMap<i64, String>) {
    let store = Store::open(folder).unwrap();
    let summary = store.verify(false).unwrap();
    assert_eq!(summary.findings, []);
    for (id, revision) in written {
        let incident = store.incident(*id).unwrap().unwrap();
        assert!(incident.revision >= *revision, "incident {id}");
        assert_eq!(store.history(*id).unwrap().len() as u64, incident.revision);
    }
    let all = store
        .deliveries(&DeliveryFilter {
            limit: 1_000_000,
            ..DeliveryFilter::default()
        })
        .unwrap();
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    for (delivery, event) in all.iter().zip(store.events_after(0, 1_000_000).unwrap()) {
        assert_eq!(delivery.seq, event.seq);
        let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
        let revision = body["data"]["properties"]["revision"].as_u64().unwrap();
        let before = revisions.insert(event.subject.clone(), revision).unwrap_or(0);
        assert_eq!(revision, before + 1, "every revision has its event, in order");
    }
    for (id, revision) in written {
        assert!(
            revisions[&id.to_string()] >= *revision,
            "the event of {id} is in the outbox"
        );
    }
    for (seq, event_id) in delivered {
        let delivery = all.iter().find(|delivery| delivery.seq == *seq).unwrap();
        assert_eq!(delivery.event_id.to_string(), *event_id);
        assert_eq!(delivery.state, DeliveryState::Delivered);
    }
}

fn emberwatch(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
        .args(arguments)
        .env("EMBERWATCH_DATA", folder)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn with_two_incidents() -> (tempfile::TempDir, IncidentId, IncidentId) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let now: Timestamp = "2026-06-05T02:00:00Z".parse().unwrap();
    store.register_sink("webhook", SinkStart::Now, now).unwrap();
    let desk = open_desk(store, Arc::new(SimulatedClock::new(now)));
    let first = desk.report(&report("tower-1", 1, 35.15, 113.25, now)).unwrap()[0]
        .incident
        .id;
    let second = desk.report(&report("tower-2", 1, 35.16, 113.26, now)).unwrap()[0]
        .incident
        .id;
    (folder, first, second)
}

#[test]
fn incidents_are_listed_shown_confirmed_and_merged_on_the_command_line() {
    let (folder, first, second) = with_two_incidents();
    let folder = folder.path();
    let (code, listed, _) = emberwatch(folder, &["incidents", "list", "--state", "suspected"]);
    assert_eq!((code, listed.lines().count()), (0, 2));
    let first = first.to_string();
    let second = second.to_string();
    let (code, said, _) = emberwatch(
        folder,
        &["incidents", "confirm", &first, "--as", "李", "--note", "电话核实"],
    );
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("confirmed"), "{said}");
    let (code, said, _) = emberwatch(folder, &["incidents", "confirm", &first, "--as", "李"]);
    assert_eq!(code, 0);
    assert!(said.contains("nothing changed"), "{said}");
    let (code, _, complaint) = emberwatch(folder, &["incidents", "close", &first]);
    assert_eq!(code, 2);
    assert!(complaint.contains("cannot become closed"), "{complaint}");
    let (code, _, complaint) = emberwatch(folder, &["incidents", "reject", &second, "--reason", "boring"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("household_chimney"), "{complaint}");
    let (code, _, complaint) = emberwatch(
        folder,
        &[
            "incidents",
            "reject",
            &second,
            "--reason",
            "fog",
            "--revision",
            "7",
        ],
    );
    assert_eq!(code, 2);
    assert!(complaint.contains("expected 7"), "{complaint}");
    assert_eq!(
        emberwatch(folder, &["incidents", "merge", &second, "--into", &first]).0,
        0
    );
    let (_, shown, _) = emberwatch(folder, &["incidents", "show", &first]);
    assert!(
        shown.contains("2026-06-05 10:00:00 +08:00"),
        "local time: {shown}"
    );
    assert!(
        shown.contains("电话核实") && shown.contains("tower-2") && shown.contains("1530"),
        "{shown}"
    );
    let sources = emberwatch(folder, &["incidents", "split", &first, "--sources", "tower-2"]);
    assert_eq!(sources.0, 0, "{}", sources.2);
    let made = sources.1.lines().last().unwrap().split(' ').next().unwrap();
    let (code, said, _) = emberwatch(folder, &["incidents", "reject", made, "--reason", "steam"]);
    assert!(code == 0 && said.contains("rejected"), "{said}");
    for (arguments, state) in [
        (
            ["incidents", "dispatch", &first, "--team", "一队"].as_slice(),
            "dispatched",
        ),
        (&["incidents", "extinguish", &first], "extinguished"),
        (&["incidents", "close", &first], "closed"),
        (&["incidents", "reopen", &first], "confirmed"),
    ] {
        let (code, said, complaint) = emberwatch(folder, arguments);
        assert!(
            code == 0 && said.contains(state),
            "{arguments:?}: {said} {complaint}"
        );
    }
    let (_, said, _) = emberwatch(folder, &["incidents", "drill", "on", "--as", "李"]);
    assert!(said.contains("a drill is on"), "{said}");
    let (_, said, _) = emberwatch(folder, &["incidents", "drill", "off", "--as", "李"]);
    assert!(said.contains("no drill is on"), "{said}");
    // Whoever did something, or was refused, is written down.
    let audit = Store::open_read_only(folder)
        .unwrap()
        .audit_after(0, 100)
        .unwrap();
    let lines: Vec<(&str, bool)> = audit
        .iter()
        .map(|line| (line.entry.action.as_str(), line.entry.done))
        .collect();
    assert_eq!(
        lines,
        [
            ("confirm", true),
            ("confirm", true),
            ("close", false),
            ("reject", false),
            ("merge", true),
            ("split", true),
            ("reject", true),
            ("dispatch", true),
            ("extinguish", true),
            ("close", true),
            ("reopen", true),
            ("drill", true),
            ("drill", true)
        ]
    );
    assert_eq!(audit[0].entry.actor, Actor::person("李"));
    let (code, report, _) = emberwatch(
        folder,
        &["incidents", "report", "--date", "2026-06-05", "--period", "week"],
    );
    assert_eq!(code, 0);
    assert!(report.contains("查实 confirmed 1"), "{report}");
    let (_, csv, _) = emberwatch(
        folder,
        &["incidents", "report", "--date", "2026-06-05", "--format", "csv"],
    );
    assert!(csv.starts_with('\u{feff}') && csv.contains("\r\n"));
    let (_, html, _) = emberwatch(
        folder,
        &[
            "incidents",
            "report",
            "--from",
            "2026-06-01T00:00:00Z",
            "--until",
            "2100-01-01T00:00:00Z",
            "--format",
            "html",
        ],
    );
    assert!(html.contains("火点报告") && html.contains("Fire report") && !html.contains("http"));
    // By area: how fast, and why it was rejected.
    assert!(html.contains("<th>水汽 steam</th>"), "{html}");
    assert!(
        html.contains("各单位时限") && html.contains("<td>未定位 unplaced</td>"),
        "{html}"
    );
    let (code, _, complaint) = emberwatch(folder, &["incidents", "show", "not-an-id"]);
    assert_eq!(code, 2, "{complaint}");
}

#[test]
fn the_store_is_verified_copied_and_exported_on_the_command_line() {
    let (folder, ..) = with_two_incidents();
    let folder = folder.path();
    let (code, said, _) = emberwatch(folder, &["store", "verify", "--files"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 incidents"), "{said}");
    let backup = folder.join("copy");
    assert_eq!(
        emberwatch(folder, &["store", "backup", backup.to_str().unwrap()]).0,
        0
    );
    let (_, said, _) = emberwatch(&backup, &["store", "verify", "--json"]);
    assert!(said.contains("\"findings\": []"), "{said}");
    let (code, _, complaint) = emberwatch(folder, &["store", "backup", backup.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(complaint.contains("not empty"), "{complaint}");
    let export = folder.join("export");
    assert_eq!(
        emberwatch(folder, &["store", "export", export.to_str().unwrap()]).0,
        0
    );
    assert!(export.join("SHA256SUMS").is_file());
    assert_eq!(emberwatch(folder, &["store", "retain"]).0, 0);
    let (code, _, complaint) = emberwatch(&folder.join("nowhere"), &["store", "verify"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("no database"), "{complaint}");
}

#[test]
fn dead_letters_are_listed_tried_again_and_dropped_on_the_command_line() {
    let (folder, first, _) = with_two_incidents();
    let store = Store::open(folder.path()).unwrap();
    let now: Timestamp = "2026-06-05T02:01:00Z".parse().unwrap();
    store
        .dead_letter("webhook", 1, "400 \u{1b}[31mBad Request", now)
        .unwrap();
    let folder = folder.path();
    let (_, listed, _) = emberwatch(folder, &["outbox", "list"]);
    assert!(listed.contains("webhook: 1 pending"), "{listed}");
    assert!(listed.contains("dead") && !listed.contains('\u{1b}'), "{listed}");
    let (code, _, complaint) = emberwatch(folder, &["outbox", "retry"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("--all"), "{complaint}");
    let (_, said, _) = emberwatch(folder, &["outbox", "retry", "--subject", &first.to_string()]);
    assert!(said.starts_with("1 dead"), "{said}");
    let (_, said, _) = emberwatch(folder, &["outbox", "drop", "--pending", "--sink", "webhook"]);
    assert!(said.starts_with("2 pending"), "{said}");
    assert!(store.pending("webhook", 10, now).unwrap().is_empty());
    let (_, said, _) = emberwatch(folder, &["outbox", "retire", "webhook"]);
    assert!(said.starts_with("webhook is forgotten"), "{said}");
    assert!(store.sinks().unwrap().is_empty());
    let (code, _, complaint) = emberwatch(folder, &["outbox", "retire", "webhook"]);
    assert_eq!(code, 2, "{complaint}");
    let audit = store.audit_after(0, 100).unwrap();
    let actions: Vec<&str> = audit.iter().map(|line| line.entry.action.as_str()).collect();
    assert_eq!(actions, ["retry_events", "drop_events", "retire_sink"]);
}

/// The same as `cargo bench --bench store`, as one pass with a limit; it fills a store of 100,000 incidents first.
#[test]
fn a_store_of_100_000_incidents_answers_in_time() {
    if std::env::var_os("EMBERWATCH_LARGE").is_none() {
        println!("skipped: set EMBERWATCH_LARGE to fill a store of 100,000 incidents");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let start: Timestamp = "2026-01-01T00:00:00+08:00".parse().unwrap();
    fill::fill(&store, 100_000, start);
    let clock = SystemClock::new();
    let timed = |work: &dyn Fn()| {
        let mut times: Vec<Duration> = (0..20)
            .map(|_| {
                let begin = clock.monotonic();
                work();
                clock.monotonic().since(begin)
            })
            .collect();
        times.sort_unstable();
        (times[10], times[19])
    };
    let filter = emberwatch::store::IncidentFilter {
        states: vec![
            emberwatch::flow::incident::State::Confirmed,
            emberwatch::flow::incident::State::Dispatched,
        ],
        area: emberwatch::store::Area {
            township: Some("乡镇07".to_owned()),
            ..emberwatch::store::Area::default()
        },
        limit: 100,
        ..emberwatch::store::IncidentFilter::default()
    };
    let list = timed(&|| assert_eq!(store.incidents(&filter).unwrap().incidents.len(), 100));
    let day = |days: i64| start + jiff::SignedDuration::from_hours(24 * days);
    let query = emberwatch::store::ReportQuery {
        from: day(30),
        until: day(60),
        group_by: emberwatch::store::GroupBy::Township,
        now: day(365),
    };
    let report = timed(&|| assert!(store.period_report(&query).unwrap().total.pushed > 8_000));
    println!(
        "list by area and state: median {:?}, worst {:?}; report of a month: median {:?}, worst {:?}",
        list.0, list.1, report.0, report.1
    );
    assert!(list.0 <= Duration::from_millis(20), "{list:?}");
    assert!(report.0 <= Duration::from_secs(1), "{report:?}");
}
