//! Files of a box, reached from outside without ever following a link out of it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The root of a box, as the kernel is to see it: absolute links and `..` end there.
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self(file.into()))
    }

    fn at(&self, path: &str, flags: OFlag, mode: u32) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(mode))
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.0, path, how)
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.at(path, OFlag::O_RDONLY, 0).with_context(|| format!("opening {path} in the box"))?;
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes).with_context(|| format!("reading {path} in the box"))?;
        Ok(bytes)
    }

    pub(crate) fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        self.parents(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let file = self.at(path, flags, mode).with_context(|| format!("creating {path} in the box"))?;
        let mut file = File::from(file);
        // Not through the umask of whoever runs the test.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(contents).with_context(|| format!("writing {path} in the box"))
    }

    /// Removes a file or link; one that is not there is fine.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let (parent, name) = split(path)?;
        let folder =
            self.at(parent, OFlag::O_PATH, 0).with_context(|| format!("opening {parent} in the box"))?;
        match unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("removing {path} in the box")),
        }
    }

    fn parents(&self, path: &str) -> Result<()> {
        let (parent, _) = split(path)?;
        match self.at(parent, OFlag::O_PATH, 0) {
            Ok(_) => Ok(()),
            Err(Errno::ENOENT) => {
                self.parents(parent)?;
                let (above, name) = split(parent)?;
                let folder = self.at(above, OFlag::O_PATH, 0)?;
                mkdirat(&folder, name, Mode::from_bits_truncate(0o755))
                    .with_context(|| format!("creating {parent} in the box"))
            }
            Err(error) => Err(error).with_context(|| format!("opening {parent} in the box")),
        }
    }
}

fn split(path: &str) -> Result<(&str, &str)> {
    match path.rsplit_once('/') {
        Some((parent, name)) if path.starts_with('/') && !name.is_empty() => {
            Ok((if parent.is_empty() { "/" } else { parent }, name))
        }
        _ => bail!("{path:?} is no absolute path of a file in a box"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_out_of_the_box() {
        let outside = std::env::temp_dir().join(format!("pitool-root-{}", std::process::id()));
        let inside = outside.join("box");
        fs::create_dir_all(inside.join("etc")).unwrap();
        std::os::unix::fs::symlink(outside.join("victim"), inside.join("etc/absolute")).unwrap();
        std::os::unix::fs::symlink("../../victim", inside.join("etc/relative")).unwrap();
        let root = Root::open(&inside).unwrap();
        for link in ["/etc/absolute", "/etc/relative"] {
            let _ = root.write(link, b"x", 0o600);
        }
        assert!(!outside.join("victim").exists());
        assert_eq!(root.read("/victim").unwrap(), b"x");
        root.write("/a/b/c", b"deep", 0o640).unwrap();
        assert_eq!(fs::metadata(inside.join("a/b/c")).unwrap().permissions().mode() & 0o7777, 0o640);
        fs::remove_dir_all(outside).unwrap();
    }
}
