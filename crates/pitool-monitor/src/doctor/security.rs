//! Traps of logins, fail2ban and the firewall.

use pitool_host::parse::{authorized_keys, fail2ban, sshd_config};
use pitool_host::text::chain;

use super::trap::{Look, Trap, Verdict, fine, found, not_here, settings, unknown};
use crate::docker::Docker;

pub(super) const TRAPS: &[Trap] = &[
    Trap { number: 13, name: "sudo asks for a password", look: sudo },
    Trap { number: 14, name: "another file beats the hardening of sshd", look: first_wins },
    Trap { number: 15, name: "systemd listens for sshd", look: socket },
    Trap { number: 16, name: "no passwords, and nobody has a key", look: no_key },
    Trap { number: 17, name: "fail2ban reads a log that nobody writes", look: backend },
    Trap { number: 18, name: "fail2ban runs and sees nothing", look: blind },
    Trap { number: 19, name: "ports of containers go past the firewall", look: published },
    Trap { number: 20, name: "Docker writes its rules another way", look: docker_rules },
    Trap { number: 21, name: "two kinds of packet filters", look: mixed },
];

fn sudo(look: &Look<'_>) -> Verdict {
    match look.host.list("/etc/sudoers.d") {
        Err(_) => return unknown("only root may look at /etc/sudoers.d"),
        Ok(None) => return not_here("sudo is not installed"),
        Ok(Some(_)) => {}
    }
    let mut files = look.files("/etc/sudoers.d", "");
    files.extend(look.text("/etc/sudoers").map(|text| ("/etc/sudoers".to_owned(), text)));
    match files.iter().find(|(_, text)| settings(text).any(|line| line.contains("NOPASSWD:"))) {
        Some((file, _)) => fine(format!("{file} lets somebody work without a password")),
        None => found(
            "everybody is asked for a password",
            "commands over ssh need a terminal then (`ssh -t`); `sudo = true` for a user in [common.users] asks for none",
        ),
    }
}

fn first_wins(look: &Look<'_>) -> Verdict {
    let config = match sshd_config::read(look.host) {
        Ok(config) => config,
        Err(error) => return unknown(chain(&error)),
    };
    let mut beaten = Vec::new();
    for keyword in ["passwordauthentication", "permitrootlogin", "kbdinteractiveauthentication"] {
        let mut all = config.all(keyword);
        let Some(first) = all.next() else { continue };
        let other = all.find(|other| other.value() != first.value());
        // A loose value that beats a strict one; the other way round is what a hardening does.
        if let Some(other) = other.filter(|_| first.value() == "yes") {
            beaten.push(format!(
                "{} line {} says {keyword} yes before {} says {}",
                first.file,
                first.line,
                other.file,
                other.value()
            ));
        }
    }
    match beaten.first() {
        None => fine("what is strict comes first, or nothing contradicts it"),
        Some(what) => found(
            what.clone(),
            "for sshd the first value counts: remove the line, or let `sudo pitool apply security` write a file that sorts before it",
        ),
    }
}

fn socket(look: &Look<'_>) -> Verdict {
    match look.active("ssh.socket") {
        true => found(
            "ssh.socket is active: systemd listens, and `Port` in sshd's own files does nothing",
            "`sudo systemctl disable --now ssh.socket && sudo systemctl enable --now ssh.service`",
        ),
        false => fine("sshd listens itself"),
    }
}

fn no_key(look: &Look<'_>) -> Verdict {
    let config = match sshd_config::read(look.host) {
        Ok(config) => config,
        Err(error) => return unknown(chain(&error)),
    };
    if config.get("passwordauthentication").is_none_or(|setting| setting.value() != "no") {
        return fine("passwords are still taken");
    }
    let mut unreadable = false;
    for (name, person) in &look.facts.people {
        let path = format!("{}/.ssh/authorized_keys", person.home);
        match look.host.read(&path) {
            Ok(Some(content)) => {
                let text = String::from_utf8_lossy(content.bytes()).into_owned();
                if text.lines().any(|line| matches!(authorized_keys::parse_line(line), Ok(Some(_)))) {
                    return fine(format!("{name} has a key"));
                }
            }
            Ok(None) => {}
            Err(_) => unreadable = true,
        }
    }
    if unreadable {
        return unknown("only root may look at the keys of others");
    }
    found(
        "sshd takes no passwords, and nobody has a key",
        "before you log out: `ssh-copy-id`, or put a key into [common.users] and apply",
    )
}

fn backend(look: &Look<'_>) -> Verdict {
    if !look.installed("fail2ban") {
        return not_here("fail2ban is not installed");
    }
    if look.there("/var/log/auth.log") {
        return fine("there is a log to read");
    }
    let files =
        [look.files("/etc/fail2ban/jail.d", ".local"), look.files("/etc/fail2ban/jail.d", ".conf")].concat();
    let systemd =
        files.iter().any(|(_, text)| settings(text).any(|line| line.replace(' ', "") == "backend=systemd"));
    match systemd {
        true => fine("the jails read the journal"),
        false => found(
            "there is no /var/log/auth.log, and no jail reads the journal",
            "`sudo pitool apply security` writes jails with `backend = systemd`",
        ),
    }
}

fn blind(look: &Look<'_>) -> Verdict {
    if !look.active("fail2ban.service") {
        return not_here("fail2ban does not run");
    }
    let output = match look.ask("fail2ban-client", &["status", "sshd"]) {
        Ok(output) => output,
        Err(why) => return unknown(why),
    };
    match fail2ban::parse_jail(&output.stdout) {
        None => found("fail2ban has no jail for sshd", "`sudo pitool apply security` makes one"),
        Some(jail) if jail.journal_matches.is_empty() && jail.files.is_empty() => {
            found("the jail sshd reads nothing", "`sudo pitool apply security` gives it the journal")
        }
        Some(jail) if !jail.journal_matches.is_empty() => {
            fine(format!("the jail reads {}; {} failures seen", jail.journal_matches, jail.total_failed))
        }
        Some(jail) => {
            fine(format!("the jail reads {}; {} failures seen", jail.files.join(", "), jail.total_failed))
        }
    }
}

fn published(look: &Look<'_>) -> Verdict {
    if !look.docker() {
        return not_here("Docker is not installed");
    }
    if look.active("pitool-docker-firewall.service") {
        return fine("pitool guards published ports");
    }
    let answer = match look.system.docker("/containers/json") {
        Ok(Some(answer)) => answer,
        Ok(None) => return not_here("Docker does not run"),
        Err(why) => return unknown(why),
    };
    let containers: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut open = Vec::new();
    for container in containers.as_array().into_iter().flatten() {
        for port in container["Ports"].as_array().into_iter().flatten() {
            let public = port["IP"].as_str().is_some_and(|ip| !ip.starts_with("127.") && ip != "::1");
            if let (true, Some(port)) = (public, port["PublicPort"].as_u64()) {
                let port = port.to_string();
                if !open.contains(&port) {
                    open.push(port);
                }
            }
        }
    }
    match open.is_empty() {
        true => fine("no container publishes a port to the outside"),
        false => found(
            format!("published to everybody, whatever ufw says: {}", open.join(", ")),
            "`published_ports = \"guarded\"` in [security.firewall], then `sudo pitool apply docker`; or publish on 127.0.0.1",
        ),
    }
}

fn docker_rules(look: &Look<'_>) -> Verdict {
    if !look.docker() {
        return not_here("Docker is not installed");
    }
    let daemon = look.text("/etc/docker/daemon.json").unwrap_or_default();
    let daemon: serde_json::Value = serde_json::from_str(&daemon).unwrap_or_default();
    match daemon["firewall-backend"].as_str() {
        Some("nftables") => found(
            "Docker writes nftables rules of its own; the chain DOCKER-USER does nothing",
            "take `firewall-backend` out of /etc/docker/daemon.json, or guard published ports by rules of your own",
        ),
        _ => fine("Docker's rules pass through DOCKER-USER"),
    }
}

fn mixed(look: &Look<'_>) -> Verdict {
    let legacy: String = ["ip_tables_names", "ip6_tables_names"]
        .into_iter()
        .filter_map(|name| look.text(&format!("/proc/net/{name}")))
        .collect();
    let legacy: Vec<&str> = legacy.lines().collect();
    if legacy.is_empty() {
        return fine("no legacy tables are in use");
    }
    let link = |path: &str| match look.host.stat(path) {
        Ok(Some(stat)) => match stat.file_type {
            pitool_host::FileType::Link(target) => target,
            _ => String::new(),
        },
        _ => String::new(),
    };
    match link("/etc/alternatives/iptables").contains("nft") {
        true => found(
            "rules of iptables-legacy are in force beside those of nftables, and neither shows the other's",
            "`sudo iptables-legacy -S` shows them; flush them, or reboot when nothing makes them anew",
        ),
        false => match look.sample.docker {
            Docker::Absent => fine("iptables-legacy alone"),
            _ => fine("iptables-legacy is what this machine uses, Docker too"),
        },
    }
}
