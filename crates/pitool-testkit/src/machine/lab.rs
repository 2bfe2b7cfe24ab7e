//! The place boxes live in on this host: caches, state, locks, and the sweeping up after killed runs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};

use super::cgroup;
use super::disk;
use super::network::Network;
use super::process::{self, Process, on_path};
use super::talk::say;

/// Programs the lab calls, and the Debian package of each.
const PROGRAMS: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("strace", "strace"),
    ("time", "time"),
    ("ssh-keygen", "openssh-client"),
];

/// The owner of a box that outlives the program that made it.
const NOBODY: &str = "kept";

/// A host that can run boxes.
#[derive(Clone, Debug)]
pub struct Lab {
    cache: PathBuf,
    home: PathBuf,
    /// Whether copies on the boxes' disk share their blocks.
    shares: bool,
}

impl Lab {
    /// Checks that this host can run boxes, and says in one sentence what is missing if it cannot.
    pub fn open() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "machine boxes need root");
        let missing: Vec<&str> =
            PROGRAMS.iter().filter(|(program, _)| !on_path(program)).map(|(_, package)| *package).collect();
        ensure!(missing.is_empty(), "machine boxes need more packages: apt install {}", missing.join(" "));
        let cache = std::env::var_os("PITOOL_CACHE").unwrap_or_else(|| "/var/cache/pitool-dev".into()).into();
        let mut lab = Self { cache, home: "/var/lib/pitool-lab".into(), shares: false };
        for folder in [&lab.cache, &lab.home] {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        // Without the lock where there is nothing to do: a signal's thread opens the lab while another holds it.
        lab.shares = disk::mounted(&lab.image(), &lab.state())? || {
            let _lock = lab.lock()?;
            disk::prepare(&lab.image(), &lab.state())?
        };
        Ok(lab)
    }

    /// Names the folder of base trees and downloaded packages.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Names the folder that holds one folder per box, on the boxes' disk.
    pub fn state(&self) -> PathBuf {
        self.home.join("disk")
    }

    /// Tells whether copies on the boxes' disk share their blocks with the original.
    pub fn shares(&self) -> bool {
        self.shares
    }

    /// Removes the boxes' disk with everything on it, which must not be a box.
    pub fn remove_disk(self) -> Result<()> {
        let _lock = self.lock()?;
        let boxes: Vec<String> = self.records()?.into_iter().map(|record| record.id).collect();
        ensure!(boxes.is_empty(), "there are boxes: {}", boxes.join(" "));
        disk::remove(&self.image(), &self.state())
    }

    fn image(&self) -> PathBuf {
        self.home.join("disk.xfs")
    }

    /// Names a file to lock on this host, not on the disk that may come and go.
    pub(crate) fn lock_file(&self, name: &str) -> PathBuf {
        self.home.join(format!("{name}.lock"))
    }

    /// Removes every box whose owner is dead, and reports their names.
    pub fn sweep(&self) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        self.remove_where(|owner| owner.is_some_and(|owner| !owner.alive()))
    }

    /// Removes every box this very process made and did not keep; for signal handlers and panics.
    pub fn sweep_own(&self) -> Result<Vec<String>> {
        let own = Process::own()?;
        let _lock = self.lock()?;
        self.remove_where(|owner| owner == Some(own))
    }

    fn remove_where(&self, unwanted: impl Fn(Option<Process>) -> bool) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for record in self.records()? {
            if unwanted(record.owner) {
                say(&format!("removing the box {} that an earlier run left", record.id));
                record.remove(self)?;
                removed.push(record.id);
            }
        }
        Ok(removed)
    }

    /// Takes the lock under which boxes come and go, so that two test processes never share a network.
    pub(crate) fn lock(&self) -> Result<Flock<File>> {
        lock_exclusive(&self.home.join("lock"))
    }

    /// Lists the boxes there are.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.state())? {
            let path = entry?.path().join("record");
            if path.exists() {
                found.push(Record::read(&path)?);
            }
        }
        found.sort_by_key(|record| record.network);
        Ok(found)
    }
}

/// What is known of a box from outside, on disk before anything of it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Unique on this host: the name and the number of the network.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) network: u8,
    /// None: kept, nobody's.
    pub(crate) owner: Option<Process>,
    /// The folder of packages that the box begins with and adds to, if it does.
    pub(crate) archives: Option<PathBuf>,
    pub(crate) memory_mib: Option<u32>,
    pub(crate) suite: String,
}

impl Record {
    pub(crate) fn folder(&self, lab: &Lab) -> PathBuf {
        lab.state().join(&self.id)
    }

    pub(crate) fn write(&self, lab: &Lab) -> Result<()> {
        let owner = self.owner.map_or_else(|| NOBODY.to_owned(), Process::format);
        let archives = self.archives.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let memory = self.memory_mib.map(|mib| mib.to_string()).unwrap_or_default();
        let text = format!(
            "id={}\nname={}\nnetwork={}\nowner={owner}\narchives={archives}\nmemory_mib={memory}\nsuite={}\n",
            self.id, self.name, self.network, self.suite
        );
        let path = self.folder(lab).join("record");
        let unfinished = path.with_extension("tmp");
        fs::write(&unfinished, text).with_context(|| format!("writing {}", unfinished.display()))?;
        fs::rename(&unfinished, &path).with_context(|| format!("writing {}", path.display()))
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.with_context(|| format!("{}: no {key}", path.display()))
        };
        let owner = field("owner")?;
        Ok(Self {
            id: field("id")?.to_owned(),
            name: field("name")?.to_owned(),
            network: field("network")?.parse()?,
            owner: if owner == NOBODY {
                None
            } else {
                Some(Process::parse(owner).context("a broken owner")?)
            },
            archives: Some(field("archives")?).filter(|text| !text.is_empty()).map(PathBuf::from),
            memory_mib: field("memory_mib")?.parse().ok(),
            suite: field("suite")?.to_owned(),
        })
    }

    /// Removes all there is of the box on this host; the caller holds the lab's lock.
    pub(crate) fn remove(&self, lab: &Lab) -> Result<()> {
        let folder = self.folder(lab);
        let network = Network::numbered(self.network);
        let processes = || {
            let mut all = process::nspawns_of(&folder.join("root"));
            all.extend(network.processes());
            all
        };
        let gone = process::wait_until(std::time::Duration::from_secs(20), || {
            let left = processes();
            left.iter().for_each(|process| process.kill());
            left.is_empty()
        });
        ensure!(gone, "the box {} has processes that do not die: {:?}", self.id, processes());
        network.remove()?;
        cgroup::remove(&self.cgroup())?;
        if let Ok(root) = fs::metadata(folder.join("root")) {
            // nspawn's lock on the tree, which one that was killed does not remove.
            let lock = format!("/run/systemd/nspawn/locks/inode-{}:{}", root.dev(), root.ino());
            let _ = fs::remove_file(lock);
        }
        unmount_below(&folder)?;
        if let Some(archives) = &self.archives {
            lab.collect(archives, &self.suite, &folder.join("root"))?;
        }
        remove_tree(&folder)?;
        for leftover in ["propagate", "unix-export"] {
            let path = Path::new("/run/systemd/nspawn").join(leftover).join(&self.id);
            if path.exists() {
                unmount_below(&path)?;
                remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Names the box's control group on the host.
    pub(crate) fn cgroup(&self) -> String {
        format!("plab-{}", self.network)
    }
}

fn remove_tree(folder: &Path) -> Result<()> {
    // The record goes last: a removal that is cut off here is finished by the next sweep.
    let record = folder.join("record");
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path == record {
            continue;
        }
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
}

/// Unmounts whatever is mounted at or below a folder, so that removing the tree cannot reach beyond it.
fn unmount_below(folder: &Path) -> Result<()> {
    for _ in 0..5 {
        let mut points = mounts_below(folder)?;
        if points.is_empty() {
            return Ok(());
        }
        points.sort();
        for point in points.iter().rev() {
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
    }
    bail!("cannot unmount everything below {}", folder.display())
}

/// Lists the mount points at or below a folder.
pub(crate) fn mounts_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    Ok(mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(folder))
        .collect())
}

/// Waits for the exclusive lock on a file, creating it if needed.
pub(crate) fn lock_exclusive(path: &Path) -> Result<Flock<File>> {
    lock(path, FlockArg::LockExclusive)
}

/// Waits for the shared lock on a file, creating it if needed.
pub(crate) fn lock_shared(path: &Path) -> Result<Flock<File>> {
    lock(path, FlockArg::LockShared)
}

fn lock(path: &Path, kind: FlockArg) -> Result<Flock<File>> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    match Flock::lock(file, kind) {
        Ok(lock) => Ok(lock),
        Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}
