//! Errors as problem documents (RFC 9457): what kind, what exactly, and nothing of the inside.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::incident::Refusal;
use crate::store::StoreError;

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:emberwatch:problem:stale-revision`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What exactly was wrong.
    pub detail: String,
}

impl Problem {
    /// Makes a problem of a status, a word that names its kind, and what exactly was wrong.
    pub fn new(status: StatusCode, word: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:emberwatch:problem:{word}"),
            title: word.replace('-', " "),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("there is no such {what}"),
        )
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    pub(crate) fn forbidden(word: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, word, detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Refusal::Store(error) = refusal {
            return Self::of_store(status, error);
        }
        Self::new(status, refusal.word(), refusal.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = if error.is_retryable() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self::of_store(status, &error)
    }
}

impl Problem {
    /// The message may name folders of this machine, so only the hint leaves; the log has it all.
    fn of_store(status: StatusCode, error: &StoreError) -> Self {
        tracing::error!(error = %crate::stages::publish::sink::Chain(error), "request could not be served");
        Self::new(status, "store", error.hint())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let media = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        if self.status == 401 {
            let scheme = HeaderValue::from_static("Bearer realm=\"emberwatch\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if self.status == 429 {
            let wait = HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}
