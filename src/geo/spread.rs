//! How errors spread on the ground: covariances, ellipses, circles, and fixed sets of samples.

use std::sync::OnceLock;

use crate::flow::position::Ellipse;

/// How many numbers a sample has: one for each uncertain part of a view.
pub const PARAMETERS: usize = 11;
/// How many samples there are.
pub const SAMPLES: usize = 512;

/// The covariance of a ground point, in square metres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Covariance {
    /// East with east.
    pub ee: f64,
    /// East with north.
    pub en: f64,
    /// North with north.
    pub nn: f64,
}

impl Covariance {
    /// Makes the covariance that independent errors add up to; each column is how far one standard deviation of one
    /// error moves the point east and north, in metres.
    #[must_use]
    pub fn of_columns(columns: &[[f64; 2]]) -> Self {
        columns.iter().fold(Self::default(), |sum, &[east, north]| Self {
            ee: sum.ee + east * east,
            en: sum.en + east * north,
            nn: sum.nn + north * north,
        })
    }

    /// Makes the covariance whose ellipse this is.
    #[must_use]
    pub fn of_ellipse(ellipse: &Ellipse) -> Self {
        let scale = radius_in_sigmas(ellipse.level);
        let along = (ellipse.semi_major_m / scale).powi(2);
        let across = (ellipse.semi_minor_m / scale).powi(2);
        let (sin, cos) = ellipse.azimuth_deg.to_radians().sin_cos();
        Self {
            ee: along * sin * sin + across * cos * cos,
            en: (along - across) * sin * cos,
            nn: along * cos * cos + across * sin * sin,
        }
    }

    /// Returns standard deviations along the long and the short axis in metres, and the long axis's azimuth in radians.
    #[must_use]
    pub fn axes(&self) -> (f64, f64, f64) {
        let middle = f64::midpoint(self.ee, self.nn);
        let half = f64::midpoint(self.nn, -self.ee);
        let swing = half.hypot(self.en);
        let azimuth = f64::atan2(self.en, half) / 2.0;
        (
            (middle + swing).max(0.0).sqrt(),
            (middle - swing).max(0.0).sqrt(),
            azimuth,
        )
    }

    /// Returns the ellipse that holds a share of the probability.
    #[must_use]
    pub fn ellipse(&self, level: f64) -> Ellipse {
        let (along, across, azimuth) = self.axes();
        let scale = radius_in_sigmas(level);
        Ellipse {
            semi_major_m: along * scale,
            semi_minor_m: across * scale,
            azimuth_deg: azimuth.to_degrees().rem_euclid(180.0),
            level,
        }
    }

    /// Returns the radius of the circle that holds a share of the probability, in metres.
    #[must_use]
    pub fn circle_m(&self, level: f64) -> f64 {
        const ANGLES: usize = 64;
        let (along, across, _) = self.axes();
        if along <= 0.0 {
            return 0.0;
        }
        let inside = |radius: f64| {
            let outside: f64 = (0..ANGLES)
                .map(|index| {
                    let angle = (index as f64 + 0.5) * std::f64::consts::FRAC_PI_2 / ANGLES as f64;
                    let (sin, cos) = angle.sin_cos();
                    let reach = (along * cos).powi(2) + (across * sin).powi(2);
                    (-radius * radius / (2.0 * reach.max(1e-300))).exp()
                })
                .sum();
            1.0 - outside / ANGLES as f64
        };
        let (mut low, mut high) = (0.0, along * 8.0);
        for _ in 0..50 {
            let middle = f64::midpoint(low, high);
            if inside(middle) < level {
                low = middle;
            } else {
                high = middle;
            }
        }
        f64::midpoint(low, high)
    }

    /// Returns the squared distance of an offset in standard deviations; a direction without spread counts as 1 mm.
    #[must_use]
    pub fn mahalanobis_squared(&self, east_m: f64, north_m: f64) -> f64 {
        let (ee, nn) = (self.ee + 1e-6, self.nn + 1e-6);
        let determinant = ee * nn - self.en * self.en;
        (nn * east_m * east_m - 2.0 * self.en * east_m * north_m + ee * north_m * north_m) / determinant
    }
}

/// Returns how many standard deviations the axes of an ellipse have that holds a share of the probability.
#[must_use]
pub fn radius_in_sigmas(level: f64) -> f64 {
    (-2.0 * (1.0 - level.clamp(0.0, 0.999_999)).ln()).sqrt()
}

/// What sampling says of a ground point, where straight-line propagation does not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledSpread {
    /// The ellipse around the point that holds the share asked for.
    pub ellipse: Ellipse,
    /// The radius of the circle that does, in metres.
    pub circle_m: f64,
}

/// Returns ellipse and circle that hold `level` of `total` samples, of which those that met the ground lie at
/// `offsets` (east and north of the point); the others lie outside. `None` if too few met it.
#[must_use]
pub fn sampled(offsets: &[(f64, f64)], total: usize, level: f64) -> Option<SampledSpread> {
    let rank = (level * (total + 1) as f64).ceil() as usize;
    if rank == 0 || rank > offsets.len() {
        return None;
    }
    let columns = offsets
        .iter()
        .fold(Covariance::default(), |sum, &(east, north)| Covariance {
            ee: sum.ee + east * east,
            en: sum.en + east * north,
            nn: sum.nn + north * north,
        });
    let (_, _, azimuth) = columns.axes();
    let (sin, cos) = azimuth.sin_cos();
    let turned = |offset: &(f64, f64)| (offset.0 * sin + offset.1 * cos, offset.0 * cos - offset.1 * sin);
    // A tail that runs to the horizon must not blow up the short axis: each axis is measured by its own quantile.
    let mut spare = [0.0; SAMPLES];
    let spare = spare.get_mut(..offsets.len())?;
    let mut quantile = |measure: &dyn Fn(&(f64, f64)) -> f64| -> f64 {
        for (slot, offset) in spare.iter_mut().zip(offsets.iter()) {
            *slot = measure(offset);
        }
        let (_, value, _) = spare.select_nth_unstable_by(rank - 1, f64::total_cmp);
        *value
    };
    let along = quantile(&|offset| turned(offset).0.abs()).max(1e-3);
    let across = quantile(&|offset| turned(offset).1.abs()).max(1e-3);
    let scale = quantile(&|offset| {
        let (far, aside) = turned(offset);
        (far / along).hypot(aside / across)
    });
    let circle_m = quantile(&|offset| offset.0.hypot(offset.1));
    let (along_m, across_m) = (along * scale, across * scale);
    let (semi_major_m, semi_minor_m, azimuth) = if along_m >= across_m {
        (along_m, across_m, azimuth)
    } else {
        (across_m, along_m, azimuth + std::f64::consts::FRAC_PI_2)
    };
    Some(SampledSpread {
        ellipse: Ellipse {
            semi_major_m,
            semi_minor_m,
            azimuth_deg: azimuth.to_degrees().rem_euclid(180.0),
            level,
        },
        circle_m,
    })
}

/// Returns samples of independent standard normal numbers that fill space evenly. They are the same in every run, so
/// the same view gives the same ellipse.
#[must_use]
pub fn normal_samples() -> &'static [[f64; PARAMETERS]] {
    static TABLE: OnceLock<Vec<[f64; PARAMETERS]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        // A rank-1 lattice: every axis is evenly filled, no two axes correlate by more than 0.06 (found by search), and
        // the order is such that the first 64 points are a lattice too.
        const GENERATOR: [usize; PARAMETERS] = [1, 283, 61, 215, 327, 345, 269, 187, 163, 223, 275];
        let bits = SAMPLES.trailing_zeros();
        let mut table = vec![[0.0; PARAMETERS]; SAMPLES];
        for (index, sample) in table.iter_mut().enumerate() {
            let place = index.reverse_bits() >> (usize::BITS - bits);
            for (number, step) in sample.iter_mut().zip(GENERATOR) {
                let share = ((place * step) % SAMPLES) as f64 + 0.5;
                *number = inverse_normal(share / SAMPLES as f64);
            }
        }
        table
    })
}

/// Returns the number below which a standard normal number lies with probability `share` (Acklam's fit, 1e-9).
#[must_use]
pub fn inverse_normal(share: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |share: f64| {
        let q = (-2.0 * share.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    if share < 0.024_25 {
        tail(share)
    } else if share > 1.0 - 0.024_25 {
        -tail(1.0 - share)
    } else {
        let q = share - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / polynomial(&B, r)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_round_spread_has_its_textbook_circle() {
        let round = Covariance {
            ee: 4.0,
            en: 0.0,
            nn: 4.0,
        };
        assert!((round.circle_m(0.9) - 2.0 * 2.145_966).abs() < 1e-3);
        assert!((round.circle_m(0.5) - 2.0 * 1.177_41).abs() < 1e-3);
        let line = Covariance {
            ee: 1.0,
            en: 0.0,
            nn: 0.0,
        };
        assert!(
            (line.circle_m(0.9) - 1.645).abs() < 0.02,
            "{}",
            line.circle_m(0.9)
        );
    }

    #[test]
    fn the_long_axis_points_where_the_spread_is_widest() {
        let north_east = Covariance::of_columns(&[[3.0, 3.0], [0.5, -0.5]]);
        let ellipse = north_east.ellipse(0.9);
        assert!((ellipse.azimuth_deg - 45.0).abs() < 1e-9);
        assert!((ellipse.semi_major_m / ellipse.semi_minor_m - 6.0).abs() < 1e-9);
        let east = Covariance::of_columns(&[[5.0, 0.0], [0.0, 1.0]]);
        assert!((east.ellipse(0.9).azimuth_deg - 90.0).abs() < 1e-9);
    }

    #[test]
    fn the_samples_are_normal_and_independent() {
        let samples = normal_samples();
        for axis in 0..PARAMETERS {
            let mean: f64 = samples.iter().map(|sample| sample[axis]).sum::<f64>() / SAMPLES as f64;
            let square: f64 = samples.iter().map(|sample| sample[axis].powi(2)).sum::<f64>() / SAMPLES as f64;
            assert!(mean.abs() < 0.03, "mean {mean} on axis {axis}");
            assert!((square - 1.0).abs() < 0.06, "variance {square} on axis {axis}");
            for other in 0..axis {
                let product: f64 = samples.iter().map(|s| s[axis] * s[other]).sum::<f64>() / SAMPLES as f64;
                assert!(product.abs() < 0.06, "{product} between {axis} and {other}");
            }
        }
    }

    #[test]
    fn sampling_a_normal_spread_finds_its_ellipse() {
        let offsets: Vec<(f64, f64)> = normal_samples()
            .iter()
            .map(|s| (10.0 * s[0], 2.0 * s[1]))
            .collect();
        let spread = sampled(&offsets, SAMPLES, 0.9).unwrap();
        assert!(
            (spread.ellipse.semi_major_m / 21.46 - 1.0).abs() < 0.08,
            "{spread:?}"
        );
        assert!(
            (spread.ellipse.semi_minor_m / 4.292 - 1.0).abs() < 0.08,
            "{spread:?}"
        );
        assert!((spread.ellipse.azimuth_deg - 90.0).abs() < 3.0, "{spread:?}");
        assert!(
            sampled(&offsets[..400], SAMPLES, 0.9).is_none(),
            "a fifth never met the ground"
        );
    }

    #[test]
    fn the_inverse_normal_meets_the_tables() {
        for (share, expected) in [
            (0.5, 0.0),
            (0.975, 1.959_964),
            (0.01, -2.326_348),
            (0.9, 1.281_552),
        ] {
            assert!((inverse_normal(share) - expected).abs() < 1e-6);
        }
    }

    proptest! {
        #[test]
        fn ellipse_to_covariance_and_back(major in 1.0..500.0f64, share in 0.05..0.95f64, azimuth in 0.0..180.0f64) {
            let ellipse = Ellipse { semi_major_m: major, semi_minor_m: major * share, azimuth_deg: azimuth, level: 0.9 };
            let back = Covariance::of_ellipse(&ellipse).ellipse(0.9);
            prop_assert!((back.semi_major_m - major).abs() < 1e-6 * major);
            prop_assert!((back.semi_minor_m - major * share).abs() < 1e-6 * major);
            let turned = (back.azimuth_deg - azimuth).abs();
            prop_assert!(turned.min(180.0 - turned) < 1e-6);
        }
    }
}
