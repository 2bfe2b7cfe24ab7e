//! Swap files.

use pitool_host::Access;

use crate::shell::{Ending, Shell};
use crate::world::{Node, World, split};

/// The first bytes that mkswap leaves; enough to know a swap file by.
const SIGNATURE: &str = "SWAPSPACE2";

impl World {
    /// Brings /proc/swaps up to date.
    pub(crate) fn write_swaps(&mut self) {
        let mut text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_owned();
        for (index, (path, size)) in self.swaps.iter().enumerate() {
            let kind = if path.starts_with("/dev/") { "partition" } else { "file" };
            text += &format!("{path:<40}{kind}\t\t{}\t\t0\t\t-{}\n", size / 1024 - 4, index + 2);
        }
        self.put("/proc/swaps", text);
    }

    /// Turns swap on; `false` where there is no swap file.
    pub(crate) fn swap_on(&mut self, path: &str) -> bool {
        let size = match self.node(path, true) {
            Some(Node::File { content, size, .. }) if content.text() == Some(SIGNATURE) => {
                size.unwrap_or_default()
            }
            _ => return false,
        };
        self.swaps.insert(path.to_owned(), size);
        self.write_swaps();
        true
    }

    /// Turns swap off.
    pub(crate) fn swap_off(&mut self, path: &str) -> bool {
        let was = self.swaps.remove(path).is_some();
        self.write_swaps();
        was
    }

    fn fstab_swaps(&self) -> Vec<String> {
        let lines = self.text("/etc/fstab").lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let swaps =
            lines.filter(|fields| fields.len() >= 3 && fields[2] == "swap" && !fields[0].starts_with('#'));
        swaps.map(|fields| fields[0].to_owned()).collect()
    }

    /// Sets swap up as at boot: what /etc/fstab says, and what the image's own tool does. Units come later.
    pub(crate) fn mount_swaps(&mut self) {
        self.swaps.retain(|path, _| path.starts_with("/dev/zram") || path == "/var/swap");
        if !self.packages.installed("rpi-swap") {
            self.swaps.retain(|path, _| !path.starts_with("/dev/zram"));
        }
        if !self.packages.installed("dphys-swapfile") {
            self.swaps.remove("/var/swap");
        }
        for path in self.fstab_swaps() {
            self.swap_on(&path);
        }
        self.write_swaps();
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].trim_end_matches("iB") {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? * factor)
}

/// fallocate(1).
pub(crate) fn fallocate(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let (length, path) = match args {
        ["-l" | "--length", length, path] => (*length, *path),
        _ => shell.unknown(),
    };
    let Some(length) = bytes(length) else { shell.unknown() };
    let access = match shell.world().node(path, true) {
        Some(Node::File { access, .. }) => *access,
        _ => Access::root(0o644),
    };
    if !shell.world().is_dir(split(path).0) {
        return shell.fail(1, format!("fallocate: cannot open {path}: No such file or directory"));
    }
    shell.change(&format!("fallocate {path}"), |world| {
        world.put(path, "");
        if let Ok(real) = world.real(path, true) {
            world.nodes.insert(real, Node::File { content: "".into(), size: Some(length), access });
        }
    })?;
    Ok(0)
}

/// mkswap(8).
pub(crate) fn mkswap(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let Some(path) = args.iter().copied().find(|arg| arg.starts_with('/')) else { shell.unknown() };
    if !matches!(shell.world().node(path, true), Some(Node::File { .. })) {
        return shell.fail(1, format!("mkswap: cannot open {path}: No such file or directory"));
    }
    shell.change(&format!("mkswap {path}"), |world| {
        let Ok(real) = world.real(path, true) else { return };
        if let Some(Node::File { content, size, .. }) = world.nodes.get_mut(&real) {
            size.get_or_insert(content.bytes().len() as u64);
            *content = SIGNATURE.into();
        }
    })?;
    Ok(0)
}

/// swapon(8).
pub(crate) fn swapon(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let paths: Vec<String> = match args {
        ["-a" | "--all"] => shell.world().fstab_swaps(),
        ["--show" | "-s", ..] => {
            let text = shell.world().text("/proc/swaps").trim_end().to_owned();
            shell.say(text);
            return Ok(0);
        }
        _ => args.iter().filter(|arg| arg.starts_with('/')).map(|&arg| arg.to_owned()).collect(),
    };
    let all = args.first().is_some_and(|arg| *arg == "-a" || *arg == "--all");
    for path in paths {
        if shell.world().swaps.contains_key(&path) {
            if !all {
                return shell.fail(255, format!("swapon: {path}: swapon failed: Device or resource busy"));
            }
            continue;
        }
        if !shell.change(&format!("swapon {path}"), |world| world.swap_on(&path))? {
            return shell.fail(255, format!("swapon: {path}: read swap header failed"));
        }
    }
    Ok(0)
}

/// swapoff(8).
pub(crate) fn swapoff(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let paths: Vec<String> = match args {
        ["-a" | "--all"] => shell.world().swaps.keys().cloned().collect(),
        _ => args.iter().filter(|arg| arg.starts_with('/')).map(|&arg| arg.to_owned()).collect(),
    };
    for path in paths {
        if !shell.world().swaps.contains_key(&path) {
            return shell.fail(4, format!("swapoff: {path}: swapoff failed: Invalid argument"));
        }
        shell.change(&format!("swapoff {path}"), |world| world.swap_off(&path))?;
    }
    Ok(0)
}

/// blkid(8), only `-p -t TYPE=swap FILE`: 2 where the file holds something else.
pub(crate) fn blkid(shell: &mut Shell<'_>, args: &[&str]) -> Ending {
    let ["-p", "-t", "TYPE=swap", path] = args else { shell.unknown() };
    let formatted = shell.world().content(path).is_some_and(|content| content.text() == Some(SIGNATURE));
    Ok(if formatted { 0 } else { 2 })
}
