//! Writing beneath a directory that nothing leads out of.
//!
//! Every directory on the way is opened by its name in the one before, without following a link. A link in the way,
//! whether it came with the archive or was put there by somebody else, is an error and not a way out. What is new is
//! made in a [`Staging`], which nobody else can enter, with its content, owner and mode, and only then renamed to where
//! it belongs: in a directory of somebody else's, nothing is named twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pitool_host::Access;
use pitool_host::trust::{Directory, Error as Untrusted, Last, Root, Staging};
use rustix::fs::{AtFlags, Mode, RenameFlags, StatxFlags, mkdirat, renameat, renameat_with, statx};
use rustix::io::Errno;

use crate::{Error, Result, StoredPath};

/// Directories that are kept open: a walk comes back to few of them.
const OPEN: usize = 64;

/// What the directories for what is new are named after.
const STAGING: &str = "restore";

/// How names begin that an interrupted restore of an older pitool left behind.
const OLD: &[u8] = b".pitool-restore-";

/// How often a directory is made again that somebody removes, or gives another name, between two looks.
const TRIES: usize = 5;

/// A directory as the rest of the restore must find it again: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }

    pub(crate) fn of_open(open: impl AsFd) -> Result<Self, Errno> {
        let there = crate::save::meta::Meta::of(&rustix::fs::fstat(open)?);
        Ok(Self(there.device, there.inode))
    }
}

/// A mounted file system: a rename does not lead out of it, though a bind mount has the same device.
type Mount = (u64, u64);

/// A directory that something is restored in.
pub(crate) struct Place {
    pub(crate) directory: Directory,
    mount: Mount,
}

impl Place {
    fn new(directory: Directory) -> Result<Self, Untrusted> {
        let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let device = directory.metadata()?.dev();
        // Without statx(2) only bind mounts are not told apart: a rename into one fails and is reported.
        let mount = statx(&directory, c"", AtFlags::EMPTY_PATH, flags).map_or(0, |there| there.stx_mnt_id);
        Ok(Self { directory, mount: (device, mount) })
    }
}

/// The directories beneath which a restore writes.
pub(crate) struct Beneath {
    /// Prefixes of stored paths, and where each leads. The most specific one counts.
    bases: Vec<(Option<StoredPath>, Arc<Place>)>,
    /// What may be restored, with all that is beneath; `None` for everything. It was looked at before, but whoever can
    /// write to the disk that the archive is on can have changed it since.
    roots: Option<Vec<StoredPath>>,
    open: Mutex<HashMap<StoredPath, Arc<Place>>>,
    /// Directories that were created on the way to something.
    created: Mutex<BTreeMap<StoredPath, Identity>>,
    /// All directories that this restore made, on the way or as entries: the archive is read by several threads, and
    /// what is in a directory may be restored before the directory's own entry.
    made: Mutex<HashSet<Identity>>,
    stagings: Mutex<HashMap<Mount, Arc<Staging>>>,
    names: AtomicU64,
}

impl Beneath {
    /// Everything beneath one directory, which is created if it is not there.
    pub(crate) fn directory(path: &Path) -> Result<Self> {
        Self::held(reach(path)?)
    }

    /// Everything beneath a directory that is open.
    pub(crate) fn held(directory: Directory) -> Result<Self> {
        let place = Place::new(directory).map_err(|error| Error::path("open", "the directory")(error))?;
        Ok(Self::new(vec![(None, Arc::new(place))], None))
    }

    /// Where it came from. On the way to the paths of a set a link is followed where root alone can make one; beneath
    /// them none is.
    pub(crate) fn in_place(roots: &[StoredPath]) -> Result<Self> {
        let mut bases = Vec::new();
        for root in roots {
            let (parent, _) = root.split();
            let path = parent.as_ref().map_or_else(|| "/".into(), StoredPath::absolute);
            let place = Place::new(reach(&path)?).map_err(Error::path("open", &path))?;
            bases.push((parent, Arc::new(place)));
        }
        Ok(Self::new(bases, Some(roots.to_vec())))
    }

    fn new(bases: Vec<(Option<StoredPath>, Arc<Place>)>, roots: Option<Vec<StoredPath>>) -> Self {
        Self {
            bases,
            roots,
            open: Mutex::default(),
            created: Mutex::default(),
            made: Mutex::default(),
            stagings: Mutex::default(),
            names: AtomicU64::new(0),
        }
    }

    /// The directory that a path is in, created where it is missing, and the path's name in it.
    pub(crate) fn parent<'p>(&self, path: &'p StoredPath) -> Result<(Arc<Place>, &'p OsStr), String> {
        let may = |root: &StoredPath| path.is_within(root);
        if self.roots.as_ref().is_some_and(|roots| !roots.iter().any(may)) {
            return Err(outside(path));
        }
        let (parent, name) = path.split();
        let Some(parent) = parent else {
            let (_, base) =
                self.bases.iter().find(|(prefix, _)| prefix.is_none()).ok_or_else(|| outside(path))?;
            return Ok((base.clone(), name));
        };
        if let Some(place) = lock(&self.open).get(&parent) {
            return Ok((place.clone(), name));
        }
        let place = self.walk(&parent)?;
        let mut cache = lock(&self.open);
        if cache.len() >= OPEN {
            cache.clear();
        }
        cache.insert(parent, place.clone());
        Ok((place, name))
    }

    fn walk(&self, path: &StoredPath) -> Result<Arc<Place>, String> {
        let bytes = path.as_bytes();
        let inside =
            |prefix: &Option<StoredPath>| prefix.as_ref().is_none_or(|prefix| path.is_within(prefix));
        let length =
            |prefix: &Option<StoredPath>| prefix.as_ref().map_or(0, |prefix| prefix.as_bytes().len());
        let base =
            self.bases.iter().filter(|(prefix, _)| inside(prefix)).max_by_key(|(prefix, _)| length(prefix));
        let (prefix, base) = base.ok_or_else(|| outside(path))?;
        let mut place = base.clone();
        let rest = &bytes[length(prefix)..];
        let mut length = length(prefix);
        for part in rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            length += part.len() + usize::from(length > 0);
            let (directory, made) = self.enter(&place, OsStr::from_bytes(part))?;
            if made {
                let identity = directory.metadata().map_err(|error| error.to_string())?;
                let path = StoredPath::new(&bytes[..length]);
                lock(&self.created).extend(path.map(|path| (path, Identity::of(&identity))));
            }
            place = Arc::new(Place::new(directory).map_err(|error| error.to_string())?);
        }
        Ok(place)
    }

    /// Opens a directory in another, made for root alone if it is not there; says whether this restore made it, now
    /// or before.
    pub(crate) fn enter(&self, place: &Place, name: &OsStr) -> Result<(Directory, bool), String> {
        for _ in 0..TRIES {
            match place.directory.enter(name) {
                Ok(directory) => {
                    let there = directory.metadata().map_err(|error| in_the_way(name, &error))?;
                    let made = lock(&self.made).contains(&Identity::of(&there));
                    return Ok((directory, made));
                }
                Err(error) if error.is_missing() => {}
                Err(error) => return Err(in_the_way(name, &error)),
            }
            let staging = self.staging(place)?;
            let temporary = self.temporary();
            let failed = |error: Errno| format!("{}: {error}", name.to_string_lossy());
            mkdirat(&**staging, &*temporary, Mode::RWXU).map_err(failed)?;
            let made = staging.enter(&temporary).map_err(|error| in_the_way(name, &error))?;
            // Before another thread can find it in its place.
            let identity = made.metadata().map_err(|error| in_the_way(name, &error))?;
            lock(&self.made).insert(Identity::of(&identity));
            let renamed = match renameat_with(
                &**staging,
                &*temporary,
                &place.directory,
                name,
                RenameFlags::NOREPLACE,
            ) {
                // Not every file system has this flag. Without it, at most an empty directory is replaced.
                Err(Errno::INVAL | Errno::NOSYS) => renameat(&**staging, &*temporary, &place.directory, name),
                renamed => renamed,
            };
            match renamed {
                Ok(()) => return Ok((made, true)),
                // Somebody made it meanwhile.
                Err(Errno::EXIST | Errno::NOTEMPTY) => {
                    let _ = staging.remove_dir(&temporary);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(format!("{}: it is removed again and again", name.to_string_lossy()))
    }

    /// The directory for what becomes something in this one.
    pub(crate) fn staging(&self, place: &Place) -> Result<Arc<Staging>, String> {
        let mut stagings = lock(&self.stagings);
        if let Some(staging) = stagings.get(&place.mount) {
            return Ok(staging.clone());
        }
        let failed = |error: &dyn std::fmt::Display| format!("nothing can be made in its directory: {error}");
        let staging = place.directory.staging(OsStr::new(STAGING)).map_err(|error| failed(&error))?;
        // The default ACL of the directory around it would be that of everything made in it (acl(5)).
        match rustix::fs::fremovexattr(&*staging, c"system.posix_acl_default") {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(failed(&error)),
        }
        let staging = Arc::new(staging);
        stagings.insert(place.mount, staging.clone());
        Ok(staging)
    }

    /// Removes the directories for what is new, which are empty when everything is in its place.
    pub(crate) fn tidy(&self) {
        lock(&self.stagings).clear();
    }

    /// The directories that were created on the way to something, for root alone.
    pub(crate) fn take_created(&self) -> BTreeMap<StoredPath, Identity> {
        std::mem::take(&mut *lock(&self.created))
    }

    /// The directories that everything is beneath.
    pub(crate) fn bases(&self) -> impl Iterator<Item = &Directory> {
        self.bases.iter().map(|(_, place)| &place.directory)
    }

    /// A name in a staging, which no other thread has.
    pub(crate) fn temporary(&self) -> OsString {
        self.names.fetch_add(1, Ordering::Relaxed).to_string().into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn outside(path: &StoredPath) -> String {
    format!("/{path} is in none of the paths that the archive says it was made of")
}

/// Opens a directory, and makes what is missing of the way there as mkdir(1) does.
fn reach(path: &Path) -> Result<Directory> {
    let root = Root::open(Path::new("/")).map_err(Error::path("open", "/"))?;
    let mut missing = Vec::new();
    let mut there = path;
    let mut directory = loop {
        match root.directory(there, Last::Follow) {
            Ok(directory) => break directory,
            Err(error) if error.is_missing() => {
                let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
                    return Err(Error::path("open", path)(error));
                };
                missing.push(name);
                there = parent;
            }
            Err(error) => return Err(Error::path("open", path)(error)),
        }
    };
    while let Some(name) = missing.pop() {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let access = Access { mode: 0o755, uid, gid };
        directory = match directory.make_dir(name, access) {
            Err(error) if error.errno() == Some(Errno::EXIST) => directory.enter(name),
            made => made,
        }
        .map_err(Error::path("make", path))?;
    }
    Ok(directory)
}

/// Removes what a restore that was cut off left in a directory.
pub(crate) fn clean(directory: &Directory) -> Result<(), Untrusted> {
    directory.sweep(OsStr::new(STAGING));
    for name in directory.list()? {
        if name.as_bytes().starts_with(OLD) {
            directory.remove(&name)?;
        }
    }
    Ok(())
}

/// What to say when a directory cannot be entered.
pub(crate) fn in_the_way(name: &OsStr, error: &Untrusted) -> String {
    match error {
        Untrusted::Unexpected { .. } | Untrusted::ForeignLink { .. } => {
            format!("{} is in its way and is no directory; a link is not followed", name.to_string_lossy())
        }
        error => format!("{}: {error}", name.to_string_lossy()),
    }
}
