//! XMP: what drones write beside the pixels of a photo, as attributes or elements.

use std::collections::BTreeMap;

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::log::TelemetryError;

/// The largest packet that is read, in bytes.
const LARGEST: usize = 4 << 20;
/// Properties kept at most.
const MOST_PROPERTIES: usize = 4_096;
/// Levels of elements at most.
const DEEPEST: usize = 64;

/// Properties by their name in lower case, prefix included: `drone-dji:gimbalyawdegree`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Returns a property's text. Names are compared without regard to case.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// Returns a property as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
    }

    /// Returns whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn insert(&mut self, name: &str, value: &str) {
        if self.0.len() < MOST_PROPERTIES && value.len() <= 4_096 {
            self.0
                .entry(name.to_ascii_lowercase())
                .or_insert_with(|| value.trim().to_owned());
        }
    }
}

/// Reads the properties of a packet. An element inside another is named after both where the outer one is a structure:
/// `drone-skydio:cameraorientationned/yaw`.
pub fn parse(text: &str) -> Result<Properties, TelemetryError> {
    let malformed = |problem: String| TelemetryError::Malformed {
        what: "XMP metadata",
        problem,
    };
    if text.len() > LARGEST {
        return Err(malformed(format!(
            "{} bytes are more than the limit of {LARGEST}",
            text.len()
        )));
    }
    let mut found = Properties::default();
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    loop {
        let event = reader
            .read_event()
            .map_err(|error| malformed(error.to_string()))?;
        match event {
            Event::Start(element) | Event::Empty(element) if path.len() >= DEEPEST => {
                let name: &str = element.name().into_inner();
                return Err(malformed(format!(
                    "<{name}> lies more than {DEEPEST} levels deep"
                )));
            }
            Event::Start(element) => {
                let name = element.name().into_inner().to_owned();
                attributes(&element, &path, &name, &mut found);
                path.push(name);
            }
            Event::Empty(element) => {
                let name = element.name().into_inner().to_owned();
                attributes(&element, &path, &name, &mut found);
            }
            Event::Text(value) => {
                let value = value.xml10_content();
                if let Some(name) = path.last().filter(|_| !value.trim().is_empty()) {
                    found.insert(name, &value);
                    if let Some(outer) = structure_around(&path) {
                        found.insert(&format!("{outer}/{}", local(name)), &value);
                    }
                }
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// Returns the structure that the innermost element belongs to: the nearest one outside that is not of RDF itself.
fn structure_around(path: &[String]) -> Option<&String> {
    path.iter()
        .rev()
        .skip(1)
        .find(|name| !name.starts_with("rdf:") && !name.starts_with("x:"))
}

fn attributes(
    element: &quick_xml::events::BytesStart<'_>,
    path: &[String],
    name: &str,
    found: &mut Properties,
) {
    for attribute in element.attributes().flatten() {
        let key: &str = attribute.key.into_inner();
        let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else {
            continue;
        };
        found.insert(key, &value);
        let outer = if name.starts_with("rdf:") {
            path.iter()
                .rev()
                .find(|name| !name.starts_with("rdf:") && !name.starts_with("x:"))
                .map(String::as_str)
        } else {
            Some(name)
        };
        if let Some(outer) = outer {
            found.insert(&format!("{outer}/{}", local(key)), &value);
        }
    }
}

/// Cuts the XMP packet out of a file of any kind.
#[must_use]
pub fn packet_in(bytes: &[u8]) -> Option<&str> {
    const OPENS: &[u8] = b"<x:xmpmeta";
    const CLOSES: &[u8] = b"</x:xmpmeta>";
    let start = bytes.windows(OPENS.len()).position(|window| window == OPENS)?;
    let rest = bytes.get(start..)?;
    let rest = rest.get(..rest.len().min(LARGEST))?;
    let end = rest.windows(CLOSES.len()).position(|window| window == CLOSES)? + CLOSES.len();
    std::str::from_utf8(rest.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_elements_are_both_read() {
        let found = parse(
            r#"<x:xmpmeta><rdf:RDF><rdf:Description drone-dji:GpsLatitude="+49.5">
            <drone-dji:GimbalYawDegree>+84.10</drone-dji:GimbalYawDegree>
            <drone-skydio:CameraOrientationNED rdf:parseType="Resource"><drone-skydio:Yaw>12.5</drone-skydio:Yaw></drone-skydio:CameraOrientationNED>
            <drone-skydio:Other><rdf:Description drone-skydio:Pitch="-3"/></drone-skydio:Other>
            </rdf:Description></rdf:RDF></x:xmpmeta>"#,
        )
        .unwrap();
        assert_eq!(found.number("drone-dji:gpslatitude"), Some(49.5));
        assert_eq!(found.number("drone-dji:GimbalYawDegree"), Some(84.1));
        assert_eq!(found.number("drone-skydio:CameraOrientationNED/Yaw"), Some(12.5));
        assert_eq!(found.number("drone-skydio:Other/Pitch"), Some(-3.0));
    }

    #[test]
    fn broken_xml_is_refused_or_read_but_never_more() {
        for text in ["<a", "<a b=c>", "<a><b></a>", "&&&", "<a b='NaN'/>"] {
            if let Ok(found) = parse(text) {
                assert_eq!(found.number("b"), None, "{text}");
            }
        }
        let deep = "<a>".repeat(1_000);
        assert!(parse(&deep).is_err());
        assert_eq!(packet_in(b"<x:xmpmeta"), None);
    }
}
