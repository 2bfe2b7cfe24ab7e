//! What happened, from the kernel's log: counted one by one, so that nothing between two looks is missed.
//!
//! Source: /dev/kmsg, Documentation/ABI/testing/dev-kmsg. The kernel keeps its log in memory; what is counted here is kept over
//! reboots in [`crate::state`].

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use serde::{Deserialize, Serialize};

/// Something worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The 5 V supply sagged.
    UnderVoltage,
    /// The firmware slowed the processor down.
    Throttled,
    /// The kernel killed a program for want of memory.
    OomKill,
    /// A file system found an error in itself.
    FilesystemError,
    /// A disk or card did not do what it was asked.
    DiskError,
    /// The machine went off without being told to.
    UncleanShutdown,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 6] = [
        Self::UnderVoltage,
        Self::Throttled,
        Self::OomKill,
        Self::FilesystemError,
        Self::DiskError,
        Self::UncleanShutdown,
    ];

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnderVoltage => "under-voltage",
            Self::Throttled => "throttled",
            Self::OomKill => "oom-kill",
            Self::FilesystemError => "filesystem-error",
            Self::DiskError => "disk-error",
            Self::UncleanShutdown => "unclean-shutdown",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::UnderVoltage => "under-voltage",
            Self::Throttled => "slowed down by the firmware",
            Self::OomKill => "program killed for want of memory",
            Self::FilesystemError => "file system error",
            Self::DiskError => "disk or card error",
            Self::UncleanShutdown => "went off without a shutdown",
        }
    }

    /// Reads one message of the kernel.
    pub fn of(message: &str) -> Option<Self> {
        let has = |part: &str| message.contains(part);
        // Two spellings, by the kernel's version; "Voltage normalised" is its end and no event.
        if has("Undervoltage detected!") || has("Under-voltage detected!") {
            return Some(Self::UnderVoltage);
        }
        if has("Out of memory: Killed process") || has("Memory cgroup out of memory: Killed process") {
            return Some(Self::OomKill);
        }
        let filesystem =
            ["EXT4-fs error", "EXT4-fs (", "BTRFS error", "BTRFS critical", "F2FS-fs", "FAT-fs ("];
        if has("EXT4-fs error")
            || has("Remounting filesystem read-only")
            || has("BTRFS critical")
            || (filesystem.iter().any(|name| message.starts_with(name)) && has("error"))
        {
            return Some(Self::FilesystemError);
        }
        let card = message.starts_with("mmc") && (has("error -") || has("timeout waiting for hardware"));
        (has("I/O error, dev") || has("Buffer I/O error on dev") || card).then_some(Self::DiskError)
    }
}

/// A record of the kernel's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, one more with each.
    pub sequence: u64,
    /// The first line of its text.
    pub text: String,
}

/// Reads one record: `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`.
pub fn record(bytes: &[u8]) -> Option<Record> {
    let text = String::from_utf8_lossy(bytes);
    let (head, text) = text.split_once(';')?;
    let mut head = head.split(',');
    let priority: u32 = head.next()?.parse().ok()?;
    let sequence = head.next()?.parse().ok()?;
    // The part above the lowest three bits is who spoke; programs may write here too, and are not the kernel.
    let text = if priority >> 3 == 0 { text.lines().next().unwrap_or_default() } else { "" };
    Some(Record { sequence, text: text.to_owned() })
}

/// The kernel's log.
#[derive(Debug)]
pub struct KernelLog(std::fs::File);

/// The most records that are read at one time: the whole buffer of a Pi has a few thousand.
const AT_ONCE: usize = 20_000;

impl KernelLog {
    /// Opens it from its beginning.
    ///
    /// # Errors
    /// Only root with `CAP_SYSLOG` may read it on Debian.
    pub fn open(path: &str) -> std::io::Result<Self> {
        std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map(Self)
    }

    /// Reads what came since the last call.
    pub fn read(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut buffer = [0; 8192];
        for _ in 0..AT_ONCE {
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => records.extend(record(&buffer[..length])),
                // EPIPE: records were overwritten before they were read; it goes on with the oldest.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_real_kernels() {
        for (message, event) in [
            ("hwmon hwmon1: Undervoltage detected!", Some(Event::UnderVoltage)),
            ("Under-voltage detected! (0x00050005)", Some(Event::UnderVoltage)),
            ("hwmon hwmon1: Voltage normalised", None),
            ("Out of memory: Killed process 812 (python3) total-vm:1kB", Some(Event::OomKill)),
            ("Memory cgroup out of memory: Killed process 9 (x)", Some(Event::OomKill)),
            (
                "EXT4-fs error (device mmcblk0p2): ext4_find_entry:1455: inode #2",
                Some(Event::FilesystemError),
            ),
            ("EXT4-fs (mmcblk0p2): Remounting filesystem read-only", Some(Event::FilesystemError)),
            ("EXT4-fs (mmcblk0p2): mounted filesystem with ordered data mode. Quota mode: none.", None),
            ("mmc0: error -110 whilst initialising SD card", Some(Event::DiskError)),
            ("mmcblk0: error -110 sending status command", Some(Event::DiskError)),
            ("I/O error, dev mmcblk0, sector 12345 op 0x1:(WRITE)", Some(Event::DiskError)),
            ("mmc0: new ultra high speed DDR50 SDHC card at address aaaa", None),
            ("usb 1-1: new high-speed USB device", None),
        ] {
            assert_eq!(Event::of(message), event, "{message}");
        }
    }

    #[test]
    fn records() {
        assert_eq!(
            record(b"4,812,5140900,-;hwmon hwmon1: Undervoltage detected!\n SUBSYSTEM=hwmon\n"),
            Some(Record { sequence: 812, text: "hwmon hwmon1: Undervoltage detected!".into() })
        );
        assert_eq!(record(b"garbage"), None);
        // A program that writes to the log cannot make us count.
        assert_eq!(
            record(b"12,813,5,-;Undervoltage detected!\n").map(|record| record.text).as_deref(),
            Some("")
        );
    }
}
