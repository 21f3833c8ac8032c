//! DingTalk and WeCom robots: few messages, each a digest of what has happened since the last.
//!
//! Both lock a robot out that sends more than 20 messages a minute, so the delivery loop holds the rate and hands over
//! all that waits at once. The address of a robot is its credential and never appears in a log.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::clock::Clock;
use crate::config::secret::{Environment, Secret, SecretText};
use crate::flow::event::Event;
use crate::flow::report::EvidenceKind;
use crate::stages::publish::address::{AddressPolicy, Network};
use crate::stages::publish::http;
use crate::stages::publish::settings::{BuildError, Surroundings};
use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};
use crate::stages::publish::template::Template;
use crate::stages::publish::wording::{self, Language};
use crate::tls::ClientTls;

/// How many events one message sums up at most.
const DIGEST: usize = 200;

/// Longest text that WeCom takes, in bytes.
const WECOM_BYTES: usize = 4096;

/// Longest text that is sent to DingTalk, in bytes; it takes 20,000.
const DINGTALK_BYTES: usize = 16_000;

/// How long both robots stay silent after too many messages.
const LOCKED_OUT: Duration = Duration::from_mins(10);

/// Says which DingTalk robot.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DingTalkConfig {
    /// The robot's `access_token`.
    pub access_token: Secret,
    /// The robot's signing secret, where it asks for signatures.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// What both robots share.
    #[serde(default)]
    pub message: MessageConfig,
    /// Another address, for private deployments.
    #[serde(default = "default_dingtalk_url")]
    pub url: String,
    /// Mobile numbers of people to mention.
    #[serde(default)]
    pub at_mobiles: Vec<String>,
    /// Our own networks that `url` may point into.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
}

/// Says which WeCom robot.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeComConfig {
    /// The robot's `key`.
    pub key: Secret,
    /// What both robots share.
    #[serde(default)]
    pub message: MessageConfig,
    /// Another address, for private deployments.
    #[serde(default = "default_wecom_url")]
    pub url: String,
    /// Our own networks that `url` may point into.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
}

/// Says how messages read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MessageConfig {
    /// Which language people read.
    pub language: Language,
    /// One line an incident, instead of the built-in one.
    pub line: Option<Template>,
    /// Whether the thumbnail is shown by its link; the reader's program must be able to fetch it.
    pub thumbnail: bool,
}

fn default_dingtalk_url() -> String {
    "https://oapi.dingtalk.com/robot/send".to_owned()
}

fn default_wecom_url() -> String {
    "https://qyapi.weixin.qq.com/cgi-bin/webhook/send".to_owned()
}

/// Sends digests to a DingTalk robot.
pub struct DingTalk {
    robot: Robot,
    secret: Option<SecretText>,
    at_mobiles: Vec<String>,
}

/// Sends digests to a WeCom robot.
pub struct WeCom {
    robot: Robot,
}

struct Robot {
    client: Client,
    url: Url,
    message: MessageConfig,
    clock: Arc<dyn Clock>,
}

impl Robot {
    fn new(
        url: &str,
        (key, secret): (&str, &Secret),
        message: &MessageConfig,
        networks: &[Network],
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, BuildError> {
        let mut url = super::webhook::http_url(url)?;
        let policy = AddressPolicy::new(networks.to_vec());
        policy.check_url(&url)?;
        let secret = secret.resolve(surroundings.environment)?;
        url.query_pairs_mut().append_pair(key, secret.expose());
        Ok(Self {
            client: http::client(policy, &ClientTls::default(), Duration::from_secs(10))?,
            url,
            message: message.clone(),
            clock: Arc::clone(&surroundings.clock),
        })
    }

    async fn post(&self, url: Url, message: &Value) -> Result<(), SinkError> {
        let sent = self.client.post(url).json(message).send().await;
        let body = http::accepted(sent.map_err(http::transport)?, self.clock.wall()).await?;
        judge(&body)
    }

    /// Returns the text of a digest: one line an incident, the newest state of each, oldest first.
    fn digest(&self, deliveries: &[Delivery], largest_bytes: usize) -> Result<(String, String), SinkError> {
        let mut newest = BTreeMap::new();
        for (order, delivery) in deliveries.iter().enumerate() {
            newest.insert(delivery.subject.as_str(), (order, delivery));
        }
        let mut newest = newest.into_values().collect::<Vec<_>>();
        newest.sort_by_key(|(order, _)| *order);
        let events = newest
            .iter()
            .map(|(_, delivery)| delivery.event())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(digest(&events, &self.message, largest_bytes))
    }
}

/// Both robots answer 200 whatever happens and say in the body how it went.
fn judge(body: &str) -> Result<(), SinkError> {
    let answer = serde_json::from_str::<Value>(body)
        .map_err(|error| SinkError::busy("robot's answer was not understood").because(error))?;
    let said = answer.get("errmsg").and_then(Value::as_str).unwrap_or_default();
    let said = said.chars().take(200).collect::<String>();
    match answer.get("errcode").and_then(Value::as_i64) {
        Some(0) => Ok(()),
        // Too many messages: 130101 is DingTalk's code, 45009 WeCom's.
        Some(130_101 | 45_009) => {
            Err(SinkError::busy(format!("robot is locked out: {said:?}")).after(Some(LOCKED_OUT)))
        }
        Some(code) => Err(SinkError::unreachable(format!("robot answered {code}: {said:?}"))),
        None => Err(SinkError::busy("robot's answer holds no errcode")),
    }
}

/// Returns title and text in Markdown.
fn digest(events: &[Event], message: &MessageConfig, largest_bytes: usize) -> (String, String) {
    let title = match (events, message.language) {
        ([event], language) => wording::headline(event, language),
        (events, Language::Zh) => format!("{} 条火情动态", events.len()),
        (events, Language::En) => format!("{} fire updates", events.len()),
    };
    let title = escape(&title);
    let mut text = format!("### {title}\n");
    let mut left_out = events.len();
    for event in events {
        let entry = entry(event, message);
        // Room for the line that says how many are left out.
        if text.len() + entry.len() + 64 > largest_bytes {
            break;
        }
        text.push_str(&entry);
        left_out -= 1;
    }
    if left_out > 0 {
        let more = match message.language {
            Language::Zh => format!("\n另有 {left_out} 条,请在平台查看。\n"),
            Language::En => format!("\nand {left_out} more: see the console.\n"),
        };
        text.push_str(&more);
    }
    (title, text)
}

fn entry(event: &Event, message: &MessageConfig) -> String {
    if let Some(line) = &message.line {
        let line = line.fill(|place| wording::value(event, place), escape);
        return format!("\n- {line}\n");
    }
    let language = message.language;
    let mut entry = format!("\n- **{}**", escape(&wording::headline(event, language)));
    let Some(feature) = event.incident() else {
        entry.push('\n');
        return entry;
    };
    let told = &feature.properties;
    let since = wording::shown_time(told.first_seen.at);
    let confidence = wording::value(event, "confidence");
    let details = match language {
        Language::Zh => format!(" {since} 起可见,置信度 {confidence}"),
        Language::En => format!(" visible since {since}, confidence {confidence}"),
    };
    entry.push_str(&details);
    if let Some(point) = feature.geometry {
        let [longitude, latitude] = point.coordinates;
        let within = told
            .ce90_m
            .map_or(String::new(), |ce90_m| format!(" ±{ce90_m:.0} m"));
        // Letters and digits that can be read aloud over the radio.
        let aloud = wording::value(event, "mgrs");
        let written = write!(entry, " ({latitude:.5},{longitude:.5}{within}, MGRS {aloud})");
        debug_assert!(written.is_ok());
    }
    for (place, zh, en) in [("navigation", "导航", "navigate"), ("link", "查看", "open")] {
        let link = wording::value(event, place);
        if link.starts_with("http") {
            let word = match language {
                Language::Zh => zh,
                Language::En => en,
            };
            entry.push_str(" [");
            entry.push_str(word);
            entry.push_str("](");
            entry.push_str(&link);
            entry.push(')');
        }
    }
    let thumbnail = told
        .evidence
        .iter()
        .rev()
        .find(|file| file.kind == EvidenceKind::Thumbnail && file.uri.starts_with("http"));
    if let Some(thumbnail) = thumbnail.filter(|_| message.thumbnail) {
        entry.push_str("\n  ![](");
        entry.push_str(&thumbnail.uri);
        entry.push(')');
    }
    entry.push('\n');
    entry
}

/// Takes the meaning out of Markdown's own characters: names come from outside.
fn escape(text: &str) -> String {
    wording::clean(text)
        .chars()
        .map(|c| match c {
            '[' | ']' | '(' | ')' | '*' | '_' | '`' | '#' | '<' | '>' | '!' | '\\' | '@' | '\n' | '\t' => ' ',
            other => other,
        })
        .collect()
}

impl DingTalk {
    /// Makes the sink; nothing is sent yet.
    pub fn new(config: &DingTalkConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        let key = ("access_token", &config.access_token);
        Ok(Self {
            robot: Robot::new(
                &config.url,
                key,
                &config.message,
                &config.allow_networks,
                surroundings,
            )?,
            secret: resolved(config.secret.as_ref(), surroundings.environment)?,
            at_mobiles: config.at_mobiles.clone(),
        })
    }

    async fn send(&self, deliveries: &[Delivery]) -> Result<(), SinkError> {
        let (title, text) = self.robot.digest(deliveries, DINGTALK_BYTES)?;
        let mut url = self.robot.url.clone();
        if let Some(secret) = &self.secret {
            let timestamp_ms = self.robot.clock.wall().as_millisecond();
            url.query_pairs_mut()
                .append_pair("timestamp", &timestamp_ms.to_string())
                .append_pair("sign", &sign(secret, timestamp_ms));
        }
        let message = json!({
            "msgtype": "markdown",
            "markdown": { "title": title, "text": text },
            "at": { "atMobiles": self.at_mobiles, "isAtAll": false },
        });
        self.robot.post(url, &message).await
    }
}

fn resolved(secret: Option<&Secret>, environment: Environment<'_>) -> Result<Option<SecretText>, BuildError> {
    Ok(secret.map(|secret| secret.resolve(environment)).transpose()?)
}

/// Signs as DingTalk asks: base64 of HMAC-SHA256 over time and secret, with the secret as key.
fn sign(secret: &SecretText, timestamp_ms: i64) -> String {
    let key = secret.expose().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC should take keys of any length");
    mac.update(format!("{timestamp_ms}\n{}", secret.expose()).as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

impl WeCom {
    /// Makes the sink; nothing is sent yet.
    pub fn new(config: &WeComConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        let key = ("key", &config.key);
        Ok(Self {
            robot: Robot::new(
                &config.url,
                key,
                &config.message,
                &config.allow_networks,
                surroundings,
            )?,
        })
    }

    async fn send(&self, deliveries: &[Delivery]) -> Result<(), SinkError> {
        let (_title, text) = self.robot.digest(deliveries, WECOM_BYTES)?;
        let message = json!({ "msgtype": "markdown", "markdown": { "content": text } });
        self.robot.post(self.robot.url.clone(), &message).await
    }
}

impl Sink for DingTalk {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.send(deliveries))
    }

    fn batch_size(&self) -> usize {
        DIGEST
    }
}

impl Sink for WeCom {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.send(deliveries))
    }

    fn batch_size(&self) -> usize {
        DIGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::publish::samples;

    #[test]
    fn a_digest_fits_and_says_how_many_it_left_out() {
        let events = vec![samples::confirmed(); 100];
        let (_title, text) = digest(&events, &MessageConfig::default(), WECOM_BYTES);
        assert!(text.len() <= WECOM_BYTES);
        assert!(text.contains("另有"), "{text}");
        let (_title, text) = digest(&events[..3], &MessageConfig::default(), WECOM_BYTES);
        assert!(!text.contains("另有"), "{text}");
        assert_eq!(text.matches("\n- ").count(), 3);
    }

    #[test]
    fn names_from_outside_cannot_make_links_or_mention_everybody() {
        let mut event = samples::confirmed();
        samples::properties(&mut event)
            .unwrap()
            .grid
            .as_mut()
            .unwrap()
            .village = Some("[x](http://evil) @all".into());
        let (title, text) = digest(&[event], &MessageConfig::default(), WECOM_BYTES);
        assert!(!title.contains(['[', '@']), "{title}");
        assert!(!text.contains("](http://evil"), "{text}");
        assert!(text.contains("MGRS 49S"), "{text}");
        assert!(!text.contains('@'), "{text}");
    }

    #[test]
    fn the_thumbnail_is_shown_only_when_asked_for_and_never_the_whole_picture() {
        let event = samples::confirmed();
        let (_title, text) = digest(
            std::slice::from_ref(&event),
            &MessageConfig::default(),
            WECOM_BYTES,
        );
        assert!(!text.contains("!["));
        let message = MessageConfig {
            thumbnail: true,
            ..MessageConfig::default()
        };
        let (_title, text) = digest(&[event], &message, WECOM_BYTES);
        assert!(text.contains("thumbnail.jpg)"), "{text}");
        assert!(!text.contains("snapshot.jpg"), "{text}");
    }

    #[test]
    fn a_locked_out_robot_is_left_alone_and_a_wrong_key_buries_no_event() {
        let locked = judge(r#"{"errcode":130101,"errmsg":"send too fast"}"#).unwrap_err();
        assert_eq!(locked.retry_after(), Some(LOCKED_OUT));
        let wrong = judge(r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#).unwrap_err();
        assert!(wrong.is_retryable());
        assert!(judge("<html>").unwrap_err().is_retryable());
        assert!(judge(r#"{"errcode":0,"errmsg":"ok"}"#).is_ok());
    }

    #[test]
    fn the_signature_is_hmac_over_time_and_secret() {
        // Computed with openssl: printf '1700000000000\nSECsecret' | openssl dgst -sha256 -hmac SECsecret -binary | base64
        let signature = sign(&SecretText::new("SECsecret"), 1_700_000_000_000);
        assert_eq!(signature, "0QWYb8Ux63Sm4BhHaJNL3lv5mqW1sLFoks7vu+HFFi4=");
    }
}
