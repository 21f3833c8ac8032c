//! A store whose incidents change, and a publisher that tells the world.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::incident::{Incident, RejectReason, State};
use emberwatch::stages::publish::{PublishOptions, Publisher, SinkConfig, samples, start};
use emberwatch::store::{Change, DeliveryFilter, DeliveryState, Store};
use jiff::Timestamp;

use super::servers::until;

/// Where a test's environment variables are looked up.
pub(crate) fn environment(name: &str) -> Option<String> {
    (name == "SECRET").then(|| "a secret that only tests know".to_owned())
}

/// Reads a sink as a pipeline file holds it.
pub(crate) fn sink(toml: &str) -> SinkConfig {
    toml::from_str(toml).unwrap()
}

/// Returns the ids of all events in the outbox, in their order.
pub(crate) fn event_ids(store: &Store) -> Vec<String> {
    let events = store.events_after(0, 1_000_000).unwrap();
    let id = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["id"].as_str().unwrap().to_owned()
    };
    events.iter().map(|event| id(&event.body)).collect()
}

fn new_incident(number: u128) -> Incident {
    let mut incident = samples::incident(number);
    incident.revision = 0;
    incident
}

pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    incidents: HashMap<u128, Incident>,
    pub(crate) sent: Vec<String>,
    folder: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(&folder.path().join("data")).unwrap(),
            clock: Arc::new(SystemClock::new()),
            incidents: HashMap::new(),
            sent: Vec::new(),
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn publish(&self, sinks: &[SinkConfig]) -> Publisher {
        let options = PublishOptions {
            environment: &environment,
            seed: 1,
        };
        start(&self.store, sinks, &self.clock, &options).unwrap()
    }

    /// Writes the next revision of each of these incidents, in one transaction.
    pub(crate) fn change(&mut self, numbers: impl IntoIterator<Item = u128>) {
        self.change_at(numbers, self.clock.wall());
    }

    pub(crate) fn change_at(&mut self, numbers: impl IntoIterator<Item = u128>, now: Timestamp) {
        let mut changes = Vec::new();
        for number in numbers {
            let incident = self
                .incidents
                .entry(number)
                .or_insert_with(|| new_incident(number));
            incident.revision += 1;
            incident.changed_at = now;
            let event = samples::event_of(incident);
            self.sent.push(event.id.to_string());
            changes.push(Change {
                incident: incident.clone(),
                transition: samples::transition(incident),
                events: vec![event],
                evidence: Vec::new(),
            });
        }
        self.store.commit(&changes, now).unwrap();
    }

    /// Writes that each of these fires is out.
    pub(crate) fn end(&mut self, numbers: impl IntoIterator<Item = u128>) {
        self.change_as(numbers, |incident| incident.state = State::Extinguished);
    }

    /// Writes that each of these was no fire.
    pub(crate) fn reject(&mut self, numbers: impl IntoIterator<Item = u128>) {
        self.change_as(numbers, |incident| {
            incident.state = State::Rejected;
            incident.reject_reason = Some(RejectReason::Steam);
        });
    }

    /// Opens these as part of a drill.
    pub(crate) fn drill(&mut self, numbers: impl IntoIterator<Item = u128>) {
        self.change_as(numbers, |incident| incident.drill = true);
    }

    /// Writes that of each of these only the direction is known.
    pub(crate) fn lose_the_point(&mut self, numbers: impl IntoIterator<Item = u128>) {
        self.change_as(numbers, |incident| incident.position = None);
    }

    fn change_as(&mut self, numbers: impl IntoIterator<Item = u128>, change: impl Fn(&mut Incident)) {
        let numbers: Vec<u128> = numbers.into_iter().collect();
        for number in &numbers {
            change(
                self.incidents
                    .entry(*number)
                    .or_insert_with(|| new_incident(*number)),
            );
        }
        self.change(numbers);
    }

    pub(crate) fn count(&self, state: DeliveryState) -> usize {
        let filter = DeliveryFilter {
            state: Some(state),
            limit: 1_000_000,
            ..DeliveryFilter::default()
        };
        self.store.deliveries(&filter).unwrap().len()
    }

    pub(crate) async fn until_settled(&self) {
        until("everything is settled", async || {
            self.count(DeliveryState::Pending) == 0
        })
        .await;
    }
}

/// Stops a publisher outside the test's own runtime, which must not block.
pub(crate) async fn stop(publisher: Publisher) -> bool {
    let stopped = tokio::task::spawn_blocking(|| publisher.stop(Duration::from_secs(5)));
    stopped.await.unwrap()
}

/// Asserts that each event came, repeats aside in order within its incident; returns how many came twice.
pub(crate) fn assert_all_in_order(sent: &[String], events: &[serde_json::Value]) -> usize {
    let mut newest = HashMap::<&str, u64>::new();
    let mut seen = std::collections::HashSet::new();
    let mut repeats = 0;
    for event in events {
        let subject = event["subject"].as_str().unwrap();
        let revision = event["data"]["properties"]["revision"].as_u64().unwrap();
        if !seen.insert(event["id"].as_str().unwrap()) {
            repeats += 1;
            continue;
        }
        let before = newest.insert(subject, revision).unwrap_or(0);
        assert_eq!(revision, before + 1, "{subject} is out of order");
    }
    for id in sent {
        assert!(seen.contains(id.as_str()), "{id} is missing");
    }
    repeats
}
