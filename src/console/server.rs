//! Starts the HTTP interface and stops it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::access::{Caller, TokenConfig, Tokens};
use super::guard::Guard;
use super::problem::Problem;
use super::{drill, evidence, health, incidents, openapi, page, stream};
use crate::clock::Clock;
use crate::stages::incident::IncidentDesk;
use crate::tls::{ServerTls, TlsError};

/// Largest body of a request, in bytes.
const LARGEST_BODY_BYTES: usize = 64 * 1024;

/// How many listeners of server-sent events there may be at once.
const MOST_LISTENERS: usize = 64;

/// How many requests a minute may fail for want of a token, from one address.
const FAILURES_PER_MINUTE: u32 = 20;

/// Says where the HTTP interface listens and who may speak to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Address and port.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Who may speak; without any, only loopback is served.
    pub tokens: Vec<TokenConfig>,
    /// The certificate to show; plain HTTP where it is left out.
    pub tls: Option<ServerTls>,
    /// How many requests a minute one caller may make.
    pub requests_per_minute: u32,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tokens: Vec::new(),
            tls: None,
            requests_per_minute: 600,
        }
    }
}

/// What the rest of the program tells the HTTP interface.
#[derive(Clone)]
pub struct Hooks {
    /// Returns the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Returns whether the program does its work, or why not.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Returns what is known of every source.
    pub sources: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
}

/// Says why the HTTP interface could not start.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The address is open to others and there is no token.
    #[error("{listen} can be reached by others and no token is configured: add one, or listen on 127.0.0.1")]
    NoToken {
        /// The address.
        listen: SocketAddr,
    },
    /// A token's hash is not one.
    #[error(
        "token {name:?}: `sha256` must be 64 hexadecimal digits; `printf %s TOKEN | sha256sum` makes them"
    )]
    BadHash {
        /// Whose token.
        name: String,
    },
    /// The certificate could not be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address could not be bound.
    #[error("{listen} could not be listened on: is another program there?")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The runtime could not be made.
    #[error("threads for the HTTP interface could not be started")]
    Runtime(#[source] std::io::Error),
}

/// What every request handler needs.
pub(crate) struct Shared {
    pub(crate) desk: IncidentDesk,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: Hooks,
    pub(crate) tokens: Tokens,
    pub(crate) guard: Guard,
    pub(crate) failures: Guard,
    pub(crate) enqueued: watch::Receiver<u64>,
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) stopping: watch::Receiver<bool>,
    /// Idempotency keys of requests that are being served.
    pub(crate) keys_at_work: std::sync::Mutex<std::collections::HashSet<String>>,
}

/// The running HTTP interface. Dropping it stops it at once.
pub struct Console {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    stopping: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

/// Starts the HTTP interface of a desk.
pub fn start(
    config: &ConsoleConfig,
    desk: IncidentDesk,
    clock: Arc<dyn Clock>,
    hooks: Hooks,
) -> Result<Console, ConsoleError> {
    check(config)?;
    let tls = config.tls.as_ref().map(ServerTls::build).transpose()?;
    let bind = |source| ConsoleError::Bind {
        listen: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen).map_err(bind)?;
    listener.set_nonblocking(true).map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let (count, enqueued) = watch::channel(0_u64);
    desk.store()
        .on_enqueued(move || count.send_modify(|count| *count = count.wrapping_add(1)));
    let (stopping, is_stopping) = watch::channel(false);
    let per_minute = config.requests_per_minute;
    let shared = Arc::new(Shared {
        desk,
        clock,
        hooks,
        tokens: Tokens::new(config.tokens.clone()),
        guard: Guard::new(per_minute, per_minute.div_ceil(6)),
        failures: Guard::new(FAILURES_PER_MINUTE, FAILURES_PER_MINUTE),
        enqueued,
        listeners: Arc::new(Semaphore::new(MOST_LISTENERS)),
        stopping: is_stopping,
        keys_at_work: std::sync::Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("console")
        .enable_all()
        .build()
        .map_err(ConsoleError::Runtime)?;
    let handle = Handle::new();
    let service = router(shared).into_make_service_with_connect_info::<SocketAddr>();
    let serving = handle.clone();
    let inside = runtime.enter();
    let task = match tls {
        None => {
            let server = axum_server::from_tcp(listener).map_err(bind)?;
            let server = server
                .first_request_timeout(Duration::from_secs(10))
                .handle(serving);
            runtime.spawn(async move { report(server.serve(service).await) })
        }
        Some(tls) => {
            let server =
                axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(tls)).map_err(bind)?;
            let server = server
                .first_request_timeout(Duration::from_secs(10))
                .handle(serving);
            runtime.spawn(async move { report(server.serve(service).await) })
        }
    };
    drop(inside);
    tracing::info!(%address, tls = config.tls.is_some(), tokens = config.tokens.len(), "HTTP interface is open");
    Ok(Console {
        address,
        handle,
        stopping,
        task: Some(task),
        runtime: Some(runtime),
    })
}

fn check(config: &ConsoleConfig) -> Result<(), ConsoleError> {
    if config.tokens.is_empty() && !config.listen.ip().is_loopback() {
        return Err(ConsoleError::NoToken {
            listen: config.listen,
        });
    }
    for token in &config.tokens {
        if token.sha256.len() != 64 || !token.sha256.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ConsoleError::BadHash {
                name: token.name.clone(),
            });
        }
    }
    if config.tls.is_none() && !config.listen.ip().is_loopback() {
        tracing::warn!(listen = %config.listen, "tokens and evidence travel in clear: set `tls`, or put a proxy in front");
    }
    Ok(())
}

fn report(served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(%error, "HTTP interface ended");
    }
}

impl Console {
    /// Returns the address that is listened on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets running requests end within `deadline`, then stops.
    pub fn stop(mut self, deadline: Duration) {
        self.stopping.send_replace(true);
        self.handle.graceful_shutdown(Some(deadline));
        if let (Some(runtime), Some(task)) = (self.runtime.take(), self.task.take()) {
            let ended = runtime.block_on(async { tokio::time::timeout(deadline, task).await });
            if ended.is_err() {
                tracing::warn!("requests were cut off at the end");
            }
            runtime.shutdown_background();
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Wires every path.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let behind_token = Router::new()
        .route("/incidents", get(incidents::list))
        .route("/incidents/{id}", get(incidents::one))
        .route("/incidents/{id}/history", get(incidents::history))
        .route("/incidents/{id}/acts", post(incidents::act))
        .route("/evidence/{name}", get(evidence::file))
        .route("/drill", get(drill::get).put(drill::put))
        .route("/events", get(stream::events))
        .route("/sources", get(health::sources))
        .route("/sinks", get(health::sinks))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), admit))
        .layer(middleware::from_fn(explain));
    Router::new()
        .nest("/api/v1", behind_token)
        .route("/openapi.json", get(openapi::serve))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/", get(page::index))
        .fallback(async || Problem::not_found("path"))
        .method_not_allowed_fallback(async || method_not_allowed())
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .layer(middleware::from_fn(harden))
        .with_state(shared)
}

/// Lets a request in, with who makes it, or answers why not.
async fn admit(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let now = shared.clock.monotonic();
    let too_many = || {
        let status = axum::http::StatusCode::TOO_MANY_REQUESTS;
        Problem::new(status, "too-many-requests", "wait a little and try again").into_response()
    };
    if shared.tokens.is_empty() && !is_local_name(request.headers()) {
        // A page of another site that resolves its own name to loopback must not act as the operator.
        let problem = Problem::forbidden("wrong-host", "without tokens only localhost is served");
        return problem.into_response();
    }
    let authorization = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let caller = match shared.tokens.caller(authorization, shared.clock.wall()) {
        Ok(caller) => caller,
        Err(problem) => {
            let is_few = shared.failures.admit(&from.ip().to_string(), now);
            tracing::warn!(from = %from.ip(), detail = problem.detail, "request without a valid token");
            return if is_few {
                problem.into_response()
            } else {
                too_many()
            };
        }
    };
    if !shared.guard.admit(&caller.name, now) {
        return too_many();
    }
    request.extensions_mut().insert::<Caller>(caller);
    next.run(request).await
}

/// Turns what the library refuses by itself (a body that is too large, a path that is no text) into a problem document.
async fn explain(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_ours = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media == "application/problem+json");
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    match status {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            status,
            "too-large",
            format!("the body is larger than {LARGEST_BODY_BYTES} bytes"),
        ),
        axum::http::StatusCode::METHOD_NOT_ALLOWED => method_not_allowed(),
        axum::http::StatusCode::RANGE_NOT_SATISFIABLE => {
            // The size of the file stands in a header of this answer.
            return response;
        }
        _ => Problem::new(status, "bad-request", "the request was not understood"),
    }
    .into_response()
}

fn method_not_allowed() -> Problem {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "this path does not take this method",
    )
}

fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("localhost");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Adds the headers that keep browsers from guessing, framing, caching and loading anything from elsewhere.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; \
                  img-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", policy),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_without_a_token_is_refused() {
        let config = ConsoleConfig {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            ..ConsoleConfig::default()
        };
        assert!(matches!(check(&config), Err(ConsoleError::NoToken { .. })));
        assert!(check(&ConsoleConfig::default()).is_ok());
    }

    #[test]
    fn a_token_in_clear_in_place_of_its_hash_is_refused() {
        let config =
            toml::from_str::<ConsoleConfig>("[[tokens]]\nname = 'a'\nsha256 = 'hunter2'\nrole = 'viewer'");
        let error = check(&config.unwrap()).unwrap_err();
        assert!(matches!(error, ConsoleError::BadHash { .. }));
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn only_local_names_are_served_without_tokens() {
        let named = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_local_name(&headers)
        };
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
            assert!(named(host), "{host}");
        }
        for host in ["evil.example:8080", "10.0.0.1", "localhost.evil.example"] {
            assert!(!named(host), "{host}");
        }
    }
}
