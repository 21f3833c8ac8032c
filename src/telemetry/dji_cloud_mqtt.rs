//! Receives DJI Cloud API pushes from an MQTT 5 broker and reconnects for as long as it is wanted.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet};
use rumqttc::v5::{Client, ConnectionError, Event, MqttOptions, RecvTimeoutError};

use super::dji_cloud::{DjiCloudSettings, parse_payload};
use super::sample::TelemetrySample;

/// The first wait before a new attempt; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often the request to stop is looked at while nothing comes.
const TICK: Duration = Duration::from_millis(200);
/// The largest message that is taken, in bytes.
const LARGEST_MESSAGE: u32 = 1 << 20;

/// Which broker, and which devices.
#[derive(Clone, Debug)]
pub struct DjiCloudBroker {
    /// Its name or address.
    pub host: String,
    /// Its port: 1883.
    pub port: u16,
    /// Our own name, one for each program that is connected.
    pub client_id: String,
    /// User and password, from the environment or a file, never from a configuration.
    pub credentials: Option<(String, String)>,
    /// Serial number of the aircraft, whose `osd` is read.
    pub aircraft: String,
    /// Serial number of its dock or remote control, whose live-control pushes are read.
    pub gateway: Option<String>,
    /// What its payloads do not say.
    pub settings: DjiCloudSettings,
}

/// What happened on the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum DjiCloudEvent {
    /// The broker was reached and the topics are subscribed to.
    Connected,
    /// The connection broke or could not be made; it is tried again.
    Lost {
        /// Why.
        problem: String,
    },
    /// A push that says something of a pose.
    Sample(Box<TelemetrySample>),
    /// A push that could not be read.
    Malformed {
        /// Why.
        problem: String,
    },
}

impl DjiCloudBroker {
    fn topics(&self) -> Vec<Filter> {
        // Pushes are not repeated: the next one comes sooner than a repetition would.
        let mut topics = vec![Filter::new(
            format!("thing/product/{}/osd", self.aircraft),
            QoS::AtMostOnce,
        )];
        if let Some(gateway) = &self.gateway {
            topics.push(Filter::new(
                format!("thing/product/{gateway}/drc/up"),
                QoS::AtMostOnce,
            ));
        }
        topics
    }

    fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(&self.client_id, &self.host, self.port);
        options.set_keep_alive(Duration::from_secs(15));
        options.set_max_packet_size(Some(LARGEST_MESSAGE));
        if let Some((user, password)) = &self.credentials {
            options.set_credentials(user, password);
        }
        options
    }

    /// Receives until `stop` says so. `stop` waits for the time it is given and returns whether to end; `on_event` is
    /// called on this thread.
    pub fn receive(&self, mut stop: impl FnMut(Duration) -> bool, mut on_event: impl FnMut(DjiCloudEvent)) {
        let mut wait = FIRST_WAIT;
        while !stop(Duration::ZERO) {
            let (client, mut connection) = Client::new(self.options(), 16);
            let problem = loop {
                // Asked at each turn: pushes that come faster than the timeout would hold the thread for ever.
                if stop(Duration::ZERO) {
                    return;
                }
                match connection.recv_timeout(TICK) {
                    Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                        if let Err(error) = client.try_subscribe_many(self.topics()) {
                            break error.to_string();
                        }
                    }
                    Ok(Ok(Event::Incoming(Packet::SubAck(_)))) => {
                        wait = FIRST_WAIT;
                        on_event(DjiCloudEvent::Connected);
                    }
                    Ok(Ok(Event::Incoming(Packet::Publish(push)))) => {
                        match parse_payload(&push.payload, self.settings) {
                            Ok(Some(sample)) => on_event(DjiCloudEvent::Sample(Box::new(sample))),
                            Ok(None) => {}
                            Err(error) => on_event(DjiCloudEvent::Malformed {
                                problem: error.to_string(),
                            }),
                        }
                    }
                    Ok(Ok(_)) | Err(RecvTimeoutError::Timeout) => {}
                    Ok(Err(error)) => break describe(&error),
                    Err(RecvTimeoutError::Disconnected) => break "the client ended".into(),
                }
            };
            on_event(DjiCloudEvent::Lost { problem });
            if stop(wait) {
                return;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

fn describe(error: &ConnectionError) -> String {
    format!("cannot read from the broker: {error}")
}
