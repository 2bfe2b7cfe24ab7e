//! Plans, for people and for programs.

use pitool_engine::report::{PlanReport, StepReason, StepReport};
use pitool_engine::{Action, Id, Plan, Resource, Reversal, Risk};
use pitool_host::Content;
use similar::TextDiff;

use crate::render::{Paint, Terminal, count, list, wrap};

/// The sign of an action in front of a step.
fn sign(action: Action, paint: Paint) -> String {
    match action {
        Action::Create => paint.good("+"),
        Action::Change => paint.notable("~"),
        Action::Remove => paint.bad("-"),
    }
}

/// Reports a plan; with `diff` it carries the differences of all texts.
pub fn report<R: Resource>(plan: &Plan<R>, notes: &[(String, String)], diff: bool) -> PlanReport {
    PlanReport::new(plan, notes, diff, unified)
}

/// `31 changes in 5 roles (12 packages)`.
pub fn size(plan: &PlanReport) -> String {
    let mut roles: Vec<&str> = plan.steps.iter().filter_map(first_role).collect();
    roles.sort_unstable();
    roles.dedup();
    let packages = plan.steps.iter().filter(|step| step.kind == PACKAGE).count();
    let mut size = count(plan.steps.len(), "change");
    if !roles.is_empty() {
        size = format!("{size} in {}", count(roles.len(), "role"));
    }
    if packages > 0 {
        size = format!("{size} ({})", count(packages, "package"));
    }
    size
}

/// `Nothing to change: 87 things are as they should be.`
pub fn nothing(plan: &PlanReport) -> String {
    let held = match plan.refused.len() {
        0 => String::new(),
        held => format!(", {held} held back"),
    };
    match plan.total.saturating_sub(plan.refused.len()) {
        0 => format!("Nothing to change: the roles want nothing here{held}."),
        1 => format!("Nothing to change: one thing is as it should be{held}."),
        right => format!("Nothing to change: {right} things are as they should be{held}."),
    }
}

/// The kind whose steps are shown together.
const PACKAGE: &str = "package";

fn first_role(step: &StepReport) -> Option<&str> {
    step.roles.first().map(String::as_str)
}

/// The difference of two texts as `diff -u` shows it, without the names of files.
fn unified(from: &Content, to: &Content) -> Option<String> {
    let (from, to) = (from.text()?, to.text()?);
    Some(TextDiff::from_lines(from, to).unified_diff().context_radius(3).to_string())
}

/// Shows a plan, all but its last line.
pub fn show(terminal: &Terminal<'_>, plan: &PlanReport) {
    let (drift, ordinary): (Vec<&StepReport>, Vec<&StepReport>) =
        plan.steps.iter().partition(|step| step.reason == StepReason::Drift);
    let mut blocks = Vec::new();
    if !drift.is_empty() {
        let since = plan.since_run.map_or(String::new(), |run| format!(" since run {run}"));
        let heading = format!("Changed by hand{since} (drift), to be put right");
        blocks.push(block(terminal, &heading, &drift));
    }
    let mut roles: Vec<&str> = Vec::new();
    for role in ordinary.iter().filter_map(|step| first_role(step)) {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    // Steps come in stage order; roles keep the order in which they are told apart from it.
    roles.sort_by_key(|role| pitool_roles::ROLES.iter().position(|known| known.name == *role));
    for role in roles {
        let steps: Vec<&StepReport> =
            ordinary.iter().copied().filter(|step| first_role(step) == Some(role)).collect();
        blocks.push(block(terminal, role, &steps));
    }
    let loose: Vec<&StepReport> = ordinary.iter().copied().filter(|step| step.roles.is_empty()).collect();
    if !loose.is_empty() {
        blocks.push(block(terminal, "Other", &loose));
    }
    blocks.extend(sentences(
        terminal,
        "Held back",
        plan.refused.iter().map(|refused| (refused.id.as_str(), refused.why.as_str())),
    ));
    if !plan.unmanaged.is_empty() {
        let mut text = terminal.paint.heading("No longer in the config, left as it is");
        text.push('\n');
        for id in &plan.unmanaged {
            text.push_str(&format!("    {id}\n"));
        }
        text.push_str("    `pitool apply --prune` brings back what was there before pitool.\n");
        blocks.push(text);
    }
    if !terminal.quiet {
        blocks.extend(sentences(
            terminal,
            "Notes",
            plan.notes.iter().map(|note| (note.role.as_str(), note.note.as_str())),
        ));
    }
    for block in blocks {
        terminal.line(block);
    }
}

fn sentences<'a>(
    terminal: &Terminal<'_>,
    heading: &str,
    items: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let mut text = String::new();
    for (what, sentence) in items {
        let end = if sentence.ends_with(['.', '!', '?']) { "" } else { "." };
        let line = format!("{what}: {sentence}{end}");
        text.push_str(&format!("    {}\n", wrap(&line, terminal.width, 4, 6)));
    }
    (!text.is_empty()).then(|| format!("{}\n{text}", terminal.paint.heading(heading)))
}

fn block(terminal: &Terminal<'_>, heading: &str, steps: &[&StepReport]) -> String {
    let mut text = format!("{}\n", terminal.paint.heading(heading));
    if !terminal.verbose {
        for action in [Action::Remove, Action::Create, Action::Change] {
            let (half, whole): (Vec<&StepReport>, Vec<&StepReport>) = steps
                .iter()
                .copied()
                .filter(|step| step.kind == PACKAGE && step.action == action && plain(step))
                .partition(|step| step.summary.starts_with("half installed"));
            let (what, half_what) = match action {
                Action::Create => ("to install", "to install"),
                Action::Change => ("to mark as wanted", "to finish installing"),
                Action::Remove => ("to remove", "to remove"),
            };
            text.push_str(&packages(terminal, action, what, &whole));
            text.push_str(&packages(terminal, action, half_what, &half));
        }
    }
    let column = steps
        .iter()
        .filter(|step| terminal.verbose || step.kind != PACKAGE)
        .map(|step| step.id.as_str().chars().count())
        .filter(|width| *width <= COLUMN)
        .max()
        .unwrap_or(0);
    for step in steps {
        if terminal.verbose || step.kind != PACKAGE || !plain(step) {
            text.push_str(&one(terminal, step, column));
        }
    }
    text
}

/// The widest id that the words beside it wait for.
const COLUMN: usize = 40;

/// The most lines of a difference that nobody asked for.
const BRIEF: usize = 16;

/// The most lines that names of packages take.
const PACKAGE_LINES: usize = 3;

/// Whether a package needs no line of its own.
fn plain(step: &StepReport) -> bool {
    step.risk == Risk::None && !matches!(step.reversal, Reversal::None(_))
}

fn packages(terminal: &Terminal<'_>, action: Action, what: &str, steps: &[&StepReport]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let start = format!("{} {what}:", count(steps.len(), PACKAGE));
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let mut shown = names.len();
    loop {
        let line = format!("{start} {}", list(&names, shown));
        let wrapped = wrap(&line, terminal.width, 4, 6);
        if wrapped.lines().count() <= PACKAGE_LINES || shown == 1 {
            return format!("  {} {wrapped}\n", sign(action, terminal.paint));
        }
        shown -= 1;
    }
}

fn one(terminal: &Terminal<'_>, step: &StepReport, column: usize) -> String {
    let paint = terminal.paint;
    let width = step.id.as_str().chars().count();
    let summary = match step.summary.strip_prefix("absent → ") {
        Some(rest) if !rest.contains('→') => format!("new {rest}"),
        _ => step.summary.clone(),
    };
    let mut text = format!("  {} {}", sign(step.action, paint), step.id);
    // Beside the id where it fits, else below it.
    let start = 4 + column + 2;
    if width <= column && start + summary.chars().count() <= terminal.width {
        text.push_str(&format!("{}{summary}", " ".repeat(column - width + 2)));
    } else if !summary.is_empty() {
        text.push_str("\n      ");
        text.push_str(&wrap(&summary, terminal.width, 6, 6));
    }
    text.push('\n');
    let mut remark = |words: String, paint: &dyn Fn(&str) -> String| {
        let wrapped = wrap(&words, terminal.width, 6, 8);
        text.push_str(&format!("      {}\n", paint(&wrapped)));
    };
    if step.risk == Risk::Lockout {
        remark("risk: lockout".to_owned(), &|text| paint.notable(text));
    }
    match &step.reversal {
        Reversal::None(why) => remark(format!("cannot be undone: {why}"), &|text| paint.notable(text)),
        Reversal::Partial(why) if terminal.verbose => {
            remark(format!("undone in part: {why}"), &|text| paint.faint(text));
        }
        Reversal::Partial(_) | Reversal::Exact => {}
    }
    // The words of a restart often say it already.
    let unsaid: Vec<&Id> = step.follows.iter().filter(|id| !step.summary.contains(id.name())).collect();
    if !unsaid.is_empty() {
        remark(format!("because of {}", list(&unsaid, 2)), &|text| paint.faint(text));
    }
    if step.roles.len() > 1 {
        remark(format!("also for {}", step.roles[1..].join(", ")), &|text| paint.faint(text));
    }
    if let Some(diff) = &step.diff {
        let lines = diff.lines().count();
        let shown = if step.brief && lines > BRIEF { BRIEF - 1 } else { lines };
        for line in diff.lines().take(shown) {
            let line = format!("      {line}");
            let colored = match line.trim_start().chars().next() {
                Some('+') => paint.good(&line),
                Some('-') => paint.bad(&line),
                Some('@') => paint.faint(&line),
                _ => line,
            };
            text.push_str(&colored);
            text.push('\n');
        }
        if shown < lines {
            let more = format!("… {} more lines, with --diff", lines - shown);
            text.push_str(&format!("      {}\n", paint.faint(&more)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Global;
    use crate::render::Streams;
    use pitool_engine::{Refused, Stage};

    fn step(kind: &str, name: &str, summary: &str) -> StepReport {
        StepReport {
            id: Id::new(kind, name),
            kind: kind.to_owned(),
            name: name.to_owned(),
            roles: vec!["security".to_owned()],
            stage: Stage::Configure,
            action: Action::between(!summary.starts_with("absent"), !summary.ends_with("absent")),
            summary: summary.to_owned(),
            reason: StepReason::Differs,
            follows: vec![],
            risk: Risk::None,
            reversal: Reversal::Exact,
            diff: None,
            brief: true,
        }
    }

    fn shown(plan: &PlanReport, verbose: bool) -> String {
        let mut out = Vec::new();
        let global = Global { verbose, ..Global::default() };
        show(&Terminal::new(Streams::captured(&mut out, std::io::sink()), &global), plan);
        String::from_utf8(out).unwrap()
    }

    fn plan() -> PlanReport {
        let mut unit = step("unit", "ssh.service", "restarted");
        unit.risk = Risk::Lockout;
        unit.follows = vec![Id::new("file", "/etc/ssh/x")];
        let mut drift = step("file", "/etc/motd", "content");
        drift.reason = StepReason::Drift;
        drift.reversal = Reversal::None("it is gone".to_owned());
        PlanReport {
            steps: vec![
                step("package", "ufw", "absent → installed"),
                step("package", "fail2ban", "absent → installed"),
                step("file", "/etc/ssh/x", "absent → file, 9 lines, 0644 root:root"),
                unit,
                drift,
            ],
            refused: vec![Refused {
                id: Id::new("file", "/etc/ssh/y"),
                roles: vec![],
                why: "nobody could log in".into(),
            }],
            unmanaged: vec![Id::new("file", "/etc/old")],
            total: 40,
            since_run: Some(7),
            ..PlanReport::default()
        }
    }

    #[test]
    fn a_plan_by_role_with_signs_and_words() {
        assert_eq!(
            shown(&plan(), false),
            "Changed by hand since run 7 (drift), to be put right
  ~ file[/etc/motd]  content
      cannot be undone: it is gone

security
  + 2 packages to install: ufw, fail2ban
  + file[/etc/ssh/x]   new file, 9 lines, 0644 root:root
  ~ unit[ssh.service]  restarted
      risk: lockout
      because of file[/etc/ssh/x]

Held back
    file[/etc/ssh/y]: nobody could log in.

No longer in the config, left as it is
    file[/etc/old]
    `pitool apply --prune` brings back what was there before pitool.

"
        );
        assert!(shown(&plan(), true).contains("  + package[fail2ban]  new installed\n"));
        assert_eq!(size(&plan()), "5 changes in 1 role (2 packages)");
        assert_eq!(nothing(&plan()), "Nothing to change: 39 things are as they should be, 1 held back.");
    }

    #[test]
    fn a_difference_is_that_of_diff() {
        let diff = unified(&"a\nb\n".into(), &"a\nc\n".into());
        assert_eq!(diff.as_deref(), Some("@@ -1,2 +1,2 @@\n a\n-b\n+c\n"));
    }

    #[test]
    fn of_a_difference_that_nobody_asked_for_the_beginning_is_shown() {
        let mut drift = step("file", "/etc/motd", "content");
        drift.diff = Some((1..=BRIEF).map(|line| format!("-{line}\n")).collect());
        let told = |step: &StepReport| {
            shown(&PlanReport { steps: vec![step.clone()], ..PlanReport::default() }, false)
        };
        assert!(told(&drift).contains("      -16\n") && !told(&drift).contains("more lines"));
        drift.diff = Some((1..=40).map(|line| format!("-{line}\n")).collect());
        assert!(told(&drift).contains("      -15\n      … 25 more lines, with --diff\n"), "{}", told(&drift));
        drift.brief = false;
        assert!(told(&drift).contains("      -40\n"));
    }
}
