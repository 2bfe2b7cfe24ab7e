//! The line that tells how a run is getting on.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pitool_host::Progress;

use crate::render::visible;

/// One line on a terminal's stderr; without a terminal only what a person must know to wait patiently.
#[derive(Debug)]
pub struct Live {
    terminal: bool,
    bar: RefCell<Option<ProgressBar>>,
    what: RefCell<String>,
    waiting: RefCell<String>,
    quiet: Cell<bool>,
    /// Steps that ended, and steps that began and did not end: neighbours that are one act, such as packages.
    ended: Cell<usize>,
    begun: Cell<usize>,
}

/// How finely the bar moves within a step.
const PARTS: u64 = 100;

impl Live {
    /// A line on a terminal, or nothing but plain lines.
    pub fn new(terminal: bool) -> Self {
        Self {
            terminal,
            bar: RefCell::default(),
            what: RefCell::default(),
            waiting: RefCell::default(),
            quiet: Cell::new(false),
            ended: Cell::new(0),
            begun: Cell::new(0),
        }
    }

    /// Whether there is a line that changes.
    pub fn terminal(&self) -> bool {
        self.terminal
    }

    /// Shows nothing from now on.
    pub fn silence(&self) {
        self.quiet.set(true);
    }

    /// Begins with so many steps ahead; 0 where nobody knows.
    pub fn start(&self, steps: usize, what: &str) {
        self.finish();
        what.clone_into(&mut self.what.borrow_mut());
        if !self.terminal || self.quiet.get() {
            return;
        }
        self.ended.set(0);
        self.begun.set(0);
        let length = Some(steps as u64 * PARTS);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let template = if steps > 0 { "{bar:16} {prefix}  {wide_msg}" } else { "{spinner}  {wide_msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_prefix(format!("0/{steps}"));
        bar.set_message(visible(what, false).into_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        *self.bar.borrow_mut() = Some(bar);
    }

    /// Tells that a step begins. Steps that begin before the one ahead of them has ended are one act; `together` names
    /// so many of them.
    pub fn step(&self, what: &str, together: impl FnOnce(usize) -> String) {
        self.begun.set(self.begun.get() + 1);
        let what = if self.begun.get() > 1 { together(self.begun.get()) } else { what.to_owned() };
        what.clone_into(&mut self.what.borrow_mut());
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_message(visible(&what, false).into_owned());
        }
    }

    /// Tells that so many steps are done.
    pub fn done(&self, steps: usize) {
        self.ended.set(steps);
        self.begun.set(0);
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_position(steps as u64 * PARTS);
            bar.set_prefix(format!("{steps}/{}", bar.length().unwrap_or_default() / PARTS));
        }
    }

    /// Hears from the machine how a long operation is getting on.
    pub fn hear(&self, progress: &Progress) {
        let text = match progress {
            Progress::Percent { percent, message } => format!("{percent:.0} %  {message}"),
            Progress::Waiting(what) => what.clone(),
        };
        if let Some(bar) = &*self.bar.borrow() {
            if let Progress::Percent { percent, .. } = progress {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to 100, for a bar"
                )]
                let percent = percent.clamp(0.0, 100.0) as u64;
                bar.set_position(self.ended.get() as u64 * PARTS + self.begun.get() as u64 * percent);
            }
            bar.set_message(visible(&format!("{}  {text}", self.what.borrow()), false).into_owned());
        } else if let Progress::Waiting(what) = progress {
            if !self.quiet.get() && *self.waiting.borrow() != *what {
                what.clone_into(&mut self.waiting.borrow_mut());
                let _unheard = writeln!(std::io::stderr(), "{}", visible(what, false));
            }
        }
    }

    /// What another thread tells with how it is getting on.
    pub fn ticker(&self) -> Ticker {
        Ticker(self.bar.borrow().clone())
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    /// Does something while the line is out of the way.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }
}

/// A part of the line that any thread may write.
#[derive(Clone, Debug)]
pub struct Ticker(Option<ProgressBar>);

impl Ticker {
    /// Says how far it is.
    pub fn say(&self, text: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(visible(&text, false).into_owned());
        }
    }
}
