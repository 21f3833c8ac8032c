//! One position out of the views of several cameras: points with their ellipses and bearings, by least squares.
//!
//! [`join`] is the strict form: it refuses views that cannot or do not agree. [`combine`] is what an incident asks for: it
//! leaves out the view that contradicts the others and says so. [`hypotheses`] tells fires from ghosts.

mod combine;

mod hypotheses;

#[cfg(test)]
mod tests;

pub use combine::{Combined, combine};
pub use hypotheses::{Hypothesis, hypotheses};

use nalgebra::{Matrix2, Vector2};

use crate::flow::pose::{Height, HeightDatum, Wgs84};
use crate::flow::position::{Bearing, Method, Position};

use super::ellipsoid::{FlatMap, distance_azimuth, distance_m};
use super::rotation::wrapped_deg;
use super::spread::Covariance;

/// Bearings must cross at least at this angle, in degrees.
pub const LEAST_CROSSING_DEG: f64 = 15.0;
/// Cameras closer to each other than this stand on one mast: they give no range, in metres.
pub const SAME_MAST_M: f64 = 100.0;
/// Views contradict each other when chance would do so less often than this.
const CONTRADICTION: f64 = 0.01;

/// What one source says of one fire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// Its own ground point. A point whose base is hidden counts only by its bearing.
    pub position: Option<Position>,
    /// In which direction it sees it.
    pub bearing: Option<Bearing>,
}

impl Sight {
    fn point(&self) -> Option<&Position> {
        self.position.as_ref().filter(|position| !position.base_hidden)
    }

    fn is_empty(&self) -> bool {
        self.point().is_none() && self.bearing.is_none()
    }
}

/// The position that several views give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Joined {
    /// The position.
    pub position: Position,
    /// How badly the views agree: the sum of squares in standard deviations.
    pub chi_squared: f64,
    /// How many equations there are beyond the two unknowns.
    pub degrees_of_freedom: usize,
    /// The best angle at which two bearings cross, in degrees; 0 where there are fewer than two.
    pub crossing_deg: f64,
}

impl Joined {
    /// Returns the greatest sum of squares that chance explains.
    fn allowed(&self) -> f64 {
        chi_squared_limit(self.degrees_of_freedom, CONTRADICTION)
    }
}

/// Why views give no common position.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ViewRefusal {
    /// Fewer than two.
    #[error("{0} view of the fire, at least 2 are expected")]
    TooFew(usize),
    /// They stand on one mast.
    #[error("the cameras stand {apart_m:.0} m from each other, at least {SAME_MAST_M} m are expected")]
    SameMast {
        /// The greatest distance between two of them.
        apart_m: f64,
    },
    /// The bearings are nearly parallel.
    #[error("the bearings cross at {crossing_deg:.1} degrees, at least {LEAST_CROSSING_DEG} are expected")]
    NearlyParallel {
        /// The best angle.
        crossing_deg: f64,
    },
    /// The bearings cross behind a camera.
    #[error("the bearings meet behind a camera")]
    Behind,
    /// They see different things.
    #[error(
        "the views contradict each other: chi squared {chi_squared:.1}, at most {allowed:.1} is expected"
    )]
    Contradiction {
        /// The sum of squares.
        chi_squared: f64,
        /// The most.
        allowed: f64,
    },
}

/// Joins the views of one fire. `level` is the share of probability that the ellipse holds.
pub fn join(sights: &[Sight], level: f64) -> Result<Joined, ViewRefusal> {
    let joined = meet(sights, level)?;
    let allowed = joined.allowed();
    if joined.chi_squared > allowed {
        return Err(ViewRefusal::Contradiction {
            chi_squared: joined.chi_squared,
            allowed,
        });
    }
    Ok(joined)
}

/// Finds the point that is nearest to all views, however badly they agree.
fn meet(sights: &[Sight], level: f64) -> Result<Joined, ViewRefusal> {
    let sights: Vec<&Sight> = sights.iter().filter(|sight| !sight.is_empty()).collect();
    if sights.len() < 2 {
        return Err(ViewRefusal::TooFew(sights.len()));
    }
    let bearings: Vec<&Bearing> = sights.iter().filter_map(|sight| sight.bearing.as_ref()).collect();
    let points: Vec<&Position> = sights.iter().filter_map(|sight| sight.point()).collect();
    let apart_m = pairs(&bearings)
        .map(|(one, other)| distance_m(one.from, other.from))
        .fold(0.0, f64::max);
    if bearings.len() == sights.len() && apart_m < SAME_MAST_M {
        return Err(ViewRefusal::SameMast { apart_m });
    }
    let start = points
        .iter()
        .min_by(|one, other| one.ce90_m.total_cmp(&other.ce90_m))
        .map(|position| position.point)
        .or_else(|| crossing_of(&bearings))
        .ok_or(ViewRefusal::NearlyParallel { crossing_deg: 0.0 })?;
    let (point, covariance, chi_squared, equations) = solve(&sights, start).ok_or(ViewRefusal::Behind)?;
    let crossing_deg = pairs(&bearings)
        .filter(|(one, other)| distance_m(one.from, other.from) >= SAME_MAST_M)
        .map(|(one, other)| {
            let angle =
                wrapped_deg(distance_azimuth(point, one.from).1 - distance_azimuth(point, other.from).1)
                    .abs();
            angle.min(180.0 - angle)
        })
        .fold(0.0, f64::max);
    if points.is_empty() && crossing_deg < LEAST_CROSSING_DEG {
        return Err(ViewRefusal::NearlyParallel { crossing_deg });
    }
    let is_behind = |bearing: &&Bearing| {
        let (range_m, azimuth_deg) = distance_azimuth(bearing.from, point);
        range_m > 1.0 && wrapped_deg(azimuth_deg - bearing.azimuth_deg).abs() > 90.0
    };
    if bearings.iter().any(is_behind) {
        return Err(ViewRefusal::Behind);
    }
    let best = points
        .iter()
        .min_by(|one, other| one.ce90_m.total_cmp(&other.ce90_m));
    Ok(Joined {
        position: Position {
            point,
            height: best.map_or(Height::new(0.0, HeightDatum::Ground), |best| best.height),
            ellipse: covariance.ellipse(level),
            ce90_m: covariance.circle_m(0.9),
            method: Method::Triangulation,
            base_hidden: false,
        },
        chi_squared,
        degrees_of_freedom: equations.saturating_sub(2),
        crossing_deg,
    })
}

fn pairs<'a, T>(items: &'a [&'a T]) -> impl Iterator<Item = (&'a T, &'a T)> {
    items
        .iter()
        .enumerate()
        .flat_map(move |(index, one)| items.iter().skip(index + 1).map(move |other| (*one, *other)))
}

/// Returns where the two bearings cross that cross best, on the flat map of the first.
fn crossing_of(bearings: &[&Bearing]) -> Option<Wgs84> {
    let turn =
        |one: &Bearing, other: &Bearing| (one.azimuth_deg - other.azimuth_deg).to_radians().sin().abs();
    let (one, other) = pairs(bearings)
        .filter(|(one, other)| distance_m(one.from, other.from) >= SAME_MAST_M)
        .max_by(|first, second| turn(first.0, first.1).total_cmp(&turn(second.0, second.1)))?;
    let map = FlatMap::around(one.from);
    let (east, north) = map.offset(other.from);
    let (sin_one, cos_one) = one.azimuth_deg.to_radians().sin_cos();
    let (sin_other, cos_other) = other.azimuth_deg.to_radians().sin_cos();
    let cross = sin_one * cos_other - cos_one * sin_other;
    if cross.abs() < 1e-3 {
        return None;
    }
    let along = (east * cos_other - north * sin_other) / cross;
    Some(map.point(along * sin_one, along * cos_one))
}

/// Solves by Gauss-Newton; returns the point, its covariance, the sum of squares and the number of equations.
fn solve(sights: &[&Sight], start: Wgs84) -> Option<(Wgs84, Covariance, f64, usize)> {
    let mut point = start;
    for _ in 0..20 {
        let map = FlatMap::around(point);
        let mut information = Matrix2::zeros();
        let mut weighted = Vector2::zeros();
        let mut chi_squared = 0.0;
        let mut equations = 0;
        for sight in sights {
            if let Some(position) = sight.point() {
                let (east, north) = map.offset(position.point);
                let mut covariance = Covariance::of_ellipse(&position.ellipse);
                covariance.ee += 0.01;
                covariance.nn += 0.01;
                let inverse =
                    Matrix2::new(covariance.ee, covariance.en, covariance.en, covariance.nn).try_inverse()?;
                let offset = Vector2::new(east, north);
                information += inverse;
                weighted += inverse * offset;
                chi_squared += (offset.transpose() * inverse * offset)[0];
                equations += 2;
            } else if let Some(bearing) = &sight.bearing {
                let (range_m, azimuth_deg) = distance_azimuth(bearing.from, point);
                let range_m = range_m.max(1.0);
                let (sin, cos) = azimuth_deg.to_radians().sin_cos();
                // How the azimuth at the camera grows when the point moves east or north.
                let slope = Vector2::new(cos, -sin) / range_m;
                let sigma = bearing.sigma_deg.max(1e-3).to_radians();
                let miss = wrapped_deg(bearing.azimuth_deg - azimuth_deg).to_radians();
                information += slope * slope.transpose() / (sigma * sigma);
                weighted += slope * miss / (sigma * sigma);
                chi_squared += (miss / sigma).powi(2);
                equations += 1;
            }
        }
        let inverse = information.try_inverse()?;
        let step = inverse * weighted;
        if !(step.x.is_finite() && step.y.is_finite()) || step.norm() > 200_000.0 {
            return None;
        }
        point = map.point(step.x, step.y);
        if step.norm() < 1e-3 {
            let covariance = Covariance {
                ee: inverse[(0, 0)],
                en: inverse[(0, 1)],
                nn: inverse[(1, 1)],
            };
            return Some((point, covariance, chi_squared, equations));
        }
    }
    None
}

/// Returns the sum of squares that chance exceeds with probability `share` (Wilson and Hilferty's fit).
fn chi_squared_limit(degrees_of_freedom: usize, share: f64) -> f64 {
    if degrees_of_freedom == 0 {
        return f64::INFINITY;
    }
    let freedom = degrees_of_freedom as f64;
    let z = super::spread::inverse_normal(1.0 - share);
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + z * spread.sqrt()).powi(3)
}
