//! Ports, addresses and URLs.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Invalid, serde_text, text};

/// A TCP or UDP port, from 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Port(u16);

impl Port {
    /// The port of HTTP.
    pub const HTTP: Self = Self(80);
    /// The port of HTTPS.
    pub const HTTPS: Self = Self(443);
    /// The port on which an app listens where its config names none.
    pub const APP: Self = Self(8080);
    /// The port of SSH.
    pub const SSH: Self = Self(22);
    /// The port of `pitool monitor`: the one after node_exporter's, so that both can run.
    pub const MONITOR: Self = Self(9101);

    /// Takes a number; zero is not a port.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    fn checked(number: i64) -> Result<Self, Invalid> {
        u16::try_from(number).ok().and_then(Self::new).ok_or_else(|| {
            Invalid::new(format!("{number} is not a port")).hint("a port is a whole number from 1 to 65535")
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

struct PortVisitor;

impl de::Visitor<'_> for PortVisitor {
    type Value = Port;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 1 to 65535")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Port, E> {
        Port::checked(number).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Port, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u16(PortVisitor)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Port {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "format": "port", "minimum": 1, "maximum": 65535 })
    }
}

/// One port, or a range of them such as `3000:3010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: Port,
    last: Port,
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self { first: Port(1), last: Port(u16::MAX) };

    /// One port.
    pub const fn one(port: Port) -> Self {
        Self { first: port, last: port }
    }

    /// The first port.
    pub const fn first(self) -> Port {
        self.first
    }

    /// The last port, the same as the first where it is one port.
    pub const fn last(self) -> Port {
        self.last
    }

    /// Tells whether this port is one of them.
    pub fn contains(self, port: Port) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for Ports {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let form = "a number such as 80, or a range such as \"3000:3010\"";
        let bad = || Invalid::new(format!("{text:?} is not a port or a range of ports")).hint(form);
        let port = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            part.parse().ok().filter(|_| plain).map(Port::checked)
        };
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        let first = port(first).ok_or_else(bad)??;
        let last = port(last).ok_or_else(bad)??;
        if first > last {
            return Err(Invalid::new(format!("the range {text:?} ends before it starts"))
                .hint(format!("write \"{last}:{first}\"")));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}:{}", self.first, self.last),
        }
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.first == self.last {
            true => self.first.serialize(serializer),
            false => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl de::Visitor<'_> for Either {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, or a range such as \"3000:3010\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Ports, E> {
                PortVisitor.visit_i64(number).map(Ports::one)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Ports, E> {
                PortVisitor.visit_u64(number).map(Ports::one)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ports, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Ports {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ports".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["integer", "string"], "format": "port or range", "minimum": 1, "maximum": 65535,
            "pattern": "^[0-9]+(:[0-9]+)?$", "examples": ["3000:3010"]
        })
    }
}

/// One address, IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(IpAddr);

serde_text!(Address, "an address", "address", "127.0.0.1");

impl Address {
    /// This machine itself.
    pub const LOOPBACK: Self = Self(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    /// The address.
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| {
            Invalid::new(format!("{text:?} is not an address"))
                .hint("\"127.0.0.1\" for this machine only, \"0.0.0.0\" for every address that it has")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A network: an address and the length of its prefix. A single address has the full length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

serde_text!(Cidr, "an address or a network", "address or network", "192.168.1.0/24");

impl Cidr {
    /// The first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits the addresses share.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Tells whether an address is in this network.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && first_of(address, self.prefix) == self.address
    }
}

/// The first address of the network with this prefix in which an address lies.
fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            Invalid::new(format!("{text:?} is not an address or a network"))
                .hint("such as \"192.168.1.5\", \"192.168.1.0/24\" or \"fd00::/8\"")
        })?;
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) => digits
                .parse::<u8>()
                .ok()
                .filter(|length| *length <= most && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| {
                    Invalid::new(format!(
                        "{text:?} is not a network: the prefix is a number from 0 to {most}"
                    ))
                })?,
        };
        let first = first_of(address, prefix);
        if first != address {
            return Err(Invalid::new(format!("{text:?} is an address inside a network"))
                .hint(format!("the network is \"{first}/{prefix}\", the address alone \"{address}\"")));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.address.fmt(f),
            (address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// From anywhere.
    #[default]
    Any,
    /// From this network or address.
    Network(Cidr),
}

serde_text!(Source, "\"any\", an address or a network", "any, address or network", "192.168.1.0/24");

impl FromStr for Source {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "any" => Ok(Self::Any),
            text => text.parse().map(Self::Network),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

text! {
    /// The address of a repository: `http://` or `https://`, a host, maybe a port and a path, no slash at the end.
    Url, "a URL", "URL", "https://download.docker.com/linux", url
}

impl Url {
    /// Let's Encrypt's directory.
    pub(crate) fn lets_encrypt() -> Self {
        Self("https://acme-v02.api.letsencrypt.org/directory".to_owned())
    }

    /// Docker's own repository.
    pub(crate) fn docker() -> Self {
        Self("https://download.docker.com/linux".to_owned())
    }
}

fn url(text: &str) -> Result<String, Invalid> {
    let bad = |why: &str| Err(Invalid::new(format!("{text:?} is not a URL: {why}")));
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return bad("it does not start with https:// or http://");
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return bad("it has no host");
    }
    if host.contains('@') {
        return bad("a user name or password does not belong here");
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "-._~:/%+[]".contains(c);
    if let Some(c) = rest.chars().find(|c| !good(*c)) {
        return bad(&format!("{c:?} is not allowed"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_no_host_bits() {
        for good in ["10.0.0.0/8", "192.168.1.5", "0.0.0.0/0", "fd00::/8", "::1", "::/0"] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
        assert_eq!("192.168.1.5/32".parse::<Cidr>().unwrap().to_string(), "192.168.1.5");
        for bad in
            ["", "10.0.0.5/8", "10.0.0/8", "10.0.0.0/33", "fd00::/129", "10.0.0.0/+8", "host", "10.0.0.0/"]
        {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        let network: Cidr = "192.168.0.0/16".parse().unwrap();
        assert!(network.contains("192.168.7.9".parse().unwrap()));
        assert!(!network.contains("192.169.7.9".parse().unwrap()));
        assert!(!network.contains("::1".parse().unwrap()));
    }

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!("3000:3010".parse::<Ports>().unwrap().to_string(), "3000:3010");
        assert_eq!("80".parse::<Ports>().unwrap(), Ports::one(Port::HTTP));
        for bad in ["", ":", "1:", "0", "70000", "3010:3000", "80/tcp", "+80", "1:2:3"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_plain() {
        assert_eq!("https://example.org/a/".parse::<Url>().unwrap().as_str(), "https://example.org/a");
        for bad in
            ["", "ftp://x", "https://", "https://a b", "https://u:p@host/", "https:///x", "https://x\n"]
        {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
