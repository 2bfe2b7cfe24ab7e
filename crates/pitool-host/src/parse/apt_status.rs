//! apt's progress, as it writes it to the file descriptor of `APT::Status-Fd` (apt's README.progress-reporting).

use serde::Serialize;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// What it is about.
    pub kind: Kind,
    /// The package, for downloads the number of the file.
    pub package: String,
    /// Percent of this phase that are done.
    pub percent: f64,
    /// A sentence for people; for [`Kind::Error`] what went wrong.
    pub message: String,
}

/// The phases and incidents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `dlstatus`: files are downloaded.
    Download,
    /// `pmstatus`: packages are unpacked and configured.
    Install,
    /// `pmerror`: one of them failed.
    Error,
    /// `pmconffile`: a question about a configuration file.
    Conffile,
}

/// Reads a line; anything else is `None`.
pub fn parse_line(line: &str) -> Option<Status> {
    let (kind, rest) = line.trim_end().split_once(':')?;
    let kind = match kind {
        "dlstatus" => Kind::Download,
        "pmstatus" => Kind::Install,
        "pmerror" => Kind::Error,
        "pmconffile" => Kind::Conffile,
        _ => return None,
    };
    // A package may be `libc6:arm64`, a message may hold anything: the percentage is the first number after a package.
    let mut from = rest.find(':')? + 1;
    loop {
        let end = from + rest[from..].find(':')?;
        if let Ok(percent) = rest[from..end].parse() {
            let (package, message) = (rest[..from - 1].to_owned(), rest[end + 1..].to_owned());
            return Some(Status { kind, package, percent, message });
        }
        from = end + 1;
    }
}
