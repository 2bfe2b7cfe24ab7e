//! Where sshd listens.

use std::collections::BTreeSet;

use pitool_host::parse::sshd_config;
use pitool_host::{Inspect, Result};

/// The ports that sshd listens on by its configuration, or that systemd listens on for it: with ssh.socket active,
/// sshd's own `Port` has no effect (trap T15). A machine without sshd has none.
pub(crate) fn ports(host: &dyn Inspect) -> Result<BTreeSet<u16>> {
    ports_without(host, None)
}

/// The same as it would be without one of sshd's files.
pub(crate) fn ports_without(host: &dyn Inspect, file: Option<&str>) -> Result<BTreeSet<u16>> {
    if host.stat("/usr/sbin/sshd")?.is_none() {
        return Ok(BTreeSet::new());
    }
    if host.stat("/run/systemd/units/invocation:ssh.socket")?.is_some() {
        let ports = socket_ports(host)?;
        if !ports.is_empty() {
            return Ok(ports);
        }
    }
    let mut config = sshd_config::read(host)?;
    config.settings.retain(|setting| Some(setting.file.as_str()) != file);
    Ok(config.ports().into_iter().collect())
}

/// The ports that sshd's files name, one of them apart. sshd listens on all of them (sshd_config(5), `Port`).
pub(crate) fn named_besides(host: &dyn Inspect, file: &str) -> Result<BTreeSet<u16>> {
    let config = sshd_config::read(host)?;
    let others = config.all("port").filter(|setting| setting.file != file);
    Ok(others.filter_map(|setting| setting.value().parse().ok()).collect())
}

/// `ListenStream=` of ssh.socket and its drop-ins (systemd.socket(5)): an empty one forgets those before it.
fn socket_ports(host: &dyn Inspect) -> Result<BTreeSet<u16>> {
    let mut paths = vec!["/usr/lib/systemd/system/ssh.socket".to_owned()];
    if host.stat("/etc/systemd/system/ssh.socket")?.is_some() {
        paths = vec!["/etc/systemd/system/ssh.socket".to_owned()];
    }
    for dir in ["/etc/systemd/system/ssh.socket.d", "/run/systemd/generator/ssh.socket.d"] {
        let names = host.list(dir)?.unwrap_or_default();
        paths.extend(
            names.into_iter().filter(|name| name.ends_with(".conf")).map(|name| format!("{dir}/{name}")),
        );
    }
    let mut ports = BTreeSet::new();
    for path in paths {
        let content = host.read(&path)?;
        for line in content.as_ref().and_then(|content| content.text()).unwrap_or_default().lines() {
            match line.trim().strip_prefix("ListenStream=").map(str::trim) {
                Some("") => ports.clear(),
                Some(address) => {
                    ports.extend(address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()))
                }
                None => {}
            }
        }
    }
    Ok(ports)
}
