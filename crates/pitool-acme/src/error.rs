//! What can go wrong on the way to a certificate, and what it means for a person.

use std::time::Duration;

use pitool_net::certificate::CertificateError;
use serde::{Deserialize, Serialize};

use crate::obstacle::Obstacle;

/// A problem document of the CA, RFC 7807 and RFC 8555 section 6.7.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Its type, such as `urn:ietf:params:acme:error:unauthorized`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The CA's words.
    pub detail: String,
    /// The HTTP status that it came with.
    pub status: Option<u16>,
    /// Problems of single names.
    pub subproblems: Vec<Subproblem>,
}

/// A problem of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subproblem {
    /// The name.
    pub identifier: Option<Identifier>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The CA's words.
    pub detail: String,
}

/// What a problem is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identifier {
    /// `dns` or `ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name or address.
    pub value: String,
}

/// The common beginning of all types.
const URN: &str = "urn:ietf:params:acme:error:";

impl Problem {
    /// A problem of this type, for what instant-acme says without a document.
    pub fn of(kind: &str, detail: &str) -> Self {
        Self { kind: format!("{URN}{kind}"), detail: detail.to_owned(), ..Self::default() }
    }

    /// Its type without the common beginning: `unauthorized`.
    pub fn short(&self) -> &str {
        self.kind.strip_prefix(URN).unwrap_or(&self.kind)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind.is_empty() { "no type" } else { &self.kind };
        write!(f, "{} ({kind}", self.detail)?;
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        f.write_str(")")?;
        for sub in &self.subproblems {
            let name = sub.identifier.as_ref().map_or("?", |identifier| &identifier.value);
            write!(f, "\n{name}: {} ({})", sub.detail, sub.kind)?;
        }
        Ok(())
    }
}

/// Why an HTTP request has no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody could be reached.
    #[error("cannot reach {url}: {why}")]
    Connect {
        /// Where.
        url: String,
        /// What the system or TLS said.
        why: String,
    },
    /// It did not answer, or not to the end, in time.
    #[error("{url} did not answer in time")]
    Timeout {
        /// Where.
        url: String,
    },
    /// The answer is larger than any answer of a CA.
    #[error("the answer of {url} is too large")]
    TooLarge {
        /// Where.
        url: String,
    },
    /// Too many requests (429) or out of order (503).
    #[error(
        "{url} answered {status}{}{}",
        .retry_after.map(|after| format!(" and asks for patience of {} s", after.as_secs())).unwrap_or_default(),
        .problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default()
    )]
    Busy {
        /// Where.
        url: String,
        /// 429 or 503.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
        /// Its document, where there is one.
        problem: Option<Box<Problem>>,
    },
    /// An answer that cannot be understood.
    #[error("{url} answered {status} with something that is not JSON")]
    Answer {
        /// Where.
        url: String,
        /// Its status.
        status: u16,
    },
    /// An address that is no URL for us.
    #[error("{0} is not an https URL")]
    Url(String),
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The way to the CA.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The CA says no.
    #[error("the CA refuses: {0}")]
    Refused(Box<Problem>),
    /// The CA did not find what it asked for.
    #[error("the CA could not validate {}", names(.0))]
    Validation(Vec<(String, Problem)>),
    /// A check here, before the CA is asked.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Preflight(Vec<Obstacle>),
    /// The profile of the config is not to be had.
    #[error("the CA has no profile `{wanted}`; it offers {}", if .offered.is_empty() { "none".to_owned() } else { .offered.join(", ") })]
    Profile {
        /// What the config wants.
        wanted: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// The CA leaves an order waiting.
    #[error("the CA did not get on with {0} in time")]
    Patience(&'static str),
    /// The CA answers what it may not.
    #[error("the CA's answer makes no sense: {0}")]
    Protocol(String),
    /// The challenge could not be answered.
    #[error("the challenge for {name} could not be set up: {why}")]
    Challenge {
        /// For which name.
        name: String,
        /// Why.
        why: String,
    },
    /// What came is not a certificate with its key.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key could not be made or read.
    #[error("{0}")]
    Key(String),
    /// There is no authority that vouches for the CA.
    #[error(transparent)]
    Trust(#[from] pitool_net::trust::TrustError),
    /// The machine said no.
    #[error(transparent)]
    Machine(#[from] pitool_host::Error),
    /// A signal.
    #[error("stopped")]
    Interrupted,
}

fn names(invalid: &[(String, Problem)]) -> String {
    invalid.iter().map(|(name, problem)| format!("{name}: {problem}")).collect::<Vec<_>>().join("\n")
}

impl AcmeError {
    /// How long the CA asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(HttpError::Busy { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    /// Whether it counts against the CA's limit of failed validations.
    pub fn is_validation(&self) -> bool {
        matches!(self, Self::Validation(_))
    }

    /// The error with its causes, as it is kept and shown.
    pub fn whole(&self) -> String {
        pitool_host::text::chain(self)
    }

    /// What it means and what to do; `None` where the error says that itself.
    pub fn advice(&self) -> Option<String> {
        let problem = match self {
            Self::Refused(problem) | Self::Http(HttpError::Busy { problem: Some(problem), .. }) => {
                problem.as_ref()
            }
            Self::Validation(invalid) => &invalid.first()?.1,
            Self::Http(HttpError::Busy { .. }) => {
                return Some("the CA is out of order or under load; it is asked again later".into());
            }
            Self::Http(HttpError::Timeout { .. } | HttpError::Connect { .. }) => {
                return Some(
                    "is there a network? `curl -v` with that address tells more; a CA of your own needs `ca_file`"
                        .into(),
                );
            }
            Self::Profile { .. } => return Some("change `profile` in [ssl], or take it away".into()),
            _ => return None,
        };
        Some(diagnosis(problem)?.to_owned())
    }
}

/// What the CA's problem types mean here, RFC 8555 section 6.7.
fn diagnosis(problem: &Problem) -> Option<&'static str> {
    Some(match problem.short() {
        "dns" => {
            "the CA finds no address or record for the name: look at it from outside, with another resolver than your \
             own, and wait until a change has spread"
        }
        "connection" => {
            "the CA cannot reach port 80 of the name's address: the router must hand it on to this machine, the \
             provider must let it through, and an AAAA record must be this machine's too"
        }
        "unauthorized" => {
            "somebody else answered for the name: its records point to another machine (a stale AAAA is the usual \
             one), or a proxy before this one answers itself"
        }
        "caa" => "a CAA record of the name or of a parent allows other CAs only: add this one",
        "rateLimited" => {
            "the CA's limit is reached; what is there goes on being served, and it is tried again when the CA allows it"
        }
        "rejectedIdentifier" => "the CA gives no certificates for this name; is it a public one?",
        "externalAccountRequired" => {
            "this CA wants an account of its own: set `eab_kid` and `eab_hmac_file` in [ssl]"
        }
        "accountDoesNotExist" => {
            "the CA does not know the account any more; it is made anew the next time, because the file is set aside"
        }
        "invalidContact" | "unsupportedContact" => "change `email` in [ssl]: the CA does not take it",
        "badCSR" | "badPublicKey" => "the CA does not take this kind of key: change `key_type` in [ssl]",
        "invalidProfile" => "change `profile` in [ssl], or take it away",
        "serverInternal" => "the CA has a problem of its own; it is asked again later",
        _ => return None,
    })
}
