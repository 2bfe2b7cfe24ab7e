//! Certificates, and how the web server speaks TLS.

use serde::{Deserialize, Serialize};

use crate::values::{AbsolutePath, Argument, Duration, KeyId, MailAddress, ServerName, Url, UserName, Word};

/// Certificates from a certificate authority (CA) by ACME, and how the web server speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Ssl {
    /// The names of this machine's certificate. The sites of apps with these names are served over HTTPS. Where the list
    /// is empty, there is no certificate and no HTTPS. `*.` before a name is every name below it, for which `challenge`
    /// must be `"dns-01"`.
    #[cfg_attr(test, schemars(example = serde_json::json!(["app.example.org"])))]
    pub domains: Vec<ServerName>,
    /// Where the CA may write to. Let's Encrypt does not write any more; others do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "admin@example.org"))]
    pub email: Option<MailAddress>,
    /// The ACME directory of the CA. Its terms of service are agreed to with the first certificate.
    pub directory: Url,
    /// Another directory of that CA, at which it is rehearsed after a failure, so that tries do not use up its limits.
    /// Let's Encrypt's own for that where unset and `directory` is Let's Encrypt's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "https://acme-staging-v02.api.letsencrypt.org/directory"))]
    pub rehearsal_directory: Option<Url>,
    /// Further authorities (PEM) that are trusted on the way to the directory, for a CA of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/ssl/my-ca.pem"))]
    pub ca_file: Option<AbsolutePath>,
    /// How the CA is shown that the names are this machine's.
    pub challenge: Challenge,
    /// For `"dns-01"`: the program that makes and removes the TXT record, with its first arguments. It is called as lego's
    /// `exec` provider and certbot's manual hooks call theirs.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/usr/local/bin/dns-record"])))]
    pub dns_hook: Vec<Argument>,
    /// The program that removes the record, where it is another.
    #[cfg_attr(test, schemars(example = serde_json::json!(["/usr/local/bin/dns-record-cleanup"])))]
    pub dns_cleanup_hook: Vec<Argument>,
    /// The profile of the CA, such as `"tlsserver"` or `"shortlived"` of Let's Encrypt. The CA's own choice where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = &"tlsserver"))]
    pub profile: Option<Word>,
    /// The kind of the certificate's key.
    pub key_type: KeyType,
    /// The group that may read the key, for other programs than the web server.
    pub key_group: UserName,
    /// The id of an account elsewhere that the CA wants (external account binding).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = &"kid-1"))]
    pub eab_kid: Option<KeyId>,
    /// The file with the key of that account, as the CA gave it (base64url).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/etc/pitool/eab-hmac"))]
    pub eab_hmac_file: Option<AbsolutePath>,
    /// Programs with their arguments that are run after a new certificate came into use, with certbot's variables. One that
    /// fails is run again later.
    #[cfg_attr(test, schemars(example = serde_json::json!([["systemctl", "reload", "dovecot.service"]])))]
    pub deploy_hooks: Vec<Vec<Argument>>,
    /// How long before its end `pitool cert status` warns of a certificate that lives long. For every certificate it
    /// warns at a third of its lifetime.
    pub warning: Duration,
    /// Which clients are served, by Mozilla's guideline.
    pub tls: Tls,
    /// Whether browsers are told to come by HTTPS only (HSTS).
    pub hsts: bool,
    /// For how long they remember that.
    pub hsts_max_age: Duration,
    /// Whether they remember that of every name below, too.
    pub hsts_subdomains: bool,
    /// Whether browsers may ship the name in their lists, which is hard to take back.
    pub hsts_preload: bool,
}

impl Ssl {
    /// What the certificate is called: its first name, without `*.`.
    pub fn name(&self) -> Option<&str> {
        self.domains.first().map(|name| name.as_str().trim_start_matches("*."))
    }

    /// Whether a name of a site is one of the certificate's, or below one of its wildcards.
    pub fn covers(&self, name: &ServerName) -> bool {
        self.domains.iter().any(|own| {
            own == name
                || own.as_str().strip_prefix("*.").is_some_and(|parent| {
                    name.as_str().split_once('.').is_some_and(|(label, rest)| label != "*" && rest == parent)
                })
        })
    }
}

impl Default for Ssl {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            email: None,
            directory: Url::lets_encrypt(),
            rehearsal_directory: None,
            ca_file: None,
            challenge: Challenge::default(),
            dns_hook: Vec::new(),
            dns_cleanup_hook: Vec::new(),
            profile: None,
            key_type: KeyType::default(),
            key_group: UserName::root(),
            eab_kid: None,
            eab_hmac_file: None,
            deploy_hooks: Vec::new(),
            warning: Duration::from_days(30),
            tls: Tls::default(),
            hsts: true,
            hsts_max_age: Duration::from_days(180),
            hsts_subdomains: false,
            hsts_preload: false,
        }
    }
}

/// How a CA is shown that names are this machine's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(inline))]
pub enum Challenge {
    /// By a file that the web server hands out on port 80, which the CA must be able to reach.
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// By a TXT record that `dns_hook` makes. For machines that the CA cannot reach, and for wildcards.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// The kind of a certificate's key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(inline))]
pub enum KeyType {
    /// ECDSA on P-256: small and quick, understood by everything of the last ten years.
    #[default]
    #[serde(rename = "p256")]
    P256,
    /// ECDSA on P-384.
    #[serde(rename = "p384")]
    P384,
    /// RSA with 2048 bits, for very old clients.
    #[serde(rename = "rsa2048")]
    Rsa2048,
    /// RSA with 4096 bits.
    #[serde(rename = "rsa4096")]
    Rsa4096,
}

/// Which clients are served, by Mozilla's guideline 6.0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, schemars(inline))]
pub enum Tls {
    /// TLS 1.2 and 1.3: nearly everything.
    #[default]
    Intermediate,
    /// TLS 1.3 only.
    Modern,
}
