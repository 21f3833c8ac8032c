//! GB/T 28181 alarms, as the body of a POST to a gateway's HTTP interface: the gateway speaks SIP, we do not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as XmlEvent};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::secret::Secret;
use crate::flow::detection::Class;
use crate::flow::event::{Event, EventPayload};
use crate::flow::incident::State;
use crate::stages::publish::address::{AddressPolicy, Network};
use crate::stages::publish::http;
use crate::stages::publish::settings::{BuildError, Surroundings};
use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};
use crate::stages::publish::sinks::webhook::{bearer, http_url};
use crate::stages::publish::wording::{self, Language};
use crate::tls::ClientTls;

/// Says which gateway and which device speaks.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gb28181Config {
    /// Where alarms are posted.
    pub url: String,
    /// The 20-digit id under which an alarm is raised when its source has none of its own.
    pub device_id: String,
    /// 20-digit ids by source.
    #[serde(default)]
    pub device_ids: BTreeMap<String, String>,
    /// A bearer token.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Our own networks that `url` may point into.
    #[serde(default)]
    pub allow_networks: Vec<Network>,
    /// Whom to trust and who we are.
    #[serde(default)]
    pub tls: ClientTls,
}

/// Posts alarms to one gateway.
pub struct Gb28181 {
    client: Client,
    url: Url,
    authorization: Option<HeaderValue>,
    device_id: String,
    device_ids: BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
    serial: AtomicU32,
}

impl Gb28181 {
    /// Makes the sink; nothing is sent yet.
    pub fn new(config: &Gb28181Config, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        for id in config.device_ids.values().chain([&config.device_id]) {
            if id.len() != 20 || !id.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(BuildError::Wrong {
                    what: "device_id",
                    given: id.clone(),
                    expected: "20 digits",
                });
            }
        }
        let url = http_url(&config.url)?;
        let policy = AddressPolicy::new(config.allow_networks.clone());
        policy.check_url(&url)?;
        Ok(Self {
            client: http::client(policy, &config.tls, Duration::from_secs(15))?,
            url,
            authorization: bearer(config.token.as_ref(), surroundings.environment)?,
            device_id: config.device_id.clone(),
            device_ids: config.device_ids.clone(),
            clock: Arc::clone(&surroundings.clock),
            serial: AtomicU32::new(1),
        })
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let event = delivery.event()?;
        let source = match &event.data {
            EventPayload::Incident(feature) => {
                feature.properties.sources.first().map(|view| view.id.as_str())
            }
            EventPayload::Source(status) => Some(status.source.as_str()),
        };
        let device = source
            .and_then(|source| self.device_ids.get(source))
            .unwrap_or(&self.device_id);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/xml; charset=utf-8")
            .body(to_xml(&event, device, serial));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(http::transport)?;
        http::accepted(response, self.clock.wall()).await.map(drop)
    }
}

impl Sink for Gb28181 {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for delivery in deliveries {
                self.send(delivery).await?;
            }
            Ok(())
        })
    }
}

/// Writes an event as an alarm notification.
///
/// # Panics
///
/// Never: writing into memory does not fail.
#[must_use]
pub fn to_xml(event: &Event, device_id: &str, serial: u32) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 0);
    let written = writer
        .write_event(XmlEvent::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))
        .and_then(|()| write(&mut writer, event, device_id, serial));
    written.expect("writing XML into memory should not fail");
    String::from_utf8(writer.into_inner()).expect("XML made of text should be text")
}

fn write(writer: &mut Writer<Vec<u8>>, event: &Event, device_id: &str, serial: u32) -> std::io::Result<()> {
    let description = wording::clean(&wording::headline(event, Language::Zh));
    let (time, point) = match &event.data {
        EventPayload::Incident(feature) => (feature.properties.first_seen.at, feature.geometry),
        EventPayload::Source(status) => (status.since, None),
    };
    let mut fields = vec![
        ("CmdType", "Alarm".to_owned()),
        ("SN", serial.to_string()),
        ("DeviceID", device_id.to_owned()),
        ("AlarmPriority", priority(event).to_string()),
        ("AlarmMethod", method(event).to_string()),
        ("AlarmTime", local(time)),
        ("AlarmDescription", description),
    ];
    if let Some(point) = point {
        let [longitude, latitude] = point.coordinates;
        fields.push(("Longitude", format!("{longitude:.6}")));
        fields.push(("Latitude", format!("{latitude:.6}")));
    }
    writer
        .create_element("Notify")
        .write_inner_content(|writer| {
            for (name, value) in &fields {
                writer
                    .create_element(*name)
                    .write_text_content(BytesText::new(value))?;
            }
            Ok(())
        })
        .map(drop)
}

/// Returns the priority: 1 is the highest of four.
fn priority(event: &Event) -> u8 {
    let Some(feature) = event.incident() else {
        return 3;
    };
    match (feature.properties.state, feature.properties.class) {
        (State::Suspected, Class::Flame) => 2,
        (State::Suspected, Class::Smoke) => 3,
        (state, _) if state.is_burning() => 1,
        _ => 4,
    }
}

/// Returns the method: 5 is an alarm by video, 6 a fault of a device. The standard has no kind "fire".
fn method(event: &Event) -> u8 {
    if event.kind.is_incident() { 5 } else { 6 }
}

/// Writes a moment as the standard does: local time without an offset.
fn local(time: Timestamp) -> String {
    time.to_zoned_datetime(wording::zone())
        .strftime("%Y-%m-%dT%H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::publish::samples;

    #[test]
    fn an_alarm_has_the_fields_of_the_standard_in_their_order() {
        let xml = to_xml(&samples::confirmed(), "64010000001340000001", 7);
        let names = xml
            .split('<')
            .filter(|tag| tag.starts_with(|c: char| c.is_ascii_uppercase()))
            .filter_map(|tag| tag.split('>').next())
            .collect::<Vec<_>>();
        assert_eq!(
            names,
            [
                "Notify",
                "CmdType",
                "SN",
                "DeviceID",
                "AlarmPriority",
                "AlarmMethod",
                "AlarmTime",
                "AlarmDescription",
                "Longitude",
                "Latitude"
            ]
        );
        assert!(
            xml.contains("<AlarmTime>2025-12-05T16:41:02</AlarmTime>"),
            "{xml}"
        );
        assert!(xml.contains("<AlarmPriority>1</AlarmPriority>"), "{xml}");
        assert!(xml.contains("<Latitude>35.190120</Latitude>"), "{xml}");
    }

    #[test]
    fn a_blind_camera_is_a_fault_of_a_device() {
        let xml = to_xml(&samples::blind_source(), "64010000001340000001", 1);
        assert!(xml.contains("<AlarmMethod>6</AlarmMethod>"), "{xml}");
        assert!(!xml.contains("Longitude"), "{xml}");
    }
}
