//! Commands and their outputs, as values.

use std::time::Duration;

/// A program to run: never a shell string.
///
/// The host adds a fixed environment (`PATH`, `LC_ALL=C.UTF-8`, `HOME=/root`) and nothing of the caller's, so
/// that what `sudo`, `ssh` or a person's profile set cannot change what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's name, looked up in the host's fixed `PATH`, or its absolute path.
    pub program: String,
    /// Its arguments. Never a secret: any user of the machine can read them.
    pub args: Vec<String>,
    /// Options in front of these that a message leaves out, because nobody would type them.
    pub unsaid: Vec<String>,
    /// Extra environment variables.
    pub env: Vec<(String, String)>,
    /// What it reads on standard input; empty means `/dev/null`. The place for secrets.
    pub stdin: Vec<u8>,
    /// How long it may take; then its process group is killed.
    pub timeout: Duration,
    /// Whether descriptor 3 is standard output once more. apt closes the descriptor of its status before it starts
    /// dpkg; were that 1, a package's script that prints a word would fail.
    pub third: bool,
    /// Whether it needs the network. Nothing else has one in another root: what a package's script does to the network
    /// (a firewall, an address) is meant for the machine that the root will be, not for the one that works on it.
    pub online: bool,
}

impl Command {
    /// Most commands answer within seconds; a Pi Zero on a worn card may need a minute for `locale-gen`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

    /// Names a program.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            unsaid: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            timeout: Self::DEFAULT_TIMEOUT,
            third: false,
            online: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds options that a message leaves out: they come before all other arguments.
    #[must_use]
    pub fn unsaid<S: Into<String>>(mut self, options: impl IntoIterator<Item = S>) -> Self {
        self.unsaid.extend(options.into_iter().map(Into::into));
        self
    }

    /// All its arguments in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.unsaid.iter().chain(&self.args).map(String::as_str)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets what it reads on standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Gives it descriptor 3, which is standard output once more.
    #[must_use]
    pub fn with_third(mut self) -> Self {
        self.third = true;
        self
    }

    /// Gives it the network, in another root too.
    #[must_use]
    pub fn online(mut self) -> Self {
        self.online = true;
        self
    }

    /// The command as a person would read it in a message: program and arguments.
    pub fn display(&self) -> String {
        std::iter::once(self.program.as_str())
            .chain(self.args.iter().map(String::as_str))
            .map(|word| {
                if word.is_empty() || word.contains([' ', '"', '\'']) {
                    format!("{word:?}")
                } else {
                    word.to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// What a finished command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status; a signal counts as 128 + its number, as in a shell.
    pub status: i32,
    /// Standard output, lossy UTF-8, at most [`Output::LIMIT`] bytes (the first ones).
    pub stdout: String,
    /// Standard error, lossy UTF-8, at most [`Output::LIMIT`] bytes (the last ones).
    pub stderr: String,
}

impl Output {
    /// Enough for `dpkg-query` over a full desktop; memory stays bounded on a 512 MB Pi.
    pub const LIMIT: usize = 8 << 20;

    /// Whether it exited with status 0.
    pub fn ok(&self) -> bool {
        self.status == 0
    }

    /// The last lines of standard error, or of standard output where there is none: what to quote in a message.
    pub fn tail(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}
