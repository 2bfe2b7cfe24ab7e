//! Which disk a directory is on, proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    point: PathBuf,
    /// The device, a share, or the name of what is no disk.
    source: String,
}

/// What is mounted, in the order in which it was.
pub(super) fn mounts() -> Result<Vec<Mount>> {
    const PATH: &str = "/proc/self/mountinfo";
    #[expect(clippy::disallowed_methods, reason = "a file of the kernel's own, below nobody's directory")]
    let text = std::fs::read_to_string(PATH).map_err(Error::path("read", PATH))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = unescaped(before.split(' ').nth(4)?);
        let source = after.split(' ').nth(1)?.to_owned();
        Some(Mount { point, source })
    };
    text.lines().filter_map(mount).collect()
}

/// Blanks and the like are octal: `\\040`.
fn unescaped(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

/// Whether a path is at or below a mount point that is not the disk of the root: another subvolume or a bind mount
/// of that disk is no disk of its own, though its device number differs.
pub(super) fn has_own_disk(path: &Path, mounts: &[Mount]) -> bool {
    let root = mounts.iter().rev().find(|mount| mount.point == Path::new("/"));
    // What is mounted last covers what was mounted there before.
    let length = |mount: &&Mount| mount.point.components().count();
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point)).max_by_key(length);
    above.is_some_and(|mount| {
        mount.point != Path::new("/") && root.is_none_or(|root| root.source != mount.source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
30 22 0:31 /@home /home rw - btrfs /dev/sda2 rw,subvol=/@home
31 22 8:17 / /mnt/usb\\040disk rw shared:5 master:1 - vfat /dev/sdb1 rw,umask=077
32 22 0:40 / /net/nas rw - nfs4 nas:/backups rw
33 22 8:2 /srv /mnt/bound rw - ext4 /dev/sda2 rw
";

    /// K10.7.
    #[test]
    fn a_disk_of_its_own_is_another_source_at_or_above_the_path() {
        let mounts = parse(TEXT);
        for (path, own) in [
            ("/mnt/usb disk", true),
            ("/mnt/usb disk/backups", true),
            ("/mnt/usb disks", false),
            ("/mnt/usb", false),
            ("/net/nas/pi", true),
            ("/home/pi/usb", false),
            ("/mnt/bound/usb", false),
            ("/srv/backups", false),
            ("/", false),
        ] {
            assert_eq!(has_own_disk(Path::new(path), &mounts), own, "{path}");
        }
    }
}
