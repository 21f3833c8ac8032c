//! A pose is where the camera was and looked, with its uncertainty.

use serde::{Deserialize, Serialize};

/// A point in WGS 84. It cannot be mixed with GCJ-02 or BD-09: those are other types.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Wgs84 {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// What a height is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeightDatum {
    /// Above the WGS 84 ellipsoid.
    Ellipsoid,
    /// Above the EGM96 geoid (mean sea level as most receivers say it).
    Egm96,
    /// Above the EGM2008 geoid (Copernicus terrain).
    Egm2008,
    /// Above the point of take-off.
    Takeoff,
    /// Above the ground below.
    Ground,
}

/// A height with its datum and its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Height {
    /// Metres.
    pub metres: f64,
    /// From where.
    pub datum: HeightDatum,
}

/// Where the camera's axis points: ZYX, north-east-down, as MISB ST 0601 and DJI use it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attitude {
    /// Degrees from true north, clockwise seen from above.
    pub yaw_deg: f64,
    /// Degrees above the horizon, up positive.
    pub pitch_deg: f64,
    /// Degrees, right side down positive.
    pub roll_deg: f64,
}
