//! Kafka: key is the incident, the producer is idempotent, all replicas acknowledge.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::Timeout;

use crate::stages::publish::settings::{BuildError, KafkaConfig, Surroundings};
use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};

/// How many events, each of another incident, may wait for their acknowledgement.
const CONCURRENCY: usize = 128;

/// Publishes events to one topic.
pub struct Kafka {
    producer: FutureProducer,
    topic: String,
    timeout: Duration,
}

impl Kafka {
    /// Makes the sink; it connects in the background.
    pub fn new(config: &KafkaConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        if config.brokers.is_empty() {
            return Err(BuildError::Missing { what: "brokers" });
        }
        let timeout = Duration::from_secs(config.timeout_s.max(1));
        let mut client = ClientConfig::new();
        for (name, value) in &config.settings {
            client.set(name, value);
        }
        for (name, secret) in &config.secret_settings {
            client.set(name, secret.resolve(surroundings.environment)?.expose());
        }
        client
            .set("bootstrap.servers", config.brokers.join(","))
            .set("client.id", "emberwatch")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("message.timeout.ms", timeout.as_millis().to_string());
        Ok(Self {
            producer: client.create()?,
            topic: config.topic.clone(),
            timeout,
        })
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "content-type",
                value: Some("application/cloudevents+json"),
            })
            .insert(Header {
                key: "id",
                value: Some(&delivery.id),
            });
        let record = FutureRecord::to(&self.topic)
            .key(&delivery.subject)
            .payload(delivery.body.as_bytes())
            .timestamp(delivery.time.as_millisecond())
            .headers(headers);
        match self.producer.send(record, Timeout::After(self.timeout)).await {
            Ok(_delivery) => Ok(()),
            Err((error, _message)) => Err(meaning(error)),
        }
    }
}

fn meaning(error: KafkaError) -> SinkError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessage) => {
            SinkError::refused("broker will not take the event").because(error)
        }
        Some(RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::NotEnoughReplicas) => {
            SinkError::busy("broker cannot take the event now").because(error)
        }
        _ => SinkError::unreachable("brokers did not acknowledge").because(error),
    }
}

impl Sink for Kafka {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for delivery in deliveries {
                self.send(delivery).await?;
            }
            Ok(())
        })
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let producer = self.producer.clone();
            let flushed =
                tokio::task::spawn_blocking(move || producer.flush(Timeout::After(Duration::from_secs(2))));
            if !matches!(flushed.await, Ok(Ok(()))) {
                tracing::debug!("Kafka producer was not flushed");
            }
        })
    }
}
