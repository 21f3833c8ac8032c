//! What a pipeline file says about sinks, and how a sink is made of it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::ForbiddenAddress;
use super::backoff::Backoff;
use super::broker::BrokerError;
use super::evidence::{EvidenceFiles, InlineEvidence};
use super::filter::Filter;
use super::http::HttpError;
use super::signature::KeyError;
use super::sink::Sink;
use super::sinks::cap::{Cap, CapConfig};
use super::sinks::cot::{Cot, CotConfig};
use super::sinks::gb28181::{Gb28181, Gb28181Config};
use super::sinks::lines::{Lines, LinesConfig, Stdout, StdoutConfig};
use super::sinks::mqtt::{Mqtt, MqttConfig};
use super::sinks::nats::{Nats, NatsConfig};
use super::sinks::robot::{DingTalk, DingTalkConfig, WeCom, WeComConfig};
use super::sinks::webhook::{Webhook, WebhookConfig};
use crate::clock::Clock;
use crate::config::secret::{Environment, Secret, SecretError};
use crate::tls::{ClientTls, TlsError};

/// One sink as it is written: what all sinks share, and where to.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Names the sink in the outbox, in commands and in metrics; changing it makes a new sink.
    pub name: String,
    /// Where to.
    pub to: Target,
    /// Which events.
    #[serde(default)]
    pub filter: Filter,
    /// How long to wait after failures.
    #[serde(default)]
    pub retry: Backoff,
    /// After how many failed attempts, while other events got through, an event is set aside as dead.
    #[serde(default = "default_max_attempts")]
    pub max_attempts: u32,
    /// After how many hours in the outbox an event is set aside as dead, whatever the reason.
    #[serde(default = "default_give_up_after_h")]
    pub give_up_after_h: u32,
    /// How many calls a minute; as fast as the other side takes them where it is left out.
    #[serde(default)]
    pub rate_per_minute: Option<u32>,
    /// Whether events are only logged, and then count as delivered.
    #[serde(default)]
    pub dry_run: bool,
    /// Which evidence travels inside the event.
    #[serde(default)]
    pub inline_evidence: InlineEvidence,
}

const fn default_max_attempts() -> u32 {
    20
}

const fn default_give_up_after_h() -> u32 {
    72
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Target {
    /// A signed POST an event.
    Webhook(WebhookConfig),
    /// An MQTT 5 broker.
    Mqtt(Box<MqttConfig>),
    /// A NATS JetStream.
    Nats(Box<NatsConfig>),
    /// A Kafka topic.
    Kafka(Box<KafkaConfig>),
    /// A TAK server or mesh.
    Cot(CotConfig),
    /// CAP 1.2 alerts, as files or by POST.
    Cap(Box<CapConfig>),
    /// A DingTalk robot.
    Dingtalk(DingTalkConfig),
    /// A WeCom robot.
    Wecom(WeComConfig),
    /// A file of JSON lines.
    JsonLines(LinesConfig),
    /// JSON lines on standard output.
    Stdout(StdoutConfig),
    /// GB/T 28181 alarms for a gateway's HTTP interface.
    Gb28181(Gb28181Config),
}

/// Says which Kafka brokers and topic. Builds without the feature `kafka` read it and refuse it by name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// The brokers, such as `10.0.0.5:9092`.
    pub brokers: Vec<String>,
    /// The topic.
    #[serde(default = "default_kafka_topic")]
    pub topic: String,
    /// Further settings of librdkafka, such as `security.protocol`.
    #[serde(default)]
    pub settings: std::collections::BTreeMap<String, String>,
    /// Further settings of librdkafka that are secret, such as `sasl.password`.
    #[serde(default)]
    pub secret_settings: std::collections::BTreeMap<String, Secret>,
    /// How long the brokers may take to acknowledge, in seconds.
    #[serde(default = "default_kafka_timeout_s")]
    pub timeout_s: u64,
}

fn default_kafka_topic() -> String {
    "emberwatch.events.v1".to_owned()
}

const fn default_kafka_timeout_s() -> u64 {
    30
}

impl Target {
    /// Returns the word used in configuration and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mqtt(_) => "mqtt",
            Self::Nats(_) => "nats",
            Self::Kafka(_) => "kafka",
            Self::Cot(_) => "cot",
            Self::Cap(_) => "cap",
            Self::Dingtalk(_) => "dingtalk",
            Self::Wecom(_) => "wecom",
            Self::JsonLines(_) => "json_lines",
            Self::Stdout(_) => "stdout",
            Self::Gb28181(_) => "gb28181",
        }
    }

    /// Returns whom the sink trusts and who we are to it; none for sinks without TLS settings.
    #[must_use]
    pub fn tls(&self) -> Option<&ClientTls> {
        match self {
            Self::Webhook(config) => Some(&config.tls),
            Self::Mqtt(config) => config.tls.as_ref(),
            Self::Nats(config) => config.tls.as_ref(),
            Self::Cot(config) => Some(&config.tls),
            Self::Cap(config) => Some(&config.tls),
            Self::Gb28181(config) => Some(&config.tls),
            _ => None,
        }
    }
}

/// What sinks are given of the world.
pub struct Surroundings<'a> {
    /// Where secrets are looked up.
    pub environment: Environment<'a>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Lends evidence files; none where there are none to lend.
    pub evidence: Option<Arc<dyn EvidenceFiles>>,
    /// Where sinks may keep what they must remember.
    pub data_folder: PathBuf,
}

/// Says why a sink could not be made of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A secret is missing.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A signing key is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The HTTP client could not be made.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A broker cannot be reached as configured.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The target lies in our own house.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenAddress),
    /// The URL was not understood; it is not quoted, since it may hold a token.
    #[error("`url` was not understood, expected {expected}")]
    Url {
        /// What was expected.
        expected: &'static str,
    },
    /// A token holds what a header cannot.
    #[error("token holds characters that an HTTP header cannot carry")]
    Token,
    /// A credentials file was not understood.
    #[error("`credentials` is not the text of a NATS credentials file")]
    Credentials,
    /// A setting is missing.
    #[error("`{what}` is missing or empty")]
    Missing {
        /// Which.
        what: &'static str,
    },
    /// A setting is out of its range.
    #[error("`{what}` is {given:?}, expected {expected}")]
    Wrong {
        /// Which.
        what: &'static str,
        /// What was given.
        given: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The program was built without what the sink needs.
    #[error("this program was built without the feature `{feature}`: build with `--features {feature}`")]
    NotBuilt {
        /// Which feature.
        feature: &'static str,
    },
    /// The Kafka library refused the settings.
    #[cfg(feature = "kafka")]
    #[error("Kafka settings were not accepted")]
    Kafka(#[from] rdkafka::error::KafkaError),
}

impl SinkConfig {
    /// Makes the sink; nothing is sent yet.
    pub fn build(&self, surroundings: &Surroundings<'_>) -> Result<Box<dyn Sink>, BuildError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(BuildError::Wrong {
                what: "name",
                given: self.name.clone(),
                expected: "1 to 64 letters, digits, '-', '_' or '.'",
            });
        }
        Ok(match &self.to {
            Target::Webhook(config) => Box::new(Webhook::new(config, surroundings)?),
            Target::Mqtt(config) => Box::new(Mqtt::new(config, surroundings)?),
            Target::Nats(config) => Box::new(Nats::new(config, surroundings)?),
            Target::Kafka(config) => kafka(config, surroundings)?,
            Target::Cot(config) => Box::new(Cot::new(config, surroundings)?),
            Target::Cap(config) => Box::new(Cap::new(&self.name, config, surroundings)?),
            Target::Dingtalk(config) => Box::new(DingTalk::new(config, surroundings)?),
            Target::Wecom(config) => Box::new(WeCom::new(config, surroundings)?),
            Target::JsonLines(config) => Box::new(Lines::new(config)),
            Target::Stdout(config) => Box::new(Stdout::new(config)),
            Target::Gb28181(config) => Box::new(Gb28181::new(config, surroundings)?),
        })
    }

    /// Returns how many calls a minute are allowed: what was written, or what the target can bear.
    pub fn calls_per_minute(&self) -> Option<u32> {
        // The robots lock a sender out for ten minutes at 20 a minute; 18 leaves room for their clock.
        match &self.to {
            Target::Dingtalk(_) | Target::Wecom(_) => Some(self.rate_per_minute.unwrap_or(18).min(18)),
            _ => self.rate_per_minute,
        }
    }
}

#[cfg(feature = "kafka")]
fn kafka(config: &KafkaConfig, surroundings: &Surroundings<'_>) -> Result<Box<dyn Sink>, BuildError> {
    Ok(Box::new(super::sinks::kafka::Kafka::new(config, surroundings)?))
}

#[cfg(not(feature = "kafka"))]
fn kafka(_config: &KafkaConfig, _surroundings: &Surroundings<'_>) -> Result<Box<dyn Sink>, BuildError> {
    Err(BuildError::NotBuilt { feature: "kafka" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        sink: Vec<SinkConfig>,
    }

    #[test]
    fn the_example_holds_every_kind_of_sink_and_reads_as_it_is_written() {
        let text = include_str!("../../../deploy/examples/sinks.toml");
        let sinks = toml::from_str::<Example>(text).unwrap().sink;
        let mut kinds = sinks.iter().map(|sink| sink.to.kind()).collect::<Vec<_>>();
        kinds.sort_unstable();
        assert_eq!(
            kinds,
            [
                "cap",
                "cot",
                "dingtalk",
                "gb28181",
                "json_lines",
                "kafka",
                "mqtt",
                "nats",
                "stdout",
                "webhook",
                "wecom"
            ]
        );
        for sink in sinks {
            let written = serde_json::to_value(&sink).unwrap();
            assert_eq!(serde_json::from_value::<SinkConfig>(written).unwrap(), sink);
        }
    }

    #[test]
    fn robots_never_get_more_than_they_bear() {
        let robot = "name = 'a'\nrate_per_minute = 100\n[to]\nkind = 'wecom'\nkey = '${KEY}'";
        let robot = toml::from_str::<SinkConfig>(robot).unwrap();
        assert_eq!(robot.calls_per_minute(), Some(18));
    }
}
