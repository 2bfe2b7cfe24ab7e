//! The ports of containers that no rule of the firewall names: closed, but for those in use when that began.

use pitool_engine::{Change, Id, Resource};
use pitool_host::listening::plain;
use pitool_host::{Command, Content, Digest, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

use crate::in_use::{self, InUse, Named};
use crate::node::Node;

/// What becomes of a published port that no rule names. Printed `published[/etc/docker/pitool-firewall.rest]`, as the
/// file that holds it for iptables-restore(8).
///
/// Where the file is missing, ports that containers publish at that moment stay open until the config names them. The
/// file remembers them: once it is there, Docker is not asked any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedPorts {
    /// iptables' target for the rest; none where it stays open.
    rest: Option<String>,
    named: Vec<Named>,
    closed: Vec<Named>,
}

/// The file, and the containers that publish what it would close.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PublishedState {
    node: Node,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    used: Vec<InUse>,
}

const PATH: &str = "/etc/docker/pitool-firewall.rest";

/// The rules of the same firewall by a version that had no such file.
const RULES: &str = "/etc/docker/pitool-firewall.v4";

/// The name of the note of what is in use.
const NOTE: &str = "docker";

const HEAD: &str = "# Managed by pitool (role docker). Edits are replaced; change /etc/pitool/pitool.toml instead.\n\
    # Ports of containers that no rule of the config names: open are those in use when the firewall first closed them.\n\
    *filter\n:PITOOL-DOCKER-REST - [0:0]\n";

const RULE: &str = "-A PITOOL-DOCKER-REST -p ";

const MATCH: &str = " -m conntrack --ctstate DNAT --ctorigdstport ";

const COMMENT: &str = " -m comment --comment ";

impl PublishedPorts {
    /// Closes with this target of iptables, or nothing where there is none.
    pub fn new(rest: Option<&str>) -> Self {
        Self { rest: rest.map(str::to_owned), named: vec![], closed: vec![] }
    }

    /// Names the ports that rules of the config decide about.
    #[must_use]
    pub fn named(mut self, ports: impl IntoIterator<Item = Named>) -> Self {
        self.named.extend(ports);
        self
    }

    /// Names the ports that are to be closed although they are in use.
    #[must_use]
    pub fn closed(mut self, ports: impl IntoIterator<Item = Named>) -> Self {
        self.closed.extend(ports);
        self
    }

    fn among(ports: &[Named], one: &InUse) -> bool {
        ports.iter().any(|ports| ports.contains(one.port, one.udp))
    }

    /// The ports that stay open, from those of the file and those in use.
    fn kept(&self, observed: &PublishedState) -> Vec<InUse> {
        if self.rest.is_none() {
            return Vec::new();
        }
        let mut kept = read(observed.node.text());
        kept.extend(observed.used.iter().cloned());
        kept.retain(|one| !Self::among(&self.named, one) && !Self::among(&self.closed, one));
        kept.sort();
        kept.dedup_by_key(|one| (one.port, one.udp));
        kept
    }

    fn text(&self, kept: &[InUse]) -> String {
        let mut text = HEAD.to_owned();
        for InUse { port, udp, by } in kept {
            let protocol = if *udp { "udp" } else { "tcp" };
            text += &format!("{RULE}{protocol}{MATCH}{port}{COMMENT}{by} -j RETURN\n");
        }
        if let Some(target) = &self.rest {
            text += &format!("-A PITOOL-DOCKER-REST -j {target}\n");
        }
        text + "COMMIT\n"
    }
}

/// The ports that a file keeps open.
fn read(text: &str) -> Vec<InUse> {
    let one = |line: &str| {
        let (protocol, rest) = line.strip_prefix(RULE)?.split_once(MATCH)?;
        let (port, rest) = rest.split_once(COMMENT)?;
        let by = rest.strip_suffix(" -j RETURN")?.to_owned();
        Some(InUse { port: port.parse().ok()?, udp: protocol == "udp", by })
    };
    text.lines().filter_map(one).collect()
}

/// What containers publish at the moment, by their names; with Docker not running the kernel's rules tell.
fn in_use(host: &dyn Inspect) -> Result<Vec<InUse>> {
    let packages = host.packages()?;
    if !host.live() || !["docker.io", "docker-ce"].iter().any(|name| packages.installed(name)) {
        return Ok(Vec::new());
    }
    let format = "{{.Names}}\t{{.Ports}}";
    let answer = host.ask(&Command::new("docker").args(["ps", "--no-trunc", "--format", format]));
    if let Some(answer) = answer.ok().filter(pitool_host::Output::ok) {
        return Ok(answer.stdout.lines().flat_map(published).collect());
    }
    // Containers of a daemon with live-restore run on without it.
    let rules = host.ask(&Command::new("iptables").args(["-t", "nat", "-S"]))?;
    Ok(rules.stdout.lines().filter_map(forwarded).collect())
}

/// The ports in a line of `docker ps`: `web\t0.0.0.0:9000-9001->9000-9001/tcp, [::]:53->53/udp, 80/tcp`.
fn published(line: &str) -> Vec<InUse> {
    let Some((name, ports)) = line.split_once('\t') else { return Vec::new() };
    let one = |port: &str| {
        let (outside, inside) = port.trim().split_once("->")?;
        let (address, range) = outside.rsplit_once(':')?;
        let address = address.trim_matches(['[', ']']);
        let loopback = address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        let of = |port| InUse { port, udp: inside.ends_with("/udp"), by: plain(name) };
        (!loopback).then(|| (first..=last).map(of).collect::<Vec<_>>())
    };
    ports.split(',').filter_map(one).flatten().collect()
}

/// The port of a rule of Docker's: `-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination …`.
fn forwarded(line: &str) -> Option<InUse> {
    let words: Vec<&str> = line.strip_prefix("-A DOCKER ")?.split(' ').collect();
    let after = |word: &str| words.iter().position(|known| *known == word).and_then(|at| words.get(at + 1));
    if after("-j") != Some(&"DNAT") || after("-d").is_some_and(|address| address.starts_with("127.")) {
        return None;
    }
    let udp = after("-p") == Some(&"udp");
    Some(InUse { port: after("--dport")?.parse().ok()?, udp, by: "container".to_owned() })
}

impl Resource for PublishedPorts {
    type State = PublishedState;

    fn id(&self) -> Id {
        Id::new("published", PATH)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<PublishedState> {
        let node = Node::observe(host, PATH)?;
        let decided = !matches!(node, Node::Absent) || host.stat(RULES)?.is_some();
        if decided || self.rest.is_none() {
            return Ok(PublishedState { node, used: vec![] });
        }
        let mut used = in_use(host)?;
        used.extend(in_use::noted(host, NOTE)?);
        used.retain(|one| !Self::among(&self.named, one));
        used.sort();
        used.dedup_by_key(|one| (one.port, one.udp));
        Ok(PublishedState { node, used })
    }

    fn desired(&self, observed: &PublishedState) -> PublishedState {
        let content = Content::from(self.text(&self.kept(observed)).as_str());
        let root = || "root".to_owned();
        PublishedState {
            node: Node::File { content, mode: 0o644, owner: root(), group: root() },
            used: vec![],
        }
    }

    fn enact(&self, host: &dyn Host, from: &PublishedState, to: &PublishedState) -> Result<()> {
        Node::put(host, PATH, &from.node, &to.node)
    }

    fn change(&self, from: &PublishedState, to: &PublishedState) -> Change {
        let words = |list: &[InUse]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (old, new) = (read(from.node.text()), read(to.node.text()));
        let mut change = Node::change(&from.node, &to.node, false);
        let gone = |one: &&InUse| !new.contains(one) && !Self::among(&self.named, one);
        let cut: Vec<InUse> = from.used.iter().chain(&old).filter(gone).cloned().collect();
        for (verb, list) in [("keeps open ", &new), ("closes ", &cut)] {
            if !list.is_empty() && matches!(to.node, Node::File { .. }) {
                change.summary += &format!(", {verb}{}", words(list));
            }
        }
        change
    }

    fn refusal(&self, observed: &PublishedState) -> Option<String> {
        in_use::sentence("published ports", &self.kept(observed))
    }

    fn fingerprint(&self, state: &PublishedState) -> Option<Digest> {
        state.node.fingerprint()
    }

    fn restored(&self, before: &PublishedState, now: &PublishedState) -> PublishedState {
        PublishedState { node: before.node.clone(), used: now.used.clone() }
    }

    fn adopt(&self, host: &dyn Host, observed: &PublishedState, settled: bool) -> Result<()> {
        in_use::note(host, NOTE, &observed.used, settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: Vec<InUse>) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_containers_publish() {
        let line =
            "web\t0.0.0.0:8081->80/tcp, [::]:8081->80/tcp, 127.0.0.1:5432->5432/tcp, [::1]:1->1/tcp, 443/tcp";
        assert_eq!(words(published(line)), ["8081/tcp (web)", "8081/tcp (web)"]);
        let range = "dns\t192.0.2.1:9000-9001->9000-9001/tcp, :::53->53/udp";
        assert_eq!(words(published(range)), ["9000/tcp (dns)", "9001/tcp (dns)", "53/udp (dns)"]);
        assert_eq!(words(published("quiet\t")), Vec::<String>::new());
        let rule = "-A DOCKER ! -i br-0123 -p udp -m udp --dport 53 -j DNAT --to-destination 172.18.0.2:53";
        assert_eq!(forwarded(rule).unwrap().to_string(), "53/udp (container)");
        let local = "-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p tcp -m tcp --dport 5432 -j DNAT --to-destination 172.17.0.2:1";
        assert_eq!(forwarded(local), None);
        assert_eq!(forwarded("-A DOCKER -i docker0 -j RETURN"), None);
    }

    #[test]
    fn the_file_remembers_what_it_keeps_open() {
        let used = |port, by: &str| InUse { port, udp: false, by: by.into() };
        let state = PublishedState {
            used: vec![used(8081, "web"), used(9000, "portainer")],
            ..PublishedState::default()
        };
        let ports = PublishedPorts::new(Some("DROP"));
        let after = ports.desired(&state);
        assert_eq!(read(after.node.text()), state.used);
        assert_eq!(ports.desired(&after), after, "a fixed point");
        assert!(after.node.text().ends_with("-A PITOOL-DOCKER-REST -j DROP\nCOMMIT\n"));
        let one = |port| Named { first: port, last: port, udp: false };
        let named = ports.clone().named([one(8081)]);
        assert_eq!(read(named.desired(&after).node.text()), [used(9000, "portainer")]);
        let closed = named.closed([one(9000)]);
        assert_eq!(closed.refusal(&after), None);
        assert!(
            closed.change(&after, &closed.desired(&after)).summary.ends_with(", closes 9000/tcp (portainer)")
        );
        assert_eq!(PublishedPorts::new(None).refusal(&state), None, "nothing closes");
    }
}
