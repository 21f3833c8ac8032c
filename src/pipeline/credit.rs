//! Credits bound how many items of one source are between two points, so that no source crowds out another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};

/// How often a wait for a credit looks whether anybody is left to give one back.
const LOOK: Duration = Duration::from_millis(100);

/// Hands out a fixed number of credits and waits when all are out.
#[derive(Clone, Debug)]
pub struct Credits {
    out: Sender<()>,
    back: Receiver<()>,
    is_over: Arc<AtomicBool>,
}

/// One credit. It returns when dropped.
#[derive(Debug)]
pub struct Credit {
    back: Receiver<()>,
}

/// Held by whoever gives credits back. When it is dropped, nobody waits for a credit any more.
#[derive(Debug)]
pub struct Creditor {
    is_over: Arc<AtomicBool>,
}

impl Credits {
    /// Makes `count` credits.
    #[must_use]
    pub fn new(count: usize) -> (Self, Creditor) {
        let (out, back) = bounded(count);
        let is_over = Arc::new(AtomicBool::new(false));
        (
            Self {
                out,
                back,
                is_over: Arc::clone(&is_over),
            },
            Creditor { is_over },
        )
    }

    /// Takes a credit, waiting until one is back; `None` when nobody is left to give one back.
    #[must_use]
    pub fn take(&self) -> Option<Credit> {
        loop {
            if self.is_over.load(Ordering::Acquire) {
                return None;
            }
            match self.out.send_timeout((), LOOK) {
                Ok(()) => {
                    return Some(Credit {
                        back: self.back.clone(),
                    });
                }
                Err(SendTimeoutError::Timeout(())) => {}
                Err(SendTimeoutError::Disconnected(())) => return None,
            }
        }
    }

    /// Returns how many are out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.out.len()
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        // One token went in when this credit was taken, so one is there to take out.
        let came_back = self.back.try_recv();
        debug_assert!(came_back.is_ok(), "a credit should come back once");
    }
}

impl Drop for Creditor {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_credits_are_out_than_were_made() {
        let (credits, _creditor) = Credits::new(2);
        let first = credits.take();
        let second = credits.take();
        assert_eq!(credits.out(), 2);
        std::thread::scope(|scope| {
            let third = scope.spawn(|| credits.take());
            drop(first);
            drop(third.join().unwrap());
        });
        drop(second);
        assert_eq!(credits.out(), 0);
    }

    #[test]
    fn a_wait_ends_when_nobody_is_left_to_give_a_credit_back() {
        let (credits, creditor) = Credits::new(1);
        let kept = credits.take();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| credits.take().is_none());
            drop(creditor);
            assert!(waiting.join().unwrap());
        });
        drop(kept);
    }
}
