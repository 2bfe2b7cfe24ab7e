//! /etc/fstab, fstab(5); /proc/mounts has the same format.

use serde::Serialize;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// What is mounted: a device, `PARTUUID=…`, a name.
    pub source: String,
    /// Where; `none` for swap.
    pub target: String,
    /// The type of the file system.
    pub kind: String,
    /// Options.
    pub options: Vec<String>,
    /// Whether dump(8) saves it.
    pub dump: u32,
    /// When fsck(8) checks it at boot; 0 for never.
    pub pass: u32,
    /// Its line.
    pub line: usize,
}

/// Reads all mounts. Lines with fewer than three fields are passed over.
pub fn parse(text: &str) -> Vec<Mount> {
    let mount = |(number, line): (usize, &str)| {
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().filter(|field| !field.starts_with('#'));
        Some(Mount {
            source: super::unescape_octal(next()?),
            target: super::unescape_octal(next()?),
            kind: next()?.to_owned(),
            options: next().unwrap_or("defaults").split(',').map(super::unescape_octal).collect(),
            dump: next().and_then(|field| field.parse().ok()).unwrap_or(0),
            pass: next().and_then(|field| field.parse().ok()).unwrap_or(0),
            line: number + 1,
        })
    };
    text.lines().enumerate().filter_map(mount).collect()
}
