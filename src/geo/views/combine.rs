//! What all sources together say of one fire, also where they do not agree.

use super::{Joined, SAME_MAST_M, Sight, ViewRefusal, join, meet};
use crate::flow::position::{Ellipse, Position};
use crate::geo::ellipsoid::distance_m;

/// The position that the views of one fire give together.
#[derive(Clone, Debug, PartialEq)]
pub struct Combined {
    /// The position.
    pub position: Position,
    /// Numbers of the views that contradict the others and were left out.
    pub left_out: Vec<usize>,
    /// Whether those that count agree within their errors. Where they do not, the ellipse is widened by as much as they
    /// disagree (Birge's ratio).
    pub agrees: bool,
}

/// Combines the views of one fire; none where they give only directions, or directions that meet nowhere.
///
/// Of cameras on one mast the most exact speaks: they share their errors, and between them they measure no range. A view
/// that contradicts the others beyond chance is left out where the rest can tell: that takes three views. Errors that two
/// sources share otherwise (the same terrain model) are not seen and make the ellipse too small.
#[must_use]
pub fn combine(sights: &[Sight], level: f64) -> Option<Combined> {
    let chosen = one_of_each_mast(sights);
    let of = |chosen: &[usize]| -> Vec<Sight> {
        chosen
            .iter()
            .filter_map(|index| sights.get(*index).copied())
            .collect()
    };
    match join(&of(&chosen), level) {
        Ok(joined) => return Some(whole(&joined)),
        Err(ViewRefusal::TooFew(_)) => return alone(sights),
        Err(ViewRefusal::Contradiction { .. } | ViewRefusal::Behind) => {}
        Err(ViewRefusal::SameMast { .. } | ViewRefusal::NearlyParallel { .. }) => return None,
    }
    let without = |left_out: usize| {
        let rest: Vec<usize> = chosen
            .iter()
            .copied()
            .filter(|index| *index != left_out)
            .collect();
        // Two crossed bearings fit whatever they are: the rest must be able to disagree.
        let joined = join(&of(&rest), level)
            .ok()
            .filter(|joined| joined.degrees_of_freedom > 0)?;
        Some((joined, left_out))
    };
    let best = chosen
        .iter()
        .filter_map(|index| without(*index))
        .min_by(|one, other| one.0.chi_squared.total_cmp(&other.0.chi_squared));
    if let Some((joined, left_out)) = best {
        return Some(Combined {
            left_out: vec![left_out],
            ..whole(&joined)
        });
    }
    let has_point = chosen
        .iter()
        .any(|index| sights.get(*index).is_some_and(|sight| sight.point().is_some()));
    if !has_point {
        return None;
    }
    match meet(&of(&chosen), level) {
        Ok(joined) => {
            let freedom = joined.degrees_of_freedom.max(1) as f64;
            Some(Combined {
                position: widened(joined.position, (joined.chi_squared / freedom).max(1.0).sqrt()),
                left_out: Vec::new(),
                agrees: false,
            })
        }
        // A direction that points away from where the others see it says nothing of the place.
        Err(_) => alone(sights).map(|combined| Combined {
            agrees: false,
            ..combined
        }),
    }
}

fn whole(joined: &Joined) -> Combined {
    Combined {
        position: joined.position,
        left_out: Vec::new(),
        agrees: true,
    }
}

/// Returns the most exact point of a single view; one whose base is hidden only where there is no other.
fn alone(sights: &[Sight]) -> Option<Combined> {
    let position = sights
        .iter()
        .filter_map(|sight| sight.position)
        .min_by(|one, other| {
            let hidden = one.base_hidden.cmp(&other.base_hidden);
            hidden.then(one.ce90_m.total_cmp(&other.ce90_m))
        })?;
    Some(Combined {
        position,
        left_out: Vec::new(),
        agrees: true,
    })
}

/// Returns the numbers of the views that count: of several from one mast the most exact, a point before a bearing.
fn one_of_each_mast(sights: &[Sight]) -> Vec<usize> {
    let exactness = |sight: &Sight| {
        let point = sight.point().map_or(f64::INFINITY, |position| position.ce90_m);
        let bearing = sight.bearing.map_or(f64::INFINITY, |bearing| bearing.sigma_deg);
        (point, bearing)
    };
    let mut chosen: Vec<usize> = Vec::new();
    for (index, sight) in sights.iter().enumerate().filter(|(_, sight)| !sight.is_empty()) {
        let same_mast = chosen.iter().position(|other| {
            let stands = sight
                .bearing
                .zip(sights.get(*other).and_then(|other| other.bearing));
            stands.is_some_and(|(one, other)| distance_m(one.from, other.from) < SAME_MAST_M)
        });
        let Some(place) = same_mast else {
            chosen.push(index);
            continue;
        };
        let Some(slot) = chosen.get_mut(place) else {
            continue;
        };
        if sights
            .get(*slot)
            .is_some_and(|known| exactness(sight) < exactness(known))
        {
            *slot = index;
        }
    }
    chosen
}

fn widened(position: Position, factor: f64) -> Position {
    Position {
        ellipse: Ellipse {
            semi_major_m: position.ellipse.semi_major_m * factor,
            semi_minor_m: position.ellipse.semi_minor_m * factor,
            ..position.ellipse
        },
        ce90_m: position.ce90_m * factor,
        ..position
    }
}
