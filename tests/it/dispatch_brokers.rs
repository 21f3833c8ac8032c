//! Real brokers: mosquitto and nats-server as child processes, killed and started again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use emberwatch::store::{DeliveryFilter, DeliveryState};
use jiff::SignedDuration;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event as Report, MqttOptions};
use tokio::time::Instant;

use super::dispatch_rig::{Rig, assert_all_in_order, sink, stop};
use super::servers::{Authority, Program, forward, free_port, until};

/// Listens on a broker and keeps what it hears, with the moment it heard it.
pub(crate) struct Listener {
    heard: Arc<Mutex<Vec<(Instant, Publish)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    pub(crate) async fn start(port: u16, filter: &'static str) -> Self {
        let mut options = MqttOptions::new(format!("listener-{}", free_port()), "127.0.0.1", port);
        options.set_clean_start(true);
        let mut properties = rumqttc::v5::mqttbytes::v5::ConnectProperties::new();
        properties.max_packet_size = Some(1024 * 1024);
        options.set_connect_properties(properties);
        let (client, mut events) = AsyncClient::new(options, 10);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let task = tokio::spawn(async move {
            let _client = client;
            loop {
                match events.poll().await {
                    Ok(Report::Incoming(Packet::SubAck(_))) => {
                        if let Some(ready) = ready.take() {
                            ready.send(()).unwrap();
                        }
                    }
                    Ok(Report::Incoming(Packet::Publish(publish))) => {
                        kept.lock().unwrap().push((Instant::now(), publish));
                    }
                    Ok(_) => {}
                    Err(_gone) => return,
                }
            }
        });
        is_ready.await.unwrap();
        Self { heard, task }
    }

    pub(crate) fn heard(&self) -> Vec<(Instant, Publish)> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let heard = self.heard();
        heard
            .iter()
            .map(|(_, publish)| serde_json::from_slice(&publish.payload).unwrap())
            .collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn mqtt(port: u16, more: &str) -> emberwatch::stages::publish::SinkConfig {
    sink(&format!(
        "name = 'mqtt'\nretry = {{ first_ms = 20, longest_ms = 200 }}\n[to]\nkind = 'mqtt'\nhost = '127.0.0.1'\n\
         port = {port}\n{more}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_events_arrive_once_with_their_expiry_and_the_status_is_retained() {
    let mut rig = Rig::new();
    let Some(broker) = Program::mosquitto(rig.folder(), free_port(), "").await else {
        return;
    };
    let listener = Listener::start(broker.port, "emberwatch/v1/+/+/incident/+").await;
    let publisher = rig.publish(&[mqtt(broker.port, "expiry_s = 600")]);
    for _ in 0..5 {
        rig.change(0..10);
    }
    rig.until_settled().await;
    until("all are heard", async || listener.heard().len() >= 50).await;
    assert_eq!(assert_all_in_order(&rig.sent, &listener.events()), 0);
    let (_, first) = listener.heard().remove(0);
    assert_eq!(
        first.topic,
        format!(
            "emberwatch/v1/高新区/阳庙镇/incident/{}",
            first_subject(&listener)
        )
    );
    let properties = first.properties.unwrap();
    assert!((1..=600).contains(&properties.message_expiry_interval.unwrap()));
    assert_eq!(
        properties.content_type.as_deref(),
        Some("application/cloudevents+json")
    );

    let late = Listener::start(broker.port, "emberwatch/v1/status").await;
    until("the status is heard", async || !late.heard().is_empty()).await;
    assert_eq!(late.heard()[0].1.payload, "online");
    assert!(late.heard()[0].1.retain);
    assert!(stop(publisher).await);
    until("the goodbye is heard", async || late.heard().len() == 2).await;
    assert_eq!(late.heard()[1].1.payload, "offline");
}

fn first_subject(listener: &Listener) -> String {
    listener.events()[0]["subject"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_will_says_offline_when_the_program_dies() {
    let mut rig = Rig::new();
    let Some(broker) = Program::mosquitto(rig.folder(), free_port(), "").await else {
        return;
    };
    let publisher = rig.publish(&[mqtt(broker.port, "")]);
    rig.change([1]);
    rig.until_settled().await;
    let listener = Listener::start(broker.port, "emberwatch/v1/status").await;
    until("the status is heard", async || !listener.heard().is_empty()).await;
    // Dropping cuts the connection without a goodbye, as a crash does.
    tokio::task::spawn_blocking(|| drop(publisher)).await.unwrap();
    until("the will is heard", async || listener.heard().len() == 2).await;
    assert_eq!(listener.heard()[1].1.payload, "offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_traffic_during_an_outage_arrives_in_order_when_the_broker_is_back() {
    let mut rig = Rig::new();
    let port = free_port();
    let Some(mut broker) = Program::mosquitto(rig.folder(), port, "").await else {
        return;
    };
    let publisher = rig.publish(&[mqtt(port, "")]);
    rig.change(0..20);
    rig.until_settled().await;
    broker.kill();
    // An hour with a change each second, at its own times.
    let start = rig.clock.wall() - SignedDuration::from_hours(1);
    for minute in 0..60 {
        for second in 0..60 {
            let at = start + SignedDuration::from_secs(minute * 60 + second);
            rig.change_at([u128::try_from(second % 20).unwrap()], at);
        }
    }
    until("the outage is noticed", async || publisher.reports()[0].is_down).await;
    assert_eq!(rig.count(DeliveryState::Dead), 0);
    drop(broker);
    // The listener is there before the publisher finds its way back, so that it hears everything.
    let Some(broker) = Program::mosquitto(rig.folder(), free_port(), "max_queued_messages 0").await else {
        return;
    };
    let listener = Listener::start(broker.port, "emberwatch/v1/+/+/incident/+").await;
    let way = forward(port, broker.port).await;
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Delivered), 20 + 3600);
    until("all are heard", async || listener.heard().len() >= 3600).await;
    let mut newest = std::collections::HashMap::new();
    for event in listener.events() {
        let revision = event["data"]["properties"]["revision"].as_u64().unwrap();
        let before = newest.insert(event["subject"].as_str().unwrap().to_owned(), revision);
        assert!(before.is_none_or(|before| before <= revision));
    }
    assert!(stop(publisher).await);
    way.cut().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_again_and_again_loses_nothing() {
    let mut rig = Rig::new();
    let port = free_port();
    let Some(mut broker) = Program::mosquitto(rig.folder(), port, "").await else {
        return;
    };
    let publisher = rig.publish(&[mqtt(port, "")]);
    for round in 0..5 {
        for _ in 0..20 {
            rig.change(0..10);
        }
        broker.kill();
        rig.change(0..10);
        drop(broker);
        broker = Program::mosquitto(rig.folder(), port, "").await.unwrap();
        if round == 4 {
            rig.until_settled().await;
        }
    }
    assert_eq!(rig.count(DeliveryState::Delivered), 5 * 210);
    assert_eq!(rig.count(DeliveryState::Dead), 0);
    assert!(stop(publisher).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_over_mutual_tls_is_let_in_by_its_certificate() {
    let mut rig = Rig::new();
    let authority = Authority::new();
    let ca = authority.write(rig.folder());
    let (server, server_key) = authority.issue(rig.folder(), "broker", false);
    let (client, client_key) = authority.issue(rig.folder(), "client", false);
    let lines = format!("cafile {ca}\ncertfile {server}\nkeyfile {server_key}\nrequire_certificate true");
    let Some(broker) = Program::mosquitto(rig.folder(), free_port(), &lines).await else {
        return;
    };
    let known = format!("tls = {{ ca = '{ca}', certificate = '{client}', key = '{client_key}' }}");
    let unknown = format!("tls = {{ ca = '{ca}' }}\nclient_id = 'unknown'");
    let mut stranger = mqtt(broker.port, &unknown);
    stranger.name = "stranger".to_owned();
    let (old, old_key) = authority.issue(rig.folder(), "old", true);
    let expired =
        format!("tls = {{ ca = '{ca}', certificate = '{old}', key = '{old_key}' }}\nclient_id = 'old'");
    let mut expired = mqtt(broker.port, &expired);
    expired.name = "expired".to_owned();
    let publisher = rig.publish(&[mqtt(broker.port, &known), stranger, expired]);
    rig.change([1]);
    until("the known one delivered", async || {
        publisher.reports()[0].delivered == 1
    })
    .await;
    until("the stranger failed", async || publisher.reports()[1].failed > 0).await;
    assert_eq!(publisher.reports()[1].delivered, 0);
    until("the one with an expired certificate failed", async || {
        publisher.reports()[2].failed > 0
    })
    .await;
    assert_eq!(publisher.reports()[2].delivered, 0);
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_on_the_wire_within_a_tenth_of_a_second() {
    let mut rig = Rig::new();
    let Some(broker) = Program::mosquitto(rig.folder(), free_port(), "").await else {
        return;
    };
    let listener = Listener::start(broker.port, "emberwatch/v1/+/+/incident/+").await;
    let publisher = rig.publish(&[mqtt(broker.port, "")]);
    rig.change([0]);
    rig.until_settled().await;
    let mut took = Vec::new();
    for round in 1..=200 {
        let start = Instant::now();
        rig.change([round % 7]);
        let heard = usize::try_from(round).unwrap();
        while listener.heard.lock().unwrap().len() <= heard {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "event {round} was not heard"
            );
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        took.push(listener.heard.lock().unwrap()[heard].0 - start);
    }
    took.sort();
    println!(
        "verdict to wire: p50 {:?}, p99 {:?}, worst {:?}",
        took[100], took[197], took[199]
    );
    // The goal is 100 ms on an idle machine; the test allows for one that is busy with other tests.
    assert!(took[197] < Duration::from_millis(500), "{:?}", took[197]);
    assert!(stop(publisher).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_keeps_each_event_once_and_evidence_under_its_hash() {
    let mut rig = Rig::new();
    let Some(server) = Program::nats(rig.folder(), free_port()).await else {
        return;
    };
    let evidence = rig.store.evidence_folder();
    std::fs::write(evidence.join("thumbnail.jpg"), b"thumbnail....").unwrap();
    std::fs::write(evidence.join("snapshot.jpg"), b"snapshot.....").unwrap();
    let config = sink(&format!(
        "name = 'nats'\n[to]\nkind = 'nats'\nservers = ['nats://127.0.0.1:{}']\nevidence_bucket = 'EVIDENCE'",
        server.port
    ));
    let publisher = rig.publish(&[config]);
    for _ in 0..5 {
        rig.change(0..10);
    }
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Delivered), 50);

    // A repeat, as after a crash between acknowledgement and its note in the outbox, is dropped by the server.
    let client = async_nats::connect(format!("nats://127.0.0.1:{}", server.port))
        .await
        .unwrap();
    let context = jetstream::new(client);
    let first = rig
        .store
        .deliveries(&DeliveryFilter::default())
        .unwrap()
        .remove(0);
    let again = jetstream::message::PublishMessage::build()
        .payload("again".into())
        .message_id(first.event_id.to_string());
    let acknowledged = context
        .send_publish("emberwatch.v1.repeat", again)
        .await
        .unwrap()
        .await
        .unwrap();
    assert!(acknowledged.duplicate);
    let mut stream = context.get_stream("EMBERWATCH").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 50);

    // Only the crop of the fire has left the house.
    let bucket = context.get_object_store("EVIDENCE").await.unwrap();
    let mut object = bucket.get("ab".repeat(32)).await.unwrap();
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut object, &mut bytes)
        .await
        .unwrap();
    assert_eq!(bytes, b"thumbnail....");
    assert!(stop(publisher).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_that_was_away_gets_everything_when_it_is_back() {
    let mut rig = Rig::new();
    let port = free_port();
    let Some(mut server) = Program::nats(rig.folder(), port).await else {
        return;
    };
    let config = sink(&format!(
        "name = 'nats'\nretry = {{ first_ms = 20, longest_ms = 200 }}\n[to]\nkind = 'nats'\n\
         servers = ['nats://127.0.0.1:{port}']\ntimeout_s = 2"
    ));
    let publisher = rig.publish(&[config]);
    rig.change(0..10);
    rig.until_settled().await;
    server.kill();
    for _ in 0..10 {
        rig.change(0..10);
    }
    until("the outage is noticed", async || publisher.reports()[0].is_down).await;
    drop(server);
    let Some(_server) = Program::nats(rig.folder(), port).await else {
        return;
    };
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Delivered), 110);
    assert_eq!(rig.count(DeliveryState::Dead), 0);
    assert!(stop(publisher).await);
}
