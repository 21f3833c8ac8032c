//! What a person, the dispatch system or a rule can do to an incident.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::incident::{Actor, GridCell, IncidentId, RejectReason, ReturnReason};
use crate::flow::pose::Wgs84;
use crate::flow::source::SourceId;

/// What is done. The words are those of the HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "action", deny_unknown_fields)]
pub enum Action {
    /// 确认: it burns.
    Confirm,
    /// 误报: it does not burn, or is none to act on.
    Reject {
        /// Why.
        reason: RejectReason,
    },
    /// 派单: hands it to a team; again after it was returned.
    Dispatch {
        /// Which team; the grid cell's own if left out.
        #[serde(default)]
        team: Option<String>,
    },
    /// 签收: the team takes it.
    Accept,
    /// 退单: the team gives it back.
    Return {
        /// Why.
        reason: ReturnReason,
    },
    /// 到场: the team is there.
    Arrive,
    /// 扑灭: the fire is out.
    Extinguish,
    /// 销号: checked and closed.
    Close,
    /// 复燃: it burns again, or was rejected or closed by mistake.
    Reopen,
    /// 归属裁定: decides whose it is.
    Assign {
        /// The cell, with who is responsible.
        grid: GridCell,
    },
    /// Ticks an item of the checklist.
    Check {
        /// The item's name.
        item: String,
    },
    /// Writes something down without changing the state; `note` says what.
    Note,
    /// Keeps retention from deleting its evidence, or lets it again.
    Hold {
        /// Whether to keep it.
        keep: bool,
    },
    /// 并案: gives all it has to another incident and ends.
    Merge {
        /// The incident that goes on.
        into: IncidentId,
    },
    /// 拆分: makes an incident of its own of what these sources see.
    Split {
        /// The sources whose views go.
        sources: Vec<SourceId>,
    },
}

impl Action {
    /// Returns the word of the HTTP API, which also names it in the audit.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Reject { .. } => "reject",
            Self::Dispatch { .. } => "dispatch",
            Self::Accept => "accept",
            Self::Return { .. } => "return",
            Self::Arrive => "arrive",
            Self::Extinguish => "extinguish",
            Self::Close => "close",
            Self::Reopen => "reopen",
            Self::Assign { .. } => "assign",
            Self::Check { .. } => "check",
            Self::Note => "note",
            Self::Hold { .. } => "hold",
            Self::Merge { .. } => "merge",
            Self::Split { .. } => "split",
        }
    }
}

/// An action with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// On which incident.
    pub incident: IncidentId,
    /// The revision that the actor had before them; none to act on whatever it is by now.
    pub expected_revision: Option<u64>,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// When it happened, if that was before now.
    pub at: Option<Timestamp>,
    /// What the actor wrote.
    pub note: Option<String>,
    /// SHA-256 of files of the incident that show it, in hexadecimal.
    pub evidence: Vec<String>,
    /// Where the actor was.
    pub place: Option<Wgs84>,
}

impl Act {
    /// Makes an act that says no more than who does what.
    #[must_use]
    pub fn new(incident: IncidentId, actor: Actor, action: Action) -> Self {
        Self {
            incident,
            expected_revision: None,
            actor,
            action,
            at: None,
            note: None,
            evidence: Vec::new(),
            place: None,
        }
    }
}
