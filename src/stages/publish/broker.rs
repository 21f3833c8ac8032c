//! How an MQTT broker is reached: shared by the sink that publishes and by the way back that listens.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::v5::ConnectProperties;
use rumqttc::{TlsConfiguration, Transport};

use crate::config::secret::{Environment, Secret, SecretError, SecretText};
use crate::tls::{ClientTls, TlsError};

/// After how long without a packet the connection is tried.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What every connection to a broker needs, as the configuration of its owner says it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broker<'a> {
    /// Its name or address.
    pub(crate) host: &'a str,
    /// Its port; 8883 with TLS and 1883 without where it is left out.
    pub(crate) port: Option<u16>,
    /// Names us to it.
    pub(crate) client_id: &'a str,
    /// User name.
    pub(crate) user: Option<&'a str>,
    /// Password.
    pub(crate) password: Option<&'a Secret>,
    /// TLS, where it speaks it.
    pub(crate) tls: Option<&'a ClientTls>,
}

/// Says why a broker cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The password could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Broker<'_> {
    /// Returns the options of a connection that takes packets of up to `largest_bytes`, and its properties to add to.
    pub(crate) fn options(
        &self,
        largest_bytes: u32,
        environment: Environment<'_>,
    ) -> Result<(MqttOptions, ConnectProperties), BrokerError> {
        let usual = if self.tls.is_some() { 8883 } else { 1883 };
        let mut options = MqttOptions::new(self.client_id, self.host, self.port.unwrap_or(usual));
        options.set_keep_alive(KEEP_ALIVE);
        if let Some(user) = self.user {
            let password = match self.password {
                Some(secret) => secret.resolve(environment)?,
                None => SecretText::new(""),
            };
            options.set_credentials(user, password.expose());
        }
        if let Some(tls) = self.tls {
            let tls = TlsConfiguration::Rustls(Arc::new(tls.build()?));
            options.set_transport(Transport::tls_with_config(tls));
        }
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(largest_bytes);
        Ok((options, properties))
    }
}
