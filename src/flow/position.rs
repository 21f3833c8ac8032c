//! A position is a ground point with an error ellipse and the method that gave it.

use serde::{Deserialize, Serialize};

use super::pose::{Height, Wgs84};

/// How a position was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The ray through the pixel met the terrain.
    RayTerrain,
    /// The ray met a level plane: no terrain was given.
    RayPlane,
    /// Several views crossed.
    Triangulation,
    /// A laser range along the ray.
    Laser,
    /// Only the direction is known.
    BearingOnly,
    /// The surveyed place of a camera preset.
    Preset,
}

/// An error ellipse on the ground.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Ellipse {
    /// Half the long axis, in metres.
    pub semi_major_m: f64,
    /// Half the short axis, in metres.
    pub semi_minor_m: f64,
    /// Direction of the long axis, degrees from true north, 0 to 180.
    pub azimuth_deg: f64,
    /// Probability that the truth lies inside, 0 to 1.
    pub level: f64,
}

/// A direction from a known place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Bearing {
    /// Where the camera stands.
    pub from: Wgs84,
    /// Degrees from true north.
    pub azimuth_deg: f64,
    /// Degrees above the horizon, up positive.
    pub elevation_deg: f64,
    /// One standard deviation of the azimuth, in degrees.
    pub sigma_deg: f64,
}

/// A ground point with its error and its method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Position {
    /// The best point.
    pub point: Wgs84,
    /// Its height.
    pub height: Height,
    /// The error ellipse.
    pub ellipse: Ellipse,
    /// Radius of the circle around the point that holds the truth with 90 %, in metres.
    pub ce90_m: f64,
    /// How it was found.
    pub method: Method,
    /// Whether the foot of the plume was out of sight, so that the point is beyond it.
    pub base_hidden: bool,
}

/// What is known of where a track is on the ground.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Place {
    /// A ground point.
    Point {
        /// The point with its error.
        position: Position,
        /// The direction it was seen in, where one camera saw it.
        #[serde(skip_serializing_if = "Option::is_none")]
        bearing: Option<Bearing>,
    },
    /// Only a direction.
    Direction {
        /// The direction.
        bearing: Bearing,
        /// Why there is no point.
        refused: String,
    },
    /// Nothing that could be trusted.
    Unknown {
        /// Why.
        refused: String,
    },
}
