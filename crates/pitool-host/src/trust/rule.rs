//! Who else than root can change what a path leads to.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Who else than root can change what is in a directory, or exchange the directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    /// The owner of the root directory and this process's user: as good as root.
    as_root: [u32; 2],
    /// Nobody else can put another directory in this one's place.
    fixed: bool,
    /// Nobody else can make, rename or remove anything in it.
    exclusive: bool,
    /// Others can make things in it, but rename or remove only their own (the sticky bit).
    restricted: bool,
}

impl Trust {
    pub(super) fn of_root(metadata: &Metadata) -> Self {
        let as_root = [metadata.uid(), rustix::process::geteuid().as_raw()];
        let start = Self { as_root, fixed: true, exclusive: true, restricted: false };
        start.below(metadata)
    }

    /// The trust in a directory that was opened by its name in this one.
    ///
    /// Write access of an ACL shows in the mode's group bits, acl(5): group write counts whatever the group.
    pub(super) fn below(self, metadata: &Metadata) -> Self {
        let uid = metadata.uid();
        let ours = uid == 0 || self.as_root.contains(&uid);
        let others_write = metadata.mode() & 0o022 != 0;
        Self {
            as_root: self.as_root,
            fixed: self.fixed && (self.exclusive || self.restricted && ours),
            exclusive: ours && !others_write,
            restricted: ours && metadata.mode() & 0o1000 != 0,
        }
    }

    /// The trust of a directory of which the way there is not known.
    pub(super) fn of_process() -> Self {
        let as_root = [0, rustix::process::geteuid().as_raw()];
        Self { as_root, fixed: true, exclusive: true, restricted: false }
    }

    /// What a directory's own metadata say, on the same way.
    pub(super) fn itself(self, metadata: &Metadata) -> Self {
        Self { fixed: true, exclusive: true, restricted: false, ..self }.below(metadata)
    }

    pub(super) fn may_follow(self) -> bool {
        self.fixed && self.exclusive
    }

    pub(super) fn exclusive(self) -> bool {
        self.exclusive
    }
}
