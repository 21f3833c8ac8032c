//! Finds the offset between telemetry and picture by itself: while the camera pans, the turning that telemetry tells
//! and the motion that the picture shows are the same curve, shifted in time.

use serde::{Deserialize, Serialize};

/// The step at which both curves are compared, in seconds.
const STEP_S: f64 = 0.02;

/// The least overlap of the two curves that is compared, in seconds.
const LEAST_OVERLAP_S: f64 = 4.0;

/// The least standard deviation of the turning that shows anything, in degrees a second.
const LEAST_TURNING_DEG_S: f64 = 1.0;

/// The least correlation that is believed.
const LEAST_QUALITY: f64 = 0.6;

/// The longest stretch that is compared, in seconds.
const LONGEST_S: f64 = 600.0;

/// What a calibration found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TimeCalibration {
    /// Telemetry's time minus the picture's time of the same moment, in seconds: what is added to the video's time.
    pub offset_s: f64,
    /// One standard deviation of the offset, in seconds.
    pub sigma_s: f64,
    /// Correlation at the peak, 0 to 1.
    pub quality: f64,
    /// The picture's time of the middle of what was compared, in seconds: how old the calibration is follows from it.
    pub at_s: f64,
}

/// Why there is no offset.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoCalibration {
    /// Too little of both.
    #[error(
        "cannot calibrate the time offset: the curves overlap for {overlap_s:.1} s, at least 4 s are expected"
    )]
    TooShort {
        /// Seconds that both cover.
        overlap_s: f64,
    },
    /// The camera hardly turned.
    #[error(
        "cannot calibrate the time offset: the camera turns by {turning_deg_s:.2} degrees a second (standard deviation), at least 1 is expected; pan it back and forth"
    )]
    TooStill {
        /// Standard deviation of the turning.
        turning_deg_s: f64,
    },
    /// No shift makes the curves alike.
    #[error(
        "cannot calibrate the time offset: the best correlation of turning and picture is {quality:.2}, at least 0.6 is expected"
    )]
    NoPeak {
        /// The best correlation.
        quality: f64,
    },
    /// The best shift lies at the end of the search.
    #[error(
        "cannot calibrate the time offset: the best shift lies at the edge of the search of {searched_s} s"
    )]
    AtTheEdge {
        /// The largest shift that was tried.
        searched_s: f64,
    },
}

/// A curve of (seconds, value), sampled at equal steps.
fn resampled(curve: &[(f64, f64)], from_s: f64, count: usize) -> Vec<f64> {
    let mut next = 0;
    (0..count)
        .map(|step| {
            let at_s = from_s + step as f64 * STEP_S;
            while curve.get(next).is_some_and(|(time_s, _)| *time_s < at_s) {
                next += 1;
            }
            match (
                next.checked_sub(1).and_then(|index| curve.get(index)),
                curve.get(next),
            ) {
                (Some((from_s, from)), Some((to_s, to))) if to_s > from_s => {
                    from + (to - from) * (at_s - from_s) / (to_s - from_s)
                }
                (_, Some((_, value))) | (Some((_, value)), None) => *value,
                (None, None) => 0.0,
            }
        })
        .collect()
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let ((one_mean, one_deviation), (other_mean, other_deviation)) =
        (mean_and_deviation(one), mean_and_deviation(other));
    if one_deviation < 1e-9 || other_deviation < 1e-9 {
        return 0.0;
    }
    let product: f64 = one
        .iter()
        .zip(other)
        .map(|(one, other)| (one - one_mean) * (other - other_mean))
        .sum();
    product / (one.len() as f64 * one_deviation * other_deviation)
}

/// Finds the offset that lays two curves on each other, within ±`search_s`.
///
/// `turning` is (telemetry's seconds, degrees a second that the optical axis turns clockwise); `motion` is (the video's
/// seconds, motion of the scene to the left in any unit a second): both grow when the camera pans to the right. Times
/// must rise; values that are no numbers are left out. The scale of the motion does not matter.
pub fn time_offset(
    turning: &[(f64, f64)],
    motion: &[(f64, f64)],
    search_s: f64,
) -> Result<TimeCalibration, NoCalibration> {
    let sane = |curve: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let mut sane: Vec<(f64, f64)> = curve
            .iter()
            .copied()
            .filter(|(time_s, value)| time_s.is_finite() && value.is_finite())
            .collect();
        sane.sort_by(|one, other| one.0.total_cmp(&other.0));
        sane
    };
    let (turning, motion) = (sane(turning), sane(motion));
    let span = |curve: &[(f64, f64)]| Some((curve.first()?.0, curve.last()?.0));
    let (Some(told), Some(seen)) = (span(&turning), span(&motion)) else {
        return Err(NoCalibration::TooShort { overlap_s: 0.0 });
    };
    let search_s = if search_s.is_finite() {
        search_s.clamp(STEP_S, 30.0)
    } else {
        5.0
    };
    // The part of the video that telemetry covers under every shift that is tried.
    let from_s = seen.0.max(told.0 + search_s);
    let overlap_s = (seen.1.min(told.1 - search_s) - from_s).min(LONGEST_S);
    if overlap_s.is_nan() || overlap_s < LEAST_OVERLAP_S {
        return Err(NoCalibration::TooShort {
            overlap_s: overlap_s.max(0.0),
        });
    }
    let count = (overlap_s / STEP_S) as usize;
    let lags = (search_s / STEP_S).round() as usize;
    let seen = resampled(&motion, from_s, count);
    let told = resampled(&turning, from_s - lags as f64 * STEP_S, count + 2 * lags);
    let (_, turning_deg_s) = mean_and_deviation(&told);
    if turning_deg_s < LEAST_TURNING_DEG_S {
        return Err(NoCalibration::TooStill { turning_deg_s });
    }
    let scores: Vec<f64> = (0..=2 * lags)
        .map(|lag| {
            told.get(lag..lag + count)
                .map_or(0.0, |told| correlation(told, &seen))
        })
        .collect();
    let (peak, quality) = scores
        .iter()
        .copied()
        .enumerate()
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .unwrap_or((0, 0.0));
    if quality < LEAST_QUALITY {
        return Err(NoCalibration::NoPeak { quality });
    }
    let (Some(left), Some(right)) = (
        peak.checked_sub(1).and_then(|index| scores.get(index)),
        scores.get(peak + 1),
    ) else {
        return Err(NoCalibration::AtTheEdge { searched_s: search_s });
    };
    // A parabola through the three highest points gives the peak between the steps.
    let curvature = left - 2.0 * quality + right;
    let shift = if curvature < -1e-12 {
        (0.5 * (left - right) / curvature).clamp(-0.5, 0.5)
    } else {
        0.0
    };
    let offset_s = (peak as f64 + shift - lags as f64) * STEP_S;
    // The sharper the peak against what is left unexplained, the surer the offset. Neighbouring steps are not
    // independent: samples of telemetry are.
    let independent = turning
        .iter()
        .filter(|(time_s, _)| (from_s..=from_s + overlap_s).contains(time_s))
        .count()
        .min(motion.len())
        .max(1) as f64;
    let curvature_per_s2 = (-curvature / (STEP_S * STEP_S)).max(1e-6);
    let sigma_s = ((1.0 - quality * quality).max(1e-4) / (independent * curvature_per_s2)).sqrt();
    Ok(TimeCalibration {
        offset_s,
        sigma_s: sigma_s.clamp(0.005, 1.0),
        quality,
        at_s: from_s + overlap_s / 2.0,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pan(at_s: f64) -> f64 {
        12.0 * (at_s * 0.9).sin() + 7.0 * (at_s * 0.37 + 1.0).sin()
    }

    type Curve = Vec<(f64, f64)>;

    fn curves(offset_s: f64, noise: f64) -> (Curve, Curve) {
        let turning = (0..300)
            .map(|step| f64::from(step) * 0.1)
            .map(|at_s| (at_s, pan(at_s)))
            .collect();
        let motion = (0..700)
            .map(|step| f64::from(step) * 0.04)
            .map(|at_s| (at_s, 30.0 * pan(at_s + offset_s) + noise * (at_s * 91.7).sin()))
            .collect();
        (turning, motion)
    }

    #[test]
    fn a_pan_without_noise_is_found_to_a_fraction_of_a_picture() {
        for offset_s in [-1.3, -0.013, 0.0, 0.277, 2.5] {
            let (turning, motion) = curves(offset_s, 0.0);
            let found = time_offset(&turning, &motion, 4.0).unwrap();
            assert!(
                (found.offset_s - offset_s).abs() < 0.01,
                "{found:?} is not {offset_s}"
            );
            assert!(found.quality > 0.99);
        }
    }

    #[test]
    fn a_still_camera_gives_no_offset() {
        let turning: Vec<_> = (0..300).map(|step| (f64::from(step) * 0.1, 0.1)).collect();
        let (_, motion) = curves(0.0, 0.0);
        assert!(matches!(
            time_offset(&turning, &motion, 2.0),
            Err(NoCalibration::TooStill { .. })
        ));
        assert!(matches!(
            time_offset(&[], &motion, 2.0),
            Err(NoCalibration::TooShort { .. })
        ));
    }

    #[test]
    fn a_picture_that_moves_otherwise_gives_no_offset() {
        let (turning, _) = curves(0.0, 0.0);
        let motion: Vec<_> = (0..700)
            .map(|step| f64::from(step) * 0.04)
            .map(|at_s| (at_s, (at_s * 7.3).sin()))
            .collect();
        assert!(matches!(
            time_offset(&turning, &motion, 2.0),
            Err(NoCalibration::NoPeak { .. })
        ));
    }

    #[test]
    fn a_pan_to_the_other_side_is_not_taken_for_the_same() {
        let (turning, motion) = curves(0.0, 0.0);
        let mirrored: Vec<_> = motion.iter().map(|(at_s, value)| (*at_s, -value)).collect();
        let found = time_offset(&turning, &mirrored, 0.5);
        assert!(found.is_err(), "{found:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn an_offset_under_noise_is_found_to_a_tenth_of_a_second(offset_s in -2.0..2.0f64, noise in 0.0..150.0f64) {
            let (turning, motion) = curves(offset_s, noise);
            let found = time_offset(&turning, &motion, 4.0).unwrap();
            prop_assert!((found.offset_s - offset_s).abs() < 0.1, "{:?} is not {}", found, offset_s);
        }
    }
}
