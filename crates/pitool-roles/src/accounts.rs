//! The accounts that several roles want.
//!
//! A thing has one owner or several that agree: whoever wants a user asks here and gets the same resource, put
//! together from everything that the settings say of that name.

use std::collections::BTreeSet;

use pitool_config::Settings;
use pitool_config::values::UserName;
use pitool_resources::User;

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
