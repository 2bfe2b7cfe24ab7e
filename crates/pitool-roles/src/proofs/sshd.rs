//! Questions to sshd.

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::parse::sshd_config;
use pitool_host::{Command, Inspect, Result};

/// Whether sshd takes a value, asked of `sshd -T`.
#[derive(Clone, Debug, PartialEq)]
pub struct SshdValue {
    /// The keyword in lower case.
    pub keyword: String,
    /// The promised value.
    pub value: String,
    /// The file that sets it; while its guard holds it back, nothing is promised.
    pub file: String,
}

impl SshdValue {
    /// A keyword with its value and the file that sets it.
    pub fn new(keyword: &str, value: &str, file: &str) -> Self {
        Self { keyword: keyword.into(), value: value.into(), file: file.into() }
    }
}

/// sshd prints the older of two names for one value.
fn canonical(value: &str) -> &str {
    if value == "prohibit-password" { "without-password" } else { value }
}

impl Proof for SshdValue {
    fn id(&self) -> Id {
        Id::new("proof", &format!("sshd {} {}", self.keyword, self.value))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        if host.stat(&self.file)?.is_none() {
            return Ok(Verdict::Unknown {
                why: format!("{} is held back, so nothing is promised yet", self.file),
            });
        }
        let output = host.ask(&Command::new("/usr/sbin/sshd").arg("-T"))?;
        if !output.ok() {
            return Ok(Verdict::Unknown { why: output.tail() });
        }
        let effective = sshd_config::parse_effective(&output.stdout);
        let answer = effective.get(&self.keyword).map(sshd_config::Setting::value).unwrap_or_default();
        let config = sshd_config::read(host)?;
        if canonical(&answer) != canonical(&self.value) {
            let first = config.get(&self.keyword).map(|setting| format!("{}:{}", setting.file, setting.line));
            let where_ = first.unwrap_or_else(|| format!("no file, because none includes {}", self.file));
            let hint = format!("sshd takes the first value that it meets, which is in {where_}");
            return Ok(Verdict::NotInForce { expected: self.value.clone(), answer, hint });
        }
        // What somebody wrote for certain users is on purpose, but should not go unseen.
        let exception = config.conditional.iter().find(|conditional| {
            conditional.setting.keyword == self.keyword
                && canonical(&conditional.setting.value()) != canonical(&self.value)
        });
        let answer = match exception {
            Some(other) => format!(
                "{answer}, except for `Match {}` in {}:{}",
                other.criteria, other.setting.file, other.setting.line
            ),
            None => answer,
        };
        Ok(Verdict::InForce { answer })
    }
}

fn held_back(file: &str) -> Verdict {
    Verdict::Unknown { why: format!("{file} is held back, so nothing is promised yet") }
}

/// Whether sshd listens on a port, asked of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct SshdListens {
    /// The port.
    pub port: u16,
    /// The file that sets it; while its guard holds it back, nothing is promised.
    pub file: String,
}

impl Proof for SshdListens {
    fn id(&self) -> Id {
        Id::new("proof", &format!("sshd listens on port {}", self.port))
    }

    fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
        if host.stat(&self.file)?.is_none() {
            return Ok(held_back(&self.file));
        }
        let ports = listening(host)?;
        let answer = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let config = sshd_config::read(host)?;
        let besides = config.all("port").find(|setting| {
            setting.file != self.file
                && setting.value().parse().is_ok_and(|port: u16| port != self.port && ports.contains(&port))
        });
        if let Some(setting) = besides {
            return Ok(Verdict::NotInForce {
                expected: self.port.to_string(),
                answer: format!("sshd listens on {answer}"),
                hint: format!(
                    "sshd adds up its ports, and {}:{} names {}: take that line out, then `systemctl restart ssh`",
                    setting.file,
                    setting.line,
                    setting.value()
                ),
            });
        }
        if ports.contains(&self.port) {
            return Ok(Verdict::InForce { answer: format!("sshd listens on {answer}") });
        }
        Ok(Verdict::NotInForce {
            expected: self.port.to_string(),
            answer: if answer.is_empty() { "sshd listens nowhere".into() } else { answer },
            hint: "`sshd -t` and `journalctl -u ssh` say why; `systemctl restart ssh` tries again; do not leave this \
                   session before a new one works"
                .into(),
        })
    }
}

/// The ports on which sshd itself listens, as ss(8) tells.
pub(super) fn listening(host: &dyn Inspect) -> Result<Vec<u16>> {
    let output = host.ask(&Command::new("ss").args(["-Hltnp"]))?;
    Ok(sshd_ports(&output.stdout))
}

fn sshd_ports(sockets: &str) -> Vec<u16> {
    let port = |line: &str| line.split_whitespace().nth(3)?.rsplit(':').next()?.parse().ok();
    let mut ports: Vec<u16> =
        sockets.lines().filter(|line| line.contains("((\"sshd\",")).filter_map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_sshd_alone_count() {
        let sockets = r#"LISTEN 0      511      0.0.0.0:80    0.0.0.0:* users:(("nginx",pid=1175,fd=5),("nginx",pid=584,fd=5))
LISTEN 0      128      0.0.0.0:2222  0.0.0.0:* users:(("sshd",pid=1754,fd=6))
LISTEN 0      4096   127.0.0.1:33813 0.0.0.0:* users:(("containerd",pid=1456,fd=10))
LISTEN 0      128         [::]:2222     [::]:* users:(("sshd",pid=1754,fd=7))
LISTEN 0      4096           *:22          *:* users:(("sshd",pid=1703,fd=3))
"#;
        assert_eq!(sshd_ports(sockets), [22, 2222]);
    }
}
