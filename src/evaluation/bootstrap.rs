//! How sure a figure is: it is worked out again on pictures drawn from the same pictures, many times.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws `pictures` pictures with replacement and returns how often each was drawn.
#[must_use]
pub fn draw(pictures: usize, seed: u64, replicate: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(replicate);
    let mut weights = vec![0; pictures];
    for _ in 0..pictures {
        let picture = random.random_range(0..pictures);
        if let Some(weight) = weights.get_mut(picture) {
            *weight += 1;
        }
    }
    weights
}

/// Returns the middle 95 % of replicates; absent where fewer than half of them have a figure.
#[must_use]
pub fn interval(replicates: &[Option<f64>]) -> Option<[f64; 2]> {
    let mut figures: Vec<f64> = replicates.iter().copied().flatten().collect();
    if figures.is_empty() || figures.len() * 2 < replicates.len() {
        return None;
    }
    figures.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * (figures.len() - 1) as f64).round() as usize;
        figures.get(place).copied()
    };
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_pictures_and_replicates_differ() {
        assert_eq!(draw(50, 7, 3), draw(50, 7, 3));
        assert_ne!(draw(50, 7, 3), draw(50, 7, 4));
        assert_eq!(draw(50, 7, 3).iter().sum::<u32>(), 50);
    }

    #[test]
    fn the_interval_holds_the_middle_and_needs_enough_replicates() {
        let replicates: Vec<_> = (0..=1000).map(|number| Some(f64::from(number))).collect();
        assert_eq!(interval(&replicates), Some([25.0, 975.0]));
        assert_eq!(interval(&[None, None, Some(1.0)]), None);
        assert_eq!(interval(&[]), None);
    }
}
