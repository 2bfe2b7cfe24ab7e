//! Questions to apt.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Result};

/// Whether security updates come by themselves, and from sources that this machine has; asked of apt.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdatesComeFrom {
    /// The promised origins, in the words of unattended-upgrades.
    pub origins: Vec<String>,
}

impl Proof for UpdatesComeFrom {
    fn id(&self) -> Id {
        Id::new("proof", "security updates come by themselves")
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let dump = host.ask(&Command::new("apt-config").arg("dump"))?;
        let policy = host.ask(&Command::new("apt-cache").arg("policy"))?;
        Ok(self.judge(&dump.stdout, &policy.stdout))
    }
}

impl UpdatesComeFrom {
    fn judge(&self, dump: &str, policy: &str) -> Verdict {
        let values = |name: &str| -> Vec<&str> {
            dump.lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(" \"")?.strip_suffix("\";"))
                .collect()
        };
        let not = |expected: &str, answer: String| {
            Verdict::NotInForce {
            expected: expected.into(),
            answer,
            hint: "`apt-config dump | grep -i -e Unattended -e Periodic` shows what counts; a file in /etc/apt/apt.conf.d \
                   that sorts after 52pitool-unattended-upgrades wins"
                .into(),
        }
        };
        for switch in ["APT::Periodic::Unattended-Upgrade", "APT::Periodic::Update-Package-Lists"] {
            match values(switch).last() {
                Some(&value) if value != "0" && value != "never" => {}
                value => return not(&format!("{switch} is on"), format!("{value:?}")),
            }
        }
        let patterns = values("Unattended-Upgrade::Origins-Pattern::");
        // One pattern that is not understood makes unattended-upgrades end without a word to anybody.
        let malformed = patterns.iter().find(|pattern| !well_formed(pattern));
        if let Some(pattern) = malformed {
            return not("every origin is a list of key=value", format!("{pattern:?}"));
        }
        if let Some(missing) = self.origins.iter().find(|origin| !patterns.contains(&origin.as_str())) {
            return not(missing, patterns.join("; "));
        }
        let there: Vec<&str> = ["Debian-Security", "Raspbian", "Debian"]
            .into_iter()
            .filter(|label| policy.contains(&format!(",l={label},")))
            .collect();
        let wanted =
            |label: &str| self.origins.iter().any(|origin| origin.ends_with(&format!("label={label}")));
        for label in ["Debian-Security", "Raspbian"] {
            if wanted(label) && !there.contains(&label) {
                return Verdict::Unknown {
                    why: format!("apt has no source of {label}: nothing comes from there until it has"),
                };
            }
        }
        Verdict::InForce { answer: format!("{} origins", patterns.len()) }
    }
}

/// unattended-upgrades knows these keys (its `match_whitelist_string`).
fn well_formed(pattern: &str) -> bool {
    const KEYS: [&str; 12] =
        ["o", "origin", "l", "label", "a", "suite", "archive", "c", "component", "site", "n", "codename"];
    pattern.split(',').all(|part| part.split_once('=').is_some_and(|(key, _)| KEYS.contains(&key.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = r#"APT::Periodic "";
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade "";
Unattended-Upgrade::Origins-Pattern "";
Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=${distro_codename},label=Debian";
Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";
"#;
    const POLICY: &str = "     release v=13.7,o=Debian,a=stable,n=trixie,l=Debian,c=main,b=amd64
     release v=13,o=Debian,a=stable-security,n=trixie-security,l=Debian-Security,c=main,b=amd64
";

    #[test]
    fn origins_must_be_there_well_formed_and_have_a_source() {
        let proof = UpdatesComeFrom {
            origins: vec![
                "origin=Debian,codename=${distro_codename},label=Debian".into(),
                "origin=Debian,codename=${distro_codename}-security,label=Debian-Security".into(),
            ],
        };
        assert_eq!(proof.judge(DUMP, POLICY), Verdict::InForce { answer: "2 origins".into() });
        let without_source = POLICY.lines().next().unwrap();
        assert!(matches!(proof.judge(DUMP, without_source), Verdict::Unknown { .. }));
        for (from, to) in [
            ("Unattended-Upgrade \"1\"", "Unattended-Upgrade \"0\""),
            ("label=Debian-Security", "label=Ubuntu"),
            ("origin=Debian,codename=${distro_codename},", "Debian:stable,"),
        ] {
            let dump = DUMP.replace(from, to);
            assert_ne!(dump, DUMP);
            assert!(matches!(proof.judge(&dump, POLICY), Verdict::NotInForce { .. }), "{to}");
        }
    }
}
