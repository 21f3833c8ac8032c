//! What may be written in a pipeline file. The JSON schema is made from these types.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::place::{
    DjiCloudSection, GridSection, LensSection, MountCheckSection, PtzSection, TelemetryTimeSection,
    TerrainSection,
};
use crate::console::{ConsoleConfig, WayBackConfig};
use crate::flow::source::{Duty, Liveness, Mount};
use crate::stages::incident::IncidentConfig;
use crate::stages::infer::Provider;
use crate::stages::ingest::{DecoderChoice, Transport};
use crate::stages::publish::SinkConfig;
use crate::store::RetentionPolicy;
use crate::telemetry::fixed::FixedCamera;

/// A whole pipeline file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineFile {
    /// Which model looks at the frames, and on what.
    pub model: ModelSection,
    /// Where the service keeps its data.
    pub service: ServiceSection,
    /// Where metrics, health and the HTTP interface listen, and who may speak to them.
    pub console: ConsoleConfig,
    /// When reports become one incident, and what its clock is.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub incidents: IncidentConfig,
    /// Where events go.
    pub sink: Vec<SinkConfig>,
    /// Over which MQTT broker the dispatch system acknowledges and reports; by the HTTP interface alone where absent.
    pub way_back: Option<WayBackConfig>,
    /// Snapshots and clips.
    pub evidence: EvidenceSection,
    /// How long evidence and delivered events are kept; enforced once a day, each deletion written down.
    pub retention: RetentionPolicy,
    /// What a track must show before it is called fire.
    pub verify: VerifySection,
    /// The ground on which fires are placed.
    pub terrain: TerrainSection,
    /// Who is responsible for which ground.
    pub grid: Option<GridSection>,
    /// When fixed cameras are looked at for having turned.
    pub mount_check: MountCheckSection,
    /// Filled into every source that does not say otherwise.
    pub source_defaults: serde_json::Map<String, serde_json::Value>,
    /// Cameras, drones and recordings.
    #[schemars(length(min = 1))]
    pub source: Vec<SourceSection>,
}

/// Which model looks at the frames, and on what.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// A name in the models folder, or the path of a folder with a `model.toml`.
    pub name: String,
    /// A more accurate model for sources on alarm, by name or path; none looks with the first at every level.
    pub alarm: Option<String>,
    /// What runs it.
    pub provider: Provider,
    /// Sessions of one thread each on a CPU; 0 stands for one per core.
    #[schemars(range(min = 0, max = 256))]
    pub sessions: usize,
    /// The most inputs in a batch: 1 is best on a CPU.
    #[schemars(range(min = 1, max = 256))]
    pub batch: usize,
    /// The longest an input waits for company in a batch, in milliseconds.
    #[schemars(range(min = 0, max = 1000))]
    pub batch_wait_ms: u64,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self {
            name: "fire-smoke-nano".to_owned(),
            alarm: None,
            provider: Provider::Cpu,
            sessions: 0,
            batch: 1,
            batch_wait_ms: 20,
        }
    }
}

/// Where the service keeps its data.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceSection {
    /// Folder of incidents and evidence, relative to the pipeline file.
    pub data: PathBuf,
    /// Seconds without a hint after which a source is watched less hard.
    #[schemars(range(min = 1, max = 3600))]
    pub quiet_s: f64,
}

impl Default for ServiceSection {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            quiet_s: 30.0,
        }
    }
}

/// Snapshots and clips.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceSection {
    /// Whether clips are cut.
    pub clips: bool,
    /// Seconds before the alarm.
    #[schemars(range(min = 0, max = 120))]
    pub before_s: f64,
    /// Seconds after the alarm.
    #[schemars(range(min = 0, max = 300))]
    pub after_s: f64,
}

impl Default for EvidenceSection {
    fn default() -> Self {
        Self {
            clips: true,
            before_s: 10.0,
            after_s: 20.0,
        }
    }
}

/// What a track must show before it is called fire. Absent values are those of the stage and of the model's manifest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifySection {
    /// It must be visible for so long, in seconds.
    #[schemars(range(min = 0, max = 600))]
    pub least_seconds: Option<f64>,
    /// It must be seen in this share of the frames.
    #[schemars(range(min = 0, max = 1))]
    pub least_share: Option<f64>,
    /// The mean score a flame must reach, at every duty level.
    #[schemars(range(min = 0, max = 1))]
    pub flame: Option<f32>,
    /// The mean score smoke must reach, at every duty level; where it is seen steadily, `steady_score` of it.
    #[schemars(range(min = 0, max = 1))]
    pub smoke: Option<f32>,
    /// The share of that score that is enough for smoke that was seen for 3 s in 9 of 10 frames, at least ten times: 0.7 if
    /// absent; 1 always asks for all of it.
    #[schemars(range(min = 0, max = 1))]
    pub steady_score: Option<f32>,
}

/// A camera, a drone or a recording.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSection {
    /// Its name in events, files and metrics: letters, digits, `.`, `_` and `-`.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// Where it comes from: `rtsp://`, `rtsps://`, `rtmp://`, `srt://`, `udp://`, `http(s)://….m3u8` or a path.
    #[schemars(length(min = 1))]
    pub url: String,
    /// A second, smaller stream of the same camera to detect on; evidence is cut from `url`.
    #[serde(default)]
    pub detect_url: Option<String>,
    /// Whether frames come as they are taken.
    pub kind: Liveness,
    /// Whether the camera stands still.
    pub mount: Mount,
    /// The lightest duty level: the source falls back to it after quiet.
    #[serde(default = "default_duty")]
    pub duty: Duty,
    /// Frames a second that are looked at in watch; 2 for fixed cameras and 5 for moving ones where absent.
    #[serde(default)]
    #[schemars(range(min = 0.05, max = 120))]
    pub rate: Option<f64>,
    /// Frames a second that are looked at in alarm; every frame where absent.
    #[serde(default)]
    #[schemars(range(min = 0.05, max = 120))]
    pub alarm_rate: Option<f64>,
    /// How RTSP brings its packets.
    #[serde(default)]
    pub transport: Transport,
    /// How long packets may be out of order, in milliseconds.
    #[serde(default = "default_latency_ms")]
    #[schemars(range(min = 0, max = 10000))]
    pub latency_ms: u64,
    /// Which decoder.
    #[serde(default)]
    pub decoder: DecoderChoice,
    /// User name, as `"${NAME}"` from the environment or as it is.
    #[serde(default)]
    pub user: Option<String>,
    /// Password, as `"${NAME}"` from the environment or as `"file:PATH"`; never the password itself.
    #[serde(default)]
    pub password: Option<String>,
    /// A live frame older than this is not looked at, in milliseconds.
    #[serde(default = "default_staleness_ms")]
    #[schemars(range(min = 50, max = 10000))]
    pub staleness_ms: u64,
    /// Patrol falls back to watch when key frames are further apart, in seconds.
    #[serde(default = "default_key_frame_bound_s")]
    #[schemars(range(min = 0.1, max = 60))]
    pub key_frame_bound_s: f64,
    /// Where a fixed camera stands and looks; without it, its fires have no place on the ground.
    #[serde(default)]
    pub camera: Option<FixedCamera>,
    /// Telemetry: `"stream"` for KLV and subtitles in the stream itself, MAVLink as `"udp://:14550"` or
    /// `"tcp://HOST:5760"`, or the path of a log that begins with the stream, relative to the pipeline file.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub telemetry: Option<String>,
    /// The lens, where telemetry does not tell the field of view (the DJI Cloud API never does).
    #[serde(default)]
    pub lens: Option<LensSection>,
    /// How the times of picture and telemetry are tied.
    #[serde(default)]
    pub telemetry_time: TelemetryTimeSection,
    /// For a camera on a mast that turns.
    #[serde(default)]
    pub ptz: Option<PtzSection>,
    /// For a drone whose telemetry is pushed by the DJI Cloud API.
    #[serde(default)]
    pub dji_cloud: Option<DjiCloudSection>,
    /// Parts of the picture in which a fire is not reported, or that nobody may see.
    #[serde(default)]
    pub mask: Vec<MaskSection>,
}

const fn default_duty() -> Duty {
    Duty::Watch
}

const fn default_latency_ms() -> u64 {
    200
}

const fn default_staleness_ms() -> u64 {
    500
}

const fn default_key_frame_bound_s() -> f64 {
    5.0
}

/// A part of the picture in which a fire is not reported, or that nobody may see.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskSection {
    /// What it is.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Whether it is ignored, known to burn, or private.
    #[serde(default)]
    pub kind: MaskWord,
    /// The preset of a camera that turns (`ptz`) at which it holds, by its name there; at every one where it is left
    /// out. A private part is blanked at every preset.
    #[serde(default)]
    pub preset: Option<String>,
    /// Corners in shares of the picture's width and height, at least three.
    #[schemars(length(min = 3))]
    pub corners: Vec<[f32; 2]>,
}

/// What a mask stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskWord {
    /// Nothing there is ever reported.
    #[default]
    Ignore,
    /// Something that is known to burn or steam.
    KnownSource,
    /// A yard or a window: blanked before anything looks at the picture or keeps it. No clips are cut of a source with
    /// such a part, since its encoded video cannot be blanked.
    Privacy,
}
