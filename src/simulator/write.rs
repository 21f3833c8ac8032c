//! Writes a scene to a folder: video, telemetry, truth.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::camera::CameraPose;
use super::earth::GroundPoint;
use super::error::SimulatorError;
use super::klv;
use super::options::{SceneOptions, Weather};
use super::scene::{GROUND_HEIGHT_M, Scene};
use super::telemetry;
use super::truth::Truth;

/// How the video is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264 (AVC).
    H264,
    /// H.265 (HEVC).
    H265,
}

impl Codec {
    /// Returns the codec's usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
        }
    }
}

/// How a scene is written.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputOptions {
    /// The files' common name; nothing makes one of scene, weather and seed.
    pub name: Option<String>,
    /// How the video is encoded.
    pub codec: Codec,
    /// Seconds from one key frame to the next.
    pub key_interval_s: f64,
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            name: None,
            codec: Codec::H264,
            key_interval_s: 2.0,
        }
    }
}

/// The files of a scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenScene {
    /// The video, `NAME.mp4`.
    pub video: PathBuf,
    /// One [`Truth`] a line, `NAME.truth.jsonl`.
    pub truth: PathBuf,
    /// The [`SceneRecord`], `NAME.scene.json`.
    pub scene: PathBuf,
    /// Subtitles as DJI drones write them, `NAME.SRT`.
    pub srt: PathBuf,
    /// MISB ST 0601 packets, `NAME.klv`.
    pub klv: PathBuf,
    /// A flight log, `NAME.csv`.
    pub csv: PathBuf,
}

/// What is true of a whole scene: `NAME.scene.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SceneRecord {
    /// What the scene was made from.
    pub options: SceneOptions,
    /// Number of frames.
    pub frames: u64,
    /// Frames a second, as a fraction.
    pub rate: (u32, u32),
    /// Wall time of the first frame.
    pub started_at: Timestamp,
    /// Where it burns.
    pub fire: Option<GroundPoint>,
    /// When the fire starts, in seconds from the first frame.
    pub fire_start_s: Option<f64>,
    /// The first frame in which smoke or flame can be seen, and its media time in seconds.
    pub first_visible: Option<(u64, f64)>,
    /// Height of the ground above the WGS 84 ellipsoid, in metres.
    pub ground_height_m: f64,
    /// Height of the EGM96 geoid above the ellipsoid, in metres.
    pub undulation_m: f64,
    /// The true pose of the first frame: that of every frame where the camera stands still.
    pub first_pose: CameraPose,
}

/// Returns the wall time of a scene's first frame: an autumn day at the hour that the weather asks for.
#[must_use]
pub fn started_at(weather: Weather) -> Timestamp {
    // 14:30, 18:10 and 21:30 in China.
    let unix_s = match weather {
        Weather::Clear | Weather::Haze => 1_791_009_000,
        Weather::Dusk => 1_791_022_200,
        Weather::Night => 1_791_034_200,
    };
    Timestamp::constant(unix_s, 0)
}

/// Renders a scene into `folder`, which is made if need be; `progress` is told the frames done after each.
///
/// A file under its own name is complete: while it is written it is called `NAME.partial`.
pub fn write(
    options: &SceneOptions,
    output: &OutputOptions,
    folder: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<WrittenScene, SimulatorError> {
    if !(0.04..=60.0).contains(&output.key_interval_s) {
        return Err(SimulatorError::Range {
            name: "key_interval_s",
            value: output.key_interval_s,
            low: 0.04,
            high: 60.0,
        });
    }
    let scene = Scene::new(options.clone())?;
    let weather = format!("{:?}", options.weather).to_lowercase();
    let name = output
        .name
        .clone()
        .unwrap_or_else(|| format!("{}-{weather}-{}", options.kind.name(), options.seed));
    let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
    let written = WrittenScene {
        video: file("mp4"),
        truth: file("truth.jsonl"),
        scene: file("scene.json"),
        srt: file("SRT"),
        klv: file("klv"),
        csv: file("csv"),
    };
    fs::create_dir_all(folder).map_err(|source| SimulatorError::Write {
        path: folder.to_owned(),
        source,
    })?;
    let started = started_at(options.weather);
    let first_pose = scene.pose(0.0);
    let undulation_m = egm96::egm96_compute_altitude_offset(first_pose.lat, first_pose.lon);

    let mut first_visible = None;
    let truth_partial = partial(&written.truth);
    let mut truths = Lines::create(&truth_partial)?;
    let video_partial = partial(&written.video);
    encode(&scene, output, &video_partial, &mut |truth| {
        if first_visible.is_none() && !truth.boxes.is_empty() {
            first_visible = Some((truth.frame, truth.pts_s));
        }
        truths.push(&truth)?;
        progress(truth.frame + 1);
        Ok(())
    })?;
    truths.finish()?;
    settle(&truth_partial, &written.truth)?;
    settle(&video_partial, &written.video)?;

    let record = SceneRecord {
        options: options.clone(),
        frames: scene.frames(),
        rate: options.rate(),
        started_at: started,
        fire: scene.fire(),
        fire_start_s: scene.fire().map(|_| options.fire_start_s),
        first_visible,
        ground_height_m: GROUND_HEIGHT_M,
        undulation_m,
        first_pose,
    };
    let mut text =
        serde_json::to_vec_pretty(&record).map_err(|source| SimulatorError::Json { frame: 0, source })?;
    text.push(b'\n');
    save(&written.scene, &text)?;
    save(
        &written.srt,
        telemetry::dji_srt(&scene, started, undulation_m).as_bytes(),
    )?;
    save(
        &written.csv,
        telemetry::csv(&scene, started, undulation_m).as_bytes(),
    )?;
    save(&written.klv, &packets(&scene, started, undulation_m))?;
    Ok(written)
}

/// Renders and encodes every frame.
#[cfg(feature = "video")]
fn encode(
    scene: &Scene,
    output: &OutputOptions,
    path: &Path,
    each: &mut dyn FnMut(Truth) -> Result<(), SimulatorError>,
) -> Result<(), SimulatorError> {
    let options = scene.options();
    let rate = options.rate();
    let mut encoder = super::gst::Encoder::start(
        path,
        super::gst::Stream {
            codec: output.codec,
            width: options.width,
            height: options.height,
            rate,
            key_interval: (output.key_interval_s * f64::from(rate.0) / f64::from(rate.1)).round() as u32,
        },
    )?;
    for index in 0..scene.frames() {
        let (picture, truth): (crate::flow::frame::Picture, Truth) = scene.frame(index);
        encoder.push(&picture)?;
        each(truth)?;
    }
    encoder.finish()
}

#[cfg(not(feature = "video"))]
fn encode(
    _scene: &Scene,
    _output: &OutputOptions,
    _path: &Path,
    _each: &mut dyn FnMut(Truth) -> Result<(), SimulatorError>,
) -> Result<(), SimulatorError> {
    Err(SimulatorError::NoVideo)
}

/// Returns ST 0601 packets at 10 a second, or one a frame where frames are rarer.
fn packets(scene: &Scene, started: Timestamp, undulation_m: f64) -> Vec<u8> {
    let mut out = Vec::new();
    let step = (scene.options().frames_per_second / 10.0).round().max(1.0) as usize;
    for frame in (0..scene.frames()).step_by(step) {
        let time_s = scene.pts_s(frame);
        let pose = scene.reported_pose(time_s);
        let aspect = f64::from(scene.options().height) / f64::from(scene.options().width);
        let half_wide = (pose.hfov_deg.to_radians() / 2.0).tan();
        klv::push(
            &mut out,
            &klv::Sample {
                unix_us: telemetry::moment(started, time_s).as_microsecond().unsigned_abs(),
                pose,
                vfov_deg: 2.0 * (half_wide * aspect).atan().to_degrees(),
                undulation_m,
                centre: scene.looks_at(&pose),
            },
        );
    }
    out
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn settle(from: &Path, to: &Path) -> Result<(), SimulatorError> {
    fs::rename(from, to).map_err(|source| SimulatorError::Write {
        path: to.to_owned(),
        source,
    })
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), SimulatorError> {
    let partial = partial(path);
    fs::write(&partial, bytes).map_err(|source| SimulatorError::Write {
        path: partial.clone(),
        source,
    })?;
    settle(&partial, path)
}

/// JSON lines of truth.
struct Lines<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl<'a> Lines<'a> {
    fn create(path: &'a Path) -> Result<Self, SimulatorError> {
        let file = File::create(path).map_err(|source| SimulatorError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
        })
    }

    fn push(&mut self, truth: &Truth) -> Result<(), SimulatorError> {
        let mut line = serde_json::to_vec(truth).map_err(|source| SimulatorError::Json {
            frame: truth.frame,
            source,
        })?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|source| SimulatorError::Write {
                path: self.path.to_owned(),
                source,
            })
    }

    fn finish(mut self) -> Result<(), SimulatorError> {
        self.file.flush().map_err(|source| SimulatorError::Write {
            path: self.path.to_owned(),
            source,
        })
    }
}
