//! What is true of a frame: where smoke and flame are in it, where they are on Earth, where the camera was.

use serde::{Deserialize, Serialize};

use super::camera::CameraPose;
use super::earth::GroundPoint;
use crate::flow::detection::{BBox, Class};

/// Everything that is true of one frame: one line of `NAME.truth.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Counts frames from 0.
    pub frame: u64,
    /// Media time in seconds.
    pub pts_s: f64,
    /// Smoke and flame that can be seen, measured on the rendered opacity.
    pub boxes: Vec<TrueBox>,
    /// Where it burns, once it does.
    pub fire: Option<GroundPoint>,
    /// The pixel that shows the fire's place, where it lies in the picture.
    pub foot_px: Option<[f64; 2]>,
    /// Where the camera was and looked.
    pub pose: CameraPose,
}

/// One thing that burns, as one frame shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrueBox {
    /// What it is.
    pub class: Class,
    /// Where it is, in source pixels.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// Share of its pixels that neither nearer things nor the picture's edge hide, 0 to 1.
    pub visible_fraction: f64,
    /// Area of the box as a share of the picture, 0 to 1.
    pub area_fraction: f64,
    /// Area of the thing itself as a share of the picture, 0 to 1.
    pub mask_fraction: f64,
}

/// The pixels that a thing covers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Extent {
    edges: Option<(usize, usize, usize, usize)>,
    seen: f64,
    all: f64,
}

impl Extent {
    /// Adds a pixel of the frame, of which nearer things hide a share of 0 to 1.
    pub(super) fn add(&mut self, x: usize, y: usize, hidden: f32) {
        self.all += 1.0;
        self.seen += f64::from(1.0 - hidden);
        if hidden < 0.5 {
            let (x0, y0, x1, y1) = self.edges.unwrap_or((x, y, x, y));
            self.edges = Some((x0.min(x), y0.min(y), x1.max(x), y1.max(y)));
        }
    }

    /// Adds pixels that lie outside of the frame.
    pub(super) fn add_outside(&mut self, pixels: f64) {
        self.all += pixels;
    }

    /// Returns the box, if at least `least` pixels can be seen.
    pub(super) fn bounding(&self, class: Class, frame: (usize, usize), least: f64) -> Option<TrueBox> {
        let (x0, y0, x1, y1) = self.edges.filter(|_| self.seen >= least)?;
        let bbox = BBox::new(x0 as f32, y0 as f32, (x1 + 1) as f32, (y1 + 1) as f32);
        let picture = (frame.0 * frame.1) as f64;
        Some(TrueBox {
            class,
            bbox,
            visible_fraction: self.seen / self.all,
            area_fraction: f64::from(bbox.area()) / picture,
            mask_fraction: self.seen / picture,
        })
    }
}
