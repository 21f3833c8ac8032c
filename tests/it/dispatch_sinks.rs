//! Sinks over HTTP, TCP, UDP and files, against receivers that fail in every way.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use emberwatch::config::secret::SecretText;
use emberwatch::stages::publish::SinkConfig;
use emberwatch::stages::publish::settings::Surroundings;
use emberwatch::stages::publish::signature::SigningKeys;
use emberwatch::store::DeliveryState;
use emberwatch::tls::{ServerTls, install_provider};
use tokio::net::TcpListener;

use super::dispatch_rig::{Rig, assert_all_in_order, environment, sink, stop};
use super::servers::{Authority, Receiver, Reply, until};

pub(crate) fn webhook(url: &str, more: &str) -> SinkConfig {
    sink(&format!(
        "name = 'hook'
         retry = {{ first_ms = 20, longest_ms = 100 }}
         [to]
         kind = 'webhook'
         url = '{url}'
         secrets = ['${{SECRET}}']
         allow_networks = ['127.0.0.0/8']
         {more}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_in_every_way_gets_every_event_in_order_and_knows_repeats_by_id() {
    let mut rig = Rig::new();
    let receiver = Receiver::start(|number, _| match number % 7 {
        0 => Reply::With(500, "oops"),
        1 => Reply::HangUp,
        2 => Reply::Late(Duration::from_millis(1500)),
        3 => Reply::Twice,
        4 => Reply::Nonsense,
        5 => Reply::With(429, "slow down"),
        _ => Reply::With(204, ""),
    })
    .await;
    let publisher = rig.publish(&[webhook(&receiver.url(), "timeout_s = 1\nconcurrency = 4")]);
    for _ in 0..5 {
        rig.change(0..6);
    }
    rig.until_settled().await;
    assert!(stop(publisher).await);
    assert_eq!(rig.count(DeliveryState::Delivered), 30);
    let requests = receiver.requests();
    let keys = SigningKeys::new([&SecretText::new(environment("SECRET").unwrap())]).unwrap();
    for request in &requests {
        let timestamp = request.header("webhook-timestamp").parse::<i64>().unwrap();
        let (id, signature) = (request.header("webhook-id"), request.header("webhook-signature"));
        assert!(keys.verify(
            id,
            timestamp,
            rig.clock.wall().as_second(),
            &request.body,
            signature
        ));
        assert_eq!(request.json()["id"], id);
        assert!(
            request
                .header("content-type")
                .starts_with("application/cloudevents+json")
        );
    }
    let events = requests
        .iter()
        .map(super::servers::Request::json)
        .collect::<Vec<_>>();
    let repeats = assert_all_in_order(&rig.sent, &events);
    assert!(
        repeats > 0,
        "a receiver that fails after it has read gets repeats"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_gone_is_switched_off_and_its_events_wait() {
    let mut rig = Rig::new();
    let receiver = Receiver::start(|_, _| Reply::With(410, "gone")).await;
    let publisher = rig.publish(&[webhook(&receiver.url(), "")]);
    rig.change([1]);
    until("the sink is off", async || {
        rig.store.sinks().unwrap()[0].disabled.is_some()
    })
    .await;
    rig.change([1, 2]);
    stop(publisher).await;
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(rig.store.sinks().unwrap()[0].pending, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_receiver_will_not_take_is_a_dead_letter_and_the_others_go_on() {
    let mut rig = Rig::new();
    let receiver = Receiver::start(|_, request| {
        if request.json()["data"]["properties"]["revision"] == 2 {
            Reply::With(422, "what is this")
        } else {
            Reply::With(200, "")
        }
    })
    .await;
    let publisher = rig.publish(&[webhook(&receiver.url(), "")]);
    for _ in 0..3 {
        rig.change([1]);
    }
    rig.until_settled().await;
    stop(publisher).await;
    assert_eq!(rig.count(DeliveryState::Dead), 1);
    assert_eq!(rig.count(DeliveryState::Delivered), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sink_that_hangs_delays_no_other() {
    let mut rig = Rig::new();
    let slow = Receiver::start(|_, _| Reply::Late(Duration::from_mins(2))).await;
    let quick = Receiver::start(|_, _| Reply::With(200, "")).await;
    let mut other = webhook(&quick.url(), "");
    other.name = "quick".to_owned();
    let publisher = rig.publish(&[webhook(&slow.url(), ""), other]);
    rig.change(0..20);
    let start = tokio::time::Instant::now();
    until("the quick one has all", async || quick.requests().len() == 20).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_house_is_refused_by_address_and_by_name() {
    let mut rig = Rig::new();
    let receiver = Receiver::start(|_, _| Reply::With(200, "")).await;
    let port = receiver.address.port();
    let by_address = format!("http://127.0.0.1:{port}/");
    let mut config = webhook(&by_address, "");
    let emberwatch::stages::publish::Target::Webhook(target) = &mut config.to else {
        panic!("the test makes a webhook");
    };
    target.allow_networks.clear();
    let surroundings = Surroundings {
        environment: &environment,
        clock: Arc::clone(&rig.clock),
        evidence: None,
        data_folder: rig.folder().to_owned(),
    };
    let refused = config.build(&surroundings).err().unwrap();
    assert!(refused.to_string().contains("allow_networks"), "{refused}");

    // A name passes the first check, and is refused when it turns out to be our own house.
    let emberwatch::stages::publish::Target::Webhook(target) = &mut config.to else {
        panic!("the test makes a webhook");
    };
    target.url = format!("http://localhost:{port}/");
    let publisher = rig.publish(&[config]);
    rig.change([1]);
    until("the attempt failed", async || publisher.reports()[0].failed > 0).await;
    drop(publisher);
    assert!(receiver.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked_and_an_expired_certificate_is_named() {
    install_provider();
    let mut rig = Rig::new();
    let authority = Authority::new();
    let ca = authority.write(rig.folder());
    let serve = async |expired: bool| {
        let (certificate, key) = authority.issue(rig.folder(), &format!("server-{expired}"), expired);
        let tls = ServerTls {
            certificate: certificate.into(),
            key: key.into(),
        };
        let tls = tokio_rustls::TlsAcceptor::from(tls.build().unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Receiver::serve(listener, Some(tls), |_, _| Reply::With(200, ""))
    };
    let (sound, expired) = (serve(false).await, serve(true).await);
    let url = |receiver: &Receiver| format!("https://localhost:{}/", receiver.address.port());
    let more = format!("tls = {{ ca = '{ca}' }}\nallow_networks = ['127.0.0.0/8', '::1/128']");
    let config = |receiver: &Receiver, name: &str| {
        let text = format!(
            "name = '{name}'\nretry = {{ first_ms = 20, longest_ms = 50 }}\n[to]\nkind = 'webhook'\nurl = '{}'\n\
             secrets = ['${{SECRET}}']\n{more}",
            url(receiver)
        );
        sink(&text)
    };
    let publisher = rig.publish(&[config(&sound, "sound"), config(&expired, "expired")]);
    rig.change([1]);
    until("the sound one has it", async || sound.requests().len() == 1).await;
    until("the expired one failed", async || {
        publisher.reports()[1].failed > 0
    })
    .await;
    until("the reason is written down", async || {
        let deliveries = rig
            .store
            .deliveries(&emberwatch::store::DeliveryFilter::default())
            .unwrap();
        deliveries.iter().any(|delivery| {
            let problem = delivery.problem.as_deref().unwrap_or_default();
            delivery.sink == "expired" && problem.to_lowercase().contains("expired")
        })
    })
    .await;
    drop(publisher);
    assert!(expired.requests().is_empty());
}

#[test]
fn bad_configuration_gets_clear_answers() {
    for (toml, said) in [
        ("name = 'a'\n[to]\nkind = 'pigeon'", "pigeon"),
        (
            "name = 'a'\n[to]\nkind = 'webhook'\nurl = 'https://x.example'",
            "secrets",
        ),
        (
            "name = 'a'\n[to]\nkind = 'webhook'\nurl = 'https://x.example'\nsecrets = ['hunter2']",
            "may not be written",
        ),
        ("name = 'a'\ncolour = 1\n[to]\nkind = 'stdout'", "colour"),
        (
            "name = 'a'\n[to]\nkind = 'json_lines'\npath = 'x'\nflush = true",
            "flush",
        ),
        (
            "name = 'a'\n[to]\nkind = 'mqtt'\nhost = 'x'\ntopic = 'a/{nobody}'",
            "nobody",
        ),
    ] {
        let error = toml::from_str::<SinkConfig>(toml).unwrap_err();
        assert!(error.message().contains(said), "{toml}: {}", error.message());
        assert!(!error.message().contains("hunter2"));
    }
    let rig = Rig::new();
    let surroundings = Surroundings {
        environment: &|_| None,
        clock: Arc::clone(&rig.clock),
        evidence: None,
        data_folder: rig.folder().to_owned(),
    };
    for (toml, said) in [
        (
            "name = 'a'\n[to]\nkind = 'webhook'\nurl = 'https://x.example'\nsecrets = ['${NOT_SET}']",
            "NOT_SET",
        ),
        (
            "name = 'a'\n[to]\nkind = 'webhook'\nurl = 'ftp://x.example'\nsecrets = ['${A}']",
            "http or https",
        ),
        ("name = 'a b'\n[to]\nkind = 'stdout'", "name"),
        (
            "name = 'a'\n[to]\nkind = 'cap'\nsender = 'a b'\nfolder = 'x'",
            "sender",
        ),
        ("name = 'a'\n[to]\nkind = 'cap'\nsender = 'a'", "folder or url"),
        (
            "name = 'a'\n[to]\nkind = 'gb28181'\nurl = 'https://x.example'\ndevice_id = '12'",
            "20 digits",
        ),
        (
            "name = 'a'\n[to]\nkind = 'mqtt'\nhost = 'x'\ntls = { ca = '/nowhere/ca.pem' }",
            "/nowhere/ca.pem",
        ),
    ] {
        let error = sink(toml).build(&surroundings).err().unwrap();
        assert!(error.to_string().contains(said), "{toml}: {error}");
    }
    #[cfg(not(feature = "kafka"))]
    {
        let error = sink("name = 'a'\n[to]\nkind = 'kafka'\nbrokers = ['x']")
            .build(&surroundings)
            .err();
        assert!(error.unwrap().to_string().contains("--features kafka"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_get_digests_and_a_gateway_gets_alarms() {
    let mut rig = Rig::new();
    let receiver = Receiver::start(|_, _| Reply::With(200, r#"{"errcode":0,"errmsg":"ok"}"#)).await;
    let url = receiver.url();
    let publisher = rig.publish(&[
        sink(&format!(
            "name = 'ding'\n[to]\nkind = 'dingtalk'\naccess_token = '${{SECRET}}'\nsecret = '${{SECRET}}'\n\
             url = '{url}'\nallow_networks = ['127.0.0.0/8']"
        )),
        sink(&format!(
            "name = 'wecom'\n[to]\nkind = 'wecom'\nkey = '${{SECRET}}'\nurl = '{url}'\nallow_networks = ['127.0.0.0/8']"
        )),
        sink(&format!(
            "name = 'gateway'\n[to]\nkind = 'gb28181'\nurl = '{url}'\ndevice_id = '64010000001340000001'\n\
             allow_networks = ['127.0.0.0/8']"
        )),
    ]);
    rig.change(0..40);
    rig.until_settled().await;
    stop(publisher).await;
    let requests = receiver.requests();
    let of = |has: &str| {
        requests
            .iter()
            .filter(|request| request.line.contains(has))
            .count()
    };
    assert!((1..=2).contains(&of("access_token=")), "{}", of("access_token="));
    assert!((1..=2).contains(&of("key=")), "{}", of("key="));
    assert!(requests.iter().any(|request| request.line.contains("sign=")));
    let alarms = requests
        .iter()
        .filter(|request| String::from_utf8_lossy(&request.body).contains("<CmdType>Alarm</CmdType>"));
    assert_eq!(alarms.count(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_hold_every_event_and_a_dry_run_sends_none() {
    let mut rig = Rig::new();
    let path = rig.folder().join("out/events.jsonl");
    let dry = Receiver::start(|_, _| Reply::With(200, "")).await;
    let mut silent = webhook(&dry.url(), "");
    silent.dry_run = true;
    let lines = sink(&format!(
        "name = 'lines'\n[to]\nkind = 'json_lines'\npath = '{}'",
        path.display()
    ));
    let publisher = rig.publish(&[lines, silent]);
    for _ in 0..3 {
        rig.change(0..50);
    }
    rig.until_settled().await;
    stop(publisher).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let events = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect::<Vec<_>>();
    assert_eq!(assert_all_in_order(&rig.sent, &events), 0);
    assert!(dry.requests().is_empty());
}
