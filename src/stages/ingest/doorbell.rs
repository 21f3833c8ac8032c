//! Finds out whether a lost RTSP server answers again, at the price of one small request.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::reader::Doorbell;

/// How long a connection may take to come about, and how long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Keeps one connection with one request on it, so that a server that hangs answers in the moment it wakes.
pub(crate) struct RtspDoorbell {
    host: String,
    address: Option<SocketAddr>,
    waiting: Option<TcpStream>,
}

impl RtspDoorbell {
    /// Makes a doorbell for an address without credentials; nothing for TLS, where a plain request gets no answer.
    pub(crate) fn new(address: &str) -> Option<Self> {
        let rest = address.strip_prefix("rtsp://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:554")
        };
        Some(Self {
            host,
            address: None,
            waiting: None,
        })
    }

    fn connect(&mut self) -> Option<TcpStream> {
        if self.address.is_none() {
            self.address = self.host.to_socket_addrs().ok()?.next();
        }
        let mut stream = TcpStream::connect_timeout(&self.address?, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        let request = format!("OPTIONS rtsp://{}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", self.host);
        stream.write_all(request.as_bytes()).ok()?;
        Some(stream)
    }
}

impl Doorbell for RtspDoorbell {
    fn is_answered(&mut self) -> bool {
        if self.waiting.is_none() {
            self.waiting = self.connect();
        }
        let Some(stream) = &mut self.waiting else {
            return false;
        };
        let mut first = [0_u8; 1];
        match stream.read(&mut first) {
            Ok(1) => {
                self.waiting = None;
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                false
            }
            // Closed without an answer: the next look connects anew.
            _ => {
                self.waiting = None;
                false
            }
        }
    }
}
