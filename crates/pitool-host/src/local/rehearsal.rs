//! A private view of the machine in which candidates are already in place.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::fs::OFlags;

use super::process;
use super::tree::Tree;
use crate::trust::{Kind, Last, Root, attributes};
use crate::{Access, Candidate, Command, Error, Output, Result};

/// Where the copies live: in memory, on this machine even for another root.
const WORKSHOP: &str = "/run/pitool";

/// The files of one directory may have so many bytes together: they are copied into memory.
const COPY_LIMIT: u64 = 64 << 20;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Runs a command in a mount namespace of its own, where the directories of the candidates are covered by copies
/// that have the candidates in place.
///
/// A thread may leave its process's mount namespace alone (unshare(2) with `CLONE_NEWNS` implies `CLONE_FS`), so
/// neither fork nor a helper is needed; the namespace ends with the thread and the command. In a copy, files are
/// copied, links made again, and all else is bind-mounted from the original. The copies are on /run, which forbids
/// setuid programs and on some machines all programs.
pub(super) fn ask_with(tree: &Tree, candidates: &[Candidate], command: &Command) -> Result<Output> {
    let places = places(tree, candidates)?;
    let workshop = Workshop::new().map_err(Error::path("create", WORKSHOP))?;
    let mut covers = Vec::new();
    for (n, (directory, candidates)) in places.into_iter().enumerate() {
        let copy = workshop.path.join(n.to_string());
        let binds = copy_directory(&directory, &copy, &candidates)?;
        covers.push(Cover { directory, copy, binds });
    }
    let thread = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("rehearsal".to_owned())
            .spawn_scoped(scope, || {
                cover(&covers)?;
                process::execute(tree, command, &mut |_| {})
            })
            .map(|thread| thread.join())
    });
    // The copies go only now, out here: inside, the bind mounts show the originals.
    drop(workshop);
    let fail = |source| Error::Start { program: command.program.clone(), source };
    thread.map_err(fail)?.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A directory that is to be covered.
struct Cover {
    /// Its path on this machine, free of links.
    directory: PathBuf,
    /// The copy.
    copy: PathBuf,
    /// Names in it that are bound from the original.
    binds: Vec<PathBuf>,
}

/// What is to be put into the directories, by the directories' own paths. In this order parents come first, so that
/// the cover of a directory lies on top of the cover of its parent.
type Places<'c> = BTreeMap<PathBuf, BTreeMap<&'c str, &'c Candidate>>;

fn places<'c>(tree: &Tree, candidates: &'c [Candidate]) -> Result<Places<'c>> {
    let mut places = Places::new();
    for candidate in candidates {
        let (Candidate::File { path, .. } | Candidate::Link { path, .. } | Candidate::Absent { path }) =
            candidate;
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if !path.starts_with('/') || matches!(name, "" | "." | "..") {
            return Err(Error::path("rehearse", path)(io::ErrorKind::InvalidInput.into()));
        }
        let shown = if directory.is_empty() { "/" } else { directory };
        let directory = match tree.canonical(shown) {
            Ok(directory) => directory,
            // Without its directory it is absent already.
            Err(_) if matches!(candidate, Candidate::Absent { .. }) => continue,
            Err(error) if error.errno() == Some(rustix::io::Errno::NOENT) => {
                let path = shown.to_owned();
                return Err(Error::Unexpected { path, found: "missing".to_owned(), expected: "a directory" });
            }
            Err(error) => return Err(Error::finding("rehearse in", shown)(error)),
        };
        if directory == Path::new("/") {
            return Err(Error::Unsupported(format!(
                "{path} cannot be tried out: the root directory itself cannot be covered"
            )));
        }
        places.entry(directory).or_default().insert(name, candidate);
    }
    Ok(places)
}

/// Makes the copy with its candidates, and tells what is to be bound into it from the original.
fn copy_directory(
    directory: &Path,
    copy: &Path,
    candidates: &BTreeMap<&str, &Candidate>,
) -> Result<Vec<PathBuf>> {
    let shown = directory.to_string_lossy();
    let fail = || Error::path("copy", &shown);
    // The path is this machine's and free of links.
    let source = Root::open(Path::new("/")).and_then(|root| root.directory(directory, Last::Itself));
    let source = source.map_err(Error::finding("copy", &shown))?;
    let original = source.metadata().map_err(Error::finding("copy", &shown))?;
    fs::DirBuilder::new().mode(0o700).create(copy).map_err(fail())?;
    let mut binds = Vec::new();
    let mut copied = 0;
    for name in source.list().map_err(Error::finding("copy", &shown))? {
        if name.to_str().is_some_and(|name| candidates.contains_key(name)) {
            continue;
        }
        let to = copy.join(&name);
        // Gone since it was listed.
        let Ok(found) = source.look(&name) else { continue };
        match found.kind() {
            Kind::Link => {
                let (target, owner) =
                    (found.target().map_err(Error::finding("copy", &shown))?, found.access());
                symlink(target, &to)
                    .and_then(|()| lchown(&to, Some(owner.uid), Some(owner.gid)))
                    .map_err(fail())?;
            }
            Kind::File => {
                copied += found.metadata().len();
                if copied > COPY_LIMIT {
                    let found = "a directory with over 64 MiB of files".to_owned();
                    return Err(Error::Unexpected {
                        path: shown.into_owned(),
                        found,
                        expected: "a directory of configuration",
                    });
                }
                let file = found.open_file(OFlags::RDONLY).map_err(Error::finding("copy", &shown))?;
                create(&to, found.access(), |copy| io::copy(&mut file.take(COPY_LIMIT), copy).map(drop))
                    .map_err(fail())?;
            }
            kind => {
                let made =
                    if kind == Kind::Directory { fs::create_dir(&to) } else { File::create(&to).map(drop) };
                made.map_err(fail())?;
                binds.push(name.into());
            }
        }
    }
    for (name, candidate) in candidates {
        let to = copy.join(name);
        match candidate {
            Candidate::File { content, access, .. } => {
                create(&to, *access, |file| file.write_all(content.bytes()))
            }
            Candidate::Link { target, .. } => symlink(target, &to),
            Candidate::Absent { .. } => Ok(()),
        }
        .map_err(fail())?;
    }
    // Last: sshd and sudo look at who owns the directory.
    lchown(copy, Some(original.uid()), Some(original.gid())).map_err(fail())?;
    fs::set_permissions(copy, Permissions::from_mode(original.mode() & 0o7777)).map_err(fail())?;
    Ok(binds)
}

fn create(path: &Path, access: Access, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    fill(&mut file)?;
    Ok(attributes::set_access(&file, access)?)
}

/// Moves this thread into a mount namespace of its own and puts the copies over the originals there.
fn cover(covers: &[Cover]) -> Result<()> {
    if covers.is_empty() {
        return Ok(());
    }
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| refused(errno, "a mount namespace"))?;
    // Before the first mount, and its failure ends it all: else the mounts would show up outside.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| refused(errno, "private mounts"))?;
    let bind = |from: &Path, to: &Path| {
        mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            .map_err(|errno| Error::path("bind", &to.to_string_lossy())(errno.into()))
    };
    for cover in covers {
        for name in &cover.binds {
            bind(&cover.directory.join(name), &cover.copy.join(name))?;
        }
        bind(&cover.copy, &cover.directory)?;
    }
    Ok(())
}

fn refused(errno: Errno, what: &str) -> Error {
    Error::Unsupported(format!(
        "the configuration cannot be checked before it goes live, since the kernel refuses {what} ({}): run as root, \
         outside of a container without CAP_SYS_ADMIN",
        errno.desc()
    ))
}

/// The folder of one rehearsal, removed when dropped.
struct Workshop {
    path: PathBuf,
}

impl Workshop {
    fn new() -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o755).recursive(true).create(WORKSHOP)?;
        sweep();
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(WORKSHOP).join(format!("rehearsal-{}-{n}", std::process::id()));
        clean(&path);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        clean(&self.path);
    }
}

/// Removes a rehearsal's folder: copies and empty mount points, two levels and never deeper, so that even a bind
/// mount that should not be there would not lead into an original.
fn clean(rehearsal: &Path) {
    // What cannot be removed is in memory and gone after the next boot.
    for copy in entries(rehearsal) {
        for entry in entries(&copy) {
            let _ = fs::remove_file(&entry).or_else(|_| fs::remove_dir(&entry));
        }
        let _ = fs::remove_dir(&copy);
    }
    let _ = fs::remove_dir(rehearsal);
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Removes what killed processes left.
fn sweep() {
    for path in entries(Path::new(WORKSHOP)) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix("rehearsal-")
            .and_then(|rest| rest.split_once('-'))
            .and_then(|(pid, _)| pid.parse().ok());
        if pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)) {
            clean(&path);
        }
    }
}
