//! Taking over what certbot has: a certificate with its key, and the account, without asking for anything anew.
//!
//! certbot's own files stay where they are. Its links in `live/` are replaced one by one by links to the same certificate
//! here, so that at every moment whoever reads them finds a pair; and its `renewal/NAME.conf` gets another name, so that
//! certbot leaves the certificate alone from then on.

use pitool_host::{Access, Content, Host, Inspect};
use pitool_net::certificate;
use serde::Deserialize;

use crate::account;
use crate::error::AcmeError;
use crate::http::Client;
use crate::issue::Material;
use crate::renew::RenewError;
use crate::rollover::{self, RsaKey};
use crate::storage::{About, Generation, Source, Store};

/// A certificate as certbot keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// What certbot calls it.
    pub name: String,
    /// The directory of its CA.
    pub server: String,
    /// The account's id in certbot's tree.
    pub account: String,
    /// How certbot shows control: `webroot`, `nginx`, `standalone`, `manual`, `dns-…`.
    pub authenticator: String,
    /// The programs of `manual`: for the record, and for its removal.
    pub hooks: (Option<String>, Option<String>),
    /// The names of the certificate.
    pub names: Vec<String>,
}

/// The tree of certbot.
#[derive(Clone, Debug)]
pub struct Certbot {
    root: String,
}

/// What is added to the name of a renewal file that certbot is to leave alone.
const TAKEN: &str = ".taken-over-by-pitool";

impl Certbot {
    /// A tree at this directory, usually /etc/letsencrypt.
    pub fn at(root: impl Into<String>) -> Self {
        Self { root: root.into().trim_end_matches('/').to_owned() }
    }

    /// The certificates that certbot looks after.
    ///
    /// # Errors
    /// A file that cannot be read, or a certificate that is damaged.
    pub fn lineages(&self, host: &dyn Inspect) -> Result<Vec<Lineage>, AcmeError> {
        let mut found = Vec::new();
        for file in host.list(&format!("{}/renewal", self.root))?.unwrap_or_default() {
            let Some(name) = file.strip_suffix(".conf") else { continue };
            let content = host.read(&format!("{}/renewal/{file}", self.root))?;
            let text = content.as_ref().and_then(Content::text).unwrap_or_default();
            let fullchain = self.text(host, name, "fullchain.pem")?;
            let certificate = certificate::Certificate::from_pem(&fullchain)?;
            found.push(lineage(name, text, certificate.names));
        }
        Ok(found)
    }

    fn text(&self, host: &dyn Inspect, lineage: &str, file: &str) -> Result<String, AcmeError> {
        let path = format!("{}/live/{lineage}/{file}", self.root);
        let content = host.read(&path)?.ok_or_else(|| AcmeError::Key(format!("{path} is missing")))?;
        Ok(content.text().unwrap_or_default().to_owned())
    }

    /// Takes a certificate into the store and makes certbot's links lead there. Done twice, it changes nothing.
    ///
    /// # Errors
    /// It cannot be used as it is, and nothing was changed; or the machine's.
    pub fn take_certificate(
        &self,
        host: &dyn Host,
        store: &Store,
        lineage: &Lineage,
        name: &str,
        group: u32,
    ) -> Result<Generation, RenewError> {
        let material = Material {
            fullchain: self.text(host.inspect(), &lineage.name, "fullchain.pem")?,
            key: self.text(host.inspect(), &lineage.name, "privkey.pem")?,
        };
        let read = certificate::pair(&material.fullchain, &material.key).map_err(AcmeError::from)?;
        store.prepare(host)?;
        let live = match store.current(host.inspect(), name)? {
            Some(number) => store.generation(host.inspect(), name, number).ok(),
            None => None,
        };
        let generation = match live.filter(|live| live.certificate.fingerprint == read.fingerprint) {
            Some(live) => live,
            None => {
                let about =
                    About { source: Source::Imported, directory: lineage.server.clone(), profile: None };
                let number = store.write(host, name, &material, &about, group)?;
                let generation = store.activate(host, name, number)?;
                store.prune(host, name)?;
                generation
            }
        };
        store.link_letsencrypt(host, &lineage.name, name, true)?;
        Ok(generation)
    }

    /// Has certbot leave a certificate alone.
    ///
    /// # Errors
    /// The machine's.
    pub fn let_go(&self, host: &dyn Host, lineage: &Lineage) -> Result<(), AcmeError> {
        let path = format!("{}/renewal/{}.conf", self.root, lineage.name);
        if let Some(content) = host.read(&path)? {
            host.write(&format!("{path}{TAKEN}"), content.bytes(), Access::root(0o644))?;
            host.remove(&path)?;
        }
        Ok(())
    }

    /// Takes over the account of a certificate; in words what came of it. certbot's accounts have RSA keys, ours have
    /// P-256: so the CA is asked to change the key (RFC 8555 section 7.3.5), and certbot cannot use the account any more.
    ///
    /// # Errors
    /// It was not taken over. Nothing is lost: the next renewal makes an account.
    pub fn take_account(
        &self,
        host: &dyn Host,
        client: &Client,
        store: &Store,
        lineage: &Lineage,
        others: &[Lineage],
    ) -> Result<String, AcmeError> {
        if host.stat(&account::path(store, &lineage.server))?.is_some() {
            return Ok("there is an account at this CA already, which goes on being used".into());
        }
        if let Some(other) =
            others.iter().find(|other| other.account == lineage.account && other.name != lineage.name)
        {
            return Ok(format!(
                "certbot goes on using its account for {}, so the next renewal makes another one",
                other.name
            ));
        }
        let place =
            lineage.server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        let directory = format!("{}/accounts/{place}/{}", self.root, lineage.account);
        let read = |file: &str| -> Result<Content, AcmeError> {
            let path = format!("{directory}/{file}");
            host.read(&path)?.ok_or_else(|| AcmeError::Key(format!("{path} is missing")))
        };
        let registration: Registration = serde_json::from_slice(read("regr.json")?.bytes())
            .map_err(|error| AcmeError::Key(format!("{directory}/regr.json cannot be read: {error}")))?;
        let key = RsaKey::from_jwk(read("private_key.json")?.bytes())?;
        rollover::change_key(host, client, store, &lineage.server, &registration.uri, &key)?;
        Ok("the account is taken over, with a key of its own".into())
    }
}

#[derive(Deserialize)]
struct Registration {
    uri: String,
}

/// The directory of the CA that certbot renews a certificate at; `None` where certbot does not look after it.
pub(crate) fn server(host: &dyn Inspect, name: &str) -> Option<String> {
    let content = host.read(&format!("/etc/letsencrypt/renewal/{name}.conf")).ok()??;
    Some(lineage(name, content.text()?, Vec::new()).server)
}

/// Reads a file of renewal/: `key = value` lines below `[renewalparams]`, and some above.
fn lineage(name: &str, text: &str, names: Vec<String>) -> Lineage {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.split_once('=')?;
            (found.trim() == key)
                .then(|| value.trim().to_owned())
                .filter(|value| !value.is_empty() && value != "None")
        })
    };
    Lineage {
        name: name.to_owned(),
        server: value("server").unwrap_or_else(|| crate::directory::LETS_ENCRYPT.to_owned()),
        account: value("account").unwrap_or_default(),
        authenticator: value("authenticator").unwrap_or_default(),
        hooks: (value("manual_auth_hook"), value("manual_cleanup_hook")),
        names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_file_as_certbot_writes_it() {
        let text = "# renew_before_expiry = 30 days\nversion = 4.0.0\narchive_dir = /etc/letsencrypt/archive/a.test\n\
                    cert = /etc/letsencrypt/live/a.test/cert.pem\n\n# Options used in the renewal process\n\
                    [renewalparams]\naccount = 0123abcd\nauthenticator = manual\n\
                    server = https://acme-v02.api.letsencrypt.org/directory\nkey_type = ecdsa\n\
                    manual_auth_hook = /root/auth.sh\nmanual_cleanup_hook = None\n";
        let read = lineage("a.test", text, vec!["a.test".into()]);
        assert_eq!(read.account, "0123abcd");
        assert_eq!(read.authenticator, "manual");
        assert_eq!(read.server, crate::directory::LETS_ENCRYPT);
        assert_eq!(read.hooks, (Some("/root/auth.sh".into()), None));
    }
}
