//! The network of a box: a namespace, a veth pair, an own /24, and NAT to the outside.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::process::{Process, tool};

/// High numbers, since people who try things by hand start at the low ones of the same range.
const NUMBERS: std::ops::RangeInclusive<u8> = 101..=250;

/// One numbered network of this host; two boxes never have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(u8);

impl Network {
    pub(crate) fn numbered(number: u8) -> Self {
        Self(number)
    }

    /// Finds a number that no box, interface or route of this host uses; the caller holds the lab's lock.
    pub(crate) fn free(taken: &[u8]) -> Result<Self> {
        let addresses = tool("ip", ["-4", "-o", "address", "show"])?;
        let routes = tool("ip", ["-4", "route", "show", "table", "all"])?;
        let used = format!("{addresses}\n{routes}");
        let words: Vec<&str> = used.split_whitespace().collect();
        for number in NUMBERS {
            let network = Self(number);
            let prefix = format!("10.91.{number}.");
            let collides = taken.contains(&number)
                || words.iter().any(|word| word.starts_with(&prefix))
                || network.namespace().exists()
                || PathBuf::from(format!("/sys/class/net/{}", network.interface())).exists();
            if !collides {
                return Ok(network);
            }
        }
        bail!("every network from 10.91.{} to 10.91.{} is in use", NUMBERS.start(), NUMBERS.end())
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// Gives the address of the box.
    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 91, self.0, 2)
    }

    /// Gives the address of this host as the box sees it.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 91, self.0, 1)
    }

    fn name(self) -> String {
        format!("plab{}", self.0)
    }

    fn interface(self) -> String {
        self.name()
    }

    /// Names the file that holds the network namespace.
    pub(crate) fn namespace(self) -> PathBuf {
        PathBuf::from("/run/netns").join(self.name())
    }

    /// Makes the network; after a failure half way, [`Network::remove`] clears up.
    pub(crate) fn create(self) -> Result<()> {
        let (name, outer, inner) = (self.name(), self.interface(), format!("plabx{}", self.0));
        let ip = |line: &str| tool("ip", line.split(' '));
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {outer} type veth peer name {inner}"))?;
        ip(&format!("link set {inner} netns {name} name eth0"))?;
        ip(&format!("address add {}/24 dev {outer}", self.gateway()))?;
        ip(&format!("link set {outer} up"))?;
        ip(&format!("-n {name} address add {}/24 dev eth0", self.address()))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} route add default via {}", self.gateway()))?;
        for rule in self.rules() {
            let (table, rest) = rule.split_at(2);
            iptables(table, "-I", rest)?;
        }
        // Left on afterwards: other people's boxes on this host may need it by then.
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("turning on ip_forward")
    }

    /// Removes what there is of the network.
    pub(crate) fn remove(self) -> Result<()> {
        for rule in self.rules() {
            let (table, rest) = rule.split_at(2);
            while iptables(table, "-C", rest).is_ok() {
                iptables(table, "-D", rest)?;
            }
        }
        if PathBuf::from(format!("/sys/class/net/{}", self.interface())).exists() {
            tool("ip", ["link", "delete", &self.interface()])?;
        }
        if self.namespace().exists() {
            tool("ip", ["netns", "delete", &self.name()])?;
        }
        Ok(())
    }

    /// Lists the processes whose network is this one: all of the box but its containers, which die with it.
    pub(crate) fn processes(self) -> Vec<Process> {
        let pids = tool("ip", ["netns", "pids", &self.name()]).unwrap_or_default();
        pids.split_whitespace().filter_map(|pid| Process::find(pid.parse().ok()?)).collect()
    }

    fn rules(self) -> Vec<Vec<String>> {
        let (subnet, interface) = (format!("10.91.{}.0/24", self.0), self.interface());
        let words = |line: String| line.split(' ').map(str::to_owned).collect();
        vec![
            // Between boxes the true address stays: a ban or a firewall rule by source must be able to bite.
            words(format!("-t nat POSTROUTING -s {subnet} ! -d 10.91.0.0/16 -j MASQUERADE")),
            // A host that runs Docker drops what it forwards unless told otherwise.
            words(format!("-t filter FORWARD -i {interface} -j ACCEPT")),
            words(format!("-t filter FORWARD -o {interface} -j ACCEPT")),
        ]
    }
}

fn iptables(table: &[String], verb: &str, rule: &[String]) -> Result<String> {
    let mut arguments = vec!["--wait".to_owned()];
    arguments.extend_from_slice(table);
    arguments.push(verb.to_owned());
    arguments.extend_from_slice(rule);
    tool("iptables", arguments)
}
