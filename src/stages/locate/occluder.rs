//! What stands between camera and ground: a roof, a wall, a row of trees close to a fixed camera.

use serde::{Deserialize, Serialize};

/// A plume whose foot comes this near to an occluder hides its foot behind it, as a share of the picture's height.
const NEAR_SHARE: f32 = 0.01;

/// A rectangle of the picture behind which the ground is not seen, in shares of its width and height, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Occluder {
    /// Left edge.
    pub x0: f32,
    /// Upper edge: the roof's ridge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Lower edge.
    pub y1: f32,
}

impl Occluder {
    /// Returns whether a plume that ends at this point of the picture may go on behind.
    #[must_use]
    pub fn touches(&self, point: (f32, f32)) -> bool {
        (self.x0..=self.x1).contains(&point.0) && (self.y0 - NEAR_SHARE..=self.y1).contains(&point.1)
    }
}
