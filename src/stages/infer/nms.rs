//! Non-maximum suppression: of boxes that show the same thing the surest stays, class by class.

use super::heads::Candidate;

/// More candidates than this of a class are not compared: the weakest go unseen.
const MOST_COMPARED: usize = 2000;

/// Returns the surest candidates, `most` of a class, no two of a class overlapping by more than `iou`.
///
/// Equal scores keep their order, so that the result is the same on every machine. An `iou` of 1 suppresses nothing.
pub(crate) fn keep_best(candidates: &mut [Candidate], iou: f32, most: usize) -> Vec<Candidate> {
    candidates.sort_by(|one, other| {
        one.class
            .cmp(&other.class)
            .then(other.score.total_cmp(&one.score))
    });
    let mut kept = Vec::new();
    for same_class in candidates.chunk_by(|one, other| one.class == other.class) {
        let first = kept.len();
        for candidate in same_class.iter().take(MOST_COMPARED) {
            if kept.len() - first == most {
                break;
            }
            let is_seen = |known: &Candidate| known.bbox.iou(&candidate.bbox) > iou;
            if !kept.get(first..).is_some_and(|known| known.iter().any(is_seen)) {
                kept.push(*candidate);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::detection::BBox;

    fn candidate(class: usize, score: f32, x: f32) -> Candidate {
        Candidate {
            class,
            score,
            bbox: BBox::new(x, 0.0, x + 10.0, 10.0),
        }
    }

    #[test]
    fn the_surest_of_a_heap_stays_and_other_classes_are_left_alone() {
        let mut heap = [
            candidate(0, 0.5, 0.0),
            candidate(0, 0.9, 1.0),
            candidate(1, 0.4, 1.0),
            candidate(0, 0.3, 20.0),
        ];
        let kept = keep_best(&mut heap, 0.6, 100);
        assert_eq!(
            kept,
            [
                candidate(0, 0.9, 1.0),
                candidate(0, 0.3, 20.0),
                candidate(1, 0.4, 1.0)
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_kept_does_not_overlap_and_what_is_gone_is_covered_by_a_surer_box(
            seeds in prop::collection::vec((0_usize..2, 0.0_f32..1.0, 0.0_f32..40.0), 0..60),
        ) {
            let all: Vec<_> = seeds.into_iter().map(|(class, score, x)| candidate(class, score, x)).collect();
            let kept = keep_best(&mut all.clone(), 0.5, 100);
            for (index, one) in kept.iter().enumerate() {
                for other in &kept[index + 1..] {
                    prop_assert!(one.class != other.class || one.bbox.iou(&other.bbox) <= 0.5);
                }
            }
            for gone in all.iter().filter(|candidate| !kept.contains(candidate)) {
                let is_covered = kept.iter().any(|known| {
                    known.class == gone.class && known.score >= gone.score && known.bbox.iou(&gone.bbox) > 0.5
                });
                prop_assert!(is_covered);
            }
        }
    }
}
