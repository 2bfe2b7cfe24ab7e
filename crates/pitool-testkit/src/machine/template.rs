//! Boxes made once and copied: what many cases begin with is done in one box, which is then shut down.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use super::base::Suite;
use super::disk;
use super::files::Root;
use super::guest::{BoxOptions, Machine};
use super::lab::{Lab, lock_exclusive, lock_shared};
use super::process::tool;
use super::talk::say;

/// Raised whenever the steps below change, so that templates of the old recipe are made again.
const RECIPE: &str = "1";

/// How many templates of one name and release stay: those of other packages that are tested on this host, too.
const KEPT: usize = 4;

/// The tree of a box that was prepared and shut down, to be copied by [`Machine::copy_of`].
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) suite: Suite,
    pub(crate) tree: PathBuf,
}

impl Lab {
    /// Hands out the template of a name and a key, preparing a box for it first if there is none.
    ///
    /// `key` names everything that `prepare` puts into the box: another key is another template.
    pub fn template(
        &self,
        suite: Suite,
        name: &str,
        key: &str,
        prepare: impl FnOnce(&Machine) -> Result<()>,
    ) -> Result<Template> {
        let base = self.base(suite)?;
        let stamp = format!("{RECIPE} {} {key}", base.file_name().unwrap_or_default().to_string_lossy());
        let stamp = &blake3::hash(stamp.as_bytes()).to_hex()[..8];
        let tree = self.state().join(format!("template-{suite}-{name}-{stamp}"));
        let template = Template { suite, tree };
        let _lock = lock_exclusive(&template.lock_file())?;
        if template.tree.is_dir() {
            return Ok(template);
        }
        let started = Instant::now();
        say(&format!("making the {suite} template {name}, once"));
        self.remove_old_templates(&format!("template-{suite}-{name}-"))?;
        let mut machine = Machine::up(self, suite, &BoxOptions::named("template"))?;
        prepare(&machine).with_context(|| format!("making the {suite} template {name}"))?;
        machine.shut_down()?;
        forget(&machine.dir())?;
        // Its packages go where each copy gets them from.
        if let Some(archives) = machine.archives() {
            self.collect(archives, suite.codename(), &machine.dir())?;
        }
        fs::rename(machine.dir(), &template.tree)
            .with_context(|| format!("renaming {}", machine.dir().display()))?;
        machine.down()?;
        say(&format!("made the {suite} template {name} in {:.0} s", started.elapsed().as_secs_f64()));
        Ok(template)
    }

    /// Removes all but the youngest templates of a name, as long as nobody copies them.
    fn remove_old_templates(&self, prefix: &str) -> Result<()> {
        let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(self.state())? {
            let path = entry?.path();
            let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
            if ours && path.is_dir() {
                found.push((path.metadata()?.modified()?, path));
            }
        }
        found.sort();
        let surplus = (found.len() + 1).saturating_sub(KEPT);
        for (_, path) in found.into_iter().take(surplus) {
            let file = fs::OpenOptions::new().create(true).append(true).open(lock_file(&path))?;
            if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }
}

impl Template {
    fn lock_file(&self) -> PathBuf {
        lock_file(&self.tree)
    }

    /// Copies the tree to where a box will live, as a machine of its own.
    pub(crate) fn copy(&self, lab: &Lab, target: &Path, name: &str, scratch: &Path) -> Result<()> {
        {
            // Held so that nobody removes the template half way through the copy.
            let _lock = lock_shared(&self.lock_file())?;
            disk::copy(&self.tree, target, lab.shares())?;
        }
        let root = Root::open(target)?;
        let old = String::from_utf8(root.read("/etc/hostname")?)?;
        let hosts = String::from_utf8(root.read("/etc/hosts")?)?;
        let hosts = renamed(&hosts, old.trim(), name);
        root.write("/etc/hostname", format!("{name}\n").as_bytes(), 0o644)?;
        root.write("/etc/hosts", hosts.as_bytes(), 0o644)?;
        // As in the base tree: systemd makes one at the first boot.
        root.write("/etc/machine-id", b"", 0o444)?;
        host_keys(&root, name, scratch)
    }
}

fn lock_file(tree: &Path) -> PathBuf {
    let mut name = tree.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Removes from a box that is off what belongs to this one boot of this one machine.
fn forget(tree: &Path) -> Result<()> {
    for folder in ["var/log/journal", "var/tmp", "tmp", "var/cache/apt/archives"] {
        for entry in fs::read_dir(tree.join(folder)).into_iter().flatten() {
            let path = entry?.path();
            let removed = if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let root = Root::open(tree)?;
    root.remove("/var/lib/systemd/random-seed")
}

/// Replaces a host name in the words of a hosts file, and leaves everything else as it is.
fn renamed(hosts: &str, old: &str, new: &str) -> String {
    let word = |word: &str| if word.trim() == old { word.replace(old, new) } else { word.to_owned() };
    hosts.split_inclusive([' ', '\t', '\n']).map(word).collect()
}

/// Gives the machine new host keys of the kinds that it has.
fn host_keys(root: &Root, name: &str, scratch: &Path) -> Result<()> {
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let path = format!("/etc/ssh/ssh_host_{kind}_key");
        if root.read(&path).is_err() {
            continue;
        }
        let key = scratch.join(format!("host-key-{kind}"));
        let file = key.display().to_string();
        tool("ssh-keygen", ["-q", "-t", kind, "-N", "", "-C", &format!("root@{name}"), "-f", &file])?;
        let public = key.with_extension("pub");
        root.write(&path, &fs::read(&key)?, 0o600)?;
        root.write(&format!("{path}.pub"), &fs::read(&public)?, 0o644)?;
        fs::remove_file(key)?;
        fs::remove_file(public)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn only_the_host_name_is_replaced() {
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\ttemplate template.lan\n# template-box\n::1 template\n";
        let expected = "127.0.0.1\tlocalhost\n127.0.1.1\tpi template.lan\n# template-box\n::1 pi\n";
        assert_eq!(renamed(hosts, "template", "pi"), expected);
    }
}
