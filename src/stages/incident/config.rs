//! How the incident stage is set up: gates, rules, zones, deadlines and checklists. All of it is local policy.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::schedule::{Schedule, TimeWindow, Zone};
use crate::flow::detection::Class;
use crate::flow::incident::{ChecklistItem, DeadlineProfile, Milestone, MilestoneLimit};
use crate::flow::source::Mount;

/// Confirms an incident without a person, where a rule says that it may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRule {
    /// Its name: the actor of the transition.
    pub name: String,
    /// Which sources, by name; a trailing `*` stands for any ending; empty for all.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Which kind of camera; left out for both.
    #[serde(default)]
    pub mount: Option<Mount>,
    /// What it must look like; left out for both.
    #[serde(default)]
    pub class: Option<Class>,
    /// The least score, 0 to 1.
    #[serde(default)]
    pub min_score: f32,
    /// For how many seconds one of the sources must have seen it.
    #[serde(default)]
    pub min_seen_s: f64,
    /// How many sources must see it.
    #[serde(default = "one")]
    pub min_sources: usize,
    /// At which time of day, as `18:00-06:00` in the installation's time zone; left out for always.
    #[serde(default)]
    pub between: Option<TimeWindow>,
}

const fn one() -> usize {
    1
}

impl ConfirmRule {
    /// Returns whether the rule speaks of this source.
    #[must_use]
    pub fn names(&self, source: &str) -> bool {
        self.sources.is_empty()
            || self
                .sources
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(beginning) => source.starts_with(beginning),
                    None => pattern == source,
                })
    }
}

/// A place where something burns that is known or allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietZone {
    /// Its name, shown where it keeps something quiet.
    pub name: String,
    /// Where it is.
    pub zone: Zone,
    /// What is known there; a chimney that smokes is no excuse for a flame.
    #[serde(default = "smoke_only")]
    pub classes: Vec<Class>,
    /// When; always if left out.
    #[serde(default)]
    pub schedule: Schedule,
}

fn smoke_only() -> Vec<Class> {
    vec![Class::Smoke]
}

/// A part of one source's picture in which nothing counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PictureMask {
    /// Its name.
    pub name: String,
    /// Which source.
    pub source: String,
    /// Corners as shares of width and height, 0 to 1.
    pub polygon: Vec<[f64; 2]>,
}

/// How the incident stage is set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IncidentConfig {
    /// Names this installation in its events, a URI reference.
    pub site: String,
    /// Where the HTTP API is reached from outside; links are relative without it.
    pub base_url: Option<String>,
    /// The time zone of schedules and reports: a name such as `Asia/Shanghai`, or an offset such as `+08:00`.
    pub time_zone: String,
    /// Squared Mahalanobis distance up to which a report belongs to an incident (13.8 holds 99.9 %).
    pub gate: f64,
    /// Standard deviation of where on a fire a camera points, in metres: fires have a size.
    pub fire_size_m: f64,
    /// For how many seconds after it was last seen an incident takes in reports.
    pub join_gap_s: f64,
    /// A bearing says nothing beyond this range, in metres.
    pub bearing_range_m: f64,
    /// For how many seconds after its end a fire that is seen again at its place re-opens the incident.
    pub reopen_within_s: f64,
    /// For how many seconds after it was put out a track that saw it before may go on without re-opening it.
    pub smoulder_s: f64,
    /// For how many seconds a rejected place keeps repeats quiet.
    pub dismiss_for_s: f64,
    /// How many times as large in the picture a rejected thing must become to count again.
    pub dismiss_growth: f32,
    /// A report whose last frame is older than this, in seconds, is late.
    pub late_after_s: f64,
    /// The least time between two updates of an incident that bring nothing but newer times, in seconds.
    pub update_every_s: f64,
    /// The deadline profile in force; none for no deadlines.
    pub profile: Option<String>,
    /// The deadline profiles.
    pub profiles: Vec<DeadlineProfile>,
    /// What has to be done at each incident.
    pub checklist: Vec<ChecklistItem>,
    /// Whether an incident may only be closed when its checklist is done.
    pub close_needs_checklist: bool,
    /// What may be confirmed without a person.
    pub confirm: Vec<ConfirmRule>,
    /// Where burning is known or allowed.
    pub quiet: Vec<QuietZone>,
    /// Where in a picture nothing counts.
    pub masks: Vec<PictureMask>,
}

impl Default for IncidentConfig {
    fn default() -> Self {
        Self {
            site: "urn:emberwatch:local".to_owned(),
            base_url: None,
            time_zone: "+08:00".to_owned(),
            gate: 13.8,
            fire_size_m: 15.0,
            join_gap_s: 1_800.0,
            bearing_range_m: 10_000.0,
            reopen_within_s: 6.0 * 3_600.0,
            smoulder_s: 600.0,
            dismiss_for_s: 24.0 * 3_600.0,
            dismiss_growth: 2.5,
            late_after_s: 120.0,
            update_every_s: 30.0,
            profile: Some("1530".to_owned()),
            profiles: shipped_profiles(),
            checklist: Vec::new(),
            close_needs_checklist: false,
            confirm: Vec::new(),
            quiet: Vec::new(),
            masks: Vec::new(),
        }
    }
}

/// Two examples of local rules. `1530` is the reading that Hanshou documents (found within 1 minute, responded within
/// 5, out within 30); `235` is that of Changge (found within 2, team on its way within 3, dealt with within 5). What
/// "responded" means, and from when the clock runs, each centre sets itself.
fn shipped_profiles() -> Vec<DeadlineProfile> {
    let limit = |milestone, limit_s| MilestoneLimit {
        milestone,
        limit_s,
        reached_by: None,
    };
    vec![
        DeadlineProfile {
            name: "1530".to_owned(),
            title: "1分钟发现、5分钟响应、30分钟扑灭".to_owned(),
            remind_before_s: 60,
            escalate_every_s: 300,
            milestones: vec![
                limit(Milestone::Detected, 60),
                limit(Milestone::Responded, 300),
                limit(Milestone::Extinguished, 1_800),
            ],
        },
        DeadlineProfile {
            name: "235".to_owned(),
            title: "2分钟发现、3分钟响应、5分钟处置".to_owned(),
            remind_before_s: 30,
            escalate_every_s: 120,
            milestones: vec![
                limit(Milestone::Detected, 120),
                limit(Milestone::Responded, 180),
                limit(Milestone::OnScene, 300),
            ],
        },
    ]
}

/// Everything that is wrong with a configuration, each with the path of the setting and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigProblems(pub Vec<String>);

impl IncidentConfig {
    /// Checks every value and returns all problems at once.
    pub fn check(&self) -> Result<(), ConfigProblems> {
        let mut problems = Vec::new();
        let mut positive = |path: &str, value: f64| {
            if !(value.is_finite() && value > 0.0) {
                problems.push(format!("{path}: {value} is no positive number"));
            }
        };
        positive("gate", self.gate);
        positive("fire_size_m", self.fire_size_m);
        positive("join_gap_s", self.join_gap_s);
        positive("bearing_range_m", self.bearing_range_m);
        positive("reopen_within_s", self.reopen_within_s);
        positive("smoulder_s", self.smoulder_s);
        positive("dismiss_for_s", self.dismiss_for_s);
        positive("dismiss_growth", f64::from(self.dismiss_growth));
        positive("late_after_s", self.late_after_s);
        positive("update_every_s", self.update_every_s);
        if let Err(problem) = self.zone() {
            problems.push(format!("time_zone: {problem}"));
        }
        self.check_deadlines(&mut problems);
        let mut names = BTreeSet::new();
        for (index, rule) in self.confirm.iter().enumerate() {
            if !(0.0..=1.0).contains(&rule.min_score) {
                problems.push(format!(
                    "confirm[{index}].min_score: {} is not between 0 and 1",
                    rule.min_score
                ));
            }
            if !(rule.min_seen_s.is_finite() && rule.min_seen_s >= 0.0) {
                problems.push(format!(
                    "confirm[{index}].min_seen_s: {} is no number of seconds",
                    rule.min_seen_s
                ));
            }
            if !names.insert(&rule.name) {
                problems.push(format!("confirm[{index}].name: {:?} is used twice", rule.name));
            }
        }
        for (index, quiet) in self.quiet.iter().enumerate() {
            if let Err(problem) = quiet.zone.check() {
                problems.push(format!("quiet[{index}]: {problem}"));
            }
            if quiet.classes.is_empty() {
                problems.push(format!(
                    "quiet[{index}].classes: keeps nothing quiet, write [\"smoke\"] or [\"smoke\", \"flame\"]"
                ));
            }
        }
        for (index, mask) in self.masks.iter().enumerate() {
            let is_inside = mask
                .polygon
                .iter()
                .flatten()
                .all(|share| (0.0..=1.0).contains(share));
            if mask.polygon.len() < 3 || !is_inside {
                problems.push(format!(
                    "masks[{index}].polygon: needs three or more corners, each two shares between 0 and 1"
                ));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigProblems(problems))
        }
    }

    fn check_deadlines(&self, problems: &mut Vec<String>) {
        if let Some(name) = &self.profile
            && self.profile_in_force().is_none()
        {
            let known: Vec<_> = self
                .profiles
                .iter()
                .map(|profile| profile.name.as_str())
                .collect();
            problems.push(format!(
                "profile: there is no profile {name:?}, expected one of [{}]",
                known.join(", ")
            ));
        }
        for (index, profile) in self.profiles.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for limit in &profile.milestones {
                if !seen.insert(limit.milestone) {
                    problems.push(format!(
                        "profiles[{index}].milestones: {:?} has two limits",
                        limit.milestone.name()
                    ));
                }
                if limit.state().rank().is_none() {
                    problems.push(format!(
                        "profiles[{index}].milestones: {:?} is reached by {:?}, which is no step towards the end",
                        limit.milestone.name(),
                        limit.state().name()
                    ));
                }
            }
        }
        let mut items = BTreeSet::new();
        for (index, item) in self.checklist.iter().enumerate() {
            if !items.insert(&item.name) {
                problems.push(format!("checklist[{index}].name: {:?} is used twice", item.name));
            }
        }
    }

    /// Returns the deadline profile in force.
    #[must_use]
    pub fn profile_in_force(&self) -> Option<&DeadlineProfile> {
        let name = self.profile.as_ref()?;
        self.profiles.iter().find(|profile| &profile.name == name)
    }

    /// Returns the time zone.
    pub fn zone(&self) -> Result<jiff::tz::TimeZone, String> {
        super::schedule::time_zone(&self.time_zone)
    }
}
