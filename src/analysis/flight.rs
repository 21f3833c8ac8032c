//! Where the camera of a recording was, what ground it saw, and which fires it found: what maps are drawn of.

use crate::flow::incident::Incident;
use crate::flow::pose::Wgs84;
use crate::flow::position::{Bearing, Position};

/// The path is noted so often, in seconds of video.
const PATH_EVERY_S: f64 = 0.5;
/// A footprint is noted so often, in seconds of video.
const FOOTPRINT_EVERY_S: f64 = 5.0;
/// The most points of a path; beyond, every second one is dropped.
const MOST_POINTS: usize = 20_000;

/// A fire on the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Fire {
    /// The incident.
    pub name: String,
    /// Where it is, where that is known.
    pub position: Option<Position>,
    /// In which direction it was seen.
    pub bearing: Option<Bearing>,
}

/// What maps are drawn of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flight {
    /// Where the camera was, with the seconds of video.
    pub path: Vec<(f64, Wgs84)>,
    /// The corners of the ground that single pictures show.
    pub footprints: Vec<Vec<Wgs84>>,
    /// The fires.
    pub fires: Vec<Fire>,
    footprint_s: Option<f64>,
}

impl Flight {
    /// Adds a place of the camera. Returns whether a footprint is due.
    pub fn add(&mut self, at_s: f64, position: Wgs84) -> bool {
        let is_due = |last_s: Option<f64>, every_s: f64| {
            last_s.is_none_or(|last_s| !(0.0..every_s).contains(&(at_s - last_s)))
        };
        if is_due(self.path.last().map(|(last_s, _)| *last_s), PATH_EVERY_S) {
            self.path.push((at_s, position));
        }
        if self.path.len() > MOST_POINTS {
            let mut keep = false;
            self.path.retain(|_| {
                keep = !keep;
                keep
            });
        }
        let is_footprint_due = is_due(self.footprint_s, FOOTPRINT_EVERY_S);
        if is_footprint_due {
            self.footprint_s = Some(at_s);
        }
        is_footprint_due
    }

    /// Adds an incident.
    pub fn fire(&mut self, incident: &Incident) {
        self.fires.push(Fire {
            name: incident.id.to_string(),
            position: incident.position,
            bearing: incident.bearing,
        });
    }

    /// Returns whether there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.path.is_empty()
            && self
                .fires
                .iter()
                .all(|fire| fire.position.is_none() && fire.bearing.is_none())
    }
}

/// Returns the outline of a position's error ellipse, closed.
#[must_use]
pub fn outline(position: &Position) -> Vec<Wgs84> {
    use crate::geo::ellipsoid::FlatMap;
    let ellipse = &position.ellipse;
    let map = FlatMap::around(position.point);
    let (sin, cos) = ellipse.azimuth_deg.to_radians().sin_cos();
    (0..=36)
        .map(|step| {
            let (aside, along) = f64::from(step * 10).to_radians().sin_cos();
            let (far, wide) = (along * ellipse.semi_major_m, aside * ellipse.semi_minor_m);
            map.point(far * sin + wide * cos, far * cos - wide * sin)
        })
        .collect()
}
