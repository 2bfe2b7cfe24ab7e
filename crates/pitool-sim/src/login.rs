//! What decides whether somebody can log in and become root: sudo's rules, and files read with a user's own rights.

use pitool_host::parse::accounts::{self, Accounts};
use pitool_host::parse::glob;

use crate::shell::{Ending, Shell};
use crate::world::{Node, World};

/// One rule of sudoers(5), as `sudo -l` prints it.
struct Rule {
    runas: String,
    commands: String,
}

impl World {
    pub(crate) fn user_database(&self) -> Accounts {
        accounts::parse(self.text("/etc/passwd"), self.text("/etc/group"), self.text("/etc/shadow"))
    }

    /// The lines of sudoers with those that it includes, in sudo's order.
    fn sudoers(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.text("/etc/sudoers").lines().map(str::trim) {
            let Some(directory) = line.strip_prefix("@includedir ") else {
                lines.push(line.to_owned());
                continue;
            };
            // sudo passes over names with a dot or a tilde at the end, as editors leave them.
            for name in self.names(directory).unwrap_or_default() {
                if !name.contains('.') && !name.ends_with('~') {
                    lines.extend(
                        self.text(&format!("{directory}/{name}")).lines().map(|line| line.trim().to_owned()),
                    );
                }
            }
        }
        lines.retain(|line| !line.is_empty() && !line.starts_with('#'));
        lines
    }

    /// The defaults and rules that hold for a user on this host.
    fn sudo_rules(&self, user: &str) -> (Vec<String>, Vec<Rule>) {
        let accounts = self.user_database();
        let host = self.text("/etc/hostname").trim().to_owned();
        let is = |who: &str| match who.strip_prefix('%') {
            Some(group) => accounts.groups_of(user).contains(&group),
            None => who == "ALL" || who == user,
        };
        let mut defaults = vec!["env_reset".to_owned(), "mail_badpass".to_owned()];
        let mut rules = Vec::new();
        for line in self.sudoers() {
            let (who, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
            if let Some(scope) = who.strip_prefix("Defaults") {
                if scope.is_empty() || scope.strip_prefix(':').is_some_and(is) {
                    defaults.extend(rest.split(',').map(|entry| entry.trim().to_owned()));
                }
                continue;
            }
            let Some((hosts, rest)) = rest.split_once('=') else { continue };
            if !who.split(',').any(is)
                || !hosts.split(',').any(|name| matches!(name.trim(), "ALL") || name.trim() == host)
            {
                continue;
            }
            let rest = rest.trim_start();
            let (runas, commands) =
                rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).unwrap_or(("root", rest));
            let spaced = |list: &str| {
                list.split(',').map(str::trim).filter(|one| !one.is_empty()).collect::<Vec<_>>().join(", ")
            };
            let runas: Vec<String> = runas.split(':').map(spaced).collect();
            let commands = commands.trim().replace(':', ": ");
            let commands: Vec<&str> = commands.split_whitespace().collect();
            rules.push(Rule { runas: runas.join(" : "), commands: commands.join(" ") });
        }
        (defaults, rules)
    }

    /// Whether a user may read what is at a path, or go through it where it is a directory.
    fn may(&self, path: &str, uid: u32, groups: &[u32]) -> bool {
        let (access, bit) = match self.nodes.get(path) {
            Some(Node::Dir { access }) => (access, 0o1),
            Some(Node::File { access, .. }) => (access, 0o4),
            _ => return false,
        };
        let shift = match (access.uid == uid, groups.contains(&access.gid)) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        access.mode >> shift & bit == bit
    }
}

/// sudo(8): `-n -l -U USER`, asked by root.
pub(crate) fn sudo(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let ["-n", "-l", "-U", user] = args else { shell.unknown() };
    let host = shell.world().text("/etc/hostname").trim().to_owned();
    if shell.world().user_database().user(user).is_none() {
        return shell.fail(1, format!("sudo: unknown user {user}"));
    }
    let (defaults, rules) = shell.world().sudo_rules(user);
    if rules.is_empty() {
        shell.say(format!("User {user} is not allowed to run sudo on {host}."));
        return Ok(0);
    }
    shell.say(format!("Matching Defaults entries for {user} on {host}:\n    {}\n", defaults.join(", ")));
    shell.say(format!("User {user} may run the following commands on {host}:"));
    for rule in rules {
        shell.say(format!("    ({}) {}", rule.runas, rule.commands));
    }
    Ok(0)
}

/// setpriv(1) with dd(1): a file read with a user's own rights.
pub(crate) fn setpriv(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let [uid, _, "--init-groups", "--", "dd", file, "iflag=nonblock", "bs=65536", "count=16", "status=none"] =
        args
    else {
        shell.unknown()
    };
    let uid = uid.strip_prefix("--reuid=").and_then(|uid| uid.parse().ok()).unwrap_or_default();
    let path = file.strip_prefix("if=").unwrap_or_default();
    let world = shell.world();
    let accounts = world.user_database();
    let name =
        accounts.users.iter().find(|user| user.uid == uid).map(|user| user.name.clone()).unwrap_or_default();
    let groups: Vec<u32> =
        accounts.groups_of(&name).iter().filter_map(|group| accounts.gid_of(group)).collect();
    let real = world.real(path, true).unwrap_or_default();
    let steps = real.match_indices('/').skip(1).map(|(at, _)| &real[..at]);
    let may = steps.chain([real.as_str()]).all(|place| world.may(place, uid, &groups));
    let text = world.text(path).to_owned();
    let there = world.exists(path);
    drop(world);
    match (there, may) {
        (false, _) => shell.fail(1, format!("dd: failed to open '{path}': No such file or directory")),
        (true, false) => shell.fail(1, format!("dd: failed to open '{path}': Permission denied")),
        (true, true) => {
            shell.print(&text);
            Ok(0)
        }
    }
}

/// The connection of `sshd -T -C`.
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) user: String,
    pub(crate) address: String,
}

impl Connection {
    pub(crate) fn read(spec: &str) -> Self {
        let mut connection = Self::default();
        for pair in spec.split(',') {
            match pair.split_once('=') {
                Some(("user", user)) => user.clone_into(&mut connection.user),
                Some(("addr", address)) => address.clone_into(&mut connection.address),
                _ => {}
            }
        }
        connection
    }

    /// Whether a `Match` block is about it (sshd_config(5)): all criteria must agree.
    pub(crate) fn is_one_of(&self, criteria: &str, accounts: &Accounts) -> bool {
        let words: Vec<&str> = criteria.split_whitespace().collect();
        words.chunks(2).all(|pair| {
            let patterns = pair.get(1).copied().unwrap_or_default().split(',');
            let groups = accounts.groups_of(&self.user);
            let mut matching =
                patterns.map(|pattern| (pattern.starts_with('!'), pattern.trim_start_matches('!')));
            let fits = |pattern: &str| match pair[0].to_lowercase().as_str() {
                "all" => true,
                "user" => glob::matches(pattern, &self.user),
                "group" => groups.iter().any(|group| glob::matches(pattern, group)),
                "address" | "host" => within(pattern, &self.address),
                _ => false,
            };
            if pair[0].eq_ignore_ascii_case("all") {
                return true;
            }
            let mut any = false;
            matching.all(|(negated, pattern)| {
                let found = fits(pattern);
                any |= found && !negated;
                !(found && negated)
            }) && any
        })
    }
}

/// Whether an IPv4 address is in a network or matches a pattern.
fn within(pattern: &str, address: &str) -> bool {
    let number = |text: &str| text.parse::<std::net::Ipv4Addr>().ok().map(u32::from);
    match pattern.split_once('/').and_then(|(net, bits)| Some((number(net)?, bits.parse::<u32>().ok()?))) {
        Some((net, bits)) => number(address).is_some_and(|address| {
            let shift = 32_u32.saturating_sub(bits);
            shift == 32 || address >> shift == net >> shift
        }),
        None => glob::matches(pattern, address),
    }
}
