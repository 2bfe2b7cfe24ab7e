//! File trees of a box seen from outside, to tell whether a rollback brought everything back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use super::guest::Machine;

/// The entries of one or more trees, by their paths in the box.
pub type Tree = BTreeMap<PathBuf, Entry>;

/// What a path in a box is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What stands there, and what is in it.
    pub kind: Kind,
    /// The permission bits, with set-user-id and the like.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// What can stand at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, with the BLAKE3 digest of its bytes.
    File(String),
    /// A folder.
    Folder,
    /// A symbolic link, with its target.
    Link(PathBuf),
    /// A device, socket or pipe, with its device number.
    Special(&'static str, u64),
}

/// Reads trees of the box without starting any process in it; a folder that is not there has no entries.
pub fn snapshot(machine: &Machine, folders: &[&str]) -> Result<Tree> {
    let root = machine.dir();
    let mut tree = Tree::new();
    for folder in folders {
        let relative =
            Path::new(folder).strip_prefix("/").with_context(|| format!("{folder}: not absolute"))?;
        let path = root.join(relative);
        if let Some(parent) = path.parent().filter(|parent| parent.exists()) {
            // A link such as /var/run would lead to the host's own files.
            let real = parent.canonicalize()?;
            ensure!(real.starts_with(&root), "{folder} leads out of the box: name the real path");
        }
        if path.symlink_metadata().is_ok() {
            walk(&root, &path, &mut tree)?;
        }
    }
    Ok(tree)
}

fn walk(root: &Path, path: &Path, tree: &mut Tree) -> Result<()> {
    for entry in WalkDir::new(path).follow_root_links(false) {
        let entry = entry?;
        add(root, entry.path(), &entry.metadata()?, tree)?;
    }
    Ok(())
}

fn add(root: &Path, path: &Path, metadata: &fs::Metadata, tree: &mut Tree) -> Result<()> {
    let context = || format!("reading {}", path.display());
    let kind = metadata.file_type();
    let kind = if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Link(fs::read_link(path).with_context(context)?)
    } else if kind.is_file() {
        let mut hasher = blake3::Hasher::new();
        let file = fs::File::open(path).with_context(context)?;
        hasher.update_reader(file).with_context(context)?;
        Kind::File(hasher.finalize().to_hex().to_string())
    } else if kind.is_fifo() {
        Kind::Special("pipe", 0)
    } else if kind.is_socket() {
        Kind::Special("socket", 0)
    } else if kind.is_block_device() {
        Kind::Special("block device", metadata.rdev())
    } else {
        Kind::Special("character device", metadata.rdev())
    };
    let name = Path::new("/").join(path.strip_prefix(root)?);
    let mode = metadata.mode() & 0o7777;
    tree.insert(name, Entry { kind, mode, uid: metadata.uid(), gid: metadata.gid() });
    Ok(())
}

/// Says what differs between two snapshots, one line for each difference, in order of the paths.
pub fn diff(before: &Tree, after: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let mut paths: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let path_text = path.display();
        match (before.get(path), after.get(path)) {
            (Some(_), None) => lines.push(format!("{path_text}: gone")),
            (None, Some(_)) => lines.push(format!("{path_text}: new")),
            (Some(old), Some(new)) => {
                match (&old.kind, &new.kind) {
                    (a, b) if a == b => {}
                    (Kind::File(_), Kind::File(_)) => lines.push(format!("{path_text}: other content")),
                    (Kind::Link(a), Kind::Link(b)) => {
                        lines.push(format!("{path_text}: link to {} → {}", a.display(), b.display()));
                    }
                    (a, b) => lines.push(format!("{path_text}: {} → {}", a.word(), b.word())),
                }
                if old.mode != new.mode {
                    lines.push(format!("{path_text}: mode {:04o} → {:04o}", old.mode, new.mode));
                }
                if (old.uid, old.gid) != (new.uid, new.gid) {
                    let owners = format!("{}:{} → {}:{}", old.uid, old.gid, new.uid, new.gid);
                    lines.push(format!("{path_text}: owner {owners}"));
                }
            }
            (None, None) => {}
        }
    }
    lines
}

impl Kind {
    fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Folder => "folder",
            Self::Link(_) => "link",
            Self::Special(word, _) => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, mode: u32) -> Entry {
        Entry { kind, mode, uid: 0, gid: 0 }
    }

    #[test]
    fn differences_are_named_one_by_one() {
        let tree = |list: Vec<(&str, Entry)>| -> Tree {
            list.into_iter().map(|(path, entry)| (path.into(), entry)).collect()
        };
        let before = tree(vec![
            ("/a", entry(Kind::File("1".into()), 0o644)),
            ("/b", entry(Kind::Link("x".into()), 0o777)),
            ("/c", entry(Kind::Folder, 0o755)),
        ]);
        let after = tree(vec![
            ("/a", entry(Kind::File("2".into()), 0o600)),
            ("/b", entry(Kind::File("3".into()), 0o777)),
            ("/d", Entry { uid: 1000, ..entry(Kind::Folder, 0o755) }),
        ]);
        let expected =
            ["/a: other content", "/a: mode 0644 → 0600", "/b: link → file", "/c: gone", "/d: new"];
        assert_eq!(diff(&before, &after), expected);
        assert_eq!(diff(&before, &before), [""; 0]);
    }
}
