//! Bringing a stored certificate into use, and proving that it is: checked, loaded, served, or taken back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pitool_host::parse::proc_pid_stat;
use pitool_host::{ActiveState, Command, Content, Host, Inspect};
use pitool_net::served;

use crate::storage::{Generation, Store, StoreError};

/// Whoever serves the certificate.
pub trait Front {
    /// Whether it runs; where it does not, there is nothing to load and to prove.
    ///
    /// # Errors
    /// In words.
    fn runs(&self, host: &dyn Host) -> Result<bool, String>;

    /// Whether it would start with what is there.
    ///
    /// # Errors
    /// Its own words.
    fn check(&self, host: &dyn Host) -> Result<(), String>;

    /// Has it load what is there, without a lost connection. Returns when what had the old takes no connections any more,
    /// or does not let go within [`PATIENCE`].
    ///
    /// # Errors
    /// Its own words.
    fn reload(&self, host: &dyn Host) -> Result<(), String>;

    /// The fingerprint of the certificate that it serves under a name.
    ///
    /// # Errors
    /// In words.
    fn serves(&self, name: &str) -> Result<String, String>;
}

/// nginx on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Nginx {
    /// Where it listens for TLS.
    pub address: SocketAddr,
}

impl Default for Nginx {
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443) }
    }
}

impl Front for Nginx {
    fn runs(&self, host: &dyn Host) -> Result<bool, String> {
        let units = host.units(&["nginx.service"]).map_err(|error| error.to_string())?;
        Ok(units.first().is_some_and(|unit| unit.active == ActiveState::Active))
    }

    fn check(&self, host: &dyn Host) -> Result<(), String> {
        let output = host
            .ask(&Command::new("/usr/sbin/nginx").args(["-t", "-q"]))
            .map_err(|error| error.to_string())?;
        if output.ok() { Ok(()) } else { Err(format!("`nginx -t` refuses it:\n{}", output.tail())) }
    }

    fn reload(&self, host: &dyn Host) -> Result<(), String> {
        let earlier = workers(host.inspect());
        // Never a restart: a reload keeps the connections, and nginx keeps what it has if it cannot load the new.
        host.run(&Command::new("systemctl").args(["reload", "nginx.service"]))
            .map_err(|error| error.to_string())?;
        // The new workers take connections beside the old ones before those are told to go, 100 ms later on an idle
        // machine: who asks in between is answered by either.
        let mut waited = Duration::ZERO;
        while waited < PATIENCE && workers(host.inspect()).iter().any(|worker| earlier.contains(worker)) {
            host.sleep(PAUSE);
            waited += PAUSE;
        }
        Ok(())
    }

    fn serves(&self, name: &str) -> Result<String, String> {
        let served = served::handshake(self.address, name, &[]).map_err(|error| error.to_string())?;
        Ok(served.certificate.fingerprint)
    }
}

/// The process numbers of nginx's workers that take connections; none where that cannot be seen.
fn workers(host: &dyn Inspect) -> Vec<String> {
    let read = |path: &str| host.read(path).ok().flatten();
    let Some(master) = read("/run/nginx.pid") else { return Vec::new() };
    let master = master.text().unwrap_or_default().trim();
    let works = |process: &String| {
        let title = read(&format!("/proc/{process}/cmdline"));
        let title = title.as_ref().and_then(Content::text).unwrap_or_default();
        // Its title says so when a worker has been told to go: "nginx: worker process is shutting down".
        title.trim_end_matches(['\0', ' ']) == "nginx: worker process"
            // Those in containers are another's.
            && read(&format!("/proc/{process}/stat"))
                .as_ref()
                .and_then(Content::text)
                .and_then(|stat| proc_pid_stat::field(stat, proc_pid_stat::PPID))
                .is_some_and(|parent| parent == master)
    };
    let processes = host.list("/proc").ok().flatten().unwrap_or_default();
    let processes = processes.into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    processes.filter(works).collect()
}

/// Why a certificate did not come into use.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// It cannot be used, and nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The web server's configuration was broken before.
    #[error("nginx would not load any certificate, because its configuration is broken: {0}")]
    Broken(String),
    /// It was taken back.
    #[error("the new certificate is not in use: {why}; {}", .back.as_ref().map_or_else(
        || "the one before it is served again".to_owned(),
        |error| format!("and going back to the one before did not work either: {error}")))]
    TakenBack {
        /// Why.
        why: String,
        /// Why going back failed; `None` where it did not.
        back: Option<String>,
    },
}

/// The new workers of nginx take over within a moment, on a busy Pi within seconds.
pub const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// A name to ask for where a certificate is good for all of its kind.
fn example(name: &str) -> String {
    name.replacen('*', "pitool", 1)
}

/// Brings a stored generation into use.
///
/// Every name under which the one before was served has to show the new one, and at least one name has to. A name that
/// no site has yet, or another site with a certificate of its own, is no reason to go without: `cert status` tells.
///
/// # Errors
/// It did not come into use, and what was there before is there again.
pub fn deploy(
    host: &dyn Host,
    store: &Store,
    front: Option<&dyn Front>,
    name: &str,
    number: u32,
) -> Result<Generation, DeployError> {
    let before = store.current(host.inspect(), name).map_err(StoreError::from)?;
    // Read before anything else, so that a damaged one costs nothing.
    let generation = store.generation(host.inspect(), name, number)?;
    let front = match front {
        Some(front) if front.runs(host).map_err(DeployError::Broken)? => front,
        _ => return Ok(store.activate(host, name, number)?),
    };
    // A pair that was damaged is itself what the web server refuses, and what comes is the remedy.
    let sound = before.is_none_or(|before| store.generation(host.inspect(), name, before).is_ok());
    if sound {
        front.check(host).map_err(DeployError::Broken)?;
    }
    let ours = fingerprints(host, store, name);
    let names = served(front, &generation, |fingerprint| ours.iter().any(|own| own == fingerprint));
    store.activate(host, name, number)?;
    let Err(why) = load(host, front, &generation, &names) else { return Ok(generation) };
    let Some(before) = before.filter(|before| *before != number) else {
        return Err(DeployError::TakenBack { why, back: Some("there is none before it".into()) });
    };
    let back = match store.activate(host, name, before) {
        Ok(earlier) => load(host, front, &earlier, &names).err(),
        Err(error) => Some(error.to_string()),
    };
    Err(DeployError::TakenBack { why, back })
}

/// Has what is live loaded where an earlier one is served, or it is served nowhere: a reload that was lost.
///
/// # Errors
/// It is not served in the end.
pub fn catch_up(
    host: &dyn Host,
    store: &Store,
    front: &dyn Front,
    name: &str,
    live: &Generation,
) -> Result<bool, String> {
    if !front.runs(host)? {
        return Ok(false);
    }
    let ours = fingerprints(host, store, name);
    let current = &live.certificate.fingerprint;
    let behind = served(front, live, |fingerprint| {
        fingerprint != current && ours.iter().any(|own| own == fingerprint)
    });
    if behind.is_empty() && !served(front, live, |fingerprint| fingerprint == current).is_empty() {
        return Ok(false);
    }
    load(host, front, live, &behind)?;
    Ok(true)
}

/// The fingerprints of every generation that can be read.
fn fingerprints(host: &dyn Host, store: &Store, name: &str) -> Vec<String> {
    let numbers = store.numbers(host.inspect(), name).unwrap_or_default();
    let generations =
        numbers.into_iter().filter_map(|number| store.public(host.inspect(), name, number).ok());
    generations.map(|generation| generation.certificate.fingerprint).collect()
}

/// The names under which such a certificate is served.
fn served(front: &dyn Front, generation: &Generation, wanted: impl Fn(&String) -> bool) -> Vec<String> {
    let names = generation.certificate.names.iter();
    names.filter(|name| front.serves(&example(name)).is_ok_and(|found| wanted(&found))).cloned().collect()
}

/// Checks, reloads, and asks until the certificate is served under these names, or any where there are none; once more
/// with a second reload.
fn load(host: &dyn Host, front: &dyn Front, live: &Generation, names: &[String]) -> Result<(), String> {
    front.check(host)?;
    let mut last = String::new();
    for _ in 0..2 {
        front.reload(host)?;
        let mut waited = Duration::ZERO;
        loop {
            match missing(front, live, names) {
                None => return Ok(()),
                Some(why) => last = why,
            }
            if waited >= PATIENCE {
                break;
            }
            host.sleep(PAUSE);
            waited += PAUSE;
        }
    }
    Err(last)
}

/// Why the certificate is not served as it should be; `None` where it is.
fn missing(front: &dyn Front, live: &Generation, names: &[String]) -> Option<String> {
    let ask = |name: &String| match front.serves(&example(name)) {
        Ok(found) if found == live.certificate.fingerprint => None,
        Ok(_) => {
            Some(format!("under {name} another certificate is served; does another site have that name?"))
        }
        Err(why) => Some(format!("under {name}: {why}")),
    };
    if !names.is_empty() {
        return names.iter().find_map(ask);
    }
    let mut answers = live.certificate.names.iter().map(ask);
    let first = answers.next().flatten()?;
    if answers.any(|answer| answer.is_none()) { None } else { Some(first) }
}

/// A hook may take so long.
const HOOK_LIMIT: Duration = Duration::from_secs(120);

/// Runs hooks with certbot's variables; returns those that did not succeed, each with why.
pub fn hooks(
    host: &dyn Host,
    name: &str,
    names: &[String],
    hooks: &[Vec<String>],
) -> Vec<(Vec<String>, String)> {
    let mut failed = Vec::new();
    for hook in hooks {
        let Some((program, args)) = hook.split_first() else { continue };
        let command = Command::new(program)
            .args(args.iter().cloned())
            .env("RENEWED_LINEAGE", format!("/etc/letsencrypt/live/{name}"))
            .env("RENEWED_DOMAINS", names.join(" "))
            .timeout(HOOK_LIMIT);
        if let Err(error) = host.run(&command) {
            failed.push((hook.clone(), error.to_string()));
        }
    }
    failed
}
