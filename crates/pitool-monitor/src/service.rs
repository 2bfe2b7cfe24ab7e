//! `pitool monitor`: looks at the machine, serves what it found, tells who should know.
//!
//! Three threads, so that none waits for another: one looks every minute and judges; one tells, because a sink may take a
//! quarter of a minute to fail; one serves, and reads the kernel's counters anew at each scrape. What they share is small and
//! behind two locks that are held for moments only. Nothing is written to a disk unless something happened.

mod look;
mod notify;
mod shared;
mod slow;
mod start;
mod tell;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use jiff::tz::TimeZone;
use pitool_host::local::Local;
use pitool_host::parse::proc_pid_stat;
use pitool_host::text::chain;
use pitool_host::{Access, Digest, Host, Inspect};

pub use shared::{Error, LONGEST, RUN};

use shared::{Shared, lock};

use crate::alert::queue::Queue;
use crate::http::Request;
use crate::metrics::{self, Exposition};
use crate::server::{self, Answer};
use crate::setup::Setup;
use crate::sink::{Sink, secret};
use crate::state::{DIR, Start, State};
use crate::status::Machine;
use crate::system::Live;

/// Runs until `stop` is raised. `log` takes lines for the journal.
///
/// # Errors
/// The address cannot be had. What goes wrong later is told and tried again.
pub fn run(
    setup: Setup,
    machine: Machine,
    zone: TimeZone,
    stop: Arc<AtomicBool>,
    log: fn(&str),
) -> Result<(), Error> {
    let host = Local::new("/")?;
    for dir in [DIR, RUN] {
        if host.stat(dir)?.is_none() {
            host.make_dir(dir, Access::root(if dir == RUN { 0o755 } else { 0o700 }))?;
        }
    }
    let address = SocketAddr::new(setup.service.listen.ip(), setup.service.port.number());
    let listener = server::bind(address).map_err(|source| Error::Listen { address, source })?;
    let mut state = State::read(&host);
    let start = state.start(&boot(&host), host.now());
    let sinks: Vec<String> = Sink::all(&setup.alerts).iter().map(|sink| sink.name().to_owned()).collect();
    state.meet(&sinks);
    let mut queue = Queue::read(&host, &sinks);
    if let Some(why) = back(start, &queue, &host, &zone) {
        queue.digest(&sinks, &machine.host, &why, host.now(), &zone);
    }
    let shared = Arc::new(Shared {
        setup,
        machine,
        zone,
        stop,
        board: Mutex::default(),
        looked: AtomicU64::default(),
        queue: Mutex::new(queue),
        bell: Condvar::new(),
        system: Live::default(),
        log,
    });
    shared.say(&format!("serving metrics and the status page on http://{address}/"));
    let looking = spawn("look", &shared, move |shared| look::run(shared, state))?;
    let telling = spawn("tell", &shared, tell::run)?;
    start::give_back();
    notify::notify(notify::READY);
    let result = serve(&shared, &listener);
    notify::notify(notify::STOPPING);
    shared.stop.store(true, Ordering::Relaxed);
    shared.bell.notify_all();
    for thread in [looking, telling] {
        // A thread that panicked has said so.
        let _ = thread.join();
    }
    result
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<(), Error> + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, Error> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(512 << 10);
    Ok(thread.spawn(move || {
        if let Err(error) = work(&shared) {
            shared.say(&chain(&error));
            // Without one of its threads the service is not what it says; systemd starts it anew.
            shared.stop.store(true, Ordering::Relaxed);
        }
    })?)
}

/// When pid 1 started, in hundredths of a second since the kernel did: soon after on a machine, at any time in a container.
fn first_process(host: &dyn Inspect) -> Option<u64> {
    let stat = crate::kernel::text(host, "/proc/1/stat")?;
    proc_pid_stat::field(&stat, proc_pid_stat::STARTTIME)?.parse().ok()
}

/// What tells this boot from every other: the kernel's, and pid 1's start, because a container has its own boots.
fn boot(host: &dyn Inspect) -> String {
    let kernel = crate::kernel::text(host, "/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{} {}", kernel.trim(), first_process(host).unwrap_or_default())
}

/// What to tell first after a boot, where there is something to tell.
fn back(start: Start, queue: &Queue, host: &dyn Inspect, zone: &TimeZone) -> Option<String> {
    let booted = crate::kernel::text(host, "/proc/stat")
        .and_then(|text| crate::kernel::cpu::stat(&text).boot_time)
        .map(|seconds| seconds + first_process(host).unwrap_or_default() / 100)
        .and_then(|seconds| jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    let at = |time: jiff::Timestamp| crate::alert::message::clock(time, zone);
    let since = booted.map(|booted| format!(", back since {}", at(booted))).unwrap_or_default();
    match start {
        Start::Again => None,
        Start::Boot if queue.is_empty() => None,
        Start::Boot => Some(format!("It was shut down{since}.")),
        Start::Unclean(written) => {
            // Others write while we do not: the clock's keeper touches its file, at a boot before the kernel's time is right.
            let clock =
                std::fs::metadata("/var/lib/systemd/timesync/clock").and_then(|file| file.modified()).ok();
            let clock = clock.and_then(|time| jiff::Timestamp::try_from(time).ok());
            let before = |time: &jiff::Timestamp| booted.is_none_or(|booted| *time < booted);
            let last = [written, clock].into_iter().flatten().filter(before).max();
            let seen =
                last.map(|last| format!("; the last sign of life was at {}", at(last))).unwrap_or_default();
            Some(format!("Power was lost, or it crashed{seen}{since}."))
        }
    }
}

fn serve(shared: &Arc<Shared>, listener: &std::net::TcpListener) -> Result<(), Error> {
    let host = Local::new("/")?;
    // Read once: after this only the service itself needs the file, and a scrape should not wait for a card.
    let token = match shared.setup.service.token_file.as_ref().map(secret).transpose() {
        Ok(token) => Gate::of(token),
        Err(why) => {
            shared.say(&format!("{why}: only this machine itself is answered, until the service is started anew and can read the token"));
            Gate::Shut
        }
    };
    let hostname = crate::kernel::text(&host, "/proc/sys/kernel/hostname").unwrap_or_default();
    server::serve(listener, &shared.stop, |peer, request| {
        if let Some(refusal) = refused(&shared.setup, &token, peer, request, &hostname) {
            return refusal;
        }
        respond(shared, &host, request)
    })?;
    Ok(())
}

/// What somebody from another machine must show.
enum Gate {
    Open,
    Token(Digest),
    Shut,
}

impl Gate {
    fn of(token: Option<String>) -> Self {
        token.map_or(Self::Open, |token| Self::Token(Digest::of(token.as_bytes())))
    }
}

/// Whether the name that a client asks for is this machine's: an address, `localhost`, the host name, or one of the config.
///
/// A page on the web can let its own name point here (DNS rebinding), and a browser then hands it what it reads: but the
/// request names the page's host. A client without `Host` is HTTP/1.0 and not a browser.
fn is_named_here(setup: &Setup, request: &Request, hostname: &str) -> bool {
    let mut names =
        request.headers.iter().filter(|(name, _)| name == "host").map(|(_, value)| value.as_str());
    let Some(host) = names.next() else { return true };
    if names.next().is_some() {
        return false;
    }
    let name = match host.strip_prefix('[') {
        // An IPv6 address, RFC 3986 section 3.2.2.
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let hostname = hostname.trim().to_ascii_lowercase();
    let own = |name: &str| !hostname.is_empty() && name == hostname;
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || own(&name)
        || name.strip_suffix(".local").is_some_and(own)
        || setup.service.names.iter().any(|known| known.to_string().eq_ignore_ascii_case(&name))
}

fn refused(setup: &Setup, gate: &Gate, peer: IpAddr, request: &Request, hostname: &str) -> Option<Answer> {
    if !is_named_here(setup, request, hostname) {
        return Some(Answer::status(421));
    }
    // Who asks at one's own address comes from it.
    if peer.is_loopback() || peer == setup.service.listen.ip() {
        return None;
    }
    if !setup.service.allow.iter().any(|network| network.contains(peer)) {
        return Some(Answer::status(403));
    }
    match gate {
        Gate::Open => None,
        Gate::Shut => Some(Answer::status(403)),
        Gate::Token(token) => {
            let sent = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            // Digests are compared, so that how long it takes says nothing about the token.
            let right = sent.is_some_and(|sent| Digest::of(sent.trim().as_bytes()) == *token);
            (!right).then(|| Answer::status(401))
        }
    }
}

fn respond(shared: &Shared, host: &dyn Inspect, request: &Request) -> Answer {
    match request.path.as_str() {
        "/metrics" => Answer::ok(metrics::CONTENT_TYPE, scrape(shared, host)),
        "/" | "/status/" => {
            let page = Arc::clone(&lock(&shared.board).page);
            match page.is_empty() {
                true => Answer::status(503),
                false => Answer::ok("text/html; charset=utf-8", page.as_bytes()),
            }
        }
        "/status.json" | "/status/status.json" => {
            match lock(&shared.board).status.as_ref().and_then(|status| serde_json::to_vec(status).ok()) {
                Some(json) => Answer::ok("application/json", json),
                None => Answer::status(503),
            }
        }
        "/health" => Answer::ok("text/plain; charset=utf-8", "healthy\n"),
        _ => Answer::status(404),
    }
}

fn scrape(shared: &Shared, host: &dyn Inspect) -> String {
    let mut text = Exposition::default();
    // A file system that does not answer must not keep the lock, and with it the thread that looks.
    let units = lock(&shared.board).units.clone();
    metrics::node::write(host, &shared.system, units.as_deref(), &mut text);
    if let Some(status) = &lock(&shared.board).status {
        metrics::own::write(status, &mut text);
    }
    metrics::node::process(host, &mut text);
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests::setup;

    fn request(authorization: Option<&str>) -> Request {
        let headers = authorization.map(|value| ("authorization".to_owned(), value.to_owned()));
        Request { method: "GET".into(), path: "/metrics".into(), headers: headers.into_iter().collect() }
    }

    #[test]
    fn only_who_is_allowed_and_shows_the_token() {
        let setup = setup("[service]\nlisten = \"0.0.0.0\"\nallow = [\"192.168.1.0/24\"]\n");
        let friend: IpAddr = "192.168.1.7".parse().unwrap();
        let stranger: IpAddr = "192.168.2.7".parse().unwrap();
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        let status = |gate: &Gate, peer, authorization| {
            refused(&setup, gate, peer, &request(authorization), "pi").map(|answer| answer.status)
        };
        assert_eq!(status(&Gate::Open, friend, None), None);
        assert_eq!(status(&Gate::Open, stranger, None), Some(403));
        let gate = Gate::of(Some("right".into()));
        assert_eq!(status(&gate, friend, None), Some(401));
        assert_eq!(status(&gate, friend, Some("Bearer wrong")), Some(401));
        assert_eq!(status(&gate, friend, Some("Bearer right")), None);
        assert_eq!(status(&gate, stranger, Some("Bearer right")), Some(403));
        assert_eq!(status(&gate, own, None), None);
        assert_eq!(status(&Gate::Shut, friend, Some("Bearer right")), Some(403));
    }

    #[test]
    fn a_name_of_somebody_elses_is_not_answered() {
        let setup = setup("[service]\nnames = [\"kitchen.home.example\"]\n");
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        let status = |hosts: &[&str]| {
            let headers = hosts.iter().map(|host| ("host".to_owned(), (*host).to_owned())).collect();
            let request = Request { method: "GET".into(), path: "/status.json".into(), headers };
            refused(&setup, &Gate::Open, own, &request, "Kitchen\n").map(|answer| answer.status)
        };
        for good in [
            "localhost",
            "LOCALHOST:9770",
            "localhost.",
            "127.0.0.1:9770",
            "192.168.1.4",
            "[::1]:9770",
            "[::1]",
            "kitchen:9770",
            "kitchen.local",
            "Kitchen.home.example:9770",
        ] {
            assert_eq!(status(&[good]), None, "{good}");
        }
        assert_eq!(status(&[]), None);
        for bad in [
            "evil.example",
            "evil.example:9770",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[evil]",
            "kitchen.evil",
        ] {
            assert_eq!(status(&[bad]), Some(421), "{bad}");
        }
        assert_eq!(status(&["localhost", "evil.example"]), Some(421));
    }
}
