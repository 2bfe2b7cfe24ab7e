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

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'t> {
    /// The name as the kernel writes it: `Active(anon)`.
    pub name: &'t str,
    /// In bytes where the kernel says kB, else a mere number.
    pub value: u64,
    /// Whether it is bytes.
    pub bytes: bool,
}

/// Reads the lines, in the kernel's order; one that is not understood is left out.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let mut words = rest.split_ascii_whitespace();
        let value: u64 = words.next()?.parse().ok()?;
        // "kB" in this file means 1024 bytes.
        let bytes = words.next() == Some("kB");
        let value = if bytes { value.checked_mul(1024)? } else { value };
        Some(Line { name, value, bytes })
    })
}

/// Reads the lines that matter most.
pub fn parse(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in lines(text).filter(|line| line.bytes) {
        match line.name {
            "MemTotal" => memory.total = line.value,
            "MemAvailable" => memory.available = line.value,
            "SwapTotal" => memory.swap_total = line.value,
            "SwapFree" => memory.swap_free = line.value,
            _ => {}
        }
    }
    memory
}
