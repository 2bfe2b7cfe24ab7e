//! What a built program asks of the machine that runs it, read from the file with readelf.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::arch::{Arch, GLIBC_FLOOR};
use crate::tools::{command, read};

/// The largest page of a kernel that Raspberry Pi OS ships: the Pi 5's own has 16 KiB (a program whose parts are laid
/// out for 4 KiB pages does not start there).
const LARGEST_PAGE: u64 = 16 << 10;

/// What matters of a program for the one who installs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The newest version of glibc that it needs: `2.30`.
    pub(crate) glibc: String,
    /// The name under which its debug symbols are found, in hexadecimal digits.
    pub(crate) build_id: String,
    machine: String,
    position_independent: bool,
    bound_at_start: bool,
    stripped: bool,
    unwinds: bool,
    alignment: u64,
}

impl Program {
    /// Reads a program.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = read(command("readelf").env("LC_ALL", "C").arg("-Whldn").args(["-V", "-S"]).arg(path))?;
        Self::parse(&text).with_context(|| format!("cannot make sense of {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let line = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key));
        let machine = line("Machine:").context("no machine")?.trim().to_owned();
        let glibc = text
            .split(|c: char| c.is_whitespace())
            .filter_map(|word| word.strip_prefix("GLIBC_"))
            .max_by_key(|version| numbers(version))
            .context("it needs no glibc")?;
        let alignments =
            text.lines().filter(|line| line.trim_start().starts_with("LOAD ")).filter_map(|line| {
                u64::from_str_radix(line.split_whitespace().last()?.strip_prefix("0x")?, 16).ok()
            });
        Ok(Self {
            glibc: glibc.to_owned(),
            build_id: text
                .split_once("Build ID: ")
                .map_or("", |(_, id)| id.lines().next().unwrap_or_default())
                .trim()
                .to_owned(),
            machine,
            position_independent: text.contains(" PIE"),
            bound_at_start: text.contains("BIND_NOW") || text.contains("Flags: NOW"),
            stripped: !text.contains(".symtab")
                && !text.contains(".debug_info")
                && !text.contains(".debug_line"),
            unwinds: text.contains(".eh_frame"),
            alignment: alignments.min().context("nothing to load")?,
        })
    }

    /// Refuses what would not run, or not safely, on the machines that its package promises to run on.
    pub(crate) fn check(&self, arch: Arch) -> Result<()> {
        ensure!(self.machine == arch.elf_machine(), "the program is for {}, not for {arch}", self.machine);
        ensure!(
            numbers(&self.glibc) <= numbers(GLIBC_FLOOR),
            "the program needs glibc {}, and its package promises {GLIBC_FLOOR}",
            self.glibc
        );
        ensure!(self.position_independent, "the program is not position-independent");
        ensure!(self.bound_at_start, "the program's addresses stay writable (no BIND_NOW)");
        ensure!(self.stripped, "the program is not stripped");
        ensure!(!self.unwinds, "the program has tables for unwinding, a tenth of it, and never unwinds");
        ensure!(self.build_id.len() == 40, "the program has no build id");
        ensure!(
            self.alignment >= LARGEST_PAGE || arch == Arch::Amd64,
            "the program is laid out for pages of {} bytes: it would not start on a Pi 5",
            self.alignment
        );
        Ok(())
    }
}

/// A version to be compared.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "  Machine:                           AArch64\n\
        Program Headers:\n  LOAD           0x000000 0x0000 0x0000 0x93ea4 0x93ea4 R   0x10000\n\
        \x20 LOAD           0x093ea4 0xa3ea4 0xa3ea4 0x26462 0x26462 R E 0x10000\n\
        \x200x000000000000001e (FLAGS)              BIND_NOW\n 0x000000006ffffffb (FLAGS_1)            Flags: NOW PIE\n\
        \x20 GNU  0x00000014  NT_GNU_BUILD_ID (unique build ID bitstring)   Build ID: 0123456789abcdef0123456789abcdef01234567\n\
        \x20 0x0010:   Name: GLIBC_2.9  Flags: none  Version: 3\n  0x0020:   Name: GLIBC_2.30  Flags: none  Version: 2\n";

    #[test]
    fn the_newest_glibc_counts_as_a_version_and_not_as_text() {
        let program = Program::parse(TEXT).unwrap();
        assert_eq!((program.glibc.as_str(), program.alignment), ("2.30", 0x10000));
        program.check(Arch::Arm64).unwrap();
    }

    #[test]
    fn what_would_not_run_is_refused() {
        let refused = |from: &str, to: &str, arch: Arch| {
            Program::parse(&TEXT.replace(from, to)).unwrap().check(arch).unwrap_err().to_string()
        };
        assert!(refused("", "", Arch::Armhf).contains("is for AArch64"));
        assert!(refused("GLIBC_2.30", "GLIBC_2.34", Arch::Arm64).contains("needs glibc 2.34"));
        assert!(refused("NOW PIE", "NOW", Arch::Arm64).contains("position-independent"));
        assert!(refused("NOW", "LAZY", Arch::Arm64).contains("writable"));
        assert!(refused("R   0x10000", "R   0x1000", Arch::Arm64).contains("Pi 5"));
        assert!(refused("Build ID: 0123", "Build ID: ", Arch::Arm64).contains("build id"));
        assert!(refused("Program Headers:", "[ 3] .symtab", Arch::Arm64).contains("stripped"));
        assert!(refused("Program Headers:", "[ 3] .eh_frame", Arch::Arm64).contains("unwinds"));
    }
}
