//! Credits bound how many items of one source are between two points, so that no source crowds out another.

use crossbeam_channel::{Receiver, Sender, bounded};

/// Hands out a fixed number of credits and waits when all are out.
#[derive(Clone, Debug)]
pub struct Credits {
    out: Sender<()>,
    back: Receiver<()>,
}

/// One credit. It returns when dropped.
#[derive(Debug)]
pub struct Credit {
    back: Receiver<()>,
}

impl Credits {
    /// Makes `count` credits.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let (out, back) = bounded(count);
        Self { out, back }
    }

    /// Takes a credit, waiting until one is back.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this wait is the point of a credit")]
    #[expect(
        clippy::missing_panics_doc,
        reason = "it cannot happen: this value holds the receiver"
    )]
    pub fn take(&self) -> Credit {
        self.out
            .send(())
            .expect("the receiver lives as long as this value");
        Credit {
            back: self.back.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_credits_are_out_than_were_made() {
        let credits = Credits::new(2);
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
}
