//! Control groups of boxes: one of its own per box in every hierarchy, so that two boxes never share a slice.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::process::{tool, wait_until};

/// Tells whether this host is run by systemd, which then has to be asked for control groups.
pub(crate) fn host_has_systemd() -> bool {
    // The folder alone proves nothing: installing packages creates it on hosts without a running systemd.
    fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd")
}

/// Makes the group of a box in every hierarchy and hands back the folders a process has to be put into.
pub(crate) fn create(name: &str, memory_mib: Option<u32>) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for (root, version) in hierarchies()? {
        if version == 2 {
            let available = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            for controller in available.split_whitespace() {
                let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        let group = root.join(name);
        if !group.exists() {
            fs::create_dir(&group).with_context(|| format!("creating {}", group.display()))?;
        }
        // A new cpuset has no processors and no memory, and then takes no process either.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if version == 1 && group.join(file).exists() {
                let inherited = fs::read_to_string(root.join(file))?;
                fs::write(group.join(file), inherited.trim())?;
            }
        }
        if let Some(mib) = memory_mib {
            let bytes = (u64::from(mib) * 1024 * 1024).to_string();
            for file in ["memory.limit_in_bytes", "memory.max"] {
                if group.join(file).exists() {
                    fs::write(group.join(file), &bytes).context("limiting the box's memory")?;
                }
            }
        }
        made.push(group);
    }
    Ok(made)
}

/// Removes the group of a box with all groups its systemd made below.
pub(crate) fn remove(name: &str) -> Result<()> {
    if host_has_systemd() {
        let _ = tool("systemctl", ["stop", &format!("{name}.scope")]);
        return Ok(());
    }
    for (root, _) in hierarchies()? {
        let group = root.join(name);
        let removed = wait_until(std::time::Duration::from_secs(5), || {
            remove_groups(&group);
            !group.exists()
        });
        anyhow::ensure!(removed, "the control group {} is still in use", group.display());
    }
    Ok(())
}

fn remove_groups(group: &Path) {
    if let Ok(entries) = fs::read_dir(group) {
        for entry in entries.flatten() {
            if entry.path().is_dir() {
                remove_groups(&entry.path());
            }
        }
    }
    let _ = fs::remove_dir(group);
}

fn hierarchies() -> Result<Vec<(PathBuf, u8)>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    let mut found: Vec<(PathBuf, u8)> = Vec::new();
    for line in mounts.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (Some(point), Some(kind)) = (words.get(1), words.get(2)) else { continue };
        let version = match *kind {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => continue,
        };
        if point.starts_with("/sys/fs/cgroup") && !found.iter().any(|(seen, _)| seen == Path::new(point)) {
            found.push((PathBuf::from(point), version));
        }
    }
    Ok(found)
}
