//! What the kernel says of the machine: pure parsers of texts in /proc and /sys, one file per subject.
//!
//! Sources: proc(5), the kernel's Documentation/admin-guide and Documentation/ABI. A parser keeps what it understands.
//! Whoever reads a file that is not there gets `None`: a sensor that vanished is no zero.

pub mod cpu;
pub mod disk;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod pi;
pub mod thermal;

use pitool_host::text::chain;
use pitool_host::{Inspect, Result};

/// Reads a file as text, if it is there and can be read now.
///
/// Files in /sys answer `EINVAL`, `EIO` or `ENODATA` while a device does not: such a value is not there.
pub fn text(host: &dyn Inspect, path: &str) -> Option<String> {
    let content = host.read(path).ok()??;
    Some(String::from_utf8_lossy(content.bytes()).into_owned())
}

/// Reads a file that holds one number.
pub fn number<T: std::str::FromStr>(host: &dyn Inspect, path: &str) -> Option<T> {
    text(host, path)?.trim().parse().ok()
}

/// Reads a file that must be there.
///
/// # Errors
/// It is not there or cannot be read; the words say which.
pub fn required(host: &dyn Inspect, path: &str) -> std::result::Result<String, String> {
    match host.read(path) {
        Ok(Some(content)) => Ok(String::from_utf8_lossy(content.bytes()).into_owned()),
        Ok(None) => Err(format!("{path} is not there")),
        Err(error) => Err(chain(&error)),
    }
}

/// Names in a directory; none where it is not there.
pub fn names(host: &dyn Inspect, path: &str) -> Vec<String> {
    let listed: Result<Option<Vec<String>>> = host.list(path);
    listed.ok().flatten().unwrap_or_default()
}
