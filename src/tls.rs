//! TLS towards sinks and cameras and from browsers: rustls with ring, roots from a file or from the machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};

/// Says whom to trust and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// PEM file of the authorities to trust; the machine's own where there is none.
    pub ca: Option<PathBuf>,
    /// PEM file of our certificate chain, for mutual TLS.
    pub certificate: Option<PathBuf>,
    /// PEM file of our key.
    pub key: Option<PathBuf>,
}

/// Says which certificate a server shows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// Says why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read or holds no PEM.
    #[error("{what} could not be read, expected PEM: {}", path.display())]
    Unreadable {
        /// What it should have held.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds nothing of the kind.
    #[error("no certificate found, expected at least one PEM block: {}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Our own certificate is out of its time.
    #[error("certificate {when}, nobody will accept it: {}", path.display())]
    OutOfTime {
        /// In which way.
        when: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The machine trusts nobody.
    #[error("this machine has no trusted authorities: install ca-certificates or set `ca`")]
    NoRoots,
    /// Certificate without key, or key without certificate.
    #[error("mutual TLS needs both `certificate` and `key`")]
    HalfAnIdentity,
    /// The certificate or the key is not usable.
    #[error("certificate or key was not accepted")]
    Unusable(#[from] rustls::Error),
}

/// Installs ring as this process's cryptography, once; every library here asks the process for it.
pub fn install_provider() {
    let already_there = rustls::crypto::ring::default_provider().install_default();
    if already_there.is_err() {
        tracing::trace!("a cryptography provider is already installed");
    }
}

impl ClientTls {
    /// Looks whether our own certificate is within its time. A configuration is made of one that is not, too: a watch
    /// does not stop because one sink cannot be reached.
    pub fn check(&self) -> Result<(), TlsError> {
        self.certificate.as_deref().map_or(Ok(()), check_time)
    }

    /// Reads the files and makes a configuration for outgoing connections.
    pub fn build(&self) -> Result<ClientConfig, TlsError> {
        install_provider();
        warn_of(self.check());
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca {
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
        } else {
            let found = rustls_native_certs::load_native_certs();
            let (added, _ignored) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err(TlsError::NoRoots);
            }
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        match (&self.certificate, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                Ok(builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?)
            }
            _ => Err(TlsError::HalfAnIdentity),
        }
    }
}

/// Makes a configuration that trusts nobody, for a client that speaks plain HTTP alone: it needs no roots.
pub(crate) fn trusting_nobody() -> ClientConfig {
    install_provider();
    ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

impl ServerTls {
    /// Looks whether the certificate is within its time. A configuration is made of one that is not, too.
    pub fn check(&self) -> Result<(), TlsError> {
        check_time(&self.certificate)
    }

    /// Reads the files and makes a configuration for incoming HTTP connections.
    pub fn build(&self) -> Result<Arc<ServerConfig>, TlsError> {
        install_provider();
        warn_of(self.check());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates(&self.certificate)?, private_key(&self.key)?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn warn_of(checked: Result<(), TlsError>) {
    if let Err(error @ TlsError::OutOfTime { .. }) = checked {
        tracing::error!(%error, "renew the certificate");
    }
}

/// Looks whether the first certificate of a file is within its time: the verifier looks at that before it looks for who
/// signed it, so that it says so of any certificate.
fn check_time(path: &Path) -> Result<(), TlsError> {
    install_provider();
    let chain = certificates(path)?;
    let Some(own) = chain.first() else { return Ok(()) };
    let mut roots = RootCertStore::empty();
    roots.add(own.clone())?;
    let (Ok(verifier), Ok(name)) = (
        WebPkiServerVerifier::builder(Arc::new(roots)).build(),
        ServerName::try_from("localhost"),
    ) else {
        return Ok(());
    };
    let when = match verifier.verify_server_cert(own, &[], &name, &[], UnixTime::now()) {
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "has expired",
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => "is not valid yet",
        _ => return Ok(()),
    };
    Err(TlsError::OutOfTime {
        when,
        path: path.to_owned(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        what: "certificate",
        path: path.to_owned(),
        source,
    };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if found.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Unreadable {
        what: "private key",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&ca, authority.cert.pem()).unwrap();
        let half = ClientTls {
            ca: Some(ca),
            key: Some("key.pem".into()),
            ..ClientTls::default()
        };
        assert!(matches!(half.build(), Err(TlsError::HalfAnIdentity)));
    }

    #[test]
    fn a_certificate_out_of_its_time_is_named_and_one_within_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let checked = |from: i32, until: i32| {
            let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let path = folder.path().join("own.pem");
            std::fs::write(&path, parameters.self_signed(&key).unwrap().pem()).unwrap();
            let tls = ServerTls {
                certificate: path,
                key: folder.path().join("own.key"),
            };
            tls.check().map_err(|error| error.to_string())
        };
        assert!(checked(2019, 2020).unwrap_err().contains("has expired"));
        assert!(checked(4000, 4001).unwrap_err().contains("own.pem"));
        assert_eq!(checked(2020, 4000), Ok(()));
    }

    #[test]
    fn a_file_without_pem_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, "not a certificate").unwrap();
        let tls = ClientTls {
            ca: Some(ca),
            ..ClientTls::default()
        };
        assert!(tls.build().unwrap_err().to_string().contains("ca.pem"));
    }
}
