//! What makes no incident: masks, places where burning is known or allowed, and what a person rejected.

use jiff::Timestamp;

use super::IncidentBook;
use crate::flow::detection::Class;
use crate::flow::incident::{Incident, RejectReason, View};
use crate::flow::report::TrackReport;
use crate::stages::incident::associate::position_of;
use crate::stages::incident::schedule::polygon_holds;
use crate::stages::incident::update::view_of;

/// Why a report made no incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quiet {
    /// A number in it is none, or lies outside its range.
    Senseless,
    /// It lies in a mask of its source's picture.
    Masked,
    /// Burning is known or allowed there and then.
    Zone,
    /// A person rejected it there, and it has not changed since.
    Dismissed,
    /// What is left of a fire that was put out.
    Smouldering,
}

impl IncidentBook {
    /// Returns whether a rejected thing is no longer what was rejected: it burns openly, or it has grown.
    pub(super) fn has_changed(&self, incident: &Incident, report: &TrackReport) -> bool {
        if incident.reject_reason.is_some_and(|reason| !looks_again(reason)) {
            return false;
        }
        if report.class == Class::Flame && incident.class == Class::Smoke {
            return true;
        }
        let before = incident
            .views
            .iter()
            .filter(|view| view.source == report.source && view.picture_size == report.picture_size)
            .map(View::picture_share)
            .fold(0.0, f32::max);
        before > 0.0 && view_of(report).picture_share() >= before * self.config.dismiss_growth
    }

    /// Returns whether a report lies in a mask of its source's picture.
    pub(super) fn is_masked(&self, report: &TrackReport) -> bool {
        let (x, y) = report.bbox.centre();
        let (width, height) = report.picture_size;
        let share = [
            f64::from(x) / f64::from(width.max(1)),
            f64::from(y) / f64::from(height.max(1)),
        ];
        self.config
            .masks
            .iter()
            .any(|mask| mask.source == report.source.as_str() && polygon_holds(&mask.polygon, share))
    }

    /// Returns whether burning is known or allowed where and when a report was taken.
    pub(super) fn is_in_quiet_zone(&self, report: &TrackReport, now: Timestamp) -> bool {
        let Some(position) = position_of(&report.place) else {
            return false;
        };
        // A late report is judged by the schedule of when it was taken.
        let at = report.last_seen.at.min(now);
        self.config.quiet.iter().any(|quiet| {
            quiet.classes.contains(&report.class)
                && quiet.zone.holds(position.point)
                && quiet.schedule.holds(at, &self.zone)
        })
    }
}

/// Returns whether a rejection says something of the place, so that repeats there stay quiet.
pub(super) const fn dismisses_place(reason: RejectReason) -> bool {
    !matches!(
        reason,
        RejectReason::Drill | RejectReason::Duplicate | RejectReason::VehicleLight
    )
}

/// Returns whether a rejected thing counts again when it grows or bursts into flame.
const fn looks_again(reason: RejectReason) -> bool {
    !matches!(reason, RejectReason::OutOfArea | RejectReason::Duplicate)
}
