//! What a report adds to an incident.

use jiff::{SignedDuration, Timestamp};

use super::associate::{bearing_of, position_of};
use super::config::IncidentConfig;
use super::fuse::fuse;
use super::grid::GridLookup;
use super::plane::distance_m;
use crate::flow::detection::Class;
use crate::flow::incident::{Incident, View};
use crate::flow::position::{Bearing, Place, Position};
use crate::flow::report::{Evidence, TrackReport};

/// The most views that are kept; a tracker that loses and finds a plume makes one each time.
const MOST_VIEWS: usize = 64;
/// The most files that an incident names; a fire that burns for days is shown well enough by then.
const MOST_EVIDENCE: usize = 500;
/// Views of one source this close in time, in seconds, show the same moment: the most exact one counts.
const SAME_MOMENT_S: i64 = 30;

/// How much an update matters to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Newer times and nothing else: told now and then.
    Routine,
    /// A better point, more confidence: told soon.
    Better,
    /// A new source, flame instead of smoke, evidence, another grid cell: told at once.
    New,
}

/// Returns the view that a report is.
pub(crate) fn view_of(report: &TrackReport) -> View {
    View {
        source: report.source.clone(),
        liveness: report.liveness,
        mount: report.mount,
        track: report.track,
        class: report.class,
        score: report.score,
        first_seen: report.first_seen,
        last_seen: report.last_seen,
        position: position_of(&report.place).copied(),
        bearing: bearing_of(&report.place),
        bbox: report.bbox,
        picture_size: report.picture_size,
    }
}

/// Puts a report into an incident; returns how much that matters and the files that were not known before. `rivals` is
/// as in [`settle`].
pub(crate) fn take_in(
    incident: &mut Incident,
    report: &TrackReport,
    rivals: &[View],
    grid: &dyn GridLookup,
) -> (Weight, Vec<Evidence>) {
    let mut weight = Weight::Routine;
    if !incident.views.iter().any(|view| view.source == report.source) {
        weight = Weight::New;
    }
    let before = (
        incident.class,
        incident.confidence,
        incident.position,
        incident.grid.clone(),
        incident.candidates.len(),
    );
    put_view(&mut incident.views, view_of(report));
    if report.first_seen.at < incident.first_seen.at {
        incident.first_seen = report.first_seen;
    }
    if report.last_seen.at > incident.last_seen.at {
        incident.last_seen = report.last_seen;
    }
    incident.model = report.model.clone();
    let files = new_evidence(incident, &report.evidence);
    if !files.is_empty() {
        weight = Weight::New;
    }
    settle(incident, rivals, grid);
    let (class, confidence, position, cell, candidates) = before;
    if class != incident.class || cell != incident.grid || candidates != incident.candidates.len() {
        weight = Weight::New;
    }
    if incident.confidence >= confidence + 0.1 || has_moved(position.as_ref(), incident.position.as_ref()) {
        weight = weight.max(Weight::Better);
    }
    (weight, files)
}

/// Works out what follows from the views: class, confidence, position, bearing and grid cell. `rivals` is what the same
/// sources see in other incidents at the same time.
pub(crate) fn settle(incident: &mut Incident, rivals: &[View], grid: &dyn GridLookup) {
    incident.class = if incident.views.iter().any(|view| view.class == Class::Flame) {
        Class::Flame
    } else {
        Class::Smoke
    };
    incident.confidence = incident.views.iter().map(|view| view.score).fold(0.0, f32::max);
    let chosen = best_of_each_source(&incident.views);
    // A team may be on its way: a point that was told is not withdrawn because another fire appears.
    let rivals = if incident.position.is_some() { &[] } else { rivals };
    let fused = fuse(&chosen, rivals);
    incident.position = fused.position;
    incident.hypotheses = fused.hypotheses;
    incident.bearing = best_bearing(&chosen);
    if incident.assigned {
        return;
    }
    if let Some(position) = &incident.position {
        let answer = grid.locate(position);
        // Outside every cell, and without a grid at hand, the last known cell stays: somebody has to own it.
        if answer.cell.is_some() {
            incident.grid = answer.cell;
            incident.candidates = answer.candidates;
        }
    }
}

fn put_view(views: &mut Vec<View>, view: View) {
    if let Some(known) = views
        .iter_mut()
        .find(|known| known.source == view.source && known.track == view.track)
    {
        let first_seen = if known.first_seen.at < view.first_seen.at {
            known.first_seen
        } else {
            view.first_seen
        };
        // A report without a point does not undo the point that was found before.
        let position = view.position.or(known.position);
        let bearing = view.bearing.or(known.bearing);
        *known = View {
            first_seen,
            position,
            bearing,
            ..view
        };
        return;
    }
    views.push(view);
    if views.len() > MOST_VIEWS
        && let Some(oldest) =
            (0..views.len()).min_by_key(|&index| views.get(index).map(|view| view.last_seen.at))
    {
        views.remove(oldest);
    }
}

/// Returns the files that the incident does not name yet, after naming them.
fn new_evidence(incident: &mut Incident, files: &[Evidence]) -> Vec<Evidence> {
    let mut fresh = Vec::new();
    for file in files {
        let is_known = incident.evidence.iter().any(|known| known.name == file.name);
        if !is_known && incident.evidence.len() < MOST_EVIDENCE {
            incident.evidence.push(file.clone());
            fresh.push(file.clone());
        }
    }
    fresh
}

/// Returns for each source its newest view; of those at the same moment the one with the smallest error.
pub(crate) fn best_of_each_source(views: &[View]) -> Vec<&View> {
    let mut chosen: Vec<&View> = Vec::new();
    for view in views {
        match chosen.iter_mut().find(|other| other.source == view.source) {
            None => chosen.push(view),
            Some(other) => {
                if is_better(view, other) {
                    *other = view;
                }
            }
        }
    }
    chosen.retain(|view| view.position.is_some() || view.bearing.is_some());
    chosen
}

fn is_better(view: &View, other: &View) -> bool {
    let difference = view.last_seen.at.duration_since(other.last_seen.at);
    if difference.abs() > SignedDuration::from_secs(SAME_MOMENT_S) {
        // A newer view without a point is no better than an older one with it.
        return difference.is_positive() && (view.position.is_some() || other.position.is_none());
    }
    let error = |view: &View| view.position.map_or(f64::INFINITY, |position| position.ce90_m);
    error(view) < error(other)
}

fn best_bearing(views: &[&View]) -> Option<Bearing> {
    views
        .iter()
        .filter_map(|view| view.bearing)
        .min_by(|a, b| a.sigma_deg.total_cmp(&b.sigma_deg))
}

fn has_moved(before: Option<&Position>, after: Option<&Position>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            distance_m(before.point, after.point) > (before.ce90_m / 4.0).max(10.0)
                || after.ce90_m < before.ce90_m * 0.8
        }
        (None, None) => false,
        _ => true,
    }
}

/// Returns whether a report comes too late to be news: a recording, or a stream that is far behind.
pub(crate) fn is_late(config: &IncidentConfig, report: &TrackReport, now: Timestamp) -> bool {
    report.liveness == crate::flow::source::Liveness::Recorded
        || now.duration_since(report.last_seen.at).as_secs_f64() > config.late_after_s
}

/// Returns whether every number of a report can be worked with: what is not a number is stopped at the border.
pub(crate) fn is_sane(report: &TrackReport) -> bool {
    let is_share = |value: f32| (0.0..=1.0).contains(&value);
    let is_place = |lat: f64, lon: f64| (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
    let is_bearing = |bearing: &Bearing| {
        is_place(bearing.from.lat, bearing.from.lon)
            && bearing.azimuth_deg.is_finite()
            && bearing.sigma_deg.is_finite()
            && bearing.sigma_deg >= 0.0
    };
    let is_position = |position: &Position| {
        is_place(position.point.lat, position.point.lon)
            && position.height.metres.is_finite()
            && position.ce90_m.is_finite()
            && position.ce90_m >= 0.0
            && position.ellipse.semi_major_m.is_finite()
            && position.ellipse.semi_minor_m.is_finite()
            && position.ellipse.semi_minor_m >= 0.0
            && position.ellipse.semi_major_m >= position.ellipse.semi_minor_m
            && position.ellipse.azimuth_deg.is_finite()
            && position.ellipse.level > 0.0
            && position.ellipse.level < 1.0
    };
    let place = match &report.place {
        Place::Point { position, bearing } => {
            is_position(position) && bearing.as_ref().is_none_or(is_bearing)
        }
        Place::Direction { bearing, .. } => is_bearing(bearing),
        Place::Unknown { .. } => true,
    };
    let bbox = report.bbox;
    place
        && is_share(report.score)
        && [bbox.x0, bbox.y0, bbox.x1, bbox.y1]
            .iter()
            .all(|edge| edge.is_finite())
        && report.first_seen.at <= report.last_seen.at
}
