//! Who serves the network at the moment: the sockets of /proc/net that others can reach, each with its program.
//!
//! Whose a socket is decides whether an administrator set its service up. Root's sockets are (the kernel's own, for NFS or
//! WireGuard, too), those of a service that systemd's system manager runs, and those of containers. A user's are not,
//! in a session, in a container of the user's own, or as the child of a service that runs users' programs (cron, sshd).

use std::collections::{BTreeMap, BTreeSet};

use crate::parse::proc_net_tcp::{self, Listener};
use crate::{Command, FileType, Inspect, Result};

/// A port on which a program of this machine can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The port.
    pub port: u16,
    /// Whether it is UDP.
    pub udp: bool,
    /// The program's name as the kernel has it (proc_pid_comm(5)), its unusual characters as `_`; `kernel` where no
    /// process has the socket, `unknown` where that cannot be seen.
    pub program: String,
    /// The user who made the socket.
    pub uid: u32,
    /// Whether the machine offers it: it is root's, a system service's or a container's, not a user's own.
    pub system: bool,
}

/// The files with the sockets, and whether they are UDP's.
const TABLES: [(&str, bool); 4] =
    [("/proc/net/tcp", false), ("/proc/net/tcp6", false), ("/proc/net/udp", true), ("/proc/net/udp6", true)];

/// Finds who listens, without loopback; each port once, sorted.
///
/// # Errors
/// /proc cannot be read. Of a process that ends meanwhile, or that this user may not look into, only the user is known.
pub fn services(inspect: &dyn Inspect) -> Result<Vec<Service>> {
    let mut listeners = Vec::new();
    for (path, udp) in TABLES {
        listeners.extend(proc_net_tcp::listeners(&text(inspect, path)?, udp));
    }
    listeners.retain(Listener::is_public);
    let ephemeral = ephemeral(&text(inspect, "/proc/sys/net/ipv4/ip_local_port_range")?);
    let lasting = |one: &Listener| !one.udp || !ephemeral.contains(&one.port) || chosen(one, &listeners);
    let listeners: Vec<Listener> = listeners.iter().copied().filter(lasting).collect();
    if listeners.is_empty() {
        return Ok(Vec::new());
    }
    let holders = holders(inspect, &listeners.iter().map(|one| one.inode).collect())?;
    // Who may not look into every process cannot say that a socket has none.
    let nobody = if inspect.list("/proc/1/fd").is_ok() { "kernel" } else { "unknown" };
    let mut found: BTreeMap<(u16, bool), Service> = BTreeMap::new();
    let main = main_users(inspect, &listeners, &holders);
    for one in &listeners {
        let processes = holders.get(&one.inode).map(Vec::as_slice).unwrap_or_default();
        // systemd holds the sockets that it starts services for: the service tells more.
        let named = processes.iter().find(|process| process.pid != 1).or(processes.first());
        let service = Service {
            port: one.port,
            udp: one.udp,
            program: named.map_or(nobody, |process| &process.name).to_owned(),
            uid: one.uid,
            system: one.uid == 0 || processes.iter().any(|process| process.system(one.uid, &main)),
        };
        let known = found.entry((one.port, one.udp)).or_insert_with(|| service.clone());
        if service.system && !known.system {
            *known = service;
        }
    }
    Ok(found.into_values().collect())
}

/// Whether a UDP port from the range of ephemeral ports was chosen by its program: a client's differ by family and come
/// and go. The kernel has no clients there, but WireGuard and tunnels.
fn chosen(one: &Listener, all: &[Listener]) -> bool {
    let other = |other: &&Listener| {
        other.udp
            && other.port == one.port
            && other.uid == one.uid
            && other.address.is_ipv6() != one.address.is_ipv6()
    };
    all.iter().any(|candidate| other(&candidate))
}

/// The kernel's own range where the file is missing: ip(7).
fn ephemeral(text: &str) -> std::ops::RangeInclusive<u16> {
    let mut words = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    words.next().unwrap_or(32768)..=words.next().unwrap_or(60999)
}

/// A process that has one of the sockets.
struct Process {
    pid: u32,
    name: String,
    cgroup: String,
}

impl Process {
    /// The unit of the system manager that it runs in.
    fn unit(&self) -> Option<&str> {
        let rest = self.cgroup.strip_prefix("/system.slice/")?;
        rest.split('/').find(|part| part.ends_with(".service"))
    }

    /// Whether a socket of this user in this process is the machine's: `main` has the users of the units' main
    /// processes, of which a process may differ where a service runs programs of users.
    fn system(&self, uid: u32, main: &BTreeMap<String, u32>) -> bool {
        match self.unit() {
            Some(unit) => main.get(unit).is_none_or(|user| *user == uid),
            // Scopes of containers are below system.slice or machine.slice, or without systemd right at the top.
            None => !self.cgroup.is_empty() && self.cgroup != "/" && !self.cgroup.starts_with("/user.slice"),
        }
    }
}

/// The processes that have these sockets, by inode: proc_pid_fd(5). What cannot be read is another user's, or has ended.
fn holders(inspect: &dyn Inspect, inodes: &BTreeSet<u64>) -> Result<BTreeMap<u64, Vec<Process>>> {
    let mut found: BTreeMap<u64, Vec<Process>> = BTreeMap::new();
    for name in inspect.list("/proc")?.unwrap_or_default() {
        let Ok(pid) = name.parse::<u32>() else { continue };
        let directory = format!("/proc/{name}/fd");
        let open = inspect.list(&directory).ok().flatten().unwrap_or_default();
        let socket = |fd: &String| match inspect.stat(&format!("{directory}/{fd}")).ok()??.file_type {
            FileType::Link(target) => {
                let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
                inodes.contains(&inode).then_some(inode)
            }
            _ => None,
        };
        let sockets: BTreeSet<u64> = open.iter().filter_map(socket).collect();
        for inode in sockets {
            let file = |file: &str| text(inspect, &format!("/proc/{name}/{file}")).unwrap_or_default();
            let process = Process { pid, name: plain(file("comm").trim()), cgroup: cgroup(&file("cgroup")) };
            found.entry(inode).or_default().push(process);
        }
    }
    Ok(found)
}

/// The user of each unit's main process, for the units in which a socket is not root's; systemd is asked once.
fn main_users(
    inspect: &dyn Inspect,
    listeners: &[Listener],
    holders: &BTreeMap<u64, Vec<Process>>,
) -> BTreeMap<String, u32> {
    let of_users = listeners.iter().filter(|one| one.uid != 0).filter_map(|one| holders.get(&one.inode));
    let units: BTreeSet<&str> = of_users.flatten().filter_map(Process::unit).collect();
    if units.is_empty() {
        return BTreeMap::new();
    }
    let question = Command::new("systemctl").args(["show", "--property=Id,MainPID"]).args(units);
    // Without an answer no service is known to run programs of users.
    let answer = inspect.ask(&question).map(|output| output.stdout).unwrap_or_default();
    let user = |block: &str| {
        let value = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let (unit, pid) = (value("Id")?, value("MainPID").filter(|pid| *pid != "0")?);
        let status = text(inspect, &format!("/proc/{pid}/status")).ok()?;
        // Real, effective, saved and file system's user (proc_pid_status(5)).
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        Some((unit.to_owned(), users.split_ascii_whitespace().nth(1)?.parse().ok()?))
    };
    answer.split("\n\n").filter_map(user).collect()
}

/// The process's place in systemd's tree of control groups: cgroups(7), version 2 or systemd's own hierarchy of version 1.
fn cgroup(text: &str) -> String {
    let path = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        ["", "name=systemd"].contains(&controllers).then(|| path.to_owned())
    };
    text.lines().find_map(path).unwrap_or_default()
}

/// A name with its unusual characters as `_`: a process chooses its own, and no character of it may mean anything where
/// it is shown or written.
pub fn plain(name: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    name.chars().map(|c| if good(c) { c } else { '_' }).collect()
}

fn text(inspect: &dyn Inspect, path: &str) -> Result<String> {
    // A kernel without IPv6 has no tables of it.
    let content = inspect.read(path)?;
    Ok(content.map(|content| String::from_utf8_lossy(content.bytes()).into_owned()).unwrap_or_default())
}
