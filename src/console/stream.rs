//! Server-sent events: every event as it enters the outbox, from where the listener left off.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::response::Response;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::access::Caller;
use super::incidents::{blocking, is_everywhere};
use super::problem::Problem;
use super::server::Shared;
use crate::flow::event::Event;
use crate::store::OutboxEvent;

/// How many events are read from the outbox at once.
const BATCH: u32 = 100;

/// How often the outbox is looked at when nobody says that there is something: another program may have put it there.
const POLL: Duration = Duration::from_secs(2);

/// Streams events.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<i64>, Header, description = "Goes on behind this event; with the next new one if left out")),
    responses(
        (status = 200, description = "Each message is a CloudEvent in its JSON; `id` is its place in the outbox", content_type = "text/event-stream"),
        (status = 503, description = "Too many listeners", body = ref("#/components/schemas/Problem")),
    ),
    security(("token" = [])))]
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let permit = Arc::clone(&shared.listeners)
        .try_acquire_owned()
        .map_err(|_full| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Problem::new(
                status,
                "too-many-listeners",
                "close another stream of events first",
            )
        })?;
    let after = if let Some(value) = headers.get("last-event-id") {
        value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|seq| *seq >= 0)
            .ok_or_else(|| Problem::bad_request("Last-Event-ID must be the id of an event"))?
    } else {
        let store = shared.desk.store().clone();
        blocking(move || store.newest_event()).await?
    };
    let listener = Listener {
        enqueued: shared.enqueued.clone(),
        stopping: shared.stopping.clone(),
        shared,
        caller,
        after,
        read: Vec::new().into_iter(),
        _permit: permit,
    };
    let messages = stream::unfold(listener, |mut listener| async move {
        let message = listener.next().await?;
        Some((Ok::<_, Infallible>(message), listener))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(messages).keep_alive(keep_alive).into_response())
}

struct Listener {
    shared: Arc<Shared>,
    caller: Caller,
    after: i64,
    read: std::vec::IntoIter<OutboxEvent>,
    enqueued: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// Returns the next event that the caller may see; nothing when the program stops.
    async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some(event) = self.read.next() {
                self.after = event.seq;
                if self.may_see(&event) {
                    return Some(message(&event));
                }
            }
            if *self.stopping.borrow() {
                return None;
            }
            self.enqueued.mark_unchanged();
            let (store, after) = (self.shared.desk.store().clone(), self.after);
            match blocking(move || store.events_after(after, BATCH)).await {
                Ok(events) if !events.is_empty() => {
                    self.read = events.into_iter();
                    continue;
                }
                Ok(_nothing) => {}
                Err(problem) => {
                    tracing::warn!(detail = problem.detail, "events could not be read for a listener");
                }
            }
            tokio::select! {
                changed = self.enqueued.changed() => {
                    if changed.is_err() {
                        tokio::time::sleep(POLL).await;
                    }
                }
                () = stopped(&mut self.stopping) => return None,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    fn may_see(&self, event: &OutboxEvent) -> bool {
        if is_everywhere(&self.caller.area) {
            return true;
        }
        let Ok(event) = serde_json::from_str::<Event>(&event.body) else {
            return false;
        };
        match event.incident() {
            Some(feature) => self.caller.check_cell(feature.properties.grid.as_ref()).is_ok(),
            // That a camera is blind is everybody's concern.
            None => true,
        }
    }
}

/// Waits until the program stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The guard that this returns must not live on: it is no thread's to carry. A sender that is gone has stopped.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

fn message(event: &OutboxEvent) -> Message {
    Message::default()
        .id(event.seq.to_string())
        .event(&event.kind)
        .data(&event.body)
}
