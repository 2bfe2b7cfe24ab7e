//! /proc/cpuinfo, proc_cpuinfo(5): its fields differ between architectures.

use serde::Serialize;

/// The processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpuinfo {
    /// How many are online.
    pub cpus: u32,
    /// Whether they are ARMv6 (Pi 1, Pi Zero).
    pub armv6: bool,
    /// `Model`: the board, written by the Raspberry Pi kernel only.
    pub model: String,
    /// `Serial`: the board's serial number.
    pub serial: String,
}

/// Reads /proc/cpuinfo.
pub fn parse(text: &str) -> Cpuinfo {
    let mut cpuinfo = Cpuinfo::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.trim() {
            "processor" => cpuinfo.cpus += 1,
            // The ARM1176 of a Pi Zero says "CPU architecture: 7", but in its name the truth: "ARMv6-compatible … (v6l)".
            "model name" | "Processor" => cpuinfo.armv6 |= value.starts_with("ARMv6"),
            "CPU architecture" => cpuinfo.armv6 |= value.starts_with('6'),
            "Model" => value.clone_into(&mut cpuinfo.model),
            "Serial" => value.clone_into(&mut cpuinfo.serial),
            _ => {}
        }
    }
    cpuinfo
}
