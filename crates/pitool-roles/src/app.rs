//! Role app, which replaces the Ansible role `app` (tags app, environment): nginx, and for every app a user,
//! directories, an environment and a site.
//!
//! Where it differs on purpose:
//! - Several apps, each its own site ([`web`]); the bare address answers /health and nothing else, unless an app asks
//!   for it.
//! - Every site is checked by `nginx -t` within the whole configuration before it goes live, and asked afterwards.
//! - Websockets, request size and timeout are settings; `/` of a missing directory is a 404.
//! - `.env` is made once, with a random secret, and then belongs to the person.
//! - config and data are not for everybody; the home and `backups` are root's, so that the app can neither read nor
//!   redirect what root writes there.
//! - The user is in group docker, which makes it root, only where the config says so, and by the role
//!   docker: before that role ran there is no such group.

use std::collections::BTreeMap;
use std::fmt::Write;

use askama::Template;
use pitool_config::Settings;
use pitool_config::settings::Site;
use pitool_config::values::AppName;
use pitool_host::Facts;
use pitool_resources::{Directory, File, Seed};

use crate::accounts;
use crate::templates::text;
use crate::{Wishes, web};

/// What the role wants.
pub fn wishes(settings: &Settings, facts: &Facts) -> Wishes {
    let mut wishes = Wishes::default();
    for user in accounts::of_apps(settings) {
        wishes.want(user);
    }
    for (name, site) in &settings.apps {
        directories(name, site, &mut wishes);
        environment(name, site, &mut wishes);
    }
    web::server(settings, facts, &mut wishes);
    web::prove(settings, facts, &mut wishes);
    wishes
}

fn directories(name: &AppName, site: &Site, wishes: &mut Wishes) {
    let home = site.home(name);
    let (user, group) = (site.user.as_str(), site.group().as_str());
    // Nobody but root writes here: the app could put a link in the place of `backups`, and sshd takes no key from below a
    // home that a group may write to (StrictModes).
    wishes.want(Directory::new(home.as_str()).owner("root", group));
    wishes.want(Directory::new(format!("{home}/logs")).owner(user, group));
    wishes.want(Directory::new(format!("{home}/data")).mode(0o750).owner(user, group));
    wishes.want(Directory::new(format!("{home}/config")).mode(0o750).owner(user, group));
    wishes.want(Directory::new(format!("{home}/backups")).mode(0o750).owner("root", group));
}

#[derive(Template)]
#[template(path = "app/env", escape = "none")]
struct Env {
    variables: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "app/env.example", escape = "none")]
struct EnvExample {
    variables: Vec<(String, String)>,
}

fn environment(name: &AppName, site: &Site, wishes: &mut Wishes) {
    let (user, group) = (site.user.as_str(), site.group().as_str());
    let config = format!("{}/config", site.home(name));
    let mut variables: BTreeMap<String, String> = BTreeMap::from([
        ("APP_ENV".into(), site.deployment.to_string()),
        ("APP_HOME".into(), site.home(name).to_string()),
        ("APP_NAME".into(), name.to_string()),
    ]);
    if site.upstream {
        variables.insert("APP_PORT".into(), site.upstream_port.to_string());
    }
    if let Some(domain) = site.server_name.first() {
        variables.insert("APP_DOMAIN".into(), domain.to_string());
    }
    if let Some(grist) = &site.grist_data_dir {
        variables.insert("GRIST_DATA_DIR".into(), grist.to_string());
    }
    let mut example = variables.clone();
    // Values of the config's own may be secret: the example has their names alone.
    example.extend(site.env.keys().map(|key| (key.to_string(), String::new())));
    example.entry("SECRET_KEY".into()).or_default();
    variables.entry("SECRET_KEY".into()).or_insert_with(|| Seed::RANDOM.to_owned());
    variables.extend(site.env.iter().map(|(key, value)| (key.to_string(), value.to_string())));
    let quoted = variables.into_iter().map(|(key, value)| (key, quoted(&value))).collect();
    wishes
        .want(Seed::new(format!("{config}/.env"), text(&Env { variables: quoted }), user, group).mode(0o600));
    let example = EnvExample { variables: example.into_iter().collect() };
    wishes.want(File::new(format!("{config}/.env.example"), text(&example)).mode(0o600).owner(user, group));
}

/// A value as a shell, systemd and Compose all read it back.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    if !value.contains('\'') {
        return format!("'{value}'");
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        // Writing to a string cannot fail.
        let _ = text.write_char(c);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_are_quoted_only_where_they_must_be() {
        for (value, written) in [
            ("info", "info"),
            ("https://a.example:80/x", "https://a.example:80/x"),
            ("", ""),
            ("two words", "'two words'"),
            ("$HOME #1", "'$HOME #1'"),
            ("it's $5", "\"it's \\$5\""),
            ("a\"b'c\\", "\"a\\\"b'c\\\\\""),
        ] {
            assert_eq!(quoted(value), written);
        }
    }
}
