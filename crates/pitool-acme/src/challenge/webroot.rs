//! HTTP-01: a file that nginx hands out on port 80, for every name, known or not (snippet `pitool-acme`).

use pitool_host::{Access, Host};

use super::Solver;
use crate::authority::{Method, Task};
use crate::error::AcmeError;

/// Where nginx looks for the files.
#[derive(Clone, Debug)]
pub struct Webroot {
    /// The directory of the tokens, `…/.well-known/acme-challenge`.
    pub directory: String,
}

impl Webroot {
    /// The file of a token. A token is base64url (RFC 8555 section 8.3); anything else could name another path.
    fn path(&self, task: &Task) -> Result<String, AcmeError> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if task.token.is_empty() || task.token.len() > 200 || !task.token.chars().all(good) {
            return Err(AcmeError::Protocol("a token that is not base64url".into()));
        }
        Ok(format!("{}/{}", self.directory, task.token))
    }
}

impl Solver for Webroot {
    fn method(&self) -> Method {
        Method::Http01
    }

    fn present(&self, host: &dyn Host, task: &Task) -> Result<(), AcmeError> {
        let path = self.path(task)?;
        host.write(&path, task.key_authorization.as_bytes(), Access::root(0o644))?;
        Ok(())
    }

    fn settle(&self, _host: &dyn Host, _tasks: &[Task]) -> Result<(), AcmeError> {
        // nginx reads files anew for each request, and that it does has been looked at before (preflight).
        Ok(())
    }

    fn cleanup(&self, host: &dyn Host, task: &Task) {
        if let Ok(path) = self.path(task) {
            // A token that stays is of no use to anybody.
            let _ = host.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_no_path() {
        let webroot = Webroot { directory: "/srv".into() };
        let task = |token: &str| Task {
            name: "a.test".into(),
            wildcard: false,
            authorization: String::new(),
            token: token.into(),
            key_authorization: String::new(),
            dns_value: String::new(),
        };
        assert_eq!(webroot.path(&task("aB3-_")).unwrap(), "/srv/aB3-_");
        for bad in ["", "../x", "a/b", "a.b", "a\0", &"a".repeat(201)] {
            assert!(webroot.path(&task(bad)).is_err(), "{bad:?}");
        }
    }
}
