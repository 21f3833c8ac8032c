//! The words of an event: what templates, robots and alerts say of it, in Chinese and English.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use super::filter::short_name;
use crate::flow::detection::Class;
use crate::flow::event::{Event, EventPayload, IncidentFeature};
use crate::flow::pose::Wgs84;
use crate::flow::source::{Duty, SourceState};
use crate::geo::grid_reference::{Utm, mgrs};

/// Our status topic while we are connected.
pub(crate) const ONLINE: &str = "online";

/// Our status topic after we have gone, by ourselves or by the last will.
pub(crate) const OFFLINE: &str = "offline";

/// Which language people read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// 中文
    #[default]
    Zh,
    /// English.
    En,
}

/// Returns the time zone in which times are shown: China's, which has one and never changes it.
#[must_use]
pub fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

/// Returns a moment as people read it, in China's time.
#[must_use]
pub fn shown_time(time: Timestamp) -> String {
    time.to_zoned_datetime(zone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Returns what a place of a template stands for; empty where the event does not say.
#[must_use]
pub fn value(event: &Event, place: &str) -> String {
    match &event.data {
        EventPayload::Incident(feature) => incident_value(event, feature, place),
        EventPayload::Source(status) => match place {
            "id" | "source" => status.source.to_string(),
            "kind" => short_name(event.kind).to_owned(),
            "state" => status.state.name().to_owned(),
            "state_zh" => source_state_zh(status.state).to_owned(),
            "time" => shown_time(status.since),
            _ => String::new(),
        },
    }
}

fn incident_value(event: &Event, feature: &IncidentFeature, place: &str) -> String {
    let told = &feature.properties;
    let grid = |name: fn(&crate::flow::incident::GridCell) -> &Option<String>| {
        told.grid
            .as_ref()
            .and_then(|grid| name(grid).clone())
            .unwrap_or_default()
    };
    let coordinate = |index: usize| {
        feature
            .geometry
            .and_then(|point| point.coordinates.get(index).copied())
            .map(|degrees| format!("{degrees:.6}"))
            .unwrap_or_default()
    };
    let point = || {
        let [lon, lat] = feature.geometry?.coordinates;
        Some(Wgs84 { lat, lon })
    };
    match place {
        "id" => feature.id.to_string(),
        "revision" => told.revision.to_string(),
        "kind" => short_name(event.kind).to_owned(),
        "state" => told.state.name().to_owned(),
        "state_zh" => told.state.name_zh().to_owned(),
        "class" => told.class.name().to_owned(),
        "class_zh" => class_zh(told.class).to_owned(),
        "confidence" => format!("{:.0}%", told.confidence * 100.0),
        "district" => grid(|grid| &grid.district),
        "township" => grid(|grid| &grid.township),
        "village" => grid(|grid| &grid.village),
        "cell" => grid(|grid| &grid.cell),
        "longitude" => coordinate(0),
        "latitude" => coordinate(1),
        "mgrs" => point().and_then(mgrs).unwrap_or_default(),
        "utm" => point()
            .and_then(Utm::of)
            .map(|utm| utm.to_string())
            .unwrap_or_default(),
        "time" => shown_time(told.first_seen.at),
        "source" => told
            .sources
            .first()
            .map(|view| view.id.to_string())
            .unwrap_or_default(),
        "link" => link(feature, "self"),
        "navigation" => link(feature, "amap"),
        _ => String::new(),
    }
}

/// Returns where a link of this meaning leads; empty where there is none.
fn link(feature: &IncidentFeature, rel: &str) -> String {
    let links = &feature.properties.links;
    links
        .iter()
        .find(|link| link.rel == rel)
        .map(|link| link.href.clone())
        .unwrap_or_default()
}

/// Returns where a fire is, in words: the grid cell, else coordinates, else the source that sees it.
#[must_use]
pub fn place(feature: &IncidentFeature, language: Language) -> String {
    let told = &feature.properties;
    let names = told.grid.as_ref().map(|grid| {
        let names = [&grid.district, &grid.township, &grid.village];
        let names = names
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>();
        match language {
            Language::Zh => names.concat(),
            Language::En => names.join(", "),
        }
    });
    if let Some(names) = names.filter(|names| !names.is_empty()) {
        return names;
    }
    if let Some(point) = feature.geometry {
        let [lon, lat] = point.coordinates;
        return format!("{lat:.5},{lon:.5}");
    }
    let source = told.sources.first().map_or("?", |view| view.id.as_str());
    match language {
        Language::Zh => format!("{source} 视野内"),
        Language::En => format!("in view of {source}"),
    }
}

/// Returns one line about an event.
#[must_use]
pub fn headline(event: &Event, language: Language) -> String {
    match &event.data {
        EventPayload::Source(status) => match (status.duty, language) {
            (Some(duty), Language::Zh) => format!("设备 {} 转为{}", status.source, duty_zh(duty)),
            (Some(duty), Language::En) => format!("Camera {} is on {duty} duty", status.source),
            (None, Language::Zh) => format!("设备 {} {}", status.source, source_state_zh(status.state)),
            (None, Language::En) => format!("Camera {} is {}", status.source, status.state),
        },
        EventPayload::Incident(feature) => {
            let told = &feature.properties;
            let where_it_is = place(feature, language);
            let (drill, late) = match language {
                Language::Zh => ("【演练】", "【迟报】"),
                Language::En => ("[DRILL] ", "[LATE] "),
            };
            let drill = if told.drill { drill } else { "" };
            let late = if told.late { late } else { "" };
            match language {
                Language::Zh => format!(
                    "{drill}{late}{where_it_is} {}{}",
                    class_zh(told.class),
                    told.state.name_zh()
                ),
                Language::En => {
                    let state = told.state.name().replace('_', " ");
                    format!("{drill}{late}{} {state} at {where_it_is}", told.class)
                }
            }
        }
    }
}

/// Returns what burns, in Chinese.
#[must_use]
pub const fn class_zh(class: Class) -> &'static str {
    match class {
        Class::Flame => "明火",
        Class::Smoke => "烟雾",
    }
}

const fn duty_zh(duty: Duty) -> &'static str {
    match duty {
        Duty::Patrol => "巡查",
        Duty::Watch => "值守",
        Duty::Alarm => "告警",
    }
}

const fn source_state_zh(state: SourceState) -> &'static str {
    match state {
        SourceState::Connecting => "连接中",
        SourceState::Live => "恢复正常",
        SourceState::Stalled => "画面停顿",
        SourceState::Blind => "无画面",
        SourceState::Frozen => "画面冻结",
        SourceState::Covered => "镜头被遮挡",
        SourceState::Moved => "偏离预置位",
        SourceState::Ended => "已结束",
    }
}

/// Returns a text without the characters that XML and chat programs cannot carry.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::super::template::PLACES;
    use super::*;

    #[test]
    fn every_place_of_a_template_is_filled_by_a_located_incident() {
        let event = samples::confirmed();
        for place in PLACES {
            assert!(!value(&event, place).is_empty(), "{place}");
        }
    }

    #[test]
    fn headlines_say_what_where_and_how_it_stands() {
        let event = samples::confirmed();
        assert_eq!(headline(&event, Language::Zh), "高新区阳庙镇某村 烟雾确认");
        assert_eq!(
            headline(&event, Language::En),
            "smoke confirmed at 高新区, 阳庙镇, 某村"
        );
        assert_eq!(
            headline(&samples::blind_source(), Language::Zh),
            "设备 tower-1 无画面"
        );
        assert_eq!(
            headline(&samples::duty_move(), Language::Zh),
            "设备 tower-1 转为告警"
        );
    }

    #[test]
    fn a_drill_and_a_late_incident_say_so_first() {
        let mut event = samples::confirmed();
        samples::properties(&mut event).unwrap().drill = true;
        samples::properties(&mut event).unwrap().late = true;
        assert!(headline(&event, Language::Zh).starts_with("【演练】【迟报】"));
        assert!(headline(&event, Language::En).starts_with("[DRILL] [LATE] "));
    }
}
