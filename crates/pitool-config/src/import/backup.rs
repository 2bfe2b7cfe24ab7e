//! The old roles' variables of backups that are more than one key each: the hour and the minute, the other machine,
//! the bucket, the app's directory of config.

use super::inventory::Variable;
use super::yaml::Value;
use super::{Form, Import, boolean, quoted};

/// What the role `backup` called the parts of another machine; the last words of a variable's name, and the key.
const REMOTE: [(&str, &str, Form); 8] = [
    ("host", "host", Form::Text),
    ("server", "host", Form::Text),
    ("user", "user", Form::Text),
    ("port", "port", Form::Number),
    ("path", "path", Form::Text),
    ("dir", "path", Form::Text),
    ("ssh_key", "identity_file", Form::Text),
    ("key_file", "identity_file", Form::Text),
];

/// The same of a bucket.
const CLOUD: [(&str, &str, Form); 6] = [
    ("bucket", "bucket", Form::Text),
    ("region", "region", Form::Text),
    ("endpoint", "endpoint", Form::Text),
    ("endpoint_url", "endpoint", Form::Text),
    ("prefix", "prefix", Form::Text),
    ("path", "prefix", Form::Text),
];

/// Words of names whose values are nobody's business.
const SECRET: [&str; 7] = ["password", "passphrase", "secret", "token", "access_key", "api_key", "key_id"];

impl Import<'_> {
    /// Takes over everything about backups that is not one key for one variable.
    pub(super) fn backup(&mut self, app: &str) {
        self.time();
        self.target("remote_backup_", "backup.ssh.remote", "host", &REMOTE);
        self.target("cloud_backup_", "backup.s3.cloud", "bucket", &CLOUD);
        self.config_dir(app);
    }

    fn text_of(&mut self, name: &str) -> Option<(String, Variable)> {
        let variable = self.variables.get(name)?.clone();
        match self.resolve(name, &variable)? {
            Value::Text(text) => Some((text.trim().to_owned(), variable)),
            _ => {
                self.note(&variable, format!("`{name}` should be one value: not imported"));
                None
            }
        }
    }

    /// The hour and the minute, of which either may be missing.
    fn time(&mut self) {
        let hour = self.text_of("backup_cron_hour");
        let minute = self.text_of("backup_cron_minute");
        let Some((_, place)) = hour.clone().or(minute.clone()) else { return };
        let name = if hour.is_some() { "backup_cron_hour" } else { "backup_cron_minute" };
        if let (Some(_), Some((_, place))) = (&hour, &minute) {
            self.note(place, "`backup_cron_minute` is the first field of `time`");
        }
        let hour = hour.map_or("2".to_owned(), |(text, _)| text);
        let minute = minute.map_or("0".to_owned(), |(text, _)| text);
        self.push("backup", "time", quoted(&format!("{minute} {hour} * * *")), name, &place);
    }

    /// A target, which is nothing without the key that says where it is.
    fn target(&mut self, start: &str, section: &str, required: &str, keys: &[(&str, &str, Form)]) {
        let variables = self.variables;
        let named: Vec<(&String, &Variable)> =
            variables.iter().filter(|(name, _)| name.starts_with(start)).collect();
        let key_of = |name: &str| keys.iter().find(|(end, ..)| name.strip_prefix(start) == Some(end));
        let there = named.iter().any(|(name, variable)| {
            key_of(name).is_some_and(|(_, key, _)| *key == required)
                && !variable.value.has_vault()
                && matches!(&variable.value, Value::Text(text) if !text.trim().is_empty())
        });
        for (name, variable) in named {
            let end = name.strip_prefix(start).unwrap_or_default();
            if !variable.value.has_vault() && SECRET.iter().any(|word| end.contains(word)) {
                let message = format!(
                    "`{name}` is a secret: it is not copied; write it to the file that `credentials_file` names"
                );
                self.note(variable, message);
                continue;
            }
            match (key_of(name), end) {
                (Some((_, key, form)), _) if there => self.key(section, key, *form, name, variable),
                (None, "enabled") if there => {
                    if let Some((text, place)) = self.text_of(name) {
                        let value = boolean(&text).map_or_else(|| quoted(&text), |value| value.to_string());
                        self.push(section, "enabled", value, name, &place);
                    }
                }
                (key, end) => {
                    let Some(_) = self.resolve(name, variable) else { continue };
                    let why = match key.is_some() || end == "enabled" {
                        true => format!("says nothing without `{start}{required}`"),
                        false => format!("has no key in [{section}]"),
                    };
                    self.note(variable, format!("`{name}` {why}: not imported"));
                }
            }
        }
    }

    /// The directory of an app's config, which the set `machine` saves where it is in the app's own directory.
    fn config_dir(&mut self, app: &str) {
        let Some((dir, variable)) = self.text_of("app_config_dir") else { return };
        let home = self.variables.get("app_home").cloned();
        let home = home.and_then(|home| self.resolve("app_home", &home));
        let home = match home {
            Some(Value::Text(home)) => home.trim_end_matches('/').to_owned(),
            _ => format!("/opt/{app}"),
        };
        if dir.trim_end_matches('/') == format!("{home}/config") {
            let message = "`app_config_dir` is in the app's directory: the set `machine` saves it by itself";
            self.note(&variable, message);
            return;
        }
        self.push(
            "backup.sets.app_config",
            "paths",
            format!("[{}]", quoted(&dir)),
            "app_config_dir",
            &variable,
        );
    }
}
