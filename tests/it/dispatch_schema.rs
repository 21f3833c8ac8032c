//! The schemas in the repository are those of the code, the examples keep to them, and a consumer of v1 keeps working.
//!
//! `UPDATE_GOLDEN=1` writes schemas and examples anew; what lies in `schemas/frozen` is never written again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::path::{Path, PathBuf};

use emberwatch::flow::event::{Event, EventType, SourceStatus};
use emberwatch::flow::incident::{Actor, GridCell, IncidentId, RejectReason};
use emberwatch::flow::source::{Duty, SourceId, SourceState};
use emberwatch::stages::event_maker::EventMaker;
use emberwatch::stages::incident::{Act, Action, GridAnswer, Ids, IncidentBook, IncidentConfig};
use emberwatch::store::Change;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::dispatch_store::report;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-06-05T02:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

/// Compares a file with what the code says, or writes it.
fn golden(name: &str, value: &Value) {
    let path = folder().join(name);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (ours, theirs)) in text.lines().zip(stored.lines()).enumerate() {
        assert_eq!(
            ours,
            theirs,
            "{name}:{}: run with UPDATE_GOLDEN=1 and look at the difference",
            number + 1
        );
    }
    assert_eq!(
        text.lines().count(),
        stored.lines().count(),
        "{name}: run with UPDATE_GOLDEN=1"
    );
}

fn base_schema() -> Value {
    serde_json::to_value(schemars::schema_for!(Event)).unwrap()
}

fn schema_of(kind: EventType) -> Value {
    let (payload, media) = if kind.is_incident() {
        ("IncidentFeature", "application/geo+json")
    } else {
        ("SourceStatus", "application/json")
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("{}.schema.json", kind.name()),
        "title": kind.name(),
        "allOf": [{ "$ref": "event.v1.schema.json" }],
        "properties": {
            "type": { "const": kind.name() },
            "datacontenttype": { "const": media },
            "data": { "$ref": format!("event.v1.schema.json#/$defs/{payload}") },
        },
    })
}

/// One example of each type, out of one simulated afternoon.
fn examples() -> Vec<Event> {
    let cell = GridCell {
        district: Some("高新区".to_owned()),
        township: Some("苏家作乡".to_owned()),
        village: Some("东段庄村".to_owned()),
        cell: Some("GX-0317".to_owned()),
        person: Some("网格员甲".to_owned()),
        team: Some("一队".to_owned()),
    };
    let grid = move |_: &emberwatch::flow::position::Position| GridAnswer {
        cell: Some(cell.clone()),
        candidates: Vec::new(),
    };
    let config = IncidentConfig {
        site: "urn:emberwatch:example".to_owned(),
        base_url: Some("https://fire.example".to_owned()),
        ..IncidentConfig::default()
    };
    let mut book = IncidentBook::new(config, Box::new(grid), Ids::seeded(7)).unwrap();
    let mut all: Vec<Change> = Vec::new();
    let opened = |book: &mut IncidentBook, all: &mut Vec<Change>, source: &str, east: f64, seconds: i64| {
        let changes = book.process(
            &report(source, 1, 35.15, 113.25 + east, at(seconds)),
            at(seconds + 3),
        );
        let id = changes[0].incident.id;
        all.extend(changes);
        id
    };
    let act =
        |book: &mut IncidentBook, all: &mut Vec<Change>, id: IncidentId, action: Action, seconds: i64| {
            let changes = book
                .propose(&Act::new(id, Actor::person("值班员"), action), at(seconds))
                .unwrap();
            for change in &changes {
                book.adopt(change.incident.clone());
            }
            all.extend(changes);
        };
    let fire = opened(&mut book, &mut all, "tower-1", 0.0, 0);
    all.extend(book.process(&report("drone-1", 1, 35.150_05, 113.25, at(4)), at(6)));
    act(&mut book, &mut all, fire, Action::Confirm, 40);
    act(&mut book, &mut all, fire, Action::Dispatch { team: None }, 60);
    all.extend(book.tick(at(330)));
    act(&mut book, &mut all, fire, Action::Accept, 340);
    act(&mut book, &mut all, fire, Action::Arrive, 700);
    act(&mut book, &mut all, fire, Action::Extinguish, 1_500);
    act(&mut book, &mut all, fire, Action::Close, 1_600);
    act(&mut book, &mut all, fire, Action::Reopen, 1_700);
    let steam = opened(&mut book, &mut all, "tower-2", 0.05, 1_000);
    act(
        &mut book,
        &mut all,
        steam,
        Action::Reject {
            reason: RejectReason::Steam,
        },
        1_100,
    );
    let twin = opened(&mut book, &mut all, "tower-3", 0.02, 1_800);
    act(&mut book, &mut all, twin, Action::Merge { into: fire }, 1_900);
    let events: Vec<Event> = all.into_iter().flat_map(|change| change.events).collect();
    let maker = EventMaker::new("urn:emberwatch:example", Some("https://fire.example"));
    EventType::ALL
        .into_iter()
        .enumerate()
        .map(|(number, kind)| {
            if let Some(event) = events.iter().find(|event| event.kind == kind) {
                return event.clone();
            }
            let duty = (kind == EventType::SourceDuty).then_some(Duty::Alarm);
            let clock_offset_s = (kind == EventType::SourceClock).then_some(-7.4);
            let state = SourceState::ALL
                .into_iter()
                .find(|state| EventType::of_source(*state) == Some(kind))
                .or((duty.is_some() || clock_offset_s.is_some()).then_some(SourceState::Live))
                .unwrap();
            let status = SourceStatus {
                source: SourceId::new("tower-1"),
                state,
                since: at(2_000),
                detail: Some("example".to_owned()),
                duty,
                clock_offset_s,
            };
            maker
                .source(uuid::Uuid::from_u128(number as u128), status)
                .unwrap()
        })
        .collect()
}

#[test]
fn the_schemas_and_examples_in_the_repository_are_those_of_the_code() {
    golden("event.v1.schema.json", &base_schema());
    for kind in EventType::ALL {
        golden(&format!("{}.schema.json", kind.name()), &schema_of(kind));
    }
    for event in examples() {
        golden(
            &format!("examples/{}.json", event.kind.name()),
            &serde_json::to_value(&event).unwrap(),
        );
    }
}

#[test]
fn every_example_keeps_to_the_schema_of_its_type() {
    let base = base_schema();
    for event in examples() {
        let value = serde_json::to_value(&event).unwrap();
        let mut problems = Vec::new();
        check(&base, &schema_of(event.kind), &value, "", &mut problems);
        assert!(problems.is_empty(), "{}: {problems:#?}", event.kind);
        assert_eq!(
            serde_json::from_value::<Event>(value).unwrap(),
            event,
            "it is read back as it was"
        );
    }
}

#[test]
fn the_schema_refuses_what_is_no_event() {
    let base = base_schema();
    let good = serde_json::to_value(&examples()[0]).unwrap();
    let broken: [fn(&mut Value); 6] = [
        |event| event["specversion"] = json!("0.3"),
        |event| event["type"] = json!("emberwatch.incident.exploded.v1"),
        |event| event["data"]["geometry"]["coordinates"] = json!(["113", "35"]),
        |event| event["data"]["properties"]["revision"] = json!(-1),
        |event| event["data"]["properties"]["state"] = json!("burning"),
        |event| {
            event["data"]["properties"]
                .as_object_mut()
                .unwrap()
                .remove("first_seen");
        },
    ];
    for change in broken {
        let mut bad = good.clone();
        change(&mut bad);
        let mut problems = Vec::new();
        check(&base, &schema_of(EventType::Suspected), &bad, "", &mut problems);
        assert!(!problems.is_empty(), "{bad}");
    }
}

/// What a consumer of the first day reads: these names and types stay as long as the events are called v1.
#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct ConsumerOfV1 {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    subject: String,
    time: String,
    datacontenttype: String,
    data: FeatureOfV1,
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct FeatureOfV1 {
    r#type: String,
    geometry: Option<PointOfV1>,
    properties: PropertiesOfV1,
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct PointOfV1 {
    r#type: String,
    coordinates: (f64, f64),
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct PropertiesOfV1 {
    incident: String,
    revision: u64,
    state: String,
    first_seen: MomentOfV1,
    last_seen: MomentOfV1,
    late: bool,
    class: String,
    confidence: f64,
    sources: Vec<Value>,
    crs: String,
    height_m: Option<f64>,
    ce90_m: Option<f64>,
    ellipse: Option<EllipseOfV1>,
    method: String,
    grid: Option<std::collections::BTreeMap<String, String>>,
    sla: Option<SlaOfV1>,
    evidence: Vec<Value>,
    model: Value,
    links: Vec<LinkOfV1>,
}

#[derive(Debug, serde::Deserialize)]
struct LinkOfV1 {
    rel: String,
    href: String,
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct MomentOfV1 {
    at: String,
    clock: String,
    sigma_s: f64,
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct EllipseOfV1 {
    semi_major_m: f64,
    semi_minor_m: f64,
    azimuth_deg: f64,
    level: f64,
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct SlaOfV1 {
    profile: String,
    milestones: Vec<MilestoneOfV1>,
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "what matters is that it can be read")]
struct MilestoneOfV1 {
    milestone: String,
    due: String,
    done: Option<String>,
}

#[test]
fn a_consumer_of_the_first_day_reads_every_event_of_today() {
    for event in examples().into_iter().filter(|event| event.kind.is_incident()) {
        let text = serde_json::to_string(&event).unwrap();
        let read: ConsumerOfV1 = serde_json::from_str(&text).unwrap();
        assert_eq!(read.data.properties.crs, "EPSG:4326");
        // The links of the first day are the first, whatever was added behind them.
        let links = &read.data.properties.links;
        assert_eq!(
            (links[0].rel.as_str(), links[1].rel.as_str()),
            ("self", "history")
        );
        assert!(links[0].href.ends_with(&read.subject));
    }
}

#[test]
fn an_event_of_the_first_day_is_read_today() {
    let text = std::fs::read_to_string(folder().join("frozen/incident.v1.json")).unwrap();
    let event: Event = serde_json::from_str(&text).unwrap();
    assert_eq!(event.kind, EventType::Suspected);
    // A field that a later version adds does not hurt either.
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["data"]["properties"]["wind_speed_m_s"] = json!(3.5);
    serde_json::from_value::<Event>(value).unwrap();
}

/// Checks a value against the part of JSON Schema that our schemas use; anything else in a schema is a problem itself.
fn check(base: &Value, schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let Some(words) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            problems.push(format!("{path}: nothing is allowed here"));
        }
        return;
    };
    for (word, rule) in words {
        match word.as_str() {
            "$ref" => {
                let target = rule.as_str().unwrap();
                let target = target.strip_prefix("event.v1.schema.json").unwrap_or(target);
                let found = match target.strip_prefix('#') {
                    Some(pointer) => base.pointer(pointer).unwrap(),
                    None => base,
                };
                check(base, found, value, path, problems);
            }
            "allOf" => {
                for part in rule.as_array().unwrap() {
                    check(base, part, value, path, problems);
                }
            }
            "anyOf" | "oneOf" => {
                let fits = rule.as_array().unwrap().iter().any(|part| {
                    let mut inner = Vec::new();
                    check(base, part, value, path, &mut inner);
                    inner.is_empty()
                });
                if !fits {
                    problems.push(format!("{path}: fits none of the choices"));
                }
            }
            "type" => {
                let types: Vec<&str> = match rule {
                    Value::String(name) => vec![name],
                    Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                    _ => vec![],
                };
                if !types.iter().any(|name| is_of_type(value, name)) {
                    problems.push(format!("{path}: {value} is none of {types:?}"));
                }
            }
            "const" if value != rule => problems.push(format!("{path}: {value} is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => {
                problems.push(format!("{path}: {value} is none of {rule}"));
            }
            "required" => {
                for name in rule.as_array().unwrap().iter().filter_map(Value::as_str) {
                    if value.is_object() && value.get(name).is_none() {
                        problems.push(format!("{path}: {name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, part) in rule.as_object().unwrap() {
                    if let Some(inner) = value.get(name) {
                        check(base, part, inner, &format!("{path}/{name}"), problems);
                    }
                }
            }
            "items" => {
                for (number, inner) in value.as_array().into_iter().flatten().enumerate() {
                    check(base, rule, inner, &format!("{path}/{number}"), problems);
                }
            }
            "prefixItems" => {
                for (part, inner) in rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .zip(value.as_array().into_iter().flatten())
                {
                    check(base, part, inner, path, problems);
                }
            }
            "minimum"
                if value
                    .as_f64()
                    .is_some_and(|number| number < rule.as_f64().unwrap()) =>
            {
                problems.push(format!("{path}: {value} is less than {rule}"));
            }
            "maximum"
                if value
                    .as_f64()
                    .is_some_and(|number| number > rule.as_f64().unwrap()) =>
            {
                problems.push(format!("{path}: {value} is more than {rule}"));
            }
            "minItems" | "maxItems" | "const" | "enum" | "minimum" | "maximum" | "$schema" | "$id"
            | "$defs" | "title" | "description" | "format" | "default" => {}
            unknown => problems.push(format!("{path}: the check does not know {unknown}")),
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
