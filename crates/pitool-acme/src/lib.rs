//! Certificates: when to renew, getting one, storing it, bringing it into use, and seeing what is served.
//!
//! [`renewal`] decides, [`issue`] gets, [`storage`] keeps, [`deploy`] brings into use and proves, [`failure`] remembers
//! what went wrong, [`renew`] puts them in order, [`unit`] has systemd do it. [`found`] finds a certificate that the machine has already,
//! [`certbot`] moves one of certbot's with its account. The kind of resource with which a role makes sure that there is
//! something to serve before there is a certificate is `Placeholder` of `pitool-resources`.
//!
//! A CA and the served certificate it reaches through `pitool-net`; DNS it asks itself, because a resolver of the system hides
//! what the CA will see. Files, programs and the clock it reaches through `pitool-host` like everybody else. Start reading at [`renewal`], then at [`renew`].

pub mod account;
pub mod authority;
pub mod certbot;
pub mod challenge;
pub mod deploy;
pub mod directory;
pub mod dns;
pub mod error;
pub mod failure;
pub mod found;
pub mod http;
pub mod instant;
pub mod issue;
pub mod obstacle;
pub mod preflight;
pub mod renew;
pub mod renewal;
pub mod rollover;
pub mod storage;
pub mod unit;

pub use error::AcmeError;
pub use storage::Store;
