//! A transition is one line in an incident's history: who did what, when, why and on which evidence.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{IncidentId, RejectReason, ReturnReason, State};
use crate::flow::pose::Wgs84;

/// What kind of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person at the console or the command line.
    Person,
    /// The dispatch system.
    Dispatch,
    /// A configured rule.
    Rule,
    /// The program itself.
    System,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// The person's, token's or rule's name.
    pub name: String,
}

impl Actor {
    /// Names a person.
    pub fn person(name: impl Into<String>) -> Self {
        Self {
            kind: ActorKind::Person,
            name: name.into(),
        }
    }

    /// Names a dispatch system.
    pub fn dispatch(name: impl Into<String>) -> Self {
        Self {
            kind: ActorKind::Dispatch,
            name: name.into(),
        }
    }

    /// Names a rule.
    pub fn rule(name: impl Into<String>) -> Self {
        Self {
            kind: ActorKind::Rule,
            name: name.into(),
        }
    }

    /// Returns the program itself.
    #[must_use]
    pub fn system() -> Self {
        Self {
            kind: ActorKind::System,
            name: "emberwatch".to_owned(),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransitionKind {
    /// The first report made it.
    Opened,
    /// Its state changed along the life cycle.
    Moved,
    /// It came back after it was over.
    Reopened,
    /// More was seen of it: a source, a better point, evidence.
    Updated,
    /// It was taken in by another incident, or took another in.
    Merged,
    /// Views were taken out of it, or it was made of views taken out of another.
    Split,
    /// Its grid cell, person or team was set by hand.
    Assigned,
    /// An item of its checklist was ticked.
    Checked,
    /// Evidence was put under legal hold, or released.
    Held,
    /// A deadline comes near.
    Reminded,
    /// A deadline has passed.
    Overdue,
    /// A passed deadline went to the next level of the grid.
    Escalated,
}

/// One line in an incident's history. It is never changed after it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Transition {
    /// Which incident.
    pub incident: IncidentId,
    /// The revision that this made.
    pub revision: u64,
    /// What happened.
    pub kind: TransitionKind,
    /// The state before; none when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// When it happened, as the actor says.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// When it was written down.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub recorded_at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject_reason: Option<RejectReason>,
    /// Why it was returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_reason: Option<ReturnReason>,
    /// What the actor wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// SHA-256 of the files that show it, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Where the actor was, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Wgs84>,
    /// Seconds until the next open deadline, negative when it has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_s: Option<i64>,
    /// The other incidents of a merge or split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<IncidentId>,
}
