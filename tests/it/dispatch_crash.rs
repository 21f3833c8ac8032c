//! The program that delivers is killed at random instants; a real broker and a real webhook receiver stay.
//!
//! What dies is this test program, started again with an environment variable: it opens the store, the desk and the
//! sinks as the service does, and feeds reports and acts instead of cameras and people. `EMBERWATCH_KILL_RUNS` says how
//! often it is killed (6 times without; the figure that is asked for is 200).

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::flow::incident::{Actor, Incident, IncidentId, RejectReason, State};
use emberwatch::stages::incident::{Act, Action, Ids, IncidentBook, IncidentConfig, IncidentDesk, NoGrid};
use emberwatch::stages::publish::{PublishOptions, Publisher, SinkConfig, start};
use emberwatch::store::{IncidentFilter, OutboxEvent, Store};
use rand::RngExt;

use super::dispatch_brokers::{Listener, mqtt};
use super::dispatch_rig::{assert_all_in_order, environment, stop};
use super::dispatch_sinks::webhook;
use super::dispatch_store::report;
use super::servers::{Program, Receiver, Reply, Request, free_port, until};

pub(crate) const ROOM: &str = "EMBERWATCH_KILL_ROOM";

/// Where the killed program works: its data folder, the broker's port and the receiver's address.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) data: String,
    pub(crate) port: u16,
    pub(crate) hook: String,
}

impl Room {
    pub(crate) fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split('|').collect();
        let [data, port, hook] = parts.as_slice() else {
            panic!("expected data|port|hook, found {text:?}");
        };
        Self {
            data: (*data).to_owned(),
            port: port.parse().unwrap(),
            hook: (*hook).to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}|{}|{}", self.data, self.port, self.hook)
    }

    pub(crate) fn sinks(&self) -> Vec<SinkConfig> {
        vec![mqtt(self.port, ""), webhook(&self.hook, "concurrency = 4")]
    }

    /// Starts the webhook alone.
    pub(crate) fn publish_to_hook(&self, store: &Store, clock: &Arc<dyn Clock>) -> Publisher {
        start_all(store, &[webhook(&self.hook, "concurrency = 4")], clock)
    }

    pub(crate) fn publish(&self, store: &Store, clock: &Arc<dyn Clock>) -> Publisher {
        start_all(store, &self.sinks(), clock)
    }

    /// Starts this test program again as `child`, which says what it does on its standard output.
    pub(crate) fn spawn(&self, variable: &str, child: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", child, "--nocapture"])
            .env(variable, self.text())
            // Where memory is measured, the allocator's habit of a heap for each thread must not blur it.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn start_all(store: &Store, sinks: &[SinkConfig], clock: &Arc<dyn Clock>) -> Publisher {
    let options = PublishOptions {
        environment: &environment,
        seed: rand::random(),
    };
    start(store, sinks, clock, &options).unwrap()
}

pub(crate) fn open_desk(store: Store, clock: Arc<dyn Clock>) -> IncidentDesk {
    let book = IncidentBook::new(IncidentConfig::default(), Box::new(NoGrid), Ids::random()).unwrap();
    IncidentDesk::open(book, store, clock).unwrap()
}

/// Says a line on standard output, whole and at once.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Returns what is done next to an incident in this state.
pub(crate) fn next_action(state: State, chance: u32) -> Option<Action> {
    match state {
        State::Suspected if chance == 0 => Some(Action::Reject {
            reason: RejectReason::Fog,
        }),
        State::Suspected => Some(Action::Confirm),
        State::Confirmed => Some(Action::Dispatch {
            team: Some("一队".to_owned()),
        }),
        State::Dispatched => Some(Action::Accept),
        State::Accepted => Some(Action::Arrive),
        State::OnScene => Some(Action::Extinguish),
        State::Extinguished => Some(Action::Close),
        _ => None,
    }
}

/// Opens incidents, takes them through their life and has them delivered, until it is killed. Each line that it says
/// names a revision that the desk had acknowledged before.
#[test]
fn child_that_serves_until_it_is_killed() {
    let Ok(room) = std::env::var(ROOM) else {
        println!("skipped: only runs as the child of the kill test");
        return;
    };
    let room = Room::parse(&room);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Store::open(Path::new(&room.data)).unwrap();
    let _publisher = room.publish(&store, &clock);
    let desk = open_desk(store.clone(), Arc::clone(&clock));
    let open = IncidentFilter {
        states: State::ALL.into_iter().filter(|state| state.is_open()).collect(),
        limit: 20,
        ..IncidentFilter::default()
    };
    let mut living: Vec<Incident> = store.incidents(&open).unwrap().incidents;
    let mut random = rand::rng();
    say("\nready");
    for track in 1.. {
        if living.len() < 5 || random.random_range(0..4) == 0 {
            let seen = report(
                "tower-1",
                track,
                random.random_range(20.0..50.0),
                random.random_range(80.0..120.0),
                clock.wall(),
            );
            for change in desk.report(&seen).unwrap() {
                say(&acknowledged(&change.incident));
                living.push(change.incident);
            }
        }
        let index = random.random_range(0..living.len());
        match next_action(living[index].state, random.random_range(0..5)) {
            Some(action) => {
                let act = Act::new(living[index].id, Actor::person("李"), action);
                living[index] = desk.act(&act).unwrap().incident;
                say(&acknowledged(&living[index]));
            }
            None => drop(living.swap_remove(index)),
        }
        desk.tick().unwrap();
        std::thread::park_timeout(Duration::from_micros(random.random_range(0..4_000)));
    }
}

fn acknowledged(incident: &Incident) -> String {
    format!("acknowledged {} {} .", incident.id, incident.revision)
}

/// Kills the child at a random instant after it began to work; adds what it had acknowledged by then.
fn serve_and_kill(room: &Room, acknowledged: &mut BTreeMap<IncidentId, u64>) {
    let mut child = room.spawn(ROOM, "dispatch_crash::child_that_serves_until_it_is_killed");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = lines.by_ref().any(|line| line.unwrap() == "ready");
    assert!(is_ready, "the child did not begin");
    let micros = rand::rng().random_range(0..400_000);
    std::thread::park_timeout(Duration::from_micros(micros));
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines.map_while(Result::ok) {
        // A line without its full stop was torn by the kill.
        if let ["acknowledged", id, revision, "."] = line.split(' ').collect::<Vec<_>>().as_slice() {
            let revision: u64 = revision.parse().unwrap();
            let known = acknowledged.entry(id.parse().unwrap()).or_insert(revision);
            *known = revision.max(*known);
        }
    }
}

fn whole_outbox(store: &Store) -> Vec<OutboxEvent> {
    let mut all: Vec<OutboxEvent> = Vec::new();
    loop {
        let from = all.last().map_or(0, |event| event.seq);
        let more = store.events_after(from, 10_000).unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Asserts that nothing that was acknowledged is missing in the store; returns the ids of all events.
fn assert_nothing_lost(store: &Store, acknowledged: &BTreeMap<IncidentId, u64>) -> Vec<String> {
    assert_eq!(store.verify(false).unwrap().findings, []);
    let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
    let mut ids = Vec::new();
    for event in whole_outbox(store) {
        let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
        let revision = body["data"]["properties"]["revision"].as_u64().unwrap();
        let before = revisions.insert(event.subject, revision).unwrap_or(0);
        assert_eq!(revision, before + 1, "every revision has its event, in order");
        ids.push(body["id"].as_str().unwrap().to_owned());
    }
    for (id, revision) in acknowledged {
        let incident = store.incident(*id).unwrap().unwrap();
        assert!(incident.revision >= *revision, "incident {id} lost a revision");
        assert_eq!(store.history(*id).unwrap().len() as u64, incident.revision);
        assert_eq!(
            revisions[&id.to_string()],
            incident.revision,
            "an event of {id} is missing"
        );
    }
    ids
}

pub(crate) async fn until_all_is_settled(store: &Store) {
    until("everything is delivered", async || {
        let sinks = store.sinks().unwrap();
        assert!(
            sinks.iter().all(|sink| sink.disabled.is_none() && sink.dead == 0),
            "{sinks:?}"
        );
        sinks.iter().all(|sink| sink.pending == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_at_random_instants_loses_nothing_and_doubles_nothing_unseen() {
    let runs: usize = std::env::var("EMBERWATCH_KILL_RUNS")
        .ok()
        .map_or(6, |runs| runs.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Some(broker) = Program::mosquitto(folder.path(), free_port(), "max_queued_messages 0").await else {
        return;
    };
    let listener = Listener::start(broker.port, "emberwatch/v1/+/+/incident/+").await;
    let receiver = Receiver::start(|_, _| Reply::With(204, "")).await;
    let room = Room {
        data: folder.path().join("data").to_str().unwrap().to_owned(),
        port: broker.port,
        hook: receiver.url(),
    };
    // The sinks are known before the first event, so that every event is theirs.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    assert!(stop(room.publish(&Store::open(Path::new(&room.data)).unwrap(), &clock)).await);

    let mut acknowledged = BTreeMap::new();
    for round in 0..runs {
        tokio::task::block_in_place(|| serve_and_kill(&room, &mut acknowledged));
        if round % 25 == 0 {
            assert_nothing_lost(&Store::open(Path::new(&room.data)).unwrap(), &acknowledged);
        }
    }

    let store = Store::open(Path::new(&room.data)).unwrap();
    let publisher = room.publish(&store, &clock);
    until_all_is_settled(&store).await;
    assert!(stop(publisher).await);
    let ids = assert_nothing_lost(&store, &acknowledged);
    assert!(acknowledged.len() >= runs, "it did work");
    let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
    until("the listener has heard everything", async || {
        let events = listener.events();
        let heard: HashSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
        wanted.is_subset(&heard)
    })
    .await;
    let by_broker = assert_all_in_order(&ids, &listener.events());
    let requests = receiver.requests();
    for request in &requests {
        assert_eq!(
            request.header("webhook-id"),
            request.json()["id"],
            "a repeat is known by its id"
        );
    }
    let bodies: Vec<serde_json::Value> = requests.iter().map(Request::json).collect();
    let by_hook = assert_all_in_order(&ids, &bodies);
    println!(
        "killed {runs} times: {} incidents, {} acknowledged changes, 0 lost; {} events, 0 missing at the broker and \
         at the webhook; repeats, all known by id: {by_broker} at the broker, {by_hook} at the webhook; order per \
         incident kept",
        acknowledged.len(),
        acknowledged.values().sum::<u64>(),
        ids.len()
    );
}
