//! Has a fixed camera moved? Two grey pictures of one preset are matched block by block.
//!
//! Edges are compared, not brightness: night and day, rain and sun change brightness. Blocks vote, so that a lorry that
//! drives through or a tree that lost its leaves does not move the camera.

use super::camera::CameraModel;

/// Cells that the longer side of a picture is reduced to.
const WORKING_SIZE: usize = 320;
/// Blocks across and down.
const BLOCKS: (usize, usize) = (6, 4);
/// How far a block is sought, in working cells.
const REACH: i32 = 24;
/// A block without this mean edge strength has nothing to match.
const LEAST_EDGE: f64 = 2.0;
/// A match below this correlation is none.
const LEAST_CORRELATION: f64 = 0.4;
/// Blocks that must match, and the share of them that must agree.
const LEAST_BLOCKS: usize = 5;
const LEAST_AGREEMENT: f64 = 0.5;
/// Blocks agree when their shifts differ by at most this, in working cells.
const AGREEMENT_CELLS: f64 = 1.5;

/// A grey picture, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Grey<'a> {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Bytes from row to row.
    pub stride: usize,
    /// The samples; 0 is black.
    pub samples: &'a [u8],
}

/// How the picture moved against the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Pixels to the right.
    pub right_px: f64,
    /// Pixels down.
    pub down_px: f64,
    /// The share of the matched blocks that agree, 0 to 1.
    pub agreement: f64,
    /// How many blocks could be matched.
    pub blocks: usize,
}

/// Why two pictures cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoShift {
    /// They have different sizes, or none.
    #[error("the pictures have different or impossible sizes")]
    Size,
    /// One shows nothing: night, fog, a covered lens. This says nothing about the mount.
    #[error("a picture shows too little to compare: night, fog or a covered lens")]
    TooDull,
    /// Nothing of the reference is found: turned far away, or another season.
    #[error("nothing of the reference picture is found again")]
    NothingFound,
}

/// What the nightly check says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MountCheck {
    /// It looks where its calibration says.
    InPlace(Shift),
    /// It looks elsewhere: `source.moved`.
    Moved(Shift),
    /// It looks elsewhere by more than can be measured, or at something else: `source.moved`.
    Lost,
    /// This night it cannot be told.
    Unknown,
}

/// Compares a camera's picture with its reference. It has moved when the shift is more than `allowed_deg`.
#[must_use]
pub fn check_mount(
    reference: &Grey<'_>,
    now: &Grey<'_>,
    camera: &CameraModel,
    allowed_deg: f64,
) -> MountCheck {
    match shift_between(reference, now) {
        Ok(shift) => {
            let degrees = (shift.right_px / camera.fx)
                .hypot(shift.down_px / camera.fy)
                .to_degrees();
            if degrees > allowed_deg {
                MountCheck::Moved(shift)
            } else {
                MountCheck::InPlace(shift)
            }
        }
        Err(NoShift::NothingFound) => MountCheck::Lost,
        Err(NoShift::Size | NoShift::TooDull) => MountCheck::Unknown,
    }
}

/// Returns how far `now` is shifted against `reference`, to about a tenth of a working cell (a 320th of the width).
pub fn shift_between(reference: &Grey<'_>, now: &Grey<'_>) -> Result<Shift, NoShift> {
    let is_whole = |grey: &Grey<'_>| {
        grey.stride >= grey.width
            && grey.width >= 64
            && grey.height >= 64
            && grey.samples.len()
                >= grey
                    .stride
                    .saturating_mul(grey.height - 1)
                    .saturating_add(grey.width)
    };
    if !is_whole(reference)
        || !is_whole(now)
        || (reference.width, reference.height) != (now.width, now.height)
    {
        return Err(NoShift::Size);
    }
    let factor = reference
        .width
        .max(reference.height)
        .div_ceil(WORKING_SIZE)
        .max(1);
    let first = Edges::of(reference, factor);
    let second = Edges::of(now, factor);
    if second.mean() < LEAST_EDGE || first.mean() < LEAST_EDGE {
        return Err(NoShift::TooDull);
    }
    let found = matched_blocks(&first, &second);
    if found.len() < LEAST_BLOCKS {
        return Err(NoShift::NothingFound);
    }
    // The shift that most blocks agree with.
    let agreeing = |shift: &(f64, f64)| {
        found
            .iter()
            .filter(|other| (other.0 - shift.0).hypot(other.1 - shift.1) <= AGREEMENT_CELLS)
            .copied()
            .collect::<Vec<_>>()
    };
    let best = found
        .iter()
        .map(agreeing)
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let agreement = best.len() as f64 / found.len() as f64;
    if best.len() < LEAST_BLOCKS || agreement < LEAST_AGREEMENT {
        return Err(NoShift::NothingFound);
    }
    let mean = |part: fn(&(f64, f64)) -> f64| best.iter().map(part).sum::<f64>() / best.len() as f64;
    Ok(Shift {
        right_px: mean(|shift| shift.0) * factor as f64,
        down_px: mean(|shift| shift.1) * factor as f64,
        agreement,
        blocks: found.len(),
    })
}

/// Strength of edges on a reduced grid.
struct Edges {
    width: usize,
    height: usize,
    strength: Vec<f32>,
}

impl Edges {
    fn of(grey: &Grey<'_>, factor: usize) -> Self {
        let (width, height) = (grey.width / factor, grey.height / factor);
        let mut small = vec![0.0f32; width * height];
        for (row, line) in small.chunks_exact_mut(width).enumerate() {
            for (column, cell) in line.iter_mut().enumerate() {
                let mut sum = 0u32;
                for inner in 0..factor {
                    let start = (row * factor + inner) * grey.stride + column * factor;
                    let part = grey.samples.get(start..start + factor).unwrap_or_default();
                    sum += part.iter().map(|sample| u32::from(*sample)).sum::<u32>();
                }
                *cell = sum as f32 / (factor * factor) as f32;
            }
        }
        let at = |row: usize, column: usize| small.get(row * width + column).copied().unwrap_or(0.0);
        let mut strength = vec![0.0; width * height];
        for row in 1..height.saturating_sub(1) {
            for column in 1..width.saturating_sub(1) {
                let across = at(row, column + 1) - at(row, column - 1);
                let down = at(row + 1, column) - at(row - 1, column);
                if let Some(slot) = strength.get_mut(row * width + column) {
                    // A strong edge must not outvote all others: lamps at night.
                    *slot = across.hypot(down).min(60.0);
                }
            }
        }
        Self {
            width,
            height,
            strength,
        }
    }

    fn mean(&self) -> f64 {
        self.strength
            .iter()
            .map(|strength| f64::from(*strength))
            .sum::<f64>()
            / self.strength.len().max(1) as f64
    }

    fn line(&self, row: usize, column: usize, length: usize) -> &[f32] {
        let start = row * self.width + column;
        self.strength.get(start..start + length).unwrap_or_default()
    }
}

/// Returns the shift of each block that is found again, in working cells.
fn matched_blocks(first: &Edges, second: &Edges) -> Vec<(f64, f64)> {
    let margin = REACH as usize;
    if first.width <= 3 * margin || first.height <= 3 * margin {
        return Vec::new();
    }
    let block_width = (first.width - 2 * margin) / BLOCKS.0;
    let block_height = (first.height - 2 * margin) / BLOCKS.1;
    let mut found = Vec::new();
    for down in 0..BLOCKS.1 {
        for across in 0..BLOCKS.0 {
            let block = Block {
                column: margin + across * block_width,
                row: margin + down * block_height,
                width: block_width,
                height: block_height,
            };
            found.extend(block.sought(first, second));
        }
    }
    found
}

#[derive(Clone, Copy)]
struct Block {
    column: usize,
    row: usize,
    width: usize,
    height: usize,
}

impl Block {
    fn sought(self, first: &Edges, second: &Edges) -> Option<(f64, f64)> {
        let own = Sums::of(first, first, self, (0, 0));
        if own.mean() < LEAST_EDGE {
            return None;
        }
        let mut best = (LEAST_CORRELATION, (0, 0));
        for down in -REACH..=REACH {
            for right in -REACH..=REACH {
                let correlation = Sums::of(first, second, self, (right, down)).correlation();
                if correlation > best.0 {
                    best = (correlation, (right, down));
                }
            }
        }
        let (peak, (right, down)) = best;
        if peak <= LEAST_CORRELATION {
            return None;
        }
        let beside =
            |step: (i32, i32)| Sums::of(first, second, self, (right + step.0, down + step.1)).correlation();
        Some((
            f64::from(right) + vertex(beside((-1, 0)), peak, beside((1, 0))),
            f64::from(down) + vertex(beside((0, -1)), peak, beside((0, 1))),
        ))
    }
}

/// Returns where between three heights the top of their parabola lies, -0.5 to 0.5.
fn vertex(before: f64, peak: f64, after: f64) -> f64 {
    let bend = before - 2.0 * peak + after;
    if bend >= -1e-12 {
        0.0
    } else {
        ((before - after) / (2.0 * bend)).clamp(-0.5, 0.5)
    }
}

/// Sums over a block, for the correlation of what it holds in both pictures.
struct Sums {
    count: f64,
    first: f64,
    second: f64,
    first_squared: f64,
    second_squared: f64,
    product: f64,
}

impl Sums {
    fn of(first: &Edges, second: &Edges, block: Block, shift: (i32, i32)) -> Self {
        let mut sums = [0.0f32; 5];
        let column = block.column.saturating_add_signed(shift.0 as isize);
        for row in block.row..block.row + block.height {
            let one = first.line(row, block.column, block.width);
            let other = second.line(row.saturating_add_signed(shift.1 as isize), column, block.width);
            for (a, b) in one.iter().zip(other) {
                sums[0] += a;
                sums[1] += b;
                sums[2] += a * a;
                sums[3] += b * b;
                sums[4] += a * b;
            }
        }
        let [first, second, first_squared, second_squared, product] = sums.map(f64::from);
        Self {
            count: (block.width * block.height) as f64,
            first,
            second,
            first_squared,
            second_squared,
            product,
        }
    }

    fn mean(&self) -> f64 {
        self.first / self.count
    }

    fn correlation(&self) -> f64 {
        let covariance = self.product - self.first * self.second / self.count;
        let first = self.first_squared - self.first * self.first / self.count;
        let second = self.second_squared - self.second * self.second / self.count;
        let scale = (first * second).sqrt();
        if scale > 1e-6 { covariance / scale } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 640;
    const HEIGHT: usize = 360;

    /// A scene of fields, roofs and masts, seen with a shift, a brightness and a gain.
    fn scene(right: i64, down: i64, gain: f64, offset: f64) -> Vec<u8> {
        let brightness = |x: i64, y: i64| {
            let cell = |size: i64, salt: i64| {
                let (column, row) = (x.div_euclid(size), y.div_euclid(size));
                let mixed = (column * 73_856_093) ^ (row * 19_349_663) ^ (salt * 83_492_791);
                ((mixed.wrapping_mul(2_654_435_761) >> 16) & 0xff) as f64
            };
            0.5 * cell(37, 1) + 0.3 * cell(13, 2) + 0.1 * cell(5, 3) + 20.0
        };
        (0..HEIGHT as i64)
            .flat_map(|row| (0..WIDTH as i64).map(move |column| (column, row)))
            .map(|(column, row)| {
                (brightness(column - right, row - down) * gain + offset).clamp(0.0, 255.0) as u8
            })
            .collect()
    }

    fn grey(samples: &[u8]) -> Grey<'_> {
        Grey {
            width: WIDTH,
            height: HEIGHT,
            stride: WIDTH,
            samples,
        }
    }

    #[test]
    fn a_shift_is_measured_to_a_pixel_in_other_light() {
        let reference = scene(0, 0, 1.0, 0.0);
        for (right, down) in [(0, 0), (6, -4), (-23, 11), (30, 20)] {
            let now = scene(right, down, 0.6, 40.0);
            let shift = shift_between(&grey(&reference), &grey(&now)).unwrap();
            assert!(
                (shift.right_px - right as f64).abs() < 1.0,
                "{shift:?} for {right},{down}"
            );
            assert!(
                (shift.down_px - down as f64).abs() < 1.0,
                "{shift:?} for {right},{down}"
            );
            assert!(shift.agreement > 0.9);
        }
    }

    #[test]
    fn something_that_drives_through_does_not_move_the_camera() {
        let reference = scene(0, 0, 1.0, 0.0);
        let mut now = reference.clone();
        for row in 150..280 {
            for column in 200..360 {
                now[row * WIDTH + column] = ((row * 7 + column * 13) % 255) as u8;
            }
        }
        let shift = shift_between(&grey(&reference), &grey(&now)).unwrap();
        assert!(
            shift.right_px.abs() < 0.5 && shift.down_px.abs() < 0.5,
            "{shift:?}"
        );
    }

    #[test]
    fn a_bumped_mount_is_reported_and_a_breath_of_wind_is_not() {
        let camera = CameraModel::from_hfov(640, 360, 60.0).unwrap();
        let reference = scene(0, 0, 1.0, 0.0);
        let bumped = scene(20, 0, 1.0, 0.0);
        assert!(matches!(
            check_mount(&grey(&reference), &grey(&bumped), &camera, 0.5),
            MountCheck::Moved(_)
        ));
        let swayed = scene(2, 1, 1.0, 0.0);
        assert!(matches!(
            check_mount(&grey(&reference), &grey(&swayed), &camera, 0.5),
            MountCheck::InPlace(_)
        ));
    }

    #[test]
    fn another_view_is_lost_and_a_black_night_is_unknown() {
        let camera = CameraModel::from_hfov(640, 360, 60.0).unwrap();
        let reference = scene(0, 0, 1.0, 0.0);
        let elsewhere = scene(5_000, 3_000, 1.0, 0.0);
        assert_eq!(
            check_mount(&grey(&reference), &grey(&elsewhere), &camera, 0.5),
            MountCheck::Lost
        );
        let night = vec![12u8; WIDTH * HEIGHT];
        assert_eq!(
            check_mount(&grey(&reference), &grey(&night), &camera, 0.5),
            MountCheck::Unknown
        );
        let short = grey(&reference[..1000]);
        assert_eq!(
            shift_between(&short, &grey(&reference)).unwrap_err(),
            NoShift::Size
        );
    }
}
