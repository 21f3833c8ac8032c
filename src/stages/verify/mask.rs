//! Parts of the picture in which a fire is not reported: a chimney, a flare, a neighbour's yard.

use crate::flow::detection::BBox;
use crate::flow::track::Reason;

/// What a mask stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskKind {
    /// Nothing there is ever looked at.
    Ignore,
    /// Something that is known to burn or steam.
    KnownSource,
}

/// A polygon in shares of the picture's width and height, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// What the operator calls it.
    pub name: String,
    /// What it stands for.
    pub kind: MaskKind,
    /// The preset at which it holds, for a camera that turns; everywhere where there is none.
    pub preset: Option<String>,
    /// Its corners.
    pub corners: Vec<(f32, f32)>,
}

/// Points tried along each side of a box.
const SAMPLES: u8 = 5;
/// A box belongs to the mask when this share of it lies inside.
const SHARE: f32 = 0.6;

impl Mask {
    /// Returns whether most of `bbox` lies inside, in a picture of `size` pixels.
    #[must_use]
    pub fn holds(&self, bbox: &BBox, size: (f32, f32)) -> bool {
        let mut inside = 0_u8;
        for row in 0..SAMPLES {
            for column in 0..SAMPLES {
                let share = |index: u8| (f32::from(index) + 0.5) / f32::from(SAMPLES);
                let x = (bbox.x0 + bbox.width() * share(column)) / size.0;
                let y = (bbox.y0 + bbox.height() * share(row)) / size.1;
                inside += u8::from(self.contains(x, y));
            }
        }
        f32::from(inside) >= SHARE * f32::from(SAMPLES * SAMPLES)
    }

    /// Returns whether it holds while the camera stands at `preset`; none while it moves or nobody knows. A fire is
    /// rather told than hidden by a mask of another direction.
    #[must_use]
    pub fn holds_at(&self, preset: Option<&str>) -> bool {
        self.preset.is_none() || self.preset.as_deref() == preset
    }

    /// Returns whether a point lies inside, by counting the edges to its right.
    fn contains(&self, x: f32, y: f32) -> bool {
        let mut is_inside = false;
        let mut previous = self.corners.last();
        for corner in &self.corners {
            if let Some(&(x0, y0)) = previous {
                let &(x1, y1) = corner;
                if (y1 > y) != (y0 > y) && x < (x0 - x1) * (y - y1) / (y0 - y1) + x1 {
                    is_inside = !is_inside;
                }
            }
            previous = Some(corner);
        }
        is_inside
    }

    /// Returns the reason that a verdict gives.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self.kind {
            MaskKind::Ignore => Reason::Masked {
                mask: self.name.clone(),
            },
            MaskKind::KnownSource => Reason::KnownSource {
                name: self.name.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_belongs_to_a_mask_when_most_of_it_lies_inside() {
        let mask = Mask {
            name: "chimney".into(),
            kind: MaskKind::KnownSource,
            preset: None,
            corners: vec![(0.5, 0.0), (1.0, 0.0), (1.0, 0.5), (0.5, 0.5)],
        };
        let size = (1000.0, 500.0);
        assert!(mask.holds(&BBox::new(600.0, 50.0, 700.0, 200.0), size));
        assert!(!mask.holds(&BBox::new(100.0, 50.0, 200.0, 200.0), size));
        assert!(
            !mask.holds(&BBox::new(400.0, 50.0, 550.0, 200.0), size),
            "only a third lies inside"
        );
    }
}
