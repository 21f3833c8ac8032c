//! MQTT 5: quality of service 1, message expiry, and a retained status with a last will.
//!
//! One connection lives until its first error; then every event that was not acknowledged fails, and the next delivery
//! connects anew. Nothing is sent again by the library: the outbox does that, under the same event id.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    LastWill, LastWillProperties, Packet, PubAck, PubAckReason, PublishProperties,
};
use rumqttc::v5::{AsyncClient, Event as Report, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, oneshot, watch};

use crate::config::secret::Secret;
use crate::stages::publish::broker::Broker;
use crate::stages::publish::settings::{BuildError, Surroundings};
use crate::stages::publish::sink::{BoxFuture, Chain, Delivery, Sink, SinkError};
use crate::stages::publish::template::{Template, as_level};
use crate::stages::publish::wording;
use crate::tls::ClientTls;

/// Largest packet that is taken from the broker, in bytes.
const LARGEST_INCOMING_BYTES: u32 = 256 * 1024;

/// Says which broker, which topics, and who we are.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// The broker's name or address.
    pub host: String,
    /// Its port; 8883 with TLS and 1883 without where it is left out.
    #[serde(default)]
    pub port: Option<u16>,
    /// Names us to the broker; each connection needs its own.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// User name.
    #[serde(default)]
    pub user: Option<String>,
    /// Password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// TLS, where the broker speaks it.
    #[serde(default)]
    pub tls: Option<ClientTls>,
    /// Topic of an event about an incident.
    #[serde(default = "default_topic")]
    pub topic: Template,
    /// Topic of an event about a source; retained, so that a late listener knows which cameras are blind.
    #[serde(default = "default_source_topic")]
    pub source_topic: Template,
    /// Topic of our own retained status: `online`, or `offline` by the last will.
    #[serde(default = "default_status_topic")]
    pub status_topic: String,
    /// After how many seconds the broker drops an event that nobody fetched.
    #[serde(default = "default_expiry_s")]
    pub expiry_s: u32,
    /// How many events, each of another incident, may wait for their acknowledgement.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// How long the broker may take to acknowledge, in seconds.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
}

fn default_client_id() -> String {
    "emberwatch".to_owned()
}

fn default_topic() -> Template {
    Template::parse("emberwatch/v1/{district}/{township}/incident/{id}")
        .expect("the built-in template should be sound")
}

fn default_source_topic() -> Template {
    Template::parse("emberwatch/v1/source/{source}").expect("the built-in template should be sound")
}

fn default_status_topic() -> String {
    "emberwatch/v1/status".to_owned()
}

const fn default_expiry_s() -> u32 {
    86_400
}

const fn default_concurrency() -> usize {
    256
}

const fn default_timeout_s() -> u64 {
    15
}

/// Publishes events to one broker.
pub struct Mqtt {
    options: MqttOptions,
    topic: Template,
    source_topic: Template,
    status_topic: String,
    expiry_s: u32,
    concurrency: usize,
    timeout: Duration,
    link: Mutex<Option<Arc<Link>>>,
}

/// One connection.
struct Link {
    client: AsyncClient,
    waiting: StdMutex<Waiting>,
    /// Held while a publish is handed over, so that waiters queue in the order of the packets.
    order: Mutex<()>,
    /// Why the connection ended, once it has.
    ended: watch::Sender<Option<String>>,
}

/// Who waits for an acknowledgement: first in order of hand-over, then by packet id.
#[derive(Default)]
struct Waiting {
    unsent: VecDeque<oneshot::Sender<PubAck>>,
    sent: HashMap<u16, oneshot::Sender<PubAck>>,
}

impl Mqtt {
    /// Makes the sink; it connects with the first event.
    pub fn new(config: &MqttConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        let broker = Broker {
            host: &config.host,
            port: config.port,
            client_id: &config.client_id,
            user: config.user.as_deref(),
            password: config.password.as_ref(),
            tls: config.tls.as_ref(),
        };
        let (mut options, properties) = broker.options(LARGEST_INCOMING_BYTES, surroundings.environment)?;
        // Small packets that wait for each other's acknowledgement would cost 40 ms each.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options.set_clean_start(true);
        options.set_outgoing_inflight_upper_limit(u16::MAX - 1);
        options.set_connect_properties(properties);
        options.set_last_will(LastWill::new(
            config.status_topic.as_str(),
            wording::OFFLINE,
            QoS::AtLeastOnce,
            true,
            None::<LastWillProperties>,
        ));
        Ok(Self {
            options,
            topic: config.topic.clone(),
            source_topic: config.source_topic.clone(),
            status_topic: config.status_topic.clone(),
            expiry_s: config.expiry_s,
            concurrency: config.concurrency.clamp(1, 4096),
            timeout: Duration::from_secs(config.timeout_s.max(1)),
            link: Mutex::new(None),
        })
    }

    /// Returns the living connection, or makes one and waits until the broker has taken our status.
    async fn link(&self) -> Result<Arc<Link>, SinkError> {
        let mut slot = self.link.lock().await;
        if let Some(link) = slot.as_ref()
            && link.ended.borrow().is_none()
        {
            return Ok(Arc::clone(link));
        }
        let (client, events) = AsyncClient::new(self.options.clone(), 64);
        let link = Arc::new(Link {
            client,
            waiting: StdMutex::default(),
            order: Mutex::default(),
            ended: watch::Sender::new(None),
        });
        tokio::spawn(drive(events, Arc::downgrade(&link)));
        *slot = Some(Arc::clone(&link));
        drop(slot);
        link.publish(
            &self.status_topic,
            true,
            wording::ONLINE.into(),
            None,
            self.timeout,
        )
        .await?;
        Ok(link)
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let event = delivery.event()?;
        let about_source = !event.kind.is_incident();
        let template = if about_source {
            &self.source_topic
        } else {
            &self.topic
        };
        let topic = template.fill(|place| wording::value(&event, place), as_level);
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: (self.expiry_s > 0 && !about_source).then_some(self.expiry_s),
            content_type: Some("application/cloudevents+json".to_owned()),
            user_properties: vec![("id".to_owned(), delivery.id.clone())],
            ..PublishProperties::default()
        };
        let link = self.link().await?;
        let payload = delivery.body.as_bytes().to_vec();
        link.publish(&topic, about_source, payload, Some(properties), self.timeout)
            .await
    }
}

impl Link {
    /// Publishes and waits for the acknowledgement.
    async fn publish(
        &self,
        topic: &str,
        retain: bool,
        payload: Vec<u8>,
        properties: Option<PublishProperties>,
        timeout: Duration,
    ) -> Result<(), SinkError> {
        let (acknowledge, acknowledged) = oneshot::channel();
        let mut ended = self.ended.subscribe();
        let handed_over = async {
            let _order = self.order.lock().await;
            self.waiting().unsent.push_back(acknowledge);
            let properties = properties.unwrap_or_default();
            self.client
                .publish_with_properties(topic, QoS::AtLeastOnce, retain, payload, properties)
                .await
        };
        let outcome = async {
            if handed_over.await.is_err() {
                return Err(SinkError::unreachable("connection to the broker has ended"));
            }
            tokio::select! {
                acknowledged = acknowledged => acknowledged
                    .map_err(|_gone| self.why_it_ended())
                    .and_then(|acknowledgement| judge(&acknowledgement)),
                _ = ended.wait_for(Option::is_some) => Err(self.why_it_ended()),
            }
        };
        match tokio::time::timeout(timeout, outcome).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                // The waiter's place in the order is lost with it, so the connection has to go as well.
                self.end("broker did not acknowledge in time");
                Err(SinkError::unreachable("broker did not acknowledge in time"))
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, why: &str) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert_with(|| why.to_owned());
            first
        });
        let mut waiting = self.waiting();
        waiting.unsent.clear();
        waiting.sent.clear();
    }

    fn why_it_ended(&self) -> SinkError {
        let why = self.ended.borrow().clone();
        SinkError::unreachable(why.unwrap_or_else(|| "connection to the broker has ended".to_owned()))
    }

    /// Notes what the event loop reports.
    fn note(&self, report: Report) {
        match report {
            Report::Outgoing(Outgoing::Publish(packet)) => {
                let mut waiting = self.waiting();
                if let Some(waiter) = waiting.unsent.pop_front() {
                    waiting.sent.insert(packet, waiter);
                }
            }
            Report::Incoming(Packet::PubAck(acknowledgement)) => {
                let waiter = self.waiting().sent.remove(&acknowledgement.pkid);
                if waiter.is_some_and(|waiter| waiter.send(acknowledgement).is_err()) {
                    tracing::trace!("an acknowledgement came after its deadline");
                }
            }
            Report::Incoming(Packet::Disconnect(goodbye)) => {
                self.end(&format!("broker said goodbye: {:?}", goodbye.reason_code));
            }
            _ => {}
        }
    }
}

/// Runs one connection until its first error, or until nobody holds it any more.
async fn drive(mut events: EventLoop, link: std::sync::Weak<Link>) {
    loop {
        let report = events.poll().await;
        let Some(link) = link.upgrade() else {
            return;
        };
        match report {
            Ok(report) => link.note(report),
            Err(error) => {
                link.end(&format!("connection to the broker failed: {}", Chain(&error)));
                return;
            }
        }
        if link.ended.borrow().is_some() {
            return;
        }
    }
}

fn judge(acknowledgement: &PubAck) -> Result<(), SinkError> {
    let message = || format!("broker answered {:?}", acknowledgement.reason);
    match acknowledgement.reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
        PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
            Err(SinkError::refused(message()))
        }
        PubAckReason::NotAuthorized => Err(SinkError::unreachable(message())),
        _ => Err(SinkError::busy(message())),
    }
}

impl Sink for Mqtt {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for delivery in deliveries {
                self.send(delivery).await?;
            }
            Ok(())
        })
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let Some(link) = self.link.lock().await.take() else {
                return;
            };
            // A polite goodbye keeps the broker from publishing the last will, so the status is set by hand first.
            let said = link
                .publish(
                    &self.status_topic,
                    true,
                    wording::OFFLINE.into(),
                    None,
                    Duration::from_secs(2),
                )
                .await;
            if said.is_ok() && link.client.disconnect().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    }
}
