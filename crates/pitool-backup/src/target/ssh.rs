//! A machine that rsync reaches over SSH: a NAS, another Pi, a rented server.
//!
//! The system's own rsync and ssh are used, so that root's keys, `~/.ssh/config` and known hosts just work. Everything
//! is done by rsync, deleting too, so that the key may be one that can do nothing else: `command="rrsync DIR"` in the
//! other machine's `authorized_keys` (rrsync(1)), with `-no-del` where nothing should ever be deleted.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pitool_host::trust::{self, read_bounded};
use pitool_host::{Command, Host, Output};

use super::directory::own;
use super::{Error, LONGEST, MARKER, MARKER_LIMIT, Result, Stored, Target, marker_id};

/// Where rsync keeps what it could not finish.
const PARTIAL: &str = ".pitool-partial";

/// A first upload of a large set over a slow line takes days; rsync itself stops after five minutes of silence.
const LIMIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Short questions: lists, markers.
const QUESTION: Duration = Duration::from_secs(10 * 60);

/// A directory on another machine.
#[derive(Clone)]
pub struct Ssh<'h> {
    machine: &'h dyn Host,
    host: String,
    user: Option<String>,
    port: Option<u16>,
    path: String,
    identity: Option<PathBuf>,
    bandwidth: Option<u64>,
    scratch: PathBuf,
}

impl<'h> Ssh<'h> {
    /// A directory of a machine; `scratch` is one of this machine's own that only root may enter.
    pub fn new(machine: &'h dyn Host, host: &str, path: &str, scratch: &Path) -> Self {
        Self {
            machine,
            host: host.to_owned(),
            user: None,
            port: None,
            path: path.trim_end_matches('/').to_owned(),
            identity: None,
            bandwidth: None,
            scratch: scratch.to_owned(),
        }
    }

    /// Sets who logs in there; else ssh decides.
    #[must_use]
    pub fn user(mut self, user: Option<String>) -> Self {
        self.user = user;
        self
    }

    /// Sets the port; else ssh decides.
    #[must_use]
    pub fn port(mut self, port: Option<u16>) -> Self {
        self.port = port;
        self
    }

    /// Sets the file with the secret key; else ssh decides.
    #[must_use]
    pub fn identity(mut self, file: Option<PathBuf>) -> Self {
        self.identity = file;
        self
    }

    /// Sets the most bytes in a second.
    #[must_use]
    pub fn bandwidth(mut self, bytes: Option<u64>) -> Self {
        self.bandwidth = bytes;
        self
    }

    /// The program that rsync talks through. No part of it has a space: rsync splits it at those.
    fn shell(&self) -> String {
        let mut words = vec!["ssh".to_owned()];
        for option in [
            // Nobody is there to answer a question.
            "BatchMode=yes",
            "ConnectTimeout=20",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=4",
        ] {
            words.extend(["-o".to_owned(), option.to_owned()]);
        }
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(file) = &self.identity {
            words.extend(["-i".to_owned(), file.display().to_string()]);
            words.extend(["-o".to_owned(), "IdentitiesOnly=yes".to_owned()]);
        }
        words.join(" ")
    }

    /// A name in the directory there; the empty name is the directory.
    fn remote(&self, name: &str) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}/{name}", self.path)
    }

    /// An rsync that takes a file from there, if it is no larger than this. Without being asked to, rsync takes nothing
    /// but regular files.
    fn fetch(&self, file: &Stored) -> Command {
        self.rsync().arg(format!("--max-size={}", file.size))
    }

    fn rsync(&self) -> Command {
        Command::new("rsync").args(["--timeout=300".to_owned(), format!("--rsh={}", self.shell())])
    }

    /// Runs rsync; a status of 0 is an answer, and so is one of `answers`.
    fn ask(&self, command: &Command, operation: &str, answers: &[i32]) -> Result<Output> {
        let output = match self.machine.ask(command) {
            Err(pitool_host::Error::Start { program, .. }) => return Err(self.not_installed(&program)),
            other => other?,
        };
        if output.ok() || answers.contains(&output.status) {
            return Ok(output);
        }
        Err(self.failed(&output, operation))
    }

    /// Runs an rsync that changes something here or there.
    fn change(&self, command: &Command, operation: &str, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut hear = |line: &str| {
            // The first word of a line of `--info=progress2` is the number of bytes.
            if let Some(bytes) =
                line.split_whitespace().next().and_then(|word| word.replace(',', "").parse().ok())
            {
                progress(bytes);
            }
        };
        match self.machine.run_watched(command, &mut hear) {
            Err(pitool_host::Error::Failed { status, message, .. }) => {
                Err(self.failed(&Output { status, stdout: String::new(), stderr: message }, operation))
            }
            Err(pitool_host::Error::Start { program, .. }) => Err(self.not_installed(&program)),
            other => Ok(other.map(drop)?),
        }
    }

    fn not_installed(&self, program: &str) -> Error {
        let why = format!("{program} is not installed; `pitool apply backup` installs it");
        Error::Unreachable { place: self.place(), why }
    }

    fn failed(&self, output: &Output, operation: &str) -> Error {
        let said = output.stderr.lines().filter(|line| !line.starts_with("rsync error:"));
        let said: Vec<&str> = said.map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = said[said.len().saturating_sub(4)..].join("; ");
        let place = self.place();
        // rsync(1), EXIT VALUES: 255 is ssh's own; 10, 12, 30 and 35 are connections that broke or fell silent.
        match output.status {
            255 | 10 | 12 | 30 | 35 => {
                let hint = if last.contains("Host key verification failed") {
                    format!("; its key is not known here: log in once as root with `ssh {}`", self.host)
                } else if last.contains("Permission denied") {
                    "; it does not accept root's key: put it into authorized_keys there".to_owned()
                } else {
                    String::new()
                };
                Error::Unreachable { place, why: format!("{last}{hint}") }
            }
            status => {
                let said = if last.is_empty() { format!("rsync ended with status {status}") } else { last };
                Error::Refused { place, operation: operation.to_owned(), said }
            }
        }
    }

    /// Every plain file there, markers too; `None` where the directory is missing.
    fn files(&self) -> Result<Option<Vec<Stored>>> {
        let command = self
            .rsync()
            .args(["--list-only", "--no-human-readable", "--dirs", "--", &self.remote("")])
            .timeout(QUESTION);
        let output = self.ask(&command, "list its files", &[23])?;
        if output.status == 23 {
            if output.stderr.contains("No such file or directory") {
                return Ok(None);
            }
            return Err(self.failed(&output, "list its files"));
        }
        let files = parse_list(&output.stdout);
        if files.len() > LONGEST {
            let said = "it lists more files than a target can have".to_owned();
            return Err(Error::Refused { place: self.place(), operation: "list its files".to_owned(), said });
        }
        Ok(Some(files))
    }

    fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.scratch.join(name);
        own(&path)?;
        Ok(path)
    }
}

/// Reads what `rsync --list-only` prints: mode, size, date, time, name.
fn parse_list(text: &str) -> Vec<Stored> {
    let mut files: Vec<Stored> = text
        .lines()
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| {
            let mut rest = line;
            let mut field = || {
                let trimmed = rest.trim_start();
                let (word, after) = trimmed.split_once(' ')?;
                rest = after;
                Some(word)
            };
            let (_mode, size, _date, _time) = (field()?, field()?, field()?, field()?);
            let size = size.replace(',', "").parse().ok()?;
            Some(Stored { name: rest.to_owned(), size })
        })
        .collect();
    files.sort();
    files
}

impl Target for Ssh<'_> {
    fn place(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        format!("{user}{}:{}", self.host, self.path)
    }

    fn marker(&self) -> Result<Option<String>> {
        let there = self.files()?.unwrap_or_default();
        if !there.iter().any(|file| file.name == MARKER) {
            return Ok(None);
        }
        let to = self.scratch("marker")?.join(MARKER);
        let to = to.display().to_string();
        let marker = Stored { name: MARKER.to_owned(), size: MARKER_LIMIT };
        let command = self.fetch(&marker).args(["--", &self.remote(MARKER), &to]).timeout(QUESTION);
        self.change(&command, "hand out its marker", &mut |_| {})?;
        let read = super::open_source(Path::new(&to)).and_then(|file| {
            read_bounded(&file, MARKER_LIMIT).map_err(|error| Error::path("read", &to)(error.into()))
        });
        marker_id(&self.place(), &read?).map(Some)
    }

    fn mark(&self, id: &str) -> Result<()> {
        let from = self.scratch.join("marker").join(MARKER);
        let written = own(&self.scratch.join("marker"))?
            .write(OsStr::new(MARKER), |file| writeln!(file, "{id}").map_err(trust::Error::from));
        written.map_err(|error| Error::path("write", &from)(error.into()))?;
        // A directory that is missing is made, its parents are not.
        let from = from.display().to_string();
        let command = self.rsync().args(["--chmod=F600", "--", &from, &self.remote("")]).timeout(QUESTION);
        self.change(&command, "take a marker", &mut |_| {})
    }

    fn list(&self) -> Result<Vec<Stored>> {
        let files = self.files()?.ok_or_else(|| Error::Absent {
            place: self.place(),
            why: "there is no such directory on that machine".to_owned(),
        })?;
        Ok(files.into_iter().filter(|file| !file.name.starts_with('.')).collect())
    }

    fn put(&self, file: &Path, name: &str, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let size = super::open_source(file)?.metadata().map_err(Error::path("look at", file))?.len();
        let mut command = self.rsync().args([
            "--times".to_owned(),
            // Archives hold what only root may read here.
            "--chmod=F600".to_owned(),
            format!("--partial-dir={PARTIAL}"),
            "--info=progress2".to_owned(),
            "--no-human-readable".to_owned(),
        ]);
        if let Some(bytes) = self.bandwidth {
            command = command.arg(format!("--bwlimit={}", bytes.div_ceil(1024)));
        }
        let command =
            command.args(["--".to_owned(), file.display().to_string(), self.remote(name)]).timeout(LIMIT);
        // rsync compares a digest of the whole file on both sides before it gives it its name.
        self.change(&command, &format!("take {name}"), progress)?;
        match self.files()?.unwrap_or_default().into_iter().find(|there| there.name == name) {
            Some(there) if there.size == size => {
                progress(size);
                Ok(())
            }
            other => {
                let why = match other {
                    Some(there) => format!("it has {} bytes of {size}", there.size),
                    None => "it is not there after it was sent".to_owned(),
                };
                Err(Error::Damaged { place: self.place(), name: name.to_owned(), why })
            }
        }
    }

    fn get(&self, file: &Stored, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let to_text = to.display().to_string();
        let partial = format!("--partial-dir={PARTIAL}");
        let command = self
            .fetch(file)
            .args(["--chmod=F600", partial.as_str(), "--info=progress2", "--no-human-readable"])
            .args(["--", &self.remote(&file.name), &to_text])
            .timeout(LIMIT);
        self.change(&command, &format!("hand out {}", file.name), progress)?;
        let copy = super::open_source(to)?;
        copy.sync_all().map_err(Error::path("write", to))?;
        progress(copy.metadata().map_err(Error::path("look at", to))?.len());
        Ok(())
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        // An empty directory is copied over theirs, and only these names are looked at: a key that can run nothing
        // but rsync is enough.
        let empty = self.scratch("empty")?;
        let mut command = self.rsync().args(["--dirs", "--delete"]);
        for name in names {
            command = command.arg(format!("--include=/{name}"));
        }
        let command = command
            .args(["--exclude=*", "--", &format!("{}/", empty.display()), &self.remote("")])
            .timeout(QUESTION);
        self.change(&command, "delete old archives", &mut |_| {})?;
        let left = self.files()?.unwrap_or_default();
        match left.iter().find(|file| names.contains(&file.name.as_str())) {
            None => Ok(()),
            Some(file) => Err(Error::Refused {
                place: self.place(),
                operation: format!("delete {}", file.name),
                said: "it is still there; if its key may not delete, set `append_only = true`".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_rsync_prints_them() {
        let text = "drwxr-xr-x          4,096 2026/11/21 02:00:00 .\n\
            -rw-------             37 2026/11/21 02:00:00 .pitool-target\n\
            -rw-------  1,234,567,890 2026/11/21 02:00:01 machine-20261121T020000Z-000001.tar.zst\n\
            -rw-r--r--             12 2026/11/21 02:00:01 a name with  spaces\n\
            lrwxrwxrwx              3 2026/11/21 02:00:01 link -> x\n";
        let files = parse_list(text);
        let names: Vec<(&str, u64)> = files.iter().map(|file| (file.name.as_str(), file.size)).collect();
        assert_eq!(
            names,
            [
                (".pitool-target", 37),
                ("a name with  spaces", 12),
                ("machine-20261121T020000Z-000001.tar.zst", 1_234_567_890)
            ]
        );
    }
}
