//! What the service pitool-monitor is to watch: derived from what the roles want, so that the two cannot disagree.

use pitool_config::Settings;
use pitool_config::settings::{Protocol, RulePolicy};
use pitool_config::values::{Port, Ports};
use pitool_engine::Resource;
use pitool_host::Facts;
use pitool_kinds::Kind;
use pitool_monitor::setup::{App, Expected, OpenPorts, Setup};

use crate::beside::beside;
use crate::role::ROLES;
use crate::security::may_filter;
use crate::wishes::Wishes;

/// What the service is to watch on a machine with this config.
pub fn setup(settings: &Settings, facts: &Facts) -> Setup {
    // What waits for a reboot now is running meanwhile and stays a promise: the service's file does not change with it.
    let facts = &Facts { kernel_modules: true, ..facts.clone() };
    let (settings, _) = beside(settings, facts);
    let all: Vec<Wishes> = ROLES.iter().map(|role| (role.wishes)(&settings, facts)).collect();
    of(&settings, facts, all.iter())
}

/// The same as [`setup`], for a caller who has asked every role already.
pub(crate) fn of<'w>(settings: &Settings, facts: &Facts, all: impl Iterator<Item = &'w Wishes>) -> Setup {
    if !may_filter(facts) {
        return setup(settings, facts);
    }
    let monitoring = &settings.monitoring;
    let mut units: Vec<String> = all
        .flat_map(|wishes| &wishes.resources)
        .filter_map(|kind| match kind {
            Kind::Unit(unit) if unit.wants_active() => Some(unit.id().name().to_owned()),
            _ => None,
        })
        .collect();
    units.sort_unstable();
    units.dedup();
    Setup {
        expected: expected(settings, facts, units),
        service: monitoring.service.clone(),
        limits: monitoring.limits.clone(),
        pings: monitoring.pings.clone(),
        alerts: monitoring.alerts.clone(),
    }
}

fn expected(settings: &Settings, facts: &Facts, units: Vec<String>) -> Expected {
    let security = &settings.security;
    let ssh = security.ssh.port.unwrap_or(Port::SSH);
    let mut ports = vec![OpenPorts { ports: Ports::one(ssh), tcp: true, udp: false }];
    let rules = settings
        .firewall_rules()
        .into_iter()
        .filter(|rule| !matches!(rule.policy, RulePolicy::Deny | RulePolicy::Reject));
    ports.extend(rules.map(|rule| OpenPorts {
        ports: rule.port,
        tcp: rule.protocol != Protocol::Udp,
        udp: rule.protocol != Protocol::Tcp,
    }));
    let apps = settings.apps.iter().map(|(name, site)| App {
        name: name.to_string(),
        host: site
            .server_name
            .first()
            .map(|name| name.as_str().replacen('*', "pitool", 1))
            .unwrap_or_default(),
        upstream: site.upstream.then(|| site.upstream_port.number()),
    });
    let backup = &settings.backup;
    let backup_sets = match backup.enabled {
        true => settings.backup_sets().into_keys().map(|name| name.to_string()).collect(),
        false => Vec::new(),
    };
    let disks = backup.disks.iter().filter(|(_, target)| target.enabled).map(|(name, _)| name);
    let ssh = backup.ssh.iter().filter(|(_, target)| target.enabled).map(|(name, _)| name);
    let s3 = backup.s3.iter().filter(|(_, target)| target.enabled).map(|(name, _)| name);
    let targets = disks.chain(ssh).chain(s3).map(ToString::to_string);
    Expected {
        container: facts.container.clone(),
        units,
        firewall: security.firewall.enabled,
        docker: settings.docker.enabled,
        web: settings.app.enabled && !facts.default_sites.contains_key(&80),
        automatic_updates: security.updates.enabled,
        ports,
        backup_sets,
        backup_targets: if settings.backup.enabled { targets.collect() } else { Vec::new() },
        certificate: settings.ssl.name().map(ToString::to_string),
        apps: apps.collect(),
    }
}

#[cfg(test)]
mod tests {
    use pitool_config::{Fragment, load};
    use pitool_host::Facts;

    use super::{of, setup};
    use crate::ROLES;

    fn units(config: &str) -> Vec<String> {
        let settings = load(&[Fragment::new("pitool.toml", config)]).unwrap().settings;
        setup(&settings, &Facts::default()).expected.units
    }

    /// Docker and the firewall wait for the reboot after a kernel upgrade; what runs is watched all the same.
    #[test]
    fn an_upgrade_of_the_kernel_changes_nothing() {
        let settings = load(&[Fragment::new("pitool.toml", "")]).unwrap().settings;
        let before = Facts { live: true, kernel_modules: true, ..Facts::default() };
        let after = Facts { kernel_modules: false, ..before.clone() };
        let all: Vec<_> = ROLES.iter().map(|role| (role.wishes)(&settings, &after)).collect();
        let watched = of(&settings, &after, all.iter());
        assert!(watched.expected.units.iter().any(|unit| unit == "docker.service"));
        assert_eq!(watched, setup(&settings, &before));
    }

    /// D15: health must not call a unit stopped that no run starts, nor pass over one that every run does.
    #[test]
    fn what_is_watched_is_what_the_roles_start() {
        let usual = units("");
        for unit in [
            "ssh.service",
            "docker.service",
            "nginx.service",
            "sysstat-collect.timer",
            "pitool-monitor.service",
        ] {
            assert!(usual.iter().any(|known| known == unit), "{unit}: {usual:?}");
        }
        assert!(usual.is_sorted());
        // cron is wanted where its package is, or a schedule needs it.
        let cron = |units: &[String]| units.iter().any(|unit| unit == "cron.service");
        assert!(!cron(&units("[common]\npackages = []\n[backup]\nenabled = false\n")));
        let by_cron = units("[common]\npackages = []\n[backup]\nschedule = \"cron\"\nenabled = true\n");
        assert!(cron(&by_cron), "{by_cron:?}");
        let timers =
            |units: &[String]| units.iter().filter(|unit| unit.starts_with("pitool-backup-machine")).count();
        assert_eq!(timers(&by_cron), 0, "the timers that it stops are not watched");
        assert_eq!(timers(&units("[backup]\nenabled = true\n")), 1);
        assert!(!units("[docker]\nenabled = false\n").iter().any(|unit| unit == "docker.service"));
    }
}
