//! The file system of a machine: the live one, or another one below a directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::trust::{self, Last, Root};

/// A root with its place on this machine.
#[derive(Debug)]
pub(super) struct Tree {
    /// The root's canonical path on this machine.
    path: PathBuf,
    root: Root,
}

impl Tree {
    /// Opens a root; `/` is the running system.
    pub(super) fn open_root(root: &str) -> io::Result<Self> {
        let path = std::fs::canonicalize(root)?;
        let root = Root::open(&path)?;
        Ok(Self { path, root })
    }

    /// Whether this is the machine's own root.
    pub(super) fn live(&self) -> bool {
        self.path == Path::new("/")
    }

    /// The root's canonical path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The root, in which paths are resolved.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The path on this machine, free of links, of a directory of the tree.
    pub(super) fn canonical(&self, path: &str) -> trust::Result<PathBuf> {
        let inside = self.root.canonical(Path::new(path))?;
        self.root.directory(&inside, Last::Itself)?;
        Ok(self.path.join(inside.strip_prefix("/").unwrap_or(&inside)))
    }
}
