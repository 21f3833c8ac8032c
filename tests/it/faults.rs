//! What a live source does to us, and how fast we are back: a real RTSP server as a child process, killed, stopped,
//! restarted, changed.

use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::source::{Duty, SourceId, SourceState};
use emberwatch::flow::time::{CaptureClock, CaptureTime, MediaTime};
use emberwatch::stages::ingest::{
    Credentials, DutyControl, GstOpener, IngestErrorKind, IngestSnapshot, IngestStats, Ingested, Location,
    OpenRequest, PacketTap, SourceSpec, Surroundings, Transport, run_live,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::reading::make_clip;

/// `emberwatch serve` as a child; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts and waits until it is ready; port 0 takes a free one.
    pub(crate) fn start(file: &Path, port: u16, credentials: Option<&str>) -> Self {
        match credentials {
            None => Self::start_with(file, port, &[], &[]),
            Some(credentials) => Self::start_with(
                file,
                port,
                &["--credentials-env", "CAMERA_CREDENTIALS"],
                &[("CAMERA_CREDENTIALS", credentials)],
            ),
        }
    }

    /// Starts it with further arguments and things in its environment.
    pub(crate) fn start_with(
        file: &Path,
        port: u16,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_emberwatch"))
            .arg("serve")
            .arg(format!("{}=cam", file.display()))
            .args(["--port", &port.to_string()])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("the output is piped")).lines();
        let mut address = String::new();
        for line in lines {
            let line = line.expect("the program speaks");
            if line == "ready" {
                break;
            }
            address = line;
        }
        assert!(address.starts_with("rtsp://"), "the server did not start");
        Self { child, address }
    }

    pub(crate) fn port(&self) -> u16 {
        let rest = self.address.trim_start_matches("rtsp://127.0.0.1:");
        rest.split('/')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("the address has a port")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("the server can be signalled");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a test sees of a live source.
#[derive(Debug)]
pub(crate) enum Seen {
    Frame {
        sequence: u64,
        pts: MediaTime,
        width: u32,
        is_key: bool,
        captured: Option<CaptureTime>,
        behind: u32,
    },
    State(SourceState, Option<IngestErrorKind>),
}

/// A live source that is being watched.
pub(crate) struct Watched<'a> {
    seen: Receiver<Seen>,
    clock: &'a SystemClock,
    duty: Arc<DutyControl>,
    stats: &'a IngestStats,
}

impl Watched<'_> {
    /// Waits for something, and returns what the wanted function made of it and after how many seconds.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        limit_s: f64,
        mut wanted: impl FnMut(&Seen) -> Option<T>,
    ) -> (T, f64) {
        let start = self.clock.monotonic();
        loop {
            let passed_s = self.clock.monotonic().since(start).as_secs_f64();
            assert!(
                passed_s < limit_s,
                "{what} did not come within {limit_s} s; {:?}",
                self.stats.snapshot()
            );
            if let Ok(seen) = self.seen.recv_timeout(Duration::from_millis(100))
                && let Some(found) = wanted(&seen)
            {
                return (found, self.clock.monotonic().since(start).as_secs_f64());
            }
        }
    }

    /// Waits for the next frame and returns its number, time and width, and after how many seconds it came.
    pub(crate) fn frame(&self, limit_s: f64) -> ((u64, MediaTime, u32), f64) {
        self.wait("a frame", limit_s, |seen| match seen {
            Seen::Frame {
                sequence, pts, width, ..
            } => Some((*sequence, *pts, *width)),
            Seen::State(..) => None,
        })
    }

    pub(crate) fn state(&self, state: SourceState, limit_s: f64) -> (Option<IngestErrorKind>, f64) {
        self.wait(state.name(), limit_s, |seen| match seen {
            Seen::State(found, reason) if *found == state => Some(*reason),
            _ => None,
        })
    }

    /// Forgets what was seen so far.
    fn forget(&self) {
        while self.seen.try_recv().is_ok() {}
    }
}

/// Watches a live source on a thread of its own while the test's body runs.
pub(crate) fn watch(spec: SourceSpec, duty: Duty, body: impl FnOnce(&Watched<'_>)) -> IngestSnapshot {
    watch_tapped(spec, duty, None, body)
}

/// Watches a live source, and hands its packets to a tap.
pub(crate) fn watch_tapped(
    spec: SourceSpec,
    duty: Duty,
    tap: Option<Arc<dyn PacketTap>>,
    body: impl FnOnce(&Watched<'_>),
) -> IngestSnapshot {
    let clock = Arc::new(SystemClock::new());
    let opener = GstOpener::new(clock.clone()).expect("GStreamer loads");
    let stats = IngestStats::default();
    let duty = Arc::new(DutyControl::new(duty));
    let request = OpenRequest {
        tap,
        ..OpenRequest::new(Arc::new(spec), Arc::clone(&duty))
    };
    let (tell, seen) = bounded(100_000);
    let (leave, left) = bounded::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stop = |wait: Duration| {
                !matches!(
                    left.recv_timeout(wait),
                    Err(crossbeam_channel::RecvTimeoutError::Timeout)
                )
            };
            let around = Surroundings {
                clock: clock.as_ref(),
                stop: &stop,
                stats: &stats,
            };
            run_live(&request, &opener, &around, &mut |ingested| {
                let told = match ingested {
                    Ingested::Frame(frame) => tell.try_send(Seen::Frame {
                        sequence: frame.meta.sequence,
                        pts: frame.meta.pts,
                        width: frame.picture.width,
                        is_key: frame.meta.is_key,
                        captured: frame.meta.captured,
                        behind: frame.meta.gap.behind,
                    }),
                    Ingested::State(change) => tell.try_send(Seen::State(change.to, change.reason)),
                    _ => Ok(()),
                };
                if told.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
        });
        let watched = Watched {
            seen,
            clock: clock.as_ref(),
            duty,
            stats: &stats,
        };
        // Leaves also when the body panics, or the scope would wait for ever.
        let _leave = leave;
        body(&watched);
    });
    stats.snapshot()
}

pub(crate) fn camera(address: &str) -> SourceSpec {
    let (location, credentials) = Location::parse(address).expect("the address is good");
    SourceSpec {
        credentials,
        ..SourceSpec::live(SourceId::new("cam"), location)
    }
}

/// A clip to serve: a key frame each second.
fn served(folder: &Path, name: &str, more: &[&str]) -> Option<std::path::PathBuf> {
    let file = folder.join(name);
    make_clip(&file, 4, more).then_some(file)
}

#[test]
fn a_killed_server_is_blind_once_and_seen_again_within_two_seconds_and_a_key_frame() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let Some(file) = served(scratch.path(), "a.mp4", &[]) else {
        return;
    };
    let mut server = Server::start(&file, 0, None);
    let port = server.port();
    let counted = watch(camera(&server.address), Duty::Watch, |camera| {
        camera.state(SourceState::Live, 20.0);
        let ((before, pts_before, _), _) = camera.frame(5.0);
        server.signal(Signal::SIGKILL);
        let (reason, after_s) = camera.state(SourceState::Blind, 10.0);
        println!("killed: blind after {after_s:.2} s, {reason:?}");
        // Several attempts fail while it is away.
        camera.clock_passes(6.0);
        camera.forget();
        server = Server::start(&file, port, None);
        let ((after, pts_after, _), back_s) = camera.frame(20.0);
        println!("killed: first frame {back_s:.2} s after the server was back");
        assert!(after > before && pts_after > pts_before);
        assert!(back_s <= 3.5, "the first frame took {back_s} s");
    });
    assert!(counted.connections >= 2, "{counted:?}");
}

#[test]
fn a_hung_server_is_blind_and_seen_again_when_it_wakes() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let Some(file) = served(scratch.path(), "a.mp4", &[]) else {
        return;
    };
    let server = Server::start(&file, 0, None);
    watch(camera(&server.address), Duty::Watch, |camera| {
        camera.state(SourceState::Live, 20.0);
        server.signal(Signal::SIGSTOP);
        let (_, stalled_s) = camera.state(SourceState::Stalled, 10.0);
        let (_, blind_s) = camera.state(SourceState::Blind, 10.0);
        println!("hung: stalled after {stalled_s:.2} s, blind {blind_s:.2} s later");
        camera.clock_passes(8.0);
        camera.forget();
        server.signal(Signal::SIGCONT);
        let (_, back_s) = camera.frame(30.0);
        println!("hung: first frame {back_s:.2} s after the server woke");
        assert!(back_s <= 3.5, "the first frame took {back_s} s");
    });
}

impl Watched<'_> {
    /// Lets time pass; what is seen meanwhile is forgotten.
    pub(crate) fn clock_passes(&self, seconds: f64) {
        let start = self.clock.monotonic();
        while self.clock.monotonic().since(start).as_secs_f64() < seconds {
            let _seen = self.seen.recv_timeout(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_camera_that_comes_back_with_another_size_and_codec_is_taken_as_it_is() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let Some(small) = served(scratch.path(), "small.mp4", &[]) else {
        return;
    };
    let more = [
        "-s",
        "640x360",
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=error:keyint=25",
    ];
    let Some(large) = served(scratch.path(), "large.mp4", &more) else {
        return;
    };
    let server = Server::start(&small, 0, None);
    let port = server.port();
    watch(camera(&server.address), Duty::Watch, |camera| {
        let ((_, _, width), _) = camera.frame(20.0);
        assert_eq!(width, 320);
        drop(server);
        camera.state(SourceState::Blind, 10.0);
        let _server = Server::start(&large, port, None);
        let ((_, _, width), _) = camera.frame(20.0);
        assert_eq!(width, 640);
    });
}

#[test]
fn a_wrong_password_an_unknown_path_and_a_closed_port_are_told_apart() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let Some(file) = served(scratch.path(), "a.mp4", &[]) else {
        return;
    };
    let server = Server::start(&file, 0, Some("admin:right"));
    let with_password = |password: &str| SourceSpec {
        credentials: Some(Credentials::new("admin", password)),
        ..camera(&server.address)
    };
    watch(with_password("wrong"), Duty::Watch, |camera| {
        let (reason, after_s) = camera.state(SourceState::Blind, 15.0);
        assert_eq!(reason, Some(IngestErrorKind::Unauthorised));
        println!("wrong password: told after {after_s:.2} s");
    });
    watch(with_password("right"), Duty::Watch, |camera| {
        camera.frame(20.0);
    });
    let open = Server::start(&file, 0, None);
    let unknown = open.address.replace("/cam", "/nobody");
    watch(camera(&unknown), Duty::Watch, |camera| {
        let (reason, _) = camera.state(SourceState::Blind, 15.0);
        assert_eq!(reason, Some(IngestErrorKind::NotFound));
    });
    let closed = open.address.clone();
    drop(open);
    watch(camera(&closed), Duty::Watch, |camera| {
        let (reason, _) = camera.state(SourceState::Blind, 15.0);
        assert_eq!(reason, Some(IngestErrorKind::Unreachable));
    });
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_blind_after_five_seconds() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let counted = watch(
        camera(&format!("rtsp://127.0.0.1:{port}/cam")),
        Duty::Watch,
        |camera| {
            let (reason, after_s) = camera.state(SourceState::Blind, 10.0);
            assert_eq!(reason, Some(IngestErrorKind::Silent));
            assert!((4.5..8.0).contains(&after_s), "{after_s}");
            // It is given up and built anew after ten.
            camera.clock_passes(8.0);
        },
    );
    assert!(counted.connections >= 2, "{counted:?}");
    drop(listener);
}

#[test]
fn frames_come_over_both_transports_and_carry_the_cameras_clock() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let Some(file) = served(scratch.path(), "a.mp4", &["-bf", "2", "-preset", "medium"]) else {
        return;
    };
    let server = Server::start(&file, 0, None);
    for transport in [Transport::Tcp, Transport::Udp] {
        let spec = SourceSpec {
            transport,
            ..camera(&server.address)
        };
        watch(spec, Duty::Watch, |camera| {
            let (_, first_s) = camera.frame(20.0);
            let ((), report_s) = camera.wait("a sender report", 15.0, |seen| match seen {
                Seen::Frame {
                    captured:
                        Some(CaptureTime {
                            clock: CaptureClock::RtcpSenderReport,
                            ..
                        }),
                    ..
                } => Some(()),
                _ => None,
            });
            println!(
                "{transport:?}: first frame after {first_s:.2} s, the camera's clock {report_s:.2} s later"
            );
            // Over the seam of the served loop, times go on growing.
            let mut last = MediaTime::ZERO;
            camera.wait("six seconds of frames", 20.0, |seen| match seen {
                Seen::Frame { pts, .. } => {
                    assert!(*pts > last, "{pts} after {last}");
                    last = *pts;
                    (pts.as_secs_f64() > 8.0).then_some(())
                }
                Seen::State(..) => None,
            });
        });
    }
}

#[test]
fn patrol_sees_key_frames_and_an_alarm_every_frame() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let Some(file) = served(scratch.path(), "a.mp4", &[]) else {
        return;
    };
    let server = Server::start(&file, 0, None);
    watch(camera(&server.address), Duty::Patrol, |camera| {
        for _ in 0..3 {
            camera.wait("a key frame", 20.0, |seen| match seen {
                Seen::Frame { is_key, .. } => {
                    assert!(*is_key);
                    Some(())
                }
                Seen::State(..) => None,
            });
        }
        // The receiver's clock follows the sender's, a few milliseconds to and fro.
        let distance_s = camera
            .duty
            .key_frame_distance()
            .map_or(0.0, |distance| distance.as_secs_f64());
        assert!((0.9..1.1).contains(&distance_s), "{distance_s}");
        camera.duty.set(Duty::Alarm);
        camera.wait("a frame between key frames", 5.0, |seen| match seen {
            Seen::Frame { is_key: false, .. } => Some(()),
            _ => None,
        });
    });
}
