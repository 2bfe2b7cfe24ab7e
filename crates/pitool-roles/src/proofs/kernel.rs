//! Questions to the kernel.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::sysctl_d;
use pitool_host::{Inspect, Result};

/// Whether a kernel value is in force, asked of /proc/sys.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelValue {
    /// The key, as sysctl.d(5) writes it.
    pub key: String,
    /// The promised value.
    pub value: String,
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Proof for KernelValue {
    fn id(&self) -> Id {
        Id::new("proof", &format!("{} = {}", self.key, self.value))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let Some(content) = host.read(&format!("/proc/sys/{}", sysctl_d::normal_key(&self.key)))? else {
            return Ok(Verdict::Unknown { why: format!("this kernel has no value {}", self.key) });
        };
        let answer = folded(content.text().unwrap_or_default());
        if answer == folded(&self.value) {
            return Ok(Verdict::InForce { answer });
        }
        Ok(Verdict::NotInForce {
            expected: self.value.clone(),
            answer,
            hint: format!(
                "something set {} after pitool; `grep -r {} /etc/sysctl.d /usr/lib/sysctl.d /run/sysctl.d` finds it",
                self.key, self.key
            ),
        })
    }
}

/// Whether the next boot sets a kernel value too: no file of sysctl.d that comes later says otherwise (trap T26).
#[derive(Clone, Debug, PartialEq)]
pub struct KernelValueAtBoot {
    /// The key, as sysctl.d(5) writes it.
    pub key: String,
    /// The promised value.
    pub value: String,
}

impl Proof for KernelValueAtBoot {
    fn id(&self) -> Id {
        Id::new("proof", &format!("{} = {} after a boot", self.key, self.value))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        let mut files = Vec::new();
        for path in sysctl_d::files(host)? {
            if let Some(content) = host.read(&path)? {
                let text = String::from_utf8_lossy(content.bytes()).into_owned();
                files.push((path, text));
            }
        }
        Ok(self.judge(&files))
    }
}

impl KernelValueAtBoot {
    fn judge(&self, files: &[(String, String)]) -> Verdict {
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        match sysctl_d::effective(&files, &self.key) {
            Some((value, path)) if folded(&value) == folded(&self.value) => {
                Verdict::InForce { answer: format!("{path} has the last word") }
            }
            Some((value, path)) => Verdict::NotInForce {
                expected: self.value.clone(),
                answer: format!("{path} sets {value} at boot"),
                hint: format!(
                    "remove the line from {path}, or set `{}` to that value in pitool.toml",
                    self.key
                ),
            },
            None => Verdict::NotInForce {
                expected: self.value.clone(),
                answer: "no file of sysctl.d sets it".into(),
                hint: "`pitool apply common` writes the file".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(files: &[(&str, &str)]) -> Verdict {
        let files: Vec<(String, String)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        KernelValueAtBoot { key: "vm.swappiness".into(), value: "10".into() }.judge(&files)
    }

    #[test]
    fn a_later_file_is_found() {
        let ours = ("/etc/sysctl.d/60-pitool.conf", "# ours\nvm.swappiness = 10\n");
        assert!(matches!(judged(&[ours]), Verdict::InForce { .. }));
        assert!(matches!(
            judged(&[ours, ("/etc/sysctl.d/70-same.conf", "vm/swappiness=10")]),
            Verdict::InForce { .. }
        ));
        let Verdict::NotInForce { answer, .. } =
            judged(&[ours, ("/etc/sysctl.d/98-rpi.conf", "vm.swappiness=60\n")])
        else {
            panic!("a later file was overlooked")
        };
        assert_eq!(answer, "/etc/sysctl.d/98-rpi.conf sets 60 at boot");
        assert!(matches!(judged(&[]), Verdict::NotInForce { .. }));
    }
}
