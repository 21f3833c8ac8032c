//! Which views of several sources may show one fire. Two cameras that see several fires each make more crossings than
//! fires: the others are ghosts. They are kept as hypotheses until a third view decides.

use super::{Joined, Sight, join};

/// Sources and views of each that are combined.
const MOST_SOURCES: usize = 16;
const MOST_VIEWS: usize = 32;

/// A place where views of several sources may show one fire.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Which views it joins: number of the source, number of the view.
    pub members: Vec<(usize, usize)>,
    /// Where it is.
    pub joined: Joined,
    /// Whether it may be a ghost: one of its views is also explained by another hypothesis, and no third view decides.
    pub may_be_ghost: bool,
}

/// Finds the places that explain the views of several sources. `sources` holds, for each source, what it sees at one
/// time. At most 16 sources and 32 views of each are looked at.
#[must_use]
pub fn hypotheses(sources: &[Vec<Sight>], level: f64) -> Vec<Hypothesis> {
    let numbered: Vec<(usize, usize, &Sight)> = sources
        .iter()
        .take(MOST_SOURCES)
        .enumerate()
        .flat_map(|(source, sights)| {
            let sights = sights.iter().take(MOST_VIEWS).enumerate();
            sights.map(move |(view, sight)| (source, view, sight))
        })
        .collect();
    let mut found: Vec<Hypothesis> = Vec::new();
    for (index, first) in numbered.iter().enumerate() {
        for second in numbered
            .iter()
            .skip(index + 1)
            .filter(|second| second.0 != first.0)
        {
            if let Some(hypothesis) = grown(&numbered, *first, *second, level)
                && !found.iter().any(|known| known.members == hypothesis.members)
            {
                found.push(hypothesis);
            }
        }
    }
    decided(found)
}

/// Joins two views and every view of other sources that agrees with them.
fn grown(
    numbered: &[(usize, usize, &Sight)],
    first: (usize, usize, &Sight),
    second: (usize, usize, &Sight),
    level: f64,
) -> Option<Hypothesis> {
    let mut members = vec![(first.0, first.1), (second.0, second.1)];
    let mut sights = vec![*first.2, *second.2];
    let mut joined = join(&sights, level).ok()?;
    for source in 0..MOST_SOURCES {
        if members.iter().any(|(member, _)| *member == source) {
            continue;
        }
        let best = numbered
            .iter()
            .filter(|(other, _, _)| *other == source)
            .filter_map(|(_, view, sight)| {
                let mut more = sights.clone();
                more.push(**sight);
                Some((*view, **sight, join(&more, level).ok()?))
            })
            .min_by(|one, other| one.2.chi_squared.total_cmp(&other.2.chi_squared));
        if let Some((view, sight, better)) = best {
            members.push((source, view));
            sights.push(sight);
            joined = better;
        }
    }
    members.sort_unstable();
    Some(Hypothesis {
        members,
        joined,
        may_be_ghost: false,
    })
}

/// Drops the ghosts that a third view uncovers and marks those that nothing decides.
fn decided(mut found: Vec<Hypothesis>) -> Vec<Hypothesis> {
    found.sort_by(|one, other| {
        let by_members = other.members.len().cmp(&one.members.len());
        by_members.then(one.joined.chi_squared.total_cmp(&other.joined.chi_squared))
    });
    let mut kept: Vec<Hypothesis> = Vec::new();
    for hypothesis in found {
        let is_explained = |member: &(usize, usize)| {
            kept.iter().any(|better| {
                better.members.len() >= 3
                    && better.members.len() > hypothesis.members.len()
                    && better.members.contains(member)
            })
        };
        if !hypothesis.members.iter().any(is_explained) {
            kept.push(hypothesis);
        }
    }
    let ambiguous: Vec<bool> = kept
        .iter()
        .enumerate()
        .map(|(index, hypothesis)| {
            hypothesis.members.iter().any(|member| {
                kept.iter()
                    .enumerate()
                    .any(|(other, rival)| other != index && rival.members.contains(member))
            })
        })
        .collect();
    for (hypothesis, is_ambiguous) in kept.iter_mut().zip(ambiguous) {
        hypothesis.may_be_ghost = is_ambiguous;
    }
    kept
}
