//! `pitool cert`: this machine's certificate.

mod import;
mod renew;
mod status;
mod wanted;

use crate::cli::Cert;
use crate::failure::Result;
use crate::session::Session;
use pitool_acme::renew::Urgency;

pub(crate) use renew::after_apply;

/// Runs one of the commands.
pub(crate) fn run(session: &Session<'_, '_>, command: &Cert) -> Result<u8> {
    match command {
        Cert::Issue => renew::run(session, "issue", Urgency::Now),
        Cert::Renew { force: false } => renew::run(session, "renew", Urgency::Due),
        Cert::Renew { force: true } => renew::run(session, "renew", Urgency::Force),
        Cert::Status { hosts } => status::run(session, hosts),
        Cert::List => status::list(session),
        Cert::Import { name, from } => import::run(session, name.as_deref(), from),
    }
}
