//! SSH between boxes, with a key that is good for nothing else.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::guest::{Machine, Output};
use super::lab::{Lab, lock_exclusive};
use super::process::tool;

/// Where a box that logs in elsewhere keeps the key.
const KEY: &str = "/root/.ssh/lab_key";

/// A throw-away key pair.
#[derive(Clone, Debug)]
pub struct SshKey {
    /// The private half, a file on this host.
    pub private: PathBuf,
    /// The public half, one line of an `authorized_keys` file.
    pub public: String,
}

/// Hands out the lab's key pair, making it first if there is none.
pub fn ssh_key(lab: &Lab) -> Result<SshKey> {
    let private = lab.cache().join("ssh-key");
    let _lock = lock_exclusive(&lab.cache().join("ssh-key.lock"))?;
    let public = private.with_extension("pub");
    if !public.exists() {
        if private.exists() {
            fs::remove_file(&private)?;
        }
        let path = private.display().to_string();
        tool("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", &path])?;
    }
    let public = fs::read_to_string(&public).with_context(|| format!("reading {}", public.display()))?;
    Ok(SshKey { private, public: public.trim().to_owned() })
}

impl Machine {
    /// Lets the holder of a key log in as a user of this box.
    pub fn authorize(&self, user: &str, public: &str) -> Result<()> {
        ensure!(!public.contains(['\n', '\'']), "no public key: {public:?}");
        let script = format!(
            "set -e; home=$(getent passwd '{user}' | cut -d: -f6); group=$(id -gn '{user}')\n\
             install -d -m 700 -o '{user}' -g \"$group\" \"$home/.ssh\"\n\
             keys=\"$home/.ssh/authorized_keys\"; echo '{public}' >> \"$keys\"\n\
             chown '{user}:' \"$keys\"; chmod 600 \"$keys\""
        );
        self.check(&script)?;
        Ok(())
    }

    /// Runs a command on another box over ssh, logged in with the lab's key; 255 is ssh's own failure.
    pub fn ssh(&self, target: &Machine, user: &str, port: u16, command: &str) -> Result<Output> {
        let key = ssh_key(self.lab())?;
        self.copy_in(&key.private, KEY, 0o600)?;
        let (port, destination) = (port.to_string(), format!("{user}@{}", target.ip()));
        self.run([
            "ssh",
            "-i",
            KEY,
            "-p",
            &port,
            "-oBatchMode=yes",
            "-oIdentitiesOnly=yes",
            "-oStrictHostKeyChecking=no",
            "-oUserKnownHostsFile=/dev/null",
            "-oLogLevel=ERROR",
            "-oConnectTimeout=10",
            &destination,
            "--",
            command,
        ])
    }
}
