//! How the machine is, as a table.

use pitool_monitor::finding::{Finding, Level, Report};

use crate::render::{Terminal, count, list, wrap};

/// Columns of the level and of the check's name.
const LEVEL: usize = 8;
const NAME: usize = 28;

/// Shows a report: every check, what to do under those that are not ok, and the sum.
pub fn show(terminal: &Terminal<'_>, report: &Report) {
    for finding in report.findings.iter().filter(|finding| !terminal.quiet || finding.level != Level::Ok) {
        row(terminal, finding);
    }
    if terminal.verbose {
        for absent in &report.absent {
            let level = terminal.paint.faint(&format!("{:<LEVEL$}", "–"));
            let why = wrap(&absent.why, terminal.width, LEVEL + NAME, LEVEL + NAME);
            terminal.line(format!("{level}{:<NAME$}{why}", absent.check));
        }
    }
    let counts = report.counts();
    let of = |level: Level| counts.get(&level).copied().unwrap_or_default();
    let parts: Vec<String> = [Level::Ok, Level::Warn, Level::Fail, Level::Unknown]
        .into_iter()
        .filter(|level| of(*level) > 0)
        .map(|level| format!("{} {}", of(level), level.word()))
        .collect();
    let mut sum = format!("{}: {}", count(report.findings.len(), "check"), parts.join(", "));
    if !report.absent.is_empty() && !terminal.verbose {
        let mut names: Vec<&str> = report.absent.iter().map(|absent| absent.check.as_str()).collect();
        names.dedup();
        sum = format!("{sum}; not here: {}", list(&names, 8));
    }
    terminal.line(wrap(&format!("{sum}."), terminal.width, 0, 2));
}

fn row(terminal: &Terminal<'_>, finding: &Finding) {
    let paint = terminal.paint;
    let word = format!("{:<LEVEL$}", finding.level.word());
    let level = match finding.level {
        Level::Ok => paint.good(&word),
        Level::Unknown => paint.faint(&word),
        Level::Warn => paint.notable(&word),
        Level::Fail => paint.bad(&word),
    };
    let name = match finding.subject.as_str() {
        "" => finding.check.clone(),
        subject => format!("{} {subject}", finding.check),
    };
    // A long name takes as much as it needs, and one blank.
    let name = format!("{name:<width$}", width = NAME.max(name.chars().count() + 1));
    let indent = LEVEL + NAME;
    let mut value = finding.value.clone();
    if !finding.threshold.is_empty() && (finding.level != Level::Ok || terminal.verbose) {
        value = format!("{value} (threshold: {})", finding.threshold);
    }
    terminal
        .line(format!("{level}{name}{}", wrap(&value, terminal.width, LEVEL + name.chars().count(), indent)));
    if !finding.hint.is_empty() {
        terminal.line(format!(
            "{}{}",
            " ".repeat(indent),
            wrap(&finding.hint, terminal.width, indent, indent)
        ));
    }
}
