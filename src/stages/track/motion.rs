//! A small grey copy of the picture: how the camera moved since the last frame, and what changed besides.

use crate::flow::detection::BBox;
use crate::flow::frame::{Picture, PixelFormat};

/// Width of the grid in cells; the height follows the picture's shape.
const WIDTH: usize = 192;
/// The camera may have moved by this share of the picture's width between two frames.
const REACH: f32 = 0.15;
/// So many of the best coarse moves are looked at closely.
const REFINED: usize = 4;

/// Mean grey levels of the picture on a coarse grid.
#[derive(Clone, Debug, PartialEq)]
pub struct LumaGrid {
    cells: Vec<f32>,
    width: usize,
    height: usize,
    /// Source pixels per cell, the same both ways.
    cell_px: f32,
}

/// How the picture's content moved between two frames, in source pixels: right and down.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Motion {
    /// Pixels to the right.
    pub dx: f32,
    /// Pixels down.
    pub dy: f32,
}

impl LumaGrid {
    /// Makes the grid of a picture; each cell is the mean of up to 16 samples.
    #[must_use]
    pub fn of(picture: &Picture) -> Self {
        let (samples, stride) = match picture.format {
            PixelFormat::I420 | PixelFormat::Nv12 => picture.planes.plane(0),
        };
        let (source_width, source_height) = (picture.width as usize, picture.height as usize);
        let width = WIDTH.min(source_width).max(1);
        let cell_px = source_width as f32 / width as f32;
        let height = ((source_height as f32 / cell_px) as usize).max(1);
        let step = (cell_px / 4.0).max(1.0);
        let mut cells = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let (mut sum, mut count) = (0_u32, 0_u32);
                let mut y = row as f32 * cell_px;
                while y < (row + 1) as f32 * cell_px {
                    let mut x = column as f32 * cell_px;
                    let line = (y as usize).min(source_height.saturating_sub(1)) * stride;
                    while x < (column + 1) as f32 * cell_px {
                        if let Some(sample) = samples.get(line + (x as usize).min(source_width - 1)) {
                            sum += u32::from(*sample);
                            count += 1;
                        }
                        x += step;
                    }
                    y += step;
                }
                cells.push(sum as f32 / count.max(1) as f32);
            }
        }
        Self {
            cells,
            width,
            height,
            cell_px,
        }
    }

    fn at(&self, column: usize, row: usize) -> f32 {
        self.cells.get(row * self.width + column).copied().unwrap_or(0.0)
    }

    /// Returns the same grid with a quarter of the cells each way.
    fn coarse(&self) -> Self {
        let (width, height) = ((self.width / 4).max(1), (self.height / 4).max(1));
        let mut cells = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let mut sum = 0.0;
                for inner in 0..16 {
                    sum += self.at(
                        (column * 4 + inner % 4).min(self.width - 1),
                        (row * 4 + inner / 4).min(self.height - 1),
                    );
                }
                cells.push(sum / 16.0);
            }
        }
        Self {
            cells,
            width,
            height,
            cell_px: self.cell_px * 4.0,
        }
    }

    /// Returns the mean difference of this grid to `before` moved by whole cells, over the part that both show.
    fn mismatch(&self, before: &Self, dx: isize, dy: isize) -> f32 {
        let (mut sum, mut count) = (0.0, 0_u32);
        let columns = dx.max(0) as usize..(self.width as isize + dx.min(0)).max(0) as usize;
        for row in dy.max(0) as usize..(self.height as isize + dy.min(0)).max(0) as usize {
            let now = row * self.width;
            let was = (row as isize - dy) as usize * before.width;
            for column in columns.clone() {
                let other = was + (column as isize - dx) as usize;
                if let (Some(a), Some(b)) = (self.cells.get(now + column), before.cells.get(other)) {
                    // Large differences are moving things, not the camera: they count no more than 24 grey levels.
                    sum += (a - b).abs().min(24.0);
                    count += 1;
                }
            }
        }
        if count == 0 { f32::MAX } else { sum / count as f32 }
    }

    /// Returns how the picture moved since `before`; no motion where the two do not compare.
    #[must_use]
    pub fn motion_since(&self, before: &Self) -> Motion {
        if (self.width, self.height) != (before.width, before.height) {
            return Motion::default();
        }
        let (coarse, coarse_before) = (self.coarse(), before.coarse());
        let reach = ((coarse.width as f32 * REACH) as isize).max(1);
        let mut coarse_moves = Vec::new();
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                coarse_moves.push((coarse.mismatch(&coarse_before, dx, dy), dx * 4, dy * 4));
            }
        }
        coarse_moves.sort_by(|a, b| a.0.total_cmp(&b.0));
        coarse_moves.truncate(REFINED);
        // A move must explain the picture clearly better than rest: sky and fields look alike everywhere.
        let (mut fine, mut least) = ((0, 0), self.mismatch(before, 0, 0) * 0.98);
        for (_, near_x, near_y) in coarse_moves {
            for dy in near_y - 3..=near_y + 3 {
                for dx in near_x - 3..=near_x + 3 {
                    let mismatch = self.mismatch(before, dx, dy);
                    if mismatch < least {
                        (fine, least) = ((dx, dy), mismatch);
                    }
                }
            }
        }
        let sub_x = parabola(
            self.mismatch(before, fine.0 - 1, fine.1),
            least,
            self.mismatch(before, fine.0 + 1, fine.1),
        );
        let sub_y = parabola(
            self.mismatch(before, fine.0, fine.1 - 1),
            least,
            self.mismatch(before, fine.0, fine.1 + 1),
        );
        Motion {
            dx: (fine.0 as f32 + sub_x) * self.cell_px,
            dy: (fine.1 as f32 + sub_y) * self.cell_px,
        }
    }

    /// Returns by how many grey levels the inside of `bbox` changed more than the rest of the picture did.
    #[must_use]
    pub fn activity_since(&self, before: &Self, bbox: &BBox) -> f32 {
        if (self.width, self.height) != (before.width, before.height) {
            return 0.0;
        }
        let column = |x: f32| ((x / self.cell_px).max(0.0) as usize).min(self.width - 1);
        let row = |y: f32| ((y / self.cell_px).max(0.0) as usize).min(self.height - 1);
        let (left, right) = (column(bbox.x0), column(bbox.x1));
        let (top, bottom) = (row(bbox.y0), row(bbox.y1));
        let (mut inside, mut inside_count, mut outside, mut outside_count) = (0.0, 0_u32, 0.0, 0_u32);
        for y in 0..self.height {
            for x in 0..self.width {
                let change = (self.at(x, y) - before.at(x, y)).abs();
                if (left..=right).contains(&x) && (top..=bottom).contains(&y) {
                    inside += change;
                    inside_count += 1;
                } else {
                    outside += change.min(4.0);
                    outside_count += 1;
                }
            }
        }
        inside / inside_count.max(1) as f32 - outside / outside_count.max(1) as f32
    }
}

/// Returns where between -0.5 and 0.5 a parabola through three neighbouring values is least.
fn parabola(left: f32, middle: f32, right: f32) -> f32 {
    let curve = left - 2.0 * middle + right;
    if curve > 1e-6 && left < f32::MAX && right < f32::MAX {
        ((left - right) / (2.0 * curve)).clamp(-0.5, 0.5)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::frame::{ColourMatrix, ColourRange, PlanarBuffer};

    /// A picture of smooth hills seen from (x, y).
    fn hills(x0: f32, y0: f32) -> Picture {
        let (width, height) = (640_u32, 360_u32);
        let mut luma = Vec::with_capacity((width * height) as usize);
        for y in 0..height {
            for x in 0..width {
                let (x, y) = (x as f32 + x0, y as f32 + y0);
                let value = 120.0
                    + 40.0 * (x / 37.0).sin() * (y / 23.0).cos()
                    + 30.0 * (x / 91.0 + y / 53.0).sin()
                    + 20.0 * (x / 13.0 - y / 17.0).cos();
                luma.push(value as u8);
            }
        }
        let chroma = vec![128; (width * height / 4) as usize];
        Picture {
            format: PixelFormat::I420,
            width,
            height,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(vec![
                (luma, width as usize),
                (chroma.clone(), width as usize / 2),
                (chroma, width as usize / 2),
            ])),
        }
    }

    #[test]
    fn a_turn_of_the_camera_is_measured_to_two_pixels() {
        let before = LumaGrid::of(&hills(0.0, 0.0));
        for (x, y) in [(0.0, 0.0), (17.0, -9.0), (-60.0, 30.0), (5.0, 3.0)] {
            let motion = LumaGrid::of(&hills(x, y)).motion_since(&before);
            assert!(
                (motion.dx + x).abs() < 2.0 && (motion.dy + y).abs() < 2.0,
                "{x} {y} {motion:?}"
            );
        }
    }

    #[test]
    fn a_still_picture_has_no_activity_and_a_changed_spot_has() {
        let before = LumaGrid::of(&hills(0.0, 0.0));
        let spot = BBox::new(100.0, 100.0, 160.0, 140.0);
        assert!(before.activity_since(&before, &spot).abs() < 1e-6);
        let mut after = before.clone();
        for cell in after.cells.iter_mut().skip(35 * 192 + 35).take(10) {
            *cell += 60.0;
        }
        assert!(after.activity_since(&before, &spot) > 1.0);
    }
}
