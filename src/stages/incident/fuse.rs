//! One position out of the views of several sources: [`crate::geo::views`] on the views of an incident.

use crate::flow::incident::View;
use crate::flow::position::Position;
use crate::geo::views::{Combined, Hypothesis, Sight, combine, hypotheses};

/// The level of the ellipses that fusion gives.
pub(crate) const LEVEL: f64 = 0.9;

/// Where the views of an incident say that it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fused {
    /// The best point; none where the views give only a direction, or cross at more than one place.
    pub(crate) position: Option<Position>,
    /// Where bearings cross that no third view has decided on, the most likely first.
    pub(crate) hypotheses: Vec<Position>,
}

/// Returns what a view says of the place.
pub(crate) fn sight_of(view: &View) -> Sight {
    Sight {
        position: view.position,
        bearing: view.bearing,
    }
}

/// Combines views; see [`combine`].
pub(crate) fn combined(views: &[&View]) -> Option<Combined> {
    let sights: Vec<Sight> = views.iter().map(|view| sight_of(view)).collect();
    combine(&sights, LEVEL)
}

/// Finds the position that the views of one fire give together. `views` holds the newest view of each source, `rivals`
/// what the same sources see elsewhere at the same time: a crossing that one of those explains as well may be a ghost.
pub(crate) fn fuse(views: &[&View], rivals: &[View]) -> Fused {
    let Some(combined) = combined(views) else {
        return Fused::default();
    };
    let is_crossing_alone = views.len() > 1
        && views
            .iter()
            .all(|view| view.position.is_none_or(|position| position.base_hidden));
    if !is_crossing_alone || rivals.is_empty() {
        return Fused {
            position: Some(combined.position),
            hypotheses: Vec::new(),
        };
    }
    let sources: Vec<Vec<Sight>> = views
        .iter()
        .map(|view| {
            let elsewhere = rivals.iter().filter(|rival| rival.source == view.source);
            std::iter::once(sight_of(view))
                .chain(elsewhere.map(sight_of))
                .collect()
        })
        .collect();
    let found = hypotheses(&sources, LEVEL);
    let is_ours = |hypothesis: &&Hypothesis| {
        let own = hypothesis.members.iter().filter(|(_, view)| *view == 0).count();
        own == hypothesis.members.len() && own + combined.left_out.len() >= views.len()
    };
    match found.iter().find(is_ours) {
        Some(ours) if !ours.may_be_ghost => Fused {
            position: Some(combined.position),
            hypotheses: Vec::new(),
        },
        _ => Fused {
            position: None,
            hypotheses: found
                .iter()
                .filter(|hypothesis| hypothesis.members.iter().any(|(_, view)| *view == 0))
                .map(|hypothesis| hypothesis.joined.position)
                .collect(),
        },
    }
}
