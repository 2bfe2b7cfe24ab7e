//! What no single value can tell: values that do not go together, and what the person should know.

use std::collections::BTreeMap;

use crate::diagnostic::Severity;
use crate::found::Found;
use crate::settings::{Challenge, Retention, Settings, Site};
use crate::tree::{Node, Origin, Path, Step, Value};
use crate::values::{AppName, BackupName, nearest};

/// The names of the checks that alerts can be told otherwise of; pitool-monitor has a test that these are all of its own.
pub const CHECKS: [&str; 25] = [
    "cpu",
    "load",
    "memory",
    "swap",
    "disk",
    "inodes",
    "filesystem",
    "card",
    "temperature",
    "power",
    "clock",
    "units",
    "service",
    "docker",
    "container",
    "memory-limit",
    "ports",
    "web",
    "app",
    "certificate",
    "backup",
    "drill",
    "reboot",
    "updates",
    "config",
];

/// Checks the settings as a whole against the tree that they came from.
pub(crate) fn check(settings: &Settings, root: &Node, found: &mut Found<'_>) {
    let mut check = Check { settings, root, found };
    check.timezone();
    check.counts();
    check.fail2ban();
    check.users();
    check.daemon();
    check.apps();
    check.ssl();
    check.backup();
    check.monitoring();
}

struct Check<'a, 'b> {
    settings: &'a Settings,
    root: &'a Node,
    found: &'a mut Found<'b>,
}

impl Check<'_, '_> {
    /// The value at a path, unless it was not written or could not be read.
    fn written(&self, keys: &[&str]) -> Option<&Node> {
        let path = Path::of(keys);
        self.root.get(&path).filter(|_| !self.found.removed(&path))
    }

    fn timezone(&mut self) {
        let Some(node) = self.written(&["common", "timezone"]) else { return };
        let at = node.at.clone();
        if let (Value::Text(written), Some(zone)) = (&node.value, &self.settings.common.timezone) {
            // systemd and every zone file know UTC by this name, so it deserves no remark.
            if written != zone.as_str() && written != "UTC" {
                let message = format!("{written:?} is a legacy name of the time zone {:?}", zone.as_str());
                let hint = format!("write {:?}", zone.as_str());
                self.found.add(Severity::Warning, &at, message, Some(hint));
            }
        }
    }

    fn counts(&mut self) {
        let mut counts: Vec<(Vec<String>, u16)> = vec![
            (own(&["security", "fail2ban", "maxretry"]), self.settings.security.fail2ban.maxretry),
            (own(&["docker", "log_max_files"]), self.settings.docker.log_max_files),
            (own(&["backup", "retention", "minimum"]), self.settings.backup.retention.minimum),
        ];
        for (keys, retention) in self.retentions() {
            counts.push(([keys, own(&["retention", "minimum"])].concat(), retention.minimum));
        }
        for (name, site) in &self.settings.apps {
            counts.push((own(&["apps", name.as_str(), "log_keep"]), site.log_keep));
        }
        for (keys, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            if let Some(at) = self.written(&keys).map(|node| node.at.clone()) {
                self.found.add(Severity::Error, &at, "this must be at least 1", None);
            }
        }
    }

    fn fail2ban(&mut self) {
        let bans = &self.settings.security.fail2ban;
        if !bans.ban_growth || bans.bantime <= bans.bantime_max {
            return;
        }
        let path = ["security", "fail2ban"];
        if self.found.removed(&Path::of(&path)) {
            return;
        }
        let place =
            ["bantime_max", "bantime"].into_iter().find_map(|key| self.written(&[path[0], path[1], key]));
        if let Some(at) = place.map(|node| node.at.clone()) {
            let message =
                format!("bans of {} are longer than the longest ban of {}", bans.bantime, bans.bantime_max);
            self.found.add(Severity::Error, &at, message, Some("raise `bantime_max`".to_owned()));
        }
    }

    fn users(&mut self) {
        if let Some(at) = self.written(&["common", "users", "root"]).and_then(|node| node.key.clone()) {
            let message = "root is not a user to be made here";
            let hint = "name a person, with `sudo = true`".to_owned();
            self.found.add(Severity::Error, &at, message, Some(hint));
        }
        for (name, user) in &self.settings.common.users {
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            let path = Path::of(&["common", "users", name.as_str(), "authorized_keys"]);
            if self.found.removed(&path) {
                continue;
            }
            for (index, key) in user.authorized_keys.iter().enumerate() {
                let at = self.root.get(&path.join(Step::Index(index))).map(|node| node.at.clone());
                if let (Some(_), Some(at)) = (seen.insert(key.body(), index), at) {
                    self.found.add(Severity::Warning, &at, "this key is listed twice", None);
                }
            }
        }
    }

    fn daemon(&mut self) {
        let mut places = Vec::new();
        if let Some(node) = self.written(&["docker", "daemon"]) {
            not_finite(node, &mut places);
        }
        for at in places {
            self.found.add(Severity::Error, &at, "JSON, which Docker reads, has no such number", None);
        }
    }

    /// Where an app says something, or where the app itself is named.
    fn of_app(&self, name: &AppName, key: &str) -> Option<Origin> {
        let app = self.root.get(&Path::of(&["apps", name.as_str()]))?;
        let value = self.root.get(&Path::of(&["apps", name.as_str(), key]));
        Some(value.unwrap_or(app).place().clone())
    }

    fn apps(&mut self) {
        let apps = &self.settings.apps;
        self.unique("upstream_port", |_, site| {
            let port = site.upstream_port;
            site.upstream.then(|| (port.to_string(), format!("listen on port {port}"))).into_iter().collect()
        });
        self.unique("server_name", |_, site| {
            if site.server_name.is_empty() {
                return vec![(String::new(), "answer to every name that no other app has".to_owned())];
            }
            site.server_name
                .iter()
                .map(|name| (name.to_string(), format!("answer to the name {name}")))
                .collect()
        });
        self.unique("home", |name, site| {
            let home = site.home(name).to_string();
            vec![(home.clone(), format!("live in the directory {home}"))]
        });
        for (name, site) in apps {
            let path = Path::of(&["apps", name.as_str()]);
            if self.found.removed(&path) {
                continue;
            }
            if !site.upstream && site.root.is_none() {
                if let Some(at) = self.of_app(name, "upstream") {
                    let message = format!("the app `{name}` has neither an upstream nor a root");
                    let hint = "set `root` to a directory, or `upstream = true`".to_owned();
                    self.found.add(Severity::Error, &at, message, Some(hint));
                }
            }
            if let Some(whose) = not_its_own(site.home(name).as_str()) {
                if let Some(at) = self.of_app(name, "home") {
                    let message = format!("an app's home gets its own owner and mode, and this is {whose}");
                    let hint = format!("name a directory of its own, such as /opt/{name}");
                    self.found.add(Severity::Error, &at, message, Some(hint));
                }
            }
            if site.user.as_str() == "root" {
                if let Some(at) = self.of_app(name, "user") {
                    self.found.add(Severity::Error, &at, "an app's user cannot be root", None);
                }
            }
            if site.docker && !self.settings.docker.enabled {
                if let Some(at) = self.of_app(name, "docker") {
                    let message = format!("the app `{name}` wants Docker, and Docker is not enabled");
                    let hint = "set `enabled = true` in [docker]".to_owned();
                    self.found.add(Severity::Error, &at, message, Some(hint));
                }
            }
        }
        if !apps.is_empty() && !self.settings.app.enabled {
            if let Some(at) = self.root.get(&Path::of(&["app", "enabled"])).map(|node| node.at.clone()) {
                let message = "the web server is not enabled, so that no app is reachable";
                self.found.add(Severity::Warning, &at, message, None);
            }
        }
    }

    fn ssl(&mut self) {
        let ssl = &self.settings.ssl;
        let mut errors: Vec<(&str, String, &str)> = Vec::new();
        let dns = ssl.challenge == Challenge::Dns01;
        if let Some(wildcard) =
            ssl.domains.iter().find(|name| name.as_str().starts_with("*.")).filter(|_| !dns)
        {
            let message = format!("no CA gives a certificate for {wildcard} after an http-01 challenge");
            errors.push(("domains", message, "set `challenge = \"dns-01\"` and `dns_hook`"));
        }
        if dns && ssl.dns_hook.is_empty() && !ssl.domains.is_empty() {
            let message = "the challenge dns-01 needs a program that makes the record".to_owned();
            errors.push(("challenge", message, "set `dns_hook`"));
        }
        if !dns && !self.settings.app.enabled && !ssl.domains.is_empty() {
            let message = "the web server answers http-01 challenges, and it is not enabled".to_owned();
            errors.push(("domains", message, "set `enabled = true` in [app], or `challenge = \"dns-01\"`"));
        }
        for (one, other, set) in [
            ("eab_kid", "eab_hmac_file", (ssl.eab_kid.is_some(), ssl.eab_hmac_file.is_some())),
            ("eab_hmac_file", "eab_kid", (ssl.eab_hmac_file.is_some(), ssl.eab_kid.is_some())),
        ] {
            if set == (true, false) {
                errors.push((one, format!("`{one}` needs `{other}` beside it"), "the CA gives both"));
            }
        }
        let plain = ssl.directory.as_str().strip_prefix("http://").is_some_and(|rest| {
            !["127.0.0.1", "localhost", "[::1]"].iter().any(|local| rest.starts_with(local))
        });
        if plain {
            errors.push(("directory", "a CA is asked over https only".to_owned(), "start it with https://"));
        }
        if ssl.deploy_hooks.iter().any(Vec::is_empty) {
            errors.push((
                "deploy_hooks",
                "a hook without a program".to_owned(),
                "write [[\"program\", \"argument\"]]",
            ));
        }
        if let Some(twice) =
            ssl.domains.iter().enumerate().find(|(at, name)| ssl.domains[..*at].contains(name))
        {
            errors.push(("domains", format!("{} is listed twice", twice.1), "once is enough"));
        }
        for (key, message, hint) in errors {
            if let Some(at) = self.written(&["ssl", key]).map(|node| node.at.clone()) {
                self.found.add(Severity::Error, &at, message, Some(hint.to_owned()));
            }
        }
    }

    /// The targets of backups that have a retention of their own, each with its place.
    fn retentions(&self) -> Vec<(Vec<String>, Retention)> {
        let backup = &self.settings.backup;
        let mut found = Vec::new();
        let mut add = |kind: &str, name: &BackupName, retention: Option<Retention>| {
            found.extend(retention.map(|retention| (own(&["backup", kind, name.as_str()]), retention)));
        };
        backup.disks.iter().for_each(|(name, target)| add("disks", name, target.retention));
        backup.ssh.iter().for_each(|(name, target)| add("ssh", name, target.retention));
        backup.s3.iter().for_each(|(name, target)| add("s3", name, target.retention));
        found
    }

    fn backup(&mut self) {
        let backup = &self.settings.backup;
        if let (Some(whose), Some(at)) = (
            not_its_own(backup.directory.as_str()),
            self.written(&["backup", "directory"]).map(|node| node.at.clone()),
        ) {
            let message = format!("this directory is closed to all but root, and it is {whose}");
            let hint = "name a directory of its own, such as /srv/backups".to_owned();
            self.found.add(Severity::Error, &at, message, Some(hint));
        }
        let mut targets: Vec<(&str, &BackupName, &[BackupName])> = Vec::new();
        targets.extend(backup.disks.iter().map(|(name, target)| ("disks", name, target.sets.as_slice())));
        targets.extend(backup.ssh.iter().map(|(name, target)| ("ssh", name, target.sets.as_slice())));
        targets.extend(backup.s3.iter().map(|(name, target)| ("s3", name, target.sets.as_slice())));
        let sets: Vec<BackupName> =
            self.settings.backup_sets().into_keys().chain(backup.sets.keys().cloned()).collect();
        let mut seen: BTreeMap<&str, &str> = BTreeMap::from([("local", "directory")]);
        for (kind, name, wanted) in targets {
            let place =
                self.root.get(&Path::of(&["backup", kind, name.as_str()])).map(|node| node.place().clone());
            let Some(place) = place else { continue };
            if let Some(other) = seen.insert(name.as_str(), kind) {
                let message = match other {
                    "directory" => "`local` is the name of the archives on this machine".to_owned(),
                    other => format!("there is a target `{name}` in [backup.{other}] too"),
                };
                self.found.add(Severity::Error, &place, message, Some("give it another name".to_owned()));
            }
            for (index, set) in wanted.iter().enumerate().filter(|(_, set)| !sets.contains(set)) {
                let path = Path::of(&["backup", kind, name.as_str(), "sets"]).join(Step::Index(index));
                let at = self.root.get(&path).map_or(&place, |node| &node.at).clone();
                let known: Vec<&str> = sets.iter().map(BackupName::as_str).collect();
                let hint = match nearest(set.as_str(), known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "a set is a section [backup.sets.NAME]; `machine` is there by itself".to_owned(),
                };
                self.found.add(Severity::Error, &at, format!("there is no set `{set}`"), Some(hint));
            }
        }
        for (name, set) in &backup.sets {
            let path = Path::of(&["backup", "sets", name.as_str()]);
            let empty = set.paths.is_empty()
                && set.optional.is_empty()
                && set.databases.is_empty()
                && set.volumes.is_empty();
            if !empty || !set.enabled || self.found.removed(&path) {
                continue;
            }
            if let Some(at) = self.root.get(&path).map(|node| node.place().clone()) {
                let message = format!("nothing is saved in the set `{name}`");
                let hint = "set `paths`, `optional`, `databases` or `volumes`".to_owned();
                self.found.add(Severity::Error, &at, message, Some(hint));
            }
        }
        for (name, set) in &backup.sets {
            for (key, command) in [("before", &set.before), ("after", &set.after), ("check", &set.check)] {
                let absolute = command.first().is_none_or(|program| program.as_str().starts_with('/'));
                let at = self.written(&["backup", "sets", name.as_str(), key]).map(|node| node.at.clone());
                if let (false, Some(at)) = (absolute, at) {
                    let message = "a command begins with the absolute path of its program";
                    let hint = "no shell reads it; with one it is [\"/bin/sh\", \"-c\", \"…\"]".to_owned();
                    self.found.add(Severity::Error, &at, message, Some(hint));
                }
            }
        }
    }

    fn monitoring(&mut self) {
        let mut problems: Vec<(Vec<&str>, Severity, String, String)> = Vec::new();
        let monitoring = &self.settings.monitoring;
        let mail = &monitoring.alerts.mail;
        if mail.server.is_some() && mail.from.is_none() {
            problems.push((
                vec!["monitoring", "alerts", "mail", "server"],
                Severity::Error,
                "a mail needs a sender".to_owned(),
                "set `from` beside it".to_owned(),
            ));
        }
        for name in monitoring.alerts.checks.keys() {
            // The example stands for any name.
            if name.as_str() != "NAME" && !CHECKS.contains(&name.as_str()) {
                let near = crate::values::nearest(name.as_str(), CHECKS.into_iter());
                let hint = near.map_or_else(
                    || format!("the checks are {}", CHECKS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                let path = vec!["monitoring", "alerts", "checks", name.as_str()];
                problems.push((path, Severity::Warning, format!("there is no check `{name}`"), hint));
            }
        }
        let service = &monitoring.service;
        if !service.listen.ip().is_loopback() && service.allow.is_empty() {
            problems.push((
                vec!["monitoring", "service", "listen"],
                Severity::Warning,
                "others reach this address, and nobody but this machine is allowed to ask".to_owned(),
                "name them in `allow`, such as [\"192.168.1.0/24\"]".to_owned(),
            ));
        }
        let (limits, below) = (&monitoring.limits, "the warning comes after the failure");
        for (key, wrong) in [
            ("memory_warn", limits.memory_warn > limits.memory_fail),
            ("disk_warn", limits.disk_warn > limits.disk_fail),
            ("temperature_warn", limits.temperature_warn > limits.temperature_fail),
            ("certificate_warn", limits.certificate_warn < limits.certificate_fail),
            ("backup_warn", limits.backup_warn > limits.backup_fail),
        ] {
            if wrong {
                let hint = format!("set `{}` too", key.replace("_warn", "_fail"));
                problems.push((vec!["monitoring", "limits", key], Severity::Warning, below.to_owned(), hint));
            }
        }
        for (path, severity, message, hint) in problems {
            if let Some(at) = self.written(&path).map(|node| node.place().clone()) {
                self.found.add(severity, &at, message, Some(hint));
            }
        }
    }

    /// Says which apps claim the same thing; `claims` gives each app's claims: to compare, and in words.
    fn unique(&mut self, key: &str, claims: impl Fn(&AppName, &Site) -> Vec<(String, String)>) {
        let mut owners: BTreeMap<String, &AppName> = BTreeMap::new();
        for (name, site) in &self.settings.apps {
            if self.found.removed(&Path::of(&["apps", name.as_str(), key])) {
                continue;
            }
            for (claim, words) in claims(name, site) {
                let Some(first) = owners.get(&claim).filter(|first| **first != name) else {
                    owners.insert(claim, name);
                    continue;
                };
                let Some(at) = self.of_app(name, key) else { continue };
                let message = format!("the apps `{first}` and `{name}` both {words}");
                let hint = format!("give one of them another `{key}`");
                self.found.add(Severity::Error, &at, message, Some(hint));
            }
        }
    }
}

fn own(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// Collects the places of numbers that JSON does not have.
fn not_finite(node: &Node, places: &mut Vec<Origin>) {
    match &node.value {
        Value::Float(number) if !number.is_finite() => places.push(node.at.clone()),
        Value::List(items) => items.iter().for_each(|item| not_finite(item, places)),
        Value::Table(entries) => entries.values().for_each(|entry| not_finite(entry, places)),
        _ => {}
    }
}

/// Directories of hier(7) that everybody shares, so that nobody may take them for himself.
const SHARED: [&str; 35] = [
    "/",
    "/boot",
    "/boot/firmware",
    "/etc",
    "/home",
    "/lost+found",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/snap",
    "/srv",
    "/tmp",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/local/share",
    "/usr/local/src",
    "/var",
    "/var/backups",
    "/var/cache",
    "/var/lib",
    "/var/lib/pitool",
    "/var/local",
    "/var/lock",
    "/var/log",
    "/var/mail",
    "/var/opt",
    "/var/run",
    "/var/spool",
    "/var/tmp",
    "/var/www",
    "/var/www/html",
];

/// Directories that are the system's with all that is below them; what is local under /usr is not.
const SYSTEM: [&str; 9] = ["/bin", "/dev", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys"];

/// Whose a directory is that a program cannot have for itself; `None` where it can.
fn not_its_own(path: &str) -> Option<&'static str> {
    let below = |of: &str| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let system = SYSTEM.into_iter().any(below) || (below("/usr") && !below("/usr/local"));
    if system || SHARED.contains(&path) {
        return Some("the system's");
    }
    let home = path.strip_prefix("/home/").is_some_and(|name| !name.contains('/'));
    home.then_some("a user's home")
}

#[cfg(test)]
mod tests {
    use crate::{Fragment, Severity, load};

    fn problems(text: &str) -> Vec<(Severity, String)> {
        let found = match load(&[Fragment::new("t", text)]) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        found.into_iter().map(|problem| (problem.severity, problem.message)).collect()
    }

    #[test]
    fn what_does_not_go_together_in_monitoring() {
        assert!(problems("[monitoring.alerts.checks.disk]\nwait = \"15m\"\n").is_empty());
        let unknown = problems("[monitoring.alerts.checks.disc]\nwait = \"15m\"\n");
        assert_eq!(unknown, [(Severity::Warning, "there is no check `disc`".to_owned())]);
        assert_eq!(
            problems("[monitoring.alerts.mail]\nserver = \"mail.example.org\"\n")[0].0,
            Severity::Error
        );
        assert_eq!(problems("[monitoring.service]\nlisten = \"0.0.0.0\"\n")[0].0, Severity::Warning);
        assert_eq!(problems("[monitoring.limits]\ndisk_warn = 97\n")[0].0, Severity::Warning);
    }

    #[test]
    fn what_others_need_is_nobodys_own() {
        for path in
            ["/", "/etc", "/home", "/usr", "/usr/share/x", "/usr/local/bin", "/proc/1", "/var", "/root"]
        {
            assert_eq!(super::not_its_own(path), Some("the system's"), "{path}");
        }
        assert_eq!(super::not_its_own("/home/pi"), Some("a user's home"));
        for path in
            ["/home/pi/notes", "/opt/app", "/srv/x", "/usr/local/notes", "/var/backups/pitool", "/backup"]
        {
            assert_eq!(super::not_its_own(path), None, "{path}");
        }
        for (own, others) in [("/srv/x", "/home/pi"), ("/opt/x", "/etc")] {
            for key in ["[backup]\ndirectory", "[apps.x]\nhome"] {
                assert_eq!(problems(&format!("{key} = \"{own}\"\n")), []);
                assert_eq!(problems(&format!("{key} = \"{others}\"\n"))[0].0, Severity::Error, "{key}");
            }
        }
    }
}
