//! The HTTP client that all sinks over HTTP share: guarded addresses, no redirects, a deadline, small answers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};

use super::address::{AddressPolicy, GuardedResolver};
use super::sink::{Failure, SinkError};
use crate::tls::{ClientTls, TlsError};

/// How much of an answer is kept for the log, in characters.
const REMEMBERED_CHARACTERS: usize = 300;

/// Largest answer that is read, in bytes.
const LARGEST_ANSWER_BYTES: usize = 64 * 1024;

/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Says why the client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The library refused the settings.
    #[error("HTTP client could not be made")]
    Client(#[from] reqwest::Error),
}

/// Makes a client that connects only where `policy` allows.
pub(crate) fn client(policy: AddressPolicy, tls: &ClientTls, timeout: Duration) -> Result<Client, HttpError> {
    let tls = tls.build()?;
    Ok(Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(GuardedResolver(Arc::new(policy))))
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(10)))
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .user_agent(concat!("emberwatch/", env!("CARGO_PKG_VERSION")))
        .build()?)
}

/// Turns a transport error into what it means; the address is left out, since it may hold a token.
pub(crate) fn transport(error: reqwest::Error) -> SinkError {
    let message = if error.is_timeout() {
        "no answer within the deadline"
    } else if error.is_connect() {
        "connection could not be made"
    } else {
        "request broke off before the answer"
    };
    SinkError::unreachable(message).because(error.without_url())
}

/// Reads an answer to its end, up to a limit; returns the body when the status says that the event was taken.
pub(crate) async fn accepted(mut response: Response, now: Timestamp) -> Result<String, SinkError> {
    let status = response.status();
    let wait = retry_after(response.headers(), now);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > LARGEST_ANSWER_BYTES {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    match failure(status) {
        None => Ok(body),
        Some(failure) => {
            let shown = body.chars().take(REMEMBERED_CHARACTERS).collect::<String>();
            let message = format!("server answered {status}: {shown:?}");
            Err(match failure {
                Failure::Gone => SinkError::gone(message),
                Failure::Busy => SinkError::busy(message).after(wait),
                Failure::Unreachable => SinkError::unreachable(message).after(wait),
                Failure::Refused => SinkError::refused(message),
            })
        }
    }
}

/// Says what a status means for the event; nothing when it was taken.
fn failure(status: StatusCode) -> Option<Failure> {
    match status {
        _ if status.is_success() => None,
        StatusCode::GONE => Some(Failure::Gone),
        // The door, not the event: a wrong token or a gateway without a server behind it is no reason to bury events.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Some(Failure::Unreachable),
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => Some(Failure::Busy),
        _ if status.is_server_error() => Some(Failure::Busy),
        _ => Some(Failure::Refused),
    }
}

/// Reads `Retry-After`, in seconds or as a date, up to an hour.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_not_a_number) => {
            let at = jiff::fmt::rfc2822::DateTimeParser::new()
                .parse_timestamp(text)
                .ok()?;
            Duration::try_from(at.duration_since(now)).ok()?
        }
    };
    Some(wait.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_to_do_next() {
        for (status, expected) in [
            (200, None),
            (202, None),
            (400, Some(Failure::Refused)),
            (302, Some(Failure::Refused)),
            (401, Some(Failure::Unreachable)),
            (410, Some(Failure::Gone)),
            (422, Some(Failure::Refused)),
            (429, Some(Failure::Busy)),
            (500, Some(Failure::Busy)),
            (503, Some(Failure::Unreachable)),
        ] {
            assert_eq!(
                failure(StatusCode::from_u16(status).unwrap()),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn a_server_may_ask_for_a_pause_in_seconds_or_until_a_date_but_not_for_a_year() {
        let now = "2025-12-05T08:42:00Z".parse().unwrap();
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            asked("Fri, 05 Dec 2025 08:42:30 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(asked("31536000"), Some(LONGEST_PAUSE));
        assert_eq!(asked("soon"), None);
    }
}
