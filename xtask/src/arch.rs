//! The architectures that packages are made for, with every name that Debian, Rust and qemu have for them.

use std::fmt;

/// The oldest glibc that a released package runs with: Debian 11's, and so that of the oldest Raspberry Pi OS that is
/// still found in the field. The same number stands in `Depends` of crates/pitool/Cargo.toml.
pub(crate) const GLIBC_FLOOR: &str = "2.31";

/// An architecture, by Debian's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    /// 64-bit ARM: Raspberry Pi OS 64-bit on a Pi Zero 2, 3, 4 and 5.
    Arm64,
    /// 32-bit ARM from ARMv7 on: Raspberry Pi OS 32-bit on a Pi Zero 2, 2, 3, 4 and 5.
    Armhf,
    /// Debian on a PC.
    Amd64,
}

impl Arch {
    pub(crate) const ALL: [Self; 3] = [Self::Arm64, Self::Armhf, Self::Amd64];

    /// Debian's name.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
            Self::Amd64 => "amd64",
        }
    }

    /// Rust's target.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::Armhf => "armv7-unknown-linux-gnueabihf",
            Self::Amd64 => "x86_64-unknown-linux-gnu",
        }
    }

    /// What GNU tools for the architecture begin with.
    pub(crate) fn gnu(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-linux-gnu",
            Self::Armhf => "arm-linux-gnueabihf",
            Self::Amd64 => "x86_64-linux-gnu",
        }
    }

    /// The Debian package with those tools.
    pub(crate) fn binutils(self) -> String {
        format!("binutils-{}", self.gnu().replace('_', "-"))
    }

    /// The machine as readelf names it.
    pub(crate) fn elf_machine(self) -> &'static str {
        match self {
            Self::Arm64 => "AArch64",
            Self::Armhf => "ARM",
            Self::Amd64 => "Advanced Micro Devices X86-64",
        }
    }

    /// That of the machine we build on.
    pub(crate) fn host() -> Option<Self> {
        match std::env::consts::ARCH {
            "aarch64" => Some(Self::Arm64),
            "arm" => Some(Self::Armhf),
            "x86_64" => Some(Self::Amd64),
            _ => None,
        }
    }

    /// Is it that of the machine we build on?
    pub(crate) fn is_host(self) -> bool {
        Self::host() == Some(self)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.debian())
    }
}
