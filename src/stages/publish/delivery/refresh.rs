//! Tells a sink again what it forgets after a time: a fire must not vanish from a map because nothing new is to be said.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::Instant;

use super::call::delivery_of;
use super::{DeliveryLoop, blocking};
use crate::stages::publish::sink::Delivery;
use crate::store::StoreError;

/// What was said before that is not told again after a restart.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// The newest delivered event of each subject that the sink still shows.
#[derive(Debug)]
pub(super) struct Refresh {
    every: Duration,
    at: Instant,
    newest: BTreeMap<String, Delivery>,
}

impl Refresh {
    /// Returns when the next round is due.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    /// Notes what the sink has now.
    pub(super) fn note(&mut self, delivery: &Delivery) {
        self.newest.insert(delivery.subject.clone(), delivery.clone());
    }
}

impl DeliveryLoop {
    /// Begins with what this sink had before the program was started; `None` for a sink that forgets nothing.
    pub(super) async fn begin_refresh(&self) -> Option<Refresh> {
        let every = self.sink.refresh_every()?;
        let mut refresh = Refresh {
            every,
            at: Instant::now(),
            newest: BTreeMap::new(),
        };
        match self.delivered_before().await {
            Ok(delivered) => delivered.iter().for_each(|delivery| refresh.note(delivery)),
            Err(error) => self.report_store_trouble(&error),
        }
        Some(refresh)
    }

    async fn delivered_before(&self) -> Result<Vec<Delivery>, StoreError> {
        let now = self.clock.wall();
        let since = now.saturating_sub(REMEMBERED).unwrap_or(jiff::Timestamp::MIN);
        let (store, name) = (self.store.clone(), self.options.name.clone());
        let newest = blocking(move || store.newest_delivered(&name, since)).await?;
        Ok(newest.into_iter().map(delivery_of).collect())
    }

    /// Tells everything again that the sink still shows, where that is due; not while it cannot be reached.
    pub(super) async fn refresh(&self, refresh: &mut Refresh, is_down: bool) {
        let now = Instant::now();
        if now < refresh.at || is_down || self.options.dry_run {
            return;
        }
        refresh.at = now + refresh.every;
        let mut over = Vec::new();
        for (subject, delivery) in &refresh.newest {
            match self.sink.refresh(delivery).await {
                Ok(true) => {}
                Ok(false) => over.push(subject.clone()),
                Err(error) => {
                    tracing::debug!(
                        sink = self.options.name,
                        error = error.chain(),
                        "nothing could be told again"
                    );
                    break;
                }
            }
        }
        for subject in over {
            refresh.newest.remove(&subject);
        }
    }
}
