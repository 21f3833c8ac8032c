//! Blanks the parts of a picture that nobody may see: before it is looked at, drawn or kept.
//!
//! A blanked frame is a copy of the decoder's (3.1 MB at 1080p, at the rates of the sampler and not of the camera);
//! frames of sources without private parts go on untouched. Blocks of two by two pixels are blanked, as chroma has no
//! finer ones: a block of which one row of pixels lies inside is blanked whole.

use std::sync::Arc;

use crate::flow::frame::{ColourRange, Frame, Picture, PixelFormat, PlanarBuffer};

/// Neither blue nor red.
const NO_CHROMA: u8 = 128;

/// A polygon in shares of the picture's width and height, 0 to 1: x right, y down.
#[derive(Clone, Debug, PartialEq)]
pub struct Blank {
    /// Its corners; the last is joined to the first.
    pub corners: Vec<(f32, f32)>,
}

/// Blanks the private parts of one source's frames.
#[derive(Debug)]
pub struct Blanker {
    blanks: Vec<Blank>,
    /// The picture size for which `spans` were worked out.
    size: (u32, u32),
    /// For each row of blocks, from and to which block (half-open) it is blanked.
    spans: Vec<Vec<(usize, usize)>>,
}

impl Blanker {
    /// Makes a blanker of these parts; without any, frames go through as they are.
    #[must_use]
    pub fn new(blanks: Vec<Blank>) -> Self {
        Self {
            blanks,
            size: (0, 0),
            spans: Vec::new(),
        }
    }

    /// Returns the frame with its private parts black; `None` where its planes are shorter than its size says, since
    /// what cannot be blanked may not be seen.
    #[must_use]
    pub fn blank(&mut self, frame: Frame) -> Option<Frame> {
        if self.blanks.is_empty() {
            return Some(frame);
        }
        let size = (frame.picture.width, frame.picture.height);
        if self.size != size {
            self.size = size;
            self.spans = spans_of(&self.blanks, size);
        }
        let picture = self.blanked_copy(&frame.picture)?;
        Some(Frame { picture, ..frame })
    }

    fn blanked_copy(&self, picture: &Picture) -> Option<Picture> {
        let (width, height) = (
            usize::try_from(picture.width).ok()?,
            usize::try_from(picture.height).ok()?,
        );
        let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
        let black = match picture.range {
            ColourRange::Limited => 16,
            ColourRange::Full => 0,
        };
        let mut luma = copied(picture, 0, width, height)?;
        for (row, line) in luma.chunks_exact_mut(width).enumerate() {
            for (from, to) in self.spans.get(row / 2)? {
                line.get_mut(from * 2..(to * 2).min(width))?.fill(black);
            }
        }
        let mut planes = vec![(luma, width)];
        // Samples that belong to one block, and in how many planes.
        let (samples, count) = match picture.format {
            PixelFormat::I420 => (1, 2),
            PixelFormat::Nv12 => (2, 1),
        };
        for plane in 1..=count {
            let stride = columns * samples;
            let mut chroma = copied(picture, plane, stride, rows)?;
            for (line, spans) in chroma.chunks_exact_mut(stride).zip(&self.spans) {
                for (from, to) in spans {
                    line.get_mut(from * samples..to * samples)?.fill(NO_CHROMA);
                }
            }
            planes.push((chroma, stride));
        }
        Some(Picture {
            planes: Arc::new(PlanarBuffer::new(planes)),
            ..picture.clone()
        })
    }
}

/// Returns a copy of a plane without the padding of its rows.
fn copied(picture: &Picture, plane: usize, width: usize, height: usize) -> Option<Vec<u8>> {
    let (samples, stride) = picture.planes.plane(plane);
    if width == 0 {
        return None;
    }
    let mut copy = Vec::with_capacity(width * height);
    for row in 0..height {
        let begin = row.checked_mul(stride)?;
        copy.extend_from_slice(samples.get(begin..begin.checked_add(width)?)?);
    }
    Some(copy)
}

fn spans_of(blanks: &[Blank], (width, height): (u32, u32)) -> Vec<Vec<(usize, usize)>> {
    let columns = f64::from(width.div_ceil(2));
    (0..height.div_ceil(2))
        .map(|row| {
            let mut spans = Vec::new();
            for blank in blanks {
                // The centres of both rows of pixels of the block.
                for centre in [0.5, 1.5] {
                    let y = (f64::from(row) * 2.0 + centre) / f64::from(height);
                    let crossings = blank.crossings(y);
                    for pair in crossings.chunks_exact(2) {
                        let block = |share: f64| (share * f64::from(width) / 2.0).clamp(0.0, columns);
                        let (from, to) = (block(pair[0]).floor() as usize, block(pair[1]).ceil() as usize);
                        if from < to {
                            spans.push((from, to));
                        }
                    }
                }
            }
            spans
        })
        .collect()
}

impl Blank {
    /// Returns where a level line crosses the outline, from left to right: inside lies between each two.
    fn crossings(&self, y: f64) -> Vec<f64> {
        let mut crossings = Vec::new();
        let mut previous = self.corners.last();
        for corner in &self.corners {
            if let Some(&(x0, y0)) = previous {
                let (x0, y0) = (f64::from(x0), f64::from(y0));
                let (x1, y1) = (f64::from(corner.0), f64::from(corner.1));
                if (y0 > y) != (y1 > y) {
                    crossings.push(x0 + (x1 - x0) * (y - y0) / (y1 - y0));
                }
            }
            previous = Some(corner);
        }
        crossings.sort_by(f64::total_cmp);
        crossings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::frame::{ColourMatrix, FrameMeta, Gap, Planes};
    use crate::flow::source::{Duty, SourceId};
    use crate::flow::time::{MediaTime, MonotonicTime};
    use crate::models::manifest::{Anchor, ColourOrder};
    use crate::stages::evidence::snapshot::{snapshot_jpeg, thumbnail_jpeg};
    use crate::stages::preprocess::prepare::fill;
    use crate::stages::preprocess::{InputSpec, Rect};

    const STRIDE: usize = 80;

    /// A picture of 64 by 48 in bright red, its rows padded to 80 bytes.
    fn frame(format: PixelFormat) -> Frame {
        let (u, v) = (90, 200);
        let chroma = match format {
            PixelFormat::I420 => vec![(vec![u; STRIDE * 24], STRIDE), (vec![v; STRIDE * 24], STRIDE)],
            PixelFormat::Nv12 => vec![([u, v].repeat(STRIDE * 12), STRIDE)],
        };
        let mut planes = vec![(vec![180; STRIDE * 48], STRIDE)];
        planes.extend(chroma);
        Frame {
            meta: FrameMeta {
                source: SourceId::new("yard"),
                sequence: 7,
                pts: MediaTime::ZERO,
                captured: None,
                arrived: MonotonicTime::from_origin(std::time::Duration::ZERO),
                is_key: true,
                gap: Gap::default(),
                duty: Duty::Watch,
            },
            picture: Picture {
                format,
                width: 64,
                height: 48,
                matrix: ColourMatrix::Bt709,
                range: ColourRange::Limited,
                planes: Arc::new(PlanarBuffer::new(planes)),
            },
        }
    }

    /// The left half of the lower half.
    fn yard() -> Blank {
        Blank {
            corners: vec![(0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (0.0, 1.0)],
        }
    }

    #[test]
    fn private_pixels_are_black_and_the_others_as_they_were() {
        for format in [PixelFormat::I420, PixelFormat::Nv12] {
            let blanked = Blanker::new(vec![yard()]).blank(frame(format)).unwrap();
            assert_eq!(blanked.meta.sequence, 7);
            let (luma, stride) = blanked.picture.planes.plane(0);
            for y in 0..48 {
                for x in 0..64 {
                    let is_private = x < 32 && y >= 24;
                    let expected = if is_private { 16 } else { 180 };
                    assert_eq!(luma[y * stride + x], expected, "{format:?} {x},{y}");
                }
            }
            let (chroma, stride) = blanked.picture.planes.plane(1);
            let samples = if format == PixelFormat::Nv12 { 2 } else { 1 };
            assert_eq!(chroma[23 * stride], NO_CHROMA);
            assert_eq!(chroma[23 * stride + 15 * samples], NO_CHROMA);
            assert_eq!(chroma[23 * stride + 16 * samples], 90);
            assert_eq!(chroma[11 * stride], 90);
        }
    }

    #[test]
    fn neither_the_model_nor_a_snapshot_nor_a_thumbnail_sees_what_is_private() {
        let blanked = Blanker::new(vec![yard()])
            .blank(frame(PixelFormat::Nv12))
            .unwrap();
        let spec = InputSpec {
            width: 64,
            height: 48,
            colour: ColourOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            padding: 0.0,
            anchor: Anchor::Centre,
        };
        let mut tensor = vec![0.0; spec.elements()];
        let whole = Rect {
            x: 0,
            y: 0,
            width: 64,
            height: 48,
        };
        fill(&blanked.picture, whole, &spec, &mut tensor).unwrap();
        let red = |x: usize, y: usize| tensor[y * 64 + x];
        assert!(red(10, 40) < 0.02 && red(10, 10) > 0.8 && red(50, 40) > 0.8);
        for jpeg in [
            snapshot_jpeg(&blanked.picture, &[]).unwrap(),
            thumbnail_jpeg(&blanked.picture, &[], &whole_box(), 64).unwrap(),
        ] {
            let image = image::load_from_memory(&jpeg).unwrap().to_rgb8();
            assert_eq!(image.dimensions(), (64, 48));
            assert!(image.get_pixel(8, 40).0.iter().all(|value| *value < 20));
            assert!(image.get_pixel(50, 40).0[0] > 180);
        }
    }

    fn whole_box() -> crate::flow::detection::BBox {
        crate::flow::detection::BBox::new(0.0, 0.0, 64.0, 48.0)
    }

    #[test]
    fn a_slanted_outline_hides_every_pixel_whose_centre_lies_inside() {
        let triangle = Blank {
            corners: vec![(0.1, 0.05), (0.93, 0.41), (0.37, 0.97)],
        };
        let blanked = Blanker::new(vec![triangle.clone()])
            .blank(frame(PixelFormat::I420))
            .unwrap();
        let (luma, stride) = blanked.picture.planes.plane(0);
        let mut hidden = 0;
        for y in 0..48 {
            let crossings = triangle.crossings((f64::from(y) + 0.5) / 48.0);
            for x in 0..64 {
                let share = (f64::from(x) + 0.5) / 64.0;
                let inside = crossings
                    .chunks_exact(2)
                    .any(|pair| pair[0] <= share && share < pair[1]);
                if inside {
                    assert_eq!(luma[y as usize * stride + x as usize], 16, "{x},{y}");
                    hidden += 1;
                }
            }
        }
        assert!(hidden > 500, "{hidden}");
        let mut blanked_count = 0;
        for value in luma {
            blanked_count += usize::from(*value == 16);
        }
        assert!(
            blanked_count < hidden + 64 * 6,
            "not much more than the outline's blocks"
        );
    }

    #[test]
    fn a_picture_that_cannot_be_blanked_is_not_shown_and_without_parts_nothing_is_copied() {
        let mut cut_short = frame(PixelFormat::I420);
        cut_short.picture.planes = Arc::new(PlanarBuffer::new(vec![(vec![0; 100], 80)]));
        assert!(Blanker::new(vec![yard()]).blank(cut_short).is_none());
        let untouched = frame(PixelFormat::I420);
        let planes: Arc<dyn Planes> = Arc::clone(&untouched.picture.planes);
        let passed = Blanker::new(Vec::new()).blank(untouched).unwrap();
        assert!(Arc::ptr_eq(&planes, &passed.picture.planes));
    }
}
