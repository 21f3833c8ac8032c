//! `emberwatch locate`: where a pixel is, how sure that is, and by what method.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::cli::telemetry::GimbalYaw;
use crate::flow::pose::{Height, HeightDatum, PoseFlag, PoseFlags};
use crate::geo::assumptions::Assumptions;
use crate::geo::locate::{LocateRefusal, Located, locate};
use crate::geo::terrain::Terrain;
use crate::geo::{CameraModel, SensorCrop};
use crate::telemetry::calibrator::ToldCalibration;
use crate::telemetry::timeline::Timeline;
use crate::telemetry::{Gimbal, GimbalFrame, LogTime, TelemetryLog, TelemetrySample};

mod answer;

mod origin;

use answer::{Answer, AnswerPosition, describe};
use origin::{SeenVideo, calibration, camera_of_pipeline, seen_of_video, telemetry};

/// The picture's size where nothing states it: only the shape of pixels off the middle depends on it.
const USUAL_SIZE: (u32, u32) = (1_920, 1_080);

/// The field of view that stands in for an unknown one at the middle of the picture, in degrees. The ray through the
/// middle does not depend on it.
const STAND_IN_HFOV_DEG: f64 = 60.0;

/// How much the ground rises or falls between take-off and fire where no terrain is given, as a standard deviation in
/// metres.
const UNKNOWN_RELIEF_M: f64 = 15.0;

/// The uncertainty of the height that a device states for the middle of its picture, in metres.
const STATED_GROUND_SIGMA_M: f64 = 10.0;

/// Which pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pixel {
    Centre,
    At(f64, f64),
}

fn pixel(text: &str) -> Result<Pixel, String> {
    if matches!(text, "center" | "centre") {
        return Ok(Pixel::Centre);
    }
    let expected = || format!("`{text}` is no pixel: X,Y or `center` is expected");
    let (x, y) = text.split_once(',').ok_or_else(expected)?;
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite() && *value >= 0.0)
            .ok_or_else(expected)
    };
    Ok(Pixel::At(number(x)?, number(y)?))
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let expected = || format!("`{text}` is no size: WIDTHxHEIGHT is expected, such as 1920x1080");
    let (width, height) = text.split_once('x').ok_or_else(expected)?;
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|value| (1..=100_000).contains(value))
            .ok_or_else(expected)
    };
    Ok((number(width)?, number(height)?))
}

/// Says where a pixel is on the ground.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the command line"
)]
pub struct LocateArgs {
    /// A photo with EXIF or XMP.
    #[arg(required_unless_present_any = ["telemetry", "video", "pipeline"], conflicts_with = "telemetry")]
    photo: Option<PathBuf>,

    /// A pipeline file with a fixed camera.
    #[arg(long, value_name = "PIPELINE.toml", requires = "source", conflicts_with_all = ["photo", "telemetry", "at", "all"])]
    pipeline: Option<PathBuf>,

    /// Which of its sources.
    #[arg(long, value_name = "ID", requires = "pipeline")]
    source: Option<String>,

    /// The preset at which a turning camera of the pipeline stands.
    #[arg(long, value_name = "NAME", requires = "pipeline")]
    preset: Option<String>,

    /// Telemetry: .SRT, .klv, .ts, .tlog, .json, .csv, .gpx.
    #[arg(long, value_name = "FILE")]
    telemetry: Option<PathBuf>,

    /// The video that the telemetry belongs to; alone, its telemetry is looked for beside and inside it.
    #[arg(long, value_name = "FILE")]
    video: Option<PathBuf>,

    /// The moment: seconds of the video, or seconds since 1970.
    #[arg(long, value_name = "T", conflicts_with_all = ["frame", "all"])]
    at: Option<f64>,

    /// The frame, counted from 0; its time is that of `--video`, or follows from `--fps`.
    #[arg(long, value_name = "N", conflicts_with = "all")]
    frame: Option<u64>,

    /// Finds the offset of the telemetry's clock from a pan of the camera in `--video`.
    #[arg(long, requires = "video", conflicts_with = "time_offset")]
    calibrate_time: bool,

    /// Frames a second of the video.
    #[arg(long)]
    fps: Option<f64>,

    /// One line for each record of the telemetry.
    #[arg(long)]
    all: bool,

    /// The pixel, x from the left and y from the top, or `center`.
    #[arg(long, value_parser = pixel, default_value = "center", allow_hyphen_values = true)]
    pixel: Pixel,

    /// Terrain: Copernicus or other `GeoTIFF`, SRTM .hgt. May be given several times.
    #[arg(long, value_name = "FILE")]
    dem: Vec<PathBuf>,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,

    /// Width and height of the picture.
    #[arg(long, value_parser = size, value_name = "WxH")]
    size: Option<(u32, u32)>,

    /// Horizontal field of view, in degrees, where telemetry does not tell it.
    #[arg(long, value_name = "DEG")]
    hfov: Option<f64>,

    /// The camera looked straight down: for telemetry without gimbal angles.
    #[arg(long, conflicts_with_all = ["yaw", "pitch"])]
    assume_nadir: bool,

    /// The camera's yaw over true north, in degrees, where telemetry does not tell it.
    #[arg(long, value_name = "DEG", requires = "pitch", allow_hyphen_values = true)]
    yaw: Option<f64>,

    /// The camera's pitch, degrees above the horizon, where telemetry does not tell it.
    #[arg(long, value_name = "DEG", requires = "yaw", allow_hyphen_values = true)]
    pitch: Option<f64>,

    /// The height of the ground above sea level in metres (EGM2008), where no terrain is given.
    #[arg(
        long,
        value_name = "METRES",
        conflicts_with = "dem",
        allow_hyphen_values = true
    )]
    ground: Option<f64>,

    /// Seconds to add to the video's time to get the telemetry's.
    #[arg(long, value_name = "S", default_value_t = 0.0, allow_hyphen_values = true)]
    time_offset: f64,

    /// What a DJI Cloud API `gimbal_yaw` is measured against.
    #[arg(long, value_enum)]
    gimbal_yaw: Option<GimbalYaw>,
}

/// Prints where a pixel is.
pub fn run(args: &LocateArgs) -> anyhow::Result<ExitCode> {
    let settings = GimbalYaw::settings(args.gimbal_yaw);
    let pipeline = match &args.pipeline {
        Some(path) => Some((path, crate::config::load::read(path)?)),
        None => None,
    };
    let log = match (&pipeline, &args.source) {
        (Some((path, file)), Some(source)) => camera_of_pipeline(path, file, source, args.preset.as_deref())?,
        _ => telemetry(args, &settings)?,
    };
    let seen = seen_of_video(args, &log)?;
    let calibration = args
        .calibrate_time
        .then(|| calibration(&log, &seen))
        .transpose()?
        .flatten();
    let terrain = if let (true, Some((path, file))) = (args.dem.is_empty(), &pipeline) {
        super::ground::of(&file.terrain, path)?
    } else if args.dem.is_empty() {
        None
    } else {
        Some(Terrain::open(&args.dem, HeightDatum::Egm2008)?)
    };
    let job = Job {
        args,
        log: &log,
        terrain,
        seen,
        calibration,
    };
    for note in &log.notes {
        tracing::info!("{note}");
    }
    let mut out = std::io::stdout().lock();
    let answers: Box<dyn Iterator<Item = Answer>> = if args.all {
        Box::new(log.samples.iter().map(|sample| job.answer(sample)))
    } else {
        Box::new(std::iter::once(job.answer_at_moment()?))
    };
    for answer in answers {
        let line = if args.json || args.all {
            serde_json::to_string(&answer)?
        } else {
            describe(&answer)
        };
        match writeln!(out, "{line}") {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(error).context("cannot write to standard output"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Job<'run> {
    args: &'run LocateArgs,
    log: &'run TelemetryLog,
    terrain: Option<Terrain>,
    seen: SeenVideo,
    calibration: Option<ToldCalibration>,
}

impl Job<'_> {
    /// Answers for the moment that was asked for; a log without times has one.
    fn answer_at_moment(&self) -> anyhow::Result<Answer> {
        let args = self.args;
        let asked_s = match (args.at, args.frame, args.fps) {
            (Some(at_s), _, _) => Some(at_s),
            (None, Some(frame), Some(fps)) if fps > 0.0 => Some(frame as f64 / fps),
            (None, Some(_), Some(_)) => bail!("--fps must be more than 0"),
            (None, Some(_), None) => Some(
                self.seen
                    .frame_s
                    .context("--frame needs --video, whose frames are counted, or --fps")?,
            ),
            (None, None, _) => None,
        };
        let (Some(asked_s), true) = (asked_s, self.log.clock != LogTime::None) else {
            let [only] = self.log.samples.as_slice() else {
                bail!(
                    "the telemetry has {} records: say which moment with --at or --frame, or take --all",
                    self.log.samples.len()
                );
            };
            return Ok(self.answer(only));
        };
        let at_s = self.telemetry_s(asked_s)?;
        let timeline = Timeline::of(self.log);
        Ok(match timeline.sample_at(at_s) {
            Ok((mut sample, age_s)) => {
                if let Some(told) = &self.calibration {
                    sample.sigmas.time_s = Some(told.found.sigma_s);
                } else if self.is_tie_assumed(asked_s) {
                    sample.flags.insert(PoseFlag::TimeOffsetAssumed);
                }
                self.answer_with_age(&sample, age_s)
            }
            Err(refusal) => Answer {
                unix_s: (self.log.clock == LogTime::Unix).then_some(at_s),
                media_s: (self.log.clock == LogTime::Media).then_some(at_s),
                ray: None,
                position: None,
                ellipse: None,
                ce90_m: None,
                method: None,
                refused: Some(refusal.to_string()),
                time_calibration: self.calibration,
                flags: PoseFlags::NONE,
            },
        })
    }

    /// Returns whether nothing but the habit of starting both together ties the video's time to the telemetry's.
    fn is_tie_assumed(&self, asked_s: f64) -> bool {
        self.log.clock != LogTime::Media && asked_s <= 1e8
    }

    /// Turns the time that was asked for into the log's own time.
    fn telemetry_s(&self, asked_s: f64) -> anyhow::Result<f64> {
        let is_absolute = asked_s > 1e8;
        let first_s = self
            .log
            .samples
            .iter()
            .find_map(|sample| self.log.time_of(sample))
            .context("no record of the telemetry has a time")?;
        Ok(match self.log.clock {
            LogTime::Media if is_absolute => {
                bail!("the telemetry counts seconds of its video: --at {asked_s} lies far outside")
            }
            LogTime::Media => asked_s + self.args.time_offset,
            LogTime::Unix if is_absolute => asked_s,
            // Without a tie between the two clocks, the first record is the start of the video.
            _ => {
                let found_s = self.calibration.map_or(0.0, |told| told.found.offset_s);
                first_s + asked_s + self.args.time_offset + found_s
            }
        })
    }

    fn answer(&self, sample: &TelemetrySample) -> Answer {
        self.answer_with_age(sample, 0.0)
    }

    fn answer_with_age(&self, sample: &TelemetrySample, age_s: f64) -> Answer {
        let mut sample = *sample;
        self.fill_in(&mut sample);
        let located = self.located(&sample, age_s);
        let refused = located.as_ref().map_or_else(
            |error| Some(error.clone()),
            |located| {
                located
                    .outcome
                    .as_ref()
                    .err()
                    .map(|refusal| self.reason(refusal, &sample))
            },
        );
        let located = located.ok();
        let position = located.as_ref().and_then(|located| located.outcome.clone().ok());
        Answer {
            unix_s: sample.time.unix_s,
            media_s: sample.time.media_s,
            ray: located.and_then(|located| located.ray),
            position: position.map(|position| AnswerPosition {
                lat: position.point.lat,
                lon: position.point.lon,
                height_m: position.height.metres,
                datum: position.height.datum,
            }),
            ellipse: position.map(|position| position.ellipse),
            ce90_m: position.map(|position| position.ce90_m),
            method: position.map(|position| position.method),
            refused,
            time_calibration: self.calibration,
            flags: sample.flags,
        }
    }

    /// Fills in what the caller said where telemetry is silent.
    fn fill_in(&self, sample: &mut TelemetrySample) {
        let args = self.args;
        let told = if args.assume_nadir {
            Some((0.0, -90.0))
        } else {
            args.yaw.zip(args.pitch)
        };
        if let (Some((yaw, pitch)), Err(_)) = (told, sample.camera_attitude())
            && let Some(attitude) = crate::telemetry::sample::checked_attitude(yaw, pitch, 0.0)
        {
            sample.gimbal = Some(Gimbal {
                attitude,
                frame: GimbalFrame::Earth,
            });
            if args.assume_nadir {
                sample.flags.insert(PoseFlag::AssumedAttitude);
            }
        }
        if let Some(hfov_deg) = args.hfov {
            sample.optics.hfov_deg = Some(hfov_deg);
        }
    }

    fn located(&self, sample: &TelemetrySample, age_s: f64) -> Result<Located, String> {
        let mut pose = sample.to_pose();
        pose.age_s = Some(age_s);
        // The record itself is asked for, or the file's own time: there is no offset to a picture.
        if !pose.flags.contains(PoseFlag::TimeOffsetAssumed) {
            pose.sigmas.time_s = pose.sigmas.time_s.or(Some(0.0));
        }
        let (width, height) = self
            .args
            .size
            .or(self.log.picture_px)
            .or(self.seen.size)
            .unwrap_or(USUAL_SIZE);
        let is_wide = f64::from(width) > 1.6 * f64::from(height);
        let crop = if is_wide && self.args.pipeline.is_none() {
            SensorCrop::FullWidthOfFourThirds
        } else {
            SensorCrop::Whole
        };
        let camera = match CameraModel::from_optics(width, height, &pose.optics, crop).or_else(|error| {
            let named = self.log.named_camera();
            named.ok_or(error)?.model(width, height)
        }) {
            Ok(camera) => camera,
            // The ray through the middle is the same for every lens.
            Err(_) if self.args.pixel == Pixel::Centre => {
                pose.flags.insert(PoseFlag::AssumedFieldOfView);
                CameraModel::from_hfov(width, height, STAND_IN_HFOV_DEG).map_err(|error| error.to_string())?
            }
            Err(error) => return Err(format!("{error}; or give --hfov")),
        };
        let pixel = match self.args.pixel {
            Pixel::Centre => (camera.cx, camera.cy),
            Pixel::At(x, y) => (x, y),
        };
        let mut assumptions = Assumptions::default();
        let ground = match (&self.terrain, self.args.ground) {
            (Some(terrain), _) => terrain.clone(),
            (None, Some(metres)) => Terrain::plane(Height::new(metres, HeightDatum::Egm2008)),
            // Without terrain, the ground is level at the foot of a mast.
            (None, None) if self.args.pipeline.is_some() => Terrain::flat_below_camera(),
            (None, None) => match sample.frame_centre_heights.absolute() {
                Some(stated) if sample.frame_centre.is_some() && sample.heights.absolute().is_some() => {
                    assumptions.sigmas.terrain_m = STATED_GROUND_SIGMA_M;
                    Terrain::plane(stated)
                }
                _ => {
                    assumptions.sigmas.terrain_m = UNKNOWN_RELIEF_M;
                    Terrain::flat_at_takeoff()
                }
            },
        };
        Ok(locate(pixel, &pose, &camera, &ground, &assumptions))
    }

    /// Says why there is no point, and what would help.
    fn reason(&self, refusal: &LocateRefusal, sample: &TelemetrySample) -> String {
        match refusal {
            LocateRefusal::NoAttitude => sample
                .camera_attitude()
                .err()
                .map_or_else(|| refusal.to_string(), |error| error.to_string()),
            LocateRefusal::NoHeight if self.terrain.is_none() && self.args.ground.is_none() => {
                format!("{refusal}; give terrain with --dem, or the height of the ground with --ground")
            }
            _ => refusal.to_string(),
        }
    }
}
