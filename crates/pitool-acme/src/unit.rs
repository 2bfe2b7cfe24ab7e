//! The renewal as a unit of systemd: started after a run, and once more after a failure.

use std::time::Duration;

use jiff::Timestamp;
use pitool_host::{Command, Error, Host};

use crate::failure::Failures;
use crate::renew::NEXT_LOOK;
use crate::storage::{Source, Store, StoreError};

/// The transient unit that tries again after a failure.
const RETRY: &str = "pitool-certificates-retry";

/// How long a start is waited for: as long as the unit may take, and a little more.
const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// How things are after the unit ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whether the unit ended well.
    pub ended_well: bool,
    /// Whether a certificate of a CA is in use.
    pub served: bool,
    /// The failures since the last success.
    pub failures: Failures,
}

/// Starts the unit that renews, waits for its end, and reads how things are then. That the unit failed is a result: what a
/// CA answers fails nothing here.
///
/// # Errors
/// systemd cannot be asked, or the store cannot be read.
pub fn start(host: &dyn Host, store: &Store, name: &str, service: &str) -> Result<Started, StoreError> {
    let start = Command::new("systemctl").args(["start", service]).timeout(PATIENCE);
    let started = host.run(&start);
    let failures = store.state(host.inspect(), name)?.failures;
    let ended_well = match started {
        Ok(_) => true,
        Err(Error::Failed { .. } | Error::Timeout { .. }) => false,
        // A failure that is remembered says more.
        Err(_) if failures.last.is_some() => false,
        Err(error) => return Err(error.into()),
    };
    let source = match store.current(host.inspect(), name)? {
        Some(number) => store.source(host.inspect(), name, number)?,
        None => None,
    };
    Ok(Started { ended_well, served: matches!(source, Some(Source::Issued | Source::Imported)), failures })
}

/// Has the unit started again at this moment, where that is before its timer comes anyway.
pub fn retry(host: &dyn Host, at: Timestamp, service: &str) {
    let wait = at.duration_since(host.now());
    let timer = format!("{RETRY}.timer");
    // Errors here cost nothing but time: the timer comes twice a day.
    let _ = host.run(&Command::new("systemctl").args(["--quiet", "stop", &timer]));
    if wait >= NEXT_LOOK {
        return;
    }
    let after = format!("--on-active={}s", wait.as_secs().max(1));
    let start = ["systemctl", "start", "--no-block", service];
    let transient =
        Command::new("systemd-run").args(["--quiet", "--collect", &format!("--unit={RETRY}"), &after]);
    let _ = host.run(&transient.arg("--timer-property=AccuracySec=1s").args(start));
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use pitool_host::{Inspect, Output};
    use pitool_sim::Sim;

    use super::*;
    use crate::failure::Failure;
    use crate::issue::placeholder;
    use crate::storage::{About, State};

    const SERVICE: &str = "renewal.service";

    #[test]
    fn a_retry_comes_before_the_timer_or_not_at_all() {
        let at = |wait: SignedDuration| {
            let sim = Sim::debian(13);
            sim.answer("systemctl --quiet stop", Output::default());
            sim.answer("systemd-run", Output::default());
            retry(&sim, sim.now().checked_add(wait).unwrap(), SERVICE);
            sim.commands().into_iter().find(|command| command.starts_with("systemd-run"))
        };
        let soon = at(SignedDuration::from_mins(10)).unwrap();
        assert!(soon.contains("--on-active=600s") && soon.ends_with(SERVICE), "{soon}");
        let past = at(SignedDuration::from_mins(-10)).unwrap();
        assert!(past.contains("--on-active=1s"), "{past}");
        assert_eq!(at(NEXT_LOOK), None);
    }

    #[test]
    fn what_is_in_use_after_a_start_and_what_failed() {
        let sim = Sim::debian(13);
        let (store, name) = (Store::default(), "pi.test");
        sim.answer("systemctl start", Output { status: 1, ..Output::default() });
        store.prepare(&sim).unwrap();
        let fresh = start(&sim, &store, name, SERVICE).unwrap();
        assert_eq!(fresh, Started { ended_well: false, served: false, failures: Failures::default() });

        let material = placeholder(&sim, &[name.to_owned()]).unwrap();
        for (source, served) in
            [(Source::Placeholder, false), (Source::Issued, true), (Source::Imported, true)]
        {
            let about = About { source, directory: String::new(), profile: None };
            let number = store.write(&sim, name, &material, &about, 0).unwrap();
            store.activate(&sim, name, number).unwrap();
            assert_eq!(start(&sim, &store, name, SERVICE).unwrap().served, served, "{source:?}");
        }
        let failure = Failure { at: sim.now(), what: "away".into(), advice: None, rehearsal: false };
        let mut state = State::default();
        state.failures.record(failure, None, false);
        store.remember(&sim, name, &state).unwrap();
        assert_eq!(start(&sim, &store, name, SERVICE).unwrap().failures, state.failures);
    }
}
