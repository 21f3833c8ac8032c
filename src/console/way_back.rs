//! The way back by MQTT: the dispatch system acknowledges and reports on a topic, and gets an answer on another.
//!
//! A message is acknowledged to the broker only after it was done or refused, so that nothing is lost when the program
//! ends in between; what comes twice is already so and changes nothing.

use std::sync::Arc;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event as Report, EventLoop, MqttOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Runtime;

use super::access::{Caller, Role};
use super::act::ActRequest;
use super::problem::Problem;
use crate::clock::Clock;
use crate::config::secret::{Environment, Secret};
use crate::flow::incident::IncidentId;
use crate::stages::incident::IncidentDesk;
use crate::stages::publish::backoff::Backoff;
use crate::stages::publish::broker::{Broker, BrokerError};
use crate::stages::publish::sink::Chain;
use crate::store::{Area, AuditEntry};
use crate::tls::ClientTls;

/// Largest message that is read, in bytes.
const LARGEST_BYTES: u32 = 64 * 1024;

/// Says which broker and which topics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WayBackConfig {
    /// Who speaks there; stands in the history and the audit. The broker's rules say who may publish.
    pub name: String,
    /// The broker's name or address.
    pub host: String,
    /// Its port; 8883 with TLS and 1883 without where it is left out.
    #[serde(default)]
    pub port: Option<u16>,
    /// Names us to the broker; it keeps messages for this name while we are away.
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
    /// Where acts come from; the incident's id follows.
    #[serde(default = "default_topic")]
    pub topic: String,
    /// Which part of the grid may be acted on.
    #[serde(default)]
    pub area: Area,
}

fn default_client_id() -> String {
    "emberwatch-way-back".to_owned()
}

fn default_topic() -> String {
    "emberwatch/v1/command/incident".to_owned()
}

/// Says why the way back could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WayBackError {
    /// The broker cannot be reached as configured.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The topic holds a wildcard.
    #[error("topic {0:?} must hold no wildcard and not end in a slash")]
    Topic(String),
    /// The runtime could not be made.
    #[error("thread for the way back could not be started")]
    Runtime(#[source] std::io::Error),
}

/// The running way back. Dropping it closes it.
pub struct WayBack {
    runtime: Option<Runtime>,
}

impl WayBack {
    /// Starts listening; a broker that cannot be reached is tried again for ever.
    pub fn start(
        config: &WayBackConfig,
        desk: IncidentDesk,
        clock: Arc<dyn Clock>,
        environment: Environment<'_>,
    ) -> Result<Self, WayBackError> {
        if config.topic.contains(['+', '#']) || config.topic.ends_with('/') || config.topic.is_empty() {
            return Err(WayBackError::Topic(config.topic.clone()));
        }
        let options = options(config, environment)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("way-back")
            .enable_all()
            .build()
            .map_err(WayBackError::Runtime)?;
        let worker = Worker {
            topic: config.topic.clone(),
            caller: Caller {
                name: config.name.clone(),
                role: Role::Dispatch,
                area: config.area.clone(),
            },
            desk,
            clock,
        };
        runtime.spawn(worker.run(options));
        Ok(Self {
            runtime: Some(runtime),
        })
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn options(config: &WayBackConfig, environment: Environment<'_>) -> Result<MqttOptions, WayBackError> {
    let broker = Broker {
        host: &config.host,
        port: config.port,
        client_id: &config.client_id,
        user: config.user.as_deref(),
        password: config.password.as_ref(),
        tls: config.tls.as_ref(),
    };
    let (mut options, mut properties) = broker.options(LARGEST_BYTES, environment)?;
    options.set_clean_start(false);
    options.set_manual_acks(true);
    properties.receive_maximum = Some(16);
    properties.session_expiry_interval = Some(7 * 86_400);
    options.set_connect_properties(properties);
    Ok(options)
}

#[derive(Clone)]
struct Worker {
    topic: String,
    caller: Caller,
    desk: IncidentDesk,
    clock: Arc<dyn Clock>,
}

impl Worker {
    async fn run(self, options: MqttOptions) {
        let mut failures = 0_u32;
        loop {
            let (client, events) = AsyncClient::new(options.clone(), 64);
            if let Err(error) = self.listen(&client, events, &mut failures).await {
                failures = failures.saturating_add(1);
                tracing::warn!(error = %Chain(&error), failures, "way back is closed: trying again");
            }
            let wait = Backoff::default().wait(failures, &mut rand::rng());
            tokio::time::sleep(wait).await;
        }
    }

    /// Listens until the connection ends.
    async fn listen(
        &self,
        client: &AsyncClient,
        mut events: EventLoop,
        failures: &mut u32,
    ) -> Result<(), rumqttc::v5::ConnectionError> {
        loop {
            match events.poll().await? {
                Report::Incoming(Packet::ConnAck(_)) => {
                    *failures = 0;
                    let filter = format!("{}/+", self.topic);
                    if client.try_subscribe(filter, QoS::AtLeastOnce).is_err() {
                        return Ok(());
                    }
                    tracing::info!(topic = self.topic, "way back is open");
                }
                Report::Incoming(Packet::Publish(message)) => {
                    // A task of its own: the connection is kept alive while the disk is slow.
                    let (worker, client) = (self.clone(), client.clone());
                    tokio::spawn(async move { worker.serve(&client, &message).await });
                }
                _ => {}
            }
        }
    }

    async fn serve(&self, client: &AsyncClient, message: &Publish) {
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        let worker = self.clone();
        let payload = message.payload.clone();
        let acted_on = topic.clone();
        let outcome = tokio::task::spawn_blocking(move || worker.perform(&acted_on, &payload)).await;
        let answer = match outcome {
            Ok(Ok(revision)) => json!({ "done": true, "revision": revision }),
            Ok(Err(problem)) => json!({ "done": false, "problem": problem }),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let answer = answer.to_string().into_bytes();
        let sent = client
            .publish(format!("{topic}/answer"), QoS::AtLeastOnce, false, answer)
            .await;
        if sent.is_err() || client.ack(message).await.is_err() {
            tracing::debug!("connection ended before an act was acknowledged: it comes again");
        }
    }

    /// Does what a message asks; returns the incident's revision.
    fn perform(&self, topic: &str, payload: &[u8]) -> Result<u64, Problem> {
        let id = topic
            .strip_prefix(&self.topic)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|id| id.parse::<IncidentId>().ok())
            .ok_or_else(|| Problem::bad_request("the topic must end in the incident's id"))?;
        let request = ActRequest::parse(payload)?;
        let action = request.action.word().to_owned();
        let outcome = self.act(id, request);
        let entry = AuditEntry {
            at: self.clock.wall(),
            actor: self.caller.actor(),
            action,
            subject: id.to_string(),
            done: outcome.is_ok(),
            detail: outcome.as_ref().err().map(|problem| problem.detail.clone()),
        };
        if let Err(error) = self.desk.store().audit(&entry) {
            tracing::error!(error = %Chain(&error), "an act could not be written into the audit");
        }
        outcome
    }

    fn act(&self, id: IncidentId, request: ActRequest) -> Result<u64, Problem> {
        self.caller.check_action(&request.action)?;
        let incident = self.desk.store().incident(id)?.ok_or_else(|| {
            let status = axum::http::StatusCode::NOT_FOUND;
            Problem::new(status, "unknown-incident", format!("there is no incident {id}"))
        })?;
        self.caller.check_area(&incident)?;
        let act = request.into_act(id, self.caller.actor(), None);
        let acted = self.desk.act(&act).map_err(|refusal| Problem::from(&refusal))?;
        Ok(acted.incident.revision)
    }
}
