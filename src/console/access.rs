//! Who may do what: tokens by their hash, with a role, an area and an end.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use crate::flow::hash::hexadecimal;
use crate::flow::incident::{Actor, GridCell, Incident};
use crate::stages::incident::Action;
use crate::store::Area;

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads incidents, evidence and sources.
    Viewer,
    /// Reads, and says what became of an incident that was dispatched.
    Dispatch,
    /// Does everything to incidents.
    Operator,
}

/// A token as it is configured: never itself, only its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Who bears it; stands in the history and the audit.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal.
    pub sha256: String,
    /// What its bearer may do.
    pub role: Role,
    /// Which part of the grid its bearer sees; everything where it is left out.
    #[serde(default)]
    pub area: Area,
    /// When it ends.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub expires: Option<Timestamp>,
}

/// Returns the hash of a token, as it is configured.
#[must_use]
pub fn hash_token(token: &str) -> String {
    hexadecimal(&Sha256::digest(token.as_bytes()))
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) area: Area,
}

/// All tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens(Vec<TokenConfig>);

impl Tokens {
    pub(crate) fn new(tokens: Vec<TokenConfig>) -> Self {
        Self(tokens)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds who speaks. Without any token configured, whoever reaches the loopback address is the operator.
    pub(crate) fn caller(&self, authorization: Option<&str>, now: Timestamp) -> Result<Caller, Problem> {
        if self.is_empty() {
            return Ok(Caller {
                name: "local".to_owned(),
                role: Role::Operator,
                area: Area::default(),
            });
        }
        let refuse =
            |detail: &str| Problem::new(axum::http::StatusCode::UNAUTHORIZED, "unauthorized", detail);
        let given = authorization
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| refuse("expected the header `Authorization: Bearer TOKEN`"))?;
        let hash = hash_token(given);
        // Comparing hashes takes the same time whatever the token: an early end says nothing about it.
        let token = self
            .0
            .iter()
            .find(|token| token.sha256.eq_ignore_ascii_case(&hash))
            .ok_or_else(|| refuse("this token is not known"))?;
        if token.expires.is_some_and(|expires| expires <= now) {
            return Err(refuse("this token has expired"));
        }
        Ok(Caller {
            name: token.name.clone(),
            role: token.role,
            area: token.area.clone(),
        })
    }
}

impl Caller {
    /// Returns the caller as the history and the audit name it.
    pub(crate) fn actor(&self) -> Actor {
        match self.role {
            Role::Dispatch => Actor::dispatch(&self.name),
            Role::Viewer | Role::Operator => Actor::person(&self.name),
        }
    }

    /// Checks that an incident lies in the caller's area.
    pub(crate) fn check_area(&self, incident: &Incident) -> Result<(), Problem> {
        self.check_cell(incident.grid.as_ref())
    }

    /// Checks that a cell lies in the caller's area; no cell lies only in the whole world.
    pub(crate) fn check_cell(&self, cell: Option<&GridCell>) -> Result<(), Problem> {
        if area_holds(&self.area, cell) {
            return Ok(());
        }
        Err(Problem::forbidden(
            "wrong-area",
            "this lies outside the area that your token is for",
        ))
    }

    /// Checks that the role allows an action.
    pub(crate) fn check_action(&self, action: &Action) -> Result<(), Problem> {
        let allowed = match self.role {
            Role::Operator => true,
            Role::Viewer => false,
            Role::Dispatch => matches!(
                action,
                Action::Accept
                    | Action::Return { .. }
                    | Action::Arrive
                    | Action::Extinguish
                    | Action::Check { .. }
                    | Action::Note
            ),
        };
        if allowed {
            return Ok(());
        }
        Err(Problem::forbidden(
            "wrong-role",
            "your token does not allow this action",
        ))
    }

    /// Narrows a wish to the caller's area.
    pub(crate) fn narrow(&self, wish: Area) -> Result<Area, Problem> {
        let level = |wished: Option<String>, bound: &Option<String>| match (wished, bound) {
            (Some(wished), Some(bound)) if wished != *bound => Err(Problem::forbidden(
                "wrong-area",
                "this lies outside the area that your token is for",
            )),
            (wished, bound) => Ok(wished.or_else(|| bound.clone())),
        };
        Ok(Area {
            district: level(wish.district, &self.area.district)?,
            township: level(wish.township, &self.area.township)?,
            village: level(wish.village, &self.area.village)?,
        })
    }
}

fn area_holds(area: &Area, cell: Option<&GridCell>) -> bool {
    let level =
        |wanted: &Option<String>, found: Option<&String>| wanted.is_none() || wanted.as_ref() == found;
    level(&area.district, cell.and_then(|cell| cell.district.as_ref()))
        && level(&area.township, cell.and_then(|cell| cell.township.as_ref()))
        && level(&area.village, cell.and_then(|cell| cell.village.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn tokens(role: Role, expires: Option<Timestamp>) -> Tokens {
        Tokens::new(vec![TokenConfig {
            name: "somebody".to_owned(),
            sha256: hash_token("secret"),
            role,
            area: Area {
                township: Some("阳庙镇".to_owned()),
                ..Area::default()
            },
            expires,
        }])
    }

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        assert_eq!(
            hash_token("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let tokens = tokens(Role::Viewer, None);
        assert_eq!(
            tokens.caller(Some("Bearer secret"), now()).unwrap().name,
            "somebody"
        );
        for wrong in [
            None,
            Some("Bearer wrong"),
            Some("secret"),
            Some("Basic secret"),
            Some("Bearer "),
        ] {
            assert_eq!(tokens.caller(wrong, now()).unwrap_err().status, 401, "{wrong:?}");
        }
    }

    #[test]
    fn an_expired_token_is_refused() {
        let tokens = tokens(Role::Viewer, Some(now()));
        let problem = tokens.caller(Some("Bearer secret"), now()).unwrap_err();
        assert!(problem.detail.contains("expired"));
    }

    #[test]
    fn the_dispatch_system_reports_and_does_not_judge() {
        let caller = tokens(Role::Dispatch, None)
            .caller(Some("Bearer secret"), now())
            .unwrap();
        assert!(caller.check_action(&Action::Arrive).is_ok());
        assert_eq!(caller.check_action(&Action::Confirm).unwrap_err().status, 403);
        assert_eq!(caller.actor(), Actor::dispatch("somebody"));
    }

    #[test]
    fn a_wish_is_narrowed_to_the_area_of_the_token_and_never_widened() {
        let caller = tokens(Role::Viewer, None)
            .caller(Some("Bearer secret"), now())
            .unwrap();
        let narrowed = caller.narrow(Area::default()).unwrap();
        assert_eq!(narrowed.township.as_deref(), Some("阳庙镇"));
        let other = Area {
            township: Some("别的镇".to_owned()),
            ..Area::default()
        };
        assert_eq!(caller.narrow(other).unwrap_err().status, 403);
        assert_eq!(caller.check_cell(None).unwrap_err().status, 403);
    }
}
