//! Where ssh servers listen.

use std::collections::BTreeSet;

use pitool_host::parse::{proc_net_tcp, sshd_config};
use pitool_host::{FileType, Inspect, Result};

use crate::caller::caller;

/// Programs that are ssh servers, by the name that the kernel has for a process (proc_pid_comm(5)).
const SERVERS: [&str; 4] = ["dropbear", "dropbearmulti", "sshd", "tinysshd"];

/// The ports through which somebody comes in by ssh: those that sshd listens on by its configuration, or that systemd
/// listens on for it; those of any other ssh server; and the one of the login in which pitool was typed in.
pub(crate) fn ports(host: &dyn Inspect) -> Result<BTreeSet<u16>> {
    ports_without(host, None)
}

/// The same as it would be without one of sshd's files.
pub(crate) fn ports_without(host: &dyn Inspect, file: Option<&str>) -> Result<BTreeSet<u16>> {
    let own = own_ports_without(host, file)?;
    // What sshd holds only until it starts again with its files is not somebody else's.
    let now = own_ports(host)?;
    let others = others(host, &now)?;
    Ok(own.into_iter().chain(others).collect())
}

/// The ports that stay open whatever one of sshd's files says: those that its other files name, because sshd listens on
/// all of them (sshd_config(5), `Port`), those of other ssh servers, and the one of the login in which pitool was typed
/// in.
pub(crate) fn named_besides(host: &dyn Inspect, file: &str) -> Result<BTreeSet<u16>> {
    let config = sshd_config::read(host)?;
    let named = config.all("port").filter(|setting| setting.file != file);
    let named = named.filter_map(|setting| setting.value().parse().ok());
    let others = others(host, &own_ports(host)?)?;
    Ok(named.chain(others).collect())
}

/// The ports of OpenSSH's sshd alone: by its configuration, or of ssh.socket, while which is active sshd's own `Port`
/// has no effect (trap T15). A machine without sshd has none.
pub(crate) fn own_ports(host: &dyn Inspect) -> Result<BTreeSet<u16>> {
    own_ports_without(host, None)
}

fn own_ports_without(host: &dyn Inspect, file: Option<&str>) -> Result<BTreeSet<u16>> {
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

/// The port of the login in which pitool was typed in, and those on which an ssh server listens that others can reach;
/// without the ports of sshd itself.
fn others(host: &dyn Inspect, own: &BTreeSet<u16>) -> Result<BTreeSet<u16>> {
    if !host.live() {
        return Ok(BTreeSet::new());
    }
    let mut ports: BTreeSet<u16> = caller(host)?.map(|caller| caller.port).into_iter().collect();
    let mut unknown = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = host.read(path)?;
        let text = table.as_ref().and_then(|content| content.text()).unwrap_or_default();
        let listeners = proc_net_tcp::listeners(text, false);
        unknown.extend(listeners.into_iter().filter(|one| one.is_public() && !own.contains(&one.port)));
    }
    if !unknown.is_empty() {
        let sockets = server_sockets(host)?;
        ports.extend(unknown.iter().filter(|one| sockets.contains(&one.inode)).map(|one| one.port));
    }
    ports.retain(|port| !own.contains(port));
    Ok(ports)
}

/// The inodes of all sockets that ssh servers hold.
fn server_sockets(host: &dyn Inspect) -> Result<BTreeSet<u64>> {
    let mut sockets = BTreeSet::new();
    for process in host.list("/proc")?.unwrap_or_default() {
        if !process.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process that ends meanwhile holds nothing any more.
        let Ok(Some(name)) = host.read(&format!("/proc/{process}/comm")) else { continue };
        if !name.text().is_some_and(|name| SERVERS.contains(&name.trim())) {
            continue;
        }
        // Any user may call a program so, and a session that forwards a port runs as its user.
        let status = host.read(&format!("/proc/{process}/status")).ok().flatten();
        let status = status.as_ref().and_then(|content| content.text()).unwrap_or_default();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
        if uid != Some("0") {
            continue;
        }
        let files = format!("/proc/{process}/fd");
        for file in host.list(&files).ok().flatten().unwrap_or_default() {
            let Ok(Some(stat)) = host.stat(&format!("{files}/{file}")) else { continue };
            if let FileType::Link(target) = stat.file_type {
                let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
                sockets.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
            }
        }
    }
    Ok(sockets)
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
