//! `emberwatch telemetry dump`: what a telemetry file or stream says, one record a line.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock::{Clock, SystemClock};
use crate::flow::pose::Attitude;
use crate::telemetry::dji_cloud::DjiCloudSettings;
use crate::telemetry::mavlink_stream::MavlinkReader;
use crate::telemetry::open::{self, Settings};
use crate::telemetry::{GimbalFrame, TelemetryLog, TelemetrySample};

/// Looks at telemetry.
#[derive(Debug, Args)]
pub struct TelemetryArgs {
    #[command(subcommand)]
    command: TelemetryCommand,
}

#[derive(Debug, Subcommand)]
enum TelemetryCommand {
    /// Prints each record: time, place with datum, attitude, field of view, uncertainties, quality.
    Dump(DumpArgs),
}

/// What to print.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// A file (.SRT, .klv, .ts, .tlog, .json, .csv, .gpx, a photo, a video with a subtitle track), or MAVLink as
    /// `udp://0.0.0.0:14550` or `tcp://host:5760`.
    input: String,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,

    /// What a DJI Cloud API `gimbal_yaw` is measured against.
    #[arg(long, value_enum)]
    gimbal_yaw: Option<GimbalYaw>,

    /// Ends after so many records.
    #[arg(long)]
    limit: Option<usize>,
}

/// What a gimbal's yaw is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum GimbalYaw {
    /// True north.
    North,
    /// The aircraft's heading.
    Aircraft,
}

impl GimbalYaw {
    /// Returns the settings of telemetry files that follow.
    #[must_use]
    pub fn settings(yaw: Option<Self>) -> Settings {
        Settings {
            dji_cloud: DjiCloudSettings {
                gimbal_yaw: yaw.map(|yaw| match yaw {
                    Self::North => GimbalFrame::Earth,
                    Self::Aircraft => GimbalFrame::Heading,
                }),
            },
            ..Settings::default()
        }
    }
}

/// A sample with what follows from it.
#[derive(Serialize)]
struct Line<'sample> {
    #[serde(flatten)]
    sample: &'sample TelemetrySample,
    /// Where the optical axis points, over true north and the horizon.
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<Attitude>,
    /// Why that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_camera: Option<String>,
}

/// Prints telemetry.
pub fn run(args: &TelemetryArgs) -> anyhow::Result<ExitCode> {
    let TelemetryCommand::Dump(args) = &args.command;
    let mut out = std::io::stdout().lock();
    if args.input.starts_with("udp://") || args.input.starts_with("tcp://") {
        return stream(args, &mut out);
    }
    let log = open::open(&PathBuf::from(&args.input), &GimbalYaw::settings(args.gimbal_yaw))?;
    for sample in log.samples.iter().take(args.limit.unwrap_or(usize::MAX)) {
        if !print(&mut out, sample, args.json)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    summary(&log);
    Ok(ExitCode::SUCCESS)
}

/// Writes a line. Returns `false` once nobody reads any more.
fn print(out: &mut impl Write, sample: &TelemetrySample, json: bool) -> anyhow::Result<bool> {
    let line = if json {
        let camera = sample.camera_attitude();
        serde_json::to_string(&Line {
            sample,
            camera: camera.ok(),
            no_camera: camera.err().map(|error| error.to_string()),
        })?
    } else {
        describe(sample)
    };
    match writeln!(out, "{line}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

fn describe(sample: &TelemetrySample) -> String {
    let mut parts: Vec<String> = Vec::new();
    let time = &sample.time;
    if let Some(media_s) = time.media_s {
        parts.push(format!("{media_s:10.3} s"));
    }
    if let Some(unix_s) = time.unix_s {
        parts.push(format!("unix {unix_s:.3}"));
    } else if let Some(boot_s) = time.boot_s {
        parts.push(format!("boot {boot_s:.3}"));
    }
    parts.push(sample.position.map_or_else(
        || "no fix".to_owned(),
        |place| format!("{:.7},{:.7}", place.lat, place.lon),
    ));
    for (name, metres) in [
        ("ellipsoid", sample.heights.ellipsoid_m),
        ("egm96", sample.heights.egm96_m),
        ("takeoff", sample.heights.takeoff_m),
        ("ground", sample.heights.ground_m),
    ] {
        if let Some(metres) = metres {
            parts.push(format!("{metres:.1} m {name}"));
        }
    }
    match sample.camera_attitude() {
        Ok(looks) => parts.push(format!(
            "looks {:.2}° {:+.2}° roll {:+.2}°",
            looks.yaw_deg, looks.pitch_deg, looks.roll_deg
        )),
        Err(_) => parts.push("no camera direction".into()),
    }
    let optics = &sample.optics;
    if let Some(hfov_deg) = optics.hfov_deg {
        parts.push(format!("hfov {hfov_deg:.2}°"));
    }
    if let Some(focal_mm) = optics.focal_length_35mm_mm {
        parts.push(format!("{focal_mm:.1} mm (35 mm)"));
    }
    if let Some(zoom) = optics.zoom.filter(|zoom| (zoom - 1.0).abs() > 1e-9) {
        parts.push(format!("zoom {zoom:.2}"));
    }
    if let Some(range_m) = sample.laser.and_then(|laser| laser.range_m) {
        parts.push(format!("laser {range_m:.1} m"));
    }
    for flag in sample.flags.iter() {
        if let Ok(serde_json::Value::String(word)) = serde_json::to_value(flag) {
            parts.push(word);
        }
    }
    parts.join("  ")
}

fn summary(log: &TelemetryLog) {
    eprintln!(
        "{}: {} records, {} damaged, {} with a wrong checksum, {} bytes passed over",
        log.format,
        log.samples.len(),
        log.malformed,
        log.bad_checksums,
        log.skipped_bytes
    );
    for note in &log.notes {
        eprintln!("note: {note}");
    }
}

/// How long a stream may be silent, in seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prints MAVLink as it comes, until it ends, falls silent or the limit is reached.
fn stream(args: &DumpArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::new();
    let mut reader = MavlinkReader::default();
    let mut receive = receiver(&args.input)?;
    let mut buffer = vec![0u8; 65_536];
    let mut left = args.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let length = receive(&mut buffer).with_context(|| {
            format!(
                "cannot read MAVLink from {}: nothing came for {} s or the connection broke",
                args.input,
                PATIENCE.as_secs()
            )
        })?;
        if length == 0 {
            break;
        }
        let now_s = clock.wall().as_nanosecond() as f64 / 1e9;
        let samples = reader.push(buffer.get(..length).unwrap_or_default(), now_s);
        for sample in samples.iter().take(left) {
            if !print(out, sample, args.json)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        out.flush().ok();
        left = left.saturating_sub(samples.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the next bytes of a stream into a buffer.
type Receive = Box<dyn FnMut(&mut [u8]) -> std::io::Result<usize>>;

fn receiver(url: &str) -> anyhow::Result<Receive> {
    if let Some(address) = url.strip_prefix("udp://") {
        // `udp://:14550` listens on every address.
        let address = if address.starts_with(':') {
            format!("0.0.0.0{address}")
        } else {
            address.to_owned()
        };
        let socket =
            UdpSocket::bind(&address).with_context(|| format!("cannot listen on {address} for MAVLink"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        return Ok(Box::new(move |buffer| socket.recv(buffer)));
    }
    let address = url.strip_prefix("tcp://").unwrap_or(url);
    let mut socket =
        TcpStream::connect(address).with_context(|| format!("cannot connect to {address} for MAVLink"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(Box::new(move |buffer| socket.read(buffer)))
}
