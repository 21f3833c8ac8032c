//! Asks a camera over ONVIF where it points: `GetStatus` and `GetPresets` by SOAP over plain HTTP.
//!
//! A camera whose numbers are mapped ([`PtzMap`]) gives a direction anywhere; one without a map gives one where its
//! numbers are those of a surveyed preset.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::reader::Reader;
use sha1::{Digest as _, Sha1};

use super::fixed::PresetCamera;
use super::log::TelemetryError;
use super::onvif::{PtzMap, PtzRefusal, PtzStatus, parse_status};

/// How long a camera may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// A camera stands at a preset when pan and tilt are this close, in degrees of the spherical space.
const SAME_DEG: f64 = 0.5;
/// The same in the generic space, which spans -1 to 1.
const SAME_SHARE: f64 = 0.005;

/// Where a camera says that one of its presets lies.
#[derive(Clone, Debug, PartialEq)]
pub struct PresetPosition {
    /// Its token.
    pub token: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Pan, in the unit of its space.
    pub pan: f64,
    /// Tilt, in the unit of its space.
    pub tilt: f64,
}

/// The PTZ service of one camera.
#[derive(Clone)]
pub struct PtzService {
    host: String,
    path: String,
    profile: String,
    credentials: Option<(String, String)>,
}

impl std::fmt::Debug for PtzService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password.
        write!(
            formatter,
            "http://{}{} profile {}",
            self.host, self.path, self.profile
        )
    }
}

fn malformed(problem: String) -> TelemetryError {
    TelemetryError::Malformed {
        what: "an ONVIF PTZ service",
        problem,
    }
}

impl PtzService {
    /// Names a service: `http://host[:port]/path`, the token of the media profile, and a user with a password.
    pub fn new(
        url: &str,
        profile: &str,
        credentials: Option<(String, String)>,
    ) -> Result<Self, TelemetryError> {
        let wrong = || malformed(format!("{url:?}, http://HOST[:PORT]/PATH is expected"));
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "onvif/ptz_service"));
        if host.is_empty() || host.contains('@') || url.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self {
            host: if has_port {
                host.to_owned()
            } else {
                format!("{host}:80")
            },
            path: format!("/{path}"),
            profile: profile.to_owned(),
            credentials,
        })
    }

    /// Asks where the camera points. `now` goes into the proof of the password.
    pub fn status(&self, now: Timestamp) -> Result<PtzStatus, TelemetryError> {
        parse_status(&self.ask("GetStatus", now)?)
    }

    /// Asks where the camera's presets lie. Presets without a position are left out.
    pub fn presets(&self, now: Timestamp) -> Result<Vec<PresetPosition>, TelemetryError> {
        parse_presets(&self.ask("GetPresets", now)?)
    }

    fn ask(&self, action: &str, now: Timestamp) -> Result<String, TelemetryError> {
        let envelope = self.envelope(action, now, rand::random());
        let (status, body) = self
            .post(action, &envelope)
            .map_err(|error| malformed(format!("{self:?} cannot be asked for {action}: {error}")))?;
        if status == 200 {
            return Ok(body);
        }
        let reason = body
            .split_once("Text")
            .and_then(|(_, rest)| rest.split_once('>'))
            .and_then(|(_, rest)| rest.split_once('<'))
            .map_or("it gives no reason", |(reason, _)| reason.trim());
        Err(malformed(format!(
            "{self:?} answers {action} with {status}: {reason}"
        )))
    }

    fn envelope(&self, action: &str, now: Timestamp, nonce: [u8; 16]) -> String {
        let header = self
            .credentials
            .as_ref()
            .map_or(String::new(), |(user, password)| {
                let created = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let proof = [&nonce[..], created.as_bytes(), password.as_bytes()].concat();
                format!(
                    "<s:Header><Security s:mustUnderstand=\"1\" xmlns=\"http://docs.oasis-open.org/wss/2004/01/\
                     oasis-200401-wss-wssecurity-secext-1.0.xsd\"><UsernameToken><Username>{}</Username>\
                     <Password Type=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile\
                     -1.0#PasswordDigest\">{}</Password><Nonce EncodingType=\"http://docs.oasis-open.org/wss/2004/01/\
                     oasis-200401-wss-soap-message-security-1.0#Base64Binary\">{}</Nonce><Created xmlns=\"http://docs.\
                     oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd\">{created}</Created>\
                     </UsernameToken></Security></s:Header>",
                    quick_xml::escape::escape(user.as_str()),
                    STANDARD.encode(Sha1::digest(&proof)),
                    STANDARD.encode(nonce)
                )
            });
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">\
             {header}<s:Body><{action} xmlns=\"http://www.onvif.org/ver20/ptz/wsdl\"><ProfileToken>{}</ProfileToken>\
             </{action}></s:Body></s:Envelope>",
            quick_xml::escape::escape(self.profile.as_str())
        )
    }

    fn post(&self, action: &str, body: &str) -> std::io::Result<(u16, String)> {
        let address = self
            .host
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| std::io::Error::other("its name has no address"))?;
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        // HTTP/1.0: the answer ends where the connection does, without chunks.
        write!(
            socket,
            "POST {} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/soap+xml; charset=utf-8; \
             action=\"http://www.onvif.org/ver20/ptz/wsdl/{action}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.path,
            self.host,
            body.len()
        )?;
        let mut bytes = Vec::new();
        socket.take(LARGEST).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))?;
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| std::io::Error::other("the answer has no status"))?;
        Ok((status, body.to_owned()))
    }
}

/// Reads the answer to `GetPresets`.
pub fn parse_presets(text: &str) -> Result<Vec<PresetPosition>, TelemetryError> {
    let mut reader = Reader::from_str(text);
    let (mut presets, mut token, mut name, mut position) = (Vec::new(), None, None, None);
    let mut in_name = false;
    let mut seen = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| malformed(error.to_string()))?;
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                let attribute = |wanted: &str| {
                    element.attributes().flatten().find_map(|attribute| {
                        let key: &str = attribute.key.local_name().into_inner();
                        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
                        (key == wanted).then(|| value.into_owned())
                    })
                };
                let local: &str = element.local_name().into_inner();
                match local {
                    "GetPresetsResponse" => seen = true,
                    "Preset" => (token, name, position) = (attribute("token"), None, None),
                    "Name" => in_name = matches!(event, Event::Start(_)),
                    "PanTilt" => {
                        let number = |wanted| attribute(wanted)?.trim().parse::<f64>().ok();
                        position = number("x")
                            .zip(number("y"))
                            .filter(|(pan, tilt)| pan.is_finite() && tilt.is_finite());
                    }
                    _ => {}
                }
            }
            Event::Text(value) if in_name => name = Some(value.xml10_content().trim().to_owned()),
            Event::End(element) => {
                let local: &str = element.local_name().into_inner();
                in_name &= local != "Name";
                if local == "Preset"
                    && let (Some(token), Some((pan, tilt))) = (token.take(), position.take())
                {
                    presets.push(PresetPosition {
                        token,
                        name: name.take(),
                        pan,
                        tilt,
                    });
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if seen {
        Ok(presets)
    } else {
        Err(malformed("no GetPresetsResponse is in the answer".into()))
    }
}

/// Turns a camera to where its status says: by its map where it has one, else to the surveyed preset at which it stands.
/// A status without a direction leaves the camera without one.
pub fn follow(
    camera: &PresetCamera,
    map: Option<&PtzMap>,
    positions: &[PresetPosition],
    status: &PtzStatus,
) -> Result<(), PtzRefusal> {
    if let Some(map) = map {
        let direction = map.pose_of(status);
        camera.set_direction(direction.as_ref().ok().copied());
        return direction.map(|_| ());
    }
    camera.set_direction(None);
    if status.moving == Some(true) {
        return Err(PtzRefusal::Moving);
    }
    let (Some(pan), Some(tilt)) = (status.pan, status.tilt) else {
        return Err(PtzRefusal::NoPosition);
    };
    let is_spherical = status
        .pan_tilt_space
        .as_deref()
        .is_some_and(|space| space.contains("SphericalPositionSpace"));
    let same = if is_spherical { SAME_DEG } else { SAME_SHARE };
    let here = positions.iter().find(|preset| {
        let turn = (preset.pan - pan).abs();
        let turn = if is_spherical {
            turn.min((360.0 - turn).abs())
        } else {
            turn
        };
        turn <= same && (preset.tilt - tilt).abs() <= same
    });
    // A camera between its presets is no fault: it has no direction there.
    if let Some(preset) = here
        && !camera.set_current(Some(&preset.token))
    {
        camera.set_current(preset.name.as_deref());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pose::{
        Attitude, Height, HeightDatum, Optics, PoseProvider as _, PoseRefusal, PoseSigmas,
    };
    use crate::flow::time::MediaTime;
    use crate::telemetry::fixed::{Mast, Preset};

    const PRESETS: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>
        <tptz:GetPresetsResponse><tptz:Preset token="1"><tt:Name>north</tt:Name><tt:PTZPosition>
        <tt:PanTilt x="0.25" y="-0.1"/><tt:Zoom x="0"/></tt:PTZPosition></tptz:Preset>
        <tptz:Preset token="2"><tt:Name>nowhere</tt:Name></tptz:Preset></tptz:GetPresetsResponse></s:Body></s:Envelope>"#;

    fn camera() -> PresetCamera {
        let mast = Mast {
            lat: 35.19,
            lon: 113.25,
            height: Height::new(40.0, HeightDatum::Ground),
            sigmas: PoseSigmas::default(),
        };
        let north = Preset {
            name: "north".into(),
            attitude: Attitude::new(3.0, -5.0, 0.0),
            optics: Optics::default(),
        };
        PresetCamera::new(mast, vec![north])
    }

    fn status(pan: f64, moving: bool) -> PtzStatus {
        PtzStatus {
            pan: Some(pan),
            tilt: Some(-0.1),
            moving: Some(moving),
            ..PtzStatus::default()
        }
    }

    #[test]
    fn a_camera_is_at_the_preset_whose_numbers_it_tells() {
        let positions = parse_presets(PRESETS).unwrap();
        assert_eq!(positions.len(), 1, "a preset without a position is left out");
        let camera = camera();
        follow(&camera, None, &positions, &status(0.2501, false)).unwrap();
        let pose = camera.pose_at(MediaTime::ZERO).unwrap();
        assert!((pose.attitude.unwrap().yaw_deg - 3.0).abs() < 1e-9);
        follow(&camera, None, &positions, &status(0.4, false)).unwrap();
        assert_eq!(camera.pose_at(MediaTime::ZERO), Err(PoseRefusal::NoPreset));
        assert_eq!(
            follow(&camera, None, &positions, &status(0.25, true)),
            Err(PtzRefusal::Moving)
        );
        assert!(parse_presets("<Fault/>").is_err());
    }

    #[test]
    fn the_password_is_proved_and_never_sent() {
        let credentials = Some(("admin".to_owned(), "<secret>".to_owned()));
        let service = PtzService::new("http://127.0.0.1/onvif/ptz", "Profile_1", credentials).unwrap();
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let envelope = service.envelope("GetStatus", now, [7; 16]);
        assert!(!envelope.contains("secret") && envelope.contains("<Username>admin</Username>"));
        let proof = [&[7; 16][..], b"2026-11-24T10:00:00Z", b"<secret>"].concat();
        assert!(envelope.contains(&STANDARD.encode(Sha1::digest(&proof))));
        assert!(!format!("{service:?}").contains("secret"));
        for wrong in ["https://x/", "rtsp://x/", "http:///p", "http://u:p@h/"] {
            assert!(PtzService::new(wrong, "p", None).is_err(), "{wrong}");
        }
    }
}
