//! Is there anything to see? Pure functions on a sparse grid of the picture's brightness.
//!
//! Two ways in which a camera that delivers frames on time shows nothing: the same picture again and again (an encoder
//! that hangs, a recorder in a loop of one), and a picture without structure (a cap, a spider's nest, ice, deep fog).

use std::time::Duration;

use crate::flow::frame::{ColourRange, Picture};
use crate::flow::time::MonotonicTime;

/// Samples across.
const COLUMNS: usize = 64;
/// Samples down.
const ROWS: usize = 36;

/// Brightness at points of a picture, row by row. Points, not means: the mean over a cell of a still scene does not
/// show the sensor's noise, and the noise is what tells a living camera from a frozen one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LumaGrid {
    samples: Vec<u8>,
}

impl LumaGrid {
    /// Takes the samples of a picture; none of a picture without pixels.
    #[must_use]
    pub fn of(picture: &Picture) -> Self {
        let (luma, stride) = picture.planes.plane(0);
        let (width, height) = (picture.width as usize, picture.height as usize);
        let mut samples = Vec::with_capacity(COLUMNS * ROWS);
        for row in 0..ROWS {
            let y = (2 * row + 1) * height / (2 * ROWS);
            for column in 0..COLUMNS {
                let x = (2 * column + 1) * width / (2 * COLUMNS);
                samples.extend(luma.get(y * stride + x));
            }
        }
        if picture.range == ColourRange::Limited {
            for sample in &mut samples {
                let widened = (i32::from(*sample) - 16) * 255 / 219;
                *sample = u8::try_from(widened.clamp(0, 255)).unwrap_or(u8::MAX);
            }
        }
        Self { samples }
    }

    /// Makes a grid of given samples, for tests and simulations.
    #[must_use]
    pub const fn from_samples(samples: Vec<u8>) -> Self {
        Self { samples }
    }

    /// Returns the part of the points, 0 to 1, whose brightness differs by more than `codes`; 1 for other sizes.
    #[must_use]
    pub fn changed_part(&self, other: &Self, codes: u8) -> f32 {
        if self.samples.len() != other.samples.len() || self.samples.is_empty() {
            return 1.0;
        }
        let changed = self
            .samples
            .iter()
            .zip(&other.samples)
            .filter(|(a, b)| a.abs_diff(**b) > codes)
            .count();
        changed as f32 / self.samples.len() as f32
    }

    /// Returns the standard deviation of the brightness, in codes of 0 to 255.
    #[must_use]
    pub fn deviation(&self) -> f32 {
        if self.samples.is_empty() {
            return 0.0;
        }
        let count = self.samples.len() as f32;
        let mean = self.samples.iter().map(|&sample| f32::from(sample)).sum::<f32>() / count;
        let squares = self
            .samples
            .iter()
            .map(|&sample| (f32::from(sample) - mean).powi(2))
            .sum::<f32>();
        (squares / count).sqrt()
    }

    /// Returns how often neighbouring points differ visibly (by more than 6 codes), as a part of all neighbours.
    ///
    /// A cap lit from one side has a wide deviation and no edges; this tells it from a landscape.
    #[must_use]
    pub fn edge_part(&self) -> f32 {
        let mut edges = 0_usize;
        let mut neighbours = 0_usize;
        for row in self.samples.chunks(COLUMNS) {
            for pair in row.windows(2) {
                neighbours += 1;
                edges += usize::from(pair[0].abs_diff(pair[1]) > 6);
            }
        }
        if neighbours == 0 {
            0.0
        } else {
            edges as f32 / neighbours as f32
        }
    }

    /// Says whether the picture holds nothing to look at.
    #[must_use]
    pub fn is_without_structure(&self) -> bool {
        self.deviation() < 3.0 || self.edge_part() < 0.002
    }
}

/// What the pictures of a camera say of its sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// There is a picture and it changes.
    Clear,
    /// The same picture for longer than the bound.
    Frozen,
    /// No structure for longer than the bound.
    Covered,
}

/// Watches grids over time.
#[derive(Debug)]
pub struct SightMonitor {
    frozen_after: Duration,
    covered_after: Duration,
    reference: Option<(LumaGrid, MonotonicTime)>,
    structureless_since: Option<MonotonicTime>,
    looked_at: Option<MonotonicTime>,
    key_frame_at: Option<MonotonicTime>,
}

/// How often a picture is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For so long only key frames are looked at. A key frame shows what the camera sees now: its noise, if there is any. The
/// frames between may repeat a still scene to the bit, or refine a hung one, as the encoder likes.
const KEY_FRAMES_FOR: Duration = Duration::from_secs(10);

/// A part of changed points below this is no change: two points of the grid.
const STILL_PART: f32 = 0.001;

impl SightMonitor {
    /// Makes a monitor; a bound of zero never speaks.
    #[must_use]
    pub const fn new(frozen_after: Duration, covered_after: Duration) -> Self {
        Self {
            frozen_after,
            covered_after,
            reference: None,
            structureless_since: None,
            looked_at: None,
            key_frame_at: None,
        }
    }

    /// Forgets what was seen, because the connection is new.
    pub fn reset(&mut self) {
        self.reference = None;
        self.structureless_since = None;
        self.looked_at = None;
        self.key_frame_at = None;
    }

    /// Says whether it is time to look again, and this picture is one to look at.
    pub fn wants(&mut self, is_key: bool, now: MonotonicTime) -> bool {
        if is_key {
            self.key_frame_at = Some(now);
        }
        let watches = !self.frozen_after.is_zero() || !self.covered_after.is_zero();
        let says_something = is_key || self.key_frame_at.is_none_or(|at| now.since(at) >= KEY_FRAMES_FOR);
        watches && says_something && self.looked_at.is_none_or(|at| now.since(at) >= LOOK_EVERY)
    }

    /// Looks at a picture and says what the camera sees.
    pub fn look(&mut self, grid: LumaGrid, now: MonotonicTime) -> Sight {
        self.looked_at = Some(now);
        let lasted = |since: MonotonicTime, bound: Duration| !bound.is_zero() && now.since(since) >= bound;
        if grid.is_without_structure() {
            let since = *self.structureless_since.get_or_insert(now);
            // A dark picture does not change either: covered is the better word for it.
            self.reference = None;
            return if lasted(since, self.covered_after) {
                Sight::Covered
            } else {
                Sight::Clear
            };
        }
        self.structureless_since = None;
        match &self.reference {
            Some((reference, since)) if reference.changed_part(&grid, 2) < STILL_PART => {
                if lasted(*since, self.frozen_after) {
                    Sight::Frozen
                } else {
                    Sight::Clear
                }
            }
            _ => {
                self.reference = Some((grid, now));
                Sight::Clear
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::frame::{ColourMatrix, PixelFormat, PlanarBuffer};

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(seconds))
    }

    fn landscape(shift: usize) -> LumaGrid {
        LumaGrid::from_samples(
            (0..COLUMNS * ROWS)
                .map(|index| ((index * 37 + shift) % 200 + 20) as u8)
                .collect(),
        )
    }

    #[test]
    fn the_same_picture_for_half_a_minute_is_frozen_and_a_change_clears_it() {
        let mut monitor = SightMonitor::new(Duration::from_secs(30), Duration::from_secs(10));
        for second in 0..30 {
            assert_eq!(monitor.look(landscape(0), at(second)), Sight::Clear);
        }
        assert_eq!(monitor.look(landscape(0), at(30)), Sight::Frozen);
        assert_eq!(monitor.look(landscape(5), at(31)), Sight::Clear);
    }

    #[test]
    fn a_still_scene_with_sensor_noise_is_not_frozen() {
        let mut monitor = SightMonitor::new(Duration::from_secs(30), Duration::from_secs(10));
        for second in 0..200_u64 {
            let mut grid = landscape(0);
            // Noise moves a handful of points, elsewhere each second.
            for index in 0..6_usize {
                let place = (index * 331 + second as usize * 17) % (COLUMNS * ROWS);
                grid.samples[place] = grid.samples[place].saturating_add(4);
            }
            assert_eq!(monitor.look(grid, at(second)), Sight::Clear, "second {second}");
        }
    }

    #[test]
    fn a_cap_is_covered_also_when_light_falls_on_it_from_one_side() {
        let black = LumaGrid::from_samples(vec![3; COLUMNS * ROWS]);
        let ramp = LumaGrid::from_samples(
            (0..COLUMNS * ROWS)
                .map(|index| (index % COLUMNS * 2 + 60) as u8)
                .collect(),
        );
        assert!(ramp.deviation() > 20.0);
        for grid in [black, ramp] {
            let mut monitor = SightMonitor::new(Duration::from_secs(30), Duration::from_secs(10));
            assert_eq!(monitor.look(grid.clone(), at(0)), Sight::Clear);
            assert_eq!(monitor.look(grid.clone(), at(9)), Sight::Clear);
            assert_eq!(monitor.look(grid, at(10)), Sight::Covered);
            assert_eq!(monitor.look(landscape(0), at(11)), Sight::Clear);
        }
    }

    #[test]
    fn a_few_lights_in_the_night_are_a_picture() {
        let mut night = LumaGrid::from_samples(vec![4; COLUMNS * ROWS]);
        for index in 0..12 {
            night.samples[index * 190 + 7] = 200;
        }
        assert!(!night.is_without_structure());
    }

    #[test]
    fn key_frames_are_looked_at_and_other_frames_where_there_are_none() {
        let mut monitor = SightMonitor::new(Duration::from_secs(30), Duration::from_secs(10));
        assert!(
            monitor.wants(false, at(0)),
            "the stream began without a key frame"
        );
        assert!(monitor.wants(true, at(1)));
        assert!(!monitor.wants(false, at(2)) && !monitor.wants(false, at(10)));
        assert!(monitor.wants(true, at(10)));
        assert!(!monitor.wants(false, at(19)) && monitor.wants(false, at(20)));
    }

    #[test]
    fn a_bound_of_zero_never_speaks() {
        let mut monitor = SightMonitor::new(Duration::ZERO, Duration::ZERO);
        assert!(!monitor.wants(true, at(0)));
        monitor.look(landscape(0), at(0));
        assert_eq!(monitor.look(landscape(0), at(10_000)), Sight::Clear);
    }

    #[test]
    fn limited_range_is_widened_and_a_picture_without_pixels_has_no_samples() {
        let mut picture = Picture {
            format: PixelFormat::I420,
            width: 2,
            height: 2,
            matrix: ColourMatrix::Bt709,
            range: ColourRange::Limited,
            planes: Arc::new(PlanarBuffer::new(vec![(vec![16, 235, 16, 235], 2)])),
        };
        let grid = LumaGrid::of(&picture);
        assert_eq!(grid.samples.iter().copied().min(), Some(0));
        assert_eq!(grid.samples.iter().copied().max(), Some(255));
        picture.planes = Arc::new(PlanarBuffer::new(Vec::new()));
        assert!(LumaGrid::of(&picture).samples.is_empty());
        assert!(LumaGrid::of(&picture).is_without_structure());
    }
}
