//! What the threads of the service share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use jiff::tz::TimeZone;
use pitool_host::text::chain;
use pitool_host::{Access, Host};

use crate::alert::queue::Queue;
use crate::metrics::{self, Exposition};
use crate::page;
use crate::setup::Setup;
use crate::sink::Sink;
use crate::status::{Machine, Status};
use crate::system::{Live, System};
use crate::units::Unit;

/// Where the service leaves what other programs of this machine may read; in memory, gone after a reboot.
pub const RUN: &str = "/run/pitool-monitor";

/// How long a look may take beyond the interval, with all that is asked beside it once an hour. After that no heartbeat is
/// sent any more, and systemd starts the service anew.
pub const LONGEST: Duration = Duration::from_secs(600);

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine said no.
    #[error(transparent)]
    Host(#[from] pitool_host::Error),
    /// The address cannot be had.
    #[error("cannot listen on {address}; does something else listen there? `sudo ss -tlpn` says")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused something.
    #[error("the service cannot go on")]
    Kernel(#[from] std::io::Error),
}

/// What the threads share.
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) machine: Machine,
    pub(super) zone: TimeZone,
    pub(super) stop: Arc<AtomicBool>,
    /// What was found last.
    pub(super) board: Mutex<Board>,
    /// When the last look ended, in seconds of the monotonic clock.
    pub(super) looked: AtomicU64,
    pub(super) queue: Mutex<Queue>,
    /// Rung when something is to be told.
    pub(super) bell: Condvar,
    pub(super) system: Live,
    pub(super) log: fn(&str),
}

#[derive(Default)]
pub(super) struct Board {
    pub(super) status: Option<Status>,
    pub(super) units: Option<Vec<Unit>>,
    pub(super) page: Arc<String>,
}

/// Locks, also after another thread has panicked: what is shared is replaced as a whole and never half made.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    pub(super) fn sinks(&self) -> Vec<String> {
        Sink::all(&self.setup.alerts).iter().map(|sink| sink.name().to_owned()).collect()
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn say(&self, line: &str) {
        (self.log)(line);
    }
}

/// Waits, but not longer than until the service is told to stop.
pub(super) fn pause(shared: &Shared, until: Duration) {
    while !shared.stopped() {
        let left = until.saturating_sub(shared.system.monotonic());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(500)));
    }
}

pub(super) fn publish(shared: &Shared, host: &dyn Host, status: Status, units: Option<Vec<Unit>>) {
    let page = Arc::new(page::render(&status, &shared.zone));
    // Plain values always serialize. Under /run, for `pitool health` and whoever else wants to know.
    let json = serde_json::to_vec(&status).unwrap_or_default();
    if let Err(error) = host.write(&format!("{RUN}/status.json"), &json, Access::root(0o644)) {
        shared.say(&chain(&error));
    }
    if let Some(dir) = &shared.setup.service.textfile {
        let mut text = Exposition::default();
        metrics::own::write(&status, &mut text);
        if let Err(error) =
            host.write(&format!("{dir}/pitool.prom"), text.finish().as_bytes(), Access::root(0o644))
        {
            shared.say(&chain(&error));
        }
    }
    *lock(&shared.board) = Board { status: Some(status), units, page };
}
