//! Which source pixels make up an output pixel along one axis, with whole-number weights.

/// The weights of an output pixel add up to this, so that weighted codes of 8 bits fit into 16.
pub(crate) const ONE: u32 = 256;

/// For each output pixel along one axis: the first source pixel and a weight for each that follows.
///
/// Shrinking averages over the area that the output pixel covers; enlarging interpolates linearly between centres.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// How many weights each output pixel has; unused ones are zero.
    pub(crate) taps: usize,
    /// The first source pixel of each output pixel; `start + taps` never leaves the source unless it is shorter.
    pub(crate) starts: Vec<u32>,
    /// `taps` weights for each output pixel.
    pub(crate) weights: Vec<u16>,
}

impl Kernel {
    /// Makes the kernel for `count` output pixels that cover `start..start + count * step` of a source axis with
    /// `limit` pixels.
    pub(crate) fn new(start: f64, step: f64, count: usize, limit: usize) -> Self {
        let mut spans = Vec::with_capacity(count);
        let mut taps = 1;
        for index in 0..count {
            let span = if step >= 1.0 {
                averaged(start + index as f64 * step, step, limit)
            } else {
                interpolated(start + (index as f64 + 0.5) * step, limit)
            };
            taps = taps.max(span.1.len());
            spans.push(span);
        }
        let mut starts = Vec::with_capacity(count);
        let mut weights = Vec::with_capacity(count * taps);
        for (first, span) in spans {
            // Near the far edge the window is moved back so that it stays inside, its leading weights zero.
            let moved = first.min(limit.saturating_sub(taps));
            let lead = first - moved;
            starts.push(moved as u32);
            weights.extend(std::iter::repeat_n(0, lead));
            weights.extend(&span);
            weights.extend(std::iter::repeat_n(0, taps.saturating_sub(lead + span.len())));
        }
        Self {
            taps,
            starts,
            weights,
        }
    }

    /// Returns the first source pixel and the weights of an output pixel.
    pub(crate) fn at(&self, index: usize) -> (usize, &[u16]) {
        let weights = self
            .weights
            .get(index * self.taps..(index + 1) * self.taps)
            .unwrap_or(&[]);
        (self.starts.get(index).map_or(0, |start| *start as usize), weights)
    }
}

/// Averages over `from..from + step`.
fn averaged(from: f64, step: f64, limit: usize) -> (usize, Vec<u16>) {
    let last = limit.saturating_sub(1);
    let to = (from + step).min(limit as f64);
    let first = (from.floor().max(0.0) as usize).min(last);
    let end = (to.ceil().max(0.0) as usize).clamp(first + 1, limit.max(1));
    let covered = |pixel: usize| (to.min(pixel as f64 + 1.0) - from.max(pixel as f64)).max(0.0);
    let total: f64 = (first..end).map(covered).sum();
    let shares = (first..end).map(|pixel| if total > 0.0 { covered(pixel) / total } else { 0.0 });
    (first, whole_numbers(shares))
}

/// Interpolates at `centre` between the two nearest pixel centres.
fn interpolated(centre: f64, limit: usize) -> (usize, Vec<u16>) {
    let last = limit.saturating_sub(1);
    let place = (centre - 0.5).clamp(0.0, last as f64);
    let first = (place.floor() as usize).min(last);
    let share = place - first as f64;
    if first == last {
        return (first, vec![ONE as u16]);
    }
    (first, whole_numbers([1.0 - share, share].into_iter()))
}

/// Rounds shares of one to whole weights that add up to [`ONE`] exactly, carrying the remainder along.
fn whole_numbers(shares: impl Iterator<Item = f64>) -> Vec<u16> {
    let (mut sum, mut given) = (0.0, 0_u32);
    let mut weights: Vec<u16> = shares
        .map(|share| {
            sum += share;
            let reached = ((sum * f64::from(ONE)).round() as u32).min(ONE);
            let weight = reached.saturating_sub(given);
            given = given.max(reached);
            weight as u16
        })
        .collect();
    if let Some(last) = weights.last_mut() {
        *last += (ONE - given) as u16;
    }
    weights
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn weights_add_up_to_one_and_stay_inside_the_source(
            limit in 1_usize..3000, count in 1_usize..700, from in 0.0_f64..1.0, share in 0.05_f64..1.0,
        ) {
            let start = from * limit as f64 * (1.0 - share);
            let kernel = Kernel::new(start, limit as f64 * share / count as f64, count, limit);
            for index in 0..count {
                let (first, weights) = kernel.at(index);
                prop_assert_eq!(weights.iter().map(|weight| u32::from(*weight)).sum::<u32>(), ONE);
                let used = weights.iter().rposition(|weight| *weight > 0).unwrap_or(0);
                prop_assert!(first + used < limit);
                prop_assert!(first + kernel.taps <= limit.max(kernel.taps));
            }
        }

        #[test]
        fn the_centre_of_gravity_is_the_centre_of_the_output_pixel(
            limit in 8_usize..3000, count in 1_usize..700,
        ) {
            let step = limit as f64 / count as f64;
            let kernel = Kernel::new(0.0, step, count, limit);
            for index in 0..count {
                let (first, weights) = kernel.at(index);
                let centre: f64 = weights.iter().enumerate()
                    .map(|(tap, weight)| (first + tap) as f64 * f64::from(*weight) / f64::from(ONE)).sum::<f64>() + 0.5;
                let wanted = ((index as f64 + 0.5) * step).clamp(0.5, limit as f64 - 0.5);
                // A source pixel that is covered in part counts at its own centre, which is at most 1/8 pixel off
                // in the mean; weights of 1/256 shift the centre by less than a hundredth of the covered width.
                let allowed = 0.125 / step.max(1.0) + 0.01 * step.max(1.0);
                prop_assert!((centre - wanted).abs() <= allowed, "{centre} {wanted}");
            }
        }
    }
}
