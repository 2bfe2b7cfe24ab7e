//! What unit files say of a unit, for a machine without a running manager.

use crate::{FileType, Inspect, Result, UNIT_DIRECTORIES, UnitStatus};

/// Answers as `systemctl show` would, with the unit inactive.
pub(super) fn status(inspect: &dyn Inspect, name: &str) -> Result<UnitStatus> {
    let mut status = UnitStatus { name: name.to_owned(), ..UnitStatus::default() };
    if let Some(file_state) = file_state(inspect, name)? {
        status.exists = true;
        status.file_state = file_state;
    }
    Ok(status)
}

/// The `UnitFileState`; `None` where there is no unit file.
fn file_state(inspect: &dyn Inspect, name: &str) -> Result<Option<String>> {
    let mut name = name.to_owned();
    // An alias is a link to a unit of another name; aliases of aliases are rare, circles an error of somebody.
    for _ in 0..4 {
        let Some((directory, file)) = fragment(inspect, &name)? else {
            return sysv(inspect, &name);
        };
        let path = format!("{directory}/{file}");
        if let Some(FileType::Link(target)) = inspect.stat(&path)?.map(|stat| stat.file_type) {
            if target == "/dev/null" {
                return Ok(Some(runtime("masked", directory)));
            }
            let aliased = target.rsplit('/').next().unwrap_or_default();
            if aliased != file && aliased.contains('.') {
                aliased.clone_into(&mut name);
                continue;
            }
        }
        let content = inspect.read(&path)?;
        let text = content.as_ref().and_then(|content| content.text()).unwrap_or_default();
        if text.is_empty() {
            // A dangling link or an empty file masks too.
            return Ok(Some(runtime("masked", directory)));
        }
        for directory in ["/etc/systemd/system", "/run/systemd/system"] {
            if linked(inspect, directory, &name)? {
                return Ok(Some(runtime("enabled", directory)));
            }
        }
        return Ok(Some(install_state(text).to_owned()));
    }
    Ok(None)
}

fn runtime(state: &str, directory: &str) -> String {
    if directory.starts_with("/run/") { format!("{state}-runtime") } else { state.to_owned() }
}

/// Where a unit's file is, and its name: that of the template for an instance.
fn fragment(inspect: &dyn Inspect, name: &str) -> Result<Option<(&'static str, String)>> {
    for file in std::iter::once(name.to_owned()).chain(template(name)) {
        for directory in UNIT_DIRECTORIES {
            if inspect.stat(&format!("{directory}/{file}"))?.is_some() {
                return Ok(Some((directory, file)));
            }
        }
    }
    Ok(None)
}

/// `getty@.service` for `getty@tty1.service`.
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    if instance.is_empty() { None } else { Some(format!("{prefix}@.{suffix}")) }
}

/// Whether `[Install]` was carried out in this directory: a link of the unit's name in a directory of a target's,
/// or an alias beside it. A template is enabled when any of its instances is.
fn linked(inspect: &dyn Inspect, directory: &str, name: &str) -> Result<bool> {
    let is_ours = |other: &str| other == name || template(other).is_some_and(|template| template == name);
    for entry in inspect.list(directory)?.unwrap_or_default() {
        let path = format!("{directory}/{entry}");
        if [".wants", ".requires", ".upholds"].iter().any(|suffix| entry.ends_with(suffix)) {
            if inspect.list(&path)?.unwrap_or_default().iter().any(|link| is_ours(link)) {
                return Ok(true);
            }
        } else if entry != name {
            if let Some(FileType::Link(target)) = inspect.stat(&path)?.map(|stat| stat.file_type) {
                if target.rsplit('/').next() == Some(name) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// The state of a unit that nobody enabled.
fn install_state(text: &str) -> &'static str {
    let mut install = false;
    let mut state = "static";
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            install = line == "[Install]";
        } else if install {
            match line.split_once('=').map(|(key, _)| key.trim()) {
                Some("WantedBy" | "RequiredBy" | "UpheldBy" | "Alias") => return "disabled",
                Some("Also") => state = "indirect",
                _ => {}
            }
        }
    }
    state
}

/// A service that systemd-sysv-generator(8) would make at boot from a script in /etc/init.d.
fn sysv(inspect: &dyn Inspect, name: &str) -> Result<Option<String>> {
    let Some(script) = name.strip_suffix(".service") else { return Ok(None) };
    let there = inspect.stat(&format!("/etc/init.d/{script}"))?;
    Ok(there.filter(|stat| stat.access.mode & 0o111 != 0).map(|_| "generated".to_owned()))
}
