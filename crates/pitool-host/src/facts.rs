//! Slow truths about the machine: what a run cannot change, gathered once.
//!
//! Roles are pure functions of config and facts, so a fact must be the same before and after a run: the release,
//! the architecture, the board. What pitool itself settles (a package, a port) is never a fact.

use serde::{Deserialize, Serialize};

/// Everything that roles may know about the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// `ID` of os-release(5): `debian`, `raspbian`, `ubuntu`.
    pub os: String,
    /// `VERSION_ID` as a number: 12, 13; 0 where there is none (Debian testing has none).
    pub release: u32,
    /// `VERSION_CODENAME`: `bookworm`, `trixie`.
    pub codename: String,
    /// `PRETTY_NAME`, for people.
    pub os_name: String,
    /// dpkg's native architecture: `arm64`, `armhf`, `amd64`. Never the kernel's (trap T4).
    pub arch: String,
    /// The kernel's machine name, `uname -m`: a 64-bit kernel under a 32-bit userland is usual on a Pi.
    pub kernel_arch: String,
    /// The kernel's release, `uname -r`.
    pub kernel: String,
    /// Whether /lib/modules has this kernel's modules: false after a kernel upgrade, until the reboot (trap T22).
    pub kernel_modules: bool,
    /// Whether the processor is ARMv6 (Pi 1, Pi Zero): Debian's armhf does not run there.
    pub armv6: bool,
    /// The board, from the device tree ("Raspberry Pi 4 Model B Rev 1.4"); empty elsewhere.
    pub model: String,
    /// Total memory in bytes.
    pub memory: u64,
    /// The kernel's page size in bytes: 16384 on a Pi 5's own kernel (trap T5).
    pub page_size: u64,
    /// Number of processors that are online.
    pub cpus: u32,
    /// Whether systemd is the service manager that runs now.
    pub systemd: bool,
    /// The container that we run in (`systemd-nspawn`, `docker`, `lxc`), empty on a machine of its own.
    pub container: String,
    /// Whether this is the running system, not another root.
    pub live: bool,
    /// The directory with cmdline.txt and config.txt, where the Pi's firmware reads them: `/boot/firmware`, or
    /// `/boot` on old images; `None` where there are none. Never the decoys that say DO NOT EDIT (trap T7).
    pub firmware: Option<String>,
    /// How this image makes its swap (trap T27).
    pub swap: SwapMechanism,
    /// The package that keeps the clock where it is not systemd-timesyncd: `chrony`, `ntpsec`, `openntpd`; empty
    /// where there is none. Debian lets only one of them be installed, so a run that meets one leaves it.
    pub time_daemon: String,
    /// Whether cloud-init is there and not switched off: it sets hostname and /etc/hosts at every boot (trap T9).
    pub cloud_init: bool,
    /// Whether apt has a source of the Raspberry Pi Foundation (archive.raspberrypi.com or .org).
    pub raspberrypi_archive: bool,
    /// Whether the journal's own default on this image is RAM only (drop-in 40-rpi-volatile-storage.conf, trap T28).
    pub volatile_journal: bool,
    /// The machine's id, machine-id(5); empty when it is not set yet.
    pub machine_id: String,
    /// The board's serial number; empty elsewhere.
    pub serial: String,
    /// This boot's id, /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
}

/// How an image makes its swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapMechanism {
    /// No tool of the image's own: a swap file and its unit are ours to make.
    #[default]
    None,
    /// Raspberry Pi OS trixie: rpi-swap(7) with drop-ins in /etc/rpi/swap.conf.d.
    RpiSwap,
    /// Raspberry Pi OS up to bookworm: /etc/dphys-swapfile.
    DphysSwapfile,
    /// Swap space that a person set up: an entry of /etc/fstab, or a unit or device that is not pitool's
    /// (`/swapfile` is pitool's). It stays as it is.
    Own,
}
