//! Questions about what only a boot can bring: the memory cgroup and the watchdog.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::cmdline;
use pitool_host::{Command, Inspect, Result};

/// Whether the kernel counts memory per container (trap T1).
///
/// /proc/cgroups is not asked: since Linux 6.12 it no longer lists memory, even where it is on.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryCgroup;

impl Proof for MemoryCgroup {
    fn id(&self) -> Id {
        Id::new("proof", "the kernel counts memory per container")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let controllers = host.read("/sys/fs/cgroup/cgroup.controllers")?;
        let controllers = controllers.as_ref().map(|content| content.text().unwrap_or_default());
        let version_1 = host.stat("/sys/fs/cgroup/memory")?.is_some();
        let line = host.read("/proc/cmdline")?;
        let line = line.as_ref().and_then(|content| content.text()).unwrap_or_default();
        Ok(Self::judge(controllers, version_1, line))
    }
}

impl MemoryCgroup {
    fn judge(controllers: Option<&str>, version_1: bool, booted_with: &str) -> Verdict {
        match controllers {
            Some(list) if list.split_whitespace().any(|name| name == "memory") => {
                return Verdict::InForce { answer: format!("cgroup.controllers: {}", list.trim()) };
            }
            None if version_1 => {
                return Verdict::InForce { answer: "/sys/fs/cgroup/memory (version 1)".into() };
            }
            _ => {}
        }
        if !cmdline::parse(booted_with).has("cgroup_enable=memory") {
            return Verdict::Pending {
                until: "the next reboot, when the kernel gets its new command line".into(),
            };
        }
        Verdict::NotInForce {
            expected: "memory in /sys/fs/cgroup/cgroup.controllers".into(),
            answer: controllers.map_or("there is no cgroup file system", str::trim).to_owned(),
            hint: "only the Raspberry Pi kernel can turn it on at boot; see `cat /proc/cmdline` for a \
                   `cgroup_disable=memory` after our word"
                .into(),
        }
    }
}

/// Whether systemd feeds the hardware watchdog, asked of systemd.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchdogArmed {
    /// How long a hung machine has.
    pub seconds: u32,
}

impl Proof for WatchdogArmed {
    fn id(&self) -> Id {
        Id::new("proof", "the watchdog resets a hung machine")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let show = Command::new("systemctl").args(["show", "--property=RuntimeWatchdogUSec,WatchdogDevice"]);
        let output = host.ask(&show)?;
        if !output.ok() {
            return Ok(Verdict::Unknown { why: format!("systemd does not say: {}", output.tail()) });
        }
        let device = host.stat("/dev/watchdog0")?.is_some() || host.stat("/dev/watchdog")?.is_some();
        Ok(self.judge(&output.stdout, device))
    }
}

impl WatchdogArmed {
    fn judge(&self, shown: &str, device: bool) -> Verdict {
        let value =
            shown.lines().find_map(|line| line.strip_prefix("RuntimeWatchdogUSec=")).unwrap_or_default();
        if value == format!("{}s", self.seconds) && device {
            return Verdict::InForce { answer: format!("systemd feeds it, limit {value}") };
        }
        // systemd reads its own configuration when it starts, and the firmware its when the board does.
        Verdict::Pending { until: "the next reboot, when the board and systemd turn it on".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_cgroup_waits_for_a_reboot_once() {
        let judge = MemoryCgroup::judge;
        let pi = "coherent_pool=1M cgroup_disable=memory console=tty1 rootwait\n";
        let pi_after = "coherent_pool=1M cgroup_disable=memory console=tty1 rootwait cgroup_enable=memory\n";
        assert!(matches!(judge(Some("cpuset cpu io pids\n"), false, pi), Verdict::Pending { .. }));
        assert!(matches!(
            judge(Some("cpuset cpu io memory pids\n"), false, pi_after),
            Verdict::InForce { .. }
        ));
        assert!(matches!(judge(Some("cpuset cpu io pids\n"), false, pi_after), Verdict::NotInForce { .. }));
        assert!(matches!(judge(None, true, pi), Verdict::InForce { .. }));
        assert!(matches!(judge(None, false, pi), Verdict::Pending { .. }));
    }

    #[test]
    fn a_watchdog_needs_its_device() {
        let proof = WatchdogArmed { seconds: 15 };
        assert!(matches!(
            proof.judge("RuntimeWatchdogUSec=15s\nWatchdogDevice=\n", true),
            Verdict::InForce { .. }
        ));
        assert!(matches!(
            proof.judge("RuntimeWatchdogUSec=0\nWatchdogDevice=\n", true),
            Verdict::Pending { .. }
        ));
        assert!(matches!(proof.judge("RuntimeWatchdogUSec=15s\n", false), Verdict::Pending { .. }));
    }
}
