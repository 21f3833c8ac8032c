//! Guards against requests that a URL or a name server would send into our own house (SSRF).
//!
//! The check is made on the addresses that are then connected to, so that a second answer of the name server cannot
//! slip through, and redirects are never followed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::{Deserialize, Serialize};

/// A range of addresses, written `10.20.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Says why a network could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network {0:?} was not understood, expected an address and a prefix length such as \"10.20.0.0/16\"")]
pub struct NetworkError(String);

/// Says that a target lies where events may not go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} is {kind} address {address}: events go there only when `allow_networks` holds it")]
pub struct ForbiddenAddress {
    host: String,
    address: IpAddr,
    kind: &'static str,
}

/// Decides which addresses events may be sent to: all public ones, and those that the operator named.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Vec<Network>,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let refuse = || NetworkError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let address = address.parse::<IpAddr>().map_err(|_error| refuse())?;
        let prefix = prefix.parse::<u8>().map_err(|_error| refuse())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(refuse());
        }
        Ok(Self { address, prefix })
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl AddressPolicy {
    /// Makes a policy that also allows these networks.
    #[must_use]
    pub fn new(allowed: Vec<Network>) -> Self {
        Self { allowed }
    }

    /// Checks one address that `host` stands for.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), ForbiddenAddress> {
        let address = unwrapped(address);
        let Some(kind) = house_kind(address) else {
            return Ok(());
        };
        if self.allowed.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        Err(ForbiddenAddress {
            host: host.to_owned(),
            address,
            kind,
        })
    }

    /// Checks the host of a URL where it is an address; names are checked when they are resolved.
    pub fn check_url(&self, url: &reqwest::Url) -> Result<(), ForbiddenAddress> {
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse().map_or(Ok(()), |address| self.check(host, address))
    }

    /// Resolves a name and returns the addresses that may be connected to.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, std::io::Error> {
        let mut refusal = None;
        let mut open = Vec::new();
        for address in tokio::net::lookup_host((host, port)).await? {
            match self.check(host, address.ip()) {
                Ok(()) => open.push(address),
                Err(forbidden) => refusal = Some(forbidden),
            }
        }
        match refusal {
            // One forbidden answer spoils the name: which of them is connected to must not be a matter of luck.
            Some(forbidden) => Err(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                forbidden,
            )),
            None => Ok(open),
        }
    }
}

/// The policy as the resolver of an HTTP client.
pub(crate) struct GuardedResolver(pub(crate) Arc<AddressPolicy>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = policy.resolve(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Returns the IPv4 address that an IPv6 address merely wraps (mapped, NAT64, 6to4), or the address itself.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let segments = v6.segments();
    let tail = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => tail(high, low),
        _ => address,
    }
}

/// Returns what makes an address one of our own house, or nothing for a public one.
fn house_kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => house_kind_v4(v4),
        IpAddr::V6(v6) => house_kind_v6(v6),
    }
}

fn house_kind_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [first, second, ..] = address.octets();
    if address.is_loopback() {
        Some("a loopback")
    } else if address.is_link_local() {
        Some("a link-local")
    } else if address.is_private() {
        Some("a private")
    } else if first == 100 && (64..128).contains(&second) {
        Some("a carrier-internal")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("a multicast")
    } else if first == 0 || first >= 240 {
        Some("a reserved")
    } else {
        None
    }
}

fn house_kind_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback")
    } else if address.is_unspecified() {
        Some("a reserved")
    } else if address.is_unicast_link_local() {
        Some("a link-local")
    } else if address.is_unique_local() {
        Some("a private")
    } else if address.is_multicast() {
        Some("a multicast")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: &AddressPolicy, address: &str) -> bool {
        policy.check("host", address.parse().unwrap()).is_err()
    }

    #[test]
    fn our_own_house_is_refused_however_it_is_written() {
        let policy = AddressPolicy::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(refused(&policy, address), "{address}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        let policy = AddressPolicy::default();
        for address in ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"] {
            assert!(!refused(&policy, address), "{address}");
        }
    }

    #[test]
    fn a_named_network_opens_and_nothing_beside_it() {
        let policy = AddressPolicy::new(vec!["10.20.0.0/16".parse().unwrap()]);
        assert!(!refused(&policy, "10.20.255.1"));
        assert!(refused(&policy, "10.21.0.1"));
    }

    #[test]
    fn a_whole_family_can_be_named() {
        let policy = AddressPolicy::new(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
        assert!(!refused(&policy, "127.0.0.1"));
        assert!(!refused(&policy, "::1"));
    }

    #[test]
    fn a_broken_network_is_quoted() {
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "::/129"] {
            assert!(text.parse::<Network>().unwrap_err().to_string().contains(text));
        }
    }

    #[test]
    fn an_address_in_a_url_is_checked_without_a_name_server() {
        let policy = AddressPolicy::default();
        for url in ["http://127.0.0.1/x", "http://[::1]:80/", "http://2130706433/"] {
            assert!(policy.check_url(&url.parse().unwrap()).is_err(), "{url}");
        }
        assert!(policy.check_url(&"https://example.org/".parse().unwrap()).is_ok());
    }
}
