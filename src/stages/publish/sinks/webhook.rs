//! Webhook: one POST an event, `CloudEvents` in structured mode, signed as Standard Webhooks.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::secret::{Environment, Secret};
use crate::stages::publish::address::{AddressPolicy, Network};
use crate::stages::publish::http;
use crate::stages::publish::settings::{BuildError, Surroundings};
use crate::stages::publish::signature::SigningKeys;
use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};
use crate::tls::ClientTls;

/// Says where and how to post.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to.
    pub url: String,
    /// Signing secrets, the newest first; all of them sign, so that a receiver can change over at leisure.
    pub secrets: Vec<Secret>,
    /// A bearer token, where the receiver asks for one.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Our own networks that this URL may point into.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
    /// Whom to trust and who we are.
    #[serde(default)]
    pub tls: ClientTls,
    /// How long the receiver may take, in seconds.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
    /// How many events, each of another incident, may be on their way at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
}

const fn default_timeout_s() -> u64 {
    15
}

const fn default_concurrency() -> usize {
    8
}

/// Posts events to one URL.
pub struct Webhook {
    client: Client,
    url: Url,
    keys: SigningKeys,
    authorization: Option<HeaderValue>,
    concurrency: usize,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// Makes the sink; nothing is sent yet.
    pub fn new(config: &WebhookConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        let url = http_url(&config.url)?;
        let policy = AddressPolicy::new(config.allow_networks.clone());
        policy.check_url(&url)?;
        let secrets = config
            .secrets
            .iter()
            .map(|secret| secret.resolve(surroundings.environment))
            .collect::<Result<Vec<_>, _>>()?;
        let keys = SigningKeys::new(&secrets)?;
        Ok(Self {
            client: http::client(policy, &config.tls, Duration::from_secs(config.timeout_s.max(1)))?,
            url,
            keys,
            authorization: bearer(config.token.as_ref(), surroundings.environment)?,
            concurrency: config.concurrency.max(1),
            clock: Arc::clone(&surroundings.clock),
        })
    }

    async fn post(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let now = self.clock.wall();
        let timestamp_s = now.as_second();
        let signature = self
            .keys
            .sign(&delivery.id, timestamp_s, delivery.body.as_bytes());
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header(HeaderName::from_static("webhook-id"), &delivery.id)
            .header(HeaderName::from_static("webhook-timestamp"), timestamp_s)
            .header(HeaderName::from_static("webhook-signature"), signature)
            .body(delivery.body.as_bytes().to_vec());
        if let Some(authorization) = &self.authorization {
            request = request.header(reqwest::header::AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(http::transport)?;
        http::accepted(response, now).await.map(drop)
    }
}

impl Sink for Webhook {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for delivery in deliveries {
                self.post(delivery).await?;
            }
            Ok(())
        })
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}

/// Reads a URL that must speak HTTP and carry no password.
pub(crate) fn http_url(text: &str) -> Result<Url, BuildError> {
    let url = text.parse::<Url>().map_err(|_error| BuildError::Url {
        expected: "an absolute URL such as \"https://dispatch.example/hook\"",
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BuildError::Url {
            expected: "http or https",
        });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BuildError::Url {
            expected: "no password in the URL: use `token`",
        });
    }
    Ok(url)
}

/// Makes the header of a bearer token.
pub(crate) fn bearer(
    token: Option<&Secret>,
    environment: Environment<'_>,
) -> Result<Option<HeaderValue>, BuildError> {
    let Some(token) = token else {
        return Ok(None);
    };
    let token = token.resolve(environment)?;
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_error| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(Some(value))
}
