//! Questions to the service manager.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{ActiveState, Inspect, Result};

/// Whether a unit runs, asked of systemd.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitRunning {
    /// The unit's name with its suffix.
    pub name: String,
}

impl Proof for UnitRunning {
    fn id(&self) -> Id {
        Id::new("proof", &format!("{} runs", self.name))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let status = host.units(&[&self.name])?.pop().unwrap_or_default();
        Ok(if status.active == ActiveState::Active {
            Verdict::InForce { answer: "active".into() }
        } else {
            Verdict::NotInForce {
                expected: "active".into(),
                answer: format!("{:?}", status.active).to_lowercase(),
                hint: format!(
                    "`systemctl status {}` and `journalctl -u {} -n 50` say why",
                    self.name, self.name
                ),
            }
        })
    }
}
