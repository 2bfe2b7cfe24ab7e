//! The network: /proc/net/dev, /proc/net/tcp and its kin (proc_pid_net(5)), /sys/class/net.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kinds of numbers of a received packet in /proc/net/dev, then of a sent one.
pub const RECEIVED: [&str; 8] =
    ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
/// See [`RECEIVED`].
pub const SENT: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];

/// An interface's counters since boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// In the order of [`RECEIVED`].
    pub received: [u64; 8],
    /// In the order of [`SENT`].
    pub sent: [u64; 8],
}

/// Reads /proc/net/dev.
pub fn dev(text: &str) -> Vec<Interface> {
    let one = |line: &str| {
        let (name, rest) = line.rsplit_once(':')?;
        let numbers: Vec<u64> = rest.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let (received, sent) = numbers.get(..16)?.split_at(8);
        Some(Interface {
            name: name.trim().to_owned(),
            received: received.try_into().ok()?,
            sent: sent.try_into().ok()?,
        })
    };
    text.lines().filter_map(one).collect()
}

/// A port on which somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// Whether it is UDP.
    pub udp: bool,
    /// On which address.
    pub address: IpAddr,
}

impl Listener {
    /// Whether others than this machine may reach it, as far as the address goes.
    pub fn is_public(&self) -> bool {
        let loopback = match self.address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(v6.is_loopback(), |v4| v4.is_loopback()),
            IpAddr::V4(v4) => v4.is_loopback(),
        };
        !loopback
    }
}

/// TCP's LISTEN and UDP's unconnected state, include/net/tcp_states.h.
const LISTEN: &str = "0A";
const UNCONNECTED: &str = "07";

/// Reads /proc/net/tcp, tcp6, udp or udp6.
pub fn listeners(text: &str, udp: bool) -> Vec<Listener> {
    let state = if udp { UNCONNECTED } else { LISTEN };
    let one = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, remote, found) = (words.next()?, words.next()?, words.next()?);
        let (address, port) = local.split_once(':')?;
        let unconnected = remote.ends_with(":0000");
        let port = u16::from_str_radix(port, 16).ok()?;
        (found == state && unconnected).then_some(())?;
        Some(Listener { port, udp, address: self::address(address)? })
    };
    text.lines().skip(1).filter_map(one).collect()
}

/// Addresses are printed as 32-bit words in the order of this machine's bytes.
fn address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = hex
        .as_bytes()
        .chunks(8)
        .map(|chunk| {
            let word = u32::from_str_radix(std::str::from_utf8(chunk).ok()?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect();
    match words?.as_slice() {
        [word] => Some(Ipv4Addr::from(*word).into()),
        [a, b, c, d] => {
            let bytes: [u8; 16] = [*a, *b, *c, *d].concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_an_interface() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes    packets\n  eth0: 10 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n    lo:1 2 3\n";
        let found = dev(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].received[0], found[0].sent[7]), ("eth0", 10, 16));
    }

    #[test]
    fn who_listens() {
        let tcp = "  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A 00000000\n   1: 00000000:0050 00000000:0000 0A 0\n   2: 0200000A:0016 0300000A:C000 01 0\n";
        let found = listeners(tcp, false);
        assert_eq!(
            found.iter().map(|l| (l.port, l.is_public())).collect::<Vec<_>>(),
            [(22, false), (80, true)]
        );
        let tcp6 = "h\n 0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A\n 1: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A\n 2: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A\n";
        let found = listeners(tcp6, false);
        let public: Vec<(u16, bool)> = found.iter().map(|l| (l.port, l.is_public())).collect();
        assert_eq!(public, [(631, false), (22, false), (443, true)]);
        let udp = "h\n 0: 00000000:14E9 00000000:0000 07 0\n 1: 0200000A:0044 0100000A:0043 01 0\n";
        assert_eq!(listeners(udp, true).len(), 1);
    }
}
