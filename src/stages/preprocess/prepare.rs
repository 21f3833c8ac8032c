//! Fills a model's input from the planes of a picture: scale, letterbox, colour and normalisation in one pass.
//!
//! For each row of the input the source rows that it covers are summed with 8-bit weights into 16-bit columns, the
//! columns are summed into pixels, and the pixels go through one linear map per channel. A source sample is read
//! once (twice on a boundary between two input rows) and everything between lies in the first-level cache. The inner
//! loops are plain zips over slices of equal length, which the compiler turns into SIMD.

use crate::flow::frame::{ColourMatrix, ColourRange, Picture, PixelFormat};

use super::colour::{Channel, channels};
use super::kernel::{Kernel, ONE};
use super::letterbox::{Letterbox, Rect};
use super::{Input, InputSpec, TensorPool};

/// The longest side of a picture, in pixels.
pub const LONGEST_SIDE: u32 = 32_768;

/// A picture that cannot be prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreprocessError {
    /// A side is zero or too long.
    #[error("cannot prepare a picture of {width}x{height} pixels: expected sides from 1 to {LONGEST_SIDE}")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The region does not lie in the picture.
    #[error(
        "cannot prepare the region {region:?} of a picture of {width}x{height} pixels: expected it inside"
    )]
    Region {
        /// What was asked for.
        region: Rect,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A plane holds fewer samples than its size says.
    #[error("plane {plane} of a picture of {width}x{height} pixels is cut short: row {row} is not there")]
    Plane {
        /// Which plane, from 0.
        plane: usize,
        /// The row that is missing.
        row: usize,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The tensor has another size than the input.
    #[error("cannot fill a tensor of {found} numbers: the input has {expected}")]
    Tensor {
        /// Numbers in the tensor.
        found: usize,
        /// Numbers in the input.
        expected: usize,
    },
}

/// Fills inputs of one specification; keeps what it worked out for the last size of picture.
#[derive(Debug)]
pub struct Preparer {
    spec: InputSpec,
    plan: Option<Plan>,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    columns: Vec<u16>,
    rows: [Vec<f32>; 3],
}

impl Preparer {
    /// Makes a preparer for inputs of this specification.
    #[must_use]
    pub fn new(spec: InputSpec) -> Self {
        Self {
            spec,
            plan: None,
            scratch: Scratch::default(),
        }
    }

    /// Returns the specification of the inputs.
    #[must_use]
    pub fn spec(&self) -> &InputSpec {
        &self.spec
    }

    /// Prepares a part of a picture in a tensor from `pool`.
    pub fn prepare(
        &mut self,
        picture: &Picture,
        region: Rect,
        pool: &TensorPool,
    ) -> Result<Input, PreprocessError> {
        let mut tensor = pool.take();
        let letterbox = self.fill(picture, region, &mut tensor)?;
        Ok(Input {
            tensor,
            letterbox,
            picture_width: picture.width,
            picture_height: picture.height,
        })
    }

    /// Fills `tensor` (three planes, row by row) with a part of a picture and returns the geometry.
    pub fn fill(
        &mut self,
        picture: &Picture,
        region: Rect,
        tensor: &mut [f32],
    ) -> Result<Letterbox, PreprocessError> {
        if tensor.len() != self.spec.elements() {
            return Err(PreprocessError::Tensor {
                found: tensor.len(),
                expected: self.spec.elements(),
            });
        }
        let key = Key::new(picture, region);
        if self.plan.as_ref().is_none_or(|plan| plan.key != key) {
            self.plan = Some(Plan::new(key, &self.spec)?);
        }
        let Some(plan) = &self.plan else {
            return Err(PreprocessError::Size {
                width: picture.width,
                height: picture.height,
            });
        };
        plan.fill(picture, &self.spec, &mut self.scratch, tensor)?;
        Ok(plan.letterbox)
    }
}

/// Fills `tensor` with a part of a picture; where many pictures follow each other a [`Preparer`] is cheaper.
pub fn fill(
    picture: &Picture,
    region: Rect,
    spec: &InputSpec,
    tensor: &mut [f32],
) -> Result<Letterbox, PreprocessError> {
    Preparer::new(spec.clone()).fill(picture, region, tensor)
}

/// What a plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    format: PixelFormat,
    width: u32,
    height: u32,
    matrix: ColourMatrix,
    range: ColourRange,
    region: Rect,
}

impl Key {
    fn new(picture: &Picture, region: Rect) -> Self {
        Self {
            format: picture.format,
            width: picture.width,
            height: picture.height,
            matrix: picture.matrix,
            range: picture.range,
            region,
        }
    }
}

/// Which columns of a plane are needed, and how they become pixels.
#[derive(Debug)]
struct PlanePlan {
    down: Kernel,
    across: Kernel,
    /// First needed column; the starts of `across` count from here.
    first: usize,
    /// How many columns are needed.
    columns: usize,
}

impl PlanePlan {
    /// `shrunk` is 1 for luma and 2 for chroma; `width` and `height` are the plane's own.
    fn new(letterbox: &Letterbox, shrunk: f64, width: usize, height: usize) -> Self {
        let axis = |start: u32, length: u32, count: u32, limit: usize| {
            let step = f64::from(length) / shrunk / f64::from(count);
            Kernel::new(f64::from(start) / shrunk, step, count as usize, limit)
        };
        let (region, content) = (&letterbox.region, &letterbox.content);
        let down = axis(region.y, region.height, content.height, height);
        let mut across = axis(region.x, region.width, content.width, width);
        let first = across.starts.iter().copied().min().unwrap_or(0);
        let last = across.starts.iter().copied().max().unwrap_or(0);
        for start in &mut across.starts {
            *start -= first;
        }
        Self {
            columns: (last - first) as usize + across.taps,
            first: first as usize,
            down,
            across,
        }
    }
}

#[derive(Debug)]
struct Plan {
    key: Key,
    letterbox: Letterbox,
    channels: [Channel; 3],
    luma: PlanePlan,
    chroma: PlanePlan,
}

impl Plan {
    fn new(key: Key, spec: &InputSpec) -> Result<Self, PreprocessError> {
        let (width, height, region) = (key.width, key.height, key.region);
        if !(1..=LONGEST_SIDE).contains(&width) || !(1..=LONGEST_SIDE).contains(&height) {
            return Err(PreprocessError::Size { width, height });
        }
        let is_inside = |start: u32, length: u32, limit: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= limit)
        };
        if !is_inside(region.x, region.width, width) || !is_inside(region.y, region.height, height) {
            return Err(PreprocessError::Region {
                region,
                width,
                height,
            });
        }
        let letterbox = Letterbox::new(region, spec.width, spec.height, spec.anchor);
        let (across, down) = (width as usize, height as usize);
        Ok(Self {
            key,
            letterbox,
            channels: channels(key.matrix, key.range, spec),
            luma: PlanePlan::new(&letterbox, 1.0, across, down),
            chroma: PlanePlan::new(&letterbox, 2.0, across.div_ceil(2), down.div_ceil(2)),
        })
    }

    fn fill(
        &self,
        picture: &Picture,
        spec: &InputSpec,
        scratch: &mut Scratch,
        tensor: &mut [f32],
    ) -> Result<(), PreprocessError> {
        let content = self.letterbox.content;
        let width = spec.width as usize;
        let (left, shown) = (content.x as usize, content.width as usize);
        let (top, rows) = (content.y as usize, content.height as usize);
        self.pad(spec, tensor);
        for row in &mut scratch.rows {
            row.resize(shown, 0.0);
        }
        let [y_row, u_row, v_row] = &mut scratch.rows;
        let columns = &mut scratch.columns;
        let plane_size = width * spec.height as usize;
        for row in 0..rows {
            self.sum_rows(picture, 0, &self.luma, 1, row, columns)?;
            sum_columns::<1>(columns, 0, &self.luma.across, y_row);
            match picture.format {
                PixelFormat::I420 => {
                    self.sum_rows(picture, 1, &self.chroma, 1, row, columns)?;
                    sum_columns::<1>(columns, 0, &self.chroma.across, u_row);
                    self.sum_rows(picture, 2, &self.chroma, 1, row, columns)?;
                    sum_columns::<1>(columns, 0, &self.chroma.across, v_row);
                }
                PixelFormat::Nv12 => {
                    self.sum_rows(picture, 1, &self.chroma, 2, row, columns)?;
                    sum_columns::<2>(columns, 0, &self.chroma.across, u_row);
                    sum_columns::<2>(columns, 1, &self.chroma.across, v_row);
                }
            }
            let offset = (top + row) * width + left;
            for (channel, plane) in self.channels.iter().zip(tensor.chunks_exact_mut(plane_size)) {
                let Some(out) = plane.get_mut(offset..offset + shown) else {
                    continue;
                };
                for (((number, y), u), v) in out.iter_mut().zip(&*y_row).zip(&*u_row).zip(&*v_row) {
                    *number = channel.apply(*y, *u, *v);
                }
            }
        }
        Ok(())
    }

    /// Writes the padding, and only the padding.
    fn pad(&self, spec: &InputSpec, tensor: &mut [f32]) {
        let content = self.letterbox.content;
        let width = spec.width as usize;
        let (left, right) = (content.x as usize, (content.x + content.width) as usize);
        let shown = content.y as usize..(content.y + content.height) as usize;
        for (channel, plane) in self
            .channels
            .iter()
            .zip(tensor.chunks_exact_mut(width * spec.height as usize))
        {
            let padding = channel.padding(spec.padding);
            for (index, row) in plane.chunks_exact_mut(width).enumerate() {
                if shown.contains(&index) {
                    let (head, rest) = row.split_at_mut(left);
                    let (_, tail) = rest.split_at_mut(right - left);
                    head.fill(padding);
                    tail.fill(padding);
                } else {
                    row.fill(padding);
                }
            }
        }
    }

    /// Sums the source rows of an input row, weighted, into `columns`; `interleaved` samples share a column.
    fn sum_rows(
        &self,
        picture: &Picture,
        plane: usize,
        plan: &PlanePlan,
        interleaved: usize,
        row: usize,
        columns: &mut Vec<u16>,
    ) -> Result<(), PreprocessError> {
        let (samples, stride) = picture.planes.plane(plane);
        let (first, count) = (plan.first * interleaved, plan.columns * interleaved);
        let (top, weights) = plan.down.at(row);
        let source = |tap: usize| {
            let start = (top + tap) * stride + first;
            samples.get(start..start + count).ok_or(PreprocessError::Plane {
                plane,
                row: top + tap,
                width: self.key.width,
                height: self.key.height,
            })
        };
        columns.clear();
        columns.resize(count, 0);
        let mut tap = 0;
        while tap < weights.len() {
            match weights.get(tap..) {
                // Leading and trailing zeros are the window's, not the picture's.
                Some([0, ..]) => tap += 1,
                Some([a, b, c, ..]) if *b > 0 && *c > 0 => {
                    let rows = source(tap)?.iter().zip(source(tap + 1)?).zip(source(tap + 2)?);
                    for (sum, ((first, second), third)) in columns.iter_mut().zip(rows) {
                        *sum += u16::from(*first) * a + u16::from(*second) * b + u16::from(*third) * c;
                    }
                    tap += 3;
                }
                Some([weight, ..]) => {
                    for (sum, sample) in columns.iter_mut().zip(source(tap)?) {
                        *sum += u16::from(*sample) * weight;
                    }
                    tap += 1;
                }
                _ => break,
            }
        }
        Ok(())
    }
}

/// Sums columns, weighted, into pixels; every `STEP`-th column from `phase` on is used.
fn sum_columns<const STEP: usize>(columns: &[u16], phase: usize, kernel: &Kernel, out: &mut [f32]) {
    match kernel.taps {
        1 => sum_taps::<STEP, 1>(columns, phase, kernel, out),
        2 => sum_taps::<STEP, 2>(columns, phase, kernel, out),
        3 => sum_taps::<STEP, 3>(columns, phase, kernel, out),
        4 => sum_taps::<STEP, 4>(columns, phase, kernel, out),
        5 => sum_taps::<STEP, 5>(columns, phase, kernel, out),
        6 => sum_taps::<STEP, 6>(columns, phase, kernel, out),
        7 => sum_taps::<STEP, 7>(columns, phase, kernel, out),
        8 => sum_taps::<STEP, 8>(columns, phase, kernel, out),
        taps => {
            let windows = kernel.starts.iter().zip(kernel.weights.chunks_exact(taps));
            for (number, (start, weights)) in out.iter_mut().zip(windows) {
                let window = columns.get(*start as usize * STEP + phase..).unwrap_or(&[]);
                let sum: u32 = window
                    .iter()
                    .step_by(STEP)
                    .zip(weights)
                    .map(|(column, weight)| u32::from(*column) * u32::from(*weight))
                    .sum();
                *number = sum as f32 * UNIT;
            }
        }
    }
}

/// From weighted sums along both axes back to codes of 0 to 255.
const UNIT: f32 = 1.0 / (ONE * ONE) as f32;

/// [`sum_columns`] for a number of taps that the compiler knows and unrolls.
fn sum_taps<const STEP: usize, const TAPS: usize>(
    columns: &[u16],
    phase: usize,
    kernel: &Kernel,
    out: &mut [f32],
) {
    let (windows, _) = kernel.weights.as_chunks::<TAPS>();
    for ((number, start), weights) in out.iter_mut().zip(&kernel.starts).zip(windows) {
        let start = *start as usize * STEP + phase;
        let Some(window) = columns.get(start..=start + (TAPS - 1) * STEP) else {
            continue;
        };
        let mut sum = 0;
        for (tap, weight) in weights.iter().enumerate() {
            sum += u32::from(window[tap * STEP]) * u32::from(*weight);
        }
        *number = sum as f32 * UNIT;
    }
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
