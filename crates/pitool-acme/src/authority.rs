//! What pitool asks of a certificate authority, apart from any library that speaks ACME.

use std::time::Duration;

use crate::error::{AcmeError, Problem};

/// How the control over a name is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A file under `/.well-known/acme-challenge/` on port 80, RFC 8555 section 8.3.
    Http01,
    /// A TXT record under `_acme-challenge`, RFC 8555 section 8.4.
    Dns01,
}

/// A name whose control is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The name, without `*.`.
    pub name: String,
    /// Whether it is for the wildcard of that name.
    pub wildcard: bool,
    /// Which authorization of the order it is.
    pub authorization: String,
    /// The challenge's token.
    pub token: String,
    /// What the file holds.
    pub key_authorization: String,
    /// What the TXT record holds.
    pub dns_value: String,
}

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The CA looks at the challenges.
    Pending,
    /// It can be finalized.
    Ready,
    /// The CA makes the certificate.
    Processing,
    /// The certificate can be fetched.
    Valid,
    /// It came to nothing.
    Invalid,
}

/// What is ordered.
#[derive(Clone, Debug, Default)]
pub struct Request<'r> {
    /// The names, wildcards as `*.NAME`.
    pub names: &'r [String],
    /// The profile of the CA.
    pub profile: Option<&'r str>,
    /// The certificate that it takes the place of (RFC 9773 section 5): such orders are free of rate limits.
    pub replaces: Option<&'r str>,
}

/// A certificate authority with an account at it.
pub trait Authority {
    /// The profiles that it offers.
    fn profiles(&self) -> Vec<String>;

    /// Places an order.
    ///
    /// # Errors
    /// The CA's refusal, or the way to it.
    fn order(&self, request: &Request<'_>) -> Result<Box<dyn Order + '_>, AcmeError>;
}

/// An order.
pub trait Order {
    /// The profile that the CA says it has.
    fn profile(&mut self) -> Option<String>;

    /// What is still to be shown; names that the CA has seen shown before are not in it.
    ///
    /// # Errors
    /// The CA offers no such challenge for a name.
    fn tasks(&mut self, method: Method) -> Result<Vec<Task>, AcmeError>;

    /// Tells the CA to look.
    ///
    /// # Errors
    /// The CA's refusal, or the way to it.
    fn ready(&mut self, task: &Task, method: Method) -> Result<(), AcmeError>;

    /// Asks how it stands, and how long the CA asks to wait before it is asked again.
    ///
    /// # Errors
    /// The CA's refusal, or the way to it.
    fn standing(&mut self) -> Result<(Standing, Option<Duration>), AcmeError>;

    /// Why names were not validated.
    ///
    /// # Errors
    /// The way to the CA.
    fn invalid(&mut self) -> Result<Vec<(String, Problem)>, AcmeError>;

    /// Hands in the request for the certificate (DER).
    ///
    /// # Errors
    /// The CA's refusal, or the way to it.
    fn finalize(&mut self, csr: &[u8]) -> Result<(), AcmeError>;

    /// Fetches the certificate with its issuers, in PEM.
    ///
    /// # Errors
    /// The CA's refusal, or the way to it.
    fn certificate(&mut self) -> Result<String, AcmeError>;
}
