//! Signs requests as Standard Webhooks asks: `v1,<base64 HMAC-SHA256 of "{id}.{timestamp}.{body}">`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::secret::SecretText;

/// How far a receiver lets the clocks differ, in seconds.
pub const TOLERANCE_S: i64 = 300;

/// Keys in force: the newest first, older ones while receivers still know only those.
#[derive(Clone, Debug)]
pub struct SigningKeys(Vec<SigningKey>);

#[derive(Clone)]
struct SigningKey(Vec<u8>);

/// Says why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("a webhook needs at least one signing secret")]
    None,
    /// `whsec_` is not followed by base64.
    #[error("signing secret starts with \"whsec_\" and must go on in base64")]
    NotBase64,
    /// It is too short to be a secret.
    #[error("signing secret is {0} bytes long, expected at least 16")]
    TooShort(usize),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SigningKey(…)")
    }
}

impl SigningKeys {
    /// Reads keys: `whsec_` and base64 as the standard writes them, or any other text as its bytes.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretText>) -> Result<Self, KeyError> {
        let keys = secrets
            .into_iter()
            .map(|secret| {
                let key = match secret.expose().strip_prefix("whsec_") {
                    Some(encoded) => STANDARD.decode(encoded).map_err(|_error| KeyError::NotBase64)?,
                    None => secret.expose().as_bytes().to_vec(),
                };
                if key.len() < 16 {
                    return Err(KeyError::TooShort(key.len()));
                }
                Ok(SigningKey(key))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(KeyError::None);
        }
        Ok(Self(keys))
    }

    /// Returns the header `webhook-signature`: one signature a key, separated by spaces.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let tag = mac(key, id, timestamp_s, body).finalize().into_bytes();
            format!("v1,{}", STANDARD.encode(tag))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Returns whether a request was signed by one of these keys within the tolerance; what a receiver does.
    pub fn verify(&self, id: &str, timestamp_s: i64, now_s: i64, body: &[u8], header: &str) -> bool {
        if now_s.abs_diff(timestamp_s) > TOLERANCE_S.unsigned_abs() {
            return false;
        }
        let given = header
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            .collect::<Vec<_>>();
        self.0.iter().any(|key| {
            given
                .iter()
                .any(|tag| mac(key, id, timestamp_s, body).verify_slice(tag).is_ok())
        })
    }
}

fn mac(key: &SigningKey, id: &str, timestamp_s: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC should take keys of any length");
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> SigningKeys {
        let secrets = secrets
            .iter()
            .map(|text| SecretText::new(*text))
            .collect::<Vec<_>>();
        SigningKeys::new(&secrets).unwrap()
    }

    #[test]
    fn the_signature_is_the_one_of_the_standards_own_example() {
        let keys = keys(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        let body = br#"{"test": 2432232314}"#;
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_receiver_that_knows_only_the_old_or_only_the_new_key_accepts_during_rotation() {
        let old = keys(&["the old secret of the receiver"]);
        let new = keys(&["the new secret of the receiver"]);
        let both = keys(&["the new secret of the receiver", "the old secret of the receiver"]);
        let header = both.sign("id", 1000, b"body");
        assert!(old.verify("id", 1000, 1100, b"body", &header));
        assert!(new.verify("id", 1000, 1100, b"body", &header));
        assert!(!keys(&["some third secret, unknown"]).verify("id", 1000, 1100, b"body", &header));
    }

    #[test]
    fn a_changed_body_id_or_time_and_an_old_request_are_refused() {
        let keys = keys(&["a secret that is long enough"]);
        let header = keys.sign("id", 1000, b"body");
        assert!(!keys.verify("id", 1000, 1000, b"other", &header));
        assert!(!keys.verify("di", 1000, 1000, b"body", &header));
        assert!(!keys.verify("id", 1001, 1001, b"body", &header));
        assert!(!keys.verify("id", 1000, 1301, b"body", &header));
    }

    #[test]
    fn weak_and_broken_secrets_are_refused() {
        let refuse = |text: &str| SigningKeys::new([&SecretText::new(text)]).unwrap_err();
        assert_eq!(refuse("short"), KeyError::TooShort(5));
        assert_eq!(refuse("whsec_***"), KeyError::NotBase64);
        assert_eq!(SigningKeys::new([]).unwrap_err(), KeyError::None);
    }
}
