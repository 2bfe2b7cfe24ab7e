//! /proc/meminfo, proc_meminfo(5).

use serde::Serialize;

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// `MemTotal`: usable memory, without what the firmware and the kernel's code keep.
    pub total: u64,
    /// `MemAvailable`: what programs could still have without swapping.
    pub available: u64,
    /// `SwapTotal`.
    pub swap_total: u64,
    /// `SwapFree`.
    pub swap_free: u64,
}

/// Reads /proc/meminfo.
pub fn parse(text: &str) -> Memory {
    let mut memory = Memory::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let field = match name {
            "MemTotal" => &mut memory.total,
            "MemAvailable" => &mut memory.available,
            "SwapTotal" => &mut memory.swap_total,
            "SwapFree" => &mut memory.swap_free,
            _ => continue,
        };
        // "kB" in this file means 1024 bytes.
        *field = value.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024;
    }
    memory
}
