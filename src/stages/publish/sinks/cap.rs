//! CAP 1.2 alerts, as files in a folder or by POST. Restricted unless the operator says otherwise; a drill is an
//! exercise.

mod alert;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::config::secret::Secret;
use crate::flow::event::Event;
use crate::flow::hash::hexadecimal;
use crate::stages::publish::address::{AddressPolicy, Network};
use crate::stages::publish::evidence::EvidenceFiles;
use crate::stages::publish::http;
use crate::stages::publish::settings::{BuildError, Surroundings};
use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};
use crate::stages::publish::sinks::webhook::{bearer, http_url};
use crate::stages::publish::wording::Language;
use crate::tls::ClientTls;

pub use alert::Alert;

/// How many incidents' earlier alerts are remembered for references.
const REMEMBERED_INCIDENTS: usize = 20_000;

/// Largest file of which a digest is given, in bytes: it is read for that.
const LARGEST_DIGESTED: u64 = 64 * 1024 * 1024;

/// How many earlier alerts one alert refers to.
const REMEMBERED_ALERTS: usize = 50;

/// Says who speaks, to whom, and where alerts go.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapConfig {
    /// Who speaks: a name that is ours alone, without spaces or commas, such as `ember@gaoxin.example`.
    pub sender: String,
    /// Who speaks, for people.
    #[serde(default)]
    pub sender_name: Option<String>,
    /// To whom: never the public unless the operator says so.
    #[serde(default)]
    pub scope: CapScope,
    /// Who may read it, with `scope = "restricted"`.
    #[serde(default = "default_restriction")]
    pub restriction: String,
    /// To whom, with `scope = "private"`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Which language people read.
    #[serde(default)]
    pub language: Language,
    /// Folder that takes one file an alert.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// URL that takes one POST an alert.
    #[serde(default)]
    pub url: Option<String>,
    /// A bearer token for `url`.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Our own networks that `url` may point into.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
    /// Whom to trust and who we are.
    #[serde(default)]
    pub tls: ClientTls,
}

/// To whom an alert is addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapScope {
    /// Everybody.
    Public,
    /// Those whom `restriction` names.
    #[default]
    Restricted,
    /// Those whom `addresses` names.
    Private,
}

fn default_restriction() -> String {
    "仅限处置力量内部使用 / for responders only".to_owned()
}

/// Writes alerts to a folder or a URL.
pub struct Cap {
    config: CapConfig,
    post: Option<(Client, Url, Option<HeaderValue>)>,
    clock: Arc<dyn Clock>,
    evidence: Option<Arc<dyn EvidenceFiles>>,
    memory_path: PathBuf,
    memory: Mutex<Option<Memory>>,
}

/// The alerts that were sent, by incident: `sender,identifier,sent`, as later alerts refer to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory(BTreeMap<String, Vec<String>>);

impl Cap {
    /// Makes the sink; `name` is the sink's own, under which it remembers what it sent.
    pub fn new(name: &str, config: &CapConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        if config.sender.is_empty() || config.sender.contains([' ', ',', '<', '&']) {
            return Err(BuildError::Wrong {
                what: "sender",
                given: config.sender.clone(),
                expected: "a name without spaces, commas, '<' and '&'",
            });
        }
        if config.scope == CapScope::Private && config.addresses.is_empty() {
            return Err(BuildError::Missing { what: "addresses" });
        }
        let post = match &config.url {
            None => None,
            Some(url) => {
                let url = http_url(url)?;
                let policy = AddressPolicy::new(config.allow_networks.clone());
                policy.check_url(&url)?;
                let client = http::client(policy, &config.tls, Duration::from_secs(15))?;
                Some((
                    client,
                    url,
                    bearer(config.token.as_ref(), surroundings.environment)?,
                ))
            }
        };
        if post.is_some() == config.folder.is_some() {
            return Err(BuildError::Missing {
                what: "folder or url (one of them)",
            });
        }
        Ok(Self {
            config: config.clone(),
            post,
            clock: Arc::clone(&surroundings.clock),
            evidence: surroundings.evidence.clone(),
            memory_path: surroundings.data_folder.join(format!("cap-{name}.json")),
            memory: Mutex::new(None),
        })
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let event = delivery.event()?;
        let mut slot = self.memory.lock().await;
        let memory = match slot.take() {
            Some(memory) => memory,
            None => recall(&self.memory_path).await,
        };
        let memory = slot.insert(memory);
        let earlier = memory.0.get(&delivery.subject).cloned().unwrap_or_default();
        let Some(alert) = Alert::new(&self.config, &event, &earlier) else {
            return Ok(());
        };
        let digests = self.digests(&event).await;
        let xml = alert.to_xml(&digests);
        self.hand_over(&alert.identifier(), &xml).await?;
        memory.note(&delivery.subject, alert.reference());
        remember(&self.memory_path, memory).await
    }

    /// Returns the SHA-1 of each file that the event names and that is still there, by name. The standard asks for this
    /// digest and no other; the alert's `evidence_sha256` is the one that proves something.
    async fn digests(&self, event: &Event) -> BTreeMap<String, String> {
        let mut digests = BTreeMap::new();
        let (Some(files), Some(feature)) = (&self.evidence, event.incident()) else {
            return digests;
        };
        for link in &feature.properties.evidence {
            if let Some(bytes) = files.read(&link.name, LARGEST_DIGESTED).await {
                digests.insert(link.name.clone(), hexadecimal(&Sha1::digest(&bytes)));
            }
        }
        digests
    }

    async fn hand_over(&self, identifier: &str, xml: &str) -> Result<(), SinkError> {
        if let Some(folder) = &self.config.folder {
            return write_file(folder, &format!("{identifier}.xml"), xml.as_bytes()).await;
        }
        let Some((client, url, authorization)) = &self.post else {
            return Ok(());
        };
        let mut request = client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/cap+xml")
            .body(xml.to_owned());
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(http::transport)?;
        http::accepted(response, self.clock.wall()).await.map(drop)
    }
}

impl Sink for Cap {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for delivery in deliveries {
                self.send(delivery).await?;
            }
            Ok(())
        })
    }
}

impl Memory {
    fn note(&mut self, incident: &str, reference: String) {
        let alerts = self.0.entry(incident.to_owned()).or_default();
        if !alerts.contains(&reference) {
            alerts.push(reference);
        }
        if alerts.len() > REMEMBERED_ALERTS {
            // The first alert stays: it is the one that receivers know the incident by.
            alerts.remove(1);
        }
        // Incident ids sort by the time they were made, so the first is the oldest.
        while self.0.len() > REMEMBERED_INCIDENTS {
            self.0.pop_first();
        }
    }
}

async fn recall(path: &Path) -> Memory {
    match tokio::fs::read(path).await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "earlier alerts are forgotten: file was not understood");
            Memory::default()
        }),
        Err(_absent) => Memory::default(),
    }
}

async fn remember(path: &Path, memory: &Memory) -> Result<(), SinkError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("cap.json");
    let bytes = serde_json::to_vec(memory).expect("a map of texts should serialise");
    write_file(folder, name, &bytes).await
}

/// Writes a file under another name first, so that a reader never sees half of it.
async fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
    let partial = folder.join(format!(".{name}.part"));
    let written = async {
        tokio::fs::create_dir_all(folder).await?;
        tokio::fs::write(&partial, bytes).await?;
        tokio::fs::rename(&partial, folder.join(name)).await
    };
    written.await.map_err(|error| {
        SinkError::unreachable(format!(
            "file could not be written: {}",
            folder.join(name).display()
        ))
        .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_first_alert_and_forgets_the_oldest_incident() {
        let mut memory = Memory::default();
        for number in 0..100 {
            memory.note("a", format!("r{number}"));
        }
        assert_eq!(memory.0["a"].len(), REMEMBERED_ALERTS);
        assert_eq!(memory.0["a"][0], "r0");
        assert_eq!(memory.0["a"][REMEMBERED_ALERTS - 1], "r99");
    }
}
