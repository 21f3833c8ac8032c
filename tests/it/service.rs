//! The service as a whole: `emberwatch run` as a child, over real RTSP streams from another child.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::pipeline::stop::Stop;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::analysis::has_runtime;
use crate::faults::Server;
use crate::fixtures::fixture;
use crate::reading::{ffmpeg, make_clip};

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// `emberwatch run` as a child; killed when dropped.
pub(crate) struct Service {
    child: Child,
    address: String,
    folder: PathBuf,
}

/// Writes a pipeline file of these sources: a name, an address and further lines each.
pub(crate) fn write_pipeline(folder: &Path, sources: &[(&str, &str, &str)]) {
    let mut text = String::from(
        "[console]\nlisten = \"127.0.0.1:0\"\n\n[evidence]\nbefore_s = 2.0\nafter_s = 2.0\n\n\
         [incidents]\nsite = \"urn:emberwatch:test\"\n\n\
         [[incidents.confirm]]\nname = \"sure\"\nmin_score = 0.3\nmin_seen_s = 1.0\n\n\
         [[sink]]\nname = \"events\"\nto = { kind = \"json_lines\", path = \"events.jsonl\" }\n\
         filter = { events = [\"incident.*\", \"source.*\"] }\n",
    );
    for (name, url, more) in sources {
        let _written = write!(
            text,
            "\n[[source]]\nid = \"{name}\"\nurl = \"{url}\"\nkind = \"live\"\nmount = \"fixed\"\n{more}\n"
        );
    }
    let path = folder.join("pipeline.toml");
    std::fs::write(folder.join("pipeline.toml.new"), text).unwrap();
    std::fs::rename(folder.join("pipeline.toml.new"), path).unwrap();
}

impl Service {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts it with these paths in its environment.
    pub(crate) fn start_with(folder: &Path, environment: &[(&str, &Path)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .arg("run")
            .arg(folder.join("pipeline.toml"))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("the service did not start: {line}"))
            .to_owned();
        Self {
            child,
            address,
            folder: folder.to_owned(),
        }
    }

    /// Returns status and body of a page.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        )
        .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
        let body = text
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap();
        (status, body)
    }

    /// Returns a metric of a source, by its name and further labels.
    pub(crate) fn metric(&self, name: &str, source: &str, labels: &str) -> f64 {
        let start = format!("{name}{{source=\"{source}\"{labels}}}");
        self.get("/metrics")
            .1
            .lines()
            .find_map(|line| line.strip_prefix(&start)?.trim().parse().ok())
            .unwrap_or(0.0)
    }

    pub(crate) fn inferred(&self, source: &str) -> f64 {
        self.metric("emberwatch_frames_total", source, ",fate=\"inferred\"")
    }

    fn is(&self, source: &str, state: &str) -> bool {
        self.metric("emberwatch_source_state", source, &format!(",state=\"{state}\"")) > 0.5
    }

    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let clock = SystemClock::new();
        let start = clock.monotonic();
        while !holds(self) {
            assert!(
                clock.monotonic().since(start) < PATIENCE,
                "{what} did not happen; {}",
                self.get("/metrics").1
            );
            let _never = Stop::new().wait_for(Duration::from_millis(100));
        }
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        std::fs::read_to_string(self.folder.join("data/events.jsonl"))
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        let clock = SystemClock::new();
        let start = clock.monotonic();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                clock.monotonic().since(start) < PATIENCE,
                "the service did not leave"
            );
            let _never = Stop::new().wait_for(Duration::from_millis(50));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn clip(folder: &Path) -> Option<PathBuf> {
    let path = folder.join("clip.mp4");
    (has_runtime() && make_clip(&path, 6, &[])).then_some(path)
}

#[test]
fn many_sources_run_beside_one_that_is_not_there_and_a_termination_drains() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    let server = Server::start(&clip, 0, None);
    let nobody = "rtsp://127.0.0.1:9/none";
    write_pipeline(
        folder.path(),
        &[
            ("one", &server.address, ""),
            ("two", &server.address, "duty = \"patrol\""),
            ("three", &server.address, "transport = \"udp\""),
            ("gone", nobody, ""),
        ],
    );
    let service = Service::start(folder.path());
    service.until("three live sources", |it| {
        ["one", "two", "three"]
            .into_iter()
            .all(|id| it.inferred(id) >= 3.0)
    });
    service.until("a blind one", |it| it.is("gone", "blind"));
    assert_eq!(service.get("/readyz").0, 200);
    assert!(service.metric("emberwatch_reconnects_total", "gone", ",reason=\"unreachable\"") >= 1.0);
    assert!(
        service
            .events()
            .iter()
            .any(|event| { event["type"] == "emberwatch.source.blind.v1" && event["subject"] == "gone" })
    );
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn an_edit_reloads_what_changed_and_leaves_the_others_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    let server = Server::start(&clip, 0, None);
    write_pipeline(
        folder.path(),
        &[("kept", &server.address, ""), ("leaves", &server.address, "")],
    );
    let service = Service::start(folder.path());
    service.until("both", |it| {
        it.inferred("kept") >= 2.0 && it.inferred("leaves") >= 1.0
    });
    let before = service.inferred("kept");
    write_pipeline(
        folder.path(),
        &[("kept", &server.address, ""), ("comes", &server.address, "")],
    );
    service.until("the new source", |it| it.inferred("comes") >= 1.0);
    assert!(!service.get("/metrics").1.contains("source=\"leaves\""));
    assert!(service.inferred("kept") >= before, "the kept source began anew");
    // A file with a mistake is refused as a whole: the service goes on as it was.
    std::fs::write(folder.path().join("pipeline.toml"), "[[source]]\nid = 3\n").unwrap();
    service.signal(Signal::SIGHUP);
    let now = service.inferred("kept");
    service.until("more frames", |it| {
        it.inferred("kept") > now + 2.0 && it.inferred("comes") >= 2.0
    });
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_server_that_dies_takes_no_other_source_with_it_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path()) else { return };
    let (steady, dying) = (Server::start(&clip, 0, None), Server::start(&clip, 0, None));
    let port = dying.port();
    write_pipeline(
        folder.path(),
        &[("steady", &steady.address, ""), ("dying", &dying.address, "")],
    );
    let service = Service::start(folder.path());
    service.until("both", |it| {
        it.inferred("steady") >= 2.0 && it.inferred("dying") >= 2.0
    });
    dying.signal(Signal::SIGKILL);
    drop(dying);
    service.until("a blind source", |it| it.is("dying", "blind"));
    let (steady_before, dying_before) = (service.inferred("steady"), service.inferred("dying"));
    service.until("the steady one goes on", |it| {
        it.inferred("steady") > steady_before + 2.0
    });
    let _again = Server::start(&clip, port, None);
    service.until("frames again", |it| it.inferred("dying") > dying_before);
    assert!(service.metric("emberwatch_frame_age_seconds", "steady", ",quantile=\"0.95\"") > 0.0);
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code(), Some(0));
}

/// Returns the names of the evidence of a kind in all events so far.
fn evidence_of(service: &Service, kind: &str) -> Vec<String> {
    let mut names = Vec::new();
    for event in service.events() {
        let evidence = event["data"]["properties"]["evidence"].as_array().cloned();
        for kept in evidence.unwrap_or_default() {
            if kept["kind"] == kind
                && let Some(uri) = kept["uri"].as_str()
            {
                names.extend(uri.rsplit('/').next().map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn a_fire_on_the_small_stream_becomes_an_event_with_pictures_and_a_clip_of_the_large_one() {
    let Some(fire) = fixture("video/house6.mp4") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.mp4");
    if !has_runtime()
        || !ffmpeg(&[
            "-i",
            fire.to_str().unwrap(),
            "-an",
            "-t",
            "12",
            "-vf",
            "scale=852:480",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "25",
            large.to_str().unwrap(),
        ])
    {
        return;
    }
    let (large, small) = (Server::start(&large, 0, None), Server::start(&fire, 0, None));
    write_pipeline(
        folder.path(),
        &[(
            "house",
            &large.address,
            &format!("detect_url = \"{}\"\nrate = 5.0", small.address),
        )],
    );
    let service = Service::start(folder.path());
    let of_type = |it: &Service, kind: &str| it.events().into_iter().any(|event| event["type"] == kind);
    service.until("a confirmed fire", |it| {
        of_type(it, "emberwatch.incident.confirmed.v1")
    });
    service.until("a move of duty", |it| of_type(it, "emberwatch.source.duty.v1"));
    let clip = |it: &Service| evidence_of(it, "clip").into_iter().next();
    service.until("a clip", |it| clip(it).is_some());
    let name = clip(&service).unwrap();
    let (status, _) = service.get(&format!("/api/v1/evidence/{name}"));
    assert_eq!(status, 200, "{name}");
    let cut = folder.path().join("data/evidence").join(&name);
    let clip = crate::reading::read(&cut).unwrap();
    assert_eq!(clip.frames[0].picture.width, 852);
    let snapshots = evidence_of(&service, "snapshot");
    assert!(!snapshots.is_empty());
    for name in snapshots {
        let picture = image::open(folder.path().join("data/evidence").join(&name)).unwrap();
        assert_eq!((picture.width(), picture.height()), (852, 480), "{name}");
    }
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code(), Some(0));
}
