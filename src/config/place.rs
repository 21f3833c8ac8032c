//! Where positions come from, as a pipeline file tells it: terrain, the grid, telemetry that comes on a way of its own.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geo::china::DeclaredCrs;
use crate::telemetry::fixed::{Mast, Preset};
use crate::telemetry::onvif::PtzMap;
use crate::tls::ClientTls;

/// The ground.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TerrainSection {
    /// Copernicus or other `GeoTIFF`, or SRTM .hgt, relative to the pipeline file. Without any, the ground is level.
    pub files: Vec<PathBuf>,
}

/// The grid (网格): who is responsible for which ground.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GridSection {
    /// `GeoJSON` with polygons of cells and points of teams, relative to the pipeline file.
    pub file: PathBuf,
    /// The coordinates of that file: `wgs84`, `gcj02` or `bd09`.
    pub crs: DeclaredCrs,
}

/// Looks every day whether fixed cameras still look where their calibration says.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MountCheckSection {
    /// The hour from which it is looked at, in this machine's own zone.
    #[schemars(range(min = 0, max = 23))]
    pub hour: i8,
    /// The most that a camera may have turned, in degrees.
    #[schemars(range(min = 0.05, max = 20))]
    pub allowed_deg: f64,
}

impl Default for MountCheckSection {
    fn default() -> Self {
        Self {
            hour: 3,
            allowed_deg: 0.5,
        }
    }
}

/// How the times of picture and telemetry are tied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryTimeSection {
    /// Seconds to add to the picture's time to get the telemetry's.
    #[schemars(range(min = -600, max = 600))]
    pub offset_s: f64,
    /// From exposure to arrival in seconds, for pictures that bring no clock (RTMP).
    #[schemars(range(min = 0, max = 60))]
    pub latency_s: Option<f64>,
    /// One standard deviation of both, in seconds. Without it and without a clock, the ellipse is inflated.
    #[schemars(range(min = 0, max = 60))]
    pub sigma_s: Option<f64>,
}

/// The lens of a drone whose telemetry does not tell its field of view: by the drone's name, or by the angle itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LensSection {
    /// The drone or camera, as in `"M30T"` or `"Mavic 3E"`.
    pub model: Option<String>,
    /// Which of its cameras.
    pub camera: LensWord,
    /// Horizontal field of view of the video, in degrees, at zoom 1.
    #[schemars(range(min = 0.5, max = 170))]
    pub hfov_deg: Option<f64>,
}

/// Which of a drone's cameras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LensWord {
    /// The usual camera.
    #[default]
    Wide,
    /// The medium telephoto camera.
    Medium,
    /// The telephoto or zoom camera at its widest.
    Tele,
    /// The thermal camera.
    Thermal,
}

/// A camera on a mast that turns, asked over ONVIF where it points. User and password are the source's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PtzSection {
    /// Its PTZ service: `http[s]://HOST[:PORT]/onvif/ptz_service`.
    pub service: String,
    /// Whom to trust where the service is asked by HTTPS: cameras seldom have a certificate that the machine knows.
    #[serde(default)]
    pub tls: ClientTls,
    /// The token of its media profile.
    pub profile: String,
    /// Where it stands.
    pub mast: Mast,
    /// Surveyed directions of its presets, by name or token.
    #[serde(default)]
    pub preset: Vec<Preset>,
    /// What its pan, tilt and zoom mean over ground; without it, only presets have a direction.
    #[serde(default)]
    pub map: Option<PtzMap>,
    /// How often it is asked, in seconds.
    #[serde(default = "default_every_s")]
    #[schemars(range(min = 0.1, max = 60))]
    pub every_s: f64,
}

const fn default_every_s() -> f64 {
    1.0
}

impl PtzSection {
    /// Returns how often the camera is asked.
    #[must_use]
    pub fn every(&self) -> Duration {
        Duration::try_from_secs_f64(self.every_s).unwrap_or(Duration::from_secs(1))
    }
}

/// What a gimbal's yaw is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum YawFrame {
    /// True north.
    North,
    /// The aircraft's heading.
    Aircraft,
}

/// Pushes of the DJI Cloud API, from an MQTT 5 broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DjiCloudSection {
    /// The broker's name or address.
    pub host: String,
    /// Its port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Serial number of the aircraft, whose `osd` is read.
    pub aircraft: String,
    /// Serial number of its dock or remote control, whose live-control pushes are read.
    #[serde(default)]
    pub gateway: Option<String>,
    /// What `gimbal_yaw` is measured against; without it, true north is assumed and flagged.
    #[serde(default)]
    pub gimbal_yaw: Option<YawFrame>,
    /// User name, as `"${NAME}"` from the environment or as it is.
    #[serde(default)]
    pub user: Option<String>,
    /// Password, as `"${NAME}"` from the environment or as `"file:PATH"`; never the password itself.
    #[serde(default)]
    pub password: Option<String>,
}

const fn default_port() -> u16 {
    1883
}
