//! Precision against recall over all pictures, and the average precision of COCO.

use super::Look;
use super::matching::{OVERLAPS, Outcome, Pairs, SizeRange};
use crate::flow::detection::Class;

/// Recall is read at 0, 0.01, … 1.
const READINGS: usize = 101;

/// A detection of a class, in the order of falling scores over all pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Its score.
    pub score: f32,
    /// The number of its picture.
    pub picture: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// All detections of a class at one overlap and size, with how many boxes each picture has.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// Detections by falling score.
    pub entries: Vec<Entry>,
    /// Boxes to find, by picture.
    pub positives: Vec<u32>,
}

impl Curve {
    /// Collects the outcomes of one class over all pictures; `pairs` are by picture, absent where the class cannot
    /// be judged.
    #[must_use]
    pub fn new(pairs: &[Option<Pairs>], overlap: f64, range: &SizeRange) -> Self {
        let mut curve = Self {
            entries: Vec::new(),
            positives: vec![0; pairs.len()],
        };
        for (picture, pairs) in pairs.iter().enumerate() {
            let Some(pairs) = pairs else { continue };
            let (outcomes, positives) = pairs.outcomes(overlap, range);
            if let Some(slot) = curve.positives.get_mut(picture) {
                *slot = positives;
            }
            let entries = pairs
                .scores
                .iter()
                .zip(outcomes)
                .filter(|(_, outcome)| *outcome != Outcome::Ignored)
                .map(|(score, outcome)| Entry {
                    score: *score,
                    picture: picture as u32,
                    outcome,
                });
            curve.entries.extend(entries);
        }
        // Stable: equal scores keep the order of the pictures, as in COCO's own tool.
        curve
            .entries
            .sort_by(|one, other| other.score.total_cmp(&one.score));
        // What comes after the last find lowers no precision that is read.
        let last = curve
            .entries
            .iter()
            .rposition(|entry| entry.outcome == Outcome::True);
        curve.entries.truncate(last.map_or(0, |last| last + 1));
        curve
    }

    /// Returns how many boxes there are to find, each picture counted `weights` times.
    #[must_use]
    pub fn boxes(&self, weights: &[u32]) -> u64 {
        self.positives
            .iter()
            .zip(weights)
            .map(|(positives, weight)| u64::from(*positives) * u64::from(*weight))
            .sum()
    }

    /// Returns recall and precision after each detection, each picture counted `weights` times.
    #[must_use]
    pub fn points(&self, weights: &[u32]) -> Vec<(f64, f64)> {
        let boxes = self.boxes(weights) as f64;
        let (mut found, mut wrong) = (0_u64, 0_u64);
        let mut points = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let weight = weights.get(entry.picture as usize).copied().map_or(0, u64::from);
            if weight == 0 {
                continue;
            }
            match entry.outcome {
                Outcome::True => found += weight,
                Outcome::False => wrong += weight,
                Outcome::Ignored => continue,
            }
            points.push((
                found as f64 / boxes.max(1.0),
                found as f64 / (found + wrong) as f64,
            ));
        }
        points
    }

    /// Returns the average precision over 101 readings, nothing where there is no box to find.
    #[must_use]
    pub fn average_precision(&self, weights: &[u32]) -> Option<f64> {
        if self.boxes(weights) == 0 {
            return None;
        }
        let mut points = self.points(weights);
        // The best precision at this recall or a higher one.
        let mut best = 0.0_f64;
        for (_, precision) in points.iter_mut().rev() {
            best = best.max(*precision);
            *precision = best;
        }
        let mut sum = 0.0;
        let mut at = 0;
        for reading in 0..READINGS {
            let recall = reading as f64 / (READINGS - 1) as f64;
            while points.get(at).is_some_and(|(reached, _)| *reached < recall) {
                at += 1;
            }
            let Some((_, precision)) = points.get(at) else {
                break;
            };
            sum += precision;
        }
        Some(sum / READINGS as f64)
    }
}

/// Precision, recall and their harmonic mean at a threshold.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Operating {
    /// The threshold.
    pub threshold: f64,
    /// Share of detections that found something; absent without detections.
    pub precision: Option<f64>,
    /// Share of boxes that were found; absent without boxes.
    pub recall: Option<f64>,
    /// The harmonic mean of both.
    pub f1: Option<f64>,
}

/// What each detection of a class became at an overlap of one half, false ones after the last find included.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Score, picture and whether it found something.
    pub entries: Vec<(f32, u32, bool)>,
    /// Boxes to find, by picture.
    pub positives: Vec<u32>,
}

impl Tally {
    /// Collects the outcomes of one class over all pictures at an overlap of one half.
    #[must_use]
    pub fn new(pairs: &[Option<Pairs>]) -> Self {
        let mut tally = Self::default();
        for (picture, pairs) in pairs.iter().enumerate() {
            let (outcomes, positives) = pairs.as_ref().map_or((Vec::new(), 0), |pairs| {
                pairs.outcomes(0.5, &super::matching::ANY_SIZE)
            });
            tally.positives.push(positives);
            let scores = pairs.as_ref().map_or(&[][..], |pairs| pairs.scores.as_slice());
            for (score, outcome) in scores.iter().zip(outcomes) {
                if outcome != Outcome::Ignored {
                    tally
                        .entries
                        .push((*score, picture as u32, outcome == Outcome::True));
                }
            }
        }
        tally
    }

    /// Returns the figures at a threshold, each picture counted `weights` times.
    #[must_use]
    pub fn at(&self, threshold: f64, weights: &[u32]) -> Operating {
        let weight_of = |picture: usize| weights.get(picture).copied().map_or(0, u64::from);
        let boxes: u64 = self
            .positives
            .iter()
            .enumerate()
            .map(|(picture, positives)| u64::from(*positives) * weight_of(picture))
            .sum();
        let (mut found, mut wrong) = (0, 0);
        for (score, picture, is_true) in &self.entries {
            if f64::from(*score) >= threshold {
                let weight = weight_of(*picture as usize);
                if *is_true {
                    found += weight;
                } else {
                    wrong += weight;
                }
            }
        }
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let (precision, recall) = (share(found, found + wrong), share(found, boxes));
        let f1 = share(2 * found, boxes + found + wrong).filter(|_| boxes > 0);
        Operating {
            threshold,
            precision,
            recall,
            f1,
        }
    }
}

/// Compares the detections of a class with its boxes in every picture on which it can be judged.
#[must_use]
pub fn pairs_of(looks: &[Look], class: Class) -> Vec<Option<Pairs>> {
    looks
        .iter()
        .map(|look| look.judges(class).then(|| Pairs::new(look, class)))
        .collect()
}

/// Returns the curves of all overlaps.
#[must_use]
pub fn at_all_overlaps(pairs: &[Option<Pairs>], range: &SizeRange) -> Vec<Curve> {
    OVERLAPS
        .iter()
        .map(|overlap| Curve::new(pairs, *overlap, range))
        .collect()
}
