//! A sink is where events go: one trait, one error that knows what to do next.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::flow::event::Event;

/// A boxed future, so that sinks can be chosen by configuration.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One event on its way to one sink.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Place in the outbox; grows with time.
    pub sequence: i64,
    /// Identifies the event; the same at every attempt, so that the receiver can drop repeats.
    pub id: String,
    /// `CloudEvents` type, such as `emberwatch.incident.confirmed.v1`.
    pub kind: String,
    /// The incident or source; events of one subject arrive in order.
    pub subject: String,
    /// When the event was written.
    pub time: Timestamp,
    /// The event as `CloudEvents` JSON in structured mode.
    pub body: Arc<str>,
    /// How often delivery was tried before.
    pub attempts: u32,
}

impl Delivery {
    /// Parses the body, for sinks that speak another language than `CloudEvents`.
    pub fn event(&self) -> Result<Event, SinkError> {
        serde_json::from_str(&self.body).map_err(|source| {
            SinkError::refused(format!("event {} cannot be read back from the outbox", self.id))
                .because(source)
        })
    }
}

/// Takes events out of the house.
pub trait Sink: Send + Sync {
    /// Delivers all of these (one, unless [`Sink::batch_size`] says otherwise) and returns once the other side has
    /// taken them.
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Returns how many events one call may hold; more than one makes a digest of what has waited.
    fn batch_size(&self) -> usize {
        1
    }

    /// Returns how many calls may run at the same time, each for another subject.
    fn concurrency(&self) -> usize {
        1
    }

    /// Returns how often the other side must be told again what it forgets after a time; none where it forgets nothing.
    fn refresh_every(&self) -> Option<Duration> {
        None
    }

    /// Tells again the newest of what was delivered about one subject; returns whether it is to be told once more later.
    /// Nobody waits for it: what fails is told with the next round.
    fn refresh<'a>(&'a self, _newest: &'a Delivery) -> BoxFuture<'a, Result<bool, SinkError>> {
        Box::pin(async { Ok(false) })
    }

    /// Says goodbye to the other side before the program ends.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// What a failed delivery means for the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other side cannot be reached at all: nobody's event is at fault, wait and try again for ever.
    Unreachable,
    /// The other side answered that it cannot take this event now.
    Busy,
    /// The other side will never take this event.
    Refused,
    /// The other side wants no more events.
    Gone,
}

/// Says why an event was not delivered.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    failure: Failure,
    message: String,
    retry_after: Option<Duration>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SinkError {
    fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self {
            failure,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// Makes an error for a server that cannot be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Failure::Unreachable, message)
    }

    /// Makes an error for a server that cannot take the event now.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::new(Failure::Busy, message)
    }

    /// Makes an error for an event that will never be taken.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Failure::Refused, message)
    }

    /// Makes an error for a receiver that wants no more events.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(Failure::Gone, message)
    }

    /// Adds the error underneath.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds how long the other side asked to be left alone.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Returns what the failure means.
    pub const fn failure(&self) -> Failure {
        self.failure
    }

    /// Returns whether trying again can help.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.failure, Failure::Unreachable | Failure::Busy)
    }

    /// Returns whether the sink must be switched off.
    pub const fn disables(&self) -> bool {
        matches!(self.failure, Failure::Gone)
    }

    /// Returns how long the other side asked to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the message with all that lies underneath, for a log line or the dead-letter list.
    pub fn chain(&self) -> String {
        Chain(self).to_string()
    }
}

/// Prints an error with its sources, joined by colons.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut below = self.0.source();
        while let Some(error) = below {
            write!(formatter, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}
