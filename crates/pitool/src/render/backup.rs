//! Backups, in words and tables.

use std::time::Duration;

use jiff::Zoned;
use pitool_backup::ArchiveName;
use pitool_backup::job::{Checked, Drilled, Moved, Outcome, Plan};
use pitool_backup::manifest::Seal;
use pitool_backup::record::LOCAL;
use pitool_backup::restore::{Problem, Restored, Unfinished};
use serde_json::json;

use crate::backup::{Figures, Known, Listed, Row};
use crate::render::{Clock, Terminal, bytes, count, duration, json as json_out, wrap};

fn seconds(seconds: f64) -> String {
    duration(Duration::from_secs_f64(seconds.max(0.0)))
}

/// Reports the result of saving a set.
pub(crate) fn outcome(terminal: &Terminal<'_>, outcome: &Outcome, clock: &Clock) {
    let deed = &outcome.deed;
    if terminal.json {
        let unchanged = outcome.saved.as_ref().and_then(|saved| match &saved.seal {
            Seal::UnchangedSince(name) => Some(name.to_string()),
            Seal::Archive { .. } => None,
        });
        let size = outcome.saved.as_ref().map_or(0, |saved| match saved.seal {
            Seal::Archive { size, .. } => size,
            Seal::UnchangedSince(_) => 0,
        });
        let notes: Vec<String> =
            outcome.saved.iter().flat_map(|saved| &saved.notes).map(ToString::to_string).collect();
        let targets: Vec<String> = outcome.moved.iter().map(moved).collect();
        let event = json!({ "event": "saved", "set": outcome.set, "ok": deed.ok, "archive": deed.archive,
            "unchanged_since": unchanged, "files": deed.files, "bytes": deed.bytes, "size": size,
            "seconds": deed.seconds, "targets": targets, "notes": notes, "problems": deed.problems });
        json_out::event(terminal, &event);
        return;
    }
    if let Some(saved) = &outcome.saved {
        let end = &saved.end;
        let files = usize::try_from(end.files).unwrap_or(usize::MAX);
        let what = match &saved.seal {
            Seal::UnchangedSince(name) => {
                let since = clock.show(&name.time().to_string());
                format!("nothing has changed since {since}; {} says so", saved.name)
            }
            Seal::Archive { size, .. } => format!(
                "{}, {}, in {} ({})",
                count(files, "file"),
                bytes(end.bytes),
                saved.name,
                bytes(*size)
            ),
        };
        terminal.line(format!("{}: {what}, took {}", outcome.set, seconds(deed.seconds)));
        for one in &outcome.moved {
            terminal.line(format!("  {}", moved(one)));
        }
        if terminal.verbose {
            for one in saved.notes.iter().filter(|note| !note.what.is_problem()) {
                terminal.line(format!("  {}", wrap(&one.to_string(), terminal.width, 2, 4)));
            }
        }
    }
    for why in &deed.problems {
        let text = wrap(&format!("{}: {why}", outcome.set), terminal.width, 8, 8);
        terminal.say(format!("{} {text}", terminal.talk.bad("failed:")));
    }
}

/// Archives that were copied or deleted, in words.
fn moved(moved: &Moved) -> String {
    let (what, done) = if moved.deleted { ("old archive", "deleted") } else { ("archive", "copied") };
    format!("{}: {} {done}, {}", moved.target, count(moved.archives, what), bytes(moved.bytes))
}

/// Says that a restore was cut off and what to do about it.
pub(crate) fn unfinished(terminal: &Terminal<'_>, unfinished: &Unfinished, clock: &Clock) {
    let Unfinished { archive, target, paths, since, safety } = unfinished;
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let away = match target {
        Some(target) if target != LOCAL => format!(" --target {target}"),
        _ => String::new(),
    };
    let since = clock.show(&since.to_string());
    let before = match safety {
        Some(safety) => format!(" What was there before is in {safety}."),
        None => String::new(),
    };
    terminal.say(format!(
        "A restore of {archive} was cut off at {since}: what is in {} is partly the archive's and partly older. \
         Run it again: `pitool backup restore{away} {archive} {}`.{before}",
        paths.join(", "),
        paths.join(" ")
    ));
}

fn moment(time: &Zoned, clock: &Clock) -> String {
    clock.show(&time.timestamp().to_string())
}

/// Lists sets with their archives.
pub(crate) fn listed(
    terminal: &Terminal<'_>,
    sets: &[Listed],
    clock: &Clock,
    synchronized: bool,
    enabled: bool,
) {
    for (number, set) in sets.iter().enumerate() {
        if number > 0 {
            terminal.line("");
        }
        terminal.line(terminal.paint.heading(&set.set));
        let row = |name: &str, text: &str| {
            terminal.line(format!("  {name:<8} {}", wrap(text, terminal.width, 11, 11)));
        };
        match &set.run {
            None => row("last", &terminal.paint.notable("never saved")),
            Some(run) if run.ok => row("last", &format!("{}, saved", clock.show(&run.time.to_string()))),
            Some(run) => {
                let why = run.problems.first().map(String::as_str).unwrap_or("failed");
                let text = format!("{}, failed: {why}", clock.show(&run.time.to_string()));
                row("last", &terminal.paint.bad(&text));
                match set.success {
                    Some(time) => row("good", &clock.show(&time.to_string())),
                    None => row("good", "never"),
                }
            }
        }
        match (&set.due.next, enabled) {
            (Some(next), true) => row("next", &moment(next, clock)),
            _ => row("next", "by hand only"),
        }
        if let Some(since) = &set.due.overdue {
            let text = format!("since {}, {} missed", moment(since, clock), count(set.due.missed, "backup"));
            row("overdue", &terminal.paint.bad(&text));
        }
        match &set.drill {
            None => row("drill", "never"),
            Some(drill) => {
                let time = clock.show(&drill.time.to_string());
                match drill.ok {
                    true => row("drill", &format!("{time}, restored in {}", seconds(drill.seconds))),
                    false => {
                        let why = drill.problems.first().map(String::as_str).unwrap_or_default();
                        row("drill", &terminal.paint.bad(&format!("{time}, failed: {why}")));
                    }
                }
            }
        }
        if let Some(since) = &set.drill_due.overdue {
            row("", &terminal.paint.bad(&format!("drill overdue since {}", moment(since, clock))));
        }
        archives(terminal, &set.archives, clock);
    }
    if !synchronized {
        terminal.mention(
            "No time server confirms the clock, so nothing is called overdue and nothing is deleted.",
        );
    }
}

fn archives(terminal: &Terminal<'_>, rows: &[Row], clock: &Clock) {
    let width = rows.iter().map(|row| row.name.to_string().len()).max().unwrap_or(0);
    for row in rows {
        let size = match &row.refers_to {
            Some(_) => "unchanged".to_owned(),
            None => bytes(row.size),
        };
        let targets: Vec<String> = row
            .targets
            .iter()
            .map(|(target, known)| match known {
                Known::Verified => target.clone(),
                Known::Unverified => format!("{target} (not verified)"),
                Known::Damaged => terminal.paint.bad(&format!("{target} (damaged)")),
            })
            .collect();
        let made = clock.show(&row.name.time().to_string());
        terminal.line(format!(
            "  {:<width$}  {made}  {size:>9}  {}",
            row.name.to_string(),
            targets.join(", ")
        ));
    }
}

/// Lists archives of no set.
pub(crate) fn others(terminal: &Terminal<'_>, others: &[ArchiveName]) {
    if others.is_empty() {
        return;
    }
    terminal.line("");
    terminal.line(terminal.paint.heading("Of no set"));
    for name in others {
        terminal.line(format!("  {name}"));
    }
}

/// Shows what stays and what goes, and why.
pub(crate) fn plans(terminal: &Terminal<'_>, plans: &[Plan], synchronized: bool) {
    for plan in plans.iter().filter(|plan| !plan.decisions.is_empty()) {
        let note = if plan.append_only { ", where this machine deletes nothing" } else { "" };
        terminal.line(terminal.paint.heading(&format!("{} at {}{note}", plan.set, plan.target)));
        for decision in &plan.decisions {
            let verdict = match decision.keep {
                true => "stays".to_owned(),
                false => terminal.paint.notable("goes "),
            };
            let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
            let indent = 2 + 5 + 2 + decision.name.len() + 2;
            let why = wrap(&reasons.join(", "), terminal.width.max(indent + 20), indent, indent);
            terminal.line(format!("  {verdict}  {}  {why}", decision.name));
        }
    }
    let all = plans.iter().flat_map(|plan| &plan.decisions);
    let (kept, gone): (Vec<_>, Vec<_>) = all.partition(|decision| decision.keep);
    terminal.line(format!("{} stay, {} go.", count(kept.len(), "archive"), gone.len()));
    if !synchronized {
        terminal.mention("No time server confirms the clock, so nothing is deleted.");
    }
}

/// Reports the result of verifying an archive.
pub(crate) fn verified(terminal: &Terminal<'_>, checked: &Checked) {
    let Checked { archive, target, full, found, took } = checked;
    if terminal.json {
        let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        let event = json!({ "event": "verified", "archive": archive.to_string(), "target": target, "full": full,
            "entries": found.entries, "bytes": found.bytes, "problems": problems,
            "seconds": took.as_secs_f64() });
        json_out::event(terminal, &event);
        return;
    }
    let entries = usize::try_from(found.entries).unwrap_or(usize::MAX);
    if found.problems.is_empty() {
        let words = terminal.paint.good("as it was written");
        let entries = match entries {
            1 => "1 entry".to_owned(),
            number => format!("{number} entries"),
        };
        terminal.line(format!(
            "{archive}: {words}, {entries}, {}, took {}",
            bytes(found.bytes),
            duration(*took)
        ));
        return;
    }
    terminal.line(format!("{archive}: {}", terminal.paint.bad("damaged")));
    problems(terminal, &found.problems);
}

fn problems(terminal: &Terminal<'_>, problems: &[Problem]) {
    const MOST: usize = 20;
    for one in problems.iter().take(MOST) {
        terminal.say(format!("  {}", wrap(&one.to_string(), terminal.width, 2, 4)));
    }
    if problems.len() > MOST {
        terminal.say(format!("  and {} more", problems.len() - MOST));
    }
}

/// Tells what was restored.
pub(crate) fn restored(terminal: &Terminal<'_>, name: &str, restored: &Restored, replaced: Option<&str>) {
    let deleted = match restored.deleted {
        0 => String::new(),
        number => format!(", {number} deleted that it does not have"),
    };
    terminal.line(format!(
        "Restored {} entries, {}, from {name}{deleted}, took {}.",
        restored.entries,
        bytes(restored.bytes),
        duration(restored.duration)
    ));
    if let Some(replaced) = replaced {
        terminal.line(format!("What was there before is in {replaced}."));
    }
    for spared in &restored.spared {
        terminal.line(format!("Left alone: {}: {}.", spared.path.absolute().display(), spared.why));
    }
    if !restored.problems.is_empty() {
        terminal.say(terminal.talk.bad("Not everything could be restored:"));
        problems(terminal, &restored.problems);
    }
}

/// Reports the result of a drill.
pub(crate) fn drilled(terminal: &Terminal<'_>, drilled: &Drilled) {
    let deed = &drilled.deed;
    if terminal.json {
        let event = json!({ "event": "drilled", "set": drilled.set, "ok": deed.ok, "archive": deed.archive,
            "files": deed.files, "bytes": deed.bytes, "databases": drilled.databases, "seconds": deed.seconds,
            "problems": deed.problems });
        json_out::event(terminal, &event);
        return;
    }
    let archive = deed.archive.as_ref().map(|archive| format!("{archive} ")).unwrap_or_default();
    if deed.ok {
        let databases = match drilled.databases {
            0 => String::new(),
            number => {
                format!(", {} opened", count(usize::try_from(number).unwrap_or(usize::MAX), "database"))
            }
        };
        let words = terminal.paint.good("restored on trial");
        terminal.line(format!(
            "{}: {archive}{words}: {} files, {}, every hash is right{databases}, took {}",
            drilled.set,
            deed.files,
            bytes(deed.bytes),
            seconds(deed.seconds)
        ));
        return;
    }
    terminal.line(format!("{}: {archive}{}", drilled.set, terminal.paint.bad("failed its drill")));
    for why in &deed.problems {
        terminal.say(format!("  {}", wrap(why, terminal.width, 2, 4)));
    }
}

/// Shows figures.
pub(crate) fn figures(terminal: &Terminal<'_>, figures: &[Figures]) {
    let head = format!(
        "{:<16} {:>8} {:>8} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "set", "archives", "notes", "on disk", "files", "restores", "last run", "last drill"
    );
    terminal.line(terminal.paint.heading(&head));
    let time = |time: Option<f64>| time.map_or("-".to_owned(), seconds);
    for one in figures {
        terminal.line(format!(
            "{:<16} {:>8} {:>8} {:>10} {:>10} {:>10} {:>12} {:>12}",
            one.set,
            one.archives,
            one.notes,
            bytes(one.size),
            one.files,
            bytes(one.bytes),
            time(one.run_seconds),
            time(one.drill_seconds)
        ));
    }
}
