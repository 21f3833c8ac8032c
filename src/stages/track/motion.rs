//! A small grey copy of the picture: how the camera moved since the last frame, and what changed besides.

use std::ops::Range;

use crate::flow::detection::BBox;
use crate::flow::frame::{Picture, PixelFormat};

/// Width of the grid in cells; the height follows the picture's shape.
const WIDTH: usize = 192;
/// A cell is the mean of up to so many samples each way.
const SAMPLES: usize = 4;
/// Steps of a cell's value to one grey level.
const STEPS: u16 = 16;
/// Large differences are moving things, not the camera: they count no more than 24 grey levels.
const MOST: u16 = 24 * STEPS;
/// What changes beside a box counts no more than 4 grey levels: it may be another fire.
const BESIDE: u16 = 4 * STEPS;
/// The camera may have moved by this share of the picture's width between two frames.
const REACH: f32 = 0.15;
/// So many of the best moves of a coarse grid are looked at on the next finer one.
const REFINED: usize = 4;

/// Mean grey levels of the picture on a coarse grid.
#[derive(Clone, Debug, PartialEq)]
pub struct LumaGrid {
    /// Row by row, in sixteenths of a grey level.
    cells: Vec<u16>,
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

/// A move by whole cells, right and down, and the mean difference that it leaves.
#[derive(Clone, Copy, Debug)]
struct Move {
    dx: isize,
    dy: isize,
    mismatch: f32,
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
        let each = SAMPLES.min(cell_px as usize).max(1);
        // Where along an axis the samples of all cells lie.
        let places = |cells: usize, limit: usize| -> Vec<usize> {
            (0..cells * each)
                .map(|at| ((at as f32 * cell_px / each as f32) as usize).min(limit.saturating_sub(1)))
                .collect()
        };
        let (columns, rows) = (places(width, source_width), places(height, source_height));
        let scale = STEPS / (each * each) as u16;
        let rest = STEPS % (each * each) as u16;
        let mut cells = Vec::with_capacity(width * height);
        // Whole lines are added up first, which goes many samples at a time; then single samples are picked.
        let mut sums = vec![0_u16; source_width];
        for lines in rows.chunks_exact(each) {
            sums.fill(0);
            for row in lines {
                let line = samples
                    .get(row * stride..row * stride + source_width)
                    .unwrap_or(&[]);
                for (sum, sample) in sums.iter_mut().zip(line) {
                    *sum += u16::from(*sample);
                }
            }
            cells.extend(columns.chunks_exact(each).map(|places| {
                let picked = places.iter().map(|place| sums.get(*place).copied().unwrap_or(0));
                let sum: u16 = picked.sum();
                // Nine samples do not divide sixteen steps.
                sum * scale + sum * rest / (each * each) as u16
            }));
        }
        Self {
            cells,
            width,
            height,
            cell_px,
        }
    }

    fn at(&self, column: usize, row: usize) -> u16 {
        self.cells.get(row * self.width + column).copied().unwrap_or(0)
    }

    /// Returns the same grid with half of the cells each way.
    fn halved(&self) -> Self {
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        let mut cells = Vec::with_capacity(width * height);
        for row in 0..height {
            let below = (row * 2 + 1).min(self.height - 1);
            for column in 0..width {
                let right = (column * 2 + 1).min(self.width - 1);
                let sum = self.at(column * 2, row * 2)
                    + self.at(right, row * 2)
                    + self.at(column * 2, below)
                    + self.at(right, below);
                cells.push(sum / 4);
            }
        }
        Self {
            cells,
            width,
            height,
            cell_px: self.cell_px * 2.0,
        }
    }

    /// Returns the mean difference, in steps, of this grid to `before` moved by whole cells, over the part that both
    /// show.
    fn mismatch(&self, before: &Self, dx: isize, dy: isize) -> f32 {
        let shown =
            |moved: isize, size: usize| moved.max(0) as usize..(size as isize + moved.min(0)).max(0) as usize;
        let (columns, rows) = (shown(dx, self.width), shown(dy, self.height));
        let (mut sum, mut count) = (0_u64, 0);
        for row in rows {
            let now = row * self.width + columns.start;
            let was = ((row as isize - dy) as usize * before.width)
                .wrapping_add_signed(columns.start as isize - dx);
            let (Some(now), Some(was)) = (
                self.cells.get(now..now + columns.len()),
                before.cells.get(was..was + columns.len()),
            ) else {
                continue;
            };
            let differences = now
                .iter()
                .zip(was)
                .map(|(a, b)| u32::from(a.abs_diff(*b).min(MOST)));
            sum += u64::from(differences.sum::<u32>());
            count += columns.len();
        }
        if count == 0 {
            f32::MAX
        } else {
            sum as f32 / count as f32
        }
    }

    fn moved(&self, before: &Self, dx: isize, dy: isize) -> Move {
        Move {
            dx,
            dy,
            mismatch: self.mismatch(before, dx, dy),
        }
    }

    /// Returns the best moves among those within `reach` cells of the given ones, the best first.
    fn best_near(&self, before: &Self, near: &[Move], reach: isize) -> Vec<Move> {
        let mut moves: Vec<Move> = Vec::new();
        for place in near {
            for dy in place.dy - reach..=place.dy + reach {
                for dx in place.dx - reach..=place.dx + reach {
                    if !moves.iter().any(|known| (known.dx, known.dy) == (dx, dy)) {
                        moves.push(self.moved(before, dx, dy));
                    }
                }
            }
        }
        moves.sort_by(|a, b| a.mismatch.total_cmp(&b.mismatch));
        moves.truncate(REFINED);
        moves
    }

    /// Returns how the picture moved since `before`; no motion where the two do not compare.
    ///
    /// Coarse to fine: all moves within reach on a grid of a quarter of the cells each way, then the best of them and
    /// their neighbours on half of the cells, then on all.
    #[must_use]
    pub fn motion_since(&self, before: &Self) -> Motion {
        if (self.width, self.height) != (before.width, before.height) {
            return Motion::default();
        }
        let (half, half_before) = (self.halved(), before.halved());
        let (quarter, quarter_before) = (half.halved(), half_before.halved());
        let rest = |grid: &Self, before: &Self| grid.moved(before, 0, 0);
        let finer = |moves: Vec<Move>| -> Vec<Move> {
            moves
                .into_iter()
                .map(|place| Move {
                    dx: place.dx * 2,
                    dy: place.dy * 2,
                    ..place
                })
                .collect()
        };
        let reach = ((quarter.width as f32 * REACH) as isize).max(1);
        let coarse = quarter.best_near(&quarter_before, &[rest(&quarter, &quarter_before)], reach);
        let middle = half.best_near(&half_before, &finer(coarse), 1);
        let fine = self.best_near(before, &finer(middle), 1);
        // A move must explain the picture clearly better than rest: sky and fields look alike everywhere.
        let mut best = rest(self, before);
        best.mismatch *= 0.98;
        if let Some(found) = fine.first().filter(|found| found.mismatch < best.mismatch) {
            best = *found;
        }
        let sub_x = parabola(
            self.mismatch(before, best.dx - 1, best.dy),
            best.mismatch,
            self.mismatch(before, best.dx + 1, best.dy),
        );
        let sub_y = parabola(
            self.mismatch(before, best.dx, best.dy - 1),
            best.mismatch,
            self.mismatch(before, best.dx, best.dy + 1),
        );
        Motion {
            dx: (best.dx as f32 + sub_x) * self.cell_px,
            dy: (best.dy as f32 + sub_y) * self.cell_px,
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
        let inside = Region {
            columns: left..right.max(left) + 1,
            rows: top..bottom.max(top) + 1,
        };
        let all = Region {
            columns: 0..self.width,
            rows: 0..self.height,
        };
        let outside = self.change(before, &all, BESIDE) - self.change(before, &inside, BESIDE);
        let outside_cells = (all.cells() - inside.cells()).max(1);
        let steps = self.change(before, &inside, u16::MAX) as f32 / inside.cells() as f32
            - outside as f32 / outside_cells as f32;
        steps / f32::from(STEPS)
    }

    /// Returns the sum of the changes, in steps, of a region's cells, each counted up to `most`.
    fn change(&self, before: &Self, region: &Region, most: u16) -> u64 {
        let mut sum = 0;
        for row in region.rows.clone() {
            let line = row * self.width + region.columns.start..row * self.width + region.columns.end;
            if let (Some(now), Some(was)) = (self.cells.get(line.clone()), before.cells.get(line)) {
                let changes = now
                    .iter()
                    .zip(was)
                    .map(|(a, b)| u32::from(a.abs_diff(*b).min(most)));
                sum += u64::from(changes.sum::<u32>());
            }
        }
        sum
    }
}

/// Cells of some columns and rows; never empty.
struct Region {
    columns: Range<usize>,
    rows: Range<usize>,
}

impl Region {
    fn cells(&self) -> usize {
        self.columns.len() * self.rows.len()
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
            *cell += 60 * STEPS;
        }
        assert!(after.activity_since(&before, &spot) > 1.0);
    }
}
