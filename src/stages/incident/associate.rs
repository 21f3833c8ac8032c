//! Does this report show that fire? By place, bearing, time, and by what one camera's own picture tells apart.

use jiff::Timestamp;

use super::config::IncidentConfig;
use super::plane::{Metres, Plane, Symmetric, angle_between_deg, distance_m};
use crate::flow::detection::{BBox, Class};
use crate::flow::incident::{Incident, View};
use crate::flow::position::{Bearing, Place, Position};
use crate::flow::report::TrackReport;
use crate::flow::source::Mount;
use crate::geo::views::{LEAST_CROSSING_DEG, SAME_MAST_M};

/// Two tracks of one camera whose last frames are closer than this, in seconds, are seen at the same time.
const TOGETHER_S: f64 = 10.0;
/// What one camera says of two places at the same time shares its pose error: this part of the variance is left.
const UNSHARED: f64 = 0.25;
/// Standard deviation of how far the parts of one fire lie from each other in one picture, in metres.
const PARTS_M: f64 = 40.0;
/// Without any place, what a moving camera sees within so many seconds is one shot.
const SAME_SHOT_S: f64 = 60.0;
/// In one shot, boxes closer than this share of the picture's width may be parts of one fire.
const SAME_SHOT_SHARE: f64 = 0.25;
/// Two directions of one camera this many degrees apart, beyond the error, are two fires.
const SAME_DIRECTION_DEG: f64 = 1.5;

/// A plume's upper part hangs at most so far over what burns below it, as a share of its own height.
const COLUMN_GAP: f32 = 0.75;
/// It may reach so far down into a lower piece, as a share of that piece's height.
const COLUMN_OVERLAP: f32 = 0.75;
/// The foot of a plume counts for its upper parts for so many seconds.
const COLUMN_S: f64 = 30.0;

/// Returns whether a report is the upper part of a plume whose foot one of the views is: smoke right above what the same
/// camera shows at the same time. Its lower edge is no place on the ground.
///
/// Detectors see a tall column in two or three pieces. A fire far behind another, whose smoke stands right above the
/// nearer one in the picture, is taken for its smoke until its flame is seen or it moves aside.
pub(crate) fn is_upper_part(views: &[View], report: &TrackReport) -> bool {
    report.class == Class::Smoke && views.iter().any(|view| hangs_over(view, report))
}

fn hangs_over(view: &View, report: &TrackReport) -> bool {
    let gap_s = gap_s(
        (view.first_seen.at, view.last_seen.at),
        (report.first_seen.at, report.last_seen.at),
    );
    if view.source != report.source
        || view.track == report.track
        || view.picture_size != report.picture_size
        || gap_s > COLUMN_S
    {
        return false;
    }
    let (low, high) = (&view.bbox, &report.bbox);
    let shared = low.x1.min(high.x1) - low.x0.max(high.x0);
    // Pieces of one plume overlap; a plume that reaches down beside its flame has a foot of its own.
    let reach = match view.class {
        Class::Smoke => COLUMN_OVERLAP * (low.y1 - low.y0),
        Class::Flame => 0.0,
    };
    shared >= 0.5 * (low.x1 - low.x0).min(high.x1 - high.x0)
        && high.y0 < low.y0
        && high.y1 <= low.y0 + reach
        && low.y0 - high.y1 <= COLUMN_GAP * (high.y1 - high.y0)
}

/// Returns the position of a report, if it has one.
pub(crate) fn position_of(place: &Place) -> Option<&Position> {
    match place {
        Place::Point { position, .. } => Some(position),
        Place::Direction { .. } | Place::Unknown { .. } => None,
    }
}

/// Returns the bearing of a report, if it has one.
pub(crate) fn bearing_of(place: &Place) -> Option<Bearing> {
    match place {
        Place::Point { bearing, .. } => *bearing,
        Place::Direction { bearing, .. } => Some(*bearing),
        Place::Unknown { .. } => None,
    }
}

/// Returns how many seconds lie between the times in which two things were seen, 0 where they overlap.
fn gap_s(a: (Timestamp, Timestamp), b: (Timestamp, Timestamp)) -> f64 {
    let between = |earlier: Timestamp, later: Timestamp| later.duration_since(earlier).as_secs_f64();
    between(a.1, b.0).max(between(b.1, a.0)).max(0.0)
}

/// Returns how badly a report fits an incident, lower is better; none where it does not belong to it.
pub(crate) fn misfit(config: &IncidentConfig, incident: &Incident, report: &TrackReport) -> Option<f64> {
    let seen = (report.first_seen.at, report.last_seen.at);
    if gap_s((incident.first_seen.at, incident.last_seen.at), seen) > config.join_gap_s {
        return None;
    }
    misfit_of_place(config, incident, report)
}

/// Returns how badly the place of a report fits that of an incident, whatever the time.
pub(crate) fn misfit_of_place(
    config: &IncidentConfig,
    incident: &Incident,
    report: &TrackReport,
) -> Option<f64> {
    if is_upper_part(&incident.views, report) {
        return Some(0.0);
    }
    if is_told_apart(config, incident, report) {
        return None;
    }
    match (position_of(&report.place), &incident.position) {
        (Some(report), Some(known)) => misfit_of_points(config, report, known),
        (None, Some(known)) => misfit_of_bearing(config, &bearing_of(&report.place)?, known),
        (Some(point), None) => incident
            .views
            .iter()
            .filter_map(|view| view.bearing)
            .filter_map(|bearing| misfit_of_bearing(config, &bearing, point))
            .min_by(f64::total_cmp)
            .or_else(|| misfit_in_picture(incident, report)),
        (None, None) => bearing_of(&report.place)
            .and_then(|bearing| {
                incident
                    .views
                    .iter()
                    .filter_map(|view| view.bearing)
                    .filter_map(|known| misfit_of_bearings(config, &bearing, &known))
                    .min_by(f64::total_cmp)
            })
            .or_else(|| misfit_in_picture(incident, report)),
    }
}

/// Returns the squared Mahalanobis distance of two points with the logarithm of the spread, none beyond the gate. The
/// logarithm is what makes the nearer of two incidents win over a vaguer one.
pub(crate) fn misfit_of_points(config: &IncidentConfig, a: &Position, b: &Position) -> Option<f64> {
    let (squared, spread) = squared_distance(config, a, b);
    (squared <= config.gate).then(|| squared + spread.determinant().ln())
}

/// Returns the squared Mahalanobis distance of two points and the covariance of their difference.
pub(crate) fn squared_distance(config: &IncidentConfig, a: &Position, b: &Position) -> (f64, Symmetric) {
    let step = Plane::at(a.point).metres(b.point);
    let spread = Symmetric::of_ellipse(&a.ellipse)
        .plus(Symmetric::of_ellipse(&b.ellipse))
        .plus(Symmetric::round(config.fire_size_m));
    (spread.squared_length(step), spread)
}

fn misfit_of_bearing(config: &IncidentConfig, bearing: &Bearing, point: &Position) -> Option<f64> {
    let step = Plane::at(bearing.from).metres(point.point);
    let range = step.length().max(10.0);
    if range > config.bearing_range_m {
        return None;
    }
    let across = Metres {
        east: step.north / range,
        north: -step.east / range,
    };
    let spread = Symmetric::of_ellipse(&point.ellipse).plus(Symmetric::round(config.fire_size_m));
    let sigma_deg = bearing
        .sigma_deg
        .hypot((spread.sigma_along(across) / range).to_degrees());
    let miss = (angle_between_deg(step.azimuth_deg(), bearing.azimuth_deg) / sigma_deg.max(0.05)).powi(2);
    // One degree of freedom: the gate is for two, 3.3 sigma for the usual one.
    (miss <= config.gate * 0.8).then(|| miss + (sigma_deg.to_radians() * range).powi(2).ln() * 2.0)
}

fn misfit_of_bearings(config: &IncidentConfig, a: &Bearing, b: &Bearing) -> Option<f64> {
    if distance_m(a.from, b.from) < SAME_MAST_M {
        let sigma_deg = a.sigma_deg.hypot(b.sigma_deg).max(0.1);
        let miss = (angle_between_deg(a.azimuth_deg, b.azimuth_deg) / sigma_deg).powi(2);
        return (miss <= config.gate * 0.8).then_some(miss);
    }
    // Two stands: they may mean one fire where they cross in front of both, within range.
    let plane = Plane::at(a.from);
    let base = plane.metres(b.from);
    let direction = |azimuth_deg: f64| {
        let (east, north) = azimuth_deg.to_radians().sin_cos();
        Metres { east, north }
    };
    let (along_a, along_b) = (direction(a.azimuth_deg), direction(b.azimuth_deg));
    let cross = along_a.east * along_b.north - along_a.north * along_b.east;
    if cross.abs() < LEAST_CROSSING_DEG.to_radians().sin() {
        return None;
    }
    let range_a = (base.east * along_b.north - base.north * along_b.east) / cross;
    let range_b = (base.east * along_a.north - base.north * along_a.east) / cross;
    let is_ahead = |range: f64| range > 0.0 && range <= config.bearing_range_m;
    // Crossing proves little: any point that is seen from both fits better.
    (is_ahead(range_a) && is_ahead(range_b)).then_some(config.gate + 20.0)
}

/// The last resort without any place: the same part of the picture of the same camera, or for a camera that moves the
/// same shot, unless both were seen at the same time well apart.
fn misfit_in_picture(incident: &Incident, report: &TrackReport) -> Option<f64> {
    misfit_in_one_spot(incident, report).or_else(|| {
        let is_one_shot = |view: &View| {
            let gap_s = gap_s(
                (view.first_seen.at, view.last_seen.at),
                (report.first_seen.at, report.last_seen.at),
            );
            let allowed = SAME_SHOT_SHARE * f64::from(report.picture_size.0);
            view.source == report.source
                && view.picture_size == report.picture_size
                && gap_s <= SAME_SHOT_S
                && (gap_s > TOGETHER_S || clearance_px(&view.bbox, &report.bbox) <= allowed)
        };
        (report.mount == Mount::Moving && incident.views.iter().any(is_one_shot)).then_some(10.0)
    })
}

/// Returns how many pixels lie between two boxes, 0 where they touch.
fn clearance_px(a: &BBox, b: &BBox) -> f64 {
    let across = (a.x0.max(b.x0) - a.x1.min(b.x1)).max(0.0);
    let down = (a.y0.max(b.y0) - a.y1.min(b.y1)).max(0.0);
    f64::from(across.hypot(down))
}

fn misfit_in_one_spot(incident: &Incident, report: &TrackReport) -> Option<f64> {
    incident
        .views
        .iter()
        .filter(|view| view.source == report.source && view.picture_size == report.picture_size)
        .map(|view| view.bbox.iou(&report.bbox))
        .filter(|&overlap| overlap > 0.1)
        .map(|overlap| f64::from(1.0 - overlap) * 10.0)
        .min_by(f64::total_cmp)
}

/// Returns whether the report's own camera shows the incident at the same time in another place. Then it is another
/// fire, however large the error ellipses are: the pose error is the same for both.
///
/// A view that lies elsewhere than its own incident says nothing of where that burns: the upper part of a plume that was
/// taken in before its foot was seen is such a view.
fn is_told_apart(config: &IncidentConfig, incident: &Incident, report: &TrackReport) -> bool {
    let is_astray = |view: &View| match (&view.position, &incident.position) {
        (Some(view), Some(known)) => squared_distance(config, view, known).0 > config.gate,
        _ => false,
    };
    incident
        .views
        .iter()
        .filter(|view| view.source == report.source && view.track != report.track && !is_astray(view))
        .filter(|view| {
            gap_s(
                (view.first_seen.at, view.last_seen.at),
                (report.first_seen.at, report.last_seen.at),
            ) <= TOGETHER_S
        })
        .any(|view| are_apart(config, view, report))
}

fn are_apart(config: &IncidentConfig, view: &View, report: &TrackReport) -> bool {
    if let (Some(a), Some(b)) = (&view.position, position_of(&report.place)) {
        let step = Plane::at(a.point).metres(b.point);
        let spread = Symmetric::of_ellipse(&a.ellipse)
            .plus(Symmetric::of_ellipse(&b.ellipse))
            .times(UNSHARED)
            .plus(Symmetric::round(PARTS_M));
        return spread.squared_length(step) > config.gate;
    }
    if let (Some(a), Some(b)) = (view.bearing, bearing_of(&report.place)) {
        return distance_m(a.from, b.from) < SAME_MAST_M
            && angle_between_deg(a.azimuth_deg, b.azimuth_deg)
                > SAME_DIRECTION_DEG + UNSHARED.sqrt() * 3.0 * a.sigma_deg.hypot(b.sigma_deg);
    }
    false
}
