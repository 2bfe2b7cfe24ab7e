//! A runner for test programs that boot machines: cases in order, one after another, in one process.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};

use crate::machine::Lab;

/// Runs named cases at once and in order, and keeps the count.
///
/// Arguments of the program that do not start with a dash select the cases whose names, or whose group's name, contain one
/// of them.
#[derive(Debug)]
pub struct Runner {
    filters: Vec<String>,
    listing: bool,
    passed: u32,
    /// Each failed case as it was told.
    failed: Vec<String>,
    skipped: u32,
    groups: Vec<Group>,
}

/// Cases that are counted and timed together.
#[derive(Debug)]
struct Group {
    name: String,
    passed: u32,
    failed: u32,
    tried: u32,
    started: Instant,
    /// None: it is the one whose cases run.
    seconds: Option<f64>,
}

impl Group {
    fn end(&mut self) {
        self.seconds.get_or_insert(self.started.elapsed().as_secs_f64());
    }
}

/// The error of a case that cannot be tried here.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Makes the error by which a case says that it cannot be tried here, and why.
pub fn skip(why: impl Into<String>) -> anyhow::Error {
    Skip(why.into()).into()
}

#[expect(clippy::print_stdout, reason = "a test program's results are its output")]
fn report(line: &str) {
    println!("{line}");
}

impl Runner {
    /// Starts a test program: reads its arguments, removes what killed runs left, and minds Ctrl-C.
    ///
    /// To be called before any thread is started, which would miss the signals' mask.
    pub fn new() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let listing = arguments.iter().any(|argument| argument == "--list");
        let filters = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
        if !listing {
            sweep_on_signals();
            if let Ok(lab) = Lab::open() {
                let _ = lab.sweep();
            }
        }
        Self { filters, listing, passed: 0, failed: Vec::new(), skipped: 0, groups: Vec::new() }
    }

    /// Opens the lab, or counts one case that says why not.
    ///
    /// Boots nothing unless asked by `PITOOL_MACHINE=1`: a plain `cargo test` by root is no such wish. Asked
    /// for, a host without root skips, and one without the packages fails.
    pub fn lab(&mut self) -> Option<Lab> {
        if self.listing {
            return None;
        }
        let asked = std::env::var_os("PITOOL_MACHINE").is_some_and(|value| value == "1");
        let why = if !asked {
            "boots machines: set PITOOL_MACHINE=1"
        } else if !nix::unistd::geteuid().is_root() {
            "machine boxes need root"
        } else {
            match Lab::open() {
                Ok(lab) => return Some(lab),
                Err(error) => {
                    self.record("lab", Err(error), 0.0);
                    return None;
                }
            }
        };
        self.record("lab", Err(skip(why)), 0.0);
        None
    }

    /// Begins a group: the cases from here on are counted and timed under its name, too.
    pub fn group(&mut self, name: &str) {
        if let Some(group) = self.groups.last_mut() {
            group.end();
        }
        let started = Instant::now();
        self.groups.push(Group {
            name: name.to_owned(),
            passed: 0,
            failed: 0,
            tried: 0,
            started,
            seconds: None,
        });
    }

    /// Tells whether any of the names is selected: booting a machine for nobody can be spared.
    pub fn wants(&self, names: &[&str]) -> bool {
        !self.listing && names.iter().any(|name| self.selected(name))
    }

    fn selected(&self, name: &str) -> bool {
        let group = self.groups.last().map_or("", |group| &group.name);
        let named = |filter: &String| name.contains(filter.as_str()) || group.contains(filter.as_str());
        self.filters.is_empty() || self.filters.iter().any(named)
    }

    /// Runs a case if it is selected; a panic is a failure like any other.
    pub fn case(&mut self, name: &str, body: impl FnOnce() -> Result<()>) -> bool {
        if !self.selected(name) {
            return true;
        }
        if self.listing {
            report(&format!("{name}: test"));
            return true;
        }
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(anyhow::anyhow!("panicked: {text}"))
        });
        self.record(name, outcome, started.elapsed().as_secs_f64())
    }

    fn record(&mut self, name: &str, outcome: Result<()>, seconds: f64) -> bool {
        if let Some(group) = self.groups.last_mut() {
            group.tried += 1;
            group.passed += u32::from(outcome.is_ok());
        }
        match outcome {
            Ok(()) => {
                self.passed += 1;
                report(&format!("{name} … ok ({seconds:.1} s)"));
                true
            }
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(why) => {
                    self.skipped += 1;
                    report(&format!("{name} … skipped ({why})"));
                    true
                }
                None => {
                    if let Some(group) = self.groups.last_mut() {
                        group.failed += 1;
                    }
                    let indented = format!("{error:#}").replace('\n', "\n    ");
                    let told = format!("{name} … FAILED ({seconds:.1} s)\n    {indented}");
                    report(&told);
                    self.failed.push(told);
                    false
                }
            },
        }
    }

    /// Counts a case that is not tried, and says why.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.case(name, || Err(skip(why)));
    }

    /// Removes what is left of this program's boxes, prints the summary, and gives the exit code.
    pub fn finish(mut self) -> ExitCode {
        if self.listing {
            return ExitCode::SUCCESS;
        }
        if let Ok(lab) = Lab::open() {
            let _ = lab.sweep_own();
        }
        if let Some(group) = self.groups.last_mut() {
            group.end();
        }
        // `cargo xtask test` reads these lines.
        for Group { name, passed, failed, tried, seconds, .. } in
            self.groups.iter().filter(|group| group.tried > 0)
        {
            let failed = if *failed > 0 { format!(", {failed} failed,") } else { String::new() };
            report(&format!(
                "group {name}: {passed} of {tried}{failed} in {:.0} s",
                seconds.unwrap_or_default()
            ));
        }
        // Hours of output may lie between a failure and the end, and a log may be read by its end alone.
        for told in &self.failed {
            report(told);
        }
        report(&format!("{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped));
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes this program's boxes down when it is interrupted or terminated.
fn sweep_on_signals() {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Blocked in every thread to come, and waited for in one.
    if signals.thread_block().is_err() {
        return;
    }
    std::thread::spawn(move || {
        let signal = signals.wait();
        if let Ok(lab) = Lab::open() {
            let _ = lab.sweep_own();
        }
        std::process::exit(128 + signal.map_or(15, |signal| signal as i32));
    });
}
