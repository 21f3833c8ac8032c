//! NATS JetStream: each event once by `Nats-Msg-Id`, evidence in an object store. Works with nats-server 2.9.10.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::{self, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::config::secret::{Secret, SecretText};
use crate::flow::event::Event;
use crate::stages::publish::evidence::{EvidenceFiles, may_leave};
use crate::stages::publish::settings::{BuildError, Surroundings};
use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};
use crate::stages::publish::template::{Template, as_level};
use crate::stages::publish::wording;
use crate::tls::ClientTls;

/// How long the server remembers ids. Servers refuse a window that is longer than the stream keeps messages.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(10);

/// Says which servers, which stream, and who we are.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// The servers, such as `nats://10.0.0.5:4222` or `tls://…`.
    pub servers: Vec<String>,
    /// The stream that takes the events; made when it is missing.
    #[serde(default = "default_stream")]
    pub stream: String,
    /// Subject of an event; must begin as the stream's subjects do.
    #[serde(default = "default_subject")]
    pub subject: Template,
    /// Subjects of the stream, where it has to be made.
    #[serde(default = "default_subjects")]
    pub subjects: Vec<String>,
    /// For how many days the stream keeps events, where it has to be made.
    #[serde(default = "default_keep_days")]
    pub keep_days: u32,
    /// On how many servers the stream lies, where it has to be made.
    #[serde(default = "default_replicas")]
    pub replicas: usize,
    /// The object store that takes evidence; none where it is left out.
    #[serde(default)]
    pub evidence_bucket: Option<String>,
    /// Largest file that goes into the object store, in bytes.
    #[serde(default = "default_evidence_bytes")]
    pub evidence_bytes: u64,
    /// Whether whole pictures and clips leave the house, not only the crop of the fire.
    #[serde(default)]
    pub whole_pictures: bool,
    /// User name.
    #[serde(default)]
    pub user: Option<String>,
    /// Password of `user`, or a token where there is no user.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The text of a credentials file (JWT and seed).
    #[serde(default)]
    pub credentials: Option<Secret>,
    /// TLS.
    #[serde(default)]
    pub tls: Option<ClientTls>,
    /// How many events, each of another incident, may wait for their acknowledgement.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// How long the server may take to acknowledge, in seconds.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
}

fn default_stream() -> String {
    "EMBERWATCH".to_owned()
}

fn default_subject() -> Template {
    Template::parse("emberwatch.v1.{kind}.{id}").expect("the built-in template should be sound")
}

fn default_subjects() -> Vec<String> {
    vec!["emberwatch.v1.>".to_owned()]
}

const fn default_keep_days() -> u32 {
    30
}

const fn default_replicas() -> usize {
    1
}

const fn default_evidence_bytes() -> u64 {
    8 * 1024 * 1024
}

const fn default_concurrency() -> usize {
    128
}

const fn default_timeout_s() -> u64 {
    10
}

/// Publishes events to one JetStream.
pub struct Nats {
    config: NatsConfig,
    options: ConnectOptions,
    evidence: Option<Arc<dyn EvidenceFiles>>,
    link: Mutex<Option<Link>>,
}

#[derive(Clone)]
struct Link {
    client: Client,
    context: Context,
    bucket: Option<ObjectStore>,
}

impl Nats {
    /// Makes the sink; it connects with the first event.
    pub fn new(config: &NatsConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        if config.servers.is_empty() {
            return Err(BuildError::Missing { what: "servers" });
        }
        let mut options = ConnectOptions::new()
            .name("emberwatch")
            .connection_timeout(Duration::from_secs(config.timeout_s.max(1)))
            .request_timeout(Some(Duration::from_secs(config.timeout_s.max(1))));
        let password = config
            .password
            .as_ref()
            .map(|secret| secret.resolve(surroundings.environment))
            .transpose()?;
        let exposed = |text: &SecretText| text.expose().to_owned();
        options = match (&config.user, &password) {
            (Some(user), Some(password)) => options.user_and_password(user.clone(), exposed(password)),
            (None, Some(token)) => options.token(exposed(token)),
            (Some(_), None) => return Err(BuildError::Missing { what: "password" }),
            (None, None) => options,
        };
        if let Some(credentials) = &config.credentials {
            let text = credentials.resolve(surroundings.environment)?;
            options = options
                .credentials(text.expose())
                .map_err(|_error| BuildError::Credentials)?;
        }
        if let Some(tls) = &config.tls {
            options = options.require_tls(true).tls_client_config(tls.build()?);
        }
        Ok(Self {
            config: config.clone(),
            options,
            evidence: surroundings.evidence.clone(),
            link: Mutex::new(None),
        })
    }

    async fn link(&self) -> Result<Link, SinkError> {
        let mut slot = self.link.lock().await;
        if let Some(link) = slot.as_ref() {
            return Ok(link.clone());
        }
        let client = self
            .options
            .clone()
            .connect(self.config.servers.clone())
            .await
            .map_err(|error| SinkError::unreachable("NATS server could not be reached").because(error))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(Duration::from_secs(self.config.timeout_s.max(1)));
        self.ensure_stream(&context).await?;
        let bucket = match &self.config.evidence_bucket {
            Some(name) => Some(self.ensure_bucket(&context, name).await?),
            None => None,
        };
        let link = Link {
            client,
            context,
            bucket,
        };
        *slot = Some(link.clone());
        Ok(link)
    }

    async fn ensure_stream(&self, context: &Context) -> Result<(), SinkError> {
        // Asked for first: an operator's stream keeps the operator's settings.
        if context.get_stream(&self.config.stream).await.is_ok() {
            return Ok(());
        }
        let kept = Duration::from_hours(24) * self.config.keep_days.max(1);
        let made = context
            .create_stream(StreamConfig {
                name: self.config.stream.clone(),
                subjects: self.config.subjects.clone(),
                storage: StorageType::File,
                discard: DiscardPolicy::Old,
                max_age: kept,
                duplicate_window: DUPLICATE_WINDOW.min(kept),
                num_replicas: self.config.replicas.max(1),
                ..StreamConfig::default()
            })
            .await;
        made.map(drop).map_err(|error| {
            SinkError::unreachable(format!("stream {:?} could not be made", self.config.stream))
                .because(error)
        })
    }

    async fn ensure_bucket(&self, context: &Context, name: &str) -> Result<ObjectStore, SinkError> {
        if let Ok(bucket) = context.get_object_store(name).await {
            return Ok(bucket);
        }
        let made = context
            .create_object_store(object_store::Config {
                bucket: name.to_owned(),
                max_age: Duration::from_hours(24) * self.config.keep_days.max(1),
                num_replicas: self.config.replicas.max(1),
                storage: StorageType::File,
                ..object_store::Config::default()
            })
            .await;
        made.map_err(|error| {
            SinkError::unreachable(format!("object store {name:?} could not be made")).because(error)
        })
    }

    /// Puts the files of an event into the object store, under their hash, before the event that names them.
    async fn store_evidence(&self, event: &Event, bucket: &ObjectStore) -> Result<(), SinkError> {
        let (Some(files), Some(feature)) = (&self.evidence, event.incident()) else {
            return Ok(());
        };
        for link in &feature.properties.evidence {
            if link.bytes > self.config.evidence_bytes || !may_leave(link, self.config.whole_pictures) {
                continue;
            }
            if bucket.info(&link.sha256).await.is_ok() {
                continue;
            }
            let Some(bytes) = files.read(&link.name, self.config.evidence_bytes).await else {
                continue;
            };
            let metadata = ObjectMetadata {
                name: link.sha256.clone(),
                description: Some(link.name.clone()),
                ..ObjectMetadata::default()
            };
            bucket
                .put(metadata, &mut bytes.as_slice())
                .await
                .map_err(|error| {
                    SinkError::busy("evidence was not taken by the object store").because(error)
                })?;
        }
        Ok(())
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let event = delivery.event()?;
        let subject = self
            .config
            .subject
            .fill(|place| wording::value(&event, place), as_level);
        let link = self.link().await?;
        if let Some(bucket) = &link.bucket {
            self.store_evidence(&event, bucket).await?;
        }
        let message = PublishMessage::build()
            .payload(delivery.body.as_bytes().to_vec().into())
            .message_id(&delivery.id)
            .header("Content-Type", "application/cloudevents+json");
        let sent = match link.context.send_publish(subject, message).await {
            Ok(acknowledgement) => acknowledgement.await.map(drop),
            Err(error) => Err(error),
        };
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                SinkError::refused("event is larger than the server allows").because(error)
            }
            PublishErrorKind::MaxAckPending | PublishErrorKind::Other => {
                SinkError::busy("server did not take the event").because(error)
            }
            _ => SinkError::unreachable("server did not acknowledge").because(error),
        })
    }
}

impl Sink for Nats {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for delivery in deliveries {
                self.send(delivery).await?;
            }
            Ok(())
        })
    }

    fn concurrency(&self) -> usize {
        self.config.concurrency.clamp(1, 4096)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(link) = self.link.lock().await.take()
                && let Err(error) = link.client.drain().await
            {
                tracing::debug!(%error, "NATS connection was not drained");
            }
        })
    }
}
