//! Disks: /proc/diskstats (Documentation/admin-guide/iostats.rst), ext4's counters in /sys/fs/ext4, wear of eMMC.

use pitool_host::Inspect;

use super::{names, number, text};

/// A disk's counters since boot. Sectors are 512 bytes, whatever the disk says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disk {
    /// Its name: `mmcblk0`.
    pub name: String,
    /// Reads that are done.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Seconds spent reading.
    pub read_time: f64,
    /// Writes that are done.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Seconds spent writing.
    pub write_time: f64,
    /// Requests under way.
    pub in_progress: u64,
    /// Seconds in which there was something to do.
    pub busy_time: f64,
}

/// Reads /proc/diskstats, without what node_exporter leaves out: partitions of whole disks, RAM disks, loops.
pub fn diskstats(text: &str) -> Vec<Disk> {
    text.lines().filter_map(disk).filter(|disk| !left_out(&disk.name)).collect()
}

fn disk(line: &str) -> Option<Disk> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = |index: usize| words.get(index)?.parse::<u64>().ok();
    Some(Disk {
        name: (*words.get(2)?).to_owned(),
        reads: at(3)?,
        read_bytes: at(5)?.saturating_mul(512),
        read_time: at(6)? as f64 / 1000.0,
        writes: at(7)?,
        written_bytes: at(9)?.saturating_mul(512),
        write_time: at(10)? as f64 / 1000.0,
        in_progress: at(11)?,
        busy_time: at(12)? as f64 / 1000.0,
    })
}

/// node_exporter's `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn left_out(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    if ["ram", "zram", "loop", "fd"].contains(&stem) {
        return true;
    }
    let letter = ["hd", "sd", "vd", "xvd"].iter().find_map(|prefix| stem.strip_prefix(prefix));
    let nvme = stem.strip_prefix("nvme").and_then(|rest| rest.strip_suffix('p')).is_some_and(|rest| {
        rest.split_once('n').is_some_and(|(a, b)| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
            digits(a) && digits(b)
        })
    });
    letter.is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase()) || nvme
}

/// What ext4 remembers of a file system, over reboots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ext4 {
    /// The device's name: `mmcblk0p2`.
    pub device: String,
    /// Errors since the last check of the file system.
    pub errors: u64,
    /// When the last one was, in seconds since 1970.
    pub last_error: Option<u64>,
    /// Bytes written in its whole life.
    pub lifetime_written: Option<u64>,
    /// Bytes written since it was mounted.
    pub session_written: Option<u64>,
}

/// Asks every mounted ext4.
pub fn ext4(host: &dyn Inspect) -> Vec<Ext4> {
    let base = "/sys/fs/ext4";
    let one = |device: String| {
        let at = |file: &str| number::<u64>(host, &format!("{base}/{device}/{file}"));
        Some(Ext4 {
            errors: at("errors_count")?,
            last_error: at("last_error_time").filter(|time| *time > 0),
            lifetime_written: at("lifetime_write_kbytes").map(|kib| kib.saturating_mul(1024)),
            session_written: at("session_write_kbytes").map(|kib| kib.saturating_mul(1024)),
            device,
        })
    };
    names(host, base).into_iter().filter_map(one).collect()
}

/// How worn an eMMC is, by its own account (JEDEC eMMC 5.1, DEVICE_LIFE_TIME_EST and PRE_EOL_INFO). SD cards say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emmc {
    /// The device: `mmcblk0`.
    pub device: String,
    /// The part of its life that is used, in percent, in steps of ten; 110 means past its end.
    pub used: u8,
    /// 1 normal, 2 warning, 3 urgent.
    pub pre_eol: u8,
}

/// Asks every eMMC.
pub fn emmc(host: &dyn Inspect) -> Vec<Emmc> {
    let one = |device: String| {
        let dir = format!("/sys/block/{device}/device");
        let life = text(host, &format!("{dir}/life_time"))?;
        let used = life.split_ascii_whitespace().filter_map(hex).max()?;
        let pre_eol = text(host, &format!("{dir}/pre_eol_info")).and_then(|word| hex(word.trim()))?;
        // 0 is "not defined": a card that does not say.
        (used > 0).then_some(Emmc { device, used: used.min(11) * 10, pre_eol })
    };
    names(host, "/sys/block").into_iter().filter(|name| name.starts_with("mmcblk")).filter_map(one).collect()
}

fn hex(word: &str) -> Option<u8> {
    u8::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_are_kept() {
        let text = " 179       0 mmcblk0 100 5 2000 50 7 1 80 9 0 30 59 0 0 0 0\n 179 1 mmcblk0p1 1 0 1 1 0 0 0 0 0 1 1\n   8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n   7 0 loop0 1 2 3 4 5 6 7 8 9 10 11\n 259 1 nvme0n1p1 1 2 3 4 5 6 7 8 9 10 11\n 259 0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11\n";
        let disks = diskstats(text);
        let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["mmcblk0", "mmcblk0p1", "nvme0n1"]);
        assert_eq!(disks[0].read_bytes, 2000 * 512);
        assert_eq!(disks[0].written_bytes, 80 * 512);
        assert_eq!((disks[0].read_time, disks[0].busy_time), (0.05, 0.03));
    }
}
