//! Questions to fail2ban.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::fail2ban;
use pitool_host::{ActiveState, Command, Inspect, Result};

/// Whether a jail runs and sees what it should, asked of fail2ban.
#[derive(Clone, Debug, PartialEq)]
pub struct JailRuns {
    /// The jail.
    pub jail: String,
    /// Whether it reads the journal; else it reads files.
    pub journal: bool,
}

/// How often to ask a server that just started. Its client takes about as long to start as the server does, on any
/// machine, so that asking is waiting.
const TRIES: usize = 12;

impl Proof for JailRuns {
    fn id(&self) -> Id {
        Id::new("proof", &format!("fail2ban jail {}", self.jail))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let unit = host.units(&["fail2ban.service"])?.pop().unwrap_or_default();
        if unit.active != ActiveState::Active {
            return Ok(self.broken("fail2ban is not running".into()));
        }
        let question = Command::new("fail2ban-client").args(["status", &self.jail]);
        let mut output = host.ask(&question)?;
        for _ in 1..TRIES {
            if output.ok() || !output.tail().contains("socket") {
                break;
            }
            output = host.ask(&question)?;
        }
        Ok(match fail2ban::parse_jail(&output.stdout) {
            Some(jail) => self.judge(&jail),
            None => self.broken(output.tail()),
        })
    }
}

impl JailRuns {
    fn judge(&self, jail: &fail2ban::Jail) -> Verdict {
        let banned = format!("{} banned", jail.currently_banned);
        if self.journal {
            // The match by process name alone misses sshd-session (trap T18).
            let sees = jail.journal_matches.contains("_SYSTEMD_UNIT=ssh.service");
            return if sees {
                Verdict::InForce { answer: format!("reads the journal, {banned}") }
            } else {
                self.broken(format!("it reads {:?}", jail.journal_matches))
            };
        }
        let files: Vec<&str> =
            jail.files.iter().map(String::as_str).filter(|file| *file != "/dev/null").collect();
        if files.is_empty() {
            return Verdict::Pending {
                until: "nginx's first log file and `systemctl reload fail2ban` after it".into(),
            };
        }
        Verdict::InForce { answer: format!("reads {}, {banned}", files.join(" ")) }
    }

    fn broken(&self, answer: String) -> Verdict {
        Verdict::NotInForce {
            expected: format!("jail {} runs", self.jail),
            answer,
            hint: "`fail2ban-client -t` and /var/log/fail2ban.log say why".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIXIE: &str = "Status for the jail: sshd\n|- Filter\n|  |- Currently failed:\t0\n|  |- Total failed:\t0\n|  \
        `- Journal matches:\t_SYSTEMD_UNIT=ssh.service + _COMM=sshd + _COMM=sshd-session\n`- Actions\n   \
        |- Currently banned:\t2\n   |- Total banned:\t2\n   `- Banned IP list:\t203.0.113.9 203.0.113.10\n";
    const NGINX: &str = "Status for the jail: nginx-http-auth\n|- Filter\n|  |- Currently failed:\t0\n|  \
        |- Total failed:\t0\n|  `- File list:\t/dev/null\n`- Actions\n   |- Currently banned:\t0\n";

    #[test]
    fn a_jail_that_sees_nothing_is_not_in_force() {
        let sshd = JailRuns { jail: "sshd".into(), journal: true };
        let nginx = JailRuns { jail: "nginx-http-auth".into(), journal: false };
        let ask = |jail: &JailRuns, output: &str| jail.judge(&fail2ban::parse_jail(output).unwrap());
        assert_eq!(ask(&sshd, TRIXIE), Verdict::InForce { answer: "reads the journal, 2 banned".into() });
        let blind =
            TRIXIE.replace("_SYSTEMD_UNIT=ssh.service + _COMM=sshd + _COMM=sshd-session", "_COMM=sshd");
        assert!(matches!(ask(&sshd, &blind), Verdict::NotInForce { .. }));
        assert!(matches!(ask(&nginx, NGINX), Verdict::Pending { .. }));
        let reads = NGINX.replace("/dev/null", "/dev/null /var/log/nginx/error.log");
        assert_eq!(
            ask(&nginx, &reads),
            Verdict::InForce { answer: "reads /var/log/nginx/error.log, 0 banned".into() }
        );
    }
}
