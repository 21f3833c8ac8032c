//! A detection is one box in one frame, in source pixels.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frame::FrameMeta;
use super::frame::Picture;
use super::report::ModelTag;

/// What burns.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Open fire.
    Flame,
    /// A plume.
    Smoke,
}

impl Class {
    /// Both classes, in the order of the models' outputs.
    pub const ALL: [Self; 2] = [Self::Flame, Self::Smoke];

    /// Returns the word used in manifests, files and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flame => "flame",
            Self::Smoke => "smoke",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A half-open rectangle in source pixels: x right, y down.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "[f32; 4]", into = "[f32; 4]")]
#[schemars(with = "[f32; 4]")]
pub struct BBox {
    /// Left edge.
    pub x0: f32,
    /// Top edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Bottom edge.
    pub y1: f32,
}

impl BBox {
    /// Makes a box from its edges.
    #[must_use]
    pub const fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// Makes a box from its centre and size.
    #[must_use]
    pub fn from_centre(cx: f32, cy: f32, width: f32, height: f32) -> Self {
        Self::new(
            cx - width / 2.0,
            cy - height / 2.0,
            cx + width / 2.0,
            cy + height / 2.0,
        )
    }

    /// Returns the width, never negative.
    #[must_use]
    pub fn width(&self) -> f32 {
        (self.x1 - self.x0).max(0.0)
    }

    /// Returns the height, never negative.
    #[must_use]
    pub fn height(&self) -> f32 {
        (self.y1 - self.y0).max(0.0)
    }

    /// Returns the area in square pixels.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Returns the centre.
    #[must_use]
    pub fn centre(&self) -> (f32, f32) {
        (f32::midpoint(self.x0, self.x1), f32::midpoint(self.y0, self.y1))
    }

    /// Returns the area that both boxes cover, in square pixels.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> f32 {
        let width = (self.x1.min(other.x1) - self.x0.max(other.x0)).max(0.0);
        let height = (self.y1.min(other.y1) - self.y0.max(other.y0)).max(0.0);
        width * height
    }

    /// Returns intersection over union, 0 for two empty boxes.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let shared = self.intersection(other);
        let union = self.area() + other.area() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }

    /// Returns the smallest box that holds both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(
            self.x0.min(other.x0),
            self.y0.min(other.y0),
            self.x1.max(other.x1),
            self.y1.max(other.y1),
        )
    }

    /// Returns the part that lies inside a picture of this size.
    #[must_use]
    pub fn clipped(&self, width: f32, height: f32) -> Self {
        Self::new(
            self.x0.clamp(0.0, width),
            self.y0.clamp(0.0, height),
            self.x1.clamp(0.0, width),
            self.y1.clamp(0.0, height),
        )
    }

    /// Returns the box in a picture so many times as wide and as high.
    #[must_use]
    pub fn scaled(&self, across: f32, down: f32) -> Self {
        Self::new(self.x0 * across, self.y0 * down, self.x1 * across, self.y1 * down)
    }

    /// Returns the box moved right and down.
    #[must_use]
    pub fn shifted(&self, dx: f32, dy: f32) -> Self {
        Self::new(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)
    }
}

impl From<[f32; 4]> for BBox {
    fn from([x0, y0, x1, y1]: [f32; 4]) -> Self {
        Self::new(x0, y0, x1, y1)
    }
}

impl From<BBox> for [f32; 4] {
    fn from(bbox: BBox) -> Self {
        [bbox.x0, bbox.y0, bbox.x1, bbox.y1]
    }
}

/// One box in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// What it looks like.
    pub class: Class,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Where it is, in source pixels.
    pub bbox: BBox,
}

/// All that a model found in one frame.
#[derive(Clone, Debug)]
pub struct DetectedFrame {
    /// Which frame.
    pub meta: FrameMeta,
    /// The picture itself, kept while evidence may be cut from it.
    pub picture: Picture,
    /// Sorted by falling score; all at or above the model's floor, not yet the alarm threshold.
    pub detections: Vec<Detection>,
    /// Which model looked.
    pub model: Arc<ModelTag>,
}
