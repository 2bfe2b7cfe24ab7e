//! Role security: who gets in. It replaces the old role `security`, and differs from it on purpose:
//!
//! - sshd: drop-ins that sort first instead of edits of the main file, because the first value wins and drop-ins come
//!   first (trap T14). Each setting that could lock everybody out has a file and a guard of its own, so that one which
//!   has to wait does not hold back the others (T16).
//! - `ssh_port` moves sshd too, not only the firewall: the new port is opened, sshd moves, then the old one is closed
//!   (T15). Where systemd listens for sshd (ssh.socket, nowhere the default up to Debian 13), sshd's own `Port` has no
//!   effect: the move waits, with a sentence, and the port in use stays open.
//! - sshd is restarted, never reloaded: a reload makes one that systemd listens for end. Sessions survive it, because
//!   its unit has `KillMode=process`.
//! - fail2ban reads the journal, and its jails are there before its package (T17).
//! - unattended-upgrades has the origins that this machine's system has, not Ubuntu's (T23). One file of ours after
//!   the package's own two, which stay as they are.
//! - apt-listchanges is left out: without a mail server it talks to nobody.
//! - Ports that Docker publishes obey the firewall: see [`docker`](crate::docker).

use std::collections::BTreeSet;

use askama::Template;
use pitool_config::Settings;
use pitool_config::settings::{self, Protocol, RootLogin, RulePolicy};
use pitool_config::values::Source;
use pitool_engine::{Id, Stage};
use pitool_host::Facts;
use pitool_kinds::Kind;
use pitool_resources::{
    Check, Directory, File, Firewall, LoginGuard, Named, Package, Policy, Rule, Sysctl, Unit,
};

use crate::Wishes;
use crate::accounts::administrators;
use crate::proofs::{
    FirewallActive, JailRuns, KernelHardened, SshdListens, SshdValue, UnitRunning, UpdatesComeFrom,
};
use crate::templates::text;

/// What the role wants.
pub fn wishes(settings: &Settings, facts: &Facts) -> Wishes {
    let mut wishes = Wishes::default();
    sshd_and_firewall(settings, facts, &mut wishes);
    if settings.security.fail2ban.enabled {
        fail2ban(settings, &mut wishes);
    }
    if settings.security.updates.enabled {
        updates(settings, facts, &mut wishes);
    }
    if settings.security.hardening {
        hardening(settings, facts, &mut wishes);
    }
    wishes
}

/// sshd's settings, and between the opening of a new port and the closing of the old one its restart.
fn sshd_and_firewall(settings: &Settings, facts: &Facts, wishes: &mut Wishes) {
    let ssh = &settings.security.ssh;
    let port = ssh.port.map(|port| port.number());
    let firewall = settings.security.firewall.enabled && may_filter(facts);
    wishes.want(Package::new("openssh-server"));
    if firewall {
        wishes.want(Package::new("ufw"));
    }

    let files = sshd_files(settings, facts, wishes);
    let moved_by = Id::new("file", &path("-port"));
    if firewall {
        wishes.want(Firewall::opening(port).moved_by(moved_by.clone()));
    }
    if facts.sshd_off {
        // As on a new Raspberry Pi OS: to open a way in is its owner's to decide.
        wishes.note(
            "sshd is off and stays off; `sudo systemctl enable --now ssh` turns it on, with these settings",
        );
    } else {
        wishes.want(Unit::new("ssh.service").reads(files).risky());
        wishes.prove(UnitRunning { name: "ssh.service".into() });
        if let Some(port) = port {
            wishes.prove(SshdListens { port, file: path("-port") });
        }
    }

    if firewall {
        let firewall = &settings.security.firewall;
        let (incoming, outgoing) = (policy(firewall.incoming), policy(firewall.outgoing));
        let rules = settings.firewall_rules();
        let remarks = rules.iter().filter_map(|of| Some((of, of.comment.as_ref()?.to_string())));
        let remarks =
            remarks.flat_map(|(of, remark)| rule(of).into_iter().map(move |rule| (rule, remark.clone())));
        let closed = firewall.close.iter().flat_map(|ports| {
            let (first, last) = (ports.first().number(), ports.last().number());
            [false, true].map(|udp| Named { first, last, udp })
        });
        let apps = settings.apps.values().map(|site| site.user.to_string()).collect::<BTreeSet<_>>();
        let wall = Firewall::new(incoming, outgoing, port, rules.iter().flat_map(rule).collect());
        let wall = wall.remarked(remarks).closed(closed).apps(apps);
        for port in settings.site_ports() {
            let mut named = firewall.rules.iter().filter(|rule| rule.port.contains(port));
            let open = |rule: &&settings::Rule| rule.policy == RulePolicy::Allow && rule.from == Source::Any;
            if let Some(rule) = named.clone().next().filter(|_| !named.any(|rule| open(&rule))) {
                wishes.note(format!(
                    "the sites' port {port} is not open to everybody, because a rule of the config names it ({})",
                    rule_words(rule)
                ));
            }
        }
        wishes.want(wall.moved_by(moved_by));
        wishes.prove(FirewallActive);
    } else if settings.security.firewall.enabled {
        wishes.note(
            "the firewall waits: the modules of the running kernel are gone, as after a kernel upgrade; reboot, then \
             apply again",
        );
    }
}

/// Whether the kernel can be given rules: after an upgrade its modules are gone until the reboot (trap T22). A
/// container has no modules of its own and uses those of its host.
pub(crate) fn may_filter(facts: &Facts) -> bool {
    facts.kernel_modules || !facts.live || !facts.container.is_empty()
}

#[derive(Template)]
#[template(path = "security/sshd.conf", escape = "none")]
struct SshdConf {
    hardening: bool,
}

/// Sorts behind the drop-ins of others, because sshd takes the first value: what a person chose stays.
const ALGORITHMS: &str = "/etc/ssh/sshd_config.d/90-pitool-algorithms.conf";

#[derive(Template)]
#[template(path = "security/algorithms.conf", escape = "none")]
struct SshdAlgorithms;

/// The drop-ins of sshd; gives their ids.
fn sshd_files(settings: &Settings, facts: &Facts, wishes: &mut Wishes) -> Vec<Id> {
    let ssh = &settings.security.ssh;
    let root = match ssh.permit_root_login {
        RootLogin::No => "no",
        RootLogin::ProhibitPassword => "prohibit-password",
        RootLogin::Yes => "yes",
    };
    let passwords = ssh.password_authentication;
    let administrators = administrators(settings, facts);
    let their = || administrators.iter().flat_map(|(_, ids)| ids.clone());
    let mut files = Vec::new();

    files.push(drop_in("", text(&SshdConf { hardening: settings.security.hardening })));
    if settings.security.hardening {
        files.push(File::new(ALGORITHMS, text(&SshdAlgorithms)).checked_by(Check::Sshd));
    }

    let keyword = |keyword: &str, value: &str| format!("{MANAGED}\n{keyword} {value}\n");
    if let Some(port) = ssh.port {
        files.push(drop_in("-port", keyword("Port", &port.to_string())).guarded_by(LoginGuard::OwnSocket));
    }

    let mut root_file = drop_in("-root", keyword("PermitRootLogin", root));
    root_file = match ssh.permit_root_login {
        RootLogin::No => root_file.guarded_by(LoginGuard::OtherThanRoot { passwords }).lifted_by(their()),
        // Only root's password is refused: a key of root's own is enough.
        RootLogin::ProhibitPassword if !passwords => {
            root_file.guarded_by(LoginGuard::Key { root: true }).lifted_by(their())
        }
        RootLogin::ProhibitPassword => root_file.guarded_by(LoginGuard::RootByKey).lifted_by(their()),
        RootLogin::Yes => root_file,
    };
    wishes.prove(SshdValue::new("permitrootlogin", root, &path("-root")));
    files.push(root_file);

    let passwords_file = if passwords {
        drop_in("-passwords", keyword("PasswordAuthentication", "yes"))
    } else {
        // Without this, PAM asks for the password by the other door.
        let both = keyword("PasswordAuthentication", "no") + "KbdInteractiveAuthentication no\n";
        let root = ssh.permit_root_login != RootLogin::No;
        drop_in("-passwords", both).guarded_by(LoginGuard::Key { root }).lifted_by(their())
    };
    let word = if passwords { "yes" } else { "no" };
    wishes.prove(SshdValue::new("passwordauthentication", word, &path("-passwords")));
    files.push(passwords_file);

    if !ssh.allow_users.is_empty() {
        let users: Vec<String> = ssh.allow_users.iter().map(ToString::to_string).collect();
        let file = drop_in("-users", keyword("AllowUsers", &users.join(" ")));
        let allowed = administrators.iter().filter(|(name, _)| ssh.allow_users.contains(name));
        let lifting: Vec<Id> = allowed.flat_map(|(_, ids)| ids.clone()).collect();
        let root = ssh.permit_root_login != RootLogin::No;
        files.push(file.guarded_by(LoginGuard::Among { users, passwords, root }).lifted_by(lifting));
    }

    let ids = files.iter().map(pitool_engine::Resource::id).collect();
    wishes.resources.extend(files.into_iter().map(Kind::from));
    ids
}

const MANAGED: &str =
    "# Managed by pitool (role security). Edits are replaced; change /etc/pitool/pitool.toml instead.";

/// Before 50-cloud-init.conf and whatever else an image brings.
fn path(name: &str) -> String {
    format!("/etc/ssh/sshd_config.d/01-pitool{name}.conf")
}

fn drop_in(name: &str, content: String) -> File {
    File::new(path(name), content).checked_by(Check::Sshd)
}

fn policy(policy: settings::Policy) -> Policy {
    match policy {
        settings::Policy::Deny => Policy::Deny,
        settings::Policy::Reject => Policy::Reject,
        settings::Policy::Allow => Policy::Allow,
    }
}

/// A rule of the config in the words of `ufw`.
fn rule_words(config: &settings::Rule) -> String {
    rule(config).first().map_or_else(|| config.port.to_string(), |rule| format!("`{rule}`"))
}

/// ufw's rules for one of the config's: a range needs one for each protocol.
fn rule(rule: &settings::Rule) -> Vec<Rule> {
    let policy = match rule.policy {
        RulePolicy::Allow => Policy::Allow,
        RulePolicy::Limit => Policy::Limit,
        RulePolicy::Deny => Policy::Deny,
        RulePolicy::Reject => Policy::Reject,
    };
    let range = rule.port.first() != rule.port.last();
    let protocols: &[&str] = match rule.protocol {
        Protocol::Tcp => &["tcp"],
        Protocol::Udp => &["udp"],
        Protocol::Any if range => &["tcp", "udp"],
        Protocol::Any => &["any"],
    };
    let of = |protocol: &&str| Rule { from: rule.from.to_string(), ..Rule::new(policy, protocol, rule.port) };
    protocols.iter().map(of).collect()
}

#[derive(Template)]
#[template(path = "security/jail.local", escape = "none")]
struct Jails {
    bantime: u64,
    findtime: u64,
    maxretry: u16,
    ban_growth: bool,
    bantime_max: u64,
    ignore: String,
    ports: String,
    web: bool,
}

/// The machine itself and the networks that nobody routes: loopback, private (RFC 1918), link-local, unique local.
const OWN_NETWORKS: [&str; 8] = [
    "127.0.0.0/8",
    "::1",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fe80::/10",
    "fc00::/7",
];

/// Bans. The jails are written before the package comes: its first start already needs them.
fn fail2ban(settings: &Settings, wishes: &mut Wishes) {
    let bans = &settings.security.fail2ban;
    let own = OWN_NETWORKS.iter().map(ToString::to_string);
    let ignore: Vec<String> = own.chain(bans.ignore.iter().map(ToString::to_string)).collect();
    // Where the config leaves the port alone, only sshd knows it: then the ban is for every port.
    let ports = settings.security.ssh.port.map_or_else(|| "0:65535".to_owned(), |port| format!("ssh,{port}"));
    let web = settings.app.enabled || !settings.apps.is_empty();
    let jails = Jails {
        bantime: bans.bantime.as_secs(),
        findtime: bans.findtime.as_secs(),
        maxretry: bans.maxretry,
        ban_growth: bans.ban_growth,
        bantime_max: bans.bantime_max.as_secs(),
        ignore: ignore.join(" "),
        ports,
        web,
    };
    for directory in ["/etc/fail2ban", "/etc/fail2ban/jail.d"] {
        wishes.want(Directory::new(directory).stage(Stage::Prepare));
    }
    // The last of fail2ban's files to be read, after the distribution's defaults-debian.conf.
    let file = File::new("/etc/fail2ban/jail.d/pitool.local", text(&jails))
        .stage(Stage::Prepare)
        .checked_by(Check::Fail2ban);
    let id = pitool_engine::Resource::id(&file);
    wishes.want(file);
    // python3-systemd reads the journal and nft bans: bookworm's fail2ban merely recommends both.
    for package in ["fail2ban", "python3-systemd", "nftables"] {
        wishes.want(Package::new(package));
    }
    let mut unit = Unit::new("fail2ban.service").reads([id]);
    if web {
        // fail2ban looks for log files only when it starts; when nginx starts, they are there.
        let file = Id::new("file", "/usr/lib/systemd/system/nginx.service");
        unit = unit.reads_what_is_left_by("nginx.service", file);
    }
    wishes.want(unit);
    wishes.prove(JailRuns { jail: "sshd".into(), journal: true });
    if web {
        wishes.prove(JailRuns { jail: "nginx-http-auth".into(), journal: false });
    }
}

#[derive(Template)]
#[template(path = "security/unattended-upgrades.conf", escape = "none")]
struct Updates {
    origins: Vec<String>,
    reboot_time: Option<String>,
    mail: Option<String>,
}

/// Security updates that come by themselves.
fn updates(settings: &Settings, facts: &Facts, wishes: &mut Wishes) {
    let updates = &settings.security.updates;
    let mut origins = match facts.os.as_str() {
        // Raspbian has no archive for security updates: they come with the rest.
        "raspbian" => vec!["origin=Raspbian,codename=${distro_codename},label=Raspbian".to_owned()],
        _ => vec![
            "origin=Debian,codename=${distro_codename},label=Debian".to_owned(),
            "origin=Debian,codename=${distro_codename}-security,label=Debian-Security".to_owned(),
        ],
    };
    if facts.raspberrypi_archive && updates.raspberrypi {
        origins.push(
            "origin=Raspberry Pi Foundation,codename=${distro_codename},label=Raspberry Pi Foundation"
                .to_owned(),
        );
    }
    wishes.want(Package::new("unattended-upgrades"));
    let conf = text(&Updates {
        origins: origins.clone(),
        reboot_time: updates.reboot_time.map(|time| time.to_string()),
        mail: updates.mail.as_ref().map(ToString::to_string),
    });
    wishes.want(File::new("/etc/apt/apt.conf.d/52pitool-unattended-upgrades", conf));
    // It waits for the machine to go down, so that no upgrade is cut in half. Its package starts it and, when it goes,
    // leaves it running.
    wishes.want(Unit::new("unattended-upgrades.service"));
    for timer in ["apt-daily.timer", "apt-daily-upgrade.timer"] {
        wishes.want(Unit::new(timer));
        wishes.prove(UnitRunning { name: timer.into() });
    }
    wishes.prove(UpdatesComeFrom { origins });
    if updates.mail.is_some() {
        wishes.note(
            "mail about updates needs a mail program on this machine (such as bsd-mailx with msmtp-mta)",
        );
    }
}

/// A kernel value with its reason.
#[derive(Clone, Copy)]
struct Value {
    key: &'static str,
    value: &'static str,
    why: &'static str,
}

const fn value(key: &'static str, value: &'static str, why: &'static str) -> Value {
    Value { key, value, why }
}

/// Values of the whole kernel: not a container's to set.
const KERNEL: [Value; 8] = [
    value("kernel.kptr_restrict", "1", "Addresses in the kernel are for root alone."),
    value("kernel.dmesg_restrict", "1", "So are its messages."),
    value("kernel.yama.ptrace_scope", "1", "A program may trace its children only."),
    value("fs.suid_dumpable", "0", "Programs that run as somebody else leave no memory image."),
    value("fs.protected_hardlinks", "1", "No links to what one may not write."),
    value("fs.protected_symlinks", "1", "No tricks with links in /tmp."),
    value("fs.protected_fifos", "1", "Nor with pipes,"),
    value("fs.protected_regular", "2", "nor with files there."),
];

/// Values of this machine's network.
const NETWORK: [Value; 12] = [
    value(
        "net.ipv4.conf.all.rp_filter",
        "2",
        "Sender addresses must be reachable; loosely, because of Docker.",
    ),
    value("net.ipv4.conf.default.rp_filter", "2", "The same for interfaces that come later."),
    value("net.ipv4.conf.all.accept_redirects", "0", "Nobody changes our routes,"),
    value("net.ipv4.conf.default.accept_redirects", "0", "now or later,"),
    value("net.ipv6.conf.all.accept_redirects", "0", "with either protocol,"),
    value("net.ipv6.conf.default.accept_redirects", "0", "now or later."),
    value("net.ipv4.conf.all.send_redirects", "0", "Nor do we change anybody's."),
    value("net.ipv4.conf.default.send_redirects", "0", "Not later either."),
    value("net.ipv4.conf.all.accept_source_route", "0", "Senders do not choose the way."),
    value("net.ipv4.conf.default.accept_source_route", "0", "Not on later interfaces either."),
    value("net.ipv4.tcp_syncookies", "1", "A flood of half-open connections does not shut us."),
    value("net.ipv4.tcp_rfc1337", "1", "Old packets do not end new connections."),
];

#[derive(Template)]
#[template(path = "security/sysctl.conf", escape = "none")]
struct SysctlConf {
    values: Vec<Value>,
}

/// Kernel values that make attacks harder.
fn hardening(settings: &Settings, facts: &Facts, wishes: &mut Wishes) {
    // What a person sets in [common.sysctl] is theirs.
    let theirs: BTreeSet<String> =
        settings.common.sysctl.keys().map(|key| key.as_str().replace('/', ".")).collect();
    let mut values = Vec::new();
    if facts.container.is_empty() {
        values.extend(KERNEL);
    } else {
        wishes.note(format!(
            "this is a container ({}): kernel values that are not of its network are left to its host",
            facts.container
        ));
    }
    values.extend(NETWORK);
    values.retain(|value| !theirs.contains(value.key));
    let conf = text(&SysctlConf { values: values.clone() });
    wishes.want(File::new("/etc/sysctl.d/60-pitool-security.conf", conf));
    for value in &values {
        wishes.want(Sysctl::new(value.key, value.value));
    }
    let values = values.iter().map(|value| (value.key.to_owned(), value.value.to_owned())).collect();
    wishes.prove(KernelHardened { values });
}
