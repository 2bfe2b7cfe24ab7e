//! Users and groups, kept in the text of /etc/passwd, /etc/group and their shadows.

use pitool_host::Access;

use crate::shell::{Ending, Shell, Stop};
use crate::world::{Node, World};

/// What useradd is told about a new user.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewUser {
    /// Takes a number below 1000 and no home.
    pub(crate) system: bool,
    /// The number asked for.
    pub(crate) uid: Option<u32>,
    /// The home directory.
    pub(crate) home: Option<String>,
    /// The shell.
    pub(crate) shell: Option<String>,
    /// The primary group, which exists.
    pub(crate) group: Option<String>,
    /// Other groups.
    pub(crate) groups: Vec<String>,
    /// Whether a group of the same name is made.
    pub(crate) own_group: bool,
    /// The comment field.
    pub(crate) comment: String,
    /// Whether the home directory is made.
    pub(crate) create_home: bool,
}

impl World {
    fn entry(&self, file: &str, name: &str) -> Option<Vec<String>> {
        let lines =
            self.text(file).lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        lines.into_iter().find(|fields| fields.first().is_some_and(|first| first == name))
    }

    fn rewrite(&mut self, file: &str, mut change: impl FnMut(Vec<String>) -> Option<Vec<String>>) {
        let lines: Vec<String> = self
            .text(file)
            .lines()
            .filter_map(|line| change(line.split(':').map(str::to_owned).collect()))
            .map(|fields| fields.join(":") + "\n")
            .collect();
        self.edit(file, lines.concat());
    }

    fn add_line(&mut self, file: &str, line: &str) {
        let text = format!("{}{line}\n", self.text(file));
        self.edit(file, text);
    }

    fn number(&self, file: &str, name: &str) -> Option<u32> {
        self.entry(file, name)?.get(2)?.parse().ok()
    }

    fn free(&self, system: bool) -> u32 {
        let taken = |number: u32| {
            let mut lines = self.text("/etc/passwd").lines().chain(self.text("/etc/group").lines());
            lines.any(|line| line.split(':').nth(2).is_some_and(|field| field == number.to_string()))
        };
        let found = if system {
            (100..1000).rev().find(|number| !taken(*number))
        } else {
            (1000..60000).find(|number| !taken(*number))
        };
        found.unwrap_or(60000)
    }

    /// Adds a group; one that is there stays.
    pub(crate) fn add_group(&mut self, name: &str, gid: Option<u32>, system: bool) {
        if self.entry("/etc/group", name).is_none() {
            let gid = gid.unwrap_or_else(|| self.free(system));
            self.add_line("/etc/group", &format!("{name}:x:{gid}:"));
            self.add_line("/etc/gshadow", &format!("{name}:!::"));
        }
    }

    fn add_to_group(&mut self, user: &str, group: &str) {
        for file in ["/etc/group", "/etc/gshadow"] {
            self.rewrite(file, |mut fields| {
                if fields[0] == group {
                    if let Some(last) = fields.last_mut() {
                        if !last.split(',').any(|member| member == user) {
                            *last = if last.is_empty() { user.to_owned() } else { format!("{last},{user}") };
                        }
                    }
                }
                Some(fields)
            });
        }
    }

    /// Takes a user out of one group, or of all.
    fn take_from_group(&mut self, user: &str, group: Option<&str>) {
        for file in ["/etc/group", "/etc/gshadow"] {
            self.rewrite(file, |mut fields| {
                if group.is_none_or(|group| fields[0] == group) {
                    if let Some(last) = fields.last_mut() {
                        let left: Vec<&str> = last.split(',').filter(|member| *member != user).collect();
                        *last = left.join(",");
                    }
                }
                Some(fields)
            });
        }
    }

    fn add_account(&mut self, name: &str, new: &NewUser) {
        let uid = new.uid.unwrap_or_else(|| self.free(new.system));
        let gid = match &new.group {
            Some(group) => group.parse().ok().or_else(|| self.number("/etc/group", group)).unwrap_or(uid),
            None if new.own_group => uid,
            None => 100,
        };
        let home = new.home.clone().unwrap_or_else(|| format!("/home/{name}"));
        let shell = new.shell.as_deref().unwrap_or(if new.system { "/usr/sbin/nologin" } else { "/bin/sh" });
        self.add_line("/etc/passwd", &format!("{name}:x:{uid}:{gid}:{}:{home}:{shell}", new.comment));
        let ageing = if new.system { "20000::::::" } else { "20000:0:99999:7:::" };
        self.add_line("/etc/shadow", &format!("{name}:!:{ageing}"));
    }

    fn add_home(&mut self, name: &str) {
        let Some(fields) = self.entry("/etc/passwd", name) else { return };
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok()).unwrap_or_default();
        let access = Access { mode: 0o700, uid: number(2), gid: number(3) };
        if let Some(home) = fields.get(5).filter(|home| !self.exists(home)) {
            self.make_parent(home);
            if let Ok(real) = self.real(home, false) {
                self.nodes.insert(real, Node::Dir { access });
            }
        }
    }

    /// Adds a system user with its group at once, as a package's scripts do; one that is there stays.
    pub(crate) fn add_user(&mut self, name: &str, new: &NewUser) {
        if self.entry("/etc/passwd", name).is_none() {
            let new = NewUser { own_group: true, home: Some("/nonexistent".to_owned()), ..new.clone() };
            self.add_account(name, &new);
            let uid = self.number("/etc/passwd", name);
            self.add_group(name, uid, true);
        }
    }
}

/// Splits arguments into options with their values and words; `valued` names the options that take a value.
fn options<'a>(
    shell: &Shell<'_>,
    args: &[&'a str],
    valued: &[&str],
    plain: &[&str],
) -> (Vec<(&'a str, &'a str)>, Vec<&'a str>) {
    let (mut found, mut words) = (Vec::new(), Vec::new());
    let mut rest = args.iter();
    while let Some(&arg) = rest.next() {
        match arg.split_once('=') {
            Some((key, value)) if key.starts_with("--") && valued.contains(&key) => found.push((key, value)),
            _ if valued.contains(&arg) => found.push((arg, rest.next().copied().unwrap_or_default())),
            _ if plain.contains(&arg) => found.push((arg, "")),
            _ if arg == "--" => {}
            _ if arg.starts_with('-') => shell.unknown(),
            _ => words.push(arg),
        }
    }
    (found, words)
}

fn one<'a>(shell: &Shell<'_>, words: &[&'a str]) -> &'a str {
    match words {
        [name] => name,
        _ => shell.unknown(),
    }
}

fn known_groups(shell: &mut Shell<'_>, groups: &[String]) -> Result<(), Stop> {
    for group in groups {
        if shell.world().entry("/etc/group", group).is_none() {
            let program = shell.command.program.clone();
            return shell.fail(6, format!("{program}: group '{group}' does not exist"));
        }
    }
    Ok(())
}

fn split(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// useradd(8).
pub(crate) fn useradd(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let valued = [
        "--home-dir",
        "-d",
        "--shell",
        "-s",
        "--gid",
        "-g",
        "--groups",
        "-G",
        "--comment",
        "-c",
        "--uid",
        "-u",
        "--base-dir",
        "-b",
        "--key",
        "-K",
    ];
    let plain = [
        "--system",
        "-r",
        "--create-home",
        "-m",
        "--no-create-home",
        "-M",
        "--user-group",
        "-U",
        "--no-user-group",
        "-N",
    ];
    let (found, words) = options(shell, args, &valued, &plain);
    let name = one(shell, &words);
    let mut new = NewUser { own_group: true, ..NewUser::default() };
    for (key, value) in found {
        match key {
            "--home-dir" | "-d" => new.home = Some(value.to_owned()),
            "--shell" | "-s" => new.shell = Some(value.to_owned()),
            "--gid" | "-g" => new.group = Some(value.to_owned()),
            "--groups" | "-G" => new.groups = split(value),
            "--comment" | "-c" => new.comment = value.to_owned(),
            "--uid" | "-u" => new.uid = value.parse().ok(),
            "--system" | "-r" => new.system = true,
            "--create-home" | "-m" => new.create_home = true,
            "--no-user-group" | "-N" => new.own_group = false,
            _ => {}
        }
    }
    new.own_group &= new.group.is_none();
    if shell.world().entry("/etc/passwd", name).is_some() {
        return shell.fail(9, format!("useradd: user '{name}' already exists"));
    }
    if new.own_group && shell.world().entry("/etc/group", name).is_some() {
        return shell.fail(
            9,
            format!("useradd: group {name} exists - if you want to add this user to that group, use -g."),
        );
    }
    known_groups(shell, &new.groups)?;
    if let Some(group) = new.group.clone().filter(|group| group.parse::<u32>().is_err()) {
        known_groups(shell, &[group])?;
    }
    shell.change(&format!("useradd {name}: account"), |world| world.add_account(name, &new))?;
    shell.change(&format!("useradd {name}: groups"), |world| {
        if new.own_group {
            let uid = world.number("/etc/passwd", name);
            world.add_group(name, uid, new.system);
        }
        for group in &new.groups {
            world.add_to_group(name, group);
        }
    })?;
    if new.create_home {
        shell.change(&format!("useradd {name}: home"), |world| world.add_home(name))?;
    }
    Ok(0)
}

/// usermod(8).
pub(crate) fn usermod(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let valued = [
        "--home",
        "-d",
        "--shell",
        "-s",
        "--gid",
        "-g",
        "--groups",
        "-G",
        "-aG",
        "--comment",
        "-c",
        "--password",
        "-p",
        "--expiredate",
        "-e",
    ];
    let plain = ["--append", "-a", "--move-home", "-m", "--lock", "-L", "--unlock", "-U", "--remove", "-r"];
    let (found, words) = options(shell, args, &valued, &plain);
    let name = one(shell, &words);
    if shell.world().entry("/etc/passwd", name).is_none() {
        return shell.fail(6, format!("usermod: user '{name}' does not exist"));
    }
    let has = |long: &str, short: &str| found.iter().any(|(key, _)| *key == long || *key == short);
    let (append, removal) = (has("--append", "-a"), has("--remove", "-r"));
    for (key, value) in &found {
        let field = match *key {
            "--gid" | "-g" => 3,
            "--comment" | "-c" => 4,
            "--home" | "-d" => 5,
            "--shell" | "-s" => 6,
            "--groups" | "-G" | "-aG" => {
                let groups = split(value);
                known_groups(shell, &groups)?;
                shell.change(&format!("usermod {name}: groups"), |world| {
                    if !append && !removal && *key != "-aG" {
                        world.take_from_group(name, None);
                    }
                    for group in &groups {
                        if removal {
                            world.take_from_group(name, Some(group))
                        } else {
                            world.add_to_group(name, group)
                        }
                    }
                })?;
                continue;
            }
            "--lock" | "-L" | "--unlock" | "-U" | "--password" | "-p" | "--expiredate" | "-e" => {
                shell.change(&format!("usermod {name}: password"), |world| {
                    world.rewrite("/etc/shadow", |mut fields| {
                        if fields[0] == name {
                            match *key {
                                "--lock" | "-L" if !fields[1].starts_with('!') => {
                                    fields[1] = format!("!{}", fields[1])
                                }
                                "--unlock" | "-U" => fields[1] = fields[1].trim_start_matches('!').to_owned(),
                                "--password" | "-p" => fields[1] = (*value).to_owned(),
                                "--expiredate" | "-e" if fields.len() > 7 => fields[7] = (*value).to_owned(),
                                _ => {}
                            }
                        }
                        Some(fields)
                    });
                })?;
                continue;
            }
            _ => continue,
        };
        let mut wanted = (*value).to_owned();
        if field == 3 && wanted.parse::<u32>().is_err() {
            known_groups(shell, &[wanted.clone()])?;
            wanted = shell.world().number("/etc/group", &wanted).unwrap_or_default().to_string();
        }
        shell.change(&format!("usermod {name}: account"), |world| {
            world.rewrite("/etc/passwd", |mut fields| {
                if fields[0] == name && fields.len() > field {
                    fields[field].clone_from(&wanted);
                }
                Some(fields)
            });
        })?;
    }
    Ok(0)
}

/// userdel(8).
pub(crate) fn userdel(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (found, words) = options(shell, args, &[], &["--remove", "-r", "--force", "-f"]);
    let name = one(shell, &words);
    let Some(fields) = shell.world().entry("/etc/passwd", name) else {
        return shell.fail(6, format!("userdel: user '{name}' does not exist"));
    };
    shell.change(&format!("userdel {name}: account"), |world| {
        for file in ["/etc/passwd", "/etc/shadow"] {
            world.rewrite(file, |fields| (fields[0] != name).then_some(fields));
        }
    })?;
    shell.change(&format!("userdel {name}: groups"), |world| {
        world.take_from_group(name, None);
        let own = world.entry("/etc/group", name);
        if own
            .is_some_and(|group| group.get(2) == fields.get(3) && group.last().is_some_and(String::is_empty))
        {
            for file in ["/etc/group", "/etc/gshadow"] {
                world.rewrite(file, |fields| (fields[0] != name).then_some(fields));
            }
        }
    })?;
    if found.iter().any(|(key, _)| *key == "--remove" || *key == "-r") {
        shell.change(&format!("userdel {name}: home"), |world| {
            if let Some(home) = fields.get(5) {
                world.erase(home);
            }
        })?;
    }
    Ok(0)
}

/// groupadd(8).
pub(crate) fn groupadd(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (found, words) = options(shell, args, &["--gid", "-g"], &["--system", "-r", "--force", "-f"]);
    let name = one(shell, &words);
    let has = |long: &str, short: &str| found.iter().find(|(key, _)| *key == long || *key == short);
    if shell.world().entry("/etc/group", name).is_some() {
        if has("--force", "-f").is_some() {
            return Ok(0);
        }
        return shell.fail(9, format!("groupadd: group '{name}' already exists"));
    }
    let gid = has("--gid", "-g").and_then(|(_, value)| value.parse().ok());
    let system = has("--system", "-r").is_some();
    shell.change(&format!("groupadd {name}"), |world| world.add_group(name, gid, system))?;
    Ok(0)
}

/// groupdel(8).
pub(crate) fn groupdel(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let name = one(shell, args);
    let Some(fields) = shell.world().entry("/etc/group", name) else {
        return shell.fail(6, format!("groupdel: group '{name}' does not exist"));
    };
    let primary = shell
        .world()
        .text("/etc/passwd")
        .lines()
        .any(|line| line.split(':').nth(3) == fields.get(2).map(String::as_str));
    if primary {
        return shell.fail(8, format!("groupdel: cannot remove the primary group of user '{name}'"));
    }
    shell.change(&format!("groupdel {name}"), |world| {
        for file in ["/etc/group", "/etc/gshadow"] {
            world.rewrite(file, |fields| (fields[0] != name).then_some(fields));
        }
    })?;
    Ok(0)
}

/// gpasswd(1): members in and out.
pub(crate) fn gpasswd(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (add, user, group) = match args {
        ["-a" | "--add", user, group] => (true, *user, *group),
        ["-d" | "--delete", user, group] => (false, *user, *group),
        _ => shell.unknown(),
    };
    let Some(fields) = shell.world().entry("/etc/group", group) else {
        return shell.fail(3, format!("gpasswd: group '{group}' does not exist in /etc/group"));
    };
    if add {
        if shell.world().entry("/etc/passwd", user).is_none() {
            return shell.fail(3, format!("gpasswd: user '{user}' does not exist"));
        }
        shell.change(&format!("gpasswd {user} into {group}"), |world| world.add_to_group(user, group))?;
    } else {
        if !fields.last().is_some_and(|members| members.split(',').any(|member| member == user)) {
            return shell.fail(3, format!("gpasswd: user '{user}' is not a member of '{group}'"));
        }
        shell.change(&format!("gpasswd {user} out of {group}"), |world| {
            world.take_from_group(user, Some(group))
        })?;
    }
    Ok(0)
}
