//! Turns frames into model inputs: letterbox, YUV to CHW, tiles, in one pass over the pixels that are needed.
//!
//! [`Letterbox`] is the geometry and its inverse, [`Preparer`] does the work, [`TensorPool`] lends the memory,
//! [`tiles`] says where to look closer.

pub mod letterbox;

mod kernel;

mod colour;

pub(crate) use colour::luma_weights;

pub mod prepare;

pub mod pool;

pub mod tiles;

pub mod rgb;

pub use letterbox::{Letterbox, Rect};
pub use pool::{Tensor, TensorPool};
pub use prepare::{Preparer, PreprocessError};

use crate::models::manifest::{Anchor, ColourOrder, Manifest, Variant};

/// What a model wants as its input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The order of the channels.
    pub colour: ColourOrder,
    /// Factor from codes of 0 to 255 to what the mean is taken from.
    pub scale: f32,
    /// Taken from each channel after scaling.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
    /// The code of the padding, 0 to 255.
    pub padding: f32,
    /// Where the picture lies in the letterbox.
    pub anchor: Anchor,
}

impl InputSpec {
    /// Takes the specification out of a manifest, for one of its variants.
    #[must_use]
    pub fn new(manifest: &Manifest, variant: &Variant) -> Self {
        let input = &manifest.input;
        Self {
            width: variant.width,
            height: variant.height,
            colour: input.colour,
            scale: input.scale,
            mean: input.mean,
            std: input.std,
            padding: input.padding,
            anchor: input.anchor,
        }
    }

    /// Returns how many numbers an input has: three planes of width by height.
    #[must_use]
    pub const fn elements(&self) -> usize {
        3 * self.width as usize * self.height as usize
    }
}

/// A prepared tensor, with what is needed to map boxes back to the picture that it was made from.
#[derive(Debug)]
pub struct Input {
    /// Three planes, row by row.
    pub tensor: Tensor,
    /// From where in the picture to where in the input.
    pub letterbox: Letterbox,
    /// Width of the whole picture in pixels.
    pub picture_width: u32,
    /// Height of the whole picture in pixels.
    pub picture_height: u32,
}
