//! Which detection found which box: the protocol of COCO, for one class in one picture.

use super::{Look, Truth};
use crate::flow::detection::{BBox, Class, Detection};

/// The overlaps at which COCO measures: 0.50, 0.55, … 0.95.
pub const OVERLAPS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// At most this many detections of a class count in a picture.
pub const MOST_DETECTIONS: usize = 100;

/// A range of box areas, as shares of the picture's area; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeRange {
    /// The word for it.
    pub name: &'static str,
    /// The least share.
    pub least: f64,
    /// The largest share.
    pub most: f64,
}

/// Every box.
pub const ANY_SIZE: SizeRange = SizeRange {
    name: "all",
    least: 0.0,
    most: f64::INFINITY,
};

/// Tiny, small and large boxes.
pub const SIZES: [SizeRange; 3] = [
    SizeRange {
        name: "tiny",
        least: 0.0,
        most: 0.01,
    },
    SizeRange {
        name: "small",
        least: 0.01,
        most: 0.05,
    },
    SizeRange {
        name: "large",
        least: 0.05,
        most: f64::INFINITY,
    },
];

/// What became of a detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It found a box that nobody surer had found.
    True,
    /// It found nothing.
    False,
    /// It found something that counts neither way, or is itself of a size that does not count.
    Ignored,
}

/// The detections and boxes of one class in one picture, with how far each covers each.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Scores, falling.
    pub scores: Vec<f32>,
    detection_shares: Vec<f64>,
    truth_shares: Vec<f64>,
    crowds: Vec<bool>,
    /// Overlap of each detection (outer) with each box (inner).
    overlaps: Vec<f64>,
}

impl Pairs {
    /// Compares the detections of a class in a picture with its boxes.
    #[must_use]
    pub fn new(look: &Look, class: Class) -> Self {
        let mut found: Vec<&Detection> = look
            .detections
            .iter()
            .filter(|detection| detection.class == class)
            .collect();
        found.sort_by(|one, other| other.score.total_cmp(&one.score));
        found.truncate(MOST_DETECTIONS);
        let truths: Vec<&Truth> = look.truths.iter().filter(|truth| truth.class == class).collect();
        let overlaps = found
            .iter()
            .flat_map(|detection| truths.iter().map(|truth| overlap(&detection.bbox, truth)))
            .collect();
        let share = |bbox: &BBox| area(bbox) / look.area().max(1.0);
        Self {
            scores: found.iter().map(|detection| detection.score).collect(),
            detection_shares: found.iter().map(|detection| share(&detection.bbox)).collect(),
            truth_shares: truths.iter().map(|truth| share(&truth.bbox)).collect(),
            crowds: truths.iter().map(|truth| truth.is_crowd).collect(),
            overlaps,
        }
    }

    /// Decides what became of each detection when boxes must overlap by at least `least` and be of a size in
    /// `range`; also returns how many boxes there were to find.
    #[must_use]
    pub fn outcomes(&self, least: f64, range: &SizeRange) -> (Vec<Outcome>, u32) {
        let counts = |share: &f64| (range.least..=range.most).contains(share);
        let ignored: Vec<bool> = self
            .truth_shares
            .iter()
            .zip(&self.crowds)
            .map(|(share, is_crowd)| *is_crowd || !counts(share))
            .collect();
        // Boxes that count come first, each kind in the order of the labels: so does COCO.
        let mut order: Vec<usize> = (0..ignored.len()).collect();
        order.sort_by_key(|truth| ignored.get(*truth).copied());
        let mut taken = vec![false; ignored.len()];
        let width = ignored.len();
        let outcomes = self
            .detection_shares
            .iter()
            .enumerate()
            .map(|(detection, share)| {
                let overlaps = self
                    .overlaps
                    .get(detection * width..(detection + 1) * width)
                    .unwrap_or(&[]);
                let mut best: Option<(usize, f64)> = None;
                for truth in &order {
                    let is_ignored = ignored.get(*truth) == Some(&true);
                    let is_crowd = self.crowds.get(*truth) == Some(&true);
                    if taken.get(*truth) == Some(&true) && !is_crowd {
                        continue;
                    }
                    let counting = best.is_some_and(|(best, _)| ignored.get(best) == Some(&false));
                    if counting && is_ignored {
                        break;
                    }
                    let overlap = overlaps.get(*truth).copied().unwrap_or(0.0);
                    if overlap >= best.map_or(least.min(1.0 - 1e-10), |(_, overlap)| overlap) {
                        best = Some((*truth, overlap));
                    }
                }
                match best {
                    Some((truth, _)) => {
                        if let Some(taken) = taken.get_mut(truth) {
                            *taken = true;
                        }
                        if ignored.get(truth) == Some(&true) {
                            Outcome::Ignored
                        } else {
                            Outcome::True
                        }
                    }
                    None if counts(share) => Outcome::False,
                    None => Outcome::Ignored,
                }
            })
            .collect();
        let positives = ignored.iter().filter(|ignored| !**ignored).count() as u32;
        (outcomes, positives)
    }
}

fn area(bbox: &BBox) -> f64 {
    (f64::from(bbox.x1) - f64::from(bbox.x0)).max(0.0) * (f64::from(bbox.y1) - f64::from(bbox.y0)).max(0.0)
}

/// Intersection over union; over the detection's own area where the box stands for a crowd.
fn overlap(detection: &BBox, truth: &Truth) -> f64 {
    let other = &truth.bbox;
    let width = f64::from(detection.x1.min(other.x1)) - f64::from(detection.x0.max(other.x0));
    let height = f64::from(detection.y1.min(other.y1)) - f64::from(detection.y0.max(other.y0));
    let shared = width.max(0.0) * height.max(0.0);
    let whole = if truth.is_crowd {
        area(detection)
    } else {
        area(detection) + area(other) - shared
    };
    if whole > 0.0 { shared / whole } else { 0.0 }
}
