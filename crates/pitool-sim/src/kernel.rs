//! What belongs to the kernel: sysctl, the host name, uname.

use crate::shell::{Ending, Shell};
use crate::world::{World, split};

/// Gives the file of a sysctl key.
pub(crate) fn path(key: &str) -> String {
    // sysctl(8): a key with slashes is a path already; otherwise dots part and slashes stand for dots.
    let key = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    format!("/proc/sys/{key}")
}

fn settings(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().trim_start_matches('-').to_owned(), value.trim().to_owned()))
        .collect()
}

impl World {
    /// Lists sysctl's files in the order in which they are read: by name, those of /etc before those of /usr/lib.
    fn sysctl_files(&self) -> Vec<String> {
        let mut files = std::collections::BTreeMap::new();
        for dir in ["/usr/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"] {
            for name in self.names(dir).unwrap_or_default() {
                if name.ends_with(".conf") {
                    files.insert(name.clone(), format!("{dir}/{name}"));
                }
            }
        }
        files.into_values().collect()
    }

    /// Writes what sysctl's files say; unknown keys are left out.
    pub(crate) fn apply_sysctls(&mut self) {
        for file in self.sysctl_files() {
            for (key, value) in settings(self.text(&file)) {
                let path = path(&key);
                if self.exists(&path) {
                    self.edit(&path, format!("{value}\n"));
                }
            }
        }
    }

    /// Takes the host name from /etc/hostname, as at boot.
    pub(crate) fn take_host_name(&mut self) {
        let name = self.text("/etc/hostname").trim().to_owned();
        if !name.is_empty() {
            self.edit("/proc/sys/kernel/hostname", format!("{name}\n"));
        }
    }
}

/// sysctl(8).
pub(crate) fn sysctl(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let mut ignore = false;
    let mut words = Vec::new();
    let (mut system, mut write, mut load, mut value_only) = (false, false, false, false);
    for &arg in args {
        match arg {
            "--system" => system = true,
            "-e" | "--ignore" => ignore = true,
            "-w" | "--write" => write = true,
            "-p" | "--load" => load = true,
            "-n" | "--values" => value_only = true,
            "-q" | "--quiet" => {}
            _ if arg.starts_with("-p") => {
                load = true;
                words.push(&arg[2..]);
            }
            _ if arg.starts_with("--load=") => {
                load = true;
                words.push(&arg[7..]);
            }
            _ if arg.starts_with('-') => shell.unknown(),
            _ => words.push(arg),
        }
    }
    let files: Vec<String> = match (system, load) {
        (true, _) => shell.world().sysctl_files(),
        (false, true) if words.is_empty() => vec!["/etc/sysctl.conf".to_owned()],
        (false, true) => words.iter().map(|&word| word.to_owned()).collect(),
        (false, false) => Vec::new(),
    };
    let mut pairs = Vec::new();
    for file in &files {
        if shell.world().content(file).is_none() {
            return shell.fail(255, format!("sysctl: cannot open \"{file}\": No such file or directory"));
        }
        if system {
            shell.say(format!("* Applying {file} ..."));
        }
        pairs.extend(settings(shell.world().text(file)));
    }
    let mut status = 0;
    if !system && !load {
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => pairs.push((key.trim().to_owned(), value.trim().to_owned())),
                None if write => shell.unknown(),
                None => {
                    let value = shell
                        .world()
                        .content(&path(word))
                        .and_then(|held| held.text())
                        .map(|held| held.trim().to_owned());
                    match value {
                        Some(value) if value_only => shell.say(value),
                        Some(value) => shell.say(format!("{word} = {value}")),
                        None => {
                            shell.complain(format!(
                                "sysctl: cannot stat {}: No such file or directory",
                                path(word)
                            ));
                            status = 255;
                        }
                    }
                }
            }
        }
    }
    for (key, value) in pairs {
        let path = path(&key);
        if !shell.world().exists(&path) {
            if !ignore {
                shell.complain(format!("sysctl: cannot stat {path}: No such file or directory"));
                // procps goes on after a key that is not there, and with --system does not count it.
                status = if system { status } else { 255 };
            }
            continue;
        }
        shell.change(&format!("set {key}"), |world| world.edit(&path, format!("{value}\n")))?;
        shell.say(format!("{key} = {value}"));
    }
    Ok(status)
}

/// hostname(1).
pub(crate) fn hostname(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    match args {
        [] => {
            let name = shell.world().text("/proc/sys/kernel/hostname").trim().to_owned();
            shell.say(name);
        }
        [name] if !name.starts_with('-') => {
            shell.change("set kernel.hostname", |world| {
                world.edit("/proc/sys/kernel/hostname", format!("{name}\n"))
            })?;
        }
        ["-F" | "--file", file] => {
            let name = shell.world().text(file).trim().to_owned();
            shell.change("set kernel.hostname", |world| {
                world.edit("/proc/sys/kernel/hostname", format!("{name}\n"))
            })?;
        }
        _ => shell.unknown(),
    }
    Ok(0)
}

/// uname(1).
pub(crate) fn uname(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let file = match args {
        ["-r"] => "osrelease",
        ["-m"] => "arch",
        ["-s"] | [] => "ostype",
        ["-n"] => "hostname",
        _ => shell.unknown(),
    };
    let text = shell.world().text(&format!("/proc/sys/kernel/{file}")).trim().to_owned();
    shell.say(text);
    Ok(0)
}

impl World {
    /// Makes the directory of a path where it is missing.
    pub(crate) fn make_parent(&mut self, path: &str) {
        self.put_dir(split(path).0);
    }
}
