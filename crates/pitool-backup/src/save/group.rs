//! What goes together into a frame, so that the next archive can take over the frames that did not change.
//!
//! A frame can be copied, compressed as it is, when all that it holds is unchanged. So a large file has frames of
//! its own, one for each piece, and small files are grouped. One changed file spoils its group: small groups spoil
//! less, large ones compress better. Groups end where those of the archive before ended, wherever files came or went
//! in between; otherwise one new file would move all that follow.

use std::collections::HashMap;

use rustix::fs::FileType;

use super::meta::Meta;
use super::walk::Found;
use crate::archive::index::Frames;
use crate::manifest::{Entry, Kind};
use crate::{Result, StoredPath, database};

/// Larger files have frames of their own.
pub(crate) const LARGE: u64 = 256 << 10;

/// How much a group may hold, uncompressed. With 1 % of 50,000 tiny files changed, groups of 128 KiB leave two thirds of
/// the bytes untouched, of 512 KiB a seventh, and the run takes two thirds of the time; they cost 7 % in size there, and
/// 2 % with files of all sizes.
pub(crate) const GROUP: u64 = 128 << 10;

/// Smaller groups are put together with what follows when they are written again.
const SMALL: u64 = GROUP / 4;

/// What is about to be saved.
pub(crate) struct Member {
    pub(crate) found: Found,
    /// It is another name of this.
    pub(crate) link: Option<StoredPath>,
    /// What the archive before says of it, when that looks the same.
    pub(crate) old: Option<Box<Entry>>,
}

/// What is packed at once.
pub(crate) enum Planned {
    /// A group for one frame; with the frame of the archive before that holds exactly this, where all looks the same.
    Group(Vec<Member>, Option<usize>),
    /// A file with frames of its own; with what the archive before says of its path when it does not look the same.
    Large(Box<Member>, Option<Box<Entry>>),
}

/// Puts things into groups while they come.
pub(crate) struct Grouping<'a> {
    old: Option<&'a Frames>,
    links: HashMap<(u64, u64), StoredPath>,
    pending: Vec<Member>,
    size: u64,
    run: Option<Run>,
}

/// The members so far are the beginning of this old frame.
#[derive(Clone, Copy)]
struct Run {
    frame: usize,
    next: u64,
}

impl<'a> Grouping<'a> {
    pub(crate) fn new(old: Option<&'a Frames>) -> Self {
        Self { old, links: HashMap::new(), pending: Vec::new(), size: 0, run: None }
    }

    /// Takes the next thing with what the archive before says of its path; hands on what is complete.
    pub(crate) fn add(
        &mut self,
        found: Found,
        old: Option<Box<Entry>>,
        emit: &mut dyn FnMut(Planned) -> Result<()>,
    ) -> Result<()> {
        let link = self.link(&found);
        let begins = old.as_ref().and_then(|old| self.beginning(old.offset));
        let same = old.as_ref().is_some_and(|old| is_same(&found, link.as_ref(), old));
        let (old, changed) = if same { (old, None) } else { (None, old) };
        let continues = old.as_ref().is_some_and(|old| self.run.is_some_and(|run| run.next == old.offset));
        let is_file = found.meta.file_type == FileType::RegularFile && link.is_none();
        let large = is_file
            && (found.meta.size > LARGE
                || (found.has_log && found.meta.size > 0)
                || is_piecewise(old.as_deref()));
        let size = if is_file { found.meta.size } else { 0 };
        let estimate = old.as_ref().map_or(1536 + size, |old| old.length);
        let limit = if continues { 2 * GROUP } else { GROUP };
        if large || begins.is_some_and(|length| length >= SMALL) || self.size + estimate > limit {
            self.flush(emit)?;
        }
        let member = Member { found, link, old };
        if large {
            return emit(Planned::Large(Box::new(member), changed));
        }
        self.run = match (&member.old, self.run) {
            (Some(old), Some(run)) if run.next == old.offset => {
                Some(Run { next: old.offset + old.length, ..run })
            }
            (Some(old), None) if self.pending.is_empty() && begins.is_some() => self
                .old
                .and_then(|frames| frames.holding(old.offset))
                .map(|frame| Run { frame, next: old.offset + old.length }),
            _ => None,
        };
        self.pending.push(member);
        self.size += estimate;
        if self.whole().is_some() && self.size >= SMALL {
            self.flush(emit)?;
        }
        Ok(())
    }

    /// Hands on what is left.
    pub(crate) fn flush(&mut self, emit: &mut dyn FnMut(Planned) -> Result<()>) -> Result<()> {
        let whole = self.whole();
        self.run = None;
        self.size = 0;
        if self.pending.is_empty() {
            return Ok(());
        }
        emit(Planned::Group(std::mem::take(&mut self.pending), whole))
    }

    /// The length of the old frame that begins here, if one does.
    fn beginning(&self, offset: u64) -> Option<u64> {
        let frames = self.old?;
        let frame = frames.get(frames.holding(offset)?)?;
        (frame.offset == offset).then_some(u64::from(frame.plain))
    }

    /// The old frame that the members so far are all of.
    fn whole(&self) -> Option<usize> {
        let run = self.run?;
        let frame = self.old?.get(run.frame)?;
        (frame.offset + u64::from(frame.plain) == run.next).then_some(run.frame)
    }

    /// The name under which a file with several names was met first.
    fn link(&mut self, found: &Found) -> Option<StoredPath> {
        if found.meta.links < 2 || found.meta.file_type != FileType::RegularFile {
            return None;
        }
        match self.links.entry((found.meta.device, found.meta.inode)) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.get().clone()),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(found.path.clone());
                None
            }
        }
    }
}

/// Whether the archive before has it in pieces: a database may be small and its copy large.
fn is_piecewise(old: Option<&Entry>) -> bool {
    matches!(old, Some(Entry { kind: Kind::File(file), .. }) if file.stored() > LARGE)
}

/// Whether a thing looks as it did.
fn is_same(found: &Found, link: Option<&StoredPath>, old: &Entry) -> bool {
    let Meta { inode, mode, uid, gid, mtime, ctime, .. } = found.meta;
    if old.unsettled
        || (inode, mode, uid, gid, mtime, ctime)
            != (old.inode, old.mode, old.uid, old.gid, old.mtime, old.ctime)
    {
        return false;
    }
    match (&old.kind, found.meta.file_type) {
        (Kind::HardLink(target), _) => link == Some(target),
        _ if link.is_some() => false,
        (Kind::File(file), FileType::RegularFile) => match &file.database {
            None => file.size == found.meta.size,
            Some(before) => {
                database::is_unchanged(before, &database::wal(&*found.parent, &found.name, found.meta.size))
            }
        },
        (Kind::Directory, FileType::Directory)
        | (Kind::Symlink(_), FileType::Symlink)
        | (Kind::Fifo, FileType::Fifo) => true,
        (Kind::CharDevice(major, minor), FileType::CharacterDevice)
        | (Kind::BlockDevice(major, minor), FileType::BlockDevice) => (*major, *minor) == found.meta.special,
        _ => false,
    }
}
