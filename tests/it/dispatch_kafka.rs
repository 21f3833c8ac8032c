//! Kafka, against the mock cluster that comes with librdkafka: three brokers that speak the real protocol over TCP on
//! loopback and keep what they are sent in memory. It is no Apache Kafka: nothing is replicated or written to a disk.
//!
//! `cargo test --features kafka --test it dispatch_kafka`

use std::time::Duration;

use emberwatch::stages::publish::SinkConfig;
use emberwatch::stages::publish::settings::Surroundings;
use emberwatch::store::DeliveryState;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::dispatch_rig::{Rig, assert_all_in_order, environment, sink, stop};
use super::servers::until;

const TOPIC: &str = "emberwatch.events.v1";
const PARTITIONS: i32 = 4;

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 3).unwrap();
    cluster
}

fn kafka(servers: &str, more: &str) -> SinkConfig {
    let servers: Vec<String> = servers.split(',').map(|server| format!("'{server}'")).collect();
    sink(&format!(
        "name = 'kafka'\nretry = {{ first_ms = 20, longest_ms = 200 }}\n[to]\nkind = 'kafka'\nbrokers = [{}]\n{more}",
        servers.join(", ")
    ))
}

/// One record of the topic.
struct Record {
    partition: i32,
    key: String,
    id: String,
    media: String,
    event: serde_json::Value,
}

/// Reads the topic from its beginning until it holds so many records.
fn read(servers: &str, wanted: usize) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut records = Vec::new();
    let mut silent = 0;
    while records.len() < wanted {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else {
            silent += 1;
            assert!(silent < 30, "{} of {wanted} records came", records.len());
            continue;
        };
        let message = message.unwrap();
        let header = |name: &str| {
            let headers = message.headers().unwrap();
            let found = headers.iter().find(|header| header.key == name).unwrap();
            String::from_utf8(found.value.unwrap().to_vec()).unwrap()
        };
        records.push(Record {
            partition: message.partition(),
            key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
            id: header("id"),
            media: header("content-type"),
            event: serde_json::from_slice(message.payload().unwrap()).unwrap(),
        });
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_gets_each_event_under_its_incident_in_order() {
    let mut rig = Rig::new();
    let cluster = cluster();
    let publisher = rig.publish(&[kafka(&cluster.bootstrap_servers(), "")]);
    for _ in 0..5 {
        rig.change(0..20);
    }
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Delivered), 100);
    let servers = cluster.bootstrap_servers();
    let records = tokio::task::block_in_place(|| read(&servers, 100));
    let mut places = std::collections::HashMap::new();
    for record in &records {
        assert_eq!(record.event["subject"], record.key.as_str());
        assert_eq!(record.event["id"], record.id.as_str());
        assert_eq!(record.media, "application/cloudevents+json");
        // One incident lies in one partition: there, and only there, Kafka keeps an order.
        let place = places.entry(record.key.clone()).or_insert(record.partition);
        assert_eq!(*place, record.partition);
    }
    let used: std::collections::HashSet<i32> = places.into_values().collect();
    assert!(used.len() > 1, "incidents are spread over partitions");
    let events: Vec<serde_json::Value> = records.into_iter().map(|record| record.event).collect();
    assert_eq!(assert_all_in_order(&rig.sent, &events), 0, "none came twice");
    assert!(stop(publisher).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_that_was_away_gets_everything_in_order_when_it_is_back() {
    let mut rig = Rig::new();
    let cluster = cluster();
    let publisher = rig.publish(&[kafka(&cluster.bootstrap_servers(), "timeout_s = 2")]);
    rig.change(0..10);
    rig.until_settled().await;
    cluster.broker_down(-1).unwrap();
    for _ in 0..10 {
        rig.change(0..10);
    }
    until("the outage is noticed", async || publisher.reports()[0].is_down).await;
    assert_eq!(rig.count(DeliveryState::Dead), 0);
    cluster.broker_up(-1).unwrap();
    rig.until_settled().await;
    assert_eq!(rig.count(DeliveryState::Delivered), 110);
    let servers = cluster.bootstrap_servers();
    let records = tokio::task::block_in_place(|| read(&servers, 110));
    let events: Vec<serde_json::Value> = records.into_iter().map(|record| record.event).collect();
    assert_all_in_order(&rig.sent, &events);
    assert!(stop(publisher).await);
}

#[test]
fn the_producer_is_idempotent_whatever_the_settings_say() {
    let rig = Rig::new();
    let surroundings = Surroundings {
        environment: &environment,
        clock: std::sync::Arc::clone(&rig.clock),
        evidence: None,
        data_folder: rig.folder().to_owned(),
    };
    // librdkafka allows five requests on their way to an idempotent producer, and a million to any other.
    let six = "settings = { 'enable.idempotence' = 'false', 'acks' = '0', 'max.in.flight' = '6' }";
    let refused = kafka("127.0.0.1:1", six).build(&surroundings).err().unwrap();
    let mut said = refused.to_string();
    let mut source = std::error::Error::source(&refused);
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    assert!(said.contains("idempotence"), "{said}");
    let five = "settings = { 'max.in.flight' = '5' }";
    assert!(kafka("127.0.0.1:1", five).build(&surroundings).is_ok());
}
