//! Boxes made once and copied: what many cases begin with is done in one box, which is then shut down.

mod make;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::base::Suite;
use super::disk;
use super::files::Root;
use super::lab::{Lab, lock_shared};
use super::process::tool;

/// The tree of a box that was prepared and shut down, to be copied by [`Machine::copy_of`](super::Machine::copy_of).
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) suite: Suite,
    pub(crate) tree: PathBuf,
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
