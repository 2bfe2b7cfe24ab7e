//! Questions to logrotate.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Result};

/// Whether logrotate looks after these logs, asked of a rehearsal over its whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct LogsRotated {
    /// The pattern of the log files.
    pub pattern: String,
}

impl Proof for LogsRotated {
    fn id(&self) -> Id {
        Id::new("proof", &format!("{} is rotated", self.pattern))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        // logrotate is in /usr/sbin, and prints what it would do on standard error.
        let output = host.ask(&Command::new("/usr/sbin/logrotate").args(["-d", "/etc/logrotate.conf"]))?;
        Ok(self.judge(&output.stderr))
    }
}

impl LogsRotated {
    fn judge(&self, rehearsal: &str) -> Verdict {
        let start = format!("rotating pattern: {} ", self.pattern);
        match rehearsal.lines().find(|line| line.starts_with(&start)) {
            Some(line) => Verdict::InForce { answer: line[start.len()..].trim().to_owned() },
            None => Verdict::NotInForce {
                expected: format!("a rule for {}", self.pattern),
                answer: rehearsal.lines().find(|line| line.starts_with("error")).unwrap_or("none").to_owned(),
                hint: "`logrotate -d /etc/logrotate.conf` shows what it reads".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rehearsal_names_the_pattern() {
        let rehearsal = "reading config file pitool-shop\n\nHandling 1 logs\n\n\
            rotating pattern: /opt/shop/logs/*.log  after 1 days (7 rotations)\nempty log files are not rotated\n";
        let proof = LogsRotated { pattern: "/opt/shop/logs/*.log".into() };
        assert_eq!(proof.judge(rehearsal), Verdict::InForce { answer: "after 1 days (7 rotations)".into() });
        assert!(matches!(proof.judge("reading config file nginx\n"), Verdict::NotInForce { .. }));
    }
}
