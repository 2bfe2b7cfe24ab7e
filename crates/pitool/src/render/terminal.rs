//! The one place that writes. What a terminal would obey is shown as its code ([`visible`]): most of what is printed
//! was written by others.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;

use crate::cli::{Color, Global};
use crate::render::text::visible;
use crate::render::{Live, Paint};

/// Where output goes, and what it looks like there.
pub struct Streams<'a> {
    /// For data.
    pub stdout: Box<dyn Write + 'a>,
    /// For talk.
    pub stderr: Box<dyn Write + 'a>,
    /// Whether stdout is a terminal that understands colours.
    pub stdout_colors: bool,
    /// Whether stderr is.
    pub stderr_colors: bool,
    /// Columns.
    pub width: usize,
    /// The line of progress on stderr.
    pub live: Rc<Live>,
}

/// Columns where there is no terminal: logs, files, mail.
const WIDTH: usize = 100;

impl<'a> Streams<'a> {
    /// This process's own.
    #[expect(
        clippy::disallowed_methods,
        reason = "NO_COLOR and TERM are about the caller's terminal, not the machine"
    )]
    pub fn standard() -> Self {
        let variable = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let colors = !variable("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            stdout_colors: colors && stdout.is_terminal(),
            stderr_colors: colors && stderr.is_terminal(),
            width: match terminal {
                Some(width) if stdout.is_terminal() => width.clamp(40, 120),
                _ => WIDTH,
            },
            live: Rc::new(Live::new(stderr.is_terminal())),
            stdout: Box::new(io::BufWriter::new(stdout)),
            stderr: Box::new(stderr),
        }
    }

    /// Plain streams that a test reads.
    pub fn captured(stdout: impl Write + 'a, stderr: impl Write + 'a) -> Self {
        Self {
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            stdout_colors: false,
            stderr_colors: false,
            width: 80,
            live: Rc::new(Live::new(false)),
        }
    }
}

/// Both streams, with what the person asked of them.
pub struct Terminal<'a> {
    stdout: RefCell<Box<dyn Write + 'a>>,
    stderr: RefCell<Box<dyn Write + 'a>>,
    lost: Cell<Option<io::ErrorKind>>,
    /// The colours of stdout.
    pub paint: Paint,
    /// The colours of stderr.
    pub talk: Paint,
    /// Columns.
    pub width: usize,
    /// Whether stdout carries JSON.
    pub json: bool,
    /// Whether only what matters is said.
    pub quiet: bool,
    /// Whether more is said.
    pub verbose: bool,
    /// The line of progress.
    pub live: Rc<Live>,
}

impl<'a> Terminal<'a> {
    /// Makes streams what the options ask for.
    pub fn new(streams: Streams<'a>, global: &Global) -> Self {
        let color = |able| match global.color {
            Color::Auto => able,
            Color::Always => true,
            Color::Never => false,
        };
        Self {
            paint: Paint::new(color(streams.stdout_colors)),
            talk: Paint::new(color(streams.stderr_colors)),
            stdout: RefCell::new(streams.stdout),
            stderr: RefCell::new(streams.stderr),
            lost: Cell::new(None),
            width: streams.width,
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            live: streams.live,
        }
    }

    /// Prints data.
    pub fn write(&self, text: &str) {
        let text = visible(text, self.paint.is_on());
        self.live.aside(|| {
            let mut stdout = self.stdout.borrow_mut();
            let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            self.note(written);
        });
    }

    /// Prints a line of data.
    pub fn line(&self, line: impl AsRef<str>) {
        self.write(&format!("{}\n", line.as_ref()));
    }

    /// Says something, whatever was asked for.
    pub fn say(&self, line: impl AsRef<str>) {
        let line = visible(line.as_ref(), self.talk.is_on());
        self.live.aside(|| {
            // Nobody is left to hear that nobody can hear.
            let _unheard = writeln!(self.stderr.borrow_mut(), "{line}");
        });
    }

    /// Says something that a quiet command leaves out.
    pub fn mention(&self, line: impl AsRef<str>) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// Remembers the first error of stdout. A run goes on: whoever reads it must not decide how it ends.
    fn note(&self, written: io::Result<()>) {
        if let (Err(error), None) = (written, self.lost.get()) {
            self.lost.set(Some(error.kind()));
        }
    }

    /// What kept data from being printed; a reader that went away is no error.
    pub fn lost(&self) -> Option<io::ErrorKind> {
        self.lost.get().filter(|kind| *kind != io::ErrorKind::BrokenPipe)
    }
}
