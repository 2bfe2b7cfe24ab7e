//! Certificates on disk: generations, one link, one rename.
//!
//! ```text
//! /var/lib/pitool-acme/certificates/pi.test/
//!   000001/ cert.pem chain.pem fullchain.pem privkey.pem names/ about.json
//!   000002/ …
//!   current -> 000002
//!   state.json
//! ```
//!
//! Certificate and key go live together, because one link names their directory and a link is replaced by one rename.
//! (certbot's live/ has four links, each removed and then made: a cut between two of them leaves an nginx that does not
//! start.) What goes live is read back from the disk and checked first, certificate against key. The last three
//! generations stay.
//!
//! A generation that somebody vouches for has an empty file in `names` for each name of its certificate. The web server
//! asks for it at each request: a site is sent to HTTPS once its name has a certificate, and no file of the web server's
//! changes for that.
//!
//! It is not below /var/lib/pitool, which is root's alone and goes when the package is purged: a web server that serves
//! these files goes on without pitool, and groups may read their keys.

use pitool_host::{Access, Content, FileType, Host, Inspect, Result};
use pitool_net::certificate::{self, Certificate, CertificateError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failures;
use crate::issue::Material;
use crate::renewal::Suggestion;

/// Where everything is.
pub const ROOT: &str = "/var/lib/pitool-acme";

/// How many generations stay.
const KEPT: usize = 3;

/// Where certbot has its certificates, and programs that were set up with it look for them.
const LETSENCRYPT: &str = "/etc/letsencrypt";

/// The directory of a generation with a file for each name.
const MARKERS: &str = "names";

/// The files of a generation that programs read, as certbot calls them.
pub const FILES: [&str; 4] = ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"];

/// The certificates of this machine.
#[derive(Clone, Debug)]
pub struct Store {
    root: String,
}

impl Default for Store {
    fn default() -> Self {
        Self { root: ROOT.to_owned() }
    }
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Made here and signed by itself, so that nginx can start before there is one.
    Placeholder,
    /// A CA issued it to us.
    Issued,
    /// Copied from certbot, or from where a site of nginx has it.
    Imported,
}

/// What is known of a generation besides its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Where it comes from.
    pub source: Source,
    /// The directory of the CA; empty for a placeholder.
    #[serde(default)]
    pub directory: String,
    /// The profile that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// One certificate with its key, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number, from 1.
    pub number: u32,
    /// What is known of it.
    pub about: About,
    /// What the certificate says.
    pub certificate: Certificate,
}

/// What is remembered of a certificate between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Failures since the last success.
    pub failures: Failures,
    /// What the CA suggests, and for which certificate.
    pub suggestion: Option<(String, Suggestion)>,
    /// Deploy hooks that still have to succeed, as they are called.
    pub hooks_pending: Vec<Vec<String>>,
}

/// Why what is stored cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The machine said no.
    #[error(transparent)]
    Host(#[from] pitool_host::Error),
    /// It is damaged.
    #[error("{path} cannot be used: {source}")]
    Damaged {
        /// The generation's directory.
        path: String,
        /// How.
        source: CertificateError,
    },
    /// A file is missing.
    #[error("{0} is missing")]
    Missing(String),
}

impl Store {
    /// A store elsewhere, for tests.
    pub fn at(root: impl Into<String>) -> Self {
        Self { root: root.into() }
    }

    /// Its root.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The directory of the tokens for HTTP-01, below the root that nginx is told.
    pub fn challenges(&self) -> String {
        format!("{}/challenges/.well-known/acme-challenge", self.root)
    }

    /// The directories that there have to be, outermost first, with their modes.
    pub fn directories(&self) -> Vec<(String, u32)> {
        [
            ("", 0o755),
            ("/accounts", 0o700),
            ("/certificates", 0o755),
            ("/challenges", 0o755),
            ("/challenges/.well-known", 0o755),
            ("/challenges/.well-known/acme-challenge", 0o755),
        ]
        .map(|(path, mode)| (format!("{}{path}", self.root), mode))
        .into()
    }

    /// Makes the directories that are missing.
    ///
    /// # Errors
    /// The machine's.
    pub fn prepare(&self, host: &dyn Host) -> Result<()> {
        for (path, mode) in self.directories() {
            if host.stat(&path)?.is_none() {
                host.make_dir(&path, Access::root(mode))?;
            }
        }
        Ok(())
    }

    /// The directory of a certificate.
    pub fn directory(&self, name: &str) -> String {
        format!("{}/certificates/{name}", self.root)
    }

    /// A file of the certificate that is live, as programs read it.
    pub fn live(&self, name: &str, file: &str) -> String {
        format!("{}/current/{file}", self.directory(name))
    }

    /// The directory with a file for each name that the live certificate is good for.
    pub fn markers(&self, name: &str) -> String {
        format!("{}/current/{MARKERS}", self.directory(name))
    }

    /// Whether the live generation has its files for names.
    ///
    /// # Errors
    /// The machine's.
    pub fn marked(&self, host: &dyn Inspect, name: &str) -> Result<bool> {
        Ok(host.stat(&self.markers(name))?.is_some())
    }

    /// Gives a generation a file for each name of its certificate.
    ///
    /// # Errors
    /// The machine's.
    pub fn mark(&self, host: &dyn Host, name: &str, number: u32, certificate: &Certificate) -> Result<()> {
        let directory = format!("{}/{MARKERS}", self.generation_path(name, number));
        host.make_dir(&directory, Access::root(0o755))?;
        let plain = |name: &&String| {
            !name.starts_with('.')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte))
        };
        for name in certificate.names.iter().filter(plain) {
            host.write(&format!("{directory}/{name}"), b"", Access::root(0o644))?;
        }
        Ok(())
    }

    fn generation_path(&self, name: &str, number: u32) -> String {
        format!("{}/{number:06}", self.directory(name))
    }

    /// The names of all certificates.
    ///
    /// # Errors
    /// The machine's.
    pub fn names(&self, host: &dyn Inspect) -> Result<Vec<String>> {
        let names = host.list(&format!("{}/certificates", self.root))?.unwrap_or_default();
        Ok(names.into_iter().filter(|name| !name.starts_with('.')).collect())
    }

    /// The numbers of the generations that there are, oldest first; also of those that never went live.
    ///
    /// # Errors
    /// The machine's.
    pub fn numbers(&self, host: &dyn Inspect, name: &str) -> Result<Vec<u32>> {
        let names = host.list(&self.directory(name))?.unwrap_or_default();
        let mut numbers: Vec<u32> =
            names.iter().filter(|name| name.len() == 6).filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The number of the generation that is live.
    ///
    /// # Errors
    /// The machine's.
    pub fn current(&self, host: &dyn Inspect, name: &str) -> Result<Option<u32>> {
        let stat = host.stat(&format!("{}/current", self.directory(name)))?;
        Ok(match stat.map(|stat| stat.file_type) {
            Some(FileType::Link(target)) => target.parse().ok(),
            _ => None,
        })
    }

    /// Where a generation comes from, without checking it; `None` where it lacks a file.
    ///
    /// # Errors
    /// The machine's.
    pub fn source(&self, host: &dyn Inspect, name: &str, number: u32) -> Result<Option<Source>> {
        let path = self.generation_path(name, number);
        for file in FILES {
            if host.stat(&format!("{path}/{file}"))?.is_none() {
                return Ok(None);
            }
        }
        Ok(read::<About>(host, &format!("{path}/about.json"))?.map(|about| about.source))
    }

    /// Reads a generation and checks its certificate against its key.
    ///
    /// # Errors
    /// A file is missing, or they do not go together.
    pub fn generation(
        &self,
        host: &dyn Inspect,
        name: &str,
        number: u32,
    ) -> std::result::Result<Generation, StoreError> {
        let key = self.text(host, name, number, "privkey.pem")?;
        self.stored(host, name, number, |fullchain| certificate::pair(fullchain, &key))
    }

    /// Reads a generation without its key, as anybody may.
    ///
    /// # Errors
    /// A file is missing, or damaged.
    pub fn public(
        &self,
        host: &dyn Inspect,
        name: &str,
        number: u32,
    ) -> std::result::Result<Generation, StoreError> {
        self.stored(host, name, number, Certificate::from_pem)
    }

    fn stored(
        &self,
        host: &dyn Inspect,
        name: &str,
        number: u32,
        check: impl FnOnce(&str) -> std::result::Result<Certificate, CertificateError>,
    ) -> std::result::Result<Generation, StoreError> {
        let fullchain = self.text(host, name, number, "fullchain.pem")?;
        let certificate = check(&fullchain)
            .map_err(|source| StoreError::Damaged { path: self.generation_path(name, number), source })?;
        Ok(Generation { number, about: self.about(host, name, number)?, certificate })
    }

    fn text(
        &self,
        host: &dyn Inspect,
        name: &str,
        number: u32,
        file: &str,
    ) -> std::result::Result<String, StoreError> {
        let path = format!("{}/{file}", self.generation_path(name, number));
        let content = host.read(&path)?.ok_or(StoreError::Missing(path))?;
        Ok(content.text().unwrap_or_default().to_owned())
    }

    fn about(&self, host: &dyn Inspect, name: &str, number: u32) -> std::result::Result<About, StoreError> {
        serde_json::from_str(&self.text(host, name, number, "about.json")?).map_err(|error| {
            StoreError::Damaged {
                path: format!("{}/about.json", self.generation_path(name, number)),
                source: CertificateError::Certificate(error.to_string()),
            }
        })
    }

    /// Writes a new generation, not live yet; nothing of it counts until [`Store::activate`].
    ///
    /// # Errors
    /// Certificate and key do not go together, before anything is written; or the machine's.
    pub fn write(
        &self,
        host: &dyn Host,
        name: &str,
        material: &Material,
        about: &About,
        group: u32,
    ) -> std::result::Result<u32, StoreError> {
        let directory = self.directory(name);
        let certificate = certificate::pair(&material.fullchain, &material.key)
            .map_err(|source| StoreError::Damaged { path: directory.clone(), source })?;
        if host.stat(&directory)?.is_none() {
            host.make_dir(&directory, Access::root(0o755))?;
        }
        let number = self.numbers(host.inspect(), name)?.last().map_or(1, |last| last + 1);
        let path = self.generation_path(name, number);
        host.make_dir(&path, Access::root(0o755))?;
        if about.source != Source::Placeholder {
            self.mark(host, name, number, &certificate)?;
        }
        let (cert, chain) = split(&material.fullchain);
        let about = serde_json::to_string_pretty(about).unwrap_or_default();
        let key = Access { mode: 0o640, uid: 0, gid: group };
        let open = Access::root(0o644);
        for (file, text, access) in [
            ("privkey.pem", material.key.as_str(), key),
            ("cert.pem", cert, open),
            ("chain.pem", chain, open),
            ("fullchain.pem", material.fullchain.as_str(), open),
            ("about.json", about.as_str(), open),
        ] {
            host.write(&format!("{path}/{file}"), text.as_bytes(), access)?;
        }
        Ok(number)
    }

    /// Makes a generation live with one rename, after what the disk has of it was checked.
    ///
    /// # Errors
    /// It is damaged, and what was live stays live; or the machine's.
    pub fn activate(
        &self,
        host: &dyn Host,
        name: &str,
        number: u32,
    ) -> std::result::Result<Generation, StoreError> {
        let generation = self.generation(host.inspect(), name, number)?;
        host.link(&format!("{}/current", self.directory(name)), &format!("{number:06}"))?;
        Ok(generation)
    }

    /// Removes a generation that is not live.
    ///
    /// # Errors
    /// The machine's.
    pub fn remove(&self, host: &dyn Host, name: &str, number: u32) -> Result<()> {
        let path = self.generation_path(name, number);
        let markers = format!("{path}/{MARKERS}");
        for directory in [markers.as_str(), path.as_str()] {
            for file in host.list(directory)?.unwrap_or_default() {
                host.remove(&format!("{directory}/{file}"))?;
            }
            host.remove_dir(directory)?;
        }
        Ok(())
    }

    /// Removes all but the live one, the newest before it up to three in all, and any that never went live.
    ///
    /// # Errors
    /// The machine's.
    pub fn prune(&self, host: &dyn Host, name: &str) -> Result<()> {
        let Some(live) = self.current(host.inspect(), name)? else { return Ok(()) };
        let numbers = self.numbers(host.inspect(), name)?;
        let earlier: Vec<u32> = numbers.iter().copied().filter(|number| *number < live).collect();
        let keep = &earlier[earlier.len().saturating_sub(KEPT - 1)..];
        for number in numbers.iter().filter(|number| **number != live && !keep.contains(number)) {
            self.remove(host, name, *number)?;
        }
        Ok(())
    }

    /// What is remembered of a certificate; what cannot be read is forgotten.
    ///
    /// # Errors
    /// The machine's.
    pub fn state(&self, host: &dyn Inspect, name: &str) -> Result<State> {
        Ok(read(host, &format!("{}/state.json", self.directory(name)))?.unwrap_or_default())
    }

    /// Remembers; writes nothing where nothing is new.
    ///
    /// # Errors
    /// The machine's.
    pub fn remember(&self, host: &dyn Host, name: &str, state: &State) -> Result<()> {
        if self.state(host.inspect(), name)? == *state {
            return Ok(());
        }
        let directory = self.directory(name);
        if host.stat(&directory)?.is_none() {
            host.make_dir(&directory, Access::root(0o755))?;
        }
        let text = serde_json::to_string_pretty(state).unwrap_or_default();
        host.write(&format!("{directory}/state.json"), text.as_bytes(), Access::root(0o600))
    }

    /// Makes `/etc/letsencrypt/live/LINEAGE/*.pem` lead to what is live here, for programs that look there. What another
    /// program put there stays (`false`), unless `over` says so: an import, which has the same certificate.
    ///
    /// # Errors
    /// The machine's.
    pub fn link_letsencrypt(&self, host: &dyn Host, lineage: &str, name: &str, over: bool) -> Result<bool> {
        let live = format!("{LETSENCRYPT}/live/{lineage}");
        let mut foreign = false;
        for file in FILES {
            let there = host.stat(&format!("{live}/{file}"))?.map(|stat| stat.file_type);
            foreign |= match there {
                None => false,
                Some(FileType::Link(target)) => target != self.live(name, file),
                Some(_) => true,
            };
        }
        if foreign && !over {
            return Ok(false);
        }
        for (path, mode) in
            [(LETSENCRYPT.to_owned(), 0o755), (format!("{LETSENCRYPT}/live"), 0o755), (live.clone(), 0o755)]
        {
            if host.stat(&path)?.is_none() {
                host.make_dir(&path, Access::root(mode))?;
            }
        }
        for file in FILES {
            let (path, target) = (format!("{live}/{file}"), self.live(name, file));
            let there = host.stat(&path)?.map(|stat| stat.file_type);
            if there != Some(FileType::Link(target.clone())) {
                host.link(&path, &target)?;
            }
        }
        Ok(true)
    }

    /// Takes the links of [`Store::link_letsencrypt`] away, as far as they are ours.
    ///
    /// # Errors
    /// The machine's.
    pub fn unlink_letsencrypt(&self, host: &dyn Host, name: &str) -> Result<()> {
        let live = format!("{LETSENCRYPT}/live/{name}");
        for file in FILES {
            let path = format!("{live}/{file}");
            if host.stat(&path)?.is_some_and(|stat| stat.file_type == FileType::Link(self.live(name, file))) {
                host.remove(&path)?;
            }
        }
        for path in [live, format!("{LETSENCRYPT}/live"), LETSENCRYPT.to_owned()] {
            if host.stat(&path)?.is_some() && !host.remove_dir(&path)? {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a JSON file; `None` where there is none or it cannot be understood.
fn read<T: DeserializeOwned>(host: &dyn Inspect, path: &str) -> Result<Option<T>> {
    let content: Option<Content> = host.read(path)?;
    Ok(content.and_then(|content| serde_json::from_slice(content.bytes()).ok()))
}

/// The certificate and its issuers apart, as certbot has them in `cert.pem` and `chain.pem`.
fn split(fullchain: &str) -> (&str, &str) {
    const END: &str = "-----END CERTIFICATE-----";
    let end = fullchain.find(END).map_or(fullchain.len(), |at| at + END.len());
    let end = end + fullchain[end..].find('\n').map_or(0, |at| at + 1);
    let (cert, chain) = fullchain.split_at(end.min(fullchain.len()));
    (cert, chain.trim_start())
}
