//! Questions about the language.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Command, Inspect, Result};

/// Whether a locale is there and a login gets it (trap T31): asked of libc, and of PAM by a login of root's.
#[derive(Clone, Debug, PartialEq)]
pub struct LocaleUsable {
    /// Its name, such as `en_GB.UTF-8`.
    pub name: String,
}

/// A locale's name as `locale -a` prints it: `en_GB.utf8`.
fn folded(name: &str) -> String {
    name.to_lowercase().replace('-', "")
}

impl Proof for LocaleUsable {
    fn id(&self) -> Id {
        Id::new("proof", &format!("a login speaks {}", self.name))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let all = host.ask(&Command::new("locale").arg("-a"))?.stdout;
        let login = host.ask(&Command::new("su").args(["-", "root", "-c", "printenv LANG"]))?;
        Ok(self.judge(&all, &login.stdout))
    }
}

impl LocaleUsable {
    fn judge(&self, all: &str, login: &str) -> Verdict {
        // root's own profile may print before the answer.
        let lang = login.lines().last().unwrap_or_default().trim();
        let there = all.lines().any(|line| folded(line.trim()) == folded(&self.name));
        let not = |answer: &str, hint: &str| Verdict::NotInForce {
            expected: self.name.clone(),
            answer: answer.to_owned(),
            hint: hint.to_owned(),
        };
        match (there, lang) {
            (false, _) => not("it is not generated", "`locale-gen` says why"),
            (true, lang) if lang == self.name => Verdict::InForce { answer: format!("LANG={lang}") },
            (true, "") => not("a login has no LANG", "/etc/pam.d/su and sshd must read /etc/default/locale"),
            (true, lang) => {
                not(lang, "`grep -r LANG /etc/profile /etc/profile.d /etc/environment` finds who sets it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_is_not_enough() {
        let proof = LocaleUsable { name: "en_GB.UTF-8".into() };
        let all = "C\nC.utf8\nen_GB.utf8\nPOSIX\n";
        assert!(matches!(proof.judge(all, "en_GB.UTF-8\n"), Verdict::InForce { .. }));
        assert!(matches!(proof.judge(all, ""), Verdict::NotInForce { .. }));
        assert!(matches!(proof.judge(all, "C.UTF-8\n"), Verdict::NotInForce { .. }));
        assert!(matches!(proof.judge("C\nC.utf8\nPOSIX\n", "en_GB.UTF-8\n"), Verdict::NotInForce { .. }));
        let c = LocaleUsable { name: "C.UTF-8".into() };
        assert!(matches!(c.judge("C\nC.utf8\nPOSIX\n", "C.UTF-8\n"), Verdict::InForce { .. }));
    }
}
