//! The package mirror of this host, and what apt in a box needs to reach it.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::process::tool;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from, as the host's own apt sources say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    main: String,
    security: Option<String>,
    components: String,
}

/// One line of a box's apt sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) uri: String,
    pub(crate) suite: String,
    pub(crate) components: String,
}

impl Source {
    /// Renders the one-line form.
    pub(crate) fn line(&self) -> String {
        let signed =
            if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        format!("deb {signed}{} {} {}", self.uri, self.suite, self.components)
    }

    /// Renders the deb822 form, as the current Debian images and Raspberry Pi OS have it.
    pub(crate) fn stanza(&self) -> String {
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\nSigned-By: {KEYRING}\n",
            self.uri, self.suite, self.components
        )
    }
}

impl Mirror {
    /// Reads the mirror from the host's apt sources; `PITOOL_MIRROR` names one where the host is not Debian.
    pub(crate) fn of_this_host() -> Result<Self> {
        if let Ok(uri) = std::env::var("PITOOL_MIRROR") {
            return Ok(Self { main: uri, security: None, components: "main".into() });
        }
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |key: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        if field("ID") == "debian" {
            let sources = sources_of_this_host();
            if let Some(mirror) = Self::choose(&sources, &field("VERSION_CODENAME")) {
                return Ok(mirror);
            }
        }
        bail!(
            "no Debian mirror in this host's apt sources; name one, for example PITOOL_MIRROR=http://…/debian"
        )
    }

    fn choose(sources: &[Source], codename: &str) -> Option<Self> {
        let names = [codename, "stable", "testing", "sid", "unstable"];
        let main = sources
            .iter()
            .filter(|source| names.contains(&source.suite.as_str()))
            .find(|source| source.components.split(' ').any(|component| component == "main"))?;
        let security = sources.iter().find(|source| source.suite.ends_with("-security"));
        Some(Self {
            main: main.uri.clone(),
            security: security.map(|source| source.uri.clone()),
            components: main.components.clone(),
        })
    }

    /// Lists the sources of a release: itself, its updates and its security fixes, as far as the mirror has them.
    pub(crate) fn sources(&self, codename: &str) -> Vec<Source> {
        let mut found = vec![self.release(codename)];
        let extras = [
            Some(self.source(&self.main, format!("{codename}-updates"))),
            self.security.as_ref().map(|uri| self.source(uri, format!("{codename}-security"))),
        ];
        found.extend(extras.into_iter().flatten().filter(offered));
        found
    }

    /// The release alone, as its last point release left it.
    pub(crate) fn release(&self, codename: &str) -> Source {
        self.source(&self.main, codename.to_owned())
    }

    fn source(&self, uri: &str, suite: String) -> Source {
        Source { uri: uri.trim_end_matches('/').into(), suite, components: self.components.clone() }
    }
}

/// Asks the mirror for the suite's index, with apt's own downloader so that apt's proxy settings hold.
fn offered(source: &Source) -> bool {
    let target = std::env::temp_dir().join(format!("pitool-lab-probe-{}", std::process::id()));
    let address = format!("{}/dists/{}/InRelease", source.uri, source.suite);
    let arguments = ["download-file", &address, &target.display().to_string()];
    let answer = tool("/usr/lib/apt/apt-helper", arguments);
    let _ = fs::remove_file(&target);
    answer.is_ok()
}

fn sources_of_this_host() -> Vec<Source> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(one_line(&text)),
            Some("sources") => found.extend(deb822(&text)),
            _ => {}
        }
    }
    found
}

fn one_line(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim().strip_prefix("deb ") else { continue };
        let rest = rest.trim_start();
        let rest =
            if rest.starts_with('[') { rest.split_once(']').map_or("", |(_, after)| after) } else { rest };
        let mut words = rest.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else { continue };
        let components = words.collect::<Vec<_>>().join(" ");
        found.push(Source { uri: uri.into(), suite: suite.into(), components });
    }
    found
}

fn deb822(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in plain.split(|line| line.trim().is_empty()) {
        let words = |key: &str| -> Vec<&str> {
            let mut values = Vec::new();
            let mut inside = false;
            for line in stanza {
                if line.starts_with([' ', '\t']) {
                    if inside {
                        values.extend(line.split_whitespace());
                    }
                } else if let Some((name, value)) = line.split_once(':') {
                    inside = name.eq_ignore_ascii_case(key);
                    if inside {
                        values.extend(value.split_whitespace());
                    }
                }
            }
            values
        };
        if words("Enabled") == ["no"] || !words("Types").contains(&"deb") {
            continue;
        }
        let components = words("Components").join(" ");
        for uri in words("URIs") {
            for suite in words("Suites") {
                found.push(Source { uri: uri.into(), suite: suite.into(), components: components.clone() });
            }
        }
    }
    found
}

/// Collects the settings without which apt cannot reach the host's mirror: proxies and clock checks.
///
/// Passwords for a mirror (`auth.conf`) stay on the host: a box is a place where tests write logs.
pub(crate) fn apt_settings(gateway: Option<&str>) -> Vec<String> {
    let wanted = [
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::Max-FutureTime",
        "Acquire::ForceIPv4",
    ];
    let dump = tool("apt-config", ["dump"]).unwrap_or_default();
    let mut found: Vec<String> = dump
        .lines()
        .filter(|line| {
            wanted.iter().any(|key| line.starts_with(&format!("{key} ")) || proxy_for_host(line, key))
        })
        .filter(|line| !line.ends_with(" \"\";"))
        .map(str::to_owned)
        .collect();
    for (variable, key) in [("http_proxy", wanted[0]), ("https_proxy", wanted[1])] {
        let value = std::env::var(variable).or_else(|_| std::env::var(variable.to_uppercase()));
        if let Ok(value) = value {
            if !found.iter().any(|line| line.starts_with(&format!("{key} "))) {
                found.push(format!("{key} \"{value}\";"));
            }
        }
    }
    if let Some(gateway) = gateway {
        for line in &mut found {
            *line = line.replace("//127.0.0.1:", &format!("//{gateway}:"));
            *line = line.replace("//localhost:", &format!("//{gateway}:"));
        }
    }
    found
}

fn proxy_for_host(line: &str, key: &str) -> bool {
    key.ends_with("Proxy") && line.starts_with(&format!("{key}::"))
}

/// Reads the resolver configuration a box can use: a stub on the host's loopback means nothing in there.
pub(crate) fn resolver() -> String {
    let plain = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = |text: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix("nameserver "))
            .map(|s| s.trim().to_owned())
            .collect()
    };
    let own: Vec<String> = servers(&plain);
    if own.iter().all(|server| server.starts_with("127.")) {
        if let Ok(upstream) = fs::read_to_string("/run/systemd/resolve/resolv.conf") {
            return upstream;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str, components: &str) -> Source {
        Source { uri: uri.into(), suite: suite.into(), components: components.into() }
    }

    #[test]
    fn both_forms_of_sources_read_the_same() {
        let line = "# a mirror\ndeb [signed-by=/k arch=amd64] http://m/debian trixie main contrib # why\n\
                    deb-src http://m/debian trixie main\ndeb http://m/security trixie-security main contrib\n";
        let stanza = "# a mirror\nTypes: deb deb-src\n# an old address\nURIs: http://m/debian\nSuites: trixie\n\
                      Components: main\n contrib\n\nEnabled: no\nTypes: deb\nURIs: http://off/\nSuites: x\n\n\
                      Types: deb\nURIs: http://m/security\nSuites: trixie-security\nComponents: main contrib\n";
        let expected = vec![
            source("http://m/debian", "trixie", "main contrib"),
            source("http://m/security", "trixie-security", "main contrib"),
        ];
        assert_eq!(one_line(line), expected);
        assert_eq!(deb822(stanza), expected);
    }

    #[test]
    fn the_mirror_is_the_one_of_the_hosts_own_release() {
        let sources = [
            source("http://third/party", "nodistro", "main"),
            source("http://m/debian", "bookworm", "main"),
            source("http://m/security", "bookworm-security", "main"),
        ];
        let mirror = Mirror::choose(&sources, "bookworm").unwrap();
        assert_eq!(
            (mirror.main.as_str(), mirror.security.as_deref()),
            ("http://m/debian", Some("http://m/security"))
        );
        assert_eq!(Mirror::choose(&sources, "noble"), None);
    }
}
