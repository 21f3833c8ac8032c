//! Which events a sink is told about.

use serde::{Deserialize, Serialize};

use crate::flow::detection::Class;
use crate::flow::event::{Event, EventType};
use crate::flow::incident::State;

/// All of these must hold; an empty list holds for everything.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Types of events, in full or with `*`: `incident.*`, `source.blind`. An empty list is every type but
    /// `source.duty`, which comes with every hint and is told to who names it.
    pub events: Vec<EventPattern>,
    /// States of the incident.
    pub states: Vec<State>,
    /// What burns.
    pub classes: Vec<Class>,
    /// Names of districts, townships or villages.
    pub areas: Vec<String>,
    /// Least confidence, 0 to 1.
    pub min_confidence: f32,
    /// Whether late incidents (recordings, delayed streams) are told.
    pub late: bool,
    /// Whether drills are told.
    pub drills: bool,
}

/// A pattern that at least one known type fits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct EventPattern {
    pattern: String,
    fitting: Vec<EventType>,
}

/// Says that a pattern fits no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} fits no type of event, expected for example \"incident.*\", \"incident.confirmed\" or \"source.blind\""
)]
pub struct PatternError(String);

impl Default for Filter {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            states: Vec::new(),
            classes: Vec::new(),
            areas: Vec::new(),
            min_confidence: 0.0,
            late: true,
            drills: true,
        }
    }
}

/// Returns a type's name without the product and the version: `incident.confirmed`.
#[must_use]
pub fn short_name(kind: EventType) -> &'static str {
    let name = kind.name();
    let name = name.strip_prefix("emberwatch.").unwrap_or(name);
    name.strip_suffix(".v1").unwrap_or(name)
}

impl TryFrom<String> for EventPattern {
    type Error = PatternError;

    fn try_from(pattern: String) -> Result<Self, PatternError> {
        let fits = |kind: &EventType| {
            let names = [short_name(*kind), kind.name()];
            match pattern.split_once('*') {
                Some((before, after)) => names.iter().any(|name| {
                    name.len() >= before.len() + after.len()
                        && name.starts_with(before)
                        && name.ends_with(after)
                }),
                None => names.contains(&pattern.as_str()),
            }
        };
        let fitting = EventType::ALL.into_iter().filter(fits).collect::<Vec<_>>();
        if fitting.is_empty() {
            return Err(PatternError(pattern));
        }
        Ok(Self { pattern, fitting })
    }
}

impl From<EventPattern> for String {
    fn from(pattern: EventPattern) -> Self {
        pattern.pattern
    }
}

impl Filter {
    /// Returns whether a sink with this filter is told about an event.
    #[must_use]
    pub fn passes(&self, event: &Event) -> bool {
        let is_wanted = if self.events.is_empty() {
            event.kind != EventType::SourceDuty
        } else {
            self.events
                .iter()
                .any(|pattern| pattern.fitting.contains(&event.kind))
        };
        if !is_wanted {
            return false;
        }
        let Some(feature) = event.incident() else {
            // The other conditions are about fires; a blind camera has no class, and hiding it would be silence.
            return true;
        };
        let told = &feature.properties;
        let in_area = |area: &String| {
            told.grid.as_ref().is_some_and(|grid| {
                [&grid.district, &grid.township, &grid.village]
                    .into_iter()
                    .any(|name| name.as_ref() == Some(area))
            })
        };
        (self.states.is_empty() || self.states.contains(&told.state))
            && (self.classes.is_empty() || self.classes.contains(&told.class))
            && (self.areas.is_empty() || self.areas.iter().any(in_area))
            && told.confidence >= self.min_confidence
            && (self.late || !told.late)
            && (self.drills || !told.drill)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn filter(toml: &str) -> Filter {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn an_empty_filter_tells_everything() {
        assert!(Filter::default().passes(&samples::confirmed()));
        assert!(Filter::default().passes(&samples::blind_source()));
    }

    #[test]
    fn a_move_of_duty_is_told_to_who_names_it() {
        let moved = samples::duty_move();
        assert!(!Filter::default().passes(&moved));
        assert!(!filter("events = ['incident.*']").passes(&moved));
        assert!(filter("events = ['source.duty']").passes(&moved));
        assert!(filter("events = ['source.*']").passes(&moved));
    }

    #[test]
    fn each_condition_can_refuse() {
        let event = samples::confirmed();
        for (toml, expected) in [
            ("events = ['incident.*']", true),
            ("events = ['source.*', 'emberwatch.incident.closed.v1']", false),
            ("states = ['confirmed']", true),
            ("states = ['suspected']", false),
            ("classes = ['flame']", false),
            ("areas = ['阳庙镇']", true),
            ("areas = ['别的镇']", false),
            ("min_confidence = 0.99", false),
            ("late = false", true),
            ("drills = false", true),
        ] {
            assert_eq!(filter(toml).passes(&event), expected, "{toml}");
        }
    }

    #[test]
    fn conditions_about_fires_do_not_hide_a_blind_camera() {
        assert!(filter("states = ['confirmed']\nmin_confidence = 0.9").passes(&samples::blind_source()));
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_refused() {
        assert!(toml::from_str::<Filter>("events = ['incidents.*']").is_err());
        assert!(toml::from_str::<Filter>("unknown = 1").is_err());
    }
}
