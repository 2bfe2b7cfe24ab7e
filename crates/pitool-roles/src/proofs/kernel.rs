//! Questions to the kernel.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Inspect, Result};

/// Whether a kernel value is in force, asked of /proc/sys.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelValue {
    /// The key, with dots.
    pub key: String,
    /// The promised value.
    pub value: String,
}

impl Proof for KernelValue {
    fn id(&self) -> Id {
        Id::new("proof", &format!("{} = {}", self.key, self.value))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let Some(content) = host.read(&format!("/proc/sys/{}", self.key.replace('.', "/")))? else {
            return Ok(Verdict::Unknown { why: format!("this kernel has no value {}", self.key) });
        };
        let fold = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let answer = fold(content.text().unwrap_or_default());
        if answer == fold(&self.value) {
            return Ok(Verdict::InForce { answer });
        }
        Ok(Verdict::NotInForce {
            expected: self.value.clone(),
            answer,
            hint: format!(
                "something set {} after pitool; `grep -r {} /etc/sysctl.d /usr/lib/sysctl.d /run/sysctl.d` finds it",
                self.key, self.key
            ),
        })
    }
}
