//! Ports in use that a firewall would close when it is first turned on, and what a plan says of them.

use std::collections::BTreeMap;
use std::fmt;

use pitool_host::{Access, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

/// A port and who uses it. Printed `53/udp (dnsmasq)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InUse {
    /// The port.
    pub port: u16,
    /// Whether it is UDP.
    pub udp: bool,
    /// The program or container.
    pub by: String,
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.port, if self.udp { "udp" } else { "tcp" }, self.by)
    }
}

/// Ports of one protocol that the config names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Whether they are UDP's.
    pub udp: bool,
}

impl Named {
    /// Whether this port is one of them.
    pub fn contains(&self, port: u16, udp: bool) -> bool {
        self.udp == udp && (self.first..=self.last).contains(&port)
    }
}

/// Says of ports that stay open who uses them, what keeps each open for good and what closes them; nothing of none.
pub(crate) fn sentence(what: &str, kept: &[InUse]) -> Option<String> {
    if kept.is_empty() {
        return None;
    }
    let mut ports: BTreeMap<(u16, &str), (bool, bool)> = BTreeMap::new();
    for one in kept {
        let (tcp, udp) = ports.entry((one.port, one.by.as_str())).or_default();
        *(if one.udp { udp } else { tcp }) = true;
    }
    let mut text = format!("{what} stay open, because they are in use and the config does not name them:");
    for ((port, by), protocols) in &ports {
        let (shown, protocol) = match protocols {
            (true, true) => (format!("{port}/tcp and {port}/udp"), ", protocol = \"any\""),
            (false, true) => (format!("{port}/udp"), ", protocol = \"udp\""),
            _ => (format!("{port}/tcp"), ""),
        };
        text += &format!("\n{shown}, {by}: `{{ port = {port}{protocol} }}`");
    }
    let mut numbers: Vec<String> = ports.keys().map(|(port, _)| port.to_string()).collect();
    numbers.dedup();
    text += &format!(
        "\nIts line in `rules` of [security.firewall] keeps a port open for good; `close = [{}]` there, or \
         --close-ports, closes what it names",
        numbers.join(", ")
    );
    Some(text)
}

/// The directory of what was in use when a run began.
const NOTES: &str = "/run/pitool/in-use";

/// Writes down what is in use before a run changes anything: a service that the run restarts may not be back when the
/// firewall's turn comes. When the run is over the note goes.
pub(crate) fn note(host: &dyn Host, name: &str, used: &[InUse], settled: bool) -> Result<()> {
    let path = format!("{NOTES}/{name}");
    if settled || used.is_empty() {
        return if host.stat(&path)?.is_some() { host.remove(&path) } else { Ok(()) };
    }
    for dir in ["/run/pitool", NOTES] {
        if host.stat(dir)?.is_none() {
            host.make_dir(dir, Access::root(0o755))?;
        }
    }
    // A list of plain values always serializes.
    host.write(&path, &serde_json::to_vec(used).unwrap_or_default(), Access::root(0o600))
}

/// What was in use when the run began that is going on, or that was cut off.
pub(crate) fn noted(host: &dyn Inspect, name: &str) -> Result<Vec<InUse>> {
    let content = host.read(&format!("{NOTES}/{name}"))?;
    Ok(content.and_then(|content| serde_json::from_slice(content.bytes()).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_two_protocols_is_one_line() {
        let of = |port, udp, by: &str| InUse { port, udp, by: by.into() };
        let text =
            sentence("ports", &[of(53, false, "dnsmasq"), of(53, true, "dnsmasq"), of(445, false, "smbd")]);
        assert_eq!(
            text.unwrap(),
            "ports stay open, because they are in use and the config does not name them:\n\
             53/tcp and 53/udp, dnsmasq: `{ port = 53, protocol = \"any\" }`\n\
             445/tcp, smbd: `{ port = 445 }`\n\
             Its line in `rules` of [security.firewall] keeps a port open for good; `close = [53, 445]` there, or \
             --close-ports, closes what it names"
        );
        assert_eq!(sentence("ports", &[]), None);
    }
}
