//! How often a caller may ask: a bucket for each, refilled steadily; bounded in number.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use crate::flow::time::MonotonicTime;

/// How many callers are remembered.
const REMEMBERED: usize = 10_000;

/// Limits by name of the caller.
#[derive(Debug)]
pub(crate) struct Guard {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, (f64, MonotonicTime)>>,
}

impl Guard {
    /// Makes a guard that lets `per_minute` requests through, `burst` of them at once.
    pub(crate) fn new(per_minute: u32, burst: u32) -> Self {
        Self {
            per_second: f64::from(per_minute.max(1)) / 60.0,
            burst: f64::from(burst.max(1)),
            buckets: Mutex::default(),
        }
    }

    /// Takes one request of `caller` out of its bucket; returns false when the bucket is empty.
    pub(crate) fn admit(&self, caller: &str, now: MonotonicTime) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(caller) {
            // Full buckets say nothing; dropping them forgets nobody who asked too often.
            let (per_second, burst) = (self.per_second, self.burst);
            buckets.retain(|_, (left, at)| *left + now.since(*at).as_secs_f64() * per_second < burst);
            if buckets.len() >= REMEMBERED {
                return false;
            }
        }
        let bucket = match buckets.entry(caller.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert((self.burst, now)),
        };
        let refilled = bucket.0 + now.since(bucket.1).as_secs_f64() * self.per_second;
        *bucket = (refilled.min(self.burst), now);
        if bucket.0 < 1.0 {
            return false;
        }
        bucket.0 -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn a_caller_who_asks_too_often_is_refused_and_others_are_not() {
        let guard = Guard::new(60, 5);
        for _ in 0..5 {
            assert!(guard.admit("a", at(0)));
        }
        assert!(!guard.admit("a", at(0)));
        assert!(guard.admit("b", at(0)));
        assert!(guard.admit("a", at(1)));
        assert!(!guard.admit("a", at(1)));
    }

    #[test]
    fn ten_thousand_strangers_do_not_fill_the_memory() {
        let guard = Guard::new(60, 1);
        for stranger in 0..30_000 {
            guard.admit(&stranger.to_string(), at(0));
        }
        assert!(guard.buckets.lock().unwrap().len() <= REMEMBERED);
        assert!(guard.admit("later", at(100)));
    }
}
