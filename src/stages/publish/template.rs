//! Texts with places to fill in: `{state}`, `{place}`, `{id}`. Unknown places are found when the text is read.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names that a template may use.
pub const PLACES: [&str; 20] = [
    "id",
    "revision",
    "kind",
    "state",
    "state_zh",
    "class",
    "class_zh",
    "confidence",
    "district",
    "township",
    "village",
    "cell",
    "latitude",
    "longitude",
    "mgrs",
    "utm",
    "time",
    "source",
    "link",
    "navigation",
];

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(&'static str),
}

/// Says why a template could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace is not closed.
    #[error("template {0:?} has a brace that is not closed")]
    Unclosed(String),
    /// A place is not known.
    #[error("template place {0:?} is not known, expected one of {PLACES:?}")]
    Unknown(String),
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, behind) = after
                .split_once('}')
                .ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
            let place = PLACES
                .iter()
                .find(|known| **known == place)
                .ok_or_else(|| TemplateError::Unknown(place.to_owned()))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Place(place));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Fills the places; each value passes through `escape` first.
    pub fn fill(&self, value: impl Fn(&str) -> String, escape: impl Fn(&str) -> String) -> String {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Place(place) => filled.push_str(&escape(&value(place))),
            }
        }
        filled
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => formatter.write_str(text)?,
                Part::Place(place) => write!(formatter, "{{{place}}}")?,
            }
        }
        Ok(())
    }
}

/// Makes a value one level of an MQTT topic or one token of a NATS subject: no separators, no wildcards, never empty.
#[must_use]
pub fn as_level(value: &str) -> String {
    let level = value
        .chars()
        .map(|c| {
            let special = matches!(c, '/' | '+' | '#' | '.' | '*' | '>' | '$');
            if special || c.is_whitespace() || c.is_control() {
                '-'
            } else {
                c
            }
        })
        .collect::<String>();
    if level.is_empty() { "-".to_owned() } else { level }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_filled_and_escaped() {
        let template = Template::parse("a/{district}/{id}").unwrap();
        let filled = template.fill(|place| format!("{place}/#"), as_level);
        assert_eq!(filled, "a/district--/id--");
    }

    #[test]
    fn unknown_places_and_open_braces_are_named() {
        assert_eq!(
            Template::parse("{nobody}").unwrap_err(),
            TemplateError::Unknown("nobody".into())
        );
        assert!(matches!(
            Template::parse("a {id").unwrap_err(),
            TemplateError::Unclosed(_)
        ));
    }

    proptest! {
        #[test]
        fn a_template_prints_as_it_was_written(text in "[a-z/ ]{0,9}(\\{(id|state|place)\\})?[a-z]{0,5}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.to_string(), text);
            }
        }

        #[test]
        fn a_level_never_holds_a_separator_or_wildcard(text in ".{0,40}") {
            let level = as_level(&text);
            prop_assert!(!level.is_empty());
            prop_assert!(!level.contains(['/', '+', '#', '.', '*', '>', ' ', '\0']));
        }
    }
}
