//! Everything that leaves the machine by HTTP or TLS goes through here.
//!
//! [`client`] makes requests with limits of time and size, [`trust`] says which authorities count, [`tls`] has the settings
//! of connections that are not HTTP (mail), [`served`] sees which certificate a server serves, and [`certificate`] reads
//! one. It knows no config, and no protocol above HTTP: what an answer means is its caller's.

pub mod certificate;
pub mod client;
pub mod served;
pub mod tls;
pub mod trust;

pub use certificate::Certificate;
pub use client::{Client, Error, Incoming, Limits};
