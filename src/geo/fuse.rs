//! One position out of many frames of one camera.
//!
//! The errors of a camera are not independent from frame to frame: a compass that is 2° off stays 2° off. So each error
//! is split into a part that stays over the track and a part that is new in every frame, and the parts that stay are
//! solved for together with the point. A hovering drone gains little by watching longer; an orbiting one learns its own
//! errors, as physics allows. Frames that contradict the others lose weight (Huber).
//!
//! What moves a point how far is worked out for where the camera stood and where all frames together put the point, not
//! for the noisy ray of each frame. Otherwise the noise of a ray would show in the point and in its sensitivity alike,
//! and the solution would read that as knowledge of the staying errors: 60 hovering frames were then worse than one.

use nalgebra::{SMatrix, SVector};
use serde::{Deserialize, Serialize};

use crate::flow::pose::{Height, Wgs84};
use crate::flow::position::{Method, Position};

use super::ellipsoid::FlatMap;
use super::locate::{Located, Sensitivity};
use super::spread::{Covariance, PARAMETERS};
use super::terrain::Terrain;

/// Unknowns: the point and one constant for each uncertain part.
const UNKNOWNS: usize = 2 + PARAMETERS;
/// Frames that are kept; beyond it every second one is dropped.
const MOST_FRAMES: usize = 128;
/// The least standard deviation of a frame, in metres.
const LEAST_SIGMA_M: f64 = 0.3;
/// Beyond this many standard deviations a frame loses weight.
const HUBER: f64 = 2.5;

type Matrix = SMatrix<f64, UNKNOWNS, UNKNOWNS>;
type Vector = SVector<f64, UNKNOWNS>;
type Design = SMatrix<f64, 2, UNKNOWNS>;

/// The share of each error's variance that stays the same over a track, 0 to 1, in the order of
/// [`super::propagate::PART_NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StayingShares(pub [f64; PARAMETERS]);

impl Default for StayingShares {
    /// A compass, a lens and a height stay off; a GNSS place wanders slowly; a gimbal keeps most of its error; the wind
    /// holds a plume on one side of its foot; its lowest pixel flickers.
    fn default() -> Self {
        Self([0.9, 0.9, 0.95, 0.95, 0.9, 0.9, 0.9, 0.5, 1.0, 0.9, 0.5])
    }
}

#[derive(Clone, Copy, Debug)]
struct FramePoint {
    east_m: f64,
    north_m: f64,
    height: Height,
    sensitivity: Sensitivity,
    is_sampled: bool,
    position: Position,
    /// Where the camera stood on the same map, in metres east and north.
    camera: (f64, f64),
    /// How far the point lies below the camera, in metres.
    drop_m: f64,
}

/// From where and how a frame saw the point, without that frame's own noise.
#[derive(Clone, Copy, Debug)]
struct Stand {
    camera: (f64, f64),
    drop_m: f64,
}

/// Collects the ground points of one track.
#[derive(Clone, Debug)]
pub struct TrackFusion {
    shares: StayingShares,
    level: f64,
    map: Option<FlatMap>,
    frames: Vec<FramePoint>,
    every: usize,
    seen: usize,
}

impl TrackFusion {
    /// Makes a fusion without any frame; `level` is the share of probability that its ellipse holds.
    #[must_use]
    pub const fn new(shares: StayingShares, level: f64) -> Self {
        Self {
            shares,
            level,
            map: None,
            frames: Vec::new(),
            every: 1,
            seen: 0,
        }
    }

    /// Adds the ground point of one frame; a refusal adds nothing.
    pub fn add(&mut self, located: &Located) {
        let (Ok(position), Some(details), Some(bearing)) =
            (&located.outcome, located.details, located.bearing)
        else {
            return;
        };
        self.seen += 1;
        if !(self.seen - 1).is_multiple_of(self.every) {
            return;
        }
        let map = *self.map.get_or_insert_with(|| FlatMap::around(position.point));
        let (east_m, north_m) = map.offset(position.point);
        let camera = map.offset(bearing.from);
        let along_m = (east_m - camera.0).hypot(north_m - camera.1);
        self.frames.push(FramePoint {
            east_m,
            north_m,
            height: position.height,
            sensitivity: details.sensitivity,
            is_sampled: details.is_sampled,
            position: *position,
            camera,
            drop_m: (details.range_m * details.range_m - along_m * along_m)
                .max(1.0)
                .sqrt(),
        });
        if self.frames.len() > MOST_FRAMES {
            let mut index = 0;
            self.frames.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// Returns how many frames gave a point.
    #[must_use]
    pub const fn frames(&self) -> usize {
        self.seen
    }

    /// Returns the position that all frames give together, with the height of the terrain there where it is known.
    #[must_use]
    pub fn position(&self, terrain: &Terrain) -> Option<Position> {
        let map = self.map?;
        let best = self
            .frames
            .iter()
            .min_by(|one, other| one.position.ce90_m.total_cmp(&other.position.ce90_m))?;
        let straight: Vec<&FramePoint> = self.frames.iter().filter(|frame| !frame.is_sampled).collect();
        // Where straight-line propagation does not hold, joining frames by it would lie: the best frame speaks alone.
        if self.frames.len() == 1 || straight.is_empty() {
            return Some(best.position);
        }
        let Some((at, covariance)) = solve(&straight, &self.shares) else {
            return Some(best.position);
        };
        let point = map.point(at.0, at.1);
        let last = straight.last().copied().unwrap_or(best);
        let height = terrain_height(terrain, point).unwrap_or(last.height);
        Some(Position {
            point,
            height,
            ellipse: covariance.ellipse(self.level),
            ce90_m: covariance.circle_m(0.9),
            method: best_method(&straight, best.position.method),
            base_hidden: last.position.base_hidden,
        })
    }
}

fn terrain_height(terrain: &Terrain, point: Wgs84) -> Option<Height> {
    if terrain.is_plane() {
        return None;
    }
    Some(Height::new(terrain.height_m(point)?, terrain.datum()))
}

fn best_method(frames: &[&FramePoint], otherwise: Method) -> Method {
    let is_laser = |frame: &&FramePoint| frame.position.method == Method::Laser;
    if frames.iter().any(is_laser) {
        Method::Laser
    } else {
        otherwise
    }
}

/// Returns from where each frame saw the point: the mean with its neighbours, where those stood close by.
fn stands(frames: &[&FramePoint]) -> Vec<Stand> {
    const NEIGHBOURS: usize = 4;
    const NEAR_SHARE: f64 = 0.25;
    frames
        .iter()
        .enumerate()
        .map(|(index, frame)| {
            let far_m = (frame.east_m - frame.camera.0).hypot(frame.north_m - frame.camera.1);
            let near_m = NEAR_SHARE * far_m.hypot(frame.drop_m);
            let first = index.saturating_sub(NEIGHBOURS);
            let mut sum = (0.0, 0.0, 0.0, 0.0);
            for other in frames.iter().skip(first).take(index + NEIGHBOURS + 1 - first) {
                let apart_m = (other.camera.0 - frame.camera.0).hypot(other.camera.1 - frame.camera.1);
                if apart_m <= near_m && (other.drop_m - frame.drop_m).abs() <= near_m {
                    sum = (
                        sum.0 + other.camera.0,
                        sum.1 + other.camera.1,
                        sum.2 + other.drop_m,
                        sum.3 + 1.0,
                    );
                }
            }
            Stand {
                camera: (sum.0 / sum.3, sum.1 / sum.3),
                drop_m: sum.2 / sum.3,
            }
        })
        .collect()
}

/// Brings what moves a frame's point from the ray that was measured to the ray from `stand` to `at`.
fn sensitivity_at(frame: &FramePoint, stand: &Stand, at: (f64, f64)) -> Sensitivity {
    let measured = (frame.east_m - frame.camera.0, frame.north_m - frame.camera.1);
    let expected = (at.0 - stand.camera.0, at.1 - stand.camera.1);
    let (measured_m, expected_m) = (measured.0.hypot(measured.1), expected.0.hypot(expected.1));
    // Straight below the camera there is no direction to turn: the columns stay as they were measured.
    if measured_m < 0.05 * frame.drop_m || expected_m < 0.05 * stand.drop_m {
        return frame.sensitivity;
    }
    let ahead = (measured.0 / measured_m, measured.1 / measured_m);
    let turned = (expected.0 / expected_m, expected.1 / expected_m);
    let squared = |along: f64, drop: f64| (along * along + drop * drop) / drop;
    let is_laser = frame.position.method == Method::Laser;
    let mut moved = frame.sensitivity;
    for (part, column) in moved.iter_mut().enumerate() {
        // Flat ground: a height moves the point by range over height, an angle by slant squared over height.
        let (along_scale, aside_scale) = match part {
            0 | 1 | 9 => continue,
            2 if !is_laser => (expected_m / stand.drop_m / (measured_m / frame.drop_m), 1.0),
            3..=8 if !is_laser => (
                squared(expected_m, stand.drop_m) / squared(measured_m, frame.drop_m),
                expected_m / measured_m,
            ),
            _ => (1.0, 1.0),
        };
        let along = (column[0] * ahead.0 + column[1] * ahead.1) * along_scale.clamp(0.2, 5.0);
        let aside = (column[0] * ahead.1 - column[1] * ahead.0) * aside_scale.clamp(0.2, 5.0);
        *column = [
            along * turned.0 + aside * turned.1,
            along * turned.1 - aside * turned.0,
        ];
    }
    moved
}

/// Splits what moves a point into a part that stays over the track and a covariance that is new each frame.
fn parts(sensitivity: &Sensitivity, shares: &StayingShares) -> (Design, Covariance) {
    let mut design = Design::zeros();
    design[(0, 0)] = 1.0;
    design[(1, 1)] = 1.0;
    let mut fresh = [[0.0; 2]; PARAMETERS];
    for (part, ((column, share), slot)) in sensitivity.iter().zip(shares.0).zip(&mut fresh).enumerate() {
        let share = share.clamp(0.0, 1.0);
        design[(0, 2 + part)] = column[0] * share.sqrt();
        design[(1, 2 + part)] = column[1] * share.sqrt();
        *slot = [column[0] * (1.0 - share).sqrt(), column[1] * (1.0 - share).sqrt()];
    }
    let mut covariance = Covariance::of_columns(&fresh);
    covariance.ee += LEAST_SIGMA_M * LEAST_SIGMA_M;
    covariance.nn += LEAST_SIGMA_M * LEAST_SIGMA_M;
    (design, covariance)
}

/// Solves for the point and the errors that stay; returns the point and its covariance.
fn solve(frames: &[&FramePoint], shares: &StayingShares) -> Option<((f64, f64), Covariance)> {
    let stands = stands(frames);
    let mut at = (
        median(frames.iter().map(|frame| frame.east_m).collect())?,
        median(frames.iter().map(|frame| frame.north_m).collect())?,
    );
    // The first weights compare with the median under the whole error, because the staying part is not known yet.
    let mut weights: Vec<f64> = frames
        .iter()
        .zip(&stands)
        .map(|(frame, stand)| {
            let whole = Covariance::of_columns(&sensitivity_at(frame, stand, at));
            huber(whole.mahalanobis_squared(frame.east_m - at.0, frame.north_m - at.1))
        })
        .collect();
    let mut answer = None;
    for _ in 0..6 {
        let prepared: Vec<(Design, Covariance)> = frames
            .iter()
            .zip(&stands)
            .map(|(frame, stand)| parts(&sensitivity_at(frame, stand, at), shares))
            .collect();
        let mut information = Matrix::identity();
        information[(0, 0)] = 1e-12;
        information[(1, 1)] = 1e-12;
        let mut weighted = Vector::zeros();
        for ((frame, (design, covariance)), weight) in frames.iter().zip(&prepared).zip(&weights) {
            let inverse = inverse_of(covariance)? * *weight;
            let transposed = design.transpose() * inverse;
            information += transposed * design;
            weighted += transposed * SVector::<f64, 2>::new(frame.east_m, frame.north_m);
        }
        let inverse = information.cholesky()?.inverse();
        let solution = inverse * weighted;
        let mut misfit = 0.0;
        for ((frame, (design, covariance)), weight) in frames.iter().zip(&prepared).zip(weights.iter_mut()) {
            let predicted = design * solution;
            let squared =
                covariance.mahalanobis_squared(frame.east_m - predicted[0], frame.north_m - predicted[1]);
            *weight = huber(squared);
            misfit += *weight * squared;
        }
        // Frames that scatter more than they say make the answer less sure, never surer (Birge's ratio).
        let freedom = (2 * frames.len()).saturating_sub(2).max(1) as f64;
        let widening = (misfit / freedom).max(1.0);
        let covariance = Covariance {
            ee: inverse[(0, 0)] * widening,
            en: inverse[(0, 1)] * widening,
            nn: inverse[(1, 1)] * widening,
        };
        at = (solution[0], solution[1]);
        answer = Some((at, covariance));
    }
    answer.filter(|((east, north), covariance)| {
        east.is_finite() && north.is_finite() && covariance.ee.is_finite() && covariance.nn.is_finite()
    })
}

fn huber(squared: f64) -> f64 {
    (HUBER / squared.max(1e-12).sqrt()).min(1.0)
}

fn inverse_of(covariance: &Covariance) -> Option<SMatrix<f64, 2, 2>> {
    SMatrix::<f64, 2, 2>::new(covariance.ee, covariance.en, covariance.en, covariance.nn).try_inverse()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
