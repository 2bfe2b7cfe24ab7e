//! /proc/net/tcp, tcp6, udp and udp6: proc_pid_net(5), proc_net_tcp.txt of the kernel's documentation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A port on which somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// Whether it is UDP.
    pub udp: bool,
    /// On which address.
    pub address: IpAddr,
    /// The user who made the socket.
    pub uid: u32,
    /// The socket's inode, by which /proc/PID/fd tells whose it is.
    pub inode: u64,
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

/// Reads who listens.
pub fn listeners(text: &str, udp: bool) -> Vec<Listener> {
    let state = if udp { UNCONNECTED } else { LISTEN };
    let one = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, remote, found) = (words.next()?, words.next()?, words.next()?);
        let (address, port) = local.split_once(':')?;
        let unconnected = remote.ends_with(":0000");
        let port = u16::from_str_radix(port, 16).ok()?;
        (found == state && unconnected).then_some(())?;
        let uid = words.nth(3)?.parse().ok()?;
        let inode = words.nth(1)?.parse().ok()?;
        Some(Listener { port, udp, address: self::address(address)?, uid, inode })
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

    /// What follows the state in a line, up to the inode.
    const REST: &str = "00000000:00000000 00:00000000 00000000     0        0";

    fn seen(text: &str, udp: bool) -> Vec<(u16, bool, u64)> {
        let text = text.replace("REST", REST);
        listeners(&text, udp).iter().map(|one| (one.port, one.is_public(), one.inode)).collect()
    }

    #[test]
    fn who_listens() {
        let tcp = "  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A REST 11 1 0\n   \
            1: 00000000:0050 00000000:0000 0A REST 12\n   2: 0200000A:0016 0300000A:C000 01 REST 13\n   3: 0100007F\n";
        assert_eq!(seen(tcp, false), [(22, false, 11), (80, true, 12)]);
        let tcp6 = "h\n 0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A REST 1\n \
            1: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A REST 2\n \
            2: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A REST 3\n";
        assert_eq!(seen(tcp6, false), [(631, false, 1), (22, false, 2), (443, true, 3)]);
        let udp = "h\n 0: 00000000:14E9 00000000:0000 07 REST 1\n 1: 0200000A:0044 0100000A:0043 01 REST 2\n";
        assert_eq!(seen(udp, true), [(5353, true, 1)]);
    }

    #[test]
    fn who_made_the_socket() {
        let line = "h\n 0: 00000000:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 4711 1\n";
        let found = listeners(line, false);
        assert_eq!((found[0].uid, found[0].inode), (104, 4711));
    }
}
