//! The HTTP interface as its users see it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use emberwatch::clock::{Clock, SystemClock};
use emberwatch::console::{Console, ConsoleConfig, Hooks, WayBack, WayBackConfig, hash_token, start};
use emberwatch::flow::incident::{Incident, IncidentId, RejectReason, State};
use emberwatch::flow::report::{Evidence, EvidenceKind};
use emberwatch::flow::source::SourceId;
use emberwatch::stages::incident::{Ids, IncidentBook, IncidentConfig, IncidentDesk, NoGrid};
use emberwatch::stages::publish::samples;
use emberwatch::store::{Change, Store};
use emberwatch::tls::{ServerTls, install_provider};
use reqwest::{Method, StatusCode};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event as Report, MqttOptions};
use serde_json::{Value, json};

use super::servers::{Authority, Program, free_port, until};

mod acts;

mod documents;

const OPERATOR: &str = "operator-token-of-the-tests";
const DISPATCH: &str = "dispatch-token-of-the-tests";
const VIEWER: &str = "viewer-token-of-the-tests";
const ELSEWHERE: &str = "token-for-another-township";
const EXPIRED: &str = "token-that-has-expired";

struct House {
    console: Option<Console>,
    desk: IncidentDesk,
    client: reqwest::Client,
    base: String,
    folder: tempfile::TempDir,
}

fn tokens() -> String {
    let line = |name: &str, token: &str, role: &str, more: &str| {
        format!(
            "[[tokens]]\nname = '{name}'\nsha256 = '{}'\nrole = '{role}'\n{more}\n",
            hash_token(token)
        )
    };
    line("operator-1", OPERATOR, "operator", "")
        + &line(
            "dispatch-1",
            DISPATCH,
            "dispatch",
            "area = { township = '阳庙镇' }",
        )
        + &line("viewer-1", VIEWER, "viewer", "area = { township = '阳庙镇' }")
        + &line("viewer-2", ELSEWHERE, "viewer", "area = { township = '别的镇' }")
        + &line("old", EXPIRED, "operator", "expires = '2020-01-01T00:00:00Z'")
}

impl House {
    fn open(more: &str) -> Self {
        Self::open_with(&format!("listen = '127.0.0.1:0'\n{more}\n{}", tokens()), None)
    }

    fn open_with(toml: &str, ca: Option<&Path>) -> Self {
        install_provider();
        let folder = tempfile::tempdir().unwrap();
        let config = toml::from_str::<ConsoleConfig>(toml).unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        for number in 1..=3 {
            let incident = stored(number);
            std::fs::write(
                store.evidence_folder().join(format!("{number}-thumbnail.jpg")),
                b"0123456789abc",
            )
            .unwrap();
            let change = Change {
                transition: samples::transition(&incident),
                events: vec![samples::event_of(&incident)],
                evidence: incident.evidence.clone(),
                incident,
            };
            store.commit(&[change], clock.wall()).unwrap();
        }
        let book = IncidentBook::new(IncidentConfig::default(), Box::new(NoGrid), Ids::seeded(1));
        let desk = IncidentDesk::open(book.unwrap(), store, Arc::clone(&clock)).unwrap();
        let hooks = Hooks {
            metrics: Arc::new(|| "emberwatch_up 1\n".to_owned()),
            ready: Arc::new(|| Err("no camera gives pictures".to_owned())),
            sources: Arc::new(|| json!([{ "id": "tower-1", "state": "live" }])),
        };
        let console = start(&config, desk.clone(), clock, hooks).unwrap();
        let mut client = reqwest::Client::builder().no_proxy();
        let mut base = format!("http://{}", console.address());
        if let Some(ca) = ca {
            let pem = std::fs::read(ca).unwrap();
            client = client.tls_certs_only([reqwest::Certificate::from_pem(&pem).unwrap()]);
            base = format!("https://localhost:{}", console.address().port());
        }
        Self {
            console: Some(console),
            desk,
            client: client.build().unwrap(),
            base,
            folder,
        }
    }

    fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token)
    }

    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path, token)).await
    }

    async fn act(&self, number: u128, token: &str, body: &Value) -> (StatusCode, Value) {
        let path = format!("/api/v1/incidents/{}/acts", id(number));
        answer(self.request(Method::POST, &path, token).json(body)).await
    }

    fn revision(&self, number: u128) -> u64 {
        self.desk.store().incident(id(number)).unwrap().unwrap().revision
    }

    fn audited(&self) -> Vec<(String, String, bool)> {
        let lines = self.desk.store().audit_after(0, 1000).unwrap();
        lines
            .into_iter()
            .map(|line| (line.entry.actor.name, line.entry.action, line.entry.done))
            .collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // A runtime must not be dropped inside another; a thread of its own is no worker of one.
        let console = self.console.take();
        tokio::task::block_in_place(|| drop(console));
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let kind = response
        .headers()
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    if !status.is_success() {
        assert_eq!(
            kind.as_deref(),
            Some("application/problem+json"),
            "{status}: {text}"
        );
    }
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn stored(number: u128) -> Incident {
    let mut incident = samples::incident(number);
    incident.revision = 1;
    incident.state = State::Suspected;
    let thumbnail = incident.evidence.pop().unwrap();
    let mut second = incident.views[0].clone();
    second.source = SourceId::new("drone-1");
    incident.views.push(second);
    incident.evidence = vec![Evidence {
        kind: EvidenceKind::Thumbnail,
        name: format!("{number}-thumbnail.jpg"),
        ..thumbnail
    }];
    incident
}

fn id(number: u128) -> IncidentId {
    samples::incident(number).id
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_read_in_parts_by_those_who_may_and_every_read_is_written_down() {
    let house = House::open("");
    let path = "/api/v1/evidence/1-thumbnail.jpg";
    let whole = house.request(Method::GET, path, VIEWER).send().await.unwrap();
    assert_eq!(whole.headers()["content-type"], "image/jpeg");
    assert_eq!(whole.bytes().await.unwrap(), "0123456789abc");
    let part = house
        .request(Method::GET, path, VIEWER)
        .header("range", "bytes=3-5");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 3-5/13");
    assert_eq!(part.bytes().await.unwrap(), "345");
    let outside = house
        .request(Method::GET, path, VIEWER)
        .header("range", "bytes=13-");
    assert_eq!(
        outside.send().await.unwrap().status(),
        StatusCode::RANGE_NOT_SATISFIABLE
    );
    assert_eq!(house.get(path, ELSEWHERE).await.0, StatusCode::FORBIDDEN);
    std::fs::write(house.desk.store().folder().join("secret.txt"), b"secret").unwrap();
    for name in [
        "..%2Fsecret.txt",
        "%2e%2e%2fsecret.txt",
        "..%5Csecret.txt",
        "%2Fetc%2Fpasswd",
        ".hidden",
        "1-thumbnail.jpg%00",
        "nobody.jpg",
    ] {
        let (status, problem) = house.get(&format!("/api/v1/evidence/{name}"), OPERATOR).await;
        assert!(
            matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND),
            "{name}: {status} {problem}"
        );
    }
    let audited = house.audited();
    let reads = |name: &str, done: bool| {
        let wanted = (name.to_owned(), "read_evidence".to_owned(), done);
        audited.iter().filter(|line| **line == wanted).count()
    };
    assert_eq!(reads("viewer-1", true), 3);
    assert_eq!(reads("viewer-2", false), 1);
    assert_eq!(reads("operator-1", false), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_clear_answers() {
    let house = House::open("");
    for (path, expected) in [
        ("/api/v1/incidents?state=burning", StatusCode::BAD_REQUEST),
        ("/api/v1/incidents?limit=0", StatusCode::BAD_REQUEST),
        ("/api/v1/incidents/not-an-id", StatusCode::BAD_REQUEST),
        ("/api/v1/nowhere", StatusCode::NOT_FOUND),
        ("/nowhere", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(house.get(path, OPERATOR).await.0, expected, "{path}");
    }
    let wrong_method = house.request(Method::DELETE, "/api/v1/incidents", OPERATOR);
    assert_eq!(answer(wrong_method).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let path = format!("/api/v1/incidents/{}/acts", id(1));
    let large = house
        .request(Method::POST, &path, OPERATOR)
        .body("x".repeat(100_000));
    let (status, problem) = answer(large).await;
    assert_eq!(
        (status, &problem["type"]),
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!("urn:emberwatch:problem:too-large")
        )
    );
    let no_text = house.get("/api/v1/incidents/%ff", OPERATOR).await;
    assert_eq!(no_text.0, StatusCode::BAD_REQUEST);
    assert_eq!(house.revision(1), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_waits_and_others_do_not() {
    let house = House::open("requests_per_minute = 60");
    let mut refused = 0;
    for _ in 0..30 {
        let (status, _) = house.get("/api/v1/sources", OPERATOR).await;
        refused += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 0);
    assert_eq!(house.get("/api/v1/sources", VIEWER).await.0, StatusCode::OK);
    let mut guesses = 0;
    for guess in 0..40 {
        let (status, _) = house.get("/api/v1/sources", &format!("guess-{guess}")).await;
        guesses += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(guesses > 0, "guessing tokens must slow down");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_stream_from_where_the_listener_left_off_and_only_of_its_area() {
    let house = House::open("");
    let listen = async |token: &str, after: &str| {
        let request = house
            .request(Method::GET, "/api/v1/events", token)
            .header("last-event-id", after);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response
    };
    let read = async |mut response: reqwest::Response, wanted: usize| {
        let mut text = String::new();
        while text.matches("\ndata:").count() + usize::from(text.starts_with("data:")) < wanted {
            let chunk = tokio::time::timeout(Duration::from_secs(20), response.chunk()).await;
            text.push_str(
                std::str::from_utf8(&chunk.expect("an event should come").unwrap().unwrap()).unwrap(),
            );
        }
        text
    };
    let text = read(listen(VIEWER, "1").await, 2).await;
    assert!(
        text.contains("id: 2") && text.contains("id: 3") && !text.contains("id: 1\n"),
        "{text}"
    );
    assert!(text.contains("event: emberwatch.incident.suspected.v1"), "{text}");
    let live = listen(VIEWER, "3").await;
    let nobody = listen(ELSEWHERE, "0").await;
    house.act(1, OPERATOR, &json!({ "action": "confirm" })).await;
    let text = read(live, 1).await;
    assert!(text.contains("emberwatch.incident.confirmed.v1"), "{text}");
    let mut nobody = nobody;
    let heard = tokio::time::timeout(Duration::from_millis(500), nobody.chunk()).await;
    assert!(heard.is_err(), "{heard:?}");
    let (status, _) = answer(
        house
            .request(Method::GET, "/api/v1/events", VIEWER)
            .header("last-event-id", "soon"),
    )
    .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_page_and_documents_are_served() {
    let house = House::open("");
    let plain = async |path: &str| {
        house
            .client
            .get(format!("{}{path}", house.base))
            .send()
            .await
            .unwrap()
    };
    assert_eq!(plain("/healthz").await.status(), StatusCode::OK);
    let ready = plain("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.unwrap().contains("no camera gives pictures"));
    assert_eq!(plain("/metrics").await.text().await.unwrap(), "emberwatch_up 1\n");
    let page = plain("/").await;
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
    let page = page.text().await.unwrap();
    assert!(page.contains("火点一张图"));
    for reason in RejectReason::ALL {
        let offered = format!("{}: \"{}\"", reason.name(), reason.name_zh());
        assert!(page.contains(&offered), "the page does not offer {offered}");
    }
    for outside in ["http://", "https://", "//cdn"] {
        let found = page.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !found.contains(outside),
            "the page must load nothing from elsewhere"
        );
    }
    let document = plain("/openapi.json").await.json::<Value>().await.unwrap();
    assert_eq!(document, emberwatch::console::openapi());
    assert_eq!(house.get("/api/v1/sources", VIEWER).await.1[0]["id"], "tower-1");
    assert_eq!(house.get("/api/v1/sinks", VIEWER).await.1, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_served_with_the_certificate_of_the_house() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write(folder.path());
    let (certificate, key) = authority.issue(folder.path(), "console", false);
    let tls = ServerTls {
        certificate: certificate.clone().into(),
        key: key.clone().into(),
    };
    assert!(tls.build().is_ok());
    let toml = format!(
        "listen = '127.0.0.1:0'\ntls = {{ certificate = '{certificate}', key = '{key}' }}\n{}",
        tokens()
    );
    let house = House::open_with(&toml, Some(Path::new(&ca)));
    assert_eq!(house.get("/api/v1/incidents", VIEWER).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_another_sites_name_for_loopback_is_refused() {
    let house = House::open_with("listen = '127.0.0.1:0'", None);
    let list = format!("{}/api/v1/incidents", house.base);
    assert_eq!(
        house.client.get(&list).send().await.unwrap().status(),
        StatusCode::OK
    );
    let foreign = house.client.get(&list).header("host", "evil.example");
    assert_eq!(answer(foreign).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_without_a_token_is_refused() {
    let house = House::open("");
    let config = ConsoleConfig {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..ConsoleConfig::default()
    };
    let hooks = Hooks {
        metrics: Arc::new(String::new),
        ready: Arc::new(|| Ok(())),
        sources: Arc::new(|| Value::Null),
    };
    let refused = start(&config, house.desk.clone(), Arc::new(SystemClock::new()), hooks);
    assert!(refused.err().unwrap().to_string().contains("no token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dispatch_system_reports_by_mqtt_and_wrong_reports_change_nothing() {
    let house = House::open("");
    let Some(broker) = Program::mosquitto(house.folder.path(), free_port(), "").await else {
        return;
    };
    house.act(1, OPERATOR, &json!({ "action": "confirm" })).await;
    house.act(1, OPERATOR, &json!({ "action": "dispatch" })).await;
    let config = toml::from_str::<WayBackConfig>(&format!(
        "name = 'dispatch-2'\nhost = '127.0.0.1'\nport = {}\narea = {{ township = '阳庙镇' }}",
        broker.port
    ));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let way_back = WayBack::start(&config.unwrap(), house.desk.clone(), clock, &|_| None).unwrap();

    let (client, mut events) = AsyncClient::new(MqttOptions::new("dispatch", "127.0.0.1", broker.port), 10);
    client
        .subscribe("emberwatch/v1/command/incident/+/answer", QoS::AtLeastOnce)
        .await
        .unwrap();
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Ok(report) = events.poll().await {
            if let Report::Incoming(Packet::Publish(publish)) = report {
                answers
                    .send(serde_json::from_slice::<Value>(&publish.payload).unwrap())
                    .unwrap();
            }
        }
    });
    let topic = |number: u128| format!("emberwatch/v1/command/incident/{}", id(number));
    let mut ask = async |topic: String, body: Value| {
        // The way back may not be open yet: an act that comes twice changes nothing, so it is simply sent again.
        for _ in 0..100 {
            let payload = body.to_string();
            client
                .publish(topic.clone(), QoS::AtLeastOnce, false, payload)
                .await
                .unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(500), answered.recv()).await;
            if let Ok(Some(answer)) = answer {
                return answer;
            }
        }
        panic!("no answer");
    };
    assert_eq!(ask(topic(1), json!({ "action": "accept" })).await["done"], true);
    let revision = house.revision(1);
    assert_eq!(
        ask(topic(1), json!({ "action": "accept" })).await["revision"],
        revision
    );
    assert_eq!(ask(topic(1), json!({ "action": "arrive" })).await["done"], true);
    let revision = house.revision(1);
    let refused = |answer: Value, word: &str| {
        assert_eq!(answer["done"], false);
        assert_eq!(
            answer["problem"]["type"],
            format!("urn:emberwatch:problem:{word}"),
            "{answer}"
        );
    };
    refused(
        ask(topic(1), json!({ "action": "accept" })).await,
        "illegal-transition",
    );
    refused(ask(topic(1), json!({ "action": "confirm" })).await, "wrong-role");
    refused(
        ask(topic(77), json!({ "action": "accept" })).await,
        "unknown-incident",
    );
    refused(ask(topic(1), json!("arrive")).await, "bad-json");
    assert_eq!(house.revision(1), revision);
    until("all are audited", async || {
        house
            .audited()
            .iter()
            .any(|line| line.0 == "dispatch-2" && !line.2)
    })
    .await;
    task.abort();
    tokio::task::spawn_blocking(|| drop(way_back)).await.unwrap();
}
