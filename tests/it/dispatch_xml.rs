//! Alerts and map objects in XML, as they leave over files, HTTP, TCP, TLS and UDP multicast, held against their schemas by
//! xmllint.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use emberwatch::store::DeliveryState;
use emberwatch::tls::{ServerTls, install_provider};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UdpSocket};

use super::dispatch_rig::{Rig, sink, stop};
use super::fixtures::fixture;
use super::servers::{Authority, Receiver, Reply};

/// Validates a document by xmllint; says that the check is skipped where there is none.
fn validate(schema: &Path, document: &Path) {
    match Command::new("xmllint")
        .arg("--noout")
        .arg("--schema")
        .arg(schema)
        .arg(document)
        .output()
    {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let text = std::fs::read_to_string(document).unwrap();
            assert!(output.status.success(), "{said}\n{text}");
        }
        Err(_absent) => println!("skipped: there is no xmllint on this machine"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_alerts_validate_and_later_ones_refer_to_the_first() {
    let mut rig = Rig::new();
    let alerts = rig.folder().join("alerts");
    let config = sink(&format!(
        "name = 'cap'\n[to]\nkind = 'cap'\nsender = 'ember@gaoxin.example'\nsender_name = '面源治理专班'\nfolder = '{}'",
        alerts.display()
    ));
    let publisher = rig.publish(std::slice::from_ref(&config));
    rig.change([1]);
    rig.until_settled().await;
    // What was sent is remembered over a restart.
    assert!(stop(publisher).await);
    let publisher = rig.publish(&[config]);
    rig.change([1]);
    rig.until_settled().await;
    stop(publisher).await;
    let mut files = std::fs::read_dir(&alerts)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect::<Vec<_>>();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let second = std::fs::read_to_string(&files[1]).unwrap();
    let first = files[0].file_stem().unwrap().to_str().unwrap();
    assert!(second.contains("<msgType>Update</msgType>"), "{second}");
    assert!(
        second.contains(&format!("<references>ember@gaoxin.example,{first},")),
        "{second}"
    );
    if let Some(schema) = fixture("cap/cap12.xsd") {
        for file in &files {
            validate(&schema, file);
        }
    }
}

/// Returns what stands in the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[tokio::test(flavor = "multi_thread")]
async fn cap_alerts_of_every_kind_are_posted_and_validate() {
    let mut rig = Rig::new();
    let receiver = Receiver::start(|_, _| Reply::With(200, "")).await;
    std::fs::write(rig.store.evidence_folder().join("thumbnail.jpg"), b"abc").unwrap();
    let publisher = rig.publish(&[sink(&format!(
        "name = 'cap'\n[to]\nkind = 'cap'\nsender = 'ember@gaoxin.example'\nurl = '{}'\ntoken = '${{SECRET}}'\n\
         allow_networks = ['127.0.0.0/8']",
        receiver.url()
    ))]);
    rig.change([1]);
    rig.reject([1]);
    rig.drill([2]);
    rig.lose_the_point([3]);
    rig.change([4]);
    rig.end([4]);
    rig.until_settled().await;
    assert!(stop(publisher).await);
    let requests = receiver.requests();
    let alerts: Vec<String> = requests
        .iter()
        .map(|request| {
            assert_eq!(request.header("content-type"), "application/cap+xml");
            assert!(request.header("authorization").starts_with("Bearer "));
            String::from_utf8(request.body.clone()).unwrap()
        })
        .collect();
    assert_eq!(alerts.len(), 6);
    let find = |name: &str, wanted: &str| {
        let found = alerts.iter().find(|alert| element(alert, name) == Some(wanted));
        found.unwrap_or_else(|| panic!("no alert has <{name}>{wanted}</{name}>"))
    };
    assert!(find("msgType", "Cancel").contains("<references>ember@gaoxin.example,"));
    assert!(find("responseType", "AllClear").contains("<msgType>Update</msgType>"));
    let drill = find("status", "Exercise");
    assert_eq!(element(drill, "scope"), Some("Restricted"));
    // SHA-1 of "abc", as the standard asks; the other file is not there any more.
    assert_eq!(
        element(drill, "digest"),
        Some("a9993e364706816aba3e25717850c26c9cd0d89d")
    );
    assert_eq!(drill.matches("<digest>").count(), 1);
    let pointless = alerts.iter().filter(|alert| !alert.contains("<circle>")).count();
    assert_eq!(
        pointless, 1,
        "of a fire without a point only the area's name is told"
    );
    let Some(schema) = fixture("cap/cap12.xsd") else {
        return;
    };
    for (number, alert) in alerts.iter().enumerate() {
        let path = rig.folder().join(format!("alert-{number}.xml"));
        std::fs::write(&path, alert).unwrap();
        validate(&schema, &path);
    }
}

#[test]
fn the_check_against_the_cap_schema_does_refuse() {
    let (Some(schema), Some(broken)) = (fixture("cap/cap12.xsd"), fixture("cap/invalid.cap")) else {
        return;
    };
    let Ok(output) = Command::new("xmllint")
        .arg("--noout")
        .arg("--schema")
        .args([&schema, &broken])
        .output()
    else {
        println!("skipped: there is no xmllint on this machine");
        return;
    };
    assert!(!output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn cursor_on_target_validates_over_tcp_tls_and_udp_and_survives_a_restart_of_the_server() {
    install_provider();
    let mut rig = Rig::new();
    let authority = Authority::new();
    let ca = authority.write(rig.folder());
    let (certificate, key) = authority.issue(rig.folder(), "tak", false);
    let tls = ServerTls {
        certificate: certificate.into(),
        key: key.into(),
    };
    let tls = tokio_rustls::TlsAcceptor::from(tls.build().unwrap());
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let over_tls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    udp.join_multicast_v4(Ipv4Addr::new(239, 2, 3, 1), Ipv4Addr::LOCALHOST)
        .unwrap();
    let config = |name: &str, port: u16, more: &str| {
        sink(&format!(
            "name = '{name}'\nretry = {{ first_ms = 20, longest_ms = 50 }}\n[to]\nkind = 'cot'\nport = {port}\n{more}"
        ))
    };
    let publisher = rig.publish(&[
        config(
            "tcp",
            tcp.local_addr().unwrap().port(),
            "transport = 'tcp'\nhost = '127.0.0.1'",
        ),
        config(
            "tls",
            over_tls.local_addr().unwrap().port(),
            &format!("transport = 'tls'\nhost = 'localhost'\ntls = {{ ca = '{ca}' }}"),
        ),
        config(
            "udp",
            udp.local_addr().unwrap().port(),
            "transport = 'udp'\ninterface = '127.0.0.1'",
        ),
    ]);
    let mut documents = Vec::new();
    for round in 0..2 {
        // In each round the server has forgotten the connection of the round before.
        rig.change([1]);
        let (mut stream, _) = tcp.accept().await.unwrap();
        documents.push(read_event(&mut stream).await);
        if round == 0 {
            let (stream, _) = over_tls.accept().await.unwrap();
            let mut stream = tls.accept(stream).await.unwrap();
            documents.push(read_event(&mut stream).await);
        }
        let mut datagram = vec![0; 65536];
        let length = udp.recv(&mut datagram).await.unwrap();
        datagram.truncate(length);
        documents.push(String::from_utf8(datagram).unwrap());
        drop(stream);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(publisher);
    assert_eq!(documents.len(), 5);
    if let Some(schema) = fixture("cot/CoT-base-event.xsd") {
        for (number, document) in documents.iter().enumerate() {
            let path = rig.folder().join(format!("event-{number}.xml"));
            std::fs::write(&path, document).unwrap();
            validate(&schema, &path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fire_stays_on_the_map_under_its_uid_while_it_burns_also_after_a_restart() {
    let mut rig = Rig::new();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let config = [sink(&format!(
        "name = 'tak'\n[to]\nkind = 'cot'\ntransport = 'udp'\nhost = '127.0.0.1'\nport = {}\nstale_s = 1",
        udp.local_addr().unwrap().port()
    ))];
    let next = async || {
        let mut datagram = vec![0; 65536];
        let wait = tokio::time::timeout(Duration::from_secs(30), udp.recv(&mut datagram));
        let length = wait.await.unwrap().unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    };
    let word = |xml: &str, name: &str| {
        let from = xml.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        xml[from..].split('"').next().unwrap().to_owned()
    };
    let publisher = rig.publish(&config);
    rig.change([1]);
    let first = next().await;
    let mut stale = word(&first, "stale");
    for _ in 0..3 {
        let again = next().await;
        assert_eq!(word(&again, "uid"), word(&first, "uid"));
        assert!(word(&again, "stale") > stale, "{again}");
        stale = word(&again, "stale");
    }
    assert!(stop(publisher).await);
    assert_eq!(
        rig.count(DeliveryState::Delivered),
        1,
        "telling it again is no delivery"
    );
    // The next start knows what the map shows, and what is over is taken from it.
    let mut quiet = vec![0; 65536];
    while udp.try_recv(&mut quiet).is_ok() {}
    let publisher = rig.publish(&config);
    assert_eq!(word(&next().await, "uid"), word(&first, "uid"));
    rig.end([1]);
    let over = loop {
        let told = next().await;
        if word(&told, "stale") == word(&told, "time") {
            break told;
        }
    };
    assert_eq!(word(&over, "uid"), word(&first, "uid"));
    let more = tokio::time::timeout(Duration::from_millis(1500), udp.recv(&mut quiet)).await;
    assert!(more.is_err(), "what is over is not told again");
    assert!(stop(publisher).await);
}

async fn read_event(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"</event>") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}
