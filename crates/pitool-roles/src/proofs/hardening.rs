//! Questions to the kernel about many values at once.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Inspect, Result};

use super::KernelValue;

/// Whether all of these kernel values are in force.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelHardened {
    /// Keys with dots, and the promised values.
    pub values: Vec<(String, String)>,
}

impl Proof for KernelHardened {
    fn id(&self) -> Id {
        Id::new("proof", "the kernel is hardened")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let mut holding = 0;
        for (key, value) in &self.values {
            match (KernelValue { key: key.clone(), value: value.clone() }).ask(host)? {
                Verdict::InForce { .. } => holding += 1,
                // A kernel that was built without a value has nothing to harden there.
                Verdict::Unknown { .. } | Verdict::Pending { .. } => {}
                Verdict::NotInForce { expected, answer, hint } => {
                    let (expected, answer) = (format!("{key} = {expected}"), format!("{key} = {answer}"));
                    return Ok(Verdict::NotInForce { expected, answer, hint });
                }
            }
        }
        Ok(Verdict::InForce { answer: format!("{holding} values") })
    }
}
