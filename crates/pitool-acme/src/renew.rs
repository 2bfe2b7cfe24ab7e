//! Keeping the certificate that the config wants: look, decide, get, store, bring into use, remember.
//!
//! Everything that lasts is on disk before the next step begins, and every step can be taken again: a certificate that
//! was got and not brought into use is used by the next look, a reload that was lost is made up for, a hook that failed
//! runs again.

use jiff::{SignedDuration, Timestamp};
use pitool_host::parse::{accounts, timedatectl};
use pitool_host::{Command, Content, Host, Inspect};
use pitool_net::{Limits, trust};

use crate::account::{self, External};
use crate::authority::{Method, Request};
use crate::challenge::{DnsHook, Solver, Webroot};
use crate::deploy::{self, DeployError, Front};
use crate::directory::{Directory, rehearsal_of};
use crate::dns::Resolver;
use crate::error::AcmeError;
use crate::failure::Failure;
use crate::http::Client;
use crate::issue::{self, KeyType, Material};
use crate::preflight::Preflight;
use crate::renewal::{Decision, Lacking, Reason, Situation, Validity, Waiting, decide};
use crate::storage::{About, Generation, Source, State, Store, StoreError};

/// The certificate that the config wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is called: its first name, without `*.`.
    pub name: String,
    /// Its names.
    pub names: Vec<String>,
    /// The CA's directory.
    pub directory: String,
    /// Where to rehearse after a failure, where it is not known by itself.
    pub rehearsal: Option<String>,
    /// A file with further authorities to trust on the way to the CA.
    pub ca_file: Option<String>,
    /// Whom the CA may write to.
    pub email: Option<String>,
    /// How control over the names is shown.
    pub method: Method,
    /// The program that makes TXT records, and the one that removes them where it is another.
    pub dns_hook: Vec<String>,
    /// The latter.
    pub dns_cleanup_hook: Option<Vec<String>>,
    /// The CA's profile.
    pub profile: Option<String>,
    /// The kind of key.
    pub key_type: KeyType,
    /// The account elsewhere.
    pub external: Option<External>,
    /// The group that may read the key.
    pub group: String,
    /// What is run after a new certificate came into use.
    pub hooks: Vec<Vec<String>>,
}

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// What is due, as the timer does.
    Due,
    /// Also what failed a moment ago: a person has mended something.
    Now,
    /// Also what is not due.
    Force,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What there is.
    pub live: Option<Generation>,
    /// What happened, as sentences.
    pub done: Vec<String>,
    /// Until when and why nothing more is done; `None` right after a renewal.
    pub waiting: Option<(Timestamp, Waiting)>,
    /// Hooks that failed, which run again at the next look.
    pub hooks_failed: Vec<(Vec<String>, String)>,
}

/// Why there is no new certificate, or it is not in use.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// It was not got.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// Nor did it work where it was rehearsed after a failure; the CA itself was not asked.
    #[error("the rehearsal failed too: {0}")]
    Rehearsal(#[source] AcmeError),
    /// It was got and did not come into use.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such group.
    #[error("there is no group `{0}`, which may read the key: change `key_group` in [ssl]")]
    Group(String),
}

impl From<pitool_host::Error> for RenewError {
    fn from(error: pitool_host::Error) -> Self {
        Self::Acme(AcmeError::Machine(error))
    }
}

/// How often somebody looks: the timer's interval with its longest random delay.
pub const NEXT_LOOK: SignedDuration = SignedDuration::from_hours(12);

/// Whether somebody keeps the clock, asked of systemd. A container has the clock of its host, who has to keep it.
///
/// # Errors
/// The machine's.
pub fn clock_is_kept(host: &dyn Inspect) -> pitool_host::Result<bool> {
    if host.read("/run/systemd/container")?.is_some_and(|content| !content.bytes().is_empty()) {
        return Ok(true);
    }
    let output = host.ask(&Command::new("timedatectl").arg("show"))?;
    Ok(timedatectl::synchronized(&output.stdout) != Some(false))
}

/// One certificate at work.
pub struct Renewal<'r> {
    /// The machine.
    pub host: &'r dyn Host,
    /// Where certificates are.
    pub store: &'r Store,
    /// What is wanted.
    pub wanted: &'r Wanted,
    /// Who serves it; `None` where nobody here does.
    pub front: Option<&'r dyn Front>,
    /// Is told what is going on.
    pub tell: &'r dyn Fn(&str),
    /// Time limits towards the CA.
    pub limits: Limits,
    /// Whom to ask about names; the machine's own where there is none.
    pub resolver: Option<Resolver>,
    /// The port of HTTP-01: 80, except in tests.
    pub port: u16,
}

impl Renewal<'_> {
    /// Looks at the certificate and does what is due.
    ///
    /// # Errors
    /// What was due could not be done; it is remembered, with when it is tried again.
    pub fn run(&self, urgency: Urgency) -> Result<Outcome, RenewError> {
        let (host, store, name) = (self.host, self.store, self.wanted.name.as_str());
        store.prepare(host)?;
        let mut state = store.state(host.inspect(), name)?;
        let mut outcome = Outcome { live: None, done: Vec::new(), waiting: None, hooks_failed: Vec::new() };
        let (live, lacking) = self.stock()?;
        if let (Some(live), Some(front)) = (&live, self.front) {
            let caught_up = deploy::catch_up(host, store, front, name, live)
                .map_err(|why| DeployError::Broken(format!("what is stored is not served: {why}")));
            match caught_up {
                Ok(true) => outcome
                    .done
                    .push("nginx served an older certificate and has loaded the stored one".into()),
                Ok(false) => {}
                // A certificate that is due comes first: its deployment has the same to say.
                Err(error) if lacking.is_none() && urgency == Urgency::Due => return Err(error.into()),
                Err(_) => {}
            }
        }
        if let Some(live) = live.as_ref().filter(|live| live.about.source != Source::Placeholder) {
            self.suggestion(live, &mut state);
        }
        let decision = self.decide(urgency, live.as_ref(), lacking, &state)?;
        match decision {
            Decision::Wait { until, why } => {
                self.pending_hooks(&mut state, &mut outcome);
                store.remember(host, name, &state)?;
                outcome.live = live;
                outcome.waiting = Some((until, why));
                Ok(outcome)
            }
            Decision::Renew(reason) => match self.renew(live.as_ref(), &reason, &mut state, &mut outcome) {
                Ok(generation) => {
                    outcome.live = Some(generation);
                    Ok(outcome)
                }
                Err(error) => {
                    self.failed(&error, &mut state);
                    Err(error)
                }
            },
        }
    }

    /// What is live, and what it lacks.
    fn stock(&self) -> Result<(Option<Generation>, Option<Lacking>), RenewError> {
        let (host, store, wanted) = (self.host, self.store, self.wanted);
        let Some(number) = store.current(host.inspect(), &wanted.name)? else {
            return Ok((None, Some(Lacking::Certificate)));
        };
        let live = match store.generation(host.inspect(), &wanted.name, number) {
            Ok(live) => live,
            Err(StoreError::Host(error)) => return Err(error.into()),
            Err(error) => return Ok((None, Some(Lacking::Damaged(error.to_string())))),
        };
        let lacking = lacking(&live, wanted);
        Ok((Some(live), lacking))
    }

    fn decide(
        &self,
        urgency: Urgency,
        live: Option<&Generation>,
        lacking: Option<Lacking>,
        state: &State,
    ) -> Result<Decision, RenewError> {
        let suggestion = state
            .suggestion
            .as_ref()
            .filter(|(of, _)| live.is_some_and(|live| live.certificate.fingerprint == *of))
            .map(|(_, suggestion)| suggestion);
        let decision = decide(&Situation {
            validity: live.map(validity),
            lacking,
            suggestion,
            now: self.host.now(),
            clock_ok: clock_is_kept(self.host.inspect())?,
            next_look: NEXT_LOOK,
            not_before: state.failures.next_try.filter(|_| urgency == Urgency::Due),
        });
        Ok(match (urgency, &decision) {
            // Whatever a person says, a clock that nobody keeps is no ground to judge certificates on.
            (_, Decision::Wait { why: Waiting::Clock, .. }) => decision,
            (Urgency::Force, Decision::Wait { .. }) => Decision::Renew(Reason::Forced),
            _ => decision,
        })
    }

    /// Asks the CA when to renew, where it is time to ask. That it does not answer is no failure.
    fn suggestion(&self, live: &Generation, state: &mut State) {
        let fingerprint = &live.certificate.fingerprint;
        let known = state.suggestion.as_ref().filter(|(of, _)| of == fingerprint).map(|(_, known)| known);
        let now = self.host.now();
        if live.about.directory != self.wanted.directory || known.is_some_and(|known| known.ask_again > now) {
            return;
        }
        let asked = self.client().and_then(|client| {
            let directory = Directory::fetch(&client, &self.wanted.directory)?;
            directory.suggestion(self.host, &client, &live.certificate, known)
        });
        if let Ok(asked) = asked {
            state.suggestion = asked.map(|suggestion| (fingerprint.clone(), suggestion));
        }
    }

    fn client(&self) -> Result<Client, AcmeError> {
        let roots = trust::with_file(self.host.inspect(), self.wanted.ca_file.as_deref())?;
        Ok(Client::new(&roots, self.limits))
    }

    fn renew(
        &self,
        live: Option<&Generation>,
        reason: &Reason,
        state: &mut State,
        outcome: &mut Outcome,
    ) -> Result<Generation, RenewError> {
        let (host, store, wanted) = (self.host, self.store, self.wanted);
        let group = self.group()?;
        let number = match self.unused(live, *reason == Reason::Forced) {
            Some(number) => {
                (self.tell)("A certificate that was got before and not used is brought into use");
                number
            }
            None => {
                let (material, about) = self.get(live, reason, state)?;
                store.write(host, &wanted.name, &material, &about, group)?
            }
        };
        (self.tell)("Loading it and looking whether it is served");
        let generation = deploy::deploy(host, store, self.front, &wanted.name, number)?;
        outcome
            .done
            .push(format!("a new certificate for {} is in use, because {reason}", wanted.names.join(", ")));
        // From here on nothing is lost: what fails now is done by the next look.
        state.failures = Default::default();
        state.suggestion = None;
        state.hooks_pending = wanted.hooks.clone();
        store.remember(host, &wanted.name, state)?;
        if !store.link_letsencrypt(host, &wanted.name, &wanted.name, false)? {
            outcome.done.push(format!(
                "certbot's own files are in /etc/letsencrypt/live/{0}: `pitool cert import {0}` takes them over",
                wanted.name
            ));
        }
        store.prune(host, &wanted.name)?;
        self.pending_hooks(state, outcome);
        store.remember(host, &wanted.name, state)?;
        Ok(generation)
    }

    /// Gets a certificate from the CA.
    fn get(
        &self,
        live: Option<&Generation>,
        reason: &Reason,
        state: &mut State,
    ) -> Result<(Material, About), RenewError> {
        let (host, wanted) = (self.host, self.wanted);
        let client = self.client()?;
        (self.tell)("Looking whether the CA will find what it needs");
        let directory = Directory::fetch(&client, &wanted.directory)?;
        let resolver = match &self.resolver {
            Some(resolver) => resolver.clone(),
            None => Resolver::of(host.inspect())?,
        };
        let challenges = self.store.challenges();
        let preflight = Preflight {
            names: &wanted.names,
            method: wanted.method,
            resolver: &resolver,
            challenges: &challenges,
            store: self.store.root(),
            identities: &directory.meta.caa_identities,
            port: self.port,
        };
        let obstacles = preflight.look(host);
        let rehearsal = wanted.rehearsal.as_deref().or(rehearsal_of(&wanted.directory));
        let sure = obstacles.iter().any(|obstacle| !obstacle.doubtful);
        if sure || (!obstacles.is_empty() && rehearsal.is_none()) {
            return Err(AcmeError::Preflight(obstacles).into());
        }
        for obstacle in &obstacles {
            (self.tell)(&format!("In doubt, because the CA may find something else: {obstacle}"));
        }
        let solver: Box<dyn Solver> = match wanted.method {
            Method::Http01 => Box::new(Webroot { directory: challenges }),
            Method::Dns01 => Box::new(DnsHook::new(
                wanted.dns_hook.clone(),
                wanted.dns_cleanup_hook.clone(),
                resolver,
                wanted.names.clone(),
            )),
        };
        // `replaces` is for the same CA only, and only for a certificate that it issued.
        let replaces = live
            .filter(|live| {
                live.about.source != Source::Placeholder && live.about.directory == wanted.directory
            })
            .filter(|_| directory.renewal_info.is_some())
            .and_then(|live| live.certificate.ari_id.as_deref());
        let replaces = replaces.filter(|_| !matches!(reason, Reason::Lacking(Lacking::Names(_))));
        let in_doubt = !obstacles.is_empty();
        // With the end in sight the renewal itself is worth a failed validation.
        let again = state.failures.rehearse() && *reason != Reason::Emergency;
        if let Some(rehearsal) = rehearsal.filter(|_| in_doubt || again) {
            let why = if in_doubt { "This is in doubt" } else { "It failed before" };
            (self.tell)(&format!("{why}, so it is rehearsed at {rehearsal} first"));
            match self.order(&client, rehearsal, solver.as_ref(), None) {
                Ok(_) => {}
                Err(error) if in_doubt || error.is_validation() => return Err(RenewError::Rehearsal(error)),
                // What is out of order there says nothing of this machine.
                Err(error) => (self.tell)(&format!("The rehearsal could not be held: {}", error.whole())),
            }
        }
        (self.tell)(&format!("Asking {} for a certificate", wanted.directory));
        let issued = self.order(&client, &wanted.directory, solver.as_ref(), replaces)?;
        let about = About {
            source: Source::Issued,
            directory: wanted.directory.clone(),
            profile: wanted.profile.clone(),
        };
        Ok((issued.material, about))
    }

    fn order(
        &self,
        client: &Client,
        directory: &str,
        solver: &dyn Solver,
        replaces: Option<&str>,
    ) -> Result<issue::Issued, AcmeError> {
        let (host, wanted) = (self.host, self.wanted);
        let external = wanted.external.as_ref().filter(|_| directory == wanted.directory);
        let account = account::open(host, client, self.store, directory, wanted.email.as_deref(), external)?;
        let request = Request { names: &wanted.names, profile: wanted.profile.as_deref(), replaces };
        let issued = issue::issue(host, &account, solver, wanted.key_type, &request);
        if let Err(AcmeError::Refused(problem)) = &issued {
            account::set_aside(host, self.store, directory, problem)?;
        }
        issued
    }

    /// A generation that was got and did not come into use: a run was cut off, or the web server was broken.
    fn unused(&self, live: Option<&Generation>, forced: bool) -> Option<u32> {
        let (host, store, wanted) = (self.host, self.store, self.wanted);
        if forced {
            return None;
        }
        let now = self.host.now();
        let current = store.current(host.inspect(), &wanted.name).ok().flatten().unwrap_or(0);
        let numbers = store.numbers(host.inspect(), &wanted.name).ok()?;
        numbers.into_iter().rev().take_while(|number| *number > current).find(|number| {
            let Ok(generation) = store.generation(host.inspect(), &wanted.name, *number) else {
                return false;
            };
            let newer = live.is_none_or(|live| generation.certificate.not_after > live.certificate.not_after);
            generation.about.source == Source::Issued
                && lacking(&generation, wanted).is_none()
                && validity(&generation).due() > now
                && (newer || live.is_some_and(|live| lacking(live, wanted).is_some()))
        })
    }

    fn pending_hooks(&self, state: &mut State, outcome: &mut Outcome) {
        if state.hooks_pending.is_empty() {
            return;
        }
        (self.tell)("Running the hooks");
        let failed = deploy::hooks(self.host, &self.wanted.name, &self.wanted.names, &state.hooks_pending);
        state.hooks_pending = failed.iter().map(|(hook, _)| hook.clone()).collect();
        outcome.hooks_failed = failed;
    }

    fn failed(&self, error: &RenewError, state: &mut State) {
        let (acme, rehearsal) = match error {
            // A person stopped it.
            RenewError::Acme(AcmeError::Interrupted) => return,
            RenewError::Acme(error) => (Some(error), false),
            RenewError::Rehearsal(error) => (Some(error), true),
            RenewError::Deploy(_) | RenewError::Store(_) | RenewError::Group(_) => (None, false),
        };
        let failure = Failure {
            at: self.host.now(),
            what: acme.map_or_else(|| error.to_string(), AcmeError::whole),
            advice: acme.and_then(AcmeError::advice),
            rehearsal,
        };
        let retry_after = acme.and_then(AcmeError::retry_after);
        state.failures.record(failure, retry_after, acme.is_some_and(AcmeError::is_validation));
        // A disk that is full must not hide why.
        let _ = self.store.remember(self.host, &self.wanted.name, state);
    }

    fn group(&self) -> Result<u32, RenewError> {
        group_id(self.host.inspect(), &self.wanted.group)?
            .ok_or_else(|| RenewError::Group(self.wanted.group.clone()))
    }
}

/// The number of a group; `None` where there is no such group.
///
/// # Errors
/// The machine's.
pub fn group_id(host: &dyn Inspect, name: &str) -> pitool_host::Result<Option<u32>> {
    let content = host.read("/etc/group")?;
    let text = content.as_ref().and_then(Content::text).unwrap_or_default();
    Ok(accounts::parse("", text, "")
        .groups
        .into_iter()
        .find(|group| group.name == name)
        .map(|group| group.gid))
}

/// What a generation lacks of what is wanted.
pub fn lacking(generation: &Generation, wanted: &Wanted) -> Option<Lacking> {
    if generation.about.source == Source::Placeholder {
        return Some(Lacking::Certificate);
    }
    let names = &generation.certificate.names;
    let missing: Vec<String> = wanted.names.iter().filter(|name| !names.contains(name)).cloned().collect();
    if !missing.is_empty() {
        return Some(Lacking::Names(missing));
    }
    (generation.about.directory != wanted.directory).then_some(Lacking::Directory)
}

/// From when to when a generation is good.
pub fn validity(generation: &Generation) -> Validity {
    Validity { not_before: generation.certificate.not_before, not_after: generation.certificate.not_after }
}
