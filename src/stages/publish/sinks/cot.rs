//! Cursor on Target: what TAK shows on its map. Over TCP or TLS to a server, or UDP to a mesh.
//!
//! An event without a point is not sent: the protocol has no way to say "in this direction".

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use quick_xml::Writer;
use quick_xml::events::BytesText;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use crate::clock::Clock;
use crate::flow::detection::Class;
use crate::flow::event::{Event, IncidentFeature};
use crate::flow::incident::State;
use crate::flow::pose::{Height, HeightDatum, Wgs84};
use crate::geo::geoid;
use crate::stages::publish::settings::{BuildError, Surroundings};
use crate::stages::publish::sink::{BoxFuture, Delivery, Sink, SinkError};
use crate::stages::publish::wording::{self, Language};
use crate::tls::ClientTls;

/// What the protocol writes for a height or an error that nobody knows, in metres.
const UNKNOWN_M: &str = "9999999.0";

/// Says where to and how long an event stays on the map.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CotConfig {
    /// How.
    #[serde(default)]
    pub transport: CotTransport,
    /// The server, or the group of a mesh.
    #[serde(default = "default_host")]
    pub host: String,
    /// The port; 8087 for TCP, 8089 for TLS and 6969 for UDP where it is left out.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whom to trust and who we are, with `transport = "tls"`.
    #[serde(default)]
    pub tls: ClientTls,
    /// Our address on the network whose mesh is meant, with `transport = "udp"`.
    #[serde(default)]
    pub interface: Option<Ipv4Addr>,
    /// How many routers a mesh packet may pass.
    #[serde(default = "default_hops")]
    pub hops: u32,
    /// How long an open fire stays on the map after this program has gone, in seconds; while it runs, the fire is told
    /// again each half of that time.
    #[serde(default = "default_stale_s")]
    pub stale_s: u32,
    /// Which language people read.
    #[serde(default)]
    pub language: Language,
    /// How long the server may take, in seconds.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
}

/// How events travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CotTransport {
    /// One TCP connection.
    Tcp,
    /// One TLS connection.
    Tls,
    /// Datagrams, multicast for a mesh.
    #[default]
    Udp,
}

fn default_host() -> String {
    "239.2.3.1".to_owned()
}

const fn default_hops() -> u32 {
    1
}

const fn default_stale_s() -> u32 {
    600
}

const fn default_timeout_s() -> u64 {
    10
}

/// Sends events to one TAK server or mesh.
pub struct Cot {
    config: CotConfig,
    port: u16,
    tls: Option<TlsConnector>,
    clock: Arc<dyn Clock>,
    stream: Mutex<Option<Box<dyn Stream>>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Cot {
    /// Makes the sink; it connects with the first event.
    pub fn new(config: &CotConfig, surroundings: &Surroundings<'_>) -> Result<Self, BuildError> {
        if !(1..=86_400).contains(&config.stale_s) {
            return Err(BuildError::Wrong {
                what: "stale_s",
                given: config.stale_s.to_string(),
                expected: "1 to 86400",
            });
        }
        let (usual_port, tls) = match config.transport {
            CotTransport::Tcp => (8087, None),
            CotTransport::Udp => (6969, None),
            CotTransport::Tls => (8089, Some(TlsConnector::from(Arc::new(config.tls.build()?)))),
        };
        Ok(Self {
            config: config.clone(),
            port: config.port.unwrap_or(usual_port),
            tls,
            clock: Arc::clone(&surroundings.clock),
            stream: Mutex::new(None),
        })
    }

    async fn send(&self, delivery: &Delivery) -> Result<(), SinkError> {
        self.show(&delivery.event()?).await
    }

    async fn show(&self, event: &Event) -> Result<(), SinkError> {
        let now = self.clock.wall();
        let stale = SignedDuration::from_secs(i64::from(self.config.stale_s));
        let Some(xml) = to_xml(event, now, stale, self.config.language) else {
            tracing::debug!(id = %event.id, "event has no point and is not shown on the map");
            return Ok(());
        };
        let sent = async {
            match self.config.transport {
                CotTransport::Udp => self.send_datagram(&xml).await,
                CotTransport::Tcp | CotTransport::Tls => self.send_on_stream(&xml).await,
            }
        };
        let timeout = Duration::from_secs(self.config.timeout_s.max(1));
        tokio::time::timeout(timeout, sent)
            .await
            .unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|error| SinkError::unreachable("TAK server could not be reached").because(error))
    }

    async fn send_datagram(&self, xml: &str) -> std::io::Result<()> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for to in tokio::net::lookup_host((self.config.host.as_str(), self.port)).await? {
            match self.send_datagram_to(to, xml).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn send_datagram_to(&self, to: SocketAddr, xml: &str) -> std::io::Result<()> {
        let from = match (to, self.config.interface) {
            (SocketAddr::V4(_), Some(interface)) => SocketAddr::from((interface, 0)),
            (SocketAddr::V4(_), None) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            (SocketAddr::V6(_), _) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(from).await?;
        if to.ip().is_multicast() && to.is_ipv4() {
            socket.set_multicast_ttl_v4(self.config.hops)?;
            socket.set_multicast_loop_v4(true)?;
        }
        socket.send_to(xml.as_bytes(), to).await.map(drop)
    }

    async fn send_on_stream(&self, xml: &str) -> std::io::Result<()> {
        let mut slot = self.stream.lock().await;
        let kept = match slot.take() {
            Some(mut stream) => is_alive(&mut stream).await.then_some(stream),
            None => None,
        };
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(xml.as_bytes()).await?;
        stream.flush().await?;
        *slot = Some(stream);
        Ok(())
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.config.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.config.host.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

/// Reads what the server has said (its own events, which are not for us) and returns whether it is still there.
/// The protocol acknowledges nothing, so a connection that the other side has closed must be found before writing.
async fn is_alive(stream: &mut Box<dyn Stream>) -> bool {
    let mut said = [0; 4096];
    for _ in 0..256 {
        match tokio::time::timeout(Duration::ZERO, stream.read(&mut said)).await {
            Err(_nothing_said) => return true,
            Ok(Ok(0) | Err(_)) => return false,
            Ok(Ok(_)) => {}
        }
    }
    true
}

impl Sink for Cot {
    fn deliver<'a>(&'a self, deliveries: &'a [Delivery]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for delivery in deliveries {
                self.send(delivery).await?;
            }
            Ok(())
        })
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(Duration::from_millis(u64::from(self.config.stale_s) * 500))
    }

    fn refresh<'a>(&'a self, newest: &'a Delivery) -> BoxFuture<'a, Result<bool, SinkError>> {
        Box::pin(async move {
            let event = newest.event()?;
            let is_shown = event
                .incident()
                .is_some_and(|feature| feature.geometry.is_some() && is_on_the_map(feature.properties.state));
            if is_shown {
                self.show(&event).await?;
            }
            Ok(is_shown)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(mut stream) = self.stream.lock().await.take()
                && let Err(error) = stream.shutdown().await
            {
                tracing::debug!(%error, "TAK connection was not closed cleanly");
            }
        })
    }
}

/// Writes an event as XML; nothing when it has no point.
///
/// # Panics
///
/// Never: writing into memory does not fail.
#[must_use]
pub fn to_xml(event: &Event, now: Timestamp, stale: SignedDuration, language: Language) -> Option<String> {
    let feature = event.incident()?;
    let [longitude, latitude] = feature.geometry?.coordinates;
    let told = &feature.properties;
    let stale = if is_on_the_map(told.state) {
        now.checked_add(stale).unwrap_or(Timestamp::MAX)
    } else {
        now
    };
    let start = told.first_seen.at.min(now);
    let metres = |value: Option<f64>| {
        value
            .filter(|metres| metres.is_finite())
            .map_or_else(|| UNKNOWN_M.to_owned(), |metres| format!("{metres:.1}"))
    };
    let callsign = wording::clean(&wording::headline(event, language));
    let remarks = wording::clean(&remarks(feature, language));
    let mut writer = Writer::new(Vec::new());
    writer
        .create_element("event")
        .with_attribute(("version", "2.0"))
        .with_attribute(("uid", format!("emberwatch.{}", feature.id).as_str()))
        .with_attribute(("type", event_type(told.class, told.state)))
        .with_attribute(("how", "m-g"))
        .with_attribute(("time", instant(now).as_str()))
        .with_attribute(("start", instant(start).as_str()))
        .with_attribute(("stale", instant(stale).as_str()))
        .write_inner_content(|writer| {
            writer
                .create_element("point")
                .with_attribute(("lat", format!("{latitude:.7}").as_str()))
                .with_attribute(("lon", format!("{longitude:.7}").as_str()))
                .with_attribute(("hae", metres(ellipsoid_height_m(feature)).as_str()))
                .with_attribute(("ce", metres(told.ce90_m).as_str()))
                .with_attribute(("le", UNKNOWN_M))
                .write_empty()?;
            writer.create_element("detail").write_inner_content(|writer| {
                writer
                    .create_element("contact")
                    .with_attribute(("callsign", callsign.as_str()))
                    .write_empty()?;
                writer
                    .create_element("remarks")
                    .write_text_content(BytesText::new(&remarks))?;
                Ok(())
            })?;
            Ok(())
        })
        .expect("writing XML into memory should not fail");
    String::from_utf8(writer.into_inner()).ok()
}

/// Returns the type code: unknown affiliation, incident, fire; smoke while nobody has confirmed more.
const fn event_type(class: Class, state: State) -> &'static str {
    match (state, class) {
        (State::Suspected, Class::Smoke) => "a-u-X-i-f-s",
        (State::Suspected, Class::Flame) => "a-u-X-i-f",
        _ => "a-u-X-i-f-w",
    }
}

const fn is_on_the_map(state: State) -> bool {
    state.is_burning()
}

/// Returns the height above the ellipsoid, in metres, where the datum lets it be known.
fn ellipsoid_height_m(feature: &IncidentFeature) -> Option<f64> {
    let [lon, lat] = feature.geometry?.coordinates;
    let height = Height::new(feature.properties.height_m?, feature.properties.height_datum?);
    geoid::converted(height, Wgs84 { lat, lon }, HeightDatum::Ellipsoid).map(|height| height.metres)
}

fn instant(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn remarks(feature: &IncidentFeature, language: Language) -> String {
    let told = &feature.properties;
    let sources = told
        .sources
        .iter()
        .map(|view| view.id.as_str())
        .collect::<Vec<_>>();
    let confidence = told.confidence * 100.0;
    let since = wording::shown_time(told.first_seen.at);
    match language {
        Language::Zh => format!(
            "首次可见 {since};置信度 {confidence:.0}%;来源 {};修订 {}",
            sources.join("、"),
            told.revision
        ),
        Language::En => format!(
            "visible since {since} (+08:00); confidence {confidence:.0}%; seen by {}; revision {}",
            sources.join(", "),
            told.revision
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::publish::samples;

    fn xml(event: &Event) -> String {
        let now = "2025-12-05T08:42:07Z".parse().unwrap();
        to_xml(event, now, SignedDuration::from_secs(600), Language::Zh).unwrap()
    }

    #[test]
    fn a_confirmed_fire_is_one_object_with_its_error_and_height_above_the_ellipsoid() {
        let xml = xml(&samples::confirmed());
        assert!(xml.contains(r#"type="a-u-X-i-f-w""#), "{xml}");
        assert!(xml.contains(r#"time="2025-12-05T08:42:07.000Z""#), "{xml}");
        assert!(xml.contains(r#"stale="2025-12-05T08:52:07.000Z""#), "{xml}");
        assert!(xml.contains(r#"ce="44.0""#), "{xml}");
        // 91 m above the geoid, which lies about 19.6 m below the ellipsoid there.
        let hae = xml.split("hae=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!((hae.parse::<f64>().unwrap() - 71.4).abs() < 1.0, "{hae}");
    }

    #[test]
    fn the_same_fire_keeps_its_uid_and_leaves_the_map_when_it_is_out() {
        let burning = samples::confirmed();
        let mut out = burning.clone();
        samples::properties(&mut out).unwrap().state = State::Closed;
        let uid = |xml: &str| {
            xml.split("uid=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(uid(&xml(&burning)), uid(&xml(&out)));
        assert!(xml(&out).contains(r#"stale="2025-12-05T08:42:07.000Z""#));
    }

    #[test]
    fn smoke_that_is_only_suspected_is_smoke() {
        let mut event = samples::confirmed();
        samples::properties(&mut event).unwrap().state = State::Suspected;
        assert!(xml(&event).contains(r#"type="a-u-X-i-f-s""#));
    }

    #[test]
    fn a_bearing_alone_is_not_put_on_the_map() {
        let now = "2025-12-05T08:42:07Z".parse().unwrap();
        let shown = to_xml(
            &samples::bearing_only(),
            now,
            SignedDuration::from_secs(1),
            Language::En,
        );
        assert_eq!(shown, None);
    }

    #[test]
    fn names_from_outside_cannot_break_the_xml() {
        let mut event = samples::confirmed();
        let grid = samples::properties(&mut event).unwrap().grid.as_mut().unwrap();
        grid.village = Some("\"/><x a='\u{0}&".to_owned());
        let xml = xml(&event);
        let mut reader = quick_xml::Reader::from_str(&xml);
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Empty(element) => assert_ne!(element.name().as_ref(), "x"),
                _ => {}
            }
        }
    }
}
