//! Where an incident is in its life, and why it left the way to the end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an incident is in its life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// 疑似: a model says so, nobody has judged it.
    Suspected,
    /// 确认: a person or a rule says that it burns.
    Confirmed,
    /// 派单: handed to a team.
    Dispatched,
    /// 退单: the team gave it back, or says that it lies in another's area.
    Returned,
    /// 签收: the team took it.
    Accepted,
    /// 到场: the team is there.
    OnScene,
    /// 扑灭: the fire is out.
    Extinguished,
    /// 销号: checked and closed.
    Closed,
    /// 误报: it was no fire, or none to act on.
    Rejected,
    /// 并案: another incident took it in.
    Merged,
}

impl State {
    /// Every state, in the order of the enumeration.
    pub const ALL: [Self; 10] = [
        Self::Suspected,
        Self::Confirmed,
        Self::Dispatched,
        Self::Returned,
        Self::Accepted,
        Self::OnScene,
        Self::Extinguished,
        Self::Closed,
        Self::Rejected,
        Self::Merged,
    ];

    /// Returns the word used in events, commands and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspected => "suspected",
            Self::Confirmed => "confirmed",
            Self::Dispatched => "dispatched",
            Self::Returned => "returned",
            Self::Accepted => "accepted",
            Self::OnScene => "on_scene",
            Self::Extinguished => "extinguished",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
            Self::Merged => "merged",
        }
    }

    /// Returns the word that Chinese readers know.
    #[must_use]
    pub const fn name_zh(self) -> &'static str {
        match self {
            Self::Suspected => "疑似",
            Self::Confirmed => "确认",
            Self::Dispatched => "派单",
            Self::Returned => "退单",
            Self::Accepted => "签收",
            Self::OnScene => "到场",
            Self::Extinguished => "扑灭",
            Self::Closed => "销号",
            Self::Rejected => "误报",
            Self::Merged => "并案",
        }
    }

    /// Returns whether somebody still has to do something about it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Closed | Self::Rejected | Self::Merged)
    }

    /// Returns whether the fire may still burn: open and not put out.
    #[must_use]
    pub const fn is_burning(self) -> bool {
        self.is_open() && !matches!(self, Self::Extinguished)
    }

    /// Returns how far along the way to the end this is; a later state implies the earlier milestones.
    /// None where the incident has left that way.
    #[must_use]
    pub const fn rank(self) -> Option<u8> {
        match self {
            Self::Suspected => Some(0),
            Self::Confirmed => Some(1),
            Self::Dispatched => Some(2),
            Self::Accepted => Some(3),
            Self::OnScene => Some(4),
            Self::Extinguished => Some(5),
            Self::Closed => Some(6),
            Self::Returned | Self::Rejected | Self::Merged => None,
        }
    }

    /// Returns the states that a person, a rule or the dispatch system may move it to. Steps may be left out on the
    /// way forward (a team reports "on scene" without having accepted); none may be taken back. Leaving an end
    /// (re-ignition, a wrong rejection) is re-opening.
    #[must_use]
    pub const fn successors(self) -> &'static [Self] {
        match self {
            Self::Suspected => &[Self::Confirmed, Self::Rejected, Self::Merged],
            Self::Confirmed => &[
                Self::Dispatched,
                Self::OnScene,
                Self::Extinguished,
                Self::Rejected,
                Self::Merged,
            ],
            Self::Dispatched => &[
                Self::Accepted,
                Self::Returned,
                Self::OnScene,
                Self::Extinguished,
                Self::Rejected,
                Self::Merged,
            ],
            Self::Returned => &[Self::Dispatched, Self::Rejected, Self::Merged],
            Self::Accepted => &[
                Self::OnScene,
                Self::Returned,
                Self::Extinguished,
                Self::Rejected,
                Self::Merged,
            ],
            Self::OnScene => &[Self::Extinguished, Self::Rejected, Self::Merged],
            Self::Extinguished => &[Self::Closed, Self::Confirmed],
            Self::Closed => &[Self::Confirmed],
            Self::Rejected => &[Self::Suspected, Self::Confirmed],
            Self::Merged => &[],
        }
    }

    /// Returns whether it may be moved to `to`.
    #[must_use]
    pub fn may_become(self, to: Self) -> bool {
        self.successors().contains(&to)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why an incident was rejected.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// 居民烟囱: a household's chimney.
    HouseholdChimney,
    /// 祭祀: burning for the dead.
    Ritual,
    /// 许可焚烧: burning that is allowed there and then.
    PermittedBurn,
    /// 水汽: steam.
    Steam,
    /// 扬尘: dust.
    Dust,
    /// 雾: fog or haze.
    Fog,
    /// 反光: sunlight or a metal roof.
    Sunlight,
    /// 车灯: lights of a vehicle.
    VehicleLight,
    /// 演练: a drill.
    Drill,
    /// 重复: known under another incident.
    Duplicate,
    /// 辖区外: outside the area.
    OutOfArea,
    /// 现场未发现: nothing found on site.
    NotFoundOnSite,
    /// 其他: something else; a note says what.
    Other,
}

impl RejectReason {
    /// Every reason, in the order of the enumeration.
    pub const ALL: [Self; 13] = [
        Self::HouseholdChimney,
        Self::Ritual,
        Self::PermittedBurn,
        Self::Steam,
        Self::Dust,
        Self::Fog,
        Self::Sunlight,
        Self::VehicleLight,
        Self::Drill,
        Self::Duplicate,
        Self::OutOfArea,
        Self::NotFoundOnSite,
        Self::Other,
    ];

    /// Returns the word used in events, commands and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HouseholdChimney => "household_chimney",
            Self::Ritual => "ritual",
            Self::PermittedBurn => "permitted_burn",
            Self::Steam => "steam",
            Self::Dust => "dust",
            Self::Fog => "fog",
            Self::Sunlight => "sunlight",
            Self::VehicleLight => "vehicle_light",
            Self::Drill => "drill",
            Self::Duplicate => "duplicate",
            Self::OutOfArea => "out_of_area",
            Self::NotFoundOnSite => "not_found_on_site",
            Self::Other => "other",
        }
    }

    /// Returns the word that Chinese readers know.
    #[must_use]
    pub const fn name_zh(self) -> &'static str {
        match self {
            Self::HouseholdChimney => "居民烟囱",
            Self::Ritual => "祭祀",
            Self::PermittedBurn => "许可焚烧",
            Self::Steam => "水汽",
            Self::Dust => "扬尘",
            Self::Fog => "雾",
            Self::Sunlight => "反光",
            Self::VehicleLight => "车灯",
            Self::Drill => "演练",
            Self::Duplicate => "重复",
            Self::OutOfArea => "辖区外",
            Self::NotFoundOnSite => "现场未发现",
            Self::Other => "其他",
        }
    }
}

/// Why a team gave an incident back.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ReturnReason {
    /// 权属争议: the team says that it lies in another's area; somebody has to decide.
    DisputedArea,
    /// 无法到达: it cannot be reached.
    Unreachable,
    /// 力量不足: no people or means.
    NoResources,
    /// 其他: something else; a note says what.
    Other,
}

impl ReturnReason {
    /// Every reason, in the order of the enumeration.
    pub const ALL: [Self; 4] = [
        Self::DisputedArea,
        Self::Unreachable,
        Self::NoResources,
        Self::Other,
    ];

    /// Returns the word used in events, commands and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DisputedArea => "disputed_area",
            Self::Unreachable => "unreachable",
            Self::NoResources => "no_resources",
            Self::Other => "other",
        }
    }
}

/// A word that none of the known ones is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {word:?}, expected one of: {known}")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
    known: String,
}

fn parse<T: Copy>(
    what: &'static str,
    word: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, UnknownWord> {
    all.iter()
        .copied()
        .find(|&value| name(value) == word)
        .ok_or_else(|| UnknownWord {
            what,
            word: word.chars().take(64).collect(),
            known: all
                .iter()
                .map(|&value| name(value))
                .collect::<Vec<_>>()
                .join(", "),
        })
}

impl FromStr for State {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        parse("state", word, &Self::ALL, Self::name)
    }
}

impl FromStr for RejectReason {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        parse("reject reason", word, &Self::ALL, Self::name)
    }
}

impl FromStr for ReturnReason {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        parse("return reason", word, &Self::ALL, Self::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_as_what_it_was() {
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
            assert_eq!(
                serde_json::to_value(state).expect("a state is a string"),
                state.name()
            );
        }
        for reason in RejectReason::ALL {
            assert_eq!(reason.name().parse(), Ok(reason));
            assert_eq!(
                serde_json::to_value(reason).expect("a reason is a string"),
                reason.name()
            );
        }
        for reason in ReturnReason::ALL {
            assert_eq!(reason.name().parse(), Ok(reason));
        }
    }

    #[test]
    fn an_unknown_state_is_answered_with_the_known_ones() {
        let problem = "burning".parse::<State>().expect_err("no such state");
        assert!(problem.to_string().contains("on_scene"), "{problem}");
    }

    #[test]
    fn no_step_is_taken_back_but_by_reopening() {
        for from in State::ALL {
            for &to in from.successors() {
                if let (Some(before), Some(after)) = (from.rank(), to.rank()) {
                    let is_reopening = matches!(from, State::Extinguished | State::Closed);
                    assert!(after > before || is_reopening, "{from} to {to}");
                }
            }
        }
        assert!(State::Merged.successors().is_empty());
    }
}
