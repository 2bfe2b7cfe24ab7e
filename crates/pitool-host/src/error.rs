//! What can go wrong at the door.

use std::time::Duration;

use crate::trust;

/// The result of touching the machine.
pub type Result<T> = std::result::Result<T, Error>;

/// An operation on the machine that did not work. Each variant names the operation and its object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a path failed. `operation` is a verb: "read", "write", "remove".
    #[error("cannot {operation} {path}")]
    Path {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A path holds something else than expected.
    #[error("{path} is {found}, expected {expected}")]
    Unexpected {
        /// The path.
        path: String,
        /// What is there ("a directory").
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program ended with a status other than 0.
    #[error("`{command}` failed with status {status}{}", quoted(.message))]
    Failed {
        /// The command, for a person.
        command: String,
        /// Its exit status.
        status: i32,
        /// The last lines that it printed.
        message: String,
    },
    /// A program took longer than it may.
    #[error("`{command}` did not finish within {limit:?} and was stopped")]
    Timeout {
        /// The command, for a person.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// A text that the system handed us could not be understood.
    #[error("cannot understand {what}: {why}")]
    Parse {
        /// Which text, e.g. "/var/lib/dpkg/status".
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something is not possible on this machine; a whole sentence that says what to do.
    #[error("{0}")]
    Unsupported(String),
    /// The simulated machine lost power.
    #[error("the power went out")]
    PowerCut,
}

fn quoted(message: &str) -> String {
    if message.trim().is_empty() { String::new() } else { format!(":\n{}", message.trim_end()) }
}

impl Error {
    /// Wraps an I/O error with what was tried on which path.
    pub fn path(operation: &'static str, path: &str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Path { operation, path: path.to_owned(), source }
    }

    /// Turns an error at the file system into one with what was tried on which path: what was found there instead of
    /// what is needed is [`Error::Unexpected`].
    pub fn finding(operation: &'static str, path: &str) -> impl FnOnce(trust::Error) -> Self {
        move |error| {
            let path = path.to_owned();
            match error {
                trust::Error::Unexpected { found, expected } => {
                    Self::Unexpected { path, found: found.noun().to_owned(), expected: expected.noun() }
                }
                trust::Error::TooLarge { limit } => Self::Unexpected {
                    path,
                    found: format!("larger than {} MiB", limit >> 20),
                    expected: "a configuration file",
                },
                trust::Error::ForeignLink { name } => Self::Unexpected {
                    path,
                    found: format!(
                        "behind the symbolic link `{name}`, in a directory that others can write to"
                    ),
                    expected: "a path without such a link",
                },
                error => Self::Path { operation, path, source: error.into() },
            }
        }
    }

    /// Turns a finished command into an error when its status is not 0.
    pub fn unless_ok(command: &crate::Command, output: crate::Output) -> Result<crate::Output> {
        if output.ok() {
            return Ok(output);
        }
        Err(Self::Failed { command: command.display(), status: output.status, message: output.tail() })
    }
}
