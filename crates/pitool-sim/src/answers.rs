//! What daemons, the kernel and the network answer when they are asked whether a promise is in force.

use pitool_host::{ActiveState, Content};

use crate::shell::{Ending, Shell};
use crate::world::World;

impl World {
    pub(crate) fn active(&self, unit: &str) -> bool {
        self.unit_status(unit).active == ActiveState::Active
    }

    /// Whether this is Debian 12 or what is built from it.
    pub(crate) fn debian_12(&self) -> bool {
        self.text("/etc/os-release").contains("VERSION_ID=\"12\"")
    }

    /// The lines of the files that a running unit was started with, in the order of their names.
    fn running_lines(&self, unit: &str) -> Vec<String> {
        let files = self.units.get(unit).filter(|_| self.active(unit)).map(|unit| &unit.running_with);
        let texts = files.into_iter().flat_map(|files| files.values().filter_map(Content::text));
        texts.flat_map(str::lines).map(|line| line.trim().to_owned()).collect()
    }
}

/// systemd-analyze(1): `cat-config`. A file of a name hides those of the same name in directories of less weight.
pub(crate) fn systemd_analyze(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let ["cat-config", name] = args else { shell.unknown() };
    let world = shell.world();
    let main = format!("/etc/{name}");
    let mut drop_ins = std::collections::BTreeMap::new();
    for root in ["/usr/lib", "/usr/local/lib", "/run", "/etc"] {
        let dir = format!("{root}/{name}.d");
        for file in world.names(&dir).unwrap_or_default().into_iter().filter(|file| file.ends_with(".conf")) {
            drop_ins.insert(file.clone(), format!("{dir}/{file}"));
        }
    }
    let paths: Vec<String> = std::iter::once(main).chain(drop_ins.into_values()).collect();
    let texts: Vec<String> = paths
        .iter()
        .filter(|path| world.exists(path))
        .map(|path| format!("# {path}\n{}", world.text(path)))
        .collect();
    drop(world);
    if texts.is_empty() {
        return shell.fail(1, format!("Failed to find config file {name}: No such file or directory"));
    }
    shell.say(texts.join("\n"));
    Ok(0)
}

/// ss(8): the TCP ports on which something listens, with whom.
pub(crate) fn ss(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    if args != ["-Hltnp"] {
        shell.unknown();
    }
    let sshd = shell.world().running_lines("ssh.service");
    let active = shell.world().active("ssh.service");
    let mut ports: Vec<&str> = sshd.iter().filter_map(|line| line.strip_prefix("Port ")).collect();
    if ports.is_empty() && active {
        ports.push("22");
    }
    for port in ports {
        for address in ["0.0.0.0", "[::]"] {
            shell.say(format!(
                "LISTEN 0      128    {address}:{port} {address}:* users:((\"sshd\",pid=75,fd=6))"
            ));
        }
    }
    if shell.world().active("nginx.service") {
        shell.say("LISTEN 0      511    0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=584,fd=5))");
    }
    Ok(0)
}

/// iptables(8): `-S` with ufw's and Docker's chains as far as anybody asks for them, and `--version`.
pub(crate) fn iptables(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    match args {
        ["--version"] => shell.say("iptables v1.8.11 (nf_tables)"),
        // No container is running without a daemon.
        ["-t", "nat", "-S"] => shell.say("-P PREROUTING ACCEPT"),
        ["-S"] => {
            let world = shell.world();
            let ufw = world.running_lines("ufw.service");
            let on = ufw.iter().any(|line| line == "ENABLED=yes");
            let docker = world.active("docker.service");
            let guard = world.active("pitool-docker-firewall.service");
            let guards = ["v4", "rest"]
                .map(|part| world.text(&format!("/etc/docker/pitool-firewall.{part}")).to_owned())
                .concat();
            drop(world);
            shell.say(format!("-P INPUT {}", if on { "DROP" } else { "ACCEPT" }));
            if docker || guard {
                shell.say("-N DOCKER-USER");
            }
            if on {
                shell.say("-A INPUT -j ufw-before-logging-input\n-A INPUT -j ufw-before-input");
                shell.say("-A ufw-before-input -i lo -j ACCEPT");
            }
            if docker {
                shell.say("-A FORWARD -j DOCKER-USER");
            }
            if guard {
                shell.say("-A DOCKER-USER -j PITOOL-DOCKER");
                guards.lines().filter(|line| line.starts_with("-A ")).for_each(|line| shell.say(line));
            }
            let rules = ufw.iter().filter(|line| on && line.starts_with("-A ufw-user-input "));
            // The kernel tells the module of a match, which ufw's file leaves out.
            rules.for_each(|line| shell.say(line.replace("-p tcp ", "-p tcp -m tcp ")));
        }
        _ => shell.unknown(),
    }
    Ok(0)
}

/// su(1): a login of root's that prints its LANG, which PAM reads from /etc/default/locale.
pub(crate) fn su(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let ["-", "root", "-c", "printenv LANG"] = args else { shell.unknown() };
    let world = shell.world();
    let lang = world.text("/etc/default/locale").lines().find_map(|line| line.strip_prefix("LANG="));
    let lang = lang.map(|value| value.trim_matches('"').to_owned());
    drop(world);
    match lang {
        Some(lang) => {
            shell.say(lang);
            Ok(0)
        }
        None => Ok(1),
    }
}

/// curl(1): the web server of this machine, or the internet.
pub(crate) fn curl(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let url = args.iter().find(|arg| arg.contains("://")).copied().unwrap_or_default();
    let secured = url.starts_with("https://") && args.contains(&"--resolve");
    if !url.starts_with("http://127.0.0.1/") && !secured {
        return if shell.offline() { shell.fail(6, "curl: (6) Could not resolve host") } else { Ok(0) };
    }
    if !shell.world().active("nginx.service") {
        shell.print("\n000");
        return shell.fail(
            7,
            "curl: (7) Failed to connect to 127.0.0.1 port 80 after 0 ms: Could not connect to server",
        );
    }
    if secured {
        let certificate = shell.world().running_lines("nginx.service").iter().find_map(|line| {
            Some(line.trim().strip_prefix("ssl_certificate ")?.trim_end_matches(';').to_owned())
        });
        let Some(certificate) = certificate else {
            shell.print("\n000");
            return shell.fail(
                7,
                "curl: (7) Failed to connect to 127.0.0.1 port 443 after 0 ms: Could not connect to server",
            );
        };
        if args.contains(&"%{certs}") {
            let text = shell.world().text(&certificate).to_owned();
            shell.print(&format!("Cert:{text}"));
            return Ok(0);
        }
    }
    let healthy =
        shell.world().running_lines("nginx.service").iter().any(|line| line.contains("return 200 \"healthy"));
    shell.print(if healthy { "healthy\n\n200" } else { "<html>404 Not Found</html>\n404" });
    Ok(0)
}

/// bash(1): a mere connection, by its own /dev/tcp, or a question to the monitor.
pub(crate) fn bash(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let ["-c", script, "bash", host, _port] = args else { shell.unknown() };
    if script.contains("GET /metrics") {
        if shell.world().active("pitool-monitor.service") {
            shell.print(
                "HTTP/1.1 200 OK\r\n\r\n# TYPE node_boot_time_seconds gauge\nnode_boot_time_seconds 1\n",
            );
            return Ok(0);
        }
        return shell.fail(1, "bash: connect: Connection refused");
    }
    if !script.contains("/dev/tcp/") {
        shell.unknown();
    }
    if shell.offline() {
        return shell.fail(1, format!("bash: {host}: Temporary failure in name resolution"));
    }
    Ok(0)
}

/// apt-config(8): `dump`, of the files in /etc/apt/apt.conf.d alone.
pub(crate) fn apt_config(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    if args != ["dump"] {
        shell.unknown();
    }
    let mut found: Vec<(String, String)> = Vec::new();
    let files = shell.world().gather(&["/etc/apt/apt.conf.d".to_owned()]);
    for content in files.values() {
        let mut scopes: Vec<String> = Vec::new();
        for line in content.text().unwrap_or_default().lines().map(str::trim) {
            let name =
                |key: &str| scopes.iter().map(String::as_str).chain([key]).collect::<Vec<_>>().join("::");
            if line.is_empty() || line.starts_with("//") {
            } else if let Some(cleared) = line.strip_prefix("#clear ") {
                let cleared = cleared.trim_end_matches(';');
                found.retain(|(key, _)| key != cleared && !key.starts_with(&format!("{cleared}::")));
            } else if let Some(scope) = line.strip_suffix('{') {
                scopes.push(scope.trim().to_owned());
            } else if line.starts_with('}') {
                scopes.pop();
            } else if let Some((key, value)) = line.trim_end_matches(';').split_once('"') {
                let key = name(key.trim());
                let value = value.trim_end_matches('"').to_owned();
                // A name that ends in colons is one more of a list; any other takes the place of its older value.
                if !key.ends_with("::") {
                    found.retain(|(known, _)| *known != key);
                }
                found.push((key, value));
            }
        }
    }
    found.iter().for_each(|(key, value)| shell.say(format!("{key} \"{value}\";")));
    Ok(0)
}
