//! Questions about the clock and the time zone.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::timedatectl;
use pitool_host::{Command, Inspect, Result};

/// Whether the clock is set over the network, asked of systemd-timedated, which asks the kernel (trap T32).
#[derive(Clone, Debug, PartialEq)]
pub struct ClockSynchronized;

impl Proof for ClockSynchronized {
    fn id(&self) -> Id {
        Id::new("proof", "the clock is synchronized")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let output = host.ask(&Command::new("timedatectl").arg("show"))?;
        Ok(match timedatectl::synchronized(&output.stdout) {
            Some(true) => Verdict::InForce { answer: "NTPSynchronized=yes".into() },
            // Seconds after a start as well as for ever without a network: nobody can tell the two apart.
            Some(false) => Verdict::Pending { until: "the answer of a time server".into() },
            None => Verdict::Unknown { why: format!("timedatectl does not say: {}", output.tail()) },
        })
    }
}

/// Whether programs get this time zone: systemd knows it and its file is there, because a link to nothing silently
/// means UTC (trap T30).
#[derive(Clone, Debug, PartialEq)]
pub struct TimeZoneSet {
    /// Its name.
    pub name: String,
}

impl Proof for TimeZoneSet {
    fn id(&self) -> Id {
        Id::new("proof", &format!("the time zone is {}", self.name))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let there = host.read("/etc/localtime")?.is_some();
        let output =
            host.ask(&Command::new("timedatectl").args(["show", "--property=Timezone", "--value"]))?;
        if !output.ok() {
            return Ok(Verdict::Unknown { why: format!("timedatectl does not say: {}", output.tail()) });
        }
        Ok(self.judge(output.stdout.trim(), there))
    }
}

impl TimeZoneSet {
    fn judge(&self, answer: &str, there: bool) -> Verdict {
        if answer == self.name && there {
            return Verdict::InForce { answer: answer.to_owned() };
        }
        let (answer, hint) = if there {
            (
                answer.to_owned(),
                "`timedatectl` says who set it; `pitool apply common` sets it again".to_owned(),
            )
        } else {
            let hint =
                format!("/usr/share/zoneinfo/{} comes with the package tzdata or tzdata-legacy", self.name);
            ("UTC, because the zone's file is missing".to_owned(), hint)
        };
        Verdict::NotInForce { expected: self.name.clone(), answer, hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_no_time_zone() {
        let proof = TimeZoneSet { name: "Europe/Berlin".into() };
        assert!(matches!(proof.judge("Europe/Berlin", true), Verdict::InForce { .. }));
        assert!(matches!(proof.judge("Europe/Berlin", false), Verdict::NotInForce { .. }));
        assert!(matches!(proof.judge("Etc/UTC", true), Verdict::NotInForce { .. }));
    }
}
