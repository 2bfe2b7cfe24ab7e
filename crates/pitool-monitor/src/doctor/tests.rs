//! Traps on machines made up: each that can be sprung by files is sprung.

use std::path::Path;

use pitool_host::Facts;
use pitool_host::local::Local;

use super::*;
use crate::checks::tests::{Made, sample, setup};

struct Machine {
    root: tempfile::TempDir,
    facts: Facts,
}

impl Machine {
    fn new() -> Self {
        let facts = Facts {
            os: "debian".into(),
            release: 13,
            arch: "arm64".into(),
            kernel_arch: "aarch64".into(),
            page_size: 4096,
            memory: 4 << 30,
            kernel_modules: true,
            firmware: Some("/boot/firmware".into()),
            ..Facts::default()
        };
        let machine = Self { root: tempfile::tempdir().unwrap(), facts };
        machine.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        machine.write("/etc/ssh/ssh_host_ed25519_key", "x");
        machine.write("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n");
        machine.write("/boot/firmware/cmdline.txt", "console=tty1 console=serial0 root=/dev/x rootwait\n");
        machine.write("/boot/firmware/config.txt", "dtparam=audio=on\ndtoverlay=vc4-kms-v3d\n");
        machine.write(
            "/var/lib/dpkg/status",
            "Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n",
        );
        machine.write("/etc/localtime", "TZif");
        machine.write("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn look(&self) -> Vec<Finding> {
        let host = Local::new(self.root.path().to_str().unwrap()).unwrap();
        let (made, setup) = (Made::default(), setup(""));
        let sample = sample(&host, &made, &setup);
        traps(&Look { host: &host, system: &made, facts: &self.facts, sample: &sample, setup: &setup })
    }

    fn verdict(&self, number: u8) -> Verdict {
        self.look().into_iter().find(|finding| finding.number == number).unwrap().verdict
    }
}

#[test]
fn thirty_eight_each_once_in_order() {
    let machine = Machine::new();
    let numbers: Vec<u8> = machine.look().iter().map(|finding| finding.number).collect();
    assert_eq!(numbers, (1..=38).collect::<Vec<u8>>());
}

#[test]
fn a_good_machine_springs_none() {
    let machine = Machine::new();
    let found: Vec<Finding> = machine
        .look()
        .into_iter()
        .filter(|finding| matches!(finding.verdict, Verdict::Found { .. }))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// A trap is not found before the file is written, and is after.
fn springs(number: u8, path: &str, text: &str) {
    let machine = Machine::new();
    assert!(!matches!(machine.verdict(number), Verdict::Found { .. }), "trap {number} before");
    machine.write(path, text);
    let verdict = machine.verdict(number);
    let Verdict::Found { what, hint } = verdict else { panic!("trap {number} is not found: {verdict:?}") };
    assert!(!what.is_empty() && !hint.is_empty());
}

#[test]
fn traps_that_files_spring() {
    springs(1, "/sys/fs/cgroup/cgroup.controllers", "cpu io\n");
    springs(2, "/boot/firmware/cmdline.txt", "root=/dev/x cgroup_enable=memory cgroup_enable=memory\n");
    springs(2, "/boot/firmware/cmdline.txt", "root=/dev/x\nquiet\n");
    springs(2, "/boot/firmware/cmdline.txt", "");
    springs(7, "/boot/config.txt", "dtparam=spi=on\n");
    springs(8, "/boot/firmware/config.txt", "dtoverlay=vc4-kms-v3d\ndtparam=audio=on\n");
    springs(11, "/etc/machine-id", "uninitialized\n");
    springs(12, "/boot/firmware/firstrun.sh", "#!/bin/bash\n");
    springs(
        14,
        "/etc/ssh/sshd_config.d/50-cloud-init.conf",
        "PasswordAuthentication yes\nPasswordAuthentication no\n",
    );
    springs(16, "/etc/ssh/sshd_config.d/01-x.conf", "PasswordAuthentication no\n");
    springs(24, "/var/lib/dpkg/updates/0001", "x");
    springs(25, "/etc/apt/trusted.gpg", "x");
    springs(25, "/etc/apt/sources.list", "deb [trusted=yes] http://x/ stable main\n");
    springs(26, "/etc/sysctl.conf", "vm.swappiness = 10\n");
    springs(32, "/etc/apt/apt.conf.d/99x", "Acquire::Check-Date \"false\";\n");
    springs(33, "/etc/network/interfaces", "auto eth0\niface eth0 inet static\n");
    springs(38, "/etc/letsencrypt/renewal/x.conf", "renew_before_expiry = 30 days\n");
}

#[test]
fn traps_that_facts_spring() {
    let found = |change: &dyn Fn(&mut Facts), number: u8| {
        let mut machine = Machine::new();
        change(&mut machine.facts);
        matches!(machine.verdict(number), Verdict::Found { .. })
    };
    assert!(found(&|facts| facts.armv6 = true, 3));
    assert!(found(&|facts| facts.arch = "armhf".into(), 4));
    assert!(found(&|facts| facts.page_size = 16384, 5));
    assert!(found(&|facts| facts.cloud_init = true, 9));
    assert!(found(&|facts| facts.cloud_init = true, 10));
    assert!(found(&|facts| facts.kernel_modules = false, 22));
}

#[test]
fn every_signal_has_a_source_and_says_why_it_is_missing() {
    let machine = Machine::new();
    let host = Local::new(machine.root.path().to_str().unwrap()).unwrap();
    let (made, setup) = (Made::default(), setup(""));
    let sample = sample(&host, &made, &setup);
    let signals =
        signals(&Look { host: &host, system: &made, facts: &machine.facts, sample: &sample, setup: &setup });
    assert!(signals.len() >= 20);
    for signal in &signals {
        assert!(!signal.source.is_empty() && signal.value.is_some() != signal.why.is_some(), "{signal:?}");
    }
    let load = signals.iter().find(|signal| signal.name == "load").unwrap();
    assert_eq!(load.why.as_deref(), Some("/proc/loadavg is not there"));
}
