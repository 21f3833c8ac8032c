//! Incidents over HTTP: list, read, act.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::act::ActRequest;
use super::precondition::{KeyAtWork, etag, fingerprint, idempotency_key, parse_if_match};
use super::problem::Problem;
use super::server::Shared;
use crate::flow::incident::{Incident, IncidentId};
use crate::stages::incident::Action;
use crate::store::{
    Area, AuditEntry, HistoryLine, IncidentFilter, PageMark, RememberedAnswer, Store, StoreError,
};

/// A page of incidents, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct IncidentList {
    /// The incidents.
    pub(crate) incidents: Vec<Incident>,
    /// Given as `after`, goes on behind this page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// What an act made of an incident.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ActAnswer {
    /// The incident as it stands now.
    pub(crate) incident: Incident,
    /// Every incident that changed; empty where it was already what was asked for.
    pub(crate) changed: Vec<Incident>,
}

/// Lists incidents.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "incidents",
    params(
        ("state" = Option<String>, Query, description = "States, separated by commas"),
        ("district" = Option<String>, Query, description = "District (区)"),
        ("township" = Option<String>, Query, description = "Township (乡镇)"),
        ("village" = Option<String>, Query, description = "Village (村)"),
        ("opened_from" = Option<String>, Query, description = "Opened at or after, RFC 3339"),
        ("opened_before" = Option<String>, Query, description = "Opened before, RFC 3339"),
        ("drill" = Option<bool>, Query, description = "Whether they belong to a drill"),
        ("late" = Option<bool>, Query, description = "Whether they came late"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 100 if left out"),
    ),
    responses(
        (status = 200, description = "A page of incidents, newest first", body = ref("#/components/schemas/IncidentList")),
        (status = 400, description = "A parameter was not understood", body = ref("#/components/schemas/Problem")),
        (status = 403, description = "Outside the token's area", body = ref("#/components/schemas/Problem")),
    ),
    security(("token" = [])))]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut filter = parse_query(query.as_deref().unwrap_or_default())?;
    filter.area = caller.narrow(filter.area)?;
    let store = shared.desk.store().clone();
    let page = blocking(move || store.incidents(&filter)).await?;
    let list = IncidentList {
        incidents: page.incidents,
        next: page.next.map(|mark| format!("{}_{}", mark.opened_ms, mark.id)),
    };
    Ok(json(StatusCode::OK, &list))
}

/// Reads one incident.
#[utoipa::path(get, path = "/api/v1/incidents/{id}", tag = "incidents",
    params(("id" = String, Path, description = "The incident's id"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the revision that is known")),
    responses(
        (status = 200, description = "The incident; `ETag` is its revision", body = ref("#/components/schemas/Incident")),
        (status = 304, description = "Not changed"),
        (status = 403, description = "Outside the token's area", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "No such incident", body = ref("#/components/schemas/Problem")),
    ),
    security(("token" = [])))]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let incident = find(&shared, &caller, parse_id(&id)?).await?;
    let tag = etag(incident.revision);
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mut response = json(StatusCode::OK, &incident);
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// Reads the history of an incident.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/history", tag = "incidents",
    params(("id" = String, Path, description = "The incident's id")),
    responses(
        (status = 200, description = "Its history, oldest first", body = ref("#/components/schemas/History")),
        (status = 403, description = "Outside the token's area", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "No such incident", body = ref("#/components/schemas/Problem")),
    ),
    security(("token" = [])))]
pub(crate) async fn history(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    find(&shared, &caller, id).await?;
    let store = shared.desk.store().clone();
    let lines: Vec<HistoryLine> = blocking(move || store.history(id)).await?;
    Ok(json(StatusCode::OK, &lines))
}

/// Does something to an incident: confirm, dispatch, accept, merge, split and the like.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/acts", tag = "incidents",
    params(("id" = String, Path, description = "The incident's id"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the revision that the actor had before them"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and request get the same answer and change nothing, for 24 hours")),
    request_body(content = ref("#/components/schemas/ActRequest"), content_type = "application/json"),
    responses(
        (status = 200, description = "Done, or already so", body = ref("#/components/schemas/ActAnswer")),
        (status = 400, description = "Not JSON", body = ref("#/components/schemas/Problem")),
        (status = 403, description = "Outside the token's role or area", body = ref("#/components/schemas/Problem")),
        (status = 404, description = "No such incident", body = ref("#/components/schemas/Problem")),
        (status = 409, description = "The life cycle has no such step", body = ref("#/components/schemas/Problem")),
        (status = 412, description = "Somebody changed it first", body = ref("#/components/schemas/Problem")),
        (status = 413, description = "Body too large"),
        (status = 422, description = "Not understood", body = ref("#/components/schemas/Problem")),
        (status = 503, description = "The store cannot be written", body = ref("#/components/schemas/Problem")),
    ),
    security(("token" = [])))]
pub(crate) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    let expected = parse_if_match(&headers)?;
    let Some(key) = idempotency_key(&headers, &caller)? else {
        return Ok(answer(perform(&shared, &caller, id, expected, &body).await).into_response());
    };
    let _at_work = KeyAtWork::claim(&shared, &key)?;
    let fingerprint = fingerprint(id, expected, &body);
    let (store, wanted, now) = (shared.desk.store().clone(), key.clone(), shared.clock.wall());
    if let Some(before) = blocking(move || store.remembered_answer(&wanted, now)).await? {
        if before.fingerprint != fingerprint {
            let detail = "this idempotency key was used for another request";
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                detail,
            ));
        }
        let status = StatusCode::from_u16(before.status).unwrap_or(StatusCode::OK);
        let mut response = Answer {
            status,
            body: before.body,
        }
        .into_response();
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert("idempotency-replayed", replayed);
        return Ok(response);
    }
    let answer = answer(perform(&shared, &caller, id, expected, &body).await);
    if !answer.status.is_server_error() {
        let remembered = RememberedAnswer {
            fingerprint,
            status: answer.status.as_u16(),
            body: answer.body.clone(),
            at: now,
        };
        let store = shared.desk.store().clone();
        blocking(move || store.remember_answer(&key, &remembered)).await?;
    }
    Ok(answer.into_response())
}

/// An answer as it is given and remembered.
struct Answer {
    status: StatusCode,
    body: String,
}

fn answer(outcome: Result<ActAnswer, Problem>) -> Answer {
    match outcome {
        Ok(done) => Answer {
            status: StatusCode::OK,
            body: serde_json::to_string(&done).unwrap_or_default(),
        },
        Err(problem) => Answer {
            status: problem.status(),
            body: serde_json::to_string(&problem).unwrap_or_default(),
        },
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        if !self.status.is_success()
            && let Ok(problem) = serde_json::from_str::<Problem>(&self.body)
        {
            return problem.into_response();
        }
        let revision = serde_json::from_str::<ActAnswer>(&self.body)
            .map(|answer| answer.incident.revision)
            .ok();
        let json = HeaderValue::from_static("application/json");
        let mut response = (self.status, [(header::CONTENT_TYPE, json)], self.body).into_response();
        if let Some(revision) = revision {
            response.headers_mut().insert(header::ETAG, etag(revision));
        }
        response
    }
}

/// Checks, acts, and writes the audit, whether it was done or refused.
pub(super) async fn perform(
    shared: &Arc<Shared>,
    caller: &Caller,
    id: IncidentId,
    expected: Option<u64>,
    body: &[u8],
) -> Result<ActAnswer, Problem> {
    let request = ActRequest::parse(body)?;
    let action = request.action.word().to_owned();
    let checked = check(shared, caller, id, &request.action).await;
    let outcome = if let Err(problem) = checked {
        Err(problem)
    } else {
        {
            let act = request.into_act(id, caller.actor(), expected);
            let desk = shared.desk.clone();
            let acted = tokio::task::spawn_blocking(move || desk.act(&act)).await;
            match acted {
                Ok(Ok(acted)) => Ok(ActAnswer {
                    incident: acted.incident,
                    changed: acted.changed,
                }),
                Ok(Err(refusal)) => Err(Problem::from(&refusal)),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    };
    let entry = AuditEntry {
        at: shared.clock.wall(),
        actor: caller.actor(),
        action,
        subject: id.to_string(),
        done: outcome.is_ok(),
        detail: outcome.as_ref().err().map(|problem| problem.detail.clone()),
    };
    let store = shared.desk.store().clone();
    let written = blocking(move || store.audit(&entry)).await;
    // What was refused stays refused; what was done is in the history too, so that the audit's failure undoes nothing.
    match (outcome, written) {
        (Ok(done), Err(problem)) => {
            tracing::error!(
                detail = problem.detail,
                "an act is in the history but not in the audit"
            );
            Ok(done)
        }
        (outcome, _) => outcome,
    }
}

async fn check(
    shared: &Arc<Shared>,
    caller: &Caller,
    id: IncidentId,
    action: &Action,
) -> Result<(), Problem> {
    caller.check_action(action)?;
    find(shared, caller, id).await?;
    if let Action::Merge { into } = action {
        find(shared, caller, *into).await?;
    }
    Ok(())
}

/// Reads an incident that the caller may see.
async fn find(shared: &Arc<Shared>, caller: &Caller, id: IncidentId) -> Result<Incident, Problem> {
    let store = shared.desk.store().clone();
    let incident = blocking(move || store.incident(id)).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-incident",
            format!("there is no incident {id}"),
        )
    })?;
    caller.check_area(&incident)?;
    Ok(incident)
}

fn parse_id(text: &str) -> Result<IncidentId, Problem> {
    text.parse()
        .map_err(|_error| Problem::bad_request("the incident's id must be a UUID"))
}

fn parse_query(query: &str) -> Result<IncidentFilter, Problem> {
    let mut filter = IncidentFilter::default();
    let wrong = |name: &str, expected: &str| Problem::bad_request(format!("`{name}` must be {expected}"));
    // Any base will do: only the query is read.
    let url = reqwest::Url::parse(&format!("http://localhost/?{query}"))
        .map_err(|_error| Problem::bad_request("the query was not understood"))?;
    for (name, value) in url.query_pairs() {
        let time = || {
            value
                .parse::<Timestamp>()
                .map_err(|_error| wrong(&name, "a time such as 2025-12-05T08:42:00Z"))
        };
        let truth = || {
            value
                .parse::<bool>()
                .map_err(|_error| wrong(&name, "true or false"))
        };
        match name.as_ref() {
            "state" => {
                for state in value.split(',') {
                    let state = state
                        .parse()
                        .map_err(|error| Problem::bad_request(format!("{error}")))?;
                    filter.states.push(state);
                }
            }
            "district" => filter.area.district = Some(value.into_owned()),
            "township" => filter.area.township = Some(value.into_owned()),
            "village" => filter.area.village = Some(value.into_owned()),
            "opened_from" => filter.opened_from = Some(time()?),
            "opened_before" => filter.opened_before = Some(time()?),
            "drill" => filter.drill = Some(truth()?),
            "late" => filter.late = Some(truth()?),
            "after" => {
                filter.after = Some(parse_mark(&value).ok_or_else(|| wrong("after", "`next` of a page"))?);
            }
            "limit" => {
                filter.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=1000).contains(limit))
                    .ok_or_else(|| wrong("limit", "1 to 1000"))?;
            }
            other => {
                let other = other.chars().take(40).collect::<String>();
                return Err(Problem::bad_request(format!("parameter {other:?} is not known")));
            }
        }
    }
    Ok(filter)
}

fn parse_mark(text: &str) -> Option<PageMark> {
    let (opened_ms, id) = text.split_once('_')?;
    Some(PageMark {
        opened_ms: opened_ms.parse().ok()?,
        id: id.parse().ok()?,
    })
}

/// Answers with JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let json = HeaderValue::from_static("application/json");
            (status, [(header::CONTENT_TYPE, json)], body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "see the log").into_response()
        }
    }
}

/// Runs work on the store where it delays no other request.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Problem::from),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Returns whether every level of `area` is open: the whole world.
#[must_use]
pub(super) fn is_everywhere(area: &Area) -> bool {
    *area == Area::default()
}

/// Writes a line into the audit before something is shown; what cannot be written down is not shown.
pub(super) async fn audit(store: &Store, entry: AuditEntry) -> Result<(), Problem> {
    let store = store.clone();
    blocking(move || store.audit(&entry)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_whole_or_refused_by_name() {
        let filter =
            parse_query("state=confirmed,on_scene&township=%E9%98%B3%E5%BA%99%E9%95%87&limit=5").unwrap();
        assert_eq!(filter.states.len(), 2);
        assert_eq!(filter.area.township.as_deref(), Some("阳庙镇"));
        for (query, said) in [
            ("state=burning", "burning"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("after=x", "after"),
            ("colour=red", "colour"),
            ("drill=maybe", "drill"),
            ("opened_from=now", "opened_from"),
        ] {
            assert!(parse_query(query).unwrap_err().detail.contains(said), "{query}");
        }
    }
}
