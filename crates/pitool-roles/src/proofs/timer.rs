//! Questions about timers.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Result};

/// Whether a timer waits for its next moment and what it starts can be started, asked of systemd.
#[derive(Clone, Debug, PartialEq)]
pub struct TimerSet {
    /// The timer's name with its suffix.
    pub name: String,
}

impl Proof for TimerSet {
    fn id(&self) -> Id {
        Id::new("proof", &format!("{} is set", self.name))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let properties = "--property=ActiveState,SubState,Unit,NextElapseUSecRealtime,NeedDaemonReload";
        let timer = host.ask(&Command::new("systemctl").args(["show", properties, &self.name]))?;
        let service = property(&timer.stdout, "Unit").unwrap_or_default().to_owned();
        let loaded = match service.as_str() {
            "" => String::new(),
            name => {
                host.ask(&Command::new("systemctl").args(["show", "--property=LoadState", "--value", name]))?
                    .stdout
            }
        };
        Ok(self.judge(&timer.stdout, loaded.trim()))
    }
}

/// A property in the output of `systemctl show`.
fn property<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

impl TimerSet {
    fn judge(&self, timer: &str, loaded: &str) -> Verdict {
        let of = |name| property(timer, name).unwrap_or_default();
        let (state, next) = (of("ActiveState"), of("NextElapseUSecRealtime"));
        let not = |answer: String| Verdict::NotInForce {
            expected: "it waits for its next moment".into(),
            answer,
            hint: format!("`systemctl status {}` says why", self.name),
        };
        if state != "active" {
            return not(format!("it is {state}"));
        }
        if loaded != "loaded" {
            return not(format!("{} is {loaded}", of("Unit")));
        }
        if of("NeedDaemonReload") == "yes" {
            return not("systemd has not read its file since that changed".into());
        }
        match (next, of("SubState")) {
            // What it starts is at work, or will be in a moment.
            ("", "running") => Verdict::InForce { answer: "running".into() },
            ("" | "0" | "n/a", _) => not("no next moment".into()),
            (next, _) => Verdict::InForce { answer: format!("next {next}") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_waits_has_a_next_moment() {
        let proof = TimerSet { name: "pitool-backup-machine.timer".into() };
        let timer = "ActiveState=active\nSubState=waiting\nUnit=pitool-backup@machine.service\n\
            NextElapseUSecRealtime=Sun 2026-11-22 02:03:11 UTC\nNeedDaemonReload=no\n";
        assert_eq!(
            proof.judge(timer, "loaded"),
            Verdict::InForce { answer: "next Sun 2026-11-22 02:03:11 UTC".into() }
        );
        let broken = |from: &str, to: &str, loaded: &str| proof.judge(&timer.replace(from, to), loaded);
        for verdict in [
            broken("=active", "=inactive", "loaded"),
            broken("NextElapseUSecRealtime=Sun 2026-11-22 02:03:11 UTC", "NextElapseUSecRealtime=", "loaded"),
            broken("Reload=no", "Reload=yes", "loaded"),
            broken("", "", "not-found"),
        ] {
            assert!(matches!(verdict, Verdict::NotInForce { .. }), "{verdict:?}");
        }
    }
}
