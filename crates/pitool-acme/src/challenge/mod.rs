//! Answering a CA's challenges: a file for HTTP-01, a record for DNS-01.

mod hook;
mod webroot;

use pitool_host::Host;

pub use hook::DnsHook;
pub use webroot::Webroot;

use crate::authority::{Method, Task};
use crate::error::AcmeError;

/// Somebody who can put up what the CA looks for.
pub trait Solver {
    /// Which kind of challenge.
    fn method(&self) -> Method;

    /// Puts it up.
    ///
    /// # Errors
    /// [`AcmeError::Challenge`], or what the machine said.
    fn present(&self, host: &dyn Host, task: &Task) -> Result<(), AcmeError>;

    /// Waits until the CA will find it. All have been put up before: two of them may share a record's name.
    ///
    /// # Errors
    /// It does not appear.
    fn settle(&self, host: &dyn Host, tasks: &[Task]) -> Result<(), AcmeError>;

    /// Takes it down; that it does not work is no reason to fail, because the certificate is there.
    fn cleanup(&self, host: &dyn Host, task: &Task);
}
