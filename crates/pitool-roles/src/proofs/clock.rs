//! Questions about the clock and the time zone.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::timedatectl;
use pitool_host::{Command, FileType, Inspect, Result};

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

/// Whether programs get this time zone: `/etc/localtime` leads to it, localtime(5), and its file is there, because a link to
/// nothing silently means UTC (trap T30). systemd-timedated is not asked: until it has been idle for half a minute it
/// answers with the zone that was there when it started.
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
        let there = host.read(LOCALTIME)?.is_some();
        let link = host.stat(LOCALTIME)?.and_then(|stat| match stat.file_type {
            FileType::Link(target) => Some(target),
            _ => None,
        });
        Ok(self.judge(link.as_deref(), there))
    }
}

/// What programs read the time zone from.
const LOCALTIME: &str = "/etc/localtime";

impl TimeZoneSet {
    fn judge(&self, link: Option<&str>, there: bool) -> Verdict {
        let zone = link.and_then(|target| target.split_once("/zoneinfo/")).map(|(_, zone)| zone);
        let (answer, hint) = match (zone, there) {
            (Some(zone), true) if zone == self.name => return Verdict::InForce { answer: zone.to_owned() },
            (_, false) => {
                let hint = format!(
                    "/usr/share/zoneinfo/{} comes with the package tzdata or tzdata-legacy",
                    self.name
                );
                ("UTC, because the zone's file is missing".to_owned(), hint)
            }
            (zone, true) => {
                let answer = zone.or(link).unwrap_or("a file that names no zone").to_owned();
                (answer, "`pitool apply common` sets it again".to_owned())
            }
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
        let berlin = Some("/usr/share/zoneinfo/Europe/Berlin");
        assert!(matches!(proof.judge(berlin, true), Verdict::InForce { .. }));
        assert!(matches!(
            proof.judge(Some("../usr/share/zoneinfo/Europe/Berlin"), true),
            Verdict::InForce { .. }
        ));
        assert!(matches!(proof.judge(berlin, false), Verdict::NotInForce { .. }));
        assert!(matches!(proof.judge(Some("/usr/share/zoneinfo/Etc/UTC"), true), Verdict::NotInForce { .. }));
        assert!(matches!(proof.judge(None, true), Verdict::NotInForce { .. }));
    }
}
