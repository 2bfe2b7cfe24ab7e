//! Checkers: programs that read a configuration and say whether it is sound, before it goes live.

use pitool_host::{Candidate, Command, Error, Host, Result};
use serde::{Deserialize, Serialize};

/// A program that checks a configuration with a candidate in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// `sshd -t`: the whole server configuration, drop-ins included.
    Sshd,
    /// `nginx -t`: the whole configuration, every enabled site included.
    Nginx,
    /// `dockerd --validate`: the daemon's JSON.
    Docker,
    /// `visudo -c`: sudoers and its drop-ins.
    Sudoers,
    /// `logrotate -d`: the file alone.
    Logrotate,
    /// `fail2ban-client -t`: every jail and filter.
    Fail2ban,
}

impl Check {
    fn command(self, path: &str) -> Command {
        match self {
            Self::Sshd => Command::new("/usr/sbin/sshd").arg("-t"),
            Self::Nginx => Command::new("/usr/sbin/nginx").args(["-t", "-q"]),
            Self::Docker => Command::new("/usr/sbin/dockerd").args(["--validate", "--config-file", path]),
            Self::Sudoers => Command::new("/usr/sbin/visudo").arg("-c"),
            Self::Logrotate => Command::new("/usr/sbin/logrotate").args(["-d", path]),
            Self::Fail2ban => Command::new("/usr/bin/fail2ban-client").arg("-t"),
        }
    }

    /// Asks the checker about the machine with this candidate in place. Where the program is not there yet (its
    /// package comes later) there is nobody to ask: the proof after the run will.
    ///
    /// # Errors
    /// The checker's own words when the configuration is not sound.
    pub fn ask(self, host: &dyn Host, path: &str, candidate: Candidate) -> Result<()> {
        let command = self.command(path);
        let ready = match self {
            // sshd refuses to check anything before its runtime directory exists.
            Self::Sshd => host.stat("/run/sshd")?.is_some(),
            // Docker 20.10 (bookworm's docker.io) has no --validate; only dockerd's own help says who has.
            Self::Docker if host.live() && host.stat(&command.program)?.is_some() => {
                host.ask(&Command::new(&command.program).arg("--help"))?.stdout.contains("--validate")
            }
            _ => true,
        };
        if !host.live() || !ready || host.stat(&command.program)?.is_none() {
            return Ok(());
        }
        let output = host.ask_with(&[candidate], &command)?;
        if output.ok() {
            return Ok(());
        }
        Err(Error::Unsupported(format!(
            "{path} was not put in place, because `{}` refuses it:\n{}",
            command.display(),
            output.tail()
        )))
    }
}
