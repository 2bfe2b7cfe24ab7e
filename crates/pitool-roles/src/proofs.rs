//! The one list of questions: each asks a daemon or the kernel whether a promise is in force.
//!
//! A question changes nothing and reads no file that pitool wrote: "green but not in force" is exactly what it is
//! there to find. One file per whom it asks.

mod apt;
mod boot;
mod clock;
mod docker;
mod fail2ban;
mod firewall;
mod hardening;
mod journal;
mod kernel;
mod locale;
mod logrotate;
mod monitor;
mod nginx;
mod sshd;
mod swap;
mod timer;
mod unit;

use pitool_engine::{Id, Proof, Verdict};
use pitool_host::{Inspect, Result};

pub use apt::UpdatesComeFrom;
pub use boot::{MemoryCgroup, WatchdogArmed};
pub use clock::{ClockSynchronized, TimeZoneSet};
pub use docker::{
    ComposeAnswers, ContainerLogsLimited, ContainersRun, DockerAnswers, DockerMemoryLimit,
    PublishedPortsGuarded,
};
pub use fail2ban::JailRuns;
pub use firewall::FirewallActive;
pub use hardening::KernelHardened;
pub use journal::JournalKept;
pub use kernel::{KernelValue, KernelValueAtBoot};
pub use locale::LocaleUsable;
pub use logrotate::LogsRotated;
pub use monitor::MonitorAnswers;
pub use nginx::{CertificateServed, SiteConfigured, SiteHealthy};
pub use sshd::{SshdListens, SshdValue};
pub use swap::SwapSpace;
pub use timer::TimerSet;
pub use unit::UnitRunning;

macro_rules! questions {
    ($($question:ident),* $(,)?) => {
        /// Any question.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Question {
            $(#[doc = concat!("See [`", stringify!($question), "`].")] $question($question),)*
        }

        $(impl From<$question> for Question {
            fn from(question: $question) -> Self {
                Self::$question(question)
            }
        })*

        impl Proof for Question {
            fn id(&self) -> Id {
                match self { $(Self::$question(question) => question.id(),)* }
            }

            fn ask(&self, host: &dyn Inspect) -> Result<Verdict> {
                match self { $(Self::$question(question) => question.ask(host),)* }
            }
        }
    };
}

questions!(
    CertificateServed,
    ClockSynchronized,
    ComposeAnswers,
    ContainerLogsLimited,
    ContainersRun,
    DockerAnswers,
    DockerMemoryLimit,
    FirewallActive,
    JailRuns,
    JournalKept,
    KernelHardened,
    KernelValue,
    KernelValueAtBoot,
    LocaleUsable,
    LogsRotated,
    MemoryCgroup,
    MonitorAnswers,
    PublishedPortsGuarded,
    SiteConfigured,
    SiteHealthy,
    SshdListens,
    SshdValue,
    SwapSpace,
    TimeZoneSet,
    TimerSet,
    UnitRunning,
    UpdatesComeFrom,
    WatchdogArmed,
);
