//! sshd_config(5) as sshd understands it, and the output of `sshd -T`.

use serde::Serialize;

use super::glob;
use crate::{Inspect, Result};

/// The main file.
pub const PATH: &str = "/etc/ssh/sshd_config";

/// How deep sshd follows `Include` (servconf.c, `SERVCONF_MAX_DEPTH`).
const MAX_DEPTH: usize = 16;

/// A configuration: every setting in the order in which sshd meets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SshdConfig {
    /// Settings for everybody.
    pub settings: Vec<Setting>,
    /// Settings in `Match` blocks. They are recorded, not judged.
    pub conditional: Vec<Conditional>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The keyword in lower case: sshd ignores case.
    pub keyword: String,
    /// Its arguments, without quotes.
    pub args: Vec<String>,
    /// The file it is in; empty for `sshd -T`.
    pub file: String,
    /// Its line.
    pub line: usize,
}

/// A line in a `Match` block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conditional {
    /// What follows `Match`.
    pub criteria: String,
    /// The line.
    pub setting: Setting,
}

impl Setting {
    /// The arguments as one text.
    pub fn value(&self) -> String {
        self.args.join(" ")
    }
}

impl SshdConfig {
    /// The setting of a keyword that counts: the first one (trap T14).
    pub fn get(&self, keyword: &str) -> Option<&Setting> {
        self.all(keyword).next()
    }

    /// All settings of a keyword; sshd adds them up for `Port`, `ListenAddress`, `HostKey`, `AcceptEnv`, `Allow…`,
    /// `Deny…` and `Subsystem`.
    pub fn all(&self, keyword: &str) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(move |setting| setting.keyword.eq_ignore_ascii_case(keyword))
    }

    /// The ports that sshd listens on: those of `Port` and of `ListenAddress`es that name one; 22 where neither does.
    /// Not in force while ssh.socket listens (trap T15).
    pub fn ports(&self) -> Vec<u16> {
        let own = |setting: &Setting| setting.args.first().and_then(|port| port.parse().ok());
        let mut ports: Vec<u16> = self.all("port").filter_map(own).collect();
        let addresses: Vec<Option<u16>> = self
            .all("listenaddress")
            .map(|setting| setting.args.first().and_then(|address| port_of(address)))
            .collect();
        // With addresses that all name their ports, `Port` has no effect.
        if !addresses.is_empty() && addresses.iter().all(Option::is_some) {
            ports.clear();
        } else if ports.is_empty() {
            ports.push(22);
        }
        ports.extend(addresses.into_iter().flatten());
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// The port of `host:port` or `[address]:port`.
fn port_of(address: &str) -> Option<u16> {
    match address.rsplit_once(':') {
        Some((host, port))
            if host.starts_with('[') == host.ends_with(']')
                && (host.starts_with('[') || !host.contains(':')) =>
        {
            port.parse().ok()
        }
        _ => None,
    }
}

/// Reads the configuration with all that it includes.
pub fn read(inspect: &dyn Inspect) -> Result<SshdConfig> {
    let load = |path: &str| -> Result<Option<String>> {
        let content = inspect.read(path)?;
        Ok(content.map(|content| String::from_utf8_lossy(content.bytes()).into_owned()))
    };
    let mut failed = None;
    let mut include = |pattern: &str| {
        let mut files = Vec::new();
        let read = glob::expand(inspect, pattern).and_then(|paths| {
            for path in paths {
                if let Some(text) = load(&path)? {
                    files.push((path, text));
                }
            }
            Ok(())
        });
        failed = failed.take().or(read.err());
        files
    };
    let config = parse(PATH, &load(PATH)?.unwrap_or_default(), &mut include);
    failed.map_or(Ok(config), Err)
}

/// Reads a file; `include` gives the files that match an absolute pattern, in order, with their texts.
pub fn parse(path: &str, text: &str, include: &mut dyn FnMut(&str) -> Vec<(String, String)>) -> SshdConfig {
    let mut config = SshdConfig::default();
    file(&mut config, path, text, None, include, 0);
    config
}

/// Reads what `sshd -T` prints: the same syntax, one effective value per line.
pub fn parse_effective(output: &str) -> SshdConfig {
    parse("", output, &mut |_| Vec::new())
}

fn file(
    config: &mut SshdConfig,
    path: &str,
    text: &str,
    // The criteria of the block that the `Include` was in; a block that begins in a file ends with it.
    outer: Option<&str>,
    include: &mut dyn FnMut(&str) -> Vec<(String, String)>,
    depth: usize,
) {
    let mut criteria = outer.map(str::to_owned);
    for (number, line) in text.lines().enumerate() {
        let mut args = words(line);
        if args.is_empty() {
            continue;
        }
        let keyword = args.remove(0).to_ascii_lowercase();
        match keyword.as_str() {
            "match" => {
                criteria = Some(args.join(" "));
                if args.len() == 1 && args[0].eq_ignore_ascii_case("all") {
                    criteria = outer.map(str::to_owned);
                }
            }
            "include" => {
                for pattern in args.iter().filter(|_| depth < MAX_DEPTH) {
                    let pattern = if pattern.starts_with('/') {
                        pattern.clone()
                    } else {
                        format!("/etc/ssh/{pattern}")
                    };
                    for (path, text) in include(&pattern) {
                        file(config, &path, &text, criteria.as_deref(), include, depth + 1);
                    }
                }
            }
            _ => {
                let setting = Setting { keyword, args, file: path.to_owned(), line: number + 1 };
                match &criteria {
                    Some(criteria) => {
                        config.conditional.push(Conditional { criteria: criteria.clone(), setting })
                    }
                    None => config.settings.push(setting),
                }
            }
        }
    }
}

/// Keyword and arguments: separated by blanks, the keyword also by `=`; double quotes; comments.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, tail) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted.split_once('"').unwrap_or((quoted, ""))
        } else {
            let ends = |c: char| c.is_whitespace() || (words.is_empty() && c == '=');
            rest.split_at(rest.find(ends).unwrap_or(rest.len()))
        };
        words.push(word.to_owned());
        rest = tail.trim_start();
        if words.len() == 1 {
            rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        }
    }
    words
}
