//! Machines as they are after first boot.

use pitool_host::Access;

use crate::sim::Sim;
use crate::world::{Node, World};
use crate::{catalogue, kernel};

/// Which image of Raspberry Pi OS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PiOs {
    /// Debian 12, 64 bit.
    Bookworm,
    /// Debian 12 as Raspbian, 32 bit.
    Bookworm32,
    /// Debian 13, 64 bit.
    Trixie,
    /// Debian 13 as Raspbian, 32 bit.
    Trixie32,
}

impl PiOs {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bookworm, Self::Bookworm32, Self::Trixie, Self::Trixie32];

    fn release(self) -> u32 {
        if matches!(self, Self::Bookworm | Self::Bookworm32) { 12 } else { 13 }
    }

    fn narrow(self) -> bool {
        matches!(self, Self::Bookworm32 | Self::Trixie32)
    }
}

/// Directories that every machine has and no package takes away.
pub(crate) const DIRECTORIES: &[&str] = &[
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/dev/disk",
    "/etc/apt",
    "/etc/apt/apt.conf.d",
    "/etc/apt/keyrings",
    "/etc/apt/preferences.d",
    "/etc/apt/sources.list.d",
    "/var/backups",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/default",
    "/etc/init.d",
    "/etc/logrotate.d",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/etc/profile.d",
    "/etc/skel",
    "/etc/ssh",
    "/etc/ssh/sshd_config.d",
    "/etc/ssl",
    "/etc/ssl/certs",
    "/etc/ssl/private",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/systemd/system",
    "/etc/systemd/system/multi-user.target.wants",
    "/etc/systemd/system/sysinit.target.wants",
    "/etc/systemd/system/timers.target.wants",
    "/etc/tmpfiles.d",
    "/run/lock",
    "/run/sshd",
    "/run/systemd",
    "/run/systemd/system",
    "/sys/block",
    "/sys/fs",
    "/sys/fs/cgroup",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib/modules",
    "/usr/lib/sysctl.d",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/system/sysinit.target.wants",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/share",
    "/usr/share/keyrings",
    "/usr/share/zoneinfo",
    "/var/cache",
    "/var/cache/apt",
    "/var/cache/apt/archives",
    "/var/lib",
    "/var/lib/apt",
    "/var/lib/apt/lists",
    "/var/lib/dpkg",
    "/var/lib/dpkg/info",
    "/var/lib/dpkg/updates",
    "/var/lib/systemd",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/log",
    "/var/spool",
    "/var/tmp",
];

/// Time zones that the machine has files for.
const ZONES: &[&str] = &[
    "Etc/UTC",
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Paris",
    "America/New_York",
    "Asia/Tokyo",
    "Australia/Sydney",
];

/// Kernel settings that the machine has, with their values after boot, as sysctl names them.
const SYSCTLS: &[(&str, &str)] = &[
    ("fs.file-max", "9223372036854775807"),
    ("fs.inotify.max_user_instances", "128"),
    ("fs.inotify.max_user_watches", "65536"),
    ("fs.protected_fifos", "1"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_regular", "2"),
    ("fs.protected_symlinks", "1"),
    ("fs.suid_dumpable", "0"),
    ("kernel.core_pattern", "core"),
    ("kernel.dmesg_restrict", "0"),
    ("kernel.hostname", "raspberrypi"),
    ("kernel.kptr_restrict", "0"),
    ("kernel.panic", "0"),
    ("kernel.panic_on_oops", "0"),
    ("kernel.perf_event_paranoid", "2"),
    ("kernel.randomize_va_space", "2"),
    ("kernel.sysrq", "438"),
    ("kernel.unprivileged_bpf_disabled", "2"),
    ("kernel.yama.ptrace_scope", "0"),
    ("net.core.bpf_jit_harden", "0"),
    ("net.core.default_qdisc", "pfifo_fast"),
    ("net.core.rmem_max", "212992"),
    ("net.core.somaxconn", "4096"),
    ("net.core.wmem_max", "212992"),
    ("net.ipv4.conf.all.accept_redirects", "1"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
    ("net.ipv4.conf.all.log_martians", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.all.secure_redirects", "1"),
    ("net.ipv4.conf.all.send_redirects", "1"),
    ("net.ipv4.conf.default.accept_redirects", "1"),
    ("net.ipv4.conf.default.accept_source_route", "1"),
    ("net.ipv4.conf.default.log_martians", "0"),
    ("net.ipv4.conf.default.rp_filter", "2"),
    ("net.ipv4.conf.default.secure_redirects", "1"),
    ("net.ipv4.conf.default.send_redirects", "1"),
    ("net.ipv4.icmp_echo_ignore_broadcasts", "1"),
    ("net.ipv4.icmp_ignore_bogus_error_responses", "1"),
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.tcp_congestion_control", "cubic"),
    ("net.ipv4.tcp_keepalive_intvl", "75"),
    ("net.ipv4.tcp_keepalive_probes", "9"),
    ("net.ipv4.tcp_keepalive_time", "7200"),
    ("net.ipv4.tcp_rfc1337", "0"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv6.conf.all.accept_ra", "1"),
    ("net.ipv6.conf.all.accept_redirects", "1"),
    ("net.ipv6.conf.all.accept_source_route", "0"),
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.all.forwarding", "0"),
    ("net.ipv6.conf.default.accept_ra", "1"),
    ("net.ipv6.conf.default.accept_redirects", "1"),
    ("net.ipv6.conf.default.accept_source_route", "0"),
    ("net.ipv6.conf.default.disable_ipv6", "0"),
    ("vm.dirty_background_ratio", "10"),
    ("vm.dirty_ratio", "20"),
    ("vm.min_free_kbytes", "16384"),
    ("vm.mmap_min_addr", "65536"),
    ("vm.overcommit_memory", "0"),
    ("vm.page-cluster", "3"),
    ("vm.swappiness", "60"),
    ("vm.vfs_cache_pressure", "100"),
];

impl Sim {
    /// A fresh minimal Debian (12, 13) for arm64, whose apt has no lists yet.
    pub fn debian(release: u32) -> Self {
        Self::of(World::debian(release, "arm64"))
    }

    /// A fresh Raspberry Pi OS Lite on this board ("Raspberry Pi 4 Model B Rev 1.4"), whose apt has no lists yet.
    pub fn raspberry_pi(model: &str, os: PiOs) -> Self {
        Self::of(World::raspberry_pi(model, os))
    }
}

fn auxv(page_size: u64) -> Vec<u8> {
    // AT_PAGESZ, AT_CLKTCK, AT_NULL of a 64-bit kernel on a little-endian machine.
    [(6u64, page_size), (17, 100), (0, 0)]
        .iter()
        .flat_map(|(key, value)| [key.to_le_bytes(), value.to_le_bytes()])
        .flatten()
        .collect()
}

fn codename(release: u32) -> &'static str {
    match release {
        12 => "bookworm",
        13 => "trixie",
        other => panic!("the simulator has no Debian {other}"),
    }
}

impl World {
    /// A fresh minimal Debian.
    ///
    /// # Panics
    /// When the release is neither 12 nor 13.
    pub fn debian(release: u32, arch: &str) -> Self {
        let codename = codename(release);
        let mut world = Self {
            clock: jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 365 * 56),
            ..Self::default()
        };
        world.packages.native = arch.to_owned();
        world.nodes.insert("/".to_owned(), Node::Dir { access: Access::root(0o755) });
        for dir in DIRECTORIES {
            world.put_dir(dir);
        }
        for (link, target) in [
            ("/bin", "usr/bin"),
            ("/lib", "usr/lib"),
            ("/sbin", "usr/sbin"),
            ("/var/run", "/run"),
            ("/etc/mtab", "../proc/self/mounts"),
        ] {
            world.put_link(link, target);
        }
        for (path, mode) in [
            ("/root", 0o700),
            ("/tmp", 0o1777),
            ("/var/tmp", 0o1777),
            ("/etc/sudoers.d", 0o750),
            ("/etc/ssl/private", 0o700),
        ] {
            world.nodes.insert(path.to_owned(), Node::Dir { access: Access::root(mode) });
        }
        world.put(
            "/etc/os-release",
            format!(
                "PRETTY_NAME=\"Debian GNU/Linux {release} ({codename})\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"{release}\"\n\
                 VERSION=\"{release} ({codename})\"\nVERSION_CODENAME={codename}\nID=debian\nHOME_URL=\"https://www.debian.org/\"\n"
            ),
        );
        world.put("/etc/debian_version", format!("{release}.1\n"));
        world.put_link("/usr/lib/os-release", "../../etc/os-release");
        world.put("/etc/hostname", "raspberrypi\n");
        world.put(
            "/etc/hosts",
            "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\n127.0.1.1\traspberrypi\n",
        );
        world.put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        world.put(
            "/etc/fstab",
            "proc\t/proc\tproc\tdefaults\t0\t0\nPARTUUID=deadbeef-02\t/\text4\tdefaults,noatime\t0\t1\n",
        );
        world.accounts();
        world.put("/etc/timezone", "Etc/UTC\n");
        for zone in ZONES {
            world.put(&format!("/usr/share/zoneinfo/{zone}"), "TZif2");
        }
        world.put_link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
        world.put("/etc/locale.conf", "LANG=C.UTF-8\n");
        world.put_link("/etc/default/locale", "../locale.conf");
        world.put(
            "/etc/apt/sources.list.d/debian.sources",
            format!(
                "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {codename} {codename}-updates\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: http://deb.debian.org/debian-security\n\
                 Suites: {codename}-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
            ),
        );
        world.put("/usr/share/keyrings/debian-archive-keyring.gpg", "key");
        if release == 12 {
            world.put("/etc/sysctl.conf", "# Kernel settings\n");
            world.put_link("/etc/sysctl.d/99-sysctl.conf", "../sysctl.conf");
        }
        world.processes(
            if release == 12 { "6.1.0-40-arm64" } else { "6.12.48+deb13-arm64" },
            4 << 20,
            4096,
            4,
        );
        catalogue::fill(&mut world, release);
        world.with_installed(catalogue::BASE);
        world.start_base();
        world
    }

    /// A fresh Raspberry Pi OS Lite.
    ///
    /// # Panics
    /// Never: its releases are known.
    pub fn raspberry_pi(model: &str, os: PiOs) -> Self {
        let release = os.release();
        let codename = codename(release);
        let mut world = Self::debian(release, if os.narrow() { "armhf" } else { "arm64" });
        if os.narrow() {
            let raspbian = world
                .text("/etc/os-release")
                .replace("Debian GNU/Linux", "Raspbian GNU/Linux")
                .replace("ID=debian", "ID=raspbian\nID_LIKE=debian");
            world.put("/etc/os-release", raspbian);
            world.put(
                "/etc/apt/sources.list.d/raspbian.sources",
                format!("Types: deb\nURIs: http://raspbian.raspberrypi.com/raspbian/\nSuites: {codename}\nComponents: main contrib non-free rpi\nSigned-By: /usr/share/keyrings/raspbian-archive-keyring.gpg\n"),
            );
            world.put("/usr/share/keyrings/raspbian-archive-keyring.gpg", "key");
            world.erase("/etc/apt/sources.list.d/debian.sources");
        }
        world.put(
            "/etc/apt/sources.list.d/raspi.sources",
            format!("Types: deb\nURIs: http://archive.raspberrypi.com/debian/\nSuites: {codename}\nComponents: main\nSigned-By: /usr/share/keyrings/raspberrypi-archive-keyring.pgp\n"),
        );
        world.put("/usr/share/keyrings/raspberrypi-archive-keyring.pgp", "key");
        world.put("/etc/rpi-issue", "Raspberry Pi reference 2026-04-13\n");
        world.put_dir("/boot/firmware");
        world.put(
            "/boot/firmware/cmdline.txt",
            "console=serial0,115200 console=tty1 root=PARTUUID=deadbeef-02 rootfstype=ext4 fsck.repair=yes rootwait\n",
        );
        world.put(
            "/boot/firmware/config.txt",
            "# For more options and information see\n# http://rptl.io/configtxt\ndtparam=audio=on\ncamera_auto_detect=1\n\n[cm5]\ndtoverlay=dwc2,dr_mode=host\n\n[all]\n",
        );
        for name in ["cmdline.txt", "config.txt"] {
            let decoy = format!(
                "DO NOT EDIT THIS FILE\n\nThe file you are looking for has moved to /boot/firmware/{name}\n"
            );
            world.put(&format!("/boot/{name}"), decoy);
        }
        let memory = if model.contains("Zero") { 512 << 10 } else { 4 << 20 };
        let page_size = if model.contains("Pi 5") && !os.narrow() { 16384 } else { 4096 };
        // The boards with an ARMv6, which the system's own architecture does not tell.
        let armv6 = ["Zero W", "Zero Rev", "Pi Model"].iter().any(|board| model.contains(board));
        let kernel = match (release, model.contains("Pi 5")) {
            _ if armv6 => "6.12.47+rpt-rpi-v6",
            (12, _) => "6.6.51+rpt-rpi-v8",
            (_, true) => "6.12.47+rpt-rpi-2712",
            (_, false) => "6.12.47+rpt-rpi-v8",
        };
        world.processes(kernel, memory, page_size, if model.contains("Zero W") { 1 } else { 4 });
        let serial = "10000000abcdef01";
        for base in ["/proc/device-tree", "/sys/firmware/devicetree/base"] {
            world.put(&format!("{base}/model"), format!("{model}\0"));
            world.put(&format!("{base}/serial-number"), format!("{serial}\0"));
        }
        if armv6 {
            world.put(
                "/proc/cpuinfo",
                "processor\t: 0\nmodel name\t: ARMv6-compatible processor rev 7 (v6l)\nBogoMIPS\t: 697.95\n\
                 Features\t: half thumb fastmult vfp edsp java tls\nCPU implementer\t: 0x41\nCPU architecture: 7\n\
                 CPU variant\t: 0x0\nCPU part\t: 0xb76\nCPU revision\t: 7\n",
            );
            world.put("/proc/sys/kernel/arch", "armv6l\n");
        }
        let cpu = format!("{}\nSerial\t\t: {serial}\nModel\t\t: {model}\n", world.text("/proc/cpuinfo"));
        world.put("/proc/cpuinfo", cpu);
        world.put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n");
        world.put(
            "/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf",
            "[Journal]\nStorage=volatile\n",
        );
        world.refresh_lists();
        if release == 13 {
            world.with_installed(&["rpi-swap", "cloud-init"]);
            world.swaps.insert("/dev/zram0".to_owned(), 2 << 30);
        } else {
            world.with_installed(&["dphys-swapfile"]);
            world.swaps.insert("/var/swap".to_owned(), 512 << 20);
        }
        world.write_swaps();
        world.start_base();
        world.erase("/var/lib/apt/lists").put_dir("/var/lib/apt/lists");
        world
    }

    /// Lays out what the kernel tells.
    fn processes(&mut self, kernel: &str, memory_kib: u64, page_size: u64, cpus: u32) {
        let total = memory_kib - memory_kib / 32;
        self.put("/proc/meminfo", format!("MemTotal:       {total} kB\nMemFree:        {} kB\nMemAvailable:   {} kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n", total / 2, total / 2));
        let processors: Vec<String> = (0..cpus)
            .map(|cpu| format!("processor\t: {cpu}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n"))
            .collect();
        self.put("/proc/cpuinfo", processors.join("\n"));
        self.put(
            "/sys/devices/system/cpu/online",
            if cpus == 1 { "0\n".to_owned() } else { format!("0-{}\n", cpus - 1) },
        );
        self.put("/proc/self/auxv", auxv(page_size));
        self.put("/proc/self/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n/dev/mmcblk0p1 /boot/firmware vfat rw,relatime 0 0\ntmpfs /run tmpfs rw 0 0\n");
        self.put_link("/proc/mounts", "self/mounts");
        self.put("/proc/cmdline", "console=tty1 root=PARTUUID=deadbeef-02 rootfstype=ext4 rootwait\n");
        self.put("/proc/1/comm", "systemd\n");
        self.put("/proc/uptime", "100.00 390.00\n");
        self.put("/proc/loadavg", "0.10 0.05 0.01 1/150 1000\n");
        self.put("/proc/sys/kernel/osrelease", format!("{kernel}\n"));
        self.put("/proc/sys/kernel/arch", "aarch64\n");
        self.put("/proc/sys/kernel/ostype", "Linux\n");
        self.put("/proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
        self.put("/proc/version", format!("Linux version {kernel}\n"));
        self.put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
        self.put_dir(&format!("/usr/lib/modules/{kernel}"));
        self.kernel.clear();
        for (key, value) in SYSCTLS {
            let path = kernel::path(key);
            self.put(&path, format!("{value}\n"));
            self.kernel.insert(path, format!("{value}\n").into());
        }
        self.write_swaps();
    }

    /// Writes the user and group files of a fresh image: root, the usual system accounts, and pi, who is in sudo.
    fn accounts(&mut self) {
        self.put(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
             www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
             sshd:x:991:65534:sshd user:/run/sshd:/usr/sbin/nologin\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n",
        );
        self.put(
            "/etc/group",
            "root:x:0:\ndaemon:x:1:\nadm:x:4:pi\nsudo:x:27:pi\nwww-data:x:33:\nshadow:x:42:\nusers:x:100:pi\nsystemd-journal:x:999:\nnogroup:x:65534:\npi:x:1000:\n",
        );
        let shadow = "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\nwww-data:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n\
                      sshd:!:20000::::::\npi:$y$j9T$salt$hash:20000:0:99999:7:::\n";
        self.put_with("/etc/shadow", shadow, Access { mode: 0o640, uid: 0, gid: 42 });
        let gshadow = "root:*::\ndaemon:*::\nadm:*::pi\nsudo:*::pi\nwww-data:*::\nshadow:*::\nusers:*::pi\nnogroup:*::\npi:!::\n";
        self.put_with("/etc/gshadow", gshadow, Access { mode: 0o640, uid: 0, gid: 42 });
        self.put("/etc/shells", "/bin/sh\n/bin/bash\n/usr/bin/bash\n");
        for program in ["/usr/bin/bash", "/usr/bin/sh", "/usr/sbin/nologin"] {
            self.put_with(program, "ELF", Access::root(0o755));
        }
        for (stack, text) in [
            (
                "auth",
                "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            ),
            (
                "account",
                "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\naccount required pam_permit.so\n",
            ),
            (
                "session",
                "session [default=1] pam_permit.so\nsession required pam_unix.so\nsession optional pam_systemd.so\n",
            ),
            ("session-noninteractive", "session [default=1] pam_permit.so\nsession required pam_unix.so\n"),
            ("password", "password [success=1 default=ignore] pam_unix.so obscure yescrypt\n"),
        ] {
            self.put(&format!("/etc/pam.d/common-{stack}"), text);
        }
        self.put_dir("/home/pi");
        self.nodes.insert(
            "/home/pi".to_owned(),
            Node::Dir { access: Access { mode: 0o700, uid: 1000, gid: 1000 } },
        );
    }
}
