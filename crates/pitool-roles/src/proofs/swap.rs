//! Questions about swap space.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::proc_swaps;
use pitool_host::{Inspect, Result};

/// Whether the kernel has swap space, or has none, asked of /proc/swaps (trap T27).
#[derive(Clone, Debug, PartialEq)]
pub struct SwapSpace {
    /// How many bytes are promised: `None` for as many as there are, 0 for none at all.
    pub size: Option<u64>,
    /// Whether a change waits for a reboot (rpi-swap).
    pub at_boot: bool,
}

impl Proof for SwapSpace {
    fn id(&self) -> Id {
        Id::new(
            "proof",
            &match self.size {
                None => "there is swap".to_owned(),
                Some(0) => "there is no swap".to_owned(),
                Some(size) => format!("there is {} MiB of swap", size >> 20),
            },
        )
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let content = host.read("/proc/swaps")?;
        Ok(self.judge(content.as_ref().and_then(|content| content.text()).unwrap_or_default()))
    }
}

impl SwapSpace {
    fn judge(&self, swaps: &str) -> Verdict {
        let areas = proc_swaps::parse(swaps);
        let total: u64 = areas.iter().map(|area| area.size).sum();
        let answer = if areas.is_empty() {
            "none".to_owned()
        } else {
            let words = areas.iter().map(|area| format!("{} with {} MiB", area.path, area.size >> 20));
            words.collect::<Vec<_>>().join(", ")
        };
        let holds = match self.size {
            None => total > 0,
            Some(0) => total == 0,
            // A page is the header's, and zram rounds.
            Some(size) => total.abs_diff(size) <= size / 50,
        };
        if holds {
            return Verdict::InForce { answer };
        }
        if self.at_boot {
            return Verdict::Pending { until: "the next reboot, when rpi-swap sets it up".into() };
        }
        let expected = match self.size {
            None => "some swap".to_owned(),
            Some(0) => "none".to_owned(),
            Some(size) => format!("{} MiB", size >> 20),
        };
        Verdict::NotInForce {
            expected,
            answer,
            hint: "`systemctl list-units --all --type=swap` and `swapon --show` say who sets it up".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn the_kernel_has_the_last_word() {
        let file = format!("{HEAD}/swapfile                               file\t\t2097148\t\t0\t\t-2\n");
        let zram = format!("{HEAD}/dev/zram0                              partition\t2097136\t\t0\t\t100\n");
        let judge = |size, at_boot, text: &str| SwapSpace { size, at_boot }.judge(text);
        assert!(matches!(judge(Some(2 << 30), false, &file), Verdict::InForce { .. }));
        assert!(matches!(judge(Some(1 << 30), false, &file), Verdict::NotInForce { .. }));
        assert!(matches!(judge(Some(1 << 30), true, &zram), Verdict::Pending { .. }));
        assert!(matches!(judge(None, true, &zram), Verdict::InForce { .. }));
        assert!(matches!(judge(None, false, HEAD), Verdict::NotInForce { .. }));
        assert!(matches!(judge(Some(0), false, HEAD), Verdict::InForce { .. }));
        assert!(matches!(judge(Some(0), false, &file), Verdict::NotInForce { .. }));
    }
}
