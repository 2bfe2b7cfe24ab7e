//! Questions about the journal.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Result};

/// Whether the journal is kept where it was promised: asked of systemd's own reader of its configuration, in which
/// the last file wins (trap T28), and looked for where journald writes.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalKept {
    /// `persistent`, `volatile` or `auto`.
    pub storage: &'static str,
}

impl Proof for JournalKept {
    fn id(&self) -> Id {
        Id::new("proof", &format!("the journal is {}", self.storage))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let output =
            host.ask(&Command::new("systemd-analyze").args(["cat-config", "systemd/journald.conf"]))?;
        if !output.ok() {
            return Ok(Verdict::Unknown { why: format!("systemd-analyze does not say: {}", output.tail()) });
        }
        let machine = host.read("/etc/machine-id")?;
        let machine = machine.as_ref().and_then(|content| content.text()).unwrap_or_default().trim();
        let written = |root: &str| Ok(host.stat(&format!("{root}/{machine}/system.journal"))?.is_some());
        Ok(self.judge(&output.stdout, written("/var/log/journal")?, written("/run/log/journal")?))
    }
}

/// What `Storage=` comes to and which file says so, in the output of `systemd-analyze cat-config`.
fn storage(config: &str) -> Option<(&str, &str)> {
    let (mut path, mut found) = ("", None);
    for line in config.lines() {
        if let Some(header) = line.strip_prefix("# /") {
            path = &line[line.len() - header.len() - 1..];
        } else if let Some(value) = line.trim().strip_prefix("Storage=") {
            found = Some((value.trim(), path));
        }
    }
    found
}

impl JournalKept {
    fn judge(&self, config: &str, on_disk: bool, in_memory: bool) -> Verdict {
        let not = |answer: String, hint: String| Verdict::NotInForce {
            expected: self.storage.to_owned(),
            answer,
            hint,
        };
        match storage(config) {
            Some((value, path)) if value != self.storage => not(
                format!("{path} says Storage={value}"),
                format!("remove {path}, or rename it to sort before 60-"),
            ),
            None => not("no file says Storage=".into(), "`pitool apply monitoring` writes the file".into()),
            Some(_) => match (self.storage, on_disk, in_memory) {
                ("persistent", true, _) => {
                    Verdict::InForce { answer: "journald writes to /var/log/journal".into() }
                }
                ("volatile", _, true) => {
                    Verdict::InForce { answer: "journald writes to /run/log/journal".into() }
                }
                ("auto", ..) => Verdict::InForce { answer: "journald decides by /var/log/journal".into() },
                ("persistent", ..) => not(
                    "nothing is in /var/log/journal".into(),
                    "`journalctl --flush` moves it there; is the disk full or read-only?".into(),
                ),
                _ => not(
                    "nothing is in /run/log/journal".into(),
                    "`systemctl status systemd-journald` says why".into(),
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // systemd 257 on Debian 13, with the drop-in of Raspberry Pi OS.
    const TRIXIE: &str = "# /etc/systemd/journald.conf\n#  This file is part of systemd.\n#\n\n[Journal]\n\
        #Storage=auto\n#Compress=yes\n\n# /usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf\n[Journal]\n\
        Storage=volatile\n\n# /usr/lib/systemd/journald.conf.d/syslog.conf\n# Debian\n\n[Journal]\nForwardToSyslog=yes\n";

    #[test]
    fn the_last_file_wins() {
        assert_eq!(
            storage(TRIXIE),
            Some(("volatile", "/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf"))
        );
        let ours = format!(
            "{TRIXIE}\n# /etc/systemd/journald.conf.d/60-pitool.conf\n[Journal]\nStorage=persistent\n"
        );
        let proof = JournalKept { storage: "persistent" };
        assert!(matches!(proof.judge(&ours, true, false), Verdict::InForce { .. }));
        assert!(matches!(proof.judge(&ours, false, true), Verdict::NotInForce { .. }));
        let later = format!("{ours}\n# /etc/systemd/journald.conf.d/99-x.conf\n[Journal]\nStorage=none\n");
        let Verdict::NotInForce { answer, .. } = proof.judge(&later, true, false) else {
            panic!("a later file was overlooked")
        };
        assert_eq!(answer, "/etc/systemd/journald.conf.d/99-x.conf says Storage=none");
    }
}
