//! Role monitoring, which replaces the Ansible role `monitoring`: tools, sysstat, the journal, log rotation.
//!
//! Where it differs on purpose:
//! - The script health_check.sh, which a person had to run and read, is a service that watches and tells, and `pitool health`.
//! - sysstat's timers run; the old role wrote the setting and left the service as it was.
//! - The journal has a place and a size (trap T28); the old role left it to the image, which keeps it in memory.
//! - Logs are rotated for every app, as the app's user, and logrotate has checked the rule.

use std::net::IpAddr;

use askama::Template;
use pitool_config::Settings;
use pitool_config::settings::{Journal, JournalStorage, Monitoring, Site};
use pitool_config::values::{AppName, Size};
use pitool_engine::{Resource, Stage};
use pitool_host::Facts;
use pitool_monitor::setup::{PATH, Setup};
use pitool_resources::{Check, Directory, Edit, File, Package, Part, Seed, Unit};

use crate::Wishes;
use crate::accounts;
use crate::proofs::{JournalKept, LogsRotated, MonitorAnswers, UnitRunning};
use crate::templates::text;

/// What the role wants, without the file that its service reads ([`reads`]): that depends on what all roles want.
pub fn wishes(settings: &Settings, facts: &Facts) -> Wishes {
    let monitoring = &settings.monitoring;
    let mut wishes = Wishes::default();
    for package in &monitoring.packages {
        wishes.want(Package::new(package.as_str()));
    }
    if monitoring.sysstat {
        sysstat(facts, &mut wishes);
    }
    journal(&monitoring.journal, &mut wishes);
    rotation(settings, &mut wishes);
    if monitoring.service.enabled {
        service(settings, &mut wishes);
    }
    wishes
}

/// The service.
const SERVICE: &str = "pitool-monitor.service";

/// The service's unit.
const UNIT: &str = "/etc/systemd/system/pitool-monitor.service";

#[derive(Template)]
#[template(path = "monitoring/pitool-monitor.service", escape = "none")]
struct MonitorUnit {
    textfile: Option<String>,
    local: bool,
    /// Seconds.
    watchdog: u64,
}

fn service(settings: &Settings, wishes: &mut Wishes) {
    let monitoring = &settings.monitoring;
    let pings = monitoring.pings.heartbeat_file.is_some();
    let sinks = !monitoring.alerts.sinks().is_empty();
    let unit = MonitorUnit {
        textfile: monitoring.service.textfile.as_ref().map(ToString::to_string),
        local: monitoring.service.listen.ip().is_loopback() && !pings && !sinks,
        watchdog: monitoring.service.interval.as_secs() + pitool_monitor::service::LONGEST.as_secs(),
    };
    let file = File::new(UNIT, text(&unit));
    // Only the id: what is in it is added when all roles were asked.
    let reads = [File::new(PATH, "").id(), file.id()];
    wishes.want(Directory::new("/etc/pitool"));
    wishes.want(file);
    if monitoring.page.enabled && settings.app.enabled {
        page(settings, wishes);
    }
    wishes.want(Unit::new(SERVICE).reads(reads));
    wishes.prove(UnitRunning { name: SERVICE.into() });
    wishes.prove(MonitorAnswers { address: address(monitoring) });
}

/// The file that the service reads.
pub(crate) fn reads(setup: &Setup) -> File {
    // What came from a config can be written as one; the snapshots would show an empty file.
    let text = format!(
        "# Managed by pitool (role monitoring). Edits are replaced; change /etc/pitool/pitool.toml instead.\n\
         # What the service pitool-monitor watches.\n{}",
        setup.to_toml().unwrap_or_default()
    );
    File::new(PATH, text)
}

/// Where this machine itself reaches the service.
fn address(monitoring: &Monitoring) -> String {
    let ip = monitoring.service.listen.ip();
    let port = monitoring.service.port;
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => format!("127.0.0.1:{port}"),
        IpAddr::V6(v6) if v6.is_unspecified() => format!("[::1]:{port}"),
        IpAddr::V4(v4) => format!("{v4}:{port}"),
        IpAddr::V6(v6) => format!("[{v6}]:{port}"),
    }
}

#[derive(Template)]
#[template(path = "monitoring/pitool-status.conf", escape = "none")]
struct StatusConf {
    address: String,
}

/// What the sites of the role app include where the status page is switched on.
pub(crate) const STATUS_SNIPPET: &str = "/etc/nginx/snippets/pitool-status.conf";

/// The snippet for nginx.
pub(crate) fn status_snippet(monitoring: &Monitoring) -> File {
    File::new(STATUS_SNIPPET, text(&StatusConf { address: address(monitoring) }))
}

fn page(settings: &Settings, wishes: &mut Wishes) {
    // nginx's workers read it, and nobody else. `{PLAIN}` is nginx's own word for a password that is not hashed: whoever may
    // read this file may read its log, too.
    let password = format!("pitool:{{PLAIN}}{}\n", Seed::RANDOM);
    wishes.want(Package::new("nginx").keeping("/etc/nginx"));
    wishes.want(Seed::new("/etc/nginx/pitool-status.htpasswd", password.into_bytes(), "root", "www-data"));
    let place = match settings.ssl.name() {
        Some(name) => format!("https://{name}/status/"),
        None => "/status/ of the bare address".to_owned(),
    };
    wishes.note(format!(
        "the status page is at {place}, user pitool; the password is in \
         /etc/nginx/pitool-status.htpasswd after `{{PLAIN}}`"
    ));
}

fn sysstat(facts: &Facts, wishes: &mut Wishes) {
    wishes.want(Package::new("sysstat"));
    // The package's own question reads its answer back from this line, so it survives upgrades.
    let line = Edit::Line { prefix: "ENABLED=".into(), line: "ENABLED=\"true\"".into() };
    let mut part = Part::new("/etc/default/sysstat", line);
    // There before the package, its script leaves everything enabled, instead of turning it all off for us to turn on
    // again. A new file is to the byte what that script writes: ucf would leave its own beside any other. Debian 12's
    // ucf does so even then.
    if facts.release != 12 {
        part = part.stage(Stage::Prepare).created_from(include_str!("../templates/monitoring/sysstat"));
    }
    wishes.want(part);
    // The timers do the work; the service only marks each boot.
    for name in ["sysstat.service", "sysstat-collect.timer", "sysstat-summary.timer"] {
        wishes.want(Unit::new(name));
    }
    wishes.prove(UnitRunning { name: "sysstat-collect.timer".into() });
}

#[derive(Template)]
#[template(path = "monitoring/60-pitool-journald.conf", escape = "none")]
struct JournaldConf {
    storage: &'static str,
    on_disk: Option<String>,
    in_memory: Option<String>,
    max_age: u64,
}

/// A size as journald.conf(5) writes it; its K, M and G are binary too.
fn journald_size(size: Size) -> String {
    let bytes = size.bytes();
    if bytes % (1 << 20) == 0 { format!("{}M", bytes >> 20) } else { bytes.to_string() }
}

fn journal(journal: &Journal, wishes: &mut Wishes) {
    let (storage, on_disk, in_memory) = match journal.storage {
        JournalStorage::Auto => ("auto", true, true),
        JournalStorage::Persistent => ("persistent", true, false),
        JournalStorage::Volatile => ("volatile", false, true),
    };
    let size = journald_size(journal.max_size);
    let conf = JournaldConf {
        storage,
        on_disk: on_disk.then(|| size.clone()),
        in_memory: in_memory.then_some(size),
        max_age: journal.max_age.as_secs(),
    };
    wishes.want(Directory::new("/etc/systemd/journald.conf.d"));
    // 60, because Raspberry Pi OS has a 40-rpi-volatile-storage.conf and the last file wins (trap T28).
    let file = File::new("/etc/systemd/journald.conf.d/60-pitool.conf", text(&conf));
    let units = ["systemd-journald.service", "systemd-journal-flush.service"]
        .map(|name| Unit::new(name).enabled_as_is().reads([file.id()]));
    wishes.want(file);
    if journal.storage == JournalStorage::Persistent {
        // As systemd's own tmpfiles.d makes it; members of the group may read what is written there.
        wishes.want(Directory::new("/var/log/journal").mode(0o2755).owner("root", "systemd-journal"));
    }
    // A journald that booted with its log in memory writes to disk only when it is told to flush.
    units.into_iter().for_each(|unit| wishes.want(unit));
    wishes.prove(JournalKept { storage });
}

#[derive(Template)]
#[template(path = "monitoring/logrotate", escape = "none")]
struct Logrotate<'a> {
    home: String,
    user: &'a str,
    group: &'a str,
    keep: u16,
}

impl<'a> Logrotate<'a> {
    fn of(app: &AppName, site: &'a Site) -> Self {
        Self {
            home: site.home(app).to_string(),
            user: site.user.as_str(),
            group: site.group().as_str(),
            keep: site.log_keep,
        }
    }
}

fn rotation(settings: &Settings, wishes: &mut Wishes) {
    if settings.apps.is_empty() {
        return;
    }
    wishes.want(Package::new("logrotate"));
    // logrotate refuses a rule for a user who does not exist yet.
    for user in accounts::of_apps(settings) {
        wishes.want(user);
    }
    for (app, site) in &settings.apps {
        let rule = Logrotate::of(app, site);
        wishes.prove(LogsRotated { pattern: format!("{}/logs/*.log", rule.home) });
        wishes.want(
            File::new(format!("/etc/logrotate.d/pitool-{app}"), text(&rule)).checked_by(Check::Logrotate),
        );
    }
    wishes.want(Unit::new("logrotate.timer"));
    wishes.prove(UnitRunning { name: "logrotate.timer".into() });
}
