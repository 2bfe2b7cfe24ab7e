//! /proc/swaps, proc_swaps(5).

use serde::Serialize;

/// A swap area in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swap {
    /// The device or file.
    pub path: String,
    /// `partition` (also for zram) or `file`.
    pub kind: String,
    /// Its size in bytes.
    pub size: u64,
    /// How much of it is used, in bytes.
    pub used: u64,
    /// Areas with a higher one are used first.
    pub priority: i32,
}

/// Reads /proc/swaps.
pub fn parse(text: &str) -> Vec<Swap> {
    let area = |line: &str| {
        let mut fields = line.split_whitespace();
        Some(Swap {
            path: super::unescape_octal(fields.next()?),
            kind: fields.next()?.to_owned(),
            size: fields.next()?.parse::<u64>().ok()? * 1024,
            used: fields.next()?.parse::<u64>().ok()? * 1024,
            priority: fields.next()?.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(area).collect()
}
