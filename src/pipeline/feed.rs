//! Keeps the poses of one live source up to date: telemetry that comes beside the picture or on a way of its own, and
//! the tie between its clock and the picture's.

use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Clock;
use crate::flow::frame::FrameMeta;
use crate::flow::pose::PoseProvider;
use crate::flow::source::SourceId;
use crate::flow::time::CaptureClock;
use crate::stages::ingest::{Telemetry, TelemetryKind};
use crate::telemetry::calibrator::Calibrator;
use crate::telemetry::clock_offset::ClockOffsetEstimator;
use crate::telemetry::dji_cloud_mqtt::{DjiCloudBroker, DjiCloudEvent};
use crate::telemetry::fixed::PresetCamera;
use crate::telemetry::klv::sample_of;
use crate::telemetry::mavlink_stream::MavlinkReader;
use crate::telemetry::onvif::{PtzMap, parse_status};
use crate::telemetry::onvif_poll::follow;
use crate::telemetry::onvif_service::PtzService;
use crate::telemetry::timeline::{Limits, TimeTie};
use crate::telemetry::{LogTime, Timeline, TimelineProvider, dji_srt, klv};

/// How often a request to leave is looked at while nothing comes.
const TICK: Duration = Duration::from_millis(200);
/// The first wait before telemetry that broke is opened again; it doubles from one failure to the next.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait; telemetry that held for longer than this begins with the first again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Failed questions in a row after which a camera's direction is unknown.
const FAILURES: u32 = 3;
/// How often the positions of a camera's presets are asked for.
const PRESETS_EVERY: u32 = 600;
/// One standard deviation of the time of telemetry that is stamped like the picture beside it, in seconds.
const SAME_STREAM_S: f64 = 0.02;

/// Where the telemetry of a source comes from.
#[derive(Debug)]
pub enum FeedOrigin {
    /// The stream itself: KLV, subtitles.
    Stream,
    /// MAVLink: `udp://[address]:port` to listen on, `tcp://host:port` to connect to.
    Mavlink(String),
    /// Pushes of the DJI Cloud API.
    DjiCloud(Box<DjiCloudBroker>),
    /// A camera that is asked where it points.
    Ptz {
        /// Its service.
        service: PtzService,
        /// What its numbers mean; without it, only surveyed presets have a direction.
        map: Option<Box<PtzMap>>,
        /// How often it is asked.
        every: Duration,
    },
}

/// How the picture's time and the telemetry's are tied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TieRule {
    /// Seconds that are added to the picture's time, as found by hand or by calibration.
    pub offset_s: f64,
    /// From exposure to arrival, in seconds, for pictures that bring no clock.
    pub latency_s: Option<f64>,
    /// One standard deviation of offset and latency, in seconds.
    pub sigma_s: Option<f64>,
}

#[derive(Debug)]
enum Poses {
    Timeline(TimelineProvider),
    Ptz(Arc<PresetCamera>),
}

/// The telemetry of one live source.
#[derive(Debug)]
pub struct Feed {
    source: SourceId,
    origin: FeedOrigin,
    rule: TieRule,
    poses: Poses,
    /// How far the media time lies behind UTC: the least of the last minute, since arrival can only be late.
    behind: Mutex<ClockOffsetEstimator>,
    /// Finds what arrival does not tell: the time from exposure to arrival, from pans of the camera.
    calibrator: Mutex<Calibrator>,
}

impl Feed {
    /// Makes the feed of a source whose telemetry has places of its own: a drone.
    #[must_use]
    pub fn moving(source: SourceId, origin: FeedOrigin, rule: TieRule) -> Self {
        let clock = match origin {
            FeedOrigin::Stream | FeedOrigin::Ptz { .. } => LogTime::Media,
            FeedOrigin::Mavlink(_) | FeedOrigin::DjiCloud(_) => LogTime::Unix,
        };
        let tie = match clock {
            LogTime::Media => TimeTie {
                offset_s: rule.offset_s,
                sigma_s: rule.sigma_s.or(Some(SAME_STREAM_S)),
            },
            _ => TimeTie::default(),
        };
        let poses = TimelineProvider::new(Timeline::live(clock, Limits::default()), tie);
        Self {
            source,
            origin,
            rule,
            poses: Poses::Timeline(poses),
            behind: Mutex::default(),
            calibrator: Mutex::default(),
        }
    }

    /// Makes the feed of a camera on a mast that turns.
    #[must_use]
    pub fn turning(source: SourceId, origin: FeedOrigin, camera: PresetCamera) -> Self {
        Self {
            source,
            origin,
            rule: TieRule::default(),
            poses: Poses::Ptz(Arc::new(camera)),
            behind: Mutex::default(),
            calibrator: Mutex::default(),
        }
    }

    /// Returns who answers for the poses.
    #[must_use]
    pub fn poses(&self) -> Arc<dyn PoseProvider> {
        match &self.poses {
            Poses::Timeline(timeline) => Arc::new(timeline.clone()),
            Poses::Ptz(camera) => Arc::clone(camera) as Arc<dyn PoseProvider>,
        }
    }

    /// Returns the camera, where it is one that turns on a mast.
    #[must_use]
    pub fn camera(&self) -> Option<Arc<PresetCamera>> {
        match &self.poses {
            Poses::Timeline(_) => None,
            Poses::Ptz(camera) => Some(Arc::clone(camera)),
        }
    }

    /// Returns whether it needs a thread of its own.
    #[must_use]
    pub const fn is_received(&self) -> bool {
        !matches!(self.origin, FeedOrigin::Stream)
    }

    /// Takes what came beside the picture.
    pub fn piece(&self, piece: &Telemetry) {
        let media_s = piece.pts.as_secs_f64();
        match (&self.poses, piece.kind) {
            (Poses::Timeline(poses), TelemetryKind::Klv) => {
                for packet in klv::PacketReader::new(&piece.bytes) {
                    poses.push(&sample_of(&packet, Some(media_s)));
                }
            }
            (Poses::Timeline(poses), TelemetryKind::Subtitle) => {
                // One cue comes at a time, without its number and times: they are put back for the reader of files.
                let text = String::from_utf8_lossy(&piece.bytes);
                let cue = format!("1\n00:00:00,000 --> 00:00:01,000\n{}\n\n", text.trim());
                for mut sample in dji_srt::parse(cue.as_bytes()).samples {
                    sample.time.media_s = Some(media_s);
                    poses.push(&sample);
                }
            }
            (Poses::Ptz(camera), TelemetryKind::Onvif) => {
                let FeedOrigin::Ptz { map: Some(map), .. } = &self.origin else {
                    return;
                };
                if let Ok(status) = parse_status(&String::from_utf8_lossy(&piece.bytes)) {
                    // A camera that moves has no direction, which is no fault.
                    let _direction = follow(camera, Some(map), &[], &status);
                }
            }
            _ => {}
        }
    }

    /// Ties the telemetry's clock to a frame's. `right_px` is how far the picture moved to the right since the frame
    /// before.
    pub fn tie_to(&self, meta: &FrameMeta, right_px: f64) {
        let Poses::Timeline(poses) = &self.poses else {
            return;
        };
        if matches!(self.origin, FeedOrigin::Stream) {
            return;
        }
        let Some(captured) = meta.captured else { return };
        let taken_s = captured.at.as_nanosecond() as f64 / 1e9;
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.report(meta.arrived, taken_s, meta.pts.as_secs_f64());
        let Some(estimate) = behind.estimate() else { return };
        drop(behind);
        let (latency_s, sigma_s) = match captured.clock {
            CaptureClock::Arrival => (
                self.rule.latency_s.unwrap_or(0.0),
                // A latency that nobody gave is a guess: the pose says that its time is assumed.
                self.rule
                    .sigma_s
                    .or_else(|| self.rule.latency_s.map(|_| captured.sigma_s)),
            ),
            _ => (0.0, self.rule.sigma_s.or(Some(captured.sigma_s))),
        };
        let assumed = TimeTie {
            offset_s: estimate.offset_s + self.rule.offset_s - latency_s,
            sigma_s,
        };
        if sigma_s.is_some() {
            poses.set_tie(assumed);
            return;
        }
        let mut calibrator = self.calibrator.lock().unwrap_or_else(PoisonError::into_inner);
        let at_s = meta.pts.as_secs_f64();
        if let Some(found) = calibrator.frame(at_s, right_px, poses, assumed) {
            info!(source = %self.source, offset_s = found.offset_s, quality = found.quality, "time offset calibrated");
        }
        poses.set_tie(calibrator.tie(assumed));
    }

    /// Receives until `stop` says so, and opens again what broke. `stop` waits for the time it is given and returns
    /// whether to leave.
    pub fn receive(&self, clock: &dyn Clock, stop: &dyn Fn(Duration) -> bool) {
        match (&self.origin, &self.poses) {
            (FeedOrigin::Mavlink(url), Poses::Timeline(poses)) => {
                let mut wait = FIRST_WAIT;
                while !stop(Duration::ZERO) {
                    let opened = clock.monotonic();
                    match self.mavlink(url, poses, clock, stop) {
                        Ok(()) => return,
                        Err(why) => {
                            warn!(source = %self.source, %url, %why, "MAVLink broke off; it is opened again");
                        }
                    }
                    if clock.monotonic().since(opened) > LONGEST_WAIT {
                        wait = FIRST_WAIT;
                    }
                    if stop(wait) {
                        return;
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
            (FeedOrigin::DjiCloud(broker), Poses::Timeline(poses)) => {
                broker.receive(stop, |event| match event {
                    DjiCloudEvent::Connected => info!(source = %self.source, "telemetry broker reached"),
                    DjiCloudEvent::Lost { problem } => {
                        warn!(source = %self.source, %problem, "the telemetry broker is lost; it is tried again");
                    }
                    DjiCloudEvent::Sample(sample) => poses.push(&sample),
                    DjiCloudEvent::Malformed { problem } => {
                        tracing::debug!(source = %self.source, %problem, "a push could not be read");
                    }
                });
            }
            (FeedOrigin::Ptz { service, map, every }, Poses::Ptz(camera)) => {
                self.ask(service, map.as_deref(), *every, camera, clock, stop);
            }
            _ => {}
        }
    }

    fn mavlink(
        &self,
        url: &str,
        poses: &TimelineProvider,
        clock: &dyn Clock,
        stop: &dyn Fn(Duration) -> bool,
    ) -> std::io::Result<()> {
        let mut receive = mavlink_socket(url)?;
        info!(source = %self.source, %url, "MAVLink is awaited");
        let mut reader = MavlinkReader::default();
        let mut buffer = vec![0; 65_536];
        while !stop(Duration::ZERO) {
            let length = match receive(&mut buffer) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if is_silence(&error) => continue,
                Err(error) => return Err(error),
            };
            let now_s = clock.wall().as_nanosecond() as f64 / 1e9;
            for sample in reader.push(buffer.get(..length).unwrap_or_default(), now_s) {
                poses.push(&sample);
            }
        }
        Ok(())
    }

    fn ask(
        &self,
        service: &PtzService,
        map: Option<&PtzMap>,
        every: Duration,
        camera: &PresetCamera,
        clock: &dyn Clock,
        stop: &dyn Fn(Duration) -> bool,
    ) {
        let mut positions = Vec::new();
        let (mut asked, mut failures, mut is_told) = (0_u32, 0_u32, false);
        while !stop(Duration::ZERO) {
            let now = clock.wall();
            if map.is_none() && (positions.is_empty() || asked >= PRESETS_EVERY) {
                match service.presets(now) {
                    Ok(told) => (positions, asked, is_told) = (told, 0, false),
                    // Told once: the question is asked again with each status.
                    Err(why) if !is_told => {
                        warn!(source = %self.source, %why, "the camera does not tell its presets");
                        is_told = true;
                    }
                    Err(_) => {}
                }
            }
            asked += 1;
            match service.status(now) {
                Ok(status) => {
                    failures = 0;
                    if let Err(why) = follow(camera, map, &positions, &status) {
                        tracing::debug!(source = %self.source, %why, "the camera has no direction now");
                    }
                }
                Err(why) => {
                    failures += 1;
                    if failures == FAILURES {
                        warn!(source = %self.source, %why, "the camera does not tell where it points: its fires get no place");
                        camera.set_direction(None);
                    }
                }
            }
            if stop(every) {
                return;
            }
        }
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted
    )
}

/// Reads the next bytes into a buffer.
type Receive = Box<dyn FnMut(&mut [u8]) -> std::io::Result<usize>>;

fn mavlink_socket(url: &str) -> std::io::Result<Receive> {
    if let Some(address) = url.strip_prefix("udp://") {
        let socket = if address.starts_with(':') {
            UdpSocket::bind(format!("0.0.0.0{address}"))?
        } else {
            UdpSocket::bind(address)?
        };
        socket.set_read_timeout(Some(TICK))?;
        return Ok(Box::new(move |buffer| socket.recv(buffer)));
    }
    let host = url.strip_prefix("tcp://").unwrap_or(url);
    let address = host
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| std::io::Error::other("its name has no address"))?;
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    socket.set_read_timeout(Some(TICK))?;
    Ok(Box::new(move |buffer| socket.read(buffer)))
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
