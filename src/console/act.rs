//! Acts as they come from outside: one JSON object, checked before anything is done.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::flow::incident::{Actor, IncidentId};
use crate::flow::pose::Wgs84;
use crate::stages::incident::{Act, Action};

/// Most files that one act may name.
const MOST_FILES: usize = 50;

/// An act without who does it and to what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ActRequest {
    /// What is done.
    #[serde(flatten)]
    pub(crate) action: Action,
    /// When it happened, if that was before now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub(crate) at: Option<Timestamp>,
    /// What the actor wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// SHA-256 of files of the incident that show it, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) evidence: Vec<String>,
    /// Where the actor was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Wgs84>,
}

impl ActRequest {
    /// Reads a request; every field must be known.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut object = serde_json::from_slice::<Map<String, Value>>(body).map_err(|error| {
            Problem::new(axum::http::StatusCode::BAD_REQUEST, "bad-json", error.to_string())
        })?;
        let request = Self {
            at: take(&mut object, "at")?,
            note: take(&mut object, "note")?,
            evidence: take::<Vec<String>>(&mut object, "evidence")?.unwrap_or_default(),
            place: take(&mut object, "place")?,
            // What is left must be the action and nothing else.
            action: parse_action(object)?,
        };
        if let Some(place) = request.place {
            let is_on_earth = (-90.0..=90.0).contains(&place.lat) && (-180.0..=180.0).contains(&place.lon);
            if !is_on_earth {
                return Err(invalid("`place` lies outside the Earth's degrees"));
            }
        }
        if request.evidence.len() > MOST_FILES {
            return Err(invalid("`evidence` names too many files"));
        }
        Ok(request)
    }

    /// Makes the act of it.
    pub(crate) fn into_act(self, incident: IncidentId, actor: Actor, expected_revision: Option<u64>) -> Act {
        Act {
            expected_revision,
            at: self.at,
            note: self.note,
            evidence: self.evidence,
            place: self.place,
            ..Act::new(incident, actor, self.action)
        }
    }
}

fn take<T: DeserializeOwned>(object: &mut Map<String, Value>, field: &str) -> Result<Option<T>, Problem> {
    object
        .remove(field)
        .filter(|value| !value.is_null())
        .map(|value| serde_json::from_value(value).map_err(|error| invalid(format!("`{field}`: {error}"))))
        .transpose()
}

fn parse_action(object: Map<String, Value>) -> Result<Action, Problem> {
    let given = object.keys().cloned().collect::<Vec<_>>();
    let action = serde_json::from_value::<Action>(Value::Object(object))
        .map_err(|error| invalid(error.to_string()))?;
    // An action without fields of its own would take any: serde does not look at what is beside the tag.
    let known = serde_json::to_value(&action).unwrap_or_default();
    match given.iter().find(|field| known.get(field.as_str()).is_none()) {
        Some(unknown) => {
            let unknown = unknown.chars().take(40).collect::<String>();
            Err(invalid(format!("unknown field `{unknown}`")))
        }
        None => Ok(action),
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(
        axum::http::StatusCode::UNPROCESSABLE_ENTITY,
        "invalid-request",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_read_whole() {
        let body = r#"{"action":"reject","reason":"steam","note":"白汽","at":"2025-12-05T08:42:00Z",
            "place":{"lat":35.1,"lon":113.2},"evidence":["ab"]}"#;
        let request = ActRequest::parse(body.as_bytes()).unwrap();
        assert_eq!(request.note.as_deref(), Some("白汽"));
        assert_eq!(request.action.word(), "reject");
    }

    #[test]
    fn bad_requests_get_clear_answers() {
        for (body, status, said) in [
            ("{", 400, "EOF"),
            ("[]", 400, "map"),
            ("{}", 422, "action"),
            (r#"{"action":"explode"}"#, 422, "explode"),
            (r#"{"action":"accept","colour":1}"#, 422, "colour"),
            (r#"{"action":"reject"}"#, 422, "reason"),
            (r#"{"action":"reject","reason":"aliens"}"#, 422, "aliens"),
            (r#"{"action":"accept","at":"yesterday"}"#, 422, "at"),
            (r#"{"action":"accept","place":{"lat":91,"lon":0}}"#, 422, "place"),
        ] {
            let problem = ActRequest::parse(body.as_bytes()).unwrap_err();
            assert_eq!(problem.status, status, "{body}");
            assert!(problem.detail.contains(said), "{body}: {}", problem.detail);
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ActRequest::parse(&body).is_err());
        }
    }
}
