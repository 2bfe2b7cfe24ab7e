//! apt's sources, sources.list(5): the one-line style of `*.list` and the deb822 style of `*.sources`.

use serde::Serialize;

use crate::{Inspect, Result};

/// One entry: a line or a stanza.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// `deb`, `deb-src` or both.
    pub types: Vec<String>,
    /// Where from.
    pub uris: Vec<String>,
    /// Suites or codenames; one that ends with `/` is an exact path.
    pub suites: Vec<String>,
    /// Components: `main`, `contrib`.
    pub components: Vec<String>,
    /// Architectures, empty for all that dpkg knows.
    pub architectures: Vec<String>,
    /// The file with the key (or fingerprints); a whole inline key; empty for the keys that apt trusts for everything.
    pub signed_by: String,
    /// Whether signatures are not looked at (`trusted=yes`).
    pub trusted: bool,
    /// Whether it is used; only stanzas can be switched off.
    pub enabled: bool,
}

/// All entries of a machine with the files that they are in, in apt's order.
pub fn read(inspect: &dyn Inspect) -> Result<Vec<(String, Source)>> {
    let mut paths = vec!["/etc/apt/sources.list".to_owned()];
    let directory = "/etc/apt/sources.list.d";
    let names = inspect.list(directory)?.unwrap_or_default();
    paths.extend(names.iter().filter(|name| is_read(name)).map(|name| format!("{directory}/{name}")));
    let mut sources = Vec::new();
    for path in paths {
        let Some(content) = inspect.read(&path)? else { continue };
        let text = String::from_utf8_lossy(content.bytes());
        let entries = if path.ends_with(".sources") { parse_stanzas(&text) } else { parse_lines(&text) };
        sources.extend(entries.into_iter().map(|source| (path.clone(), source)));
    }
    Ok(sources)
}

/// Whether apt reads a file of this name in sources.list.d: letters, digits, `_`, `-` and `.` and one of two suffixes.
pub fn is_read(name: &str) -> bool {
    (name.ends_with(".list") || name.ends_with(".sources"))
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Reads the one-line style: `deb [ option=value … ] uri suite [component …]`. Other lines are passed over.
pub fn parse_lines(text: &str) -> Vec<Source> {
    text.lines().filter_map(|line| one_line(line.split('#').next().unwrap_or_default())).collect()
}

fn one_line(line: &str) -> Option<Source> {
    let (kind, mut rest) = line.trim().split_once(char::is_whitespace)?;
    if !matches!(kind, "deb" | "deb-src") {
        return None;
    }
    let mut source = Source { types: vec![kind.to_owned()], enabled: true, ..Source::default() };
    rest = rest.trim_start();
    if let Some(options) = rest.strip_prefix('[') {
        let (options, tail) = options.split_once(']')?;
        rest = tail;
        for (name, value) in options.split_whitespace().filter_map(|option| option.split_once('=')) {
            match name.to_ascii_lowercase().as_str() {
                "arch" => source.architectures = list(&value.replace(',', " ")),
                "signed-by" => value.clone_into(&mut source.signed_by),
                "trusted" => source.trusted = yes(value),
                _ => {}
            }
        }
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    source.uris.push(words.next()?);
    source.suites.push(words.next()?);
    source.components.extend(words);
    Some(source)
}

/// Reads the deb822 style. A stanza without types, URIs or suites is passed over.
pub fn parse_stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                // An inline key has ` .` for its empty lines.
                let more = line.trim();
                value.push('\n');
                value.push_str(if more == "." { "" } else { more });
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn stanza(fields: &[(String, String)]) -> Option<Source> {
    let field =
        |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());
    let source = Source {
        types: list(field("types")),
        uris: list(field("uris")),
        suites: list(field("suites")),
        components: list(field("components")),
        architectures: list(field("architectures")),
        signed_by: field("signed-by").trim().to_owned(),
        trusted: yes(field("trusted")),
        enabled: !no(field("enabled")),
    };
    let complete = !source.types.is_empty() && !source.uris.is_empty() && !source.suites.is_empty();
    complete.then_some(source)
}

fn list(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

/// apt's own words for true and false (apt-pkg `StringToBool`).
fn yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "with" | "on" | "enable" | "1")
}

fn no(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "without" | "off" | "disable" | "0")
}
