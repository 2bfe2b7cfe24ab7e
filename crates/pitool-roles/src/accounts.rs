//! The accounts that several roles want.
//!
//! A thing has one owner or several that agree: whoever wants a user asks here and gets the same resource, put
//! together from everything that the settings say of that name.

use std::collections::BTreeSet;

use askama::Template;
use pitool_config::Settings;
use pitool_config::settings;
use pitool_config::values::UserName;
use pitool_engine::{Id, Resource};
use pitool_host::Facts;
use pitool_resources::{Check, Directory, Edit, File, Part, User};

use crate::templates::text;

#[derive(Template)]
#[template(path = "common/sudoers", escape = "none")]
struct Sudoers<'a> {
    name: &'a UserName,
}

/// The account of this name.
///
/// A person of `common.users` keeps a person's home; an app's user lives in the directory of the first app that
/// names it.
pub(crate) fn account(name: &UserName, settings: &Settings) -> User {
    let mut user = User::new(name.as_str());
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    let person = settings.common.users.get(name);
    if let Some(person) = person {
        user = user.shell(person.shell.as_str());
        if let Some(comment) = &person.comment {
            user = user.comment(comment.as_str());
        }
        groups.extend(person.groups.iter().map(UserName::as_str));
        if person.sudo {
            groups.insert("sudo");
        }
    }
    let site = settings.apps.iter().find(|(_, site)| site.user == *name);
    if let (None, Some((app, site))) = (person, site) {
        user = user.home(site.home(app).as_str());
        if site.group() != name {
            user = user.group(site.group().as_str());
        }
    }
    user.groups(groups)
}

/// The account of this name, where the settings say anything of it; else it is somebody's own affair.
pub(crate) fn known(name: &UserName, settings: &Settings) -> Option<User> {
    let named =
        settings.common.users.contains_key(name) || settings.apps.values().any(|site| site.user == *name);
    named.then(|| account(name, settings))
}

/// The users of the apps, each once.
pub(crate) fn of_apps(settings: &Settings) -> Vec<User> {
    let names: BTreeSet<&UserName> = settings.apps.values().map(|site| &site.user).collect();
    names.into_iter().map(|name| account(name, settings)).collect()
}

/// What lets a person of the settings log in: the directory of their keys, and the keys.
pub(crate) fn keys(name: &UserName, person: &settings::User, facts: &Facts) -> Option<(Directory, Part)> {
    if person.authorized_keys.is_empty() {
        return None;
    }
    // sshd looks where the account says, which somebody may have made elsewhere.
    let known = facts.people.get(name.as_str());
    let home = known.map_or_else(|| format!("/home/{name}"), |person| person.home.clone());
    let directory = format!("{}/.ssh", home.trim_end_matches('/'));
    let (owner, group) = (name.as_str(), known.map_or(name.as_str(), |person| person.group.as_str()));
    let lines = person.authorized_keys.iter().map(ToString::to_string).collect();
    let keys = Part::new(format!("{directory}/authorized_keys"), Edit::Lines(lines));
    Some((Directory::new(directory).mode(0o700).owner(owner, group), keys.created_as(0o600, owner, group)))
}

/// What lets a person of the settings become root without a password, which an account that pitool makes has not.
pub(crate) fn sudoers(name: &UserName) -> File {
    File::new(format!("/etc/sudoers.d/pitool-{name}"), text(&Sudoers { name }))
        .mode(0o440)
        .checked_by(Check::Sudoers)
}

/// What makes an administrator of each person who is to be one and has a key: once all of it is there, nobody else's
/// way in is needed. Each with the ids of the account, the keys and the right to use sudo.
pub(crate) fn administrators<'a>(settings: &'a Settings, facts: &Facts) -> Vec<(&'a UserName, [Id; 3])> {
    let mut found = Vec::new();
    for (name, person) in &settings.common.users {
        let shut_out = ["/nologin", "/false"].iter().any(|end| person.shell.as_str().ends_with(end));
        if let (true, false, Some((_, keys))) = (person.sudo, shut_out, keys(name, person, facts)) {
            found.push((name, [account(name, settings).id(), keys.id(), sudoers(name).id()]));
        }
    }
    found
}
