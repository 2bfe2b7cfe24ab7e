//! The way from the Ansible deployment that pitool replaces: an inventory and its variables become a config.
//!
//! Every variable is either a key of the config, or a line that is commented out because its section comes with a
//! later version, or named in a [`Note`] that says what becomes of it. Nothing is dropped in silence, and nothing
//! that is encrypted is decoded.

mod backup;
mod inventory;
mod note;
mod template;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use self::note::Note;

use self::inventory::{Inventory, Variable, Variables};
use self::yaml::Value;
use crate::values::{AppName, TimeZone, nearest};
use crate::{Diagnostic, Fragment, Severity, load};

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// A config that loads without an error.
    pub toml: String,
    /// What became of whatever is not in it, and what the person should know, in the order of the files.
    pub notes: Vec<Note>,
}

/// What becomes of a variable.
enum Fate {
    /// A key of this section.
    Key(&'static str, &'static str, Form),
    /// A key of the app.
    App(&'static str, Form),
    /// The name of the app.
    AppName,
    /// The host names of the app, and of the certificate.
    Domain,
    /// Something that has no use any more; why.
    Gone(&'static str),
    /// Something about backups that takes more than one variable, or more than a name.
    Backup,
    /// Something that the fleet will know about this host.
    Fleet,
    /// A setting of Ansible itself, which pitool has no use for.
    Ansible,
    /// Nothing that is known here.
    Unknown,
}

/// How the value of a key is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    Bool,
    RootLogin,
    TimeZone,
    /// An age in days after which archives were deleted, as a number of archives: one for each of so many days, and
    /// so many more, because both ends count and a month's last archive is a day older than the next month's first.
    Days(u64, u64),
    /// A number of this unit.
    Span(&'static str),
    /// Whether it is Let's Encrypt's directory for trying things out.
    Staging,
}

/// The variables of the old deployment whose names are not a family, each with its key.
const KEYS: [(&str, &str, &str, Form); 16] = [
    ("server_timezone", "common", "timezone", Form::TimeZone),
    ("server_locale", "common", "locale", Form::Text),
    ("ssh_port", "security.ssh", "port", Form::Number),
    ("ssh_permit_root_login", "security.ssh", "permit_root_login", Form::RootLogin),
    ("ssh_password_authentication", "security.ssh", "password_authentication", Form::Bool),
    ("admin_email", "ssl", "email", Form::Text),
    ("certbot_staging", "ssl", "directory", Form::Staging),
    ("ssl_expiry_warning_days", "ssl", "warning", Form::Span("d")),
    ("ssl_hsts_enabled", "ssl", "hsts", Form::Bool),
    ("ssl_hsts_max_age", "ssl", "hsts_max_age", Form::Span("s")),
    ("ssl_hsts_include_subdomains", "ssl", "hsts_subdomains", Form::Bool),
    ("ssl_hsts_preload", "ssl", "hsts_preload", Form::Bool),
    ("backup_base_dir", "backup", "directory", Form::Text),
    ("backup_retention_daily", "backup.retention", "daily", Form::Days(1, 1)),
    ("backup_retention_weekly", "backup.retention", "weekly", Form::Days(7, 1)),
    ("backup_retention_monthly", "backup.retention", "monthly", Form::Days(28, 2)),
];

/// The variables that belong to the app.
const APP_KEYS: [(&str, &str, Form); 7] = [
    ("app_user", "user", Form::Text),
    ("app_group", "group", Form::Text),
    ("app_home", "home", Form::Text),
    ("app_root_dir", "root", Form::Text),
    ("app_upstream_port", "upstream_port", Form::Number),
    ("grist_data_dir", "grist_data_dir", Form::Text),
    ("deployment_env", "deployment", Form::Text),
];

/// The variables that have no use any more, each with why.
const GONE: [(&str, &str); 3] = [
    ("ssl_protocols", "the sites follow Mozilla's guideline: `tls` in [ssl] chooses which part"),
    ("ssl_ciphers", "the sites follow Mozilla's guideline: `tls` in [ssl] chooses which part"),
    ("ssl_ocsp_stapling", "no CA answers OCSP any more"),
];

/// What Ansible needs to reach a host.
const FLEET: [&str; 3] = ["ansible_host", "ansible_user", "ansible_port"];

/// The largest file that is read.
const LARGEST: usize = 1 << 20;

/// The app of a deployment that names none.
const OLD_APP: &str = "flutter_grist_app";

fn fate(name: &str) -> Fate {
    if let Some((_, section, key, form)) = KEYS.iter().find(|(variable, ..)| *variable == name) {
        return Fate::Key(section, key, *form);
    }
    if let Some((_, key, form)) = APP_KEYS.iter().find(|(variable, ..)| *variable == name) {
        return Fate::App(key, *form);
    }
    if let Some((_, why)) = GONE.iter().find(|(variable, _)| *variable == name) {
        return Fate::Gone(why);
    }
    match name {
        "app_name" => Fate::AppName,
        "domain_name" => Fate::Domain,
        "backup_cron_hour" | "backup_cron_minute" | "app_config_dir" => Fate::Backup,
        name if name.starts_with("remote_backup_") || name.starts_with("cloud_backup_") => Fate::Backup,
        name if FLEET.contains(&name) => Fate::Fleet,
        name if name.starts_with("ansible_") => Fate::Ansible,
        _ => Fate::Unknown,
    }
}

/// Turns an Ansible inventory and its variables into a config.
///
/// The files are `hosts.yml`, `group_vars/*.yml` and `host_vars/*.yml` as far as there are any, known by their paths;
/// any other file of variables wins over them, as one given with `-e` does. Without `host`, the first host counts
/// where hosts disagree, and a note says so.
///
/// # Errors
/// A file that is not UTF-8 or not YAML, or a host that is not in the inventory.
pub fn import(files: &[Fragment], host: Option<&str>) -> Result<Imported, Vec<Diagnostic>> {
    if let Some(file) = files.iter().find(|file| file.bytes.len() > LARGEST) {
        let message =
            format!("the file has more than {} KiB, which no inventory and no variables have", LARGEST >> 10);
        // Without the text: its lines may be as long as it is.
        let named = Fragment::new(file.path.clone(), Vec::new());
        return Err(vec![Diagnostic::new(Severity::Error, &named, 0..1, message, None)]);
    }
    let mut notes = Vec::new();
    let inventory = Inventory::read(files, &mut notes)?;
    if let (Some(host), Some(file)) = (host, files.first()) {
        if !inventory.hosts.iter().any(|known| known == host) {
            let hint = match inventory.hosts.is_empty() {
                true => "there is no host in these files".to_owned(),
                false => format!("the hosts are {}", inventory.hosts.join(", ")),
            };
            let message = format!("the host `{host}` is not in the inventory");
            return Err(vec![Diagnostic::new(Severity::Error, file, 0..1, message, Some(hint))]);
        }
    }
    for path in inventory.unused() {
        notes.push(Note::new(path, 1, "no host of the inventory is in this group: not imported"));
    }
    let chosen = host.or(inventory.hosts.first().map(String::as_str));
    let variables = inventory.variables(chosen);
    if host.is_none() {
        disagreements(&inventory, &variables, &mut notes);
    }
    let mut import =
        Import { variables: &variables, host: chosen, notes, lines: Vec::new(), later: BTreeMap::new() };
    import.all();
    import.fleet(&inventory);
    let toml = import.write(chosen);
    let mut notes = import.notes;
    let order = |note: &Note| (files.iter().position(|file| file.path == note.path), note.line);
    notes.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.message.cmp(&b.message)));
    notes.dedup();
    Ok(Imported { toml, notes })
}

/// Names the variables for which not every host has the same value.
fn disagreements(inventory: &Inventory, first: &Variables, notes: &mut Vec<Note>) {
    let others: Vec<(&String, Variables)> =
        inventory.hosts.iter().skip(1).map(|host| (host, inventory.variables(Some(host)))).collect();
    let names: BTreeSet<&String> =
        others.iter().flat_map(|(_, other)| other.keys()).chain(first.keys()).collect();
    for name in names.into_iter().filter(|name| !name.starts_with("ansible_")) {
        let ours = first.get(name);
        let differing =
            others.iter().find(|(_, theirs)| theirs.get(name).map(|v| &v.value) != ours.map(|v| &v.value));
        let Some((host, theirs)) = differing else { continue };
        let Some(place) = theirs.get(name).or(ours) else { continue };
        let taken = match (ours, inventory.hosts.first()) {
            (Some(_), Some(first)) => format!("the value of `{first}` is taken"),
            _ => "it is left out, because the first host has none".to_owned(),
        };
        let message =
            format!("the hosts disagree on `{name}` (see `{host}`): {taken}; name a host to choose");
        notes.push(Note::new(&place.path, place.line, message));
    }
}

/// A key that the config gets.
struct Line {
    section: String,
    key: String,
    value: String,
    name: String,
    path: PathBuf,
    line: usize,
}

impl Line {
    /// The variable that it came from, and where that stands.
    fn place(&self) -> String {
        format!("{} ({}:{})", self.name, self.path.display(), self.line)
    }
}

struct Import<'a> {
    variables: &'a Variables,
    host: Option<&'a str>,
    notes: Vec<Note>,
    lines: Vec<Line>,
    later: BTreeMap<String, Vec<String>>,
}

impl Import<'_> {
    fn note(&mut self, variable: &Variable, message: impl Into<String>) {
        self.notes.push(Note::new(&variable.path, variable.line, message));
    }

    /// Resolves what is in `{{ }}`; what cannot be is named, as are values that are empty or encrypted.
    fn resolve(&mut self, name: &str, variable: &Variable) -> Option<Value> {
        match template::resolve(&variable.value, self.variables, self.host) {
            Err(expression) => {
                let message =
                    format!("`{name}` depends on `{{{{ {expression} }}}}`, which is not known: not imported");
                self.note(variable, message);
                None
            }
            Ok(value) if value.has_vault() => {
                let message =
                    format!("`{name}` is encrypted with Ansible Vault: not imported, and not decoded");
                self.note(variable, message);
                None
            }
            Ok(Value::Null) => {
                self.note(variable, format!("`{name}` is empty: not imported"));
                None
            }
            Ok(Value::Text(text)) if text.trim().is_empty() => {
                self.note(variable, format!("`{name}` is empty: not imported"));
                None
            }
            Ok(value) => Some(value),
        }
    }

    fn all(&mut self) {
        let app = self.app_name();
        self.backup(&app);
        for (name, variable) in self.variables {
            match fate(name) {
                Fate::Key(section, key, form) => self.key(section, key, form, name, variable),
                Fate::App(key, form) => self.key(&format!("apps.{app}"), key, form, name, variable),
                Fate::AppName => {}
                Fate::Domain => self.domain(&format!("apps.{app}"), name, variable),
                Fate::Backup => {}
                Fate::Fleet => {}
                Fate::Gone(why) => self.note(variable, format!("`{name}` is not needed any more: {why}")),
                Fate::Ansible => {
                    self.note(
                        variable,
                        format!("`{name}` is a setting of Ansible: pitool has no use for it"),
                    );
                }
                Fate::Unknown => {
                    let known = KEYS
                        .iter()
                        .map(|(known, ..)| *known)
                        .chain(APP_KEYS.iter().map(|(known, ..)| *known));
                    let near = nearest(name, known.chain(["app_name", "domain_name", "admin_email"]));
                    let hint = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
                    let vault =
                        if variable.value.has_vault() { ", encrypted with Ansible Vault" } else { "" };
                    self.note(variable, format!("unknown variable `{name}`{vault}: not imported{hint}"));
                }
            }
        }
    }

    /// Finds a name for the app that is a valid one.
    fn app_name(&mut self) -> String {
        let Some(variable) = self.variables.get("app_name") else {
            let of_app = |name: &String| matches!(fate(name), Fate::App(..) | Fate::Domain);
            if let Some((_, variable)) = self.variables.iter().find(|(name, _)| of_app(name)) {
                self.note(
                    variable,
                    format!("no `app_name` is set: the app is called `{OLD_APP}` as in the old roles"),
                );
            }
            return OLD_APP.to_owned();
        };
        let name = match self.resolve("app_name", variable) {
            Some(Value::Text(name)) => name,
            _ => return OLD_APP.to_owned(),
        };
        let lower = name.to_lowercase();
        let plain: String =
            lower.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let plain = match plain.trim_start_matches(['_', '-']) {
            trimmed if trimmed.parse::<AppName>().is_ok() => trimmed.to_owned(),
            _ => OLD_APP.to_owned(),
        };
        if plain != name {
            self.note(
                variable,
                format!("the app `{name}` is called `{plain}`, because a name here is of small letters"),
            );
        }
        self.push(&format!("apps.{plain}"), "", String::new(), "app_name", variable);
        let home = self.variables.contains_key("app_home");
        if !home && plain != OLD_APP {
            let message = format!("no `app_home` is set: the app's directory is /opt/{plain}");
            self.note(variable, message);
        }
        plain
    }

    fn push(&mut self, section: &str, key: &str, value: String, name: &str, variable: &Variable) {
        self.lines.push(Line {
            section: section.to_owned(),
            key: key.to_owned(),
            value,
            name: name.to_owned(),
            path: variable.path.clone(),
            line: variable.line,
        });
    }

    fn key(&mut self, section: &str, key: &str, form: Form, name: &str, variable: &Variable) {
        let Some(value) = self.resolve(name, variable) else { return };
        let Value::Text(text) = value else {
            self.note(
                variable,
                format!("`{name}` is a list or a mapping, and should be one value: not imported"),
            );
            return;
        };
        let text = text.trim();
        let written = match form {
            Form::Span(unit) => quoted(&format!("{text}{unit}")),
            Form::Staging => match boolean(text) {
                Some(false) => quoted("https://acme-v02.api.letsencrypt.org/directory"),
                Some(true) => quoted("https://acme-staging-v02.api.letsencrypt.org/directory"),
                None => quoted(text),
            },
            Form::Text => quoted(text),
            Form::Number => text.parse::<i64>().map_or_else(|_| quoted(text), |number| number.to_string()),
            Form::Bool => boolean(text).map_or_else(|| quoted(text), |value| value.to_string()),
            Form::RootLogin => match (boolean(text), text) {
                (Some(true), _) => quoted("yes"),
                (Some(false), _) => quoted("no"),
                (None, "without-password") => quoted("prohibit-password"),
                (None, text) => quoted(text),
            },
            Form::Days(each, more) => match text.parse::<u64>() {
                Ok(days) => {
                    let number = days / each + more;
                    let message = format!(
                        "`{name}` was an age of {days} days: `{key} = {number}` keeps at least what that left"
                    );
                    self.note(variable, message);
                    number.to_string()
                }
                Err(_) => quoted(text),
            },
            Form::TimeZone => match text.parse::<TimeZone>() {
                Ok(zone) => {
                    if zone.as_str() != text {
                        let message = format!("the time zone {text} is called {zone} now: imported as that");
                        self.note(variable, message);
                    }
                    quoted(zone.as_str())
                }
                Err(_) => quoted(text),
            },
        };
        self.push(section, key, written, name, variable);
    }

    fn domain(&mut self, section: &str, name: &str, variable: &Variable) {
        let Some(value) = self.resolve(name, variable) else { return };
        let names: Vec<String> = match &value {
            Value::Text(text) => text.split([' ', ',']).filter(|name| !name.is_empty()).map(quoted).collect(),
            Value::List(items) => items.iter().map(Value::written).collect(),
            _ => Vec::new(),
        };
        self.push(section, "server_name", format!("[{}]", names.join(", ")), name, variable);
        let (public, local): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| is_public(name.trim_matches('"')));
        if !local.is_empty() {
            let message = format!(
                "no public authority gives a certificate for {}: its site stays on plain HTTP",
                local.join(", ")
            );
            self.note(variable, message);
        }
        if !public.is_empty() {
            self.push("ssl", "domains", format!("[{}]", public.join(", ")), name, variable);
        }
    }

    /// Keeps what is known about reaching the hosts.
    fn fleet(&mut self, inventory: &Inventory) {
        for host in &inventory.hosts {
            let variables = inventory.variables(Some(host));
            for name in FLEET {
                let Some(variable) = variables.get(name) else { continue };
                let Some(value) = self.resolve(name, variable) else { continue };
                let place = format!("{}:{}", variable.path.display(), variable.line);
                let line = format!("{host}.{name} = {}  # {place}", value.written());
                self.later.entry("fleet".to_owned()).or_default().push(line);
                let message = format!(
                    "`{name}` belongs to [fleet], which comes with a later version: kept as a comment"
                );
                self.note(variable, message);
            }
        }
    }

    /// Writes the config; a line that does not load becomes a comment, with a note.
    fn write(&mut self, host: Option<&str>) -> String {
        self.lines.sort_by(|a, b| (order(&a.section), &a.section).cmp(&(order(&b.section), &b.section)));
        let mut refused: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let (text, at) = self.text(host, &refused);
            let Err(problems) = load(&[Fragment::new("import", text.as_str())]) else {
                self.name_the_domain(&refused);
                return text;
            };
            let before = refused.len();
            for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
                let Some(line) = at.get(&problem.line).and_then(|index| self.lines.get(*index)) else {
                    continue;
                };
                let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                let why = format!("{}{hint}", problem.message);
                let message = format!("`{}` is not valid: {why}: kept as a comment", line.name);
                self.notes.push(Note::new(&line.path, line.line, message));
                refused.insert(line.name.clone(), why);
            }
            if refused.len() == before {
                // No line of ours is at fault, so that only the defaults are sure to load.
                return text.lines().map(|line| format!("# {line}\n")).collect();
            }
        }
    }

    /// Says what a host name changes, where the config has got one.
    fn name_the_domain(&mut self, refused: &BTreeMap<String, String>) {
        let named = |line: &&Line| line.key == "server_name" && !refused.contains_key(&line.name);
        let Some(line) = self.lines.iter().find(named) else { return };
        let message = format!(
            "`{}` became `server_name`: the app answers to that name only, and a request by address gets /health; \
             take `server_name` away to change that",
            line.name
        );
        self.notes.push(Note::new(&line.path, line.line, message));
    }

    /// The text, and which line of it is which of ours.
    fn text(
        &self,
        host: Option<&str>,
        refused: &BTreeMap<String, String>,
    ) -> (String, BTreeMap<usize, usize>) {
        let from = host.map(|host| format!(" for the host {host}")).unwrap_or_default();
        let mut text = vec![format!("# Imported from Ansible variables{}.", one_line(&from))];
        let mut at = BTreeMap::new();
        let mut section = "";
        for (index, line) in self.lines.iter().enumerate() {
            if line.section != section {
                section = &line.section;
                let named = if line.key.is_empty() {
                    format!("  # {}", one_line(&line.place()))
                } else {
                    String::new()
                };
                text.push(String::new());
                text.push(format!("[{section}]{named}"));
                if section.starts_with("apps.") {
                    text.push("# The old roles put the app's user into the group docker, which can do all that root can.".to_owned());
                    text.push("# docker = true".to_owned());
                }
            }
            if line.key.is_empty() {
                continue;
            }
            let mark = if refused.contains_key(&line.name) { "# " } else { "" };
            at.insert(text.len() + 1, index);
            text.push(format!("{mark}{} = {}  # {}", line.key, line.value, one_line(&line.place())));
        }
        if !self.later.is_empty() {
            text.push(String::new());
            text.push(
                "# What follows belongs to sections that come with later versions, under its old names."
                    .to_owned(),
            );
        }
        for (section, lines) in &self.later {
            text.push(String::new());
            text.push(format!("# [{section}]"));
            text.extend(lines.iter().map(|line| format!("# {}", one_line(line))));
        }
        (text.join("\n") + "\n", at)
    }
}

/// Where a section stands in the file.
fn order(section: &str) -> usize {
    ["common", "security", "docker", "monitoring", "app", "ssl", "backup"]
        .iter()
        .position(|start| section.starts_with(start))
        .unwrap_or(9)
}

/// Whether a public authority could give a certificate for a name: not one without a dot, an address, or one that is
/// for networks of one's own (RFC 6762, RFC 8375, and ICANN's reservation of `internal`).
fn is_public(name: &str) -> bool {
    let private = ["local", "lan", "home", "internal", "localhost", "test", "home.arpa"];
    let below = |top: &&str| name.strip_suffix(*top).is_some_and(|rest| rest.ends_with('.'));
    name.contains('.') && name.parse::<std::net::IpAddr>().is_err() && !private.iter().any(below)
}

/// Reads a truth value as Ansible does.
fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "y" | "t" => Some(true),
        "false" | "no" | "off" | "0" | "n" | "f" => Some(false),
        _ => None,
    }
}

/// A text as TOML writes it, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Takes the control characters out of what stands in a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl Value {
    /// The value as TOML writes it, on one line; numbers and truth values are bare.
    fn written(&self) -> String {
        match self {
            Value::Null => quoted(""),
            Value::Vault => quoted("encrypted"),
            Value::Text(text) if text.parse::<i64>().is_ok_and(|number| number.to_string() == *text) => {
                text.clone()
            }
            Value::Text(text) if text == "true" || text == "false" => text.clone(),
            Value::Text(text) => quoted(text),
            Value::List(items) => {
                format!("[{}]", items.iter().map(Value::written).collect::<Vec<_>>().join(", "))
            }
            Value::Map(entries) => {
                let entry = |(key, value): &(String, Value)| format!("{} = {}", quoted(key), value.written());
                format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Tells whether it or something in it is encrypted.
    fn has_vault(&self) -> bool {
        match self {
            Value::Vault => true,
            Value::List(items) => items.iter().any(Value::has_vault),
            Value::Map(entries) => entries.iter().any(|(_, value)| value.has_vault()),
            Value::Null | Value::Text(_) => false,
        }
    }
}
