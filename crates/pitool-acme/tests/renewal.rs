//! The whole way of a certificate on a simulated machine, with a CA in this process: renewal, faults, power cuts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::disallowed_methods, reason = "the CA and the name server of the tests have their own time")]

mod mock;

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mock::{Ca, Fault, name_server, problem};
use pitool_acme::authority::Method;
use pitool_acme::deploy::{DeployError, Front};
use pitool_acme::dns::Resolver;
use pitool_acme::error::{AcmeError, HttpError};
use pitool_acme::failure::Failures;
use pitool_acme::issue::KeyType;
use pitool_acme::renew::{Outcome, RenewError, Renewal, Urgency, Wanted};
use pitool_acme::renewal::Waiting;
use pitool_acme::storage::{Source, State, Store};
use pitool_host::{Access, Content, Host, Inspect, Output};
use pitool_net::Limits;
use pitool_net::certificate;
use pitool_sim::{Cut, Sim};

const NAME: &str = "pi.test";

/// A web server of the simulated machine: it has in memory what it loaded last.
struct Server<'s> {
    sim: &'s Sim,
    loaded: RefCell<Option<String>>,
    /// What its configuration check says, where that is not "good".
    broken: RefCell<Option<String>>,
    /// It says that it reloaded and goes on with what it had.
    deaf: RefCell<bool>,
    reloads: RefCell<usize>,
}

impl<'s> Server<'s> {
    fn new(sim: &'s Sim) -> Self {
        let server = Self {
            sim,
            loaded: RefCell::new(None),
            broken: RefCell::new(None),
            deaf: RefCell::new(false),
            reloads: RefCell::new(0),
        };
        let _ = server.start();
        server
    }

    /// Reads certificate and key as nginx does when it starts; fails where they do not go together.
    fn start(&self) -> Result<(), String> {
        *self.loaded.borrow_mut() = Some(self.pair()?);
        Ok(())
    }

    fn pair(&self) -> Result<String, String> {
        let store = Store::default();
        let read = |file: &str| {
            let content = self.sim.read(&store.live(NAME, file)).ok().flatten();
            content.as_ref().and_then(Content::text).unwrap_or_default().to_owned()
        };
        let pair = certificate::pair(&read("fullchain.pem"), &read("privkey.pem"));
        pair.map(|pair| pair.fingerprint).map_err(|error| error.to_string())
    }
}

impl Front for Server<'_> {
    fn runs(&self, _host: &dyn Host) -> Result<bool, String> {
        Ok(self.loaded.borrow().is_some())
    }

    fn check(&self, _host: &dyn Host) -> Result<(), String> {
        self.broken.borrow().clone().map_or_else(|| self.pair().map(drop), Err)
    }

    fn reload(&self, _host: &dyn Host) -> Result<(), String> {
        *self.reloads.borrow_mut() += 1;
        if *self.deaf.borrow() { Ok(()) } else { self.start() }
    }

    fn serves(&self, _name: &str) -> Result<String, String> {
        self.loaded.borrow().clone().ok_or_else(|| "nobody answers".to_owned())
    }
}

fn wanted(ca: &Ca) -> Wanted {
    Wanted {
        name: NAME.into(),
        names: vec![NAME.into()],
        directory: ca.directory(),
        rehearsal: None,
        ca_file: None,
        email: None,
        method: Method::Dns01,
        dns_hook: vec!["/usr/local/bin/dns".into()],
        dns_cleanup_hook: None,
        profile: None,
        key_type: KeyType::EcP256,
        external: None,
        group: "root".into(),
        hooks: vec![],
    }
}

fn machine() -> Sim {
    let sim = Sim::debian(13);
    sim.arrange().put_dir("/etc/ssl/certs").put("/etc/ssl/certs/ca-certificates.crt", ROOT);
    sim.answer("timedatectl show", Output { stdout: "NTPSynchronized=yes\n".into(), ..Output::default() });
    sim.answer("/usr/local/bin/dns", Output::default());
    sim
}

/// Some authority, so that the machine trusts somebody; the CA of the tests speaks without TLS.
const ROOT: &str = include_str!("root.pem");

fn run(sim: &Sim, server: &Server<'_>, wanted: &Wanted, urgency: Urgency) -> Result<Outcome, RenewError> {
    with_names(sim, server, wanted, urgency, Resolver::new(vec![name_server(None, None)]))
}

fn with_names(
    sim: &Sim,
    server: &Server<'_>,
    wanted: &Wanted,
    urgency: Urgency,
    resolver: Resolver,
) -> Result<Outcome, RenewError> {
    Renewal {
        host: sim,
        store: &Store::default(),
        wanted,
        front: Some(server),
        tell: &|_| {},
        limits: Limits {
            connect: Duration::from_millis(500),
            whole: Some(Duration::from_millis(1500)),
            ..Limits::default()
        },
        resolver: Some(resolver),
        port: 80,
    }
    .run(urgency)
}

fn state(sim: &Sim) -> State {
    Store::default().state(sim, NAME).unwrap()
}

/// How long after the last failure it is tried again.
fn patience(failures: &Failures) -> SignedDuration {
    failures.next_try.unwrap().duration_since(failures.last.as_ref().unwrap().at)
}

fn pass(sim: &Sim, hours: i64) {
    sim.arrange().clock += SignedDuration::from_hours(hours);
}

fn live(sim: &Sim) -> pitool_acme::storage::Generation {
    let store = Store::default();
    store.generation(sim, NAME, store.current(sim, NAME).unwrap().unwrap()).unwrap()
}

#[test]
fn issued_once_and_renewed_when_a_third_is_left() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let first = live(&sim);
    assert_eq!(
        (first.about.source, first.certificate.names.as_slice()),
        (Source::Issued, &[NAME.to_owned()][..])
    );
    let key = sim.stat(&format!("{}/000001/privkey.pem", Store::default().directory(NAME))).unwrap().unwrap();
    assert_eq!(key.access, Access { mode: 0o640, uid: 0, gid: 0 });

    let before = sim.mutations();
    let again = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert!(matches!(again.waiting, Some((_, Waiting::Fraction))), "{again:?}");
    // Preflight and orders come only when something is due.
    assert_eq!((ca.count("/order"), sim.mutations() - before), (1, 0), "a second look writes nothing");

    pass(&sim, 61 * 24);
    ca.inner().now = sim.now();
    let renewed = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert!(renewed.done.iter().any(|words| words.contains("a third of its lifetime")), "{renewed:?}");
    let second = live(&sim);
    assert_ne!(second.certificate.fingerprint, first.certificate.fingerprint);
    assert_eq!(server.loaded.borrow().as_ref(), Some(&second.certificate.fingerprint));
    assert_eq!(
        ca.last("/order")["replaces"],
        first.certificate.ari_id.unwrap(),
        "the order replaces the old one"
    );
    assert_eq!(ca.count("/account"), 1, "the account is used again");
    for _ in 0..4 {
        run(&sim, &server, &wanted, Urgency::Force).unwrap();
    }
    assert_eq!(Store::default().numbers(&sim, NAME).unwrap(), [4, 5, 6], "three generations stay");
}

#[test]
fn the_cas_suggestion_is_asked_kept_and_followed() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let day = |days: i64| sim.now().checked_add(SignedDuration::from_hours(24 * days)).unwrap();
    ca.inner().window = Some((day(70), day(71)));
    let waiting = run(&sim, &server, &wanted, Urgency::Due).unwrap().waiting.unwrap();
    assert_eq!(waiting.1, Waiting::Suggested);
    assert!(waiting.0 >= day(70) && waiting.0 < day(71));
    let asked = ca.count("/renewal/");
    let again = run(&sim, &server, &wanted, Urgency::Due).unwrap().waiting.unwrap();
    assert_eq!(
        (again, ca.count("/renewal/")),
        (waiting, asked),
        "the moment stays, and the CA is left alone"
    );
    // The CA revokes: the window is in the past, long before a third is left.
    pass(&sim, 24);
    ca.inner().window = Some((day(-2), day(-1)));
    ca.inner().explanation = Some("https://ca.test/incident".into());
    let renewed = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert!(renewed.done.iter().any(|words| words.contains("the CA suggests it")), "{renewed:?}");
    // A CA that cannot say is no reason to do anything.
    pass(&sim, 24);
    ca.fail("/renewal/", Fault::Answer(500, vec![], "oops".into()));
    assert!(run(&sim, &server, &wanted, Urgency::Due).unwrap().waiting.is_some());
    // Nor is one that is away.
    pass(&sim, 24);
    ca.fail("/dir", Fault::Close);
    ca.fail("/dir", Fault::Close);
    assert!(run(&sim, &server, &wanted, Urgency::Due).unwrap().waiting.is_some());
}

#[test]
fn what_was_replaced_already_is_ordered_without_the_claim() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let id = live(&sim).certificate.ari_id.unwrap();
    ca.inner().replaced.insert(id);
    run(&sim, &server, &wanted, Urgency::Force).unwrap();
    assert!(ca.last("/order").get("replaces").is_none());
    // A CA that finds the field malformed, and one that does not repeat it.
    let (status, headers, body) = problem(400, "malformed", "unknown field replaces");
    ca.fail("/order", Fault::Answer(status, headers, body));
    run(&sim, &server, &wanted, Urgency::Force).unwrap();
    ca.inner().ari = false;
    run(&sim, &server, &wanted, Urgency::Force).unwrap();
    assert!(
        ca.last("/order").get("replaces").is_none(),
        "without renewal information there is nothing to claim"
    );
}

#[test]
fn a_profile_is_verified_before_and_after() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, mut wanted) = (Server::new(&sim), wanted(&ca));
    wanted.profile = Some("shortlived".into());
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert_eq!(
        (ca.last("/order")["profile"].as_str(), live(&sim).about.profile.as_deref()),
        (Some("shortlived"), Some("shortlived"))
    );
    wanted.profile = Some("tlsserver".into());
    let orders = ca.count("/order");
    let error = run(&sim, &server, &wanted, Urgency::Force).unwrap_err();
    assert!(matches!(error, RenewError::Acme(AcmeError::Profile { .. })), "{error}");
    assert!(error.to_string().contains("it offers classic, shortlived"), "{error}");
    assert_eq!(ca.count("/order"), orders, "nothing was ordered");
    // As pebble 2.6 does: it takes the order and issues something else.
    ca.inner().profiles.push("tlsserver");
    ca.inner().tells_profile = false;
    let error = run(&sim, &server, &wanted, Urgency::Force).unwrap_err();
    assert!(matches!(error, RenewError::Acme(AcmeError::Profile { .. })), "{error}");
    assert_eq!(ca.count("/finalize/"), 1);
}

#[test]
fn every_fault_of_the_ca_ends_soon_and_is_remembered() {
    for (path, fault, expected) in [
        ("/dir", Fault::Stall, "did not answer in time"),
        ("/dir", Fault::Slow, "did not answer in time"),
        ("/dir", Fault::Huge, "too large"),
        ("/dir", Fault::Answer(200, vec![], "<html>".into()), "not JSON"),
        ("/order", Fault::Stall, "did not answer in time"),
        ("/order", Fault::Answer(502, vec![], "<html>bad gateway".into()), "makes no sense"),
        ("/finalize/", Fault::Stall, "did not answer in time"),
        ("/certificate/", Fault::Answer(200, vec![], "-----BEGIN".into()), "not a certificate"),
    ] {
        let sim = machine();
        let ca = Ca::start(sim.now());
        let (server, wanted) = (Server::new(&sim), wanted(&ca));
        ca.fail(path, fault.clone());
        let began = std::time::Instant::now();
        let error = run(&sim, &server, &wanted, Urgency::Due).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{path} {fault:?} took {:?}", began.elapsed());
        assert!(error.to_string().contains(expected), "{path} {fault:?}: {error}");
        let failures = state(&sim).failures;
        assert_eq!(failures.count, 1);
        assert!(failures.last.as_ref().unwrap().what.contains(expected));
        assert_eq!(patience(&failures), SignedDuration::from_mins(1));
        // The timer leaves it alone, a person need not.
        let early = run(&sim, &server, &wanted, Urgency::Due).unwrap();
        assert!(matches!(early.waiting, Some((_, Waiting::Failed))));
        run(&sim, &server, &wanted, Urgency::Now).unwrap();
        assert_eq!(state(&sim).failures, Default::default(), "a success forgets");
    }
}

#[test]
fn the_ca_asks_for_patience_and_gets_it() {
    for (status, path) in [(503, "/dir"), (503, "/order"), (429, "/order"), (429, "/finalize/")] {
        let sim = machine();
        let ca = Ca::start(sim.now());
        let (server, wanted) = (Server::new(&sim), wanted(&ca));
        let (_, mut headers, body) = problem(status, "rateLimited", "too many certificates");
        headers.push(("Retry-After", "7200".into()));
        ca.fail(path, Fault::Answer(status, headers, body));
        let error = run(&sim, &server, &wanted, Urgency::Due).unwrap_err();
        let RenewError::Acme(AcmeError::Http(HttpError::Busy { retry_after, problem, .. })) = &error else {
            panic!("{error}")
        };
        assert_eq!(*retry_after, Some(Duration::from_secs(7200)));
        assert_eq!(problem.as_ref().unwrap().detail, "too many certificates");
        let failures = state(&sim).failures;
        assert_eq!(patience(&failures), SignedDuration::from_hours(2));
        let last = failures.last.unwrap();
        assert!(
            last.what.contains("too many certificates") && last.advice.unwrap().contains("limit"),
            "shown whole"
        );
    }
}

#[test]
fn a_ca_that_goes_away_between_order_and_finalize_costs_one_try() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let before = live(&sim);
    // Once for the request and once for its repetition.
    ca.fail("/finalize/", Fault::Close);
    ca.fail("/finalize/", Fault::Close);
    let error = run(&sim, &server, &wanted, Urgency::Force).unwrap_err();
    assert!(error.to_string().contains("cannot reach"), "{error}");
    assert_eq!((live(&sim), state(&sim).failures.count), (before.clone(), 1));
    run(&sim, &server, &wanted, Urgency::Force).unwrap();
    assert_ne!(live(&sim), before);
}

#[test]
fn a_ca_that_drops_a_connection_is_asked_once_more() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    ca.fail("/dir", Fault::Close);
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
}

#[test]
fn bad_nonces_are_no_failure() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    for path in ["/account", "/order", "/finalize/", "/certificate/"] {
        let (status, headers, body) = problem(400, "badNonce", "try again");
        ca.fail(path, Fault::Answer(status, headers, body));
    }
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
}

#[test]
fn an_account_that_is_gone_is_made_anew_the_next_time() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let (status, headers, body) = problem(400, "accountDoesNotExist", "who?");
    ca.fail("/order", Fault::Answer(status, headers, body));
    run(&sim, &server, &wanted, Urgency::Force).unwrap_err();
    run(&sim, &server, &wanted, Urgency::Force).unwrap();
    assert_eq!(ca.count("/account"), 2);
}

#[test]
fn a_failed_validation_is_told_whole_rehearsed_and_budgeted() {
    let sim = machine();
    let (ca, staging) = (Ca::start(sim.now()), Ca::start(sim.now()));
    let (server, mut wanted) = (Server::new(&sim), wanted(&ca));
    wanted.rehearsal = Some(staging.directory());
    ca.inner().invalid = Some(("unauthorized", "Invalid response from 192.0.2.1: 404"));
    let txt = Arc::new(Mutex::new(String::new()));
    let names = || Resolver::new(vec![name_server(None, Some(Arc::clone(&txt)))]);
    // The value that the hook would publish is the account's; the name server answers with whatever was asked for.
    let first = with_hooked(&sim, &server, &wanted, names(), &txt);
    let RenewError::Acme(AcmeError::Validation(invalid)) = &first else { panic!("{first}") };
    assert_eq!(invalid[0].0, NAME);
    let failures = state(&sim).failures;
    let last = failures.last.as_ref().unwrap();
    assert!(last.what.contains("Invalid response from 192.0.2.1: 404"), "{last:?}");
    assert!(last.what.contains("urn:ietf:params:acme:error:unauthorized"));
    assert!(last.advice.as_ref().unwrap().contains("stale AAAA"));
    assert_eq!(failures.validations.len(), 1);
    // From now on it is rehearsed, and a rehearsal that fails costs the CA nothing.
    staging.inner().invalid = Some(("dns", "no such name"));
    let orders = ca.count("/order");
    let second = with_hooked(&sim, &server, &wanted, names(), &txt);
    assert!(matches!(second, RenewError::Rehearsal(AcmeError::Validation(_))), "{second}");
    assert_eq!(ca.count("/order"), orders, "the CA itself was not asked");
    let failures = state(&sim).failures;
    assert!(failures.last.unwrap().rehearsal && failures.validations.len() == 1);
    // A rehearsal that works leads to the CA.
    staging.inner().invalid = None;
    ca.inner().invalid = None;
    run(&sim, &server, &wanted, Urgency::Now).unwrap();
    assert!(staging.count("/finalize/") == 1 && ca.count("/finalize/") == 1);
}

/// Runs with a hook whose record appears in the name server.
fn with_hooked(
    sim: &Sim,
    server: &Server<'_>,
    wanted: &Wanted,
    resolver: Resolver,
    txt: &Arc<Mutex<String>>,
) -> RenewError {
    let publisher = Publisher { sim, txt: Arc::clone(txt) };
    Renewal {
        host: &publisher,
        store: &Store::default(),
        wanted,
        front: Some(server),
        tell: &|_| {},
        limits: Limits::default(),
        resolver: Some(resolver),
        port: 80,
    }
    .run(Urgency::Now)
    .unwrap_err()
}

/// A host whose `dns_hook` works.
struct Publisher<'s> {
    sim: &'s Sim,
    txt: Arc<Mutex<String>>,
}

/// Hands every question on.
macro_rules! handed_on {
    ($host:ident) => {
        impl Inspect for $host<'_> {
            fn read(&self, path: &str) -> pitool_host::Result<Option<Content>> {
                self.sim.read(path)
            }
            fn look(&self, path: &str) -> pitool_host::Result<Option<pitool_host::Looked>> {
                self.sim.look(path)
            }
            fn stat(&self, path: &str) -> pitool_host::Result<Option<pitool_host::Stat>> {
                self.sim.stat(path)
            }
            fn list(&self, path: &str) -> pitool_host::Result<Option<Vec<String>>> {
                self.sim.list(path)
            }
            fn ask(&self, command: &pitool_host::Command) -> pitool_host::Result<Output> {
                self.sim.ask(command)
            }
            fn ask_with(
                &self,
                candidates: &[pitool_host::Candidate],
                command: &pitool_host::Command,
            ) -> pitool_host::Result<Output> {
                self.sim.ask_with(candidates, command)
            }
            fn packages(&self) -> pitool_host::Result<std::rc::Rc<pitool_host::Packages>> {
                self.sim.packages()
            }
            fn units(&self, names: &[&str]) -> pitool_host::Result<Vec<pitool_host::UnitStatus>> {
                self.sim.units(names)
            }
            fn live(&self) -> bool {
                true
            }
            fn now(&self) -> Timestamp {
                self.sim.now()
            }
            fn variable(&self, name: &str) -> Option<String> {
                self.sim.variable(name)
            }
        }
    };
}

/// Hands every change on but those that a test looks at.
macro_rules! changes_handed_on {
    () => {
        fn write_in_place(&self, path: &str, content: &[u8]) -> pitool_host::Result<()> {
            self.sim.write_in_place(path, content)
        }
        fn append(&self, path: &str, content: &[u8], durable: bool) -> pitool_host::Result<()> {
            self.sim.append(path, content, durable)
        }
        fn set_access(&self, path: &str, access: Access) -> pitool_host::Result<()> {
            self.sim.set_access(path, access)
        }
        fn link(&self, path: &str, target: &str) -> pitool_host::Result<()> {
            self.sim.link(path, target)
        }
        fn make_dir(&self, path: &str, access: Access) -> pitool_host::Result<()> {
            self.sim.make_dir(path, access)
        }
        fn remove(&self, path: &str) -> pitool_host::Result<()> {
            self.sim.remove(path)
        }
        fn remove_dir(&self, path: &str) -> pitool_host::Result<bool> {
            self.sim.remove_dir(path)
        }
        fn progress(&self, progress: pitool_host::Progress) {
            self.sim.progress(progress);
        }
        fn random(&self, length: usize) -> pitool_host::Result<Vec<u8>> {
            self.sim.random(length)
        }
        fn sleep(&self, duration: Duration) {
            self.sim.sleep(duration);
        }
        fn lock(
            &self,
            path: &str,
            holder: &pitool_host::LockHolder,
        ) -> pitool_host::Result<Result<Box<dyn pitool_host::Lock>, pitool_host::LockHolder>> {
            self.sim.lock(path, holder)
        }
        fn interrupted(&self) -> bool {
            self.sim.interrupted()
        }
        fn set_interrupt_aside(&self) {
            self.sim.set_interrupt_aside();
        }
        fn inspect(&self) -> &dyn Inspect {
            self
        }
    };
}

handed_on!(Publisher);

impl Host for Publisher<'_> {
    changes_handed_on!();

    fn write(&self, path: &str, content: &[u8], access: Access) -> pitool_host::Result<()> {
        self.sim.write(path, content, access)
    }

    fn run_watched(
        &self,
        command: &pitool_host::Command,
        line: &mut dyn FnMut(&str),
    ) -> pitool_host::Result<Output> {
        if command.program == "/usr/local/bin/dns" {
            assert_eq!(command.args[1], "_acme-challenge.pi.test.");
            assert!(command.env.iter().any(|(name, value)| name == "CERTBOT_DOMAIN" && value == NAME));
            if command.args[0] == "present" {
                command.args[2].clone_into(&mut self.txt.lock().unwrap());
            }
        }
        self.sim.run_watched(command, line)
    }
}

#[test]
fn a_record_that_does_not_appear_is_found_before_the_ca_looks() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    ca.inner().invalid = Some(("unauthorized", "never reached"));
    let error = run(&sim, &server, &wanted, Urgency::Due).unwrap_err();
    assert!(error.to_string().contains("did not appear within 120 s"), "{error}");
    assert_eq!(ca.count("/challenge/"), 0, "the CA was not asked to look");
    assert!(sim.commands().iter().any(|command| command.contains("dns cleanup")), "and it was cleaned up");
}

#[test]
fn a_caa_record_for_somebody_else_costs_nothing() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    let names = Resolver::new(vec![name_server(Some("other.test"), None)]);
    let error = with_names(&sim, &server, &wanted, Urgency::Due, names).unwrap_err();
    assert!(
        error.to_string().contains("does not let this CA issue") && error.to_string().contains("ca.test"),
        "{error}"
    );
    assert_eq!(ca.count("/order") + ca.count("/account"), 0);
    let names = Resolver::new(vec![name_server(Some("ca.test"), None)]);
    with_names(&sim, &server, &wanted, Urgency::Now, names).unwrap();
}

#[test]
fn what_is_in_doubt_is_rehearsed_where_nothing_is_at_stake() {
    let sim = machine();
    let (ca, staging) = (Ca::start(sim.now()), Ca::start(sim.now()));
    let (server, mut wanted) = (Server::new(&sim), wanted(&ca));
    let names = || Resolver::new(vec![name_server(Some(mock::SERVFAIL), None)]);
    let error = with_names(&sim, &server, &wanted, Urgency::Due, names()).unwrap_err();
    assert!(error.to_string().contains("cannot be looked up"), "{error}");
    assert_eq!(ca.count("/order"), 0, "there is no rehearsal");
    wanted.rehearsal = Some(staging.directory());
    staging.inner().invalid = Some(("caa", "CAA record prevents issuance"));
    with_names(&sim, &server, &wanted, Urgency::Now, names()).unwrap_err();
    assert_eq!(ca.count("/order"), 0, "the rehearsal failed");
    staging.inner().invalid = None;
    with_names(&sim, &server, &wanted, Urgency::Now, names()).unwrap();
    assert_eq!((staging.count("/finalize/"), ca.count("/finalize/")), (1, 1));
}

#[test]
fn a_rehearsal_that_cannot_be_held_keeps_nobody_from_the_ca() {
    let sim = machine();
    let (ca, staging) = (Ca::start(sim.now()), Ca::start(sim.now()));
    let (server, mut wanted) = (Server::new(&sim), wanted(&ca));
    wanted.rehearsal = Some(staging.directory());
    for _ in 0..2 {
        ca.fail("/finalize/", Fault::Close);
    }
    run(&sim, &server, &wanted, Urgency::Due).unwrap_err();
    let (status, headers, body) = problem(500, "serverInternal", "being mended");
    staging.fail("/order", Fault::Answer(status, headers, body));
    run(&sim, &server, &wanted, Urgency::Now).unwrap();
    assert_eq!((staging.count("/order"), staging.count("/finalize/")), (1, 0));
}

#[test]
fn nothing_is_asked_with_a_clock_that_nobody_keeps() {
    let sim = machine();
    sim.answer("timedatectl show", Output { stdout: "NTPSynchronized=no\n".into(), ..Output::default() });
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    for urgency in [Urgency::Due, Urgency::Now, Urgency::Force] {
        let outcome = run(&sim, &server, &wanted, urgency).unwrap();
        assert!(matches!(outcome.waiting, Some((_, Waiting::Clock))));
    }
    assert_eq!(ca.inner().seen.len(), 0);
}

#[test]
fn a_full_disk_is_found_before_the_ca_is_asked() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    sim.fail_next("write /var/lib/pitool-acme/pitool-probe", pitool_sim::Fault::DiskFull);
    let error = run(&sim, &server, &wanted, Urgency::Due).unwrap_err();
    assert!(error.to_string().contains("make room"), "{error}");
    assert_eq!(ca.count("/order"), 0);
    run(&sim, &server, &wanted, Urgency::Now).unwrap();
    server.start().unwrap();
    // Full at the worst moment: the old one stays, and nothing half is live.
    let before = live(&sim);
    sim.fail_next(
        "write /var/lib/pitool-acme/certificates/pi.test/000002/fullchain.pem",
        pitool_sim::Fault::DiskFull,
    );
    run(&sim, &server, &wanted, Urgency::Force).unwrap_err();
    assert_eq!(live(&sim), before);
}

/// A disk that gives back a key other than the one that was written.
struct Corrupting<'s> {
    sim: &'s Sim,
}

handed_on!(Corrupting);

impl Host for Corrupting<'_> {
    changes_handed_on!();

    fn write(&self, path: &str, content: &[u8], access: Access) -> pitool_host::Result<()> {
        let mut content = content.to_vec();
        if path.ends_with("privkey.pem") {
            // One character of the key's text, past its beginning.
            content[60] = if content[60] == b'A' { b'B' } else { b'A' };
        }
        self.sim.write(path, &content, access)
    }

    fn run_watched(
        &self,
        command: &pitool_host::Command,
        line: &mut dyn FnMut(&str),
    ) -> pitool_host::Result<Output> {
        self.sim.run_watched(command, line)
    }
}

#[test]
fn a_corrupted_new_key_is_refused_and_the_old_certificate_goes_on() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let before = live(&sim);
    let reloads = *server.reloads.borrow();
    let host = Corrupting { sim: &sim };
    let error = Renewal {
        host: &host,
        store: &Store::default(),
        wanted: &wanted,
        front: Some(&server),
        tell: &|_| {},
        limits: Limits::default(),
        resolver: Some(Resolver::new(vec![name_server(None, None)])),
        port: 80,
    }
    .run(Urgency::Force)
    .unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error}");
    assert_eq!((live(&sim), *server.reloads.borrow()), (before.clone(), reloads));
    assert_eq!(server.loaded.borrow().as_ref(), Some(&before.certificate.fingerprint));
    // The next look is not led astray by what lies there.
    pass(&sim, 1);
    run(&sim, &server, &wanted, Urgency::Force).unwrap();
    assert_ne!(live(&sim), before);
}

#[test]
fn what_the_web_server_does_not_serve_is_taken_back_and_not_thrown_away() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let before = live(&sim);
    pass(&sim, 61 * 24);
    ca.inner().now = sim.now();
    *server.deaf.borrow_mut() = true;
    let error = run(&sim, &server, &wanted, Urgency::Due).unwrap_err();
    assert!(matches!(&error, RenewError::Deploy(DeployError::TakenBack { back: None, .. })), "{error}");
    assert_eq!(live(&sim), before, "the one before is live again");
    // A broken configuration: the certificate waits.
    *server.deaf.borrow_mut() = false;
    *server.broken.borrow_mut() = Some("nginx: [emerg] unknown directive".into());
    let error = run(&sim, &server, &wanted, Urgency::Now).unwrap_err();
    assert!(matches!(&error, RenewError::Deploy(DeployError::Broken(_))), "{error}");
    // Mended: what was got is used, and the CA is not asked for another.
    *server.broken.borrow_mut() = None;
    let orders = ca.count("/order");
    run(&sim, &server, &wanted, Urgency::Now).unwrap();
    assert_eq!(ca.count("/order"), orders);
    assert!(live(&sim).certificate.not_after > before.certificate.not_after);
    assert_eq!(server.loaded.borrow().as_ref(), Some(&live(&sim).certificate.fingerprint));
}

#[test]
fn a_damaged_pair_is_replaced_though_the_web_server_refuses_it() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    let before = server.loaded.borrow().clone();
    sim.arrange().put("/var/lib/pitool-acme/certificates/pi.test/000001/privkey.pem", "not a key");
    assert!(server.check(&sim).is_err());
    let outcome = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert!(outcome.done[0].contains("cannot be used"), "{outcome:?}");
    assert_ne!(*server.loaded.borrow(), before);
    server.check(&sim).unwrap();
}

#[test]
fn a_lost_reload_is_made_up_for() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    *server.loaded.borrow_mut() = Some("an older one".into());
    let outcome = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert!(outcome.done[0].contains("has loaded the stored one"), "{outcome:?}");
    assert_eq!(server.loaded.borrow().as_ref(), Some(&live(&sim).certificate.fingerprint));
}

#[test]
fn hooks_run_with_certbots_variables_until_they_succeed() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, mut wanted) = (Server::new(&sim), wanted(&ca));
    wanted.hooks = vec![vec!["/usr/local/bin/good".into(), "x".into()], vec!["/usr/local/bin/bad".into()]];
    sim.answer("/usr/local/bin/good", Output::default());
    sim.answer("/usr/local/bin/bad", Output { status: 1, stderr: "no".into(), ..Output::default() });
    let outcome = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    assert_eq!(outcome.hooks_failed.len(), 1);
    assert_eq!(state(&sim).hooks_pending, [vec!["/usr/local/bin/bad".to_owned()]]);
    sim.answer("/usr/local/bin/bad", Output::default());
    let outcome = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert!(outcome.hooks_failed.is_empty() && state(&sim).hooks_pending.is_empty());
    let count = |text: &str| sim.commands().iter().filter(|command| command.contains(text)).count();
    assert_eq!((count("bin/good x"), count("bin/bad")), (1, 2));
}

#[test]
fn other_names_or_another_ca_are_a_new_certificate() {
    let sim = machine();
    let (ca, other) = (Ca::start(sim.now()), Ca::start(sim.now()));
    let (server, mut wanted) = (Server::new(&sim), wanted(&ca));
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    server.start().unwrap();
    wanted.names.push("*.pi.test".into());
    let outcome = run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert!(outcome.done[0].contains("not good for *.pi.test"), "{outcome:?}");
    assert!(ca.last("/order").get("replaces").is_none(), "another set of names replaces nothing");
    wanted.directory = other.directory();
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    assert_eq!(other.count("/finalize/"), 1);
    assert!(other.last("/order").get("replaces").is_none(), "another CA's certificate cannot be replaced");
}

#[test]
fn the_keys_of_every_kind_fit() {
    let sim = machine();
    let ca = Ca::start(sim.now());
    let (server, mut wanted) = (Server::new(&sim), wanted(&ca));
    wanted.key_type = KeyType::EcP384;
    run(&sim, &server, &wanted, Urgency::Due).unwrap();
    // As `openssl genpkey -algorithm RSA` prints it; ring makes none itself.
    let rsa = include_str!("rsa.pem");
    sim.answer("openssl genpkey", Output { stdout: rsa.into(), ..Output::default() });
    wanted.key_type = KeyType::Rsa2048;
    server.start().unwrap();
    run(&sim, &server, &wanted, Urgency::Force).unwrap();
    let key = sim.read(&Store::default().live(NAME, "privkey.pem")).unwrap().unwrap();
    assert_eq!(key.text().unwrap(), rsa);
}

/// The power goes at every change of a renewal, in every way, with and without a boot: nginx can always start, serves a
/// pair that belongs together, and the next look reaches the end.
#[test]
fn a_power_cut_at_any_step_leaves_a_pair_and_converges() {
    let start = machine();
    let ca = Ca::start(start.now());
    let names = Resolver::new(vec![name_server(None, None)]);
    let mut wanted = wanted(&ca);
    wanted.hooks = vec![vec!["/usr/local/bin/dns".into(), "hook".into()]];
    let renew =
        |sim: &Sim, server: &Server<'_>, urgency| with_names(sim, server, &wanted, urgency, names.clone());
    // From the first certificate to the second, and from the placeholder's place to the first.
    let empty = start.snapshot();
    renew(&start, &Server::new(&start), Urgency::Due).unwrap();
    let one = start.snapshot();
    let mut cases = 0;
    for (what, world) in [("first", empty), ("second", one)] {
        let whole = Sim::of(world.clone());
        arranged(&whole);
        renew(&whole, &Server::new(&whole), Urgency::Force).unwrap();
        for at in 0..whole.mutations() {
            for (index, cut) in Cut::ALL.into_iter().enumerate() {
                for reboot in [true, false] {
                    // Every change is cut; in which way is spread over them, so that it stays under a minute.
                    if (at + index + usize::from(reboot)) % 2 != 0 {
                        continue;
                    }
                    let sim = Sim::of(world.clone());
                    arranged(&sim);
                    let server = Server::new(&sim);
                    let served = server.loaded.borrow().clone();
                    sim.cut_after(at, cut);
                    let told =
                        format!("{what}, {cut:?} at change {at} ({}), reboot {reboot}", whole.changes()[at]);
                    assert!(renew(&sim, &server, Urgency::Force).is_err(), "{told}: the cut was not noticed");
                    if reboot {
                        sim.restore_power()
                    } else {
                        sim.kill()
                    }
                    arranged(&sim);
                    if served.is_some() {
                        if reboot {
                            server
                                .start()
                                .unwrap_or_else(|error| panic!("{told}: nginx does not start: {error}"));
                        } else {
                            // It runs on with what it has, and a reload by anybody finds a pair.
                            server.reload(&sim).unwrap_or_else(|error| panic!("{told}: {error}"));
                        }
                    }
                    let outcome = renew(&sim, &server, Urgency::Now)
                        .unwrap_or_else(|error| panic!("{told}: it does not converge: {error}"));
                    if served.is_none() {
                        server.start().unwrap();
                    }
                    let live = live(&sim);
                    assert_eq!(
                        server.loaded.borrow().as_ref(),
                        Some(&live.certificate.fingerprint),
                        "{told}"
                    );
                    assert!(outcome.hooks_failed.is_empty());
                    assert!(state(&sim).hooks_pending.is_empty(), "{told}: hooks are forgotten");
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} power cuts");
    assert!(cases >= 100);
}

/// A simulated machine's answers do not outlive its snapshot.
fn arranged(sim: &Sim) {
    sim.answer("timedatectl show", Output { stdout: "NTPSynchronized=yes\n".into(), ..Output::default() });
    sim.answer("/usr/local/bin/dns", Output::default());
}
