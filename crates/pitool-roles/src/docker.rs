//! Role docker: Docker Engine and Compose. It replaces the old role `docker`, and differs from it on purpose:
//!
//! - Whose packages: Docker's own where Docker has some for this release and architecture (dpkg's, never the kernel's,
//!   traps T3 and T4) and its repository answers, else the distribution's. What is installed is kept.
//! - The repository is a `.sources` file with a key for it alone, which is part of this program (T25).
//! - Our keys are merged into `daemon.json`, before the first start, so that no container is without a limit for its
//!   log (T34). No storage driver: Docker finds the right one.
//! - Compose is a package, not a download. bookworm's own is version 1.
//! - The ports that containers publish obey the firewall (T19). The rules are in a chain of their own, in front of
//!   what anybody else has in `DOCKER-USER`, and matched by the port that was asked for. They come with every start of
//!   Docker and before it; ufw never sees them, so its reload cannot take them away. This belongs here and not to role
//!   security, because the unit hangs on docker.service.
//! - No `hello-world`: the daemon itself is asked.

use std::collections::BTreeSet;

use askama::Template;
use pitool_config::Settings;
use pitool_config::settings::{self, DockerSource as Wanted, Policy, Protocol, RulePolicy};
use pitool_config::values::{Ports, Size, Source, UserName};
use pitool_engine::{Resource, Stage};
use pitool_host::{DockerSource, Facts};
use pitool_kinds::Kind;
use pitool_resources::{Check, Directory, Edit, File, Named, Package, Part, PublishedPorts, Unit, User};
use serde_json::{Map, Value, json};

use crate::Wishes;
use crate::accounts;
use crate::proofs::{
    ComposeAnswers, ContainerLogsLimited, DockerAnswers, DockerMemoryLimit, PublishedPortsGuarded,
};
use crate::security::may_filter;
use crate::templates::text;

/// What the role wants.
pub fn wishes(settings: &Settings, facts: &Facts) -> Wishes {
    let mut wishes = Wishes::default();
    if !settings.docker.enabled {
        wishes.note("Docker is not wanted ([docker] enabled = false); one that is installed stays as it is");
        return wishes;
    }
    if facts.armv6 {
        wishes.note(
            "Docker is left out: this board's processor is an ARMv6 (Pi 1, Pi Zero), for which nobody builds Docker or \
             images any more",
        );
        return wishes;
    }
    if !may_filter(facts) {
        wishes.note(
            "Docker waits: the modules of the running kernel are gone, as after a kernel upgrade; reboot, then apply \
             again",
        );
        return wishes;
    }
    let packages = packages(settings, facts, &mut wishes);
    daemon(settings, packages, facts, &mut wishes);
    members(settings, &mut wishes);
    preflight(facts, &mut wishes);
    wishes
}

/// The repository that should be asked whether it answers; `None` where its answer would change nothing.
pub fn repository<'s>(settings: &'s Settings, facts: &Facts) -> Option<&'s str> {
    let asks =
        settings.docker.enabled && settings.docker.source == Wanted::Auto && published(settings, facts);
    asks.then(|| settings.docker.repository.as_str())
}

/// Whether Docker has packages for this machine. Of another repository than Docker's own nobody here can know: it is
/// believed.
fn published(settings: &Settings, facts: &Facts) -> bool {
    if settings.docker.repository != settings::Docker::default().repository {
        return true;
    }
    // Docker 28 was the last with packages for Raspbian, and the last for 32-bit ARM.
    facts.os == "debian"
        && ["bookworm", "trixie"].contains(&facts.codename.as_str())
        && ["amd64", "arm64"].contains(&facts.arch.as_str())
}

/// Whose packages.
#[derive(Clone, Copy, PartialEq)]
enum Packages {
    Docker,
    Debian,
}

const DOCKERS: [&str; 5] =
    ["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];

/// Decides whose packages they are, with a sentence where that is not what was asked for.
fn choice(settings: &Settings, facts: &Facts) -> (Packages, Option<String>) {
    let machine = format!("{} {} on {}", facts.os, facts.codename, facts.arch);
    let none = format!(
        "Docker's own repository has no packages for {machine} (version 28 was the last for Raspbian and 32-bit ARM); \
         the distribution's docker.io is used"
    );
    match (settings.docker.source, facts.docker_source) {
        (Wanted::Debian, _) | (Wanted::Auto, DockerSource::DebianInstalled) => (Packages::Debian, None),
        (Wanted::Auto, DockerSource::CeInstalled) => (Packages::Docker, None),
        (Wanted::DockerCe, _) | (Wanted::Auto, DockerSource::CeAnswers) if published(settings, facts) => {
            (Packages::Docker, None)
        }
        (Wanted::Auto, DockerSource::CeSilent | DockerSource::Unknown) if published(settings, facts) => {
            let sentence = format!(
                "{} does not answer; the distribution's docker.io is used, and kept from now on",
                settings.docker.repository
            );
            (Packages::Debian, Some(sentence))
        }
        (Wanted::DockerCe | Wanted::Auto, _) => (Packages::Debian, Some(none)),
    }
}

#[derive(Template)]
#[template(path = "docker/docker.sources", escape = "none")]
struct AptSource<'a> {
    repository: &'a str,
    os: &'a str,
    codename: &'a str,
    arch: &'a str,
    key: &'a str,
}

/// Docker's release key, 9DC8 5822 9FC7 DD38 854A E2D8 8D81 803C 0EBF CD88.
/// From Debian's extrepo-offline-data, so that it came signed; the snapshots hold its digest.
const KEY: &str = include_str!("../templates/docker/docker.asc");
const KEY_PATH: &str = "/etc/apt/keyrings/docker.asc";

/// What Docker's older instructions and Ansible's apt_repository call the same source: apt stops at two entries for
/// one repository with different keys.
const OLD_SOURCES: [&str; 3] =
    ["docker", "download_docker_com_linux_debian", "download_docker_com_linux_raspbian"];

fn packages(settings: &Settings, facts: &Facts, wishes: &mut Wishes) -> Packages {
    let docker = &settings.docker;
    let (packages, sentence) = choice(settings, facts);
    if let Some(sentence) = sentence {
        wishes.note(sentence);
    }
    // Only a source that was asked for by name drives out what is there.
    let forced = docker.source != Wanted::Auto;
    // Both kinds of daemon refuse to start a container where the kernel has AppArmor and its parser is missing.
    let mut names = vec!["apparmor", "ca-certificates"];
    let conflicting: &[&str] = match packages {
        Packages::Docker => {
            for name in OLD_SOURCES {
                let path = format!("/etc/apt/sources.list.d/{name}.list");
                wishes.want(File::absent(path).stage(Stage::Prepare));
            }
            let key = docker.key_file.as_ref().map(ToString::to_string);
            if key.is_none() {
                wishes.want(Directory::new("/etc/apt/keyrings").stage(Stage::Prepare));
                wishes.want(File::new(KEY_PATH, KEY).stage(Stage::Prepare));
            }
            let source = AptSource {
                repository: docker.repository.as_str(),
                os: &facts.os,
                codename: &facts.codename,
                arch: &facts.arch,
                key: key.as_deref().unwrap_or(KEY_PATH),
            };
            wishes.want(
                File::new("/etc/apt/sources.list.d/docker.sources", text(&source)).stage(Stage::Prepare),
            );
            &[
                "docker.io",
                "docker-cli",
                "docker-compose",
                "docker-buildx",
                "podman-docker",
                "containerd",
                "runc",
            ]
        }
        Packages::Debian => {
            names.extend(["docker.io", "docker-compose"]);
            if modern(facts) {
                names.extend(["docker-cli", "docker-buildx"]);
            }
            &DOCKERS
        }
    };
    if forced {
        conflicting.iter().for_each(|name| wishes.want(Package::absent(*name)));
    }
    for name in names {
        wishes.want(keeping(Package::new(name), name));
    }
    if packages == Packages::Docker {
        for name in DOCKERS {
            wishes.want(keeping(Package::new(name).from_own_source(), name));
        }
    }
    let plugin = packages == Packages::Docker || modern(facts);
    if !plugin {
        wishes.note(
            "this release's Compose is version 1: the command is `docker-compose`; `docker compose` comes with Docker's \
             own packages ([docker] source = \"docker-ce\")",
        );
    }
    wishes.prove(ComposeAnswers { plugin });
    packages
}

/// Debian 13 and later: Docker 26, its client a package of its own, Compose 2.
fn modern(facts: &Facts) -> bool {
    facts.release == 0 || facts.release >= 13
}

fn keeping(package: Package, name: &str) -> Package {
    match name {
        "docker.io" | "docker-ce" => package.keeping("/var/lib/docker"),
        "containerd.io" => package.keeping("/var/lib/containerd"),
        _ => package,
    }
}

/// The daemon's settings, its unit, and the firewall in front of what it publishes.
fn daemon(settings: &Settings, packages: Packages, facts: &Facts, wishes: &mut Wishes) {
    let docker = &settings.docker;
    let firewall = &settings.security.firewall;
    let mut keys = Map::new();
    let theirs = Some(facts.docker_log_driver.as_str()).filter(|driver| !driver.is_empty());
    if theirs.is_none() {
        keys.insert("log-driver".into(), json!("json-file"));
    }
    let named = docker.daemon.get("log-driver").and_then(Value::as_str);
    let driver = named.or(theirs).unwrap_or("json-file").to_owned();
    // Other drivers do not know these options, and the daemon would not start.
    if ["json-file", "local"].contains(&driver.as_str()) {
        let size = docker_size(docker.log_max_size);
        keys.insert(
            "log-opts".into(),
            json!({"max-size": size, "max-file": docker.log_max_files.to_string()}),
        );
    } else if named.is_none() {
        wishes.note(format!(
            "/etc/docker/daemon.json names the log driver {driver}, which stays; log_max_size and log_max_files do not \
             reach it"
        ));
    }
    keys.insert("live-restore".into(), json!(docker.live_restore));
    if firewall.enabled && firewall.published_ports == settings::PublishedPorts::Loopback {
        keys.insert("ip".into(), json!("127.0.0.1"));
        if packages == Packages::Docker || modern(facts) {
            let binding = json!({"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"});
            keys.insert("default-network-opts".into(), json!({"bridge": binding}));
        } else {
            wishes.note(
                "this release's Docker publishes on 127.0.0.1 for its default network only; ports of Compose projects \
                 stay open: published_ports = \"guarded\" closes them",
            );
        }
    }
    for (key, value) in &docker.daemon {
        keys.insert(key.clone(), value.clone());
    }
    let live_restore = keys.get("live-restore").and_then(Value::as_bool).unwrap_or_default();

    wishes.want(Directory::new("/etc/docker").stage(Stage::Prepare));
    let json = Part::new("/etc/docker/daemon.json", Edit::Json(keys))
        .stage(Stage::Prepare)
        .checked_by(Check::Docker);
    let json_id = json.id();
    wishes.want(json);
    if firewall.enabled && firewall.published_ports == settings::PublishedPorts::Guarded {
        guard(settings, wishes);
    }
    // Log driver and addresses are read at a start only.
    wishes.want(Unit::new("docker.service").reads([json_id]).keeping_containers());
    wishes.prove(DockerAnswers { log_driver: driver, live_restore });
    wishes.prove(DockerMemoryLimit { pi: facts.firmware.is_some() });
    wishes.prove(ContainerLogsLimited);
}

/// A size as Docker writes them.
fn docker_size(size: Size) -> String {
    match size.bytes() {
        bytes if bytes % (1 << 20) == 0 => format!("{}m", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{}k", bytes >> 10),
        bytes => bytes.to_string(),
    }
}

#[derive(Template)]
#[template(path = "docker/firewall.rules", escape = "none")]
struct GuardRules {
    rules: Vec<String>,
}

/// The rules of the firewall for what Docker publishes. The ports that stay open although no rule names them have a file
/// of their own, before the others: once it is there, what is published later is closed.
fn guard(settings: &Settings, wishes: &mut Wishes) {
    let firewall = &settings.security.firewall;
    let rules = settings.firewall_rules();
    let rest = match firewall.incoming {
        Policy::Deny => Some("DROP"),
        Policy::Reject => Some("REJECT"),
        Policy::Allow => None,
    };
    let of_ports = |ports: Ports, tcp: bool, udp: bool| {
        let (first, last) = (ports.first().number(), ports.last().number());
        [(tcp, false), (udp, true)].into_iter().filter(|(has, _)| *has).map(move |(_, udp)| Named {
            first,
            last,
            udp,
        })
    };
    let named = rules
        .iter()
        .flat_map(|rule| of_ports(rule.port, rule.protocol != Protocol::Udp, rule.protocol != Protocol::Tcp));
    let closed = firewall.close.iter().flat_map(|ports| of_ports(*ports, true, true));
    let published = PublishedPorts::new(rest).named(named).closed(closed);
    let mut reads = vec![published.id()];
    wishes.want(published);
    for (version, ipv6) in [("v4", false), ("v6", true)] {
        let rules = guard_rules(&rules, ipv6);
        let file = File::new(format!("/etc/docker/pitool-firewall.{version}"), text(&GuardRules { rules }));
        reads.push(file.id());
        wishes.want(file);
    }
    let unit = File::new(
        "/etc/systemd/system/pitool-docker-firewall.service",
        include_str!("../templates/docker/pitool-docker-firewall.service"),
    );
    reads.push(unit.id());
    wishes.want(unit);
    wishes.want(Unit::new("pitool-docker-firewall.service").reads(reads).reloaded());
    wishes.prove(PublishedPortsGuarded { closed: firewall.incoming != Policy::Allow });
}

fn guard_rules(rules: &[settings::Rule], ipv6: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in rules {
        let from = match rule.from {
            Source::Any => String::new(),
            Source::Network(network) if network.address().is_ipv6() == ipv6 => format!(" -s {network}"),
            Source::Network(_) => continue,
        };
        let protocols: &[&str] = match rule.protocol {
            Protocol::Tcp => &["tcp"],
            Protocol::Udp => &["udp"],
            Protocol::Any => &["tcp", "udp"],
        };
        let target = match rule.policy {
            // A published port has no limit of ufw's: what the container answers is its own affair.
            RulePolicy::Allow | RulePolicy::Limit => "RETURN",
            RulePolicy::Deny => "DROP",
            RulePolicy::Reject => "REJECT",
        };
        let port = rule.port;
        lines.extend(protocols.iter().map(|protocol| {
            format!(
                "-A PITOOL-DOCKER{from} -p {protocol} -m conntrack --ctstate DNAT --ctorigdstport {port} -j {target}"
            )
        }));
    }
    lines
}

/// The people and the apps in the group.
///
/// Their accounts are wanted here too, as their own roles want them: who is not there yet cannot be a member.
fn members(settings: &Settings, wishes: &mut Wishes) {
    let of_apps = settings.apps.values().filter(|site| site.docker).map(|site| &site.user);
    let users: BTreeSet<&UserName> = settings.docker.users.iter().chain(of_apps).collect();
    for user in &users {
        wishes.resources.extend(accounts::known(user, settings).map(Kind::from));
        wishes.want(User::new(user.as_str()).groups(["docker"]).of_existing());
    }
    if !users.is_empty() {
        let names: Vec<String> = users.iter().map(ToString::to_string).collect();
        wishes.note(format!(
            "in group docker, and so able to do everything that root can: {}",
            names.join(", ")
        ));
    }
}

/// What this board is known for.
fn preflight(facts: &Facts, wishes: &mut Wishes) {
    // 4 KiB is what most programs are built for (trap T5).
    if facts.page_size > 4096 {
        wishes.note(format!(
            "this kernel's memory pages have {} KiB: some images end at once with \"Unsupported system page size\"; \
             `kernel=kernel8.img` in config.txt and a reboot help, at a little cost in speed",
            facts.page_size / 1024
        ));
    }
    if facts.arch == "armhf" && facts.kernel_arch == "aarch64" {
        wishes.note("this system is 32-bit under a 64-bit kernel: images must be built for linux/arm/v7");
    }
}
