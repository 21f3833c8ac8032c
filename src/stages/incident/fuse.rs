//! One position out of the views of several sources.

use crate::flow::incident::View;
use crate::flow::pose::{Height, HeightDatum};
use crate::flow::position::{Bearing, Method, Position};

use super::plane::{Metres, Plane, Symmetric, angle_between_deg};

/// The level of the ellipses that fusion gives.
const LEVEL: f64 = 0.9;
/// Lines of position that cross at a smaller angle give no point.
const LEAST_CROSSING_DEG: f64 = 8.0;
/// A view this far from what the others say together (squared, two degrees of freedom) is left out.
const OUTLIER: f64 = 25.0;

/// Finds the position that the views of one fire give together.
pub trait Fusion: Send {
    /// Returns the best point, none where the views give only a direction. `views` holds the newest view of each
    /// source, each with a position, a bearing, or both.
    fn fuse(&self, views: &[&View]) -> Option<Position>;
}

/// Weighs each view by the inverse of its covariance; views that only have a bearing are lines of position. Where the
/// views contradict each other more than their ellipses allow, the ellipse that comes out is widened (Birge's ratio).
/// Errors that two sources share (the same terrain model) are not seen and make it too small.
#[derive(Clone, Copy, Debug, Default)]
pub struct WeightedFusion;

impl Fusion for WeightedFusion {
    fn fuse(&self, views: &[&View]) -> Option<Position> {
        let points: Vec<&Position> = views.iter().filter_map(|view| view.position.as_ref()).collect();
        if let ([only], 1) = (points.as_slice(), views.len()) {
            return Some(**only);
        }
        let first = points
            .first()
            .map(|position| position.point)
            .or_else(|| views.iter().find_map(|view| Some(view.bearing?.from)))?;
        let plane = Plane::at(first);
        let mut sights: Vec<Sight> = views.iter().filter_map(|view| Sight::of(view, &plane)).collect();
        if points.is_empty() && !crosses(views) {
            return None;
        }
        let mut solution = solve(&sights)?;
        if sights.len() > 2
            && let Some(worst) = outlier(&sights)
        {
            sights.remove(worst);
            solution = solve(&sights)?;
        }
        let in_front = sights.iter().all(|sight| sight.has_in_front(solution.at));
        if !in_front && points.is_empty() {
            return None;
        }
        let best = points
            .iter()
            .min_by(|a, b| a.ce90_m.total_cmp(&b.ce90_m))
            .copied();
        let used_points = sights
            .iter()
            .filter(|sight| matches!(sight, Sight::Point { .. }))
            .count();
        let method = match best {
            Some(best) if used_points == sights.len() && sights.len() == 1 => best.method,
            _ => Method::Triangulation,
        };
        // Crossed bearings say nothing of the height: it is the ground, wherever that is.
        let height = best.map_or(
            Height {
                metres: 0.0,
                datum: HeightDatum::Ground,
            },
            |best| best.height,
        );
        Some(Position {
            point: plane.point(solution.at),
            height,
            ellipse: solution.covariance.ellipse(LEVEL),
            ce90_m: solution.covariance.ce90_m(),
            method,
            base_hidden: best.is_some_and(|best| best.base_hidden),
        })
    }
}

/// What one view knows, on the plane.
enum Sight {
    Point {
        at: Metres,
        covariance: Symmetric,
    },
    Line {
        from: Metres,
        along: Metres,
        sigma_rad: f64,
    },
}

impl Sight {
    fn of(view: &View, plane: &Plane) -> Option<Self> {
        if let Some(position) = &view.position {
            return Some(Self::Point {
                at: plane.metres(position.point),
                covariance: Symmetric::of_ellipse(&position.ellipse),
            });
        }
        let bearing = view.bearing?;
        let (sine, cosine) = bearing.azimuth_deg.to_radians().sin_cos();
        Some(Self::Line {
            from: plane.metres(bearing.from),
            along: Metres {
                east: sine,
                north: cosine,
            },
            sigma_rad: bearing.sigma_deg.max(0.05).to_radians(),
        })
    }

    /// Returns the information and the information times the point, seen from `near`.
    fn information(&self, near: Option<Metres>) -> Option<(Symmetric, Metres)> {
        match self {
            Self::Point { at, covariance } => {
                let information = covariance.inverse()?;
                Some((information, information.of_vector(*at)))
            }
            Self::Line {
                from,
                along,
                sigma_rad,
            } => {
                let range = near.map_or(1_000.0, |near| near.minus(*from).length().max(10.0));
                let normal = Metres {
                    east: along.north,
                    north: -along.east,
                };
                let information = Symmetric::line(normal, (range * sigma_rad).powi(-2));
                Some((information, information.of_vector(*from)))
            }
        }
    }

    fn squared_miss(&self, at: Metres, spread: Symmetric) -> f64 {
        match self {
            Self::Point { at: seen, covariance } => covariance.plus(spread).squared_length(seen.minus(at)),
            Self::Line {
                from,
                along,
                sigma_rad,
            } => {
                let step = at.minus(*from);
                let across = step.east * along.north - step.north * along.east;
                let normal = Metres {
                    east: along.north,
                    north: -along.east,
                };
                let sigma = (step.length().max(10.0) * sigma_rad).hypot(spread.sigma_along(normal));
                (across / sigma).powi(2)
            }
        }
    }

    fn has_in_front(&self, at: Metres) -> bool {
        match self {
            Self::Point { .. } => true,
            Self::Line { from, along, .. } => {
                let step = at.minus(*from);
                step.east * along.east + step.north * along.north > 0.0
            }
        }
    }

    const fn equations(&self) -> usize {
        match self {
            Self::Point { .. } => 2,
            Self::Line { .. } => 1,
        }
    }
}

struct Solution {
    at: Metres,
    covariance: Symmetric,
}

fn solve(sights: &[Sight]) -> Option<Solution> {
    let mut near = None;
    let mut covariance = Symmetric::default();
    // The weight of a line depends on the range, which depends on the solution: three rounds settle it.
    for _ in 0..3 {
        let mut information = Symmetric::default();
        let mut weighted = Metres {
            east: 0.0,
            north: 0.0,
        };
        for sight in sights {
            let (more, vector) = sight.information(near)?;
            information = information.plus(more);
            weighted.east += vector.east;
            weighted.north += vector.north;
        }
        covariance = information.inverse()?;
        near = Some(covariance.of_vector(weighted));
    }
    let at = near?;
    let freedom = sights
        .iter()
        .map(Sight::equations)
        .sum::<usize>()
        .saturating_sub(2);
    if freedom > 0 {
        let misfit: f64 = sights
            .iter()
            .map(|sight| sight.squared_miss(at, Symmetric::default()))
            .sum();
        covariance = covariance.times((misfit / freedom as f64).max(1.0));
    }
    (at.east.is_finite() && at.north.is_finite()).then_some(Solution { at, covariance })
}

/// Returns the sight that contradicts the others most, if one contradicts them beyond doubt.
fn outlier(sights: &[Sight]) -> Option<usize> {
    let mut worst: Option<(usize, f64)> = None;
    for index in 0..sights.len() {
        let others: Vec<&Sight> = sights
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, sight)| sight)
            .collect();
        let Some(solution) = solve_refs(&others) else {
            continue;
        };
        let Some(sight) = sights.get(index) else { continue };
        let miss = sight.squared_miss(solution.at, solution.covariance);
        if miss > OUTLIER && worst.is_none_or(|(_, most)| miss > most) {
            worst = Some((index, miss));
        }
    }
    worst.map(|(index, _)| index)
}

fn solve_refs(sights: &[&Sight]) -> Option<Solution> {
    let mut information = Symmetric::default();
    let mut weighted = Metres {
        east: 0.0,
        north: 0.0,
    };
    for sight in sights {
        let (more, vector) = sight.information(None)?;
        information = information.plus(more);
        weighted.east += vector.east;
        weighted.north += vector.north;
    }
    let covariance = information.inverse()?;
    Some(Solution {
        at: covariance.of_vector(weighted),
        covariance,
    })
}

fn crosses(views: &[&View]) -> bool {
    let bearings: Vec<Bearing> = views.iter().filter_map(|view| view.bearing).collect();
    bearings.iter().enumerate().any(|(index, a)| {
        bearings.iter().skip(index + 1).any(|b| {
            let angle = angle_between_deg(a.azimuth_deg, b.azimuth_deg);
            angle.min(180.0 - angle) >= LEAST_CROSSING_DEG
        })
    })
}
