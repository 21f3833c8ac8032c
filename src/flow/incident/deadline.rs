//! Deadlines: named profiles of milestones with limits, counted from the first frame in which the fire is visible.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::State;

/// What a deadline is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// 发现: the program made the incident.
    Detected,
    /// 确认: a person or a rule confirmed it.
    Confirmed,
    /// 响应: somebody took it on; which state that is, the profile says.
    Responded,
    /// 到场: a team is there.
    OnScene,
    /// 扑灭: the fire is out.
    Extinguished,
    /// 销号: checked and closed.
    Closed,
}

impl Milestone {
    /// Every milestone, in the order in which they are reached.
    pub const ALL: [Self; 6] = [
        Self::Detected,
        Self::Confirmed,
        Self::Responded,
        Self::OnScene,
        Self::Extinguished,
        Self::Closed,
    ];

    /// Returns the word used in events, configuration and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Confirmed => "confirmed",
            Self::Responded => "responded",
            Self::OnScene => "on_scene",
            Self::Extinguished => "extinguished",
            Self::Closed => "closed",
        }
    }

    /// Returns the word that Chinese readers know.
    #[must_use]
    pub const fn name_zh(self) -> &'static str {
        match self {
            Self::Detected => "发现",
            Self::Confirmed => "确认",
            Self::Responded => "响应",
            Self::OnScene => "到场",
            Self::Extinguished => "扑灭",
            Self::Closed => "销号",
        }
    }

    /// Returns the state that reaches it where the profile does not say otherwise.
    #[must_use]
    pub const fn usual_state(self) -> State {
        match self {
            Self::Detected => State::Suspected,
            Self::Confirmed => State::Confirmed,
            Self::Responded => State::Accepted,
            Self::OnScene => State::OnScene,
            Self::Extinguished => State::Extinguished,
            Self::Closed => State::Closed,
        }
    }
}

/// One line of a profile: a milestone and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MilestoneLimit {
    /// Which milestone.
    pub milestone: Milestone,
    /// Seconds from the first frame in which the fire is visible.
    pub limit_s: u32,
    /// The state that reaches it; the milestone's usual one if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_by: Option<State>,
}

impl MilestoneLimit {
    /// Returns the state that reaches this milestone.
    #[must_use]
    pub fn state(&self) -> State {
        self.reached_by.unwrap_or(self.milestone.usual_state())
    }
}

/// A named set of deadlines, as local rules set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadlineProfile {
    /// Its name, shown in every report.
    pub name: String,
    /// What people read.
    #[serde(default)]
    pub title: String,
    /// How many seconds before a deadline the reminder goes out; 0 for none.
    #[serde(default)]
    pub remind_before_s: u32,
    /// How many seconds after a missed deadline, and after each escalation, the next level is told; 0 for never.
    #[serde(default)]
    pub escalate_every_s: u32,
    /// The deadlines.
    pub milestones: Vec<MilestoneLimit>,
}

/// A level of the grid, from the nearest to the highest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GridLevel {
    /// 村
    Village,
    /// 乡镇
    Township,
    /// 区
    District,
}

impl GridLevel {
    /// Returns the level above, none above the district.
    #[must_use]
    pub const fn above(self) -> Option<Self> {
        match self {
            Self::Village => Some(Self::Township),
            Self::Township => Some(Self::District),
            Self::District => None,
        }
    }

    /// Returns the word used in events and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Village => "village",
            Self::Township => "township",
            Self::District => "district",
        }
    }
}

/// One deadline of one incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Deadline {
    /// What it is about.
    pub milestone: Milestone,
    /// The state that reaches it.
    pub reached_by: State,
    /// When it passes.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub due: Timestamp,
    /// When it was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub done: Option<Timestamp>,
    /// Whether the reminder went out.
    #[serde(default)]
    pub reminded: bool,
    /// The highest level that was told that it has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<GridLevel>,
}

impl Deadline {
    /// Returns whether it was or is missed at `now`.
    #[must_use]
    pub fn is_missed(&self, now: Timestamp) -> bool {
        self.done.unwrap_or(now) > self.due
    }
}

/// The deadlines in force for one incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sla {
    /// The name of the profile.
    pub profile: String,
    /// From when the limits count: the first frame in which the fire is visible, or in which it is visible again.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub starts: Timestamp,
    /// How many seconds before a deadline the reminder goes out; 0 for none.
    #[serde(default)]
    pub remind_before_s: u32,
    /// How many seconds after a missed deadline the next level is told; 0 for never.
    #[serde(default)]
    pub escalate_every_s: u32,
    /// The deadlines, in the order in which they fall due.
    pub milestones: Vec<Deadline>,
}

impl Sla {
    /// Puts a profile in force from `starts`.
    #[must_use]
    pub fn new(profile: &DeadlineProfile, starts: Timestamp) -> Self {
        let mut milestones: Vec<_> = profile
            .milestones
            .iter()
            .map(|limit| Deadline {
                milestone: limit.milestone,
                reached_by: limit.state(),
                due: starts
                    .saturating_add(SignedDuration::from_secs(i64::from(limit.limit_s)))
                    .unwrap_or(Timestamp::MAX),
                done: None,
                reminded: false,
                told: None,
            })
            .collect();
        milestones.sort_by_key(|deadline| (deadline.due, deadline.milestone));
        Self {
            profile: profile.name.clone(),
            starts,
            remind_before_s: profile.remind_before_s,
            escalate_every_s: profile.escalate_every_s,
            milestones,
        }
    }

    /// Notes that `state` was reached at `at`: every open milestone that it reaches or implies is done.
    pub fn reach(&mut self, state: State, at: Timestamp) {
        let Some(rank) = state.rank() else { return };
        for deadline in &mut self.milestones {
            if deadline.done.is_none() && deadline.reached_by.rank().is_some_and(|needed| needed <= rank) {
                deadline.done = Some(at);
            }
        }
    }

    /// Returns the open deadline that falls due first.
    #[must_use]
    pub fn next(&self) -> Option<&Deadline> {
        self.milestones.iter().find(|deadline| deadline.done.is_none())
    }
}

/// What kind of notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// 催办: a deadline comes near.
    Reminder,
    /// 超时: a deadline has passed.
    Overdue,
    /// 升级: the next level of the grid is told.
    Escalation,
}

/// A word about a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Notice {
    /// What kind.
    pub kind: NoticeKind,
    /// Which deadline.
    pub milestone: Milestone,
    /// When it falls or fell due.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub due: Timestamp,
    /// Seconds until then, negative when it has passed.
    pub remaining_s: i64,
    /// Which level of the grid is told.
    pub level: GridLevel,
}
