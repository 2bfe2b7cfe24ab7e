//! What a command ends with when it cannot do its work.
//!
//! Errors of the libraries are turned into a [`Failure`] here and nowhere else, so that every message has the same
//! parts: what happened, its causes one a line, and hints apart that say what to type.

use pitool_config::Diagnostic;
use pitool_engine::{Error, JournalError};
use pitool_host::text::causes;

use crate::exit;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What the person typed or wrote is wrong.
    Input,
    /// The machine said no.
    Machine,
    /// pitool is wrong.
    Bug,
}

/// Why a command could not do its work.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Whose turn it is.
    pub class: Class,
    /// The exit code.
    pub exit: u8,
    /// What happened: a sentence without a full stop. Empty where the diagnostics say everything.
    pub message: String,
    /// Why, one cause each.
    pub causes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
    /// Problems in files, with their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// The result of a part of a command.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    fn new(class: Class, exit: u8, message: impl Into<String>) -> Self {
        Self {
            class,
            exit,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// The person's input is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Class::Input, exit::USAGE, message)
    }

    /// The machine said no.
    pub fn machine(message: impl Into<String>) -> Self {
        Self::new(Class::Machine, exit::FAILED, message)
    }

    /// pitool is wrong.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Class::Bug, exit::FAILED, message)
    }

    /// The config cannot be used.
    pub fn config(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, ..Self::input("the config cannot be used; nothing was changed") }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds an error and its causes, which led to this.
    #[must_use]
    pub fn because(mut self, error: &dyn std::error::Error) -> Self {
        self.causes.push(error.to_string());
        self.causes.extend(causes(error));
        self
    }

    /// Adds the causes of an error whose own words are the message.
    #[must_use]
    pub fn because_of(mut self, error: &dyn std::error::Error) -> Self {
        self.causes.extend(causes(error));
        self
    }

    /// Adds a cause that is words already.
    #[must_use]
    pub fn because_words(mut self, why: impl Into<String>) -> Self {
        self.causes.push(why.into());
        self
    }

    /// Turns an error of the engine into a failure; `tell` gives an RFC 3339 time as the machine's clock shows it.
    pub fn engine(error: &Error, root: bool, tell: &dyn Fn(&str) -> String) -> Self {
        let mut failure = match error {
            Error::Locked(_) => Self::new(Class::Machine, exit::LOCKED, ""),
            Error::Moved(_) => Self::machine(""),
            Error::NothingToUndo => Self::input(""),
            Error::Journal(JournalError::Missing(_)) => Self::input(""),
            Error::Preflight { ids, .. } if !ids.is_empty() => Self::input(""),
            Error::Plan(_)
            | Error::Journal(_)
            | Error::Lock(_)
            | Error::Preflight { .. }
            | Error::PowerCut(_) => Self::machine(""),
        };
        failure.message = error.to_string();
        failure.causes = causes(error);
        match error {
            Error::Locked(holder) => {
                failure.message = match holder.command.as_str() {
                    "" => "another pitool is at work; nothing was changed".to_owned(),
                    command => format!(
                        "another pitool is at work: `{command}`, process {}, since {}; nothing was changed",
                        holder.pid,
                        tell(&holder.since)
                    ),
                };
                failure = failure.hint("wait until it is done, then try again; pitool does not wait for it");
            }
            Error::NothingToUndo => {
                failure = failure.hint(
                    "`pitool history` lists the runs; with its number any of them can be taken back, a rollback too",
                );
            }
            Error::Moved(_) => {
                failure.message += "; nothing was changed";
                failure = failure.hint("run the same command again to see the new plan");
            }
            Error::Plan(_) | Error::Journal(JournalError::Read { .. }) if !root && denied(error) => {
                failure = failure.hint("only root may look at this: run it with sudo");
            }
            _ => {}
        }
        failure
    }
}

/// Whether somewhere in the causes the system said "permission denied".
pub(crate) fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        at = error.source();
    }
    false
}

impl From<pitool_host::Error> for Failure {
    fn from(error: pitool_host::Error) -> Self {
        Self { causes: causes(&error), ..Self::machine(error.to_string()) }
    }
}

impl From<pitool_net::trust::TrustError> for Failure {
    fn from(error: pitool_net::trust::TrustError) -> Self {
        Self { causes: causes(&error), ..Self::machine(error.to_string()) }
    }
}

impl From<pitool_engine::LintError> for Failure {
    fn from(error: pitool_engine::LintError) -> Self {
        Self::bug(error.to_string())
    }
}
