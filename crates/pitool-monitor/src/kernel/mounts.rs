//! What is mounted: /proc/PID/mountinfo, proc_pid_mountinfo(5).

use pitool_host::parse::unescape_octal;

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// What: a device, or a word.
    pub device: String,
    /// The type of the file system.
    pub kind: String,
    /// Whether this mount or the whole file system is read-only.
    pub read_only: bool,
    /// Whether the file system made itself read-only or stopped, because of an error.
    pub emergency: bool,
    /// The device's numbers, `MAJOR:MINOR`.
    pub numbers: String,
}

/// Reads a mountinfo. Where several are mounted on one place, the last one is what is seen there.
pub fn parse(text: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in text.lines().filter_map(line) {
        mounts.retain(|earlier| earlier.point != mount.point);
        mounts.push(mount);
    }
    mounts
}

fn line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let before: Vec<&str> = before.split(' ').collect();
    let mut after = after.split(' ');
    let (kind, device, superblock) = (after.next()?, after.next()?, after.next().unwrap_or_default());
    let has = |options: &str, wanted: &str| options.split(',').any(|option| option == wanted);
    // Of the superblock's options ext4 says `emergency_ro` from Linux 6.15 on, and `shutdown` before.
    let emergency = has(superblock, "emergency_ro") || has(superblock, "shutdown");
    let own = before.get(5)?;
    Some(Mount {
        point: unescape_octal(before.get(4)?),
        device: unescape_octal(device),
        kind: kind.to_owned(),
        read_only: emergency || has(own, "ro") || has(superblock, "ro"),
        emergency,
        numbers: (*before.get(2)?).to_owned(),
    })
}

impl Mount {
    /// Whether node_exporter counts it: not the kernel's own trees, nor containers' (Debian's filters).
    pub fn counts(&self) -> bool {
        const KINDS: [&str; 31] = [
            "autofs",
            "binfmt_misc",
            "bpf",
            "cgroup",
            "cgroup2",
            "configfs",
            "debugfs",
            "devpts",
            "devtmpfs",
            "fusectl",
            "hugetlbfs",
            "iso9660",
            "mqueue",
            "nsfs",
            "overlay",
            "proc",
            "procfs",
            "pstore",
            "rpc_pipefs",
            "securityfs",
            "selinuxfs",
            "squashfs",
            "erofs",
            "sysfs",
            "tracefs",
            "efivarfs",
            "ramfs",
            "fuse.lxcfs",
            "fuse.gvfsd-fuse",
            "fuse.portal",
            "nullfs",
        ];
        const PLACES: [&str; 6] =
            ["/dev", "/proc", "/run", "/sys", "/var/lib/docker", "/var/lib/containers/storage"];
        let under = |place: &str| {
            let below = self.point.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
            // Docker's own data may be a disk of its own: only what is below it is a container's.
            below || (self.point == place && !place.starts_with("/var"))
        };
        !KINDS.contains(&self.kind.as_str()) && !PLACES.iter().any(|place| under(place))
    }

    /// Whether another machine holds it: asking it how full it is can take for ever.
    pub fn is_remote(&self) -> bool {
        ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.rclone"]
            .contains(&self.kind.as_str())
    }

    /// Whether it is a disk of this machine, whose filling up or breaking is worth an alert.
    pub fn is_disk(&self) -> bool {
        let named = self.device.starts_with("/dev/") || ["btrfs", "zfs"].contains(&self.kind.as_str());
        self.counts() && !self.is_remote() && named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_in_either_place_and_in_emergencies() {
        let text = "24 30 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw,emergency_ro,errors=remount-ro\n\
                    25 24 179:1 / /boot/firm\\040ware ro,relatime - vfat /dev/mmcblk0p1 rw\n\
                    26 24 0:5 / /data rw - ext4 /dev/sda1 ro\n\
                    27 24 0:5 / /data rw - ext4 /dev/sdb1 rw\n\
                    short\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert!(mounts[0].read_only && mounts[0].emergency);
        assert_eq!(mounts[1].point, "/boot/firm ware");
        assert!(mounts[1].read_only && !mounts[1].emergency);
        assert!(!mounts[2].read_only, "the later mount hides the earlier one");
    }

    #[test]
    fn only_disks_count() {
        let mount = |point: &str, kind: &str, device: &str| Mount {
            point: point.into(),
            kind: kind.into(),
            device: device.into(),
            ..Mount::default()
        };
        assert!(mount("/", "ext4", "/dev/mmcblk0p2").is_disk());
        assert!(mount("/var/lib/docker", "ext4", "/dev/sda1").is_disk());
        assert!(!mount("/var/lib/docker/overlay2/x/merged", "overlay", "overlay").counts());
        assert!(!mount("/dev/shm", "tmpfs", "tmpfs").counts());
        assert!(!mount("/run", "tmpfs", "tmpfs").counts());
        assert!(mount("/tmp", "tmpfs", "tmpfs").counts() && !mount("/tmp", "tmpfs", "tmpfs").is_disk());
        assert!(!mount("/mnt", "nfs4", "nas:/x").is_disk(), "it could hang");
        assert!(mount("/devices", "ext4", "/dev/sda1").counts());
    }
}
