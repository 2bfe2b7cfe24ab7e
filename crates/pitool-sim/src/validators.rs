//! Programs that check a configuration, and the daemons' own questions.

use pitool_host::ActiveState;

use crate::login::Connection;
use crate::shell::{Ending, Shell};
use crate::world::{WRONG, World};

/// Ends with status 1 when one of these files, or a file in one of these directories, holds the wrong word.
fn check(shell: &mut Shell<'_>, paths: &[&str], words: &str) -> Ending {
    let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
    let files = shell.world().gather(&paths);
    for (path, content) in &files {
        let lines = content.text().unwrap_or_default().lines().enumerate();
        if let Some((line, text)) = lines.into_iter().find(|(_, text)| text.contains(WRONG)) {
            return shell.fail(1, format!("{path}: line {}: {words}: {}", line + 1, text.trim()));
        }
    }
    Ok(0)
}

impl World {
    /// Reads sshd's settings as sshd does: the first value wins, files are included where that is written, and what a
    /// `Match` block says of this connection comes before what holds for everybody.
    fn sshd_settings(&self, file: &str, connection: Option<&Connection>) -> Vec<(String, String)> {
        let (mut usual, mut matched) = (Vec::new(), Vec::new());
        self.sshd_file(file, connection, true, true, &mut usual, &mut matched);
        usual.retain(|(key, _): &(String, String)| !matched.iter().any(|(other, _)| other == key));
        usual.extend(matched);
        usual
    }

    fn sshd_file(
        &self,
        file: &str,
        connection: Option<&Connection>,
        global: bool,
        active: bool,
        usual: &mut Vec<(String, String)>,
        matched: &mut Vec<(String, String)>,
    ) {
        let (mut global, mut active) = (global, active);
        for line in self.text(file).to_owned().lines().map(str::trim) {
            let Some((key, value)) = line.split_once([' ', '\t', '=']) else { continue };
            let (key, value) = (key.to_lowercase(), value.trim().to_owned());
            let found: &mut Vec<(String, String)> = if global { usual } else { matched };
            match key.as_str() {
                _ if key.starts_with('#') => {}
                "match" => {
                    global = false;
                    active = connection.is_some_and(|one| one.is_one_of(&value, &self.user_database()));
                }
                "include" => {
                    let dir = value.trim_end_matches("/*.conf");
                    for name in
                        self.names(dir).unwrap_or_default().iter().filter(|name| name.ends_with(".conf"))
                    {
                        self.sshd_file(&format!("{dir}/{name}"), connection, global, active, usual, matched);
                    }
                }
                _ if !active => {}
                // These add up; of all others the first counts.
                "port" | "listenaddress" | "acceptenv" | "hostkey" => found.push((key, value)),
                "allowusers" | "denyusers" | "allowgroups" | "denygroups" => {
                    found.extend(value.split_whitespace().map(|one| (key.clone(), one.to_owned())));
                }
                _ if found.iter().any(|(known, _)| *known == key) => {}
                _ => found.push((key, value)),
            }
        }
    }
}

/// sshd(8): `-t` and `-T`.
pub(crate) fn sshd(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (mut print, mut file, mut connection) = (false, "/etc/ssh/sshd_config", None);
    let mut rest = args.iter();
    while let Some(&arg) = rest.next() {
        match arg {
            "-t" => {}
            "-T" => print = true,
            "-f" => file = rest.next().copied().unwrap_or_default(),
            "-C" => connection = rest.next().map(|spec| Connection::read(spec)),
            "-o" => {
                rest.next();
            }
            _ => shell.unknown(),
        }
    }
    if !shell.world().exists("/run/sshd") {
        return shell.fail(255, "Missing privilege separation directory: /run/sshd");
    }
    if check(shell, &[file, "/etc/ssh/sshd_config.d"], "Bad configuration option")? != 0 {
        return Ok(255);
    }
    if !print {
        return Ok(0);
    }
    let mut found = shell.world().sshd_settings(file, connection.as_ref());
    const DEFAULTS: &[(&str, &str)] = &[
        ("port", "22"),
        ("permitrootlogin", "prohibit-password"),
        ("passwordauthentication", "yes"),
        ("pubkeyauthentication", "yes"),
        ("kbdinteractiveauthentication", "yes"),
        ("permitemptypasswords", "no"),
        ("x11forwarding", "no"),
        ("maxauthtries", "6"),
        ("maxsessions", "10"),
        ("logingracetime", "120"),
        ("clientaliveinterval", "0"),
        ("clientalivecountmax", "3"),
        ("allowtcpforwarding", "yes"),
        ("allowagentforwarding", "yes"),
        ("usepam", "no"),
        ("authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"),
        ("authenticationmethods", "any"),
        ("strictmodes", "yes"),
        ("permittty", "yes"),
        ("forcecommand", "none"),
        ("chrootdirectory", "none"),
        ("trustedusercakeys", "none"),
        ("revokedkeys", "none"),
        ("authorizedkeyscommand", "none"),
        ("requiredrsasize", "1024"),
        (
            "pubkeyacceptedalgorithms",
            "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
             sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256",
        ),
        ("loglevel", "INFO"),
    ];
    for (key, value) in DEFAULTS {
        if !found.iter().any(|(known, _)| known == key) {
            found.push(((*key).to_owned(), (*value).to_owned()));
        }
    }
    // sshd prints in an order of its own, not in that of its files.
    found.sort_by_key(|(key, _)| {
        DEFAULTS.iter().position(|(known, _)| known == key).unwrap_or(DEFAULTS.len())
    });
    for (key, value) in found {
        let value = match (key.as_str(), value.as_str()) {
            ("permitrootlogin", "prohibit-password") => "without-password".to_owned(),
            _ => value,
        };
        shell.say(format!("{key} {value}"));
    }
    Ok(0)
}

/// nginx(8): `-t`, `-T`, `-v`.
pub(crate) fn nginx(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (mut test, mut print, mut file) = (false, false, "/etc/nginx/nginx.conf");
    let mut rest = args.iter();
    while let Some(&arg) = rest.next() {
        match arg {
            "-t" => test = true,
            "-T" => (test, print) = (true, true),
            "-q" => {}
            "-c" => file = rest.next().copied().unwrap_or_default(),
            "-v" | "-V" => {
                let version = shell.world().packages.get("nginx").map(|package| package.version.clone());
                let version = version.unwrap_or_default();
                let upstream = version.split('-').next().unwrap_or_default().to_owned();
                shell.complain(format!("nginx version: nginx/{upstream}"));
                return Ok(0);
            }
            _ => shell.unknown(),
        }
    }
    if !test {
        shell.unknown();
    }
    let dirs = [file, "/etc/nginx/conf.d", "/etc/nginx/sites-enabled", "/etc/nginx/snippets"];
    if shell.world().content(file).is_none() {
        return shell
            .fail(1, format!("nginx: [emerg] open() \"{file}\" failed (2: No such file or directory)"));
    }
    let sites =
        shell.world().gather(&["/etc/nginx/conf.d".to_owned(), "/etc/nginx/sites-enabled".to_owned()]);
    let mut defaults = sites
        .iter()
        .filter(|(_, text)| text.text().is_some_and(|text| text.contains("listen 80 default_server")));
    if let Some((path, _)) = defaults.nth(1) {
        shell.complain(format!("nginx: [emerg] a duplicate default server for 0.0.0.0:80 in {path}:1"));
        return shell.fail(1, format!("nginx: configuration file {file} test failed"));
    }
    if let Err(stop) = check(shell, &dirs, "unknown directive") {
        shell.complain(format!("nginx: configuration file {file} test failed"));
        return Err(stop);
    }
    shell.complain(format!("nginx: the configuration file {file} syntax is ok"));
    shell.complain(format!("nginx: configuration file {file} test is successful"));
    if print {
        let files = shell.world().gather(&dirs.map(str::to_owned));
        for (path, content) in files {
            shell.say(format!("# configuration file {path}:"));
            shell.say(content.text().unwrap_or_default());
        }
    }
    Ok(0)
}

/// dockerd(8): `--validate`.
pub(crate) fn dockerd(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    if args == ["--help"] {
        // Docker 20.10, which Debian 12 has, knows no --validate.
        let old =
            shell.world().packages.get("docker.io").is_some_and(|docker| docker.version.starts_with("20."));
        shell.say(
            "Usage:\tdockerd [OPTIONS]\n\nOptions:\n      --config-file string   Daemon configuration file",
        );
        if !old {
            shell.say("      --validate             Validate daemon configuration and exit");
        }
        return Ok(0);
    }
    if !args.contains(&"--validate") {
        shell.unknown();
    }
    let named = args
        .iter()
        .find_map(|arg| arg.strip_prefix("--config-file=").or_else(|| arg.strip_prefix("--config-file ")));
    let after = args.iter().position(|arg| *arg == "--config-file").and_then(|at| args.get(at + 1)).copied();
    let file = named.or(after).unwrap_or("/etc/docker/daemon.json");
    let content = shell.world().content(file).cloned();
    let Some(content) = content else {
        return shell.fail(1, format!("unable to configure the Docker daemon with file {file}: open {file}: no such file or directory"));
    };
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(content.bytes()) {
        return shell.fail(1, format!("unable to configure the Docker daemon with file {file}: {error}"));
    }
    check(shell, &[file], "the following directives don't match any configuration option")?;
    shell.say("configuration OK");
    Ok(0)
}

/// visudo(8): `-c`, `-cf FILE`.
pub(crate) fn visudo(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let files: Vec<&str> = match args {
        ["-c" | "-cq"] => vec!["/etc/sudoers", "/etc/sudoers.d"],
        ["-cf" | "-cqf" | "-csf", file] | ["-c", "-f", file] | ["-c", "-q", "-f", file] => {
            if shell.world().content(file).is_none() {
                return shell.fail(1, format!("visudo: unable to open {file}: No such file or directory"));
            }
            vec![file]
        }
        _ => shell.unknown(),
    };
    check(shell, &files, "syntax error")?;
    for file in files {
        shell.say(format!("{file}: parsed OK"));
    }
    Ok(0)
}

/// logrotate(8): `-d`.
pub(crate) fn logrotate(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let Some(files) = args.strip_prefix(&["-d"]).or_else(|| args.strip_prefix(&["--debug"])) else {
        shell.unknown()
    };
    for file in files {
        if !shell.world().exists(file) {
            return shell.fail(1, format!("error: cannot stat {file}: No such file or directory"));
        }
    }
    check(shell, files, "unknown option")
}

/// fail2ban-client(1): the test of its configuration, and whether its server answers.
pub(crate) fn fail2ban_client(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let active = shell.world().unit_status("fail2ban.service").active == ActiveState::Active;
    match args {
        ["-t" | "--test"] | ["-d"] => {
            check(
                shell,
                &["/etc/fail2ban/jail.conf", "/etc/fail2ban/jail.local", "/etc/fail2ban/jail.d"],
                "unknown",
            )?;
            shell.say("OK: configuration test is successful");
            Ok(0)
        }
        _ if !active => shell.fail(
            255,
            "ERROR  Failed to access socket path: /var/run/fail2ban/fail2ban.sock. Is fail2ban running?",
        ),
        ["ping"] => {
            shell.say("Server replied: pong");
            Ok(0)
        }
        ["status"] => {
            let jails = jails(&shell.world());
            shell.say(format!(
                "Status\n|- Number of jail:\t{}\n`- Jail list:\t{}",
                jails.len(),
                jails.join(", ")
            ));
            Ok(0)
        }
        ["status", jail] => {
            if !jails(&shell.world()).iter().any(|known| known == jail) {
                return shell.fail(
                    255,
                    format!("ERROR  NOK: ('{jail}',)\nSorry but the jail '{jail}' does not exist"),
                );
            }
            shell.say(format!("Status for the jail: {jail}\n|- Filter\n|  |- Currently failed:\t0\n|  |- Total failed:\t0\n|  `- Journal matches:\t_SYSTEMD_UNIT=ssh.service + _COMM=sshd\n`- Actions\n   |- Currently banned:\t0\n   |- Total banned:\t0\n   `- Banned IP list:\t"));
            Ok(0)
        }
        ["reload"] => shell
            .change("reload fail2ban.service", |world| world.reload_unit("fail2ban.service"))?
            .map_or_else(|words| shell.fail(255, words), |()| Ok(0)),
        _ => shell.unknown(),
    }
}

/// Lists the jails that the running server was started with.
fn jails(world: &World) -> Vec<String> {
    let mut enabled = std::collections::BTreeMap::new();
    let running = world.units.get("fail2ban.service").map(|unit| &unit.running_with);
    for content in running.into_iter().flat_map(|files| files.values()) {
        let mut section = String::new();
        for line in content.text().unwrap_or_default().lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some(value) =
                line.strip_prefix("enabled").and_then(|rest| rest.trim().strip_prefix('='))
            {
                enabled.insert(section.clone(), value.trim() == "true");
            }
        }
    }
    enabled.into_iter().filter(|(name, on)| *on && name != "DEFAULT").map(|(name, _)| name).collect()
}
