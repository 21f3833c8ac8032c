//! One CAP 1.2 alert as XML.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as XmlEvent};

use super::{CapConfig, CapScope};
use crate::flow::event::{Event, IncidentFeature};
use crate::flow::incident::State;
use crate::flow::report::media_type;
use crate::stages::publish::wording::{self, Language};

/// The namespace of CAP 1.2.
const NAMESPACE: &str = "urn:oasis:names:tc:emergency:cap:1.2";

/// For how long an alert is in force.
const IN_FORCE: SignedDuration = SignedDuration::from_hours(6);

/// One alert about one revision of one incident.
pub struct Alert<'a> {
    config: &'a CapConfig,
    event: &'a Event,
    feature: &'a IncidentFeature,
    earlier: &'a [String],
}

impl<'a> Alert<'a> {
    /// Makes the alert of an event about an incident; nothing for an event about a source.
    #[must_use]
    pub fn new(config: &'a CapConfig, event: &'a Event, earlier: &'a [String]) -> Option<Self> {
        event.incident().map(|feature| Self {
            config,
            event,
            feature,
            earlier,
        })
    }

    /// Returns the name of this alert alone.
    pub(super) fn identifier(&self) -> String {
        format!("{}-r{}", self.feature.id, self.feature.properties.revision)
    }

    fn sent(&self) -> String {
        instant(self.event.time)
    }

    /// Returns what later alerts refer to this one by.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{},{},{}", self.config.sender, self.identifier(), self.sent())
    }

    fn message_type(&self) -> &'static str {
        match self.feature.properties.state {
            _ if self.earlier.is_empty() => "Alert",
            State::Rejected | State::Merged => "Cancel",
            _ => "Update",
        }
    }

    /// Returns the alert as XML, its elements in the order of the schema. `digests` are the SHA-1 of evidence files, by
    /// name; a file without one has no `digest`.
    ///
    /// # Panics
    ///
    /// Never: writing into memory does not fail.
    #[must_use]
    pub fn to_xml(&self, digests: &BTreeMap<String, String>) -> String {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer
            .write_event(XmlEvent::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))
            .and_then(|()| self.write(&mut writer, digests))
            .expect("writing XML into memory should not fail");
        String::from_utf8(writer.into_inner()).expect("XML made of text should be text")
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>, digests: &BTreeMap<String, String>) -> std::io::Result<()> {
        let status = if self.feature.properties.drill {
            "Exercise"
        } else {
            "Actual"
        };
        let scope = match self.config.scope {
            CapScope::Public => "Public",
            CapScope::Restricted => "Restricted",
            CapScope::Private => "Private",
        };
        writer
            .create_element("alert")
            .with_attribute(("xmlns", NAMESPACE))
            .write_inner_content(|writer| {
                text(writer, "identifier", &self.identifier())?;
                text(writer, "sender", &self.config.sender)?;
                text(writer, "sent", &self.sent())?;
                text(writer, "status", status)?;
                text(writer, "msgType", self.message_type())?;
                text(writer, "source", &self.event.source)?;
                text(writer, "scope", scope)?;
                match self.config.scope {
                    CapScope::Public => {}
                    CapScope::Restricted => text(writer, "restriction", &self.config.restriction)?,
                    CapScope::Private => {
                        let quoted = self
                            .config
                            .addresses
                            .iter()
                            .map(|address| format!("\"{address}\""));
                        text(writer, "addresses", &quoted.collect::<Vec<_>>().join(" "))?;
                    }
                }
                if self.message_type() != "Alert" {
                    text(writer, "references", &self.earlier.join(" "))?;
                }
                text(writer, "incidents", &self.feature.id.to_string())?;
                self.write_info(writer, digests)
            })
            .map(drop)
    }

    fn write_info(
        &self,
        writer: &mut Writer<Vec<u8>>,
        digests: &BTreeMap<String, String>,
    ) -> std::io::Result<()> {
        let told = &self.feature.properties;
        let language = self.config.language;
        let weight = weight(told.state, told.confidence);
        let (code, event_name, asks) = match language {
            Language::Zh => ("zh-CN", "露天焚烧", instruction_zh(told.state)),
            Language::En => ("en", "open burning", instruction_en(told.state)),
        };
        let expires = self.event.time.checked_add(IN_FORCE).unwrap_or(Timestamp::MAX);
        let info = writer.create_element("info");
        info.write_inner_content(|writer| {
            text(writer, "language", code)?;
            text(writer, "category", "Fire")?;
            text(writer, "category", "Env")?;
            text(writer, "event", event_name)?;
            text(writer, "responseType", weight.response)?;
            text(writer, "urgency", weight.urgency)?;
            text(writer, "severity", weight.severity)?;
            text(writer, "certainty", weight.certainty)?;
            text(writer, "onset", &instant(told.first_seen.at))?;
            text(writer, "expires", &instant(expires))?;
            if let Some(name) = &self.config.sender_name {
                text(writer, "senderName", name)?;
            }
            text(writer, "headline", &wording::headline(self.event, language))?;
            text(writer, "instruction", asks)?;
            for (name, value) in self.parameters() {
                writer.create_element("parameter").write_inner_content(|writer| {
                    text(writer, "valueName", name)?;
                    text(writer, "value", &value)
                })?;
            }
            for link in &told.evidence {
                writer.create_element("resource").write_inner_content(|writer| {
                    text(
                        writer,
                        "resourceDesc",
                        &format!("{:?} sha256:{}", link.kind, link.sha256),
                    )?;
                    text(writer, "mimeType", media_type(&link.name))?;
                    text(writer, "size", &link.bytes.to_string())?;
                    text(writer, "uri", &link.uri)?;
                    match digests.get(&link.name) {
                        Some(digest) => text(writer, "digest", digest),
                        None => Ok(()),
                    }
                })?;
            }
            self.write_area(writer)
        })
        .map(drop)
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let told = &self.feature.properties;
        let mut parameters = vec![
            ("incident_state", told.state.name().to_owned()),
            ("confidence", format!("{:.2}", told.confidence)),
            ("class", told.class.name().to_owned()),
            ("late", told.late.to_string()),
        ];
        if let Some(ce90_m) = told.ce90_m {
            parameters.push(("ce90_m", format!("{ce90_m:.1}")));
        }
        // The standard's own `digest` of a resource is SHA-1, which proves nothing any more.
        let digests = told
            .evidence
            .iter()
            .map(|link| ("evidence_sha256", format!("{} {}", link.sha256, link.name)));
        parameters.extend(digests);
        if let Ok(serde_json::Value::String(method)) = serde_json::to_value(told.method) {
            parameters.push(("geo_method", method));
        }
        if let Some(bearing) = &told.bearing {
            let seen = format!(
                "{:.1} from {:.6},{:.6}",
                bearing.azimuth_deg, bearing.from.lat, bearing.from.lon
            );
            parameters.push(("bearing_deg", seen));
        }
        parameters
    }

    fn write_area(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let told = &self.feature.properties;
        let place = wording::place(self.feature, self.config.language);
        writer
            .create_element("area")
            .write_inner_content(|writer| {
                text(writer, "areaDesc", &place)?;
                if let Some(point) = self.feature.geometry {
                    let [longitude, latitude] = point.coordinates;
                    // The radius is in kilometres.
                    let radius_km = told.ce90_m.filter(|metres| metres.is_finite()).unwrap_or(0.0) / 1000.0;
                    text(
                        writer,
                        "circle",
                        &format!("{latitude:.5},{longitude:.5} {radius_km:.3}"),
                    )?;
                }
                if let Some(cell) = told.grid.as_ref().and_then(|grid| grid.cell.as_ref()) {
                    writer.create_element("geocode").write_inner_content(|writer| {
                        text(writer, "valueName", "grid_cell")?;
                        text(writer, "value", cell)
                    })?;
                }
                Ok(())
            })
            .map(drop)
    }
}

/// How heavily an alert weighs, in CAP's words.
struct Weight {
    response: &'static str,
    urgency: &'static str,
    severity: &'static str,
    certainty: &'static str,
}

fn weight(state: State, confidence: f32) -> Weight {
    let (response, urgency, severity, certainty) = match state {
        // CAP draws the line between possible and likely at one half.
        State::Suspected if confidence > 0.5 => ("Assess", "Immediate", "Minor", "Likely"),
        State::Suspected => ("Assess", "Immediate", "Minor", "Possible"),
        State::Extinguished | State::Closed => ("AllClear", "Past", "Minor", "Observed"),
        State::Rejected | State::Merged => ("None", "Past", "Unknown", "Unlikely"),
        _ => ("Execute", "Immediate", "Moderate", "Observed"),
    };
    Weight {
        response,
        urgency,
        severity,
        certainty,
    }
}

const fn instruction_zh(state: State) -> &'static str {
    match state {
        State::Suspected => "请立即复核。",
        State::Extinguished | State::Closed => "火点已处置,解除。",
        State::Rejected | State::Merged => "本条作废。",
        _ => "请立即到场处置并反馈。",
    }
}

const fn instruction_en(state: State) -> &'static str {
    match state {
        State::Suspected => "Verify at once.",
        State::Extinguished | State::Closed => "The fire is out; all clear.",
        State::Rejected | State::Merged => "This alert is void.",
        _ => "Go there at once, put it out, and report.",
    }
}

fn text(writer: &mut Writer<Vec<u8>>, name: &str, value: &str) -> std::io::Result<()> {
    let value = wording::clean(value);
    writer
        .create_element(name)
        .write_text_content(BytesText::new(&value))
        .map(drop)
}

/// Writes a moment as CAP wants it: with an offset, without `Z` and without fractions.
fn instant(time: Timestamp) -> String {
    time.to_zoned_datetime(wording::zone())
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::publish::samples;

    fn config() -> CapConfig {
        toml::from_str("sender = 'ember@gaoxin.example'\nfolder = 'alerts'").unwrap()
    }

    fn xml(event: &Event, earlier: &[String]) -> String {
        let digests = BTreeMap::from([("thumbnail.jpg".to_owned(), "da39".to_owned())]);
        Alert::new(&config(), event, earlier).unwrap().to_xml(&digests)
    }

    #[test]
    fn an_alert_is_restricted_and_timed_with_an_offset() {
        let xml = xml(&samples::confirmed(), &[]);
        assert!(xml.contains("<scope>Restricted</scope>"), "{xml}");
        assert!(xml.contains("<msgType>Alert</msgType>"), "{xml}");
        assert!(xml.contains("<sent>2025-12-05T16:42:07+08:00</sent>"), "{xml}");
        assert!(xml.contains("<circle>35.19012,113.25034 0.044</circle>"), "{xml}");
        assert!(xml.contains("<certainty>Observed</certainty>"), "{xml}");
    }

    #[test]
    fn later_alerts_refer_to_earlier_ones_and_a_false_alarm_cancels_them() {
        let earlier = ["ember@gaoxin.example,x-r1,2025-12-05T16:41:00+08:00".to_owned()];
        let mut event = samples::confirmed();
        assert!(xml(&event, &earlier).contains("<msgType>Update</msgType>"));
        samples::properties(&mut event).unwrap().state = State::Rejected;
        let cancelled = xml(&event, &earlier);
        assert!(cancelled.contains("<msgType>Cancel</msgType>"), "{cancelled}");
        assert!(cancelled.contains(&earlier[0]), "{cancelled}");
    }

    #[test]
    fn a_file_that_could_be_read_has_the_digest_that_the_standard_asks_for() {
        let xml = xml(&samples::confirmed(), &[]);
        let of = |name: &str| {
            let resource = xml
                .split("<resource>")
                .find(|part| part.contains(&format!("/{name}<")));
            resource.unwrap().contains("<digest>da39</digest>")
        };
        assert!(of("thumbnail.jpg") && !of("snapshot.jpg"), "{xml}");
    }

    #[test]
    fn a_drill_is_an_exercise() {
        let mut event = samples::confirmed();
        samples::properties(&mut event).unwrap().drill = true;
        assert!(xml(&event, &[]).contains("<status>Exercise</status>"));
    }
}
