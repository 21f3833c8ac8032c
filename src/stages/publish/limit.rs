//! A token bucket: how often a sink may be spoken to.

use std::time::Duration;

use tokio::time::Instant;

/// Lets through `per_minute` calls a minute, `burst` of them at once.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    interval: Duration,
    burst: u32,
    /// When the bucket would be full again.
    full_at: Instant,
}

impl Limiter {
    /// Makes a bucket that is full now; `per_minute` of at least 1.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32, now: Instant) -> Self {
        Self {
            interval: Duration::from_mins(1) / per_minute.max(1),
            burst: burst.max(1),
            full_at: now,
        }
    }

    /// Returns when the next call may be made.
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        let slack = self.interval * (self.burst - 1);
        self.full_at.checked_sub(slack).unwrap_or(self.full_at)
    }

    /// Takes one call out of the bucket.
    pub fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_holds_more_than_the_rate_and_the_burst() {
        let start = Instant::now();
        let mut limiter = Limiter::new(18, 2, start);
        let mut calls = Vec::new();
        while start.elapsed() < Duration::from_mins(10) {
            tokio::time::sleep_until(limiter.ready_at()).await;
            limiter.take(Instant::now());
            calls.push(Instant::now());
        }
        for (index, call) in calls.iter().enumerate() {
            let within = calls[index..]
                .iter()
                .take_while(|later| **later - *call < Duration::from_mins(1))
                .count();
            assert!(within < 20, "{within}");
        }
        assert!(calls.len() >= 180);
    }
}
