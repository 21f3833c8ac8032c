//! The documents of the interfaces: OpenAPI of the HTTP API, `AsyncAPI` of the events. Both are made from the code.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;

use super::act::ActRequest;
use super::drill::Drill;
use super::incidents::{ActAnswer, IncidentList};
use super::problem::Problem;
use crate::flow::event::{Event, EventType};
use crate::flow::incident::Incident;
use crate::store::{HistoryLine, SinkStatus};

/// The lines of an incident's history.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct History(#[expect(dead_code, reason = "only its schema is used")] Vec<HistoryLine>);

/// How every sink stands.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Sinks(#[expect(dead_code, reason = "only its schema is used")] Vec<SinkStatus>);

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Emberwatch",
        description = "Incidents of smoke and flame: list, read, act, listen. 烟火事件接口:查询、处置、订阅。",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        super::incidents::list,
        super::incidents::one,
        super::incidents::history,
        super::incidents::act,
        super::evidence::file,
        super::drill::get,
        super::drill::put,
        super::stream::events,
        super::health::sources,
        super::health::sinks,
        super::health::alive,
        super::health::ready,
        super::health::metrics,
    )
)]
struct Document;

/// Returns the OpenAPI document.
#[must_use]
pub fn openapi() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    add::<ActAnswer>(&mut generator);
    add::<ActRequest>(&mut generator);
    add::<Drill>(&mut generator);
    add::<History>(&mut generator);
    add::<Incident>(&mut generator);
    add::<IncidentList>(&mut generator);
    add::<Problem>(&mut generator);
    add::<Sinks>(&mut generator);
    if let Some(document) = document.as_object_mut() {
        let schemas = generator.take_definitions(true);
        let bearer = json!({ "token": { "type": "http", "scheme": "bearer" } });
        document.insert(
            "components".to_owned(),
            json!({ "schemas": schemas, "securitySchemes": bearer }),
        );
    }
    document
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    // The schema itself lands among the definitions; what is returned is only the reference to it.
    drop(generator.subschema_for::<T>());
}

/// Returns the `AsyncAPI` document of the events.
#[must_use]
pub fn asyncapi() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    add::<Event>(&mut generator);
    add::<ActRequest>(&mut generator);
    add::<Problem>(&mut generator);
    let schemas = generator.take_definitions(true);
    let mut messages = Map::new();
    for kind in EventType::ALL {
        let short = crate::stages::publish::filter::short_name(kind).replace('.', "_");
        let message = json!({
            "name": kind.name(),
            "contentType": "application/cloudevents+json",
            "payload": { "allOf": [
                { "$ref": "#/components/schemas/Event" },
                { "properties": { "type": { "const": kind.name() } } },
            ] },
        });
        messages.insert(short, message);
    }
    let references = |about_incidents: bool| {
        EventType::ALL
            .into_iter()
            .filter(|kind| kind.is_incident() == about_incidents)
            .map(|kind| crate::stages::publish::filter::short_name(kind).replace('.', "_"))
            .map(|short| {
                (
                    short.clone(),
                    json!({ "$ref": format!("#/components/messages/{short}") }),
                )
            })
            .collect::<Map<_, _>>()
    };
    let one = |name: &str| json!({ name: { "$ref": format!("#/components/messages/{name}") } });
    messages.insert(
        "act".to_owned(),
        json!({ "contentType": "application/json", "payload": { "$ref": "#/components/schemas/ActRequest" } }),
    );
    messages.insert(
        "act_answer".to_owned(),
        json!({ "contentType": "application/json", "payload": { "type": "object" } }),
    );
    let text = |description: &str| json!({ "description": description });
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Emberwatch events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "CloudEvents 1.0 in structured JSON. Each event at least once, under the same id; events of one subject in order. Topics as they are by default; NATS, Kafka and webhooks carry the same messages. 事件至少送达一次,按 id 去重,同一火点按序。",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            "incident": {
                "address": "emberwatch/v1/{district}/{township}/incident/{id}",
                "parameters": {
                    "district": text("District (区), '-' where it is not known"),
                    "township": text("Township (乡镇), '-' where it is not known"),
                    "id": text("The incident's id"),
                },
                "messages": references(true),
            },
            "source": {
                "address": "emberwatch/v1/source/{source}",
                "parameters": { "source": text("The source's id") },
                "messages": references(false),
            },
            "act": {
                "address": "emberwatch/v1/command/incident/{id}",
                "description": "The way back: the dispatch system acknowledges and reports.",
                "parameters": { "id": text("The incident's id") },
                "messages": one("act"),
            },
            "act_answer": {
                "address": "emberwatch/v1/command/incident/{id}/answer",
                "parameters": { "id": text("The incident's id") },
                "messages": one("act_answer"),
            },
        },
        "operations": {
            "publish_incident": { "action": "send", "channel": { "$ref": "#/channels/incident" } },
            "publish_source": { "action": "send", "channel": { "$ref": "#/channels/source" } },
            "take_act": { "action": "receive", "channel": { "$ref": "#/channels/act" } },
            "answer_act": { "action": "send", "channel": { "$ref": "#/channels/act_answer" } },
        },
        "components": { "messages": messages, "schemas": schemas },
    })
}

/// Serves the OpenAPI document.
pub(crate) async fn serve() -> axum::response::Response {
    super::incidents::json(axum::http::StatusCode::OK, &openapi())
}
