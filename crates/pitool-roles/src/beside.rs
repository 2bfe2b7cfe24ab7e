//! What pitool leaves to a program that is there already.

use std::borrow::Cow;

use pitool_config::Settings;
use pitool_host::Facts;

/// Leaves the web server out of the settings where another program has its port, and says so: nginx could not start, and
/// Debian's package fails to install where nginx does not start.
pub(crate) fn beside<'s>(settings: &'s Settings, facts: &Facts) -> (Cow<'s, Settings>, Option<String>) {
    if facts.web_server.is_empty() || !settings.app.enabled {
        return (Cow::Borrowed(settings), None);
    }
    let mut settings = settings.clone();
    // The other program may serve the same sites: which ports are open does not hang on who has them at the moment.
    settings.security.firewall.rules = settings.firewall_rules();
    settings.app.enabled = false;
    let note = format!(
        "nginx and its sites are left out, because {} has port 80: stop it and apply again, or set `enabled = false` in [app]",
        facts.web_server
    );
    (Cow::Owned(settings), Some(note))
}
