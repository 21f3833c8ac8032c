//! Drills over HTTP: whether one is on, and switching it. Incidents that are opened meanwhile are marked as part of it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Caller, Role};
use super::incidents::{audit, blocking, is_everywhere, json};
use super::problem::Problem;
use super::server::Shared;
use crate::store::AuditEntry;

/// Whether a drill is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drill {
    /// Whether what is opened from now on belongs to a drill.
    pub(crate) on: bool,
}

/// Says whether a drill is on.
#[utoipa::path(get, path = "/api/v1/drill", tag = "drill",
    responses((status = 200, description = "Whether a drill is on", body = ref("#/components/schemas/Drill"))),
    security(("token" = [])))]
pub(crate) async fn get(State(shared): State<Arc<Shared>>) -> Response {
    let on = shared.desk.is_drill();
    json(StatusCode::OK, &Drill { on })
}

/// Begins or ends a drill.
#[utoipa::path(put, path = "/api/v1/drill", tag = "drill",
    request_body(content = ref("#/components/schemas/Drill"), content_type = "application/json"),
    responses(
        (status = 200, description = "As asked for", body = ref("#/components/schemas/Drill")),
        (status = 400, description = "Not understood", body = ref("#/components/schemas/Problem")),
        (status = 403, description = "Not an operator of the whole area", body = ref("#/components/schemas/Problem")),
        (status = 503, description = "The store cannot be written", body = ref("#/components/schemas/Problem")),
    ),
    security(("token" = [])))]
pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, Problem> {
    let outcome = set(&shared, &caller, &body).await;
    let entry = AuditEntry {
        at: shared.clock.wall(),
        actor: caller.actor(),
        action: "drill".to_owned(),
        subject: outcome
            .as_ref()
            .map_or("?", |drill| if drill.on { "on" } else { "off" })
            .to_owned(),
        done: outcome.is_ok(),
        detail: outcome.as_ref().err().map(|problem| problem.detail.clone()),
    };
    audit(shared.desk.store(), entry).await?;
    outcome.map(|drill| json(StatusCode::OK, &drill))
}

async fn set(shared: &Arc<Shared>, caller: &Caller, body: &[u8]) -> Result<Drill, Problem> {
    // A drill hides real fires from whoever leaves drills out: it takes the whole area's operator.
    if caller.role != Role::Operator || !is_everywhere(&caller.area) {
        return Err(Problem::forbidden(
            "wrong-role",
            "a drill is switched by an operator of the whole area",
        ));
    }
    let drill: Drill = serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!("expected {{\"on\": true}} or {{\"on\": false}}: {error}"))
    })?;
    let desk = shared.desk.clone();
    blocking(move || desk.set_drill(drill.on)).await?;
    Ok(drill)
}
