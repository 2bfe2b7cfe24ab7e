//! The disk that boxes live on: an XFS image on a loop device, on which a copy of a tree shares its blocks.
//!
//! It is a cache and belongs to the lab alone: [`remove`] takes it away, and the next lab makes another. What is synced in
//! a box reaches this file system, but nothing waits for the disk below: an image of an earlier boot of this host may
//! have lost anything, and is made again. Where XFS or loop devices are missing, the same folder is used without it and
//! every copy is a full one.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, umount2};
use nix::sys::statvfs::statvfs;

use super::process::{on_path, tool};
use super::talk::say;

const GIB: u64 = 1 << 30;
/// What the image may grow to: the trees of both releases and a dozen boxes.
const LARGEST: u64 = 30 * GIB;
/// Both base trees, both converged boxes and a few boxes.
const SMALLEST: u64 = 8 * GIB;
/// What stays free on the disk of boxes and on this host's; below it no box is made.
const SPARE: u64 = 2 * GIB;

/// Mounts the disk at `folder` if it is not mounted; true if copies there share their blocks.
///
/// The caller holds the lab's lock, unless it only finds out by [`mounted`] that there is nothing to do.
pub(crate) fn prepare(image: &Path, folder: &Path) -> Result<bool> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    if mounted(image, folder)? {
        return Ok(true);
    }
    // A mount whose image was deleted or replaced would be lost with its last user.
    while mount_of(folder)?.is_some() {
        say(&format!("unmounting {}: it is not {}", folder.display(), image.display()));
        umount2(folder, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", folder.display()))?;
    }
    if let Some(reason) = impossible() {
        say(&format!("copies of boxes are full ones: {reason}"));
        return Ok(false);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.join("record").exists() {
            say("copies of boxes are full ones as long as there are boxes from before the disk");
            return Ok(false);
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    if image.exists() && fs::read_to_string(boot_file(image)).ok() != Some(boot()?) {
        fs::remove_file(image).with_context(|| format!("removing {}", image.display()))?;
    }
    if !image.exists() && !make(image)? {
        return Ok(false);
    }
    if let Err(error) = mount(image, folder) {
        say(&format!("making another disk for boxes, since this one cannot be mounted: {error:#}"));
        fs::remove_file(image).with_context(|| format!("removing {}", image.display()))?;
        if !make(image)? {
            return Ok(false);
        }
        if let Err(error) = mount(image, folder) {
            say(&format!("copies of boxes are full ones: {error:#}"));
            return Ok(false);
        }
    }
    Ok(true)
}

/// Unmounts the disk and deletes its image; the caller holds the lab's lock, and there are no boxes.
pub(crate) fn remove(image: &Path, folder: &Path) -> Result<()> {
    while mount_of(folder)?.is_some() {
        umount2(folder, MntFlags::empty()).with_context(|| format!("unmounting {}", folder.display()))?;
    }
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    match fs::remove_file(image) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", image.display()))
        }
        _ => Ok(()),
    }
}

/// Tells whether this very image is mounted there.
pub(crate) fn mounted(image: &Path, folder: &Path) -> Result<bool> {
    let Some(device) = mount_of(folder)? else { return Ok(false) };
    let (Ok(image), Ok(backing)) = (
        fs::canonicalize(image),
        // Ends in " (deleted)" when the file is gone, and then is no path of a file.
        fs::read_to_string(format!("/sys/dev/block/{device}/loop/backing_file")),
    ) else {
        return Ok(false);
    };
    Ok(Path::new(backing.trim_end_matches('\n')) == image)
}

/// Bytes that are free on the file system of a path.
fn free(path: &Path) -> Result<u64> {
    let room = statvfs(path).with_context(|| format!("asking for the room at {}", path.display()))?;
    Ok(room.blocks_available() * room.fragment_size())
}

/// The device, as `MAJOR:MINOR`, of what is mounted last at a folder, if anything is.
fn mount_of(folder: &Path) -> Result<Option<String>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut at = fields.filter(|fields| fields.get(4).is_some_and(|point| Path::new(point) == folder));
    Ok(at.next_back().and_then(|fields| fields.get(2).map(|&device| device.to_owned())))
}

/// Refuses to go on where another box could fill the disk of boxes, or with it this host's, on which its image grows.
pub(crate) fn enough_room(folder: &Path) -> Result<()> {
    let home = folder.parent().context("the boxes' disk has no folder above it")?;
    for place in [home, folder] {
        let free = free(place)?;
        ensure!(
            free >= SPARE,
            "only {} MiB are free at {}, and a box needs {} MiB: make room, or remove all that boxes left with \
             `cargo run -p pitool-testkit --example box -- wipe`",
            free >> 20,
            place.display(),
            SPARE >> 20,
        );
    }
    Ok(())
}

/// Why this host cannot have the disk, if it cannot.
fn impossible() -> Option<String> {
    if !on_path("mkfs.xfs") {
        return Some("mkfs.xfs is not installed (apt install xfsprogs)".into());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("this host has no loop devices".into());
    }
    let known = || {
        let all = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        all.lines().any(|line| line.split_whitespace().last() == Some("xfs"))
    };
    if !known() {
        let _ = tool("modprobe", ["xfs"]);
    }
    (!known()).then(|| "this kernel has no XFS".into())
}

/// Makes the image; false if there is too little room for one.
fn make(image: &Path) -> Result<bool> {
    let home = image.parent().context("the image of the disk has no folder")?;
    // Sparse: it takes what is written to it. Three quarters, so that full boxes leave the host some room.
    let size = LARGEST.min(free(home)? / 4 * 3);
    if size < SMALLEST {
        say(&format!("copies of boxes are full ones: {} has no room for their disk", home.display()));
        return Ok(false);
    }
    let unfinished = image.with_extension("tmp");
    File::create(&unfinished)
        .and_then(|file| file.set_len(size))
        .with_context(|| format!("creating {}", unfinished.display()))?;
    let path = unfinished.display().to_string();
    // ftype: what the overlay file system needs of the one below, and so Docker in a box.
    tool("mkfs.xfs", ["-q", "-f", "-m", "reflink=1", "-n", "ftype=1", &path])?;
    fs::write(boot_file(image), boot()?)
        .with_context(|| format!("writing {}", boot_file(image).display()))?;
    fs::rename(&unfinished, image).with_context(|| format!("renaming {}", unfinished.display()))?;
    Ok(true)
}

/// The file with the boot of this host that made the image.
fn boot_file(image: &Path) -> PathBuf {
    image.with_extension("boot")
}

/// The id of this boot of the host.
fn boot() -> Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the id of this boot")
}

fn mount(image: &Path, folder: &Path) -> Result<()> {
    let (from, to) = (image.display().to_string(), folder.display().to_string());
    // discard: what a removed box frees goes back to this host.
    tool("mount", ["-t", "xfs", "-o", "loop,discard,noatime", &from, &to])?;
    if let Some(device) = mount_of(folder)? {
        // A device that says it has no cache is not asked to flush it. Where it cannot say so, boxes are only slower.
        let _ = fs::write(format!("/sys/dev/block/{device}/queue/write_cache"), "write through");
    }
    Ok(())
}

/// Copies a tree with all its attributes; `shared`: on the disk, where the copy must share its blocks.
pub(crate) fn copy(from: &Path, to: &Path, shared: bool) -> Result<()> {
    let how = if shared && same_disk(from, to) { "--reflink=always" } else { "--reflink=auto" };
    let (source, target): (PathBuf, PathBuf) = (from.into(), to.into());
    tool("cp", [Path::new("-a").as_os_str(), how.as_ref(), source.as_os_str(), target.as_os_str()])?;
    Ok(())
}

fn same_disk(from: &Path, to: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(from).is_some() && device(from) == to.parent().and_then(device)
}
