//! The letterbox: which pixel of the input shows which pixel of the picture, and back.

use crate::flow::detection::BBox;
use crate::models::manifest::Anchor;

/// A whole-pixel, half-open part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

impl Rect {
    /// Makes the part that is the whole of a picture of this size.
    #[must_use]
    pub const fn whole(width: u32, height: u32) -> Self {
        Self {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// Returns the part as a box.
    #[must_use]
    pub fn bbox(&self) -> BBox {
        let (x, y) = (self.x as f32, self.y as f32);
        BBox::new(x, y, x + self.width as f32, y + self.height as f32)
    }
}

/// Maps a part of a picture onto the input of a model, keeping its proportions as far as whole pixels allow.
///
/// Coordinates are continuous: the centre of the first pixel is at .5, so no half pixel is lost on either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// The part of the picture that is shown.
    pub region: Rect,
    /// Where the shown part lies in the input.
    pub content: Rect,
    /// Width of the input in pixels.
    pub width: u32,
    /// Height of the input in pixels.
    pub height: u32,
}

impl Letterbox {
    /// Fits `region` into an input of `width` by `height` pixels.
    #[must_use]
    pub fn new(region: Rect, width: u32, height: u32, anchor: Anchor) -> Self {
        let across = f64::from(width) / f64::from(region.width.max(1));
        let down = f64::from(height) / f64::from(region.height.max(1));
        let scale = across.min(down);
        let fitted = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most.max(1));
        let (content_width, content_height) = (fitted(region.width, width), fitted(region.height, height));
        let (x, y) = match anchor {
            Anchor::TopLeft => (0, 0),
            Anchor::Centre => (
                (width.max(1) - content_width) / 2,
                (height.max(1) - content_height) / 2,
            ),
        };
        Self {
            region,
            content: Rect {
                x,
                y,
                width: content_width,
                height: content_height,
            },
            width,
            height,
        }
    }

    /// Returns how many input pixels a source pixel is wide and high.
    #[must_use]
    pub fn scale(&self) -> (f32, f32) {
        (
            self.content.width as f32 / self.region.width.max(1) as f32,
            self.content.height as f32 / self.region.height.max(1) as f32,
        )
    }

    /// Maps a point of the picture to the input.
    #[must_use]
    pub fn forward(&self, x: f32, y: f32) -> (f32, f32) {
        let (across, down) = self.scale();
        (
            (x - self.region.x as f32) * across + self.content.x as f32,
            (y - self.region.y as f32) * down + self.content.y as f32,
        )
    }

    /// Maps a point of the input to the picture.
    #[must_use]
    pub fn inverse(&self, x: f32, y: f32) -> (f32, f32) {
        let (across, down) = self.scale();
        (
            (x - self.content.x as f32) / across + self.region.x as f32,
            (y - self.content.y as f32) / down + self.region.y as f32,
        )
    }

    /// Maps a box of the input to the picture, cut off at the edges of the region that was shown.
    #[must_use]
    pub fn inverse_box(&self, bbox: &BBox) -> BBox {
        let (x0, y0) = self.inverse(bbox.x0, bbox.y0);
        let (x1, y1) = self.inverse(bbox.x1, bbox.y1);
        let edge = self.region.bbox();
        BBox::new(
            x0.clamp(edge.x0, edge.x1),
            y0.clamp(edge.y0, edge.y1),
            x1.clamp(edge.x0, edge.x1),
            y1.clamp(edge.y0, edge.y1),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_1080p_frame_fills_the_width_of_a_16_to_9_input() {
        let letterbox = Letterbox::new(Rect::whole(1920, 1080), 416, 256, Anchor::TopLeft);
        assert_eq!(letterbox.content, Rect::whole(416, 234));
        let centred = Letterbox::new(Rect::whole(1920, 1080), 416, 256, Anchor::Centre);
        assert_eq!(centred.content.y, 11);
    }

    proptest! {
        #[test]
        fn the_inverse_returns_every_point_within_half_a_source_pixel(
            (width, height) in (1_u32..5000, 1_u32..5000),
            (input_width, input_height) in (32_u32..1300, 32_u32..1300),
            (u, v) in (0.0_f32..1.0, 0.0_f32..1.0),
            (left, top) in (0_u32..2000, 0_u32..2000),
            centred in any::<bool>(),
        ) {
            let anchor = if centred { Anchor::Centre } else { Anchor::TopLeft };
            let region = Rect { x: left, y: top, width, height };
            let letterbox = Letterbox::new(region, input_width, input_height, anchor);
            let (x, y) = (left as f32 + u * width as f32, top as f32 + v * height as f32);
            let (across, down) = letterbox.forward(x, y);
            prop_assert!(across >= -1e-3 && across <= input_width as f32 + 1e-3);
            prop_assert!(down >= -1e-3 && down <= input_height as f32 + 1e-3);
            let (back_x, back_y) = letterbox.inverse(across, down);
            prop_assert!((back_x - x).abs() < 0.5 && (back_y - y).abs() < 0.5);
        }

        #[test]
        fn the_content_keeps_the_proportions_to_half_an_input_pixel(
            (width, height) in (1_u32..5000, 1_u32..5000),
            (input_width, input_height) in (32_u32..1300, 32_u32..1300),
        ) {
            let letterbox = Letterbox::new(Rect::whole(width, height), input_width, input_height, Anchor::TopLeft);
            let scale = (input_width as f32 / width as f32).min(input_height as f32 / height as f32);
            let wanted = (width as f32 * scale, height as f32 * scale);
            prop_assert!((letterbox.content.width as f32 - wanted.0.max(1.0)).abs() <= 0.501);
            prop_assert!((letterbox.content.height as f32 - wanted.1.max(1.0)).abs() <= 0.501);
        }
    }
}
