//! A link joins two stages: bounded, named, and telling how full it is and how long senders waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};
use tracing::warn;

use crate::clock::Clock;

/// A sender that waits longer than this says so by name.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a link tells about itself.
#[derive(Debug)]
pub struct LinkStats {
    name: String,
    capacity: usize,
    sent: AtomicU64,
    received: AtomicU64,
    blocked_ns: AtomicU64,
}

impl LinkStats {
    /// Returns the link's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how many items fit.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns how many items went in.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns how many items lie in it; never more than fit.
    #[must_use]
    pub fn depth(&self) -> u64 {
        let received = self.received.load(Ordering::Acquire);
        self.sent.load(Ordering::Acquire).saturating_sub(received)
    }

    /// Returns how long senders have waited in all.
    #[must_use]
    pub fn blocked(&self) -> Duration {
        Duration::from_nanos(self.blocked_ns.load(Ordering::Relaxed))
    }
}

/// The sending end. Clones feed the same link; the link closes when the last one is dropped.
pub struct LinkSender<T> {
    inner: Sender<T>,
    stats: Arc<LinkStats>,
    clock: Arc<dyn Clock>,
}

impl<T> Clone for LinkSender<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            stats: Arc::clone(&self.stats),
            clock: Arc::clone(&self.clock),
        }
    }
}

/// The item that could not be sent: nobody receives any more.
#[derive(Debug)]
pub struct Closed<T>(pub T);

impl<T> LinkSender<T> {
    /// Sends one item, waiting while the link is full; a wait of 5 s is reported by the link's name.
    pub fn send(&self, item: T) -> Result<(), Closed<T>> {
        let mut item = match self.inner.try_send(item) {
            Ok(()) => {
                self.stats.sent.fetch_add(1, Ordering::AcqRel);
                return Ok(());
            }
            Err(TrySendError::Disconnected(item)) => return Err(Closed(item)),
            Err(TrySendError::Full(item)) => item,
        };
        let began = self.clock.monotonic();
        let sent = loop {
            match self.inner.send_timeout(item, PATIENCE) {
                Ok(()) => break Ok(()),
                Err(SendTimeoutError::Disconnected(item)) => break Err(Closed(item)),
                Err(SendTimeoutError::Timeout(back)) => {
                    item = back;
                    let waited = self.clock.monotonic().since(began);
                    warn!(link = %self.stats.name, waited_s = waited.as_secs(), "the next stage does not take");
                }
            }
        };
        let waited = self.clock.monotonic().since(began);
        self.stats.blocked_ns.fetch_add(
            u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        if sent.is_ok() {
            self.stats.sent.fetch_add(1, Ordering::AcqRel);
        }
        sent
    }

    /// Returns what the link tells about itself.
    #[must_use]
    pub fn stats(&self) -> Arc<LinkStats> {
        Arc::clone(&self.stats)
    }
}

/// The receiving end.
pub struct LinkReceiver<T> {
    inner: Receiver<T>,
    stats: Arc<LinkStats>,
}

impl<T> Clone for LinkReceiver<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            stats: Arc::clone(&self.stats),
        }
    }
}

/// What came out of a link.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// An item.
    Item(T),
    /// Nothing within the time.
    Nothing,
    /// Nothing will ever come again.
    Closed,
}

impl<T> LinkReceiver<T> {
    /// Waits for the next item; `None` when the link is closed and empty.
    #[must_use]
    pub fn receive(&self) -> Option<T> {
        let item = self.inner.recv().ok()?;
        self.stats.received.fetch_add(1, Ordering::AcqRel);
        Some(item)
    }

    /// Waits for the next item, at most `timeout`.
    #[must_use]
    pub fn receive_within(&self, timeout: Duration) -> Received<T> {
        match self.inner.recv_timeout(timeout) {
            Ok(item) => {
                self.stats.received.fetch_add(1, Ordering::AcqRel);
                Received::Item(item)
            }
            Err(RecvTimeoutError::Timeout) => Received::Nothing,
            Err(RecvTimeoutError::Disconnected) => Received::Closed,
        }
    }

    /// Returns what the link tells about itself.
    #[must_use]
    pub fn stats(&self) -> Arc<LinkStats> {
        Arc::clone(&self.stats)
    }
}

/// Makes a link that holds at most `capacity` items.
#[must_use]
pub fn link<T>(
    name: impl Into<String>,
    capacity: usize,
    clock: Arc<dyn Clock>,
) -> (LinkSender<T>, LinkReceiver<T>) {
    let (sender, receiver) = bounded(capacity);
    let stats = Arc::new(LinkStats {
        name: name.into(),
        capacity,
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        blocked_ns: AtomicU64::new(0),
    });
    (
        LinkSender {
            inner: sender,
            stats: Arc::clone(&stats),
            clock,
        },
        LinkReceiver {
            inner: receiver,
            stats,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    #[test]
    fn a_link_holds_no_more_than_its_capacity() {
        let (sender, receiver) = link("test", 2, clock());
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(sender.stats().depth(), 2);
        let blocked = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sender.send(3).is_ok());
            assert_eq!(receiver.receive(), Some(1));
            waiting.join().unwrap()
        });
        assert!(blocked);
        assert_eq!(receiver.receive(), Some(2));
        assert_eq!(receiver.receive(), Some(3));
        assert_eq!((sender.stats().sent(), sender.stats().depth()), (3, 0));
    }

    #[test]
    fn a_sender_learns_that_nobody_receives() {
        let (sender, receiver) = link("test", 1, clock());
        drop(receiver);
        assert!(matches!(sender.send(7), Err(Closed(7))));
    }

    #[test]
    fn a_waiting_sender_learns_that_the_receiver_left() {
        let (sender, receiver) = link("test", 1, clock());
        sender.send(1).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sender.send(2).is_err());
            drop(receiver);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn a_closed_link_is_emptied_first() {
        let (sender, receiver) = link("test", 2, clock());
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.receive_within(Duration::ZERO), Received::Item(1));
        assert_eq!(receiver.receive_within(Duration::ZERO), Received::Closed);
        assert_eq!(receiver.receive(), None);
    }
}
