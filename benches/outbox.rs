//! How fast the outbox goes out: events a second to an MQTT broker at quality of service 1 on loopback, and how long
//! one event takes from the verdict's transaction to the wire.
//!
//! `cargo bench --bench outbox` needs mosquitto; it says so and ends where there is none.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench measures the machine's time")]

#[path = "store/machine.rs"]
mod machine;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::stages::publish::{PublishOptions, SinkConfig, samples, start};
use emberwatch::store::{Change, Store};

/// How many events go out in one run.
const EVENTS: usize = 20_000;

/// How many incidents they belong to.
const INCIDENTS: u128 = 500;

struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        if self.0.kill().is_ok() && self.0.wait().is_err() {
            println!("mosquitto did not end");
        }
    }
}

fn broker(folder: &std::path::Path, port: u16) -> Option<Broker> {
    let file = folder.join("mosquitto.conf");
    std::fs::write(
        &file,
        format!("listener {port} 127.0.0.1\nallow_anonymous true\n"),
    )
    .ok()?;
    let child = Command::new("mosquitto")
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let broker = Broker(child);
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(broker);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder should be there");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port should be free");
    let port = listener
        .local_addr()
        .expect("a listener should have an address")
        .port();
    drop(listener);
    let Some(_broker) = broker(folder.path(), port) else {
        println!("skipped: there is no mosquitto on this machine");
        return;
    };
    let store = Store::open(&folder.path().join("data")).expect("the store should open");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = toml::from_str::<SinkConfig>(&format!(
        "name = 'bench'\n[to]\nkind = 'mqtt'\nhost = '127.0.0.1'\nport = {port}"
    ))
    .expect("the sink should be understood");
    store
        .register_sink("bench", emberwatch::store::SinkStart::Now, clock.wall())
        .expect("the sink should be registered");

    let filling = Instant::now();
    let mut incidents = (0..INCIDENTS)
        .map(|number| {
            let mut incident = samples::incident(number);
            incident.revision = 0;
            incident
        })
        .collect::<Vec<_>>();
    for _ in 0..EVENTS / incidents.len() {
        let changes = incidents
            .iter_mut()
            .map(|incident| {
                incident.revision += 1;
                Change {
                    incident: incident.clone(),
                    transition: samples::transition(incident),
                    events: vec![samples::event_of(incident)],
                    evidence: Vec::new(),
                }
            })
            .collect::<Vec<_>>();
        store
            .commit(&changes, clock.wall())
            .expect("the changes should be written");
    }
    println!("machine: {}", machine::machine());
    println!(
        "outbox filled: {EVENTS} events in {:.2} s",
        filling.elapsed().as_secs_f64()
    );

    let begin = Instant::now();
    let publisher =
        start(&store, &[config], &clock, &PublishOptions::default()).expect("publishing should start");
    // The counter is read, not the store: counting what is left there would cost as much as sending it.
    let delivered = || publisher.reports()[0].delivered;
    while delivered() < EVENTS as u64 {
        std::thread::sleep(Duration::from_millis(5));
        assert!(
            begin.elapsed() < Duration::from_mins(5),
            "the outbox does not empty"
        );
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "outbox to MQTT QoS 1: {:.0} events/s ({EVENTS} in {seconds:.2} s)",
        EVENTS as f64 / seconds
    );

    let mut took = Vec::new();
    for round in 0..300_usize {
        let before = delivered();
        let incident = &mut incidents[round % 100];
        incident.revision += 1;
        let change = Change {
            incident: incident.clone(),
            transition: samples::transition(incident),
            events: vec![samples::event_of(incident)],
            evidence: Vec::new(),
        };
        let begin = Instant::now();
        store
            .commit(&[change], clock.wall())
            .expect("the change should be written");
        while delivered() == before {
            std::thread::sleep(Duration::from_micros(100));
        }
        took.push(begin.elapsed());
    }
    took.sort();
    println!(
        "one event, from the start of its transaction to the broker's acknowledgement being written down: p50 {:.1} ms, p99 {:.1} ms",
        took[150].as_secs_f64() * 1e3,
        took[296].as_secs_f64() * 1e3
    );
    publisher.stop(Duration::from_secs(5));
}
