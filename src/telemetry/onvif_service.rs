//! Asks a camera over ONVIF where it points: `GetStatus` and `GetPresets` by SOAP over HTTP or HTTPS.
//!
//! The password is proved and never sent: first by the `UsernameToken` of WS-Security, as the ONVIF core specification
//! has it, and by HTTP digest (RFC 7616) where the camera asks for that.

use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::{PasswordClient, PasswordParams};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::blocking::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use sha1::{Digest as _, Sha1};

use super::log::TelemetryError;
use super::onvif::{PresetPosition, PtzStatus, malformed, parse_presets, parse_status};
use crate::tls::{ClientTls, trusting_nobody};

/// How long a camera may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The PTZ service of one camera.
#[derive(Clone)]
pub struct PtzService {
    url: Url,
    profile: String,
    credentials: Option<(String, String)>,
    client: Client,
    /// What the camera asked for by HTTP digest: its nonce serves for many questions.
    challenge: Arc<Mutex<Option<PasswordClient>>>,
}

impl std::fmt::Debug for PtzService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password.
        write!(formatter, "{} profile {}", self.url, self.profile)
    }
}

/// What a camera answered.
struct Answer {
    status: StatusCode,
    digest: Option<PasswordClient>,
    body: String,
}

impl PtzService {
    /// Names a service: `http://` or `https://host[:port]/path`, the token of the media profile, a user with a password,
    /// and whom to trust.
    pub fn new(
        url: &str,
        profile: &str,
        credentials: Option<(String, String)>,
        tls: &ClientTls,
    ) -> Result<Self, TelemetryError> {
        let url = Self::parse_url(url)?;
        let tls = if url.scheme() == "https" {
            tls.build()
                .map_err(|error| malformed(format!("{url} cannot be asked by TLS: {error}")))?
        } else {
            trusting_nobody()
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .connect_timeout(PATIENCE)
            .user_agent(concat!("emberwatch/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| malformed(format!("{url}: the HTTP client could not be made: {error}")))?;
        Ok(Self {
            url,
            profile: profile.to_owned(),
            credentials,
            client,
            challenge: Arc::default(),
        })
    }

    /// Reads the address of a service; one without a path has the usual one.
    pub fn parse_url(text: &str) -> Result<Url, TelemetryError> {
        let wrong = |why: &str| malformed(format!("{text:?} {why}, http[s]://HOST[:PORT]/PATH is expected"));
        let mut url = Url::parse(text).map_err(|error| wrong(&format!("is no address ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed(
                "its address holds a user, who belongs in the source's own user and password".to_owned(),
            ));
        }
        if url.path() == "/" {
            url.set_path("/onvif/ptz_service");
        }
        Ok(url)
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
        let mut answer = self.post(action, now)?;
        if answer.status == StatusCode::UNAUTHORIZED && answer.digest.is_some() && self.credentials.is_some()
        {
            *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = answer.digest.take();
            answer = self.post(action, now)?;
        }
        if answer.status == StatusCode::OK {
            return Ok(answer.body);
        }
        let reason = answer
            .body
            .split_once("Text")
            .and_then(|(_, rest)| rest.split_once('>'))
            .and_then(|(_, rest)| rest.split_once('<'))
            .map_or("it gives no reason", |(reason, _)| reason.trim());
        let is_stranger = answer.status == StatusCode::UNAUTHORIZED || answer.body.contains("NotAuthorized");
        let remedy = match &self.credentials {
            _ if !is_stranger => String::new(),
            None => "; it wants a user and a password: set the source's".to_owned(),
            Some((user, _)) => format!(
                "; mend user {user:?} or the password, and see that the camera's clock is right: a proof is good for seconds"
            ),
        };
        Err(malformed(format!(
            "{self:?} answers {action} with {}: {reason}{remedy}",
            answer.status
        )))
    }

    fn post(&self, action: &str, now: Timestamp) -> Result<Answer, TelemetryError> {
        let failed = |why: &dyn std::error::Error| {
            // The innermost cause is what tells a closed port from a certificate that nobody signed.
            let mut cause = why;
            while let Some(source) = cause.source() {
                cause = source;
            }
            malformed(format!("{self:?} cannot be asked for {action}: {cause}"))
        };
        let by_digest = self.by_digest().map_err(|problem| {
            malformed(format!(
                "{self:?} asks for a proof that cannot be given: {problem}"
            ))
        })?;
        let envelope = self.envelope(action, now, rand::random(), by_digest.is_none());
        let mut request = self
            .client
            .post(self.url.clone())
            .header(
                CONTENT_TYPE,
                format!(
                    "application/soap+xml; charset=utf-8; action=\"http://www.onvif.org/ver20/ptz/wsdl/{action}\""
                ),
            )
            .body(envelope);
        if let Some(proof) = by_digest {
            request = request.header(AUTHORIZATION, proof);
        }
        let response = request.send().map_err(|error| failed(&error.without_url()))?;
        let status = response.status();
        let digest = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .find_map(|value| PasswordClient::try_from(value.to_str().ok()?).ok());
        let mut bytes = Vec::new();
        response
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error))?;
        Ok(Answer {
            status,
            digest,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// Returns the proof of the password by HTTP digest, where the camera asked for it before.
    fn by_digest(&self) -> Result<Option<String>, String> {
        let mut challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(challenge), Some((username, password))) = (challenge.as_mut(), &self.credentials) else {
            return Ok(None);
        };
        let uri = self.url.query().map_or_else(
            || self.url.path().to_owned(),
            |query| format!("{}?{query}", self.url.path()),
        );
        challenge
            .respond(&PasswordParams {
                username,
                password,
                uri: &uri,
                method: "POST",
                body: None,
            })
            .map(Some)
    }

    fn envelope(&self, action: &str, now: Timestamp, nonce: [u8; 16], is_proved_here: bool) -> String {
        let header = self
            .credentials
            .as_ref()
            .filter(|_| is_proved_here)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_proved_and_never_sent() {
        let credentials = Some(("admin".to_owned(), "<secret>".to_owned()));
        let service = PtzService::new(
            "http://127.0.0.1/onvif/ptz",
            "Profile_1",
            credentials,
            &ClientTls::default(),
        )
        .unwrap();
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let envelope = service.envelope("GetStatus", now, [7; 16], true);
        assert!(!envelope.contains("secret") && envelope.contains("<Username>admin</Username>"));
        let proof = [&[7; 16][..], b"2026-11-24T10:00:00Z", b"<secret>"].concat();
        assert!(envelope.contains(&STANDARD.encode(Sha1::digest(&proof))));
        assert!(!format!("{service:?}").contains("secret"));
    }

    #[test]
    fn an_address_that_cannot_be_asked_is_refused() {
        for wrong in ["rtsp://x/", "http:///", "http://u:p@h/", "a camera"] {
            let refused = PtzService::parse_url(wrong).map(|url| url.to_string());
            assert!(refused.is_err(), "{wrong}: {refused:?}");
        }
        let usual = PtzService::parse_url("https://tower").unwrap();
        assert_eq!(usual.as_str(), "https://tower/onvif/ptz_service");
    }
}
