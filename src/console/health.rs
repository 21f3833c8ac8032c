//! Health, metrics, sources and sinks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::incidents::{blocking, json};
use super::problem::Problem;
use super::server::Shared;

/// Says that the program runs.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It runs", body = String, content_type = "text/plain")))]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Says whether the program does its work.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "It does its work", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not, and why", body = ref("#/components/schemas/Problem")),
    ))]
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Result<&'static str, Problem> {
    match (shared.hooks.ready)() {
        Ok(()) => Ok("ready\n"),
        Err(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why)),
    }
}

/// Returns the metrics.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = (shared.hooks.metrics)();
    let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, media)], text).into_response()
}

/// Returns what is known of every source.
#[utoipa::path(get, path = "/api/v1/sources", tag = "sources",
    responses((status = 200, description = "One object a source")),
    security(("token" = [])))]
pub(crate) async fn sources(State(shared): State<Arc<Shared>>) -> Response {
    json(StatusCode::OK, &(shared.hooks.sources)())
}

/// Returns how every sink stands.
#[utoipa::path(get, path = "/api/v1/sinks", tag = "sinks",
    responses((status = 200, description = "How many events wait and how many were given up, by sink", body = ref("#/components/schemas/Sinks"))),
    security(("token" = [])))]
pub(crate) async fn sinks(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let store = shared.desk.store().clone();
    let sinks = blocking(move || store.sinks()).await?;
    Ok(json(StatusCode::OK, &sinks))
}
