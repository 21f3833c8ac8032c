//! Real servers as child processes, killed at the end, and a receiver that fails in every way.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// A program that runs beside the test and ends with it.
pub(crate) struct Program {
    child: Child,
    pub(crate) port: u16,
}

impl Program {
    /// Starts a program that listens on `port`; says that the test is skipped where there is none.
    pub(crate) async fn start(name: &str, arguments: &[&str], port: u16) -> Option<Self> {
        let child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            println!("skipped: there is no {name} on this machine");
            return None;
        };
        let program = Self { child, port };
        until("the server answers", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
        })
        .await;
        Some(program)
    }

    /// Starts mosquitto with these further lines of configuration.
    pub(crate) async fn mosquitto(folder: &Path, port: u16, lines: &str) -> Option<Self> {
        let file = folder.join(format!("mosquitto-{port}.conf"));
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{lines}\n");
        std::fs::write(&file, text).unwrap();
        Self::start("mosquitto", &["-c", file.to_str().unwrap()], port).await
    }

    /// Starts nats-server with JetStream.
    pub(crate) async fn nats(folder: &Path, port: u16) -> Option<Self> {
        let folder = folder.join("nats");
        let port_text = port.to_string();
        let arguments = [
            "-js",
            "-a",
            "127.0.0.1",
            "-p",
            &port_text,
            "-sd",
            folder.to_str().unwrap(),
        ];
        Self::start("nats-server", &arguments, port).await
    }

    /// Kills the program as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

/// Returns a port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something holds; fails after a minute.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// How the receiver answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With a status and a body.
    With(u16, &'static str),
    /// After so long.
    Late(Duration),
    /// Not at all: it reads the body and hangs up.
    HangUp,
    /// Twice.
    Twice,
    /// With something that is not HTTP.
    Nonsense,
}

type Decide = Arc<dyn Fn(usize, &Request) -> Reply + Send + Sync>;

/// An HTTP server that answers each request as it is told and remembers what it was sent.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(decide: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self::serve(listener, None, decide)
    }

    pub(crate) fn serve(
        listener: TcpListener,
        tls: Option<tokio_rustls::TlsAcceptor>,
        decide: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let decide: Decide = Arc::new(decide);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, decide, tls) = (Arc::clone(&kept), Arc::clone(&decide), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &kept, &decide).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, &kept, &decide).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    kept: &Mutex<Vec<Request>>,
    decide: &Decide,
) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut kept = kept.lock().unwrap();
            kept.push(request.clone());
            kept.len() - 1
        };
        let plain = |status: u16, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n{body}")
        };
        let answer = match decide(number, &request) {
            Reply::With(status, body) => plain(status, body),
            Reply::Late(wait) => {
                tokio::time::sleep(wait).await;
                plain(200, "")
            }
            Reply::HangUp => return,
            Reply::Twice => plain(200, "") + &plain(200, ""),
            Reply::Nonsense => "\u{1}\u{2}\u{3}".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect::<Vec<_>>();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { line, headers, body })
}

/// An authority of the test's own, and certificates that it signs.
pub(crate) struct Authority {
    certificate: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose subject is its issuer's for a self-signed one: names must differ.
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "authority of the tests");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self {
            certificate: rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap(),
        }
    }

    /// Writes `ca.pem` into a folder and returns its path.
    pub(crate) fn write(&self, folder: &Path) -> String {
        let path = folder.join("ca.pem");
        std::fs::write(&path, self.certificate.as_ref().pem()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a certificate for localhost and its key; expired if asked for. Returns both paths.
    pub(crate) fn issue(&self, folder: &Path, name: &str, expired: bool) -> (String, String) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        if expired {
            parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.certificate).unwrap();
        let (certificate_path, key_path) = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        );
        std::fs::write(&certificate_path, certificate.pem()).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        (text(certificate_path), text(key_path))
    }
}

/// A way from one port of this machine to another; it is cut as a cable is: with every connection on it.
pub(crate) struct Way {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Way {
    /// Cuts the way; the port it began at is free afterwards.
    pub(crate) async fn cut(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

/// Carries every connection to one port of this machine on to another, until the way is cut.
pub(crate) async fn forward(from: u16, to: u16) -> Way {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, from))
        .await
        .unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(async move {
        let mut carrying = tokio::task::JoinSet::new();
        let mut is_cut = stopped.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = is_cut.wait_for(|cut| *cut) => return,
            };
            let Ok((mut near, _)) = accepted else { return };
            carrying.spawn(async move {
                if let Ok(mut far) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await {
                    // Either side may leave at any time: that is the end of this connection and no failure.
                    tokio::io::copy_bidirectional(&mut near, &mut far)
                        .await
                        .unwrap_or_default();
                }
            });
        }
    });
    Way { stop, task }
}
