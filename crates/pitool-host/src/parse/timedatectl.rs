//! `timedatectl show`, timedatectl(1): `Name=value` lines.

/// Whether the kernel's clock is synchronized; `None` when `NTPSynchronized` was not told.
pub fn synchronized(text: &str) -> Option<bool> {
    text.lines().find_map(|line| line.strip_prefix("NTPSynchronized=")).map(|value| value.trim() == "yes")
}
