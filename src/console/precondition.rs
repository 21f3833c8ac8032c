//! Under which conditions a request is done: the revision it insists on, and only once under its key.

use std::sync::{Arc, PoisonError};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::access::Caller;
use super::problem::Problem;
use super::server::Shared;
use crate::flow::hash::hexadecimal;
use crate::flow::incident::IncidentId;

/// Longest idempotency key, in bytes.
const LONGEST_KEY_BYTES: usize = 200;

/// Returns the `ETag` of a revision.
pub(super) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Returns the revision that a caller insists on; none where any will do.
pub(super) fn parse_if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    if value.as_bytes() == b"*" {
        return Ok(None);
    }
    value
        .to_str()
        .ok()
        .and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Problem::bad_request("If-Match must be the ETag of a revision, such as \"3\" in quotes")
        })
}

/// Returns the key under which a request is remembered.
pub(super) fn idempotency_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY_BYTES)
        .ok_or_else(|| Problem::bad_request("Idempotency-Key must be 1 to 200 ASCII characters"))?;
    // Each caller has keys of its own: one cannot read another's answers by guessing.
    Ok(Some(format!("{}:{key}", caller.name)))
}

/// Returns what tells a request from another under the same key.
pub(super) fn fingerprint(id: IncidentId, expected: Option<u64>, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("POST {id} {expected:?}\n").as_bytes());
    hash.update(body);
    hexadecimal(&hash.finalize())
}

/// Holds an idempotency key while its request is served, so that the same request cannot overtake itself.
pub(super) struct KeyAtWork {
    shared: Arc<Shared>,
    key: String,
}

impl KeyAtWork {
    /// Claims a key; refused while another request holds it.
    pub(super) fn claim(shared: &Arc<Shared>, key: &str) -> Result<Self, Problem> {
        let mut keys = shared.keys_at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.insert(key.to_owned()) {
            let detail = "a request with this idempotency key is being served";
            return Err(Problem::new(StatusCode::CONFLICT, "key-in-use", detail));
        }
        Ok(Self {
            shared: Arc::clone(shared),
            key: key.to_owned(),
        })
    }
}

impl Drop for KeyAtWork {
    fn drop(&mut self) {
        let mut keys = self
            .shared
            .keys_at_work
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_a_revision_in_quotes_or_a_star() {
        let parsed = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
            parse_if_match(&headers)
        };
        assert_eq!(parsed("\"7\""), Ok(Some(7)));
        assert_eq!(parsed("*"), Ok(None));
        for wrong in ["7", "\"x\"", "W/\"7\"", ""] {
            assert_eq!(parsed(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
