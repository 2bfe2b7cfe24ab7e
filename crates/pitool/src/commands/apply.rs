//! `pitool apply`: makes the machine what the config says, and asks whether it is so.

use std::time::{Duration, Instant};

use pitool_config::{Diagnostic, Fragment, Severity};
use pitool_engine::report::{Message, PlanReport, Summary};
use pitool_engine::{
    Consent, Ending, Error, Id, Outcome, PATIENCE, Proved, Resource, Settled, Tally, Verdict,
};
use pitool_roles::Wanted;

use crate::cli;
use crate::commands::cert;
use crate::commands::containers::Containers;
use crate::commands::plan::{Request, look, plan};
use crate::commands::promises::ask;
use crate::exit;
use crate::failure::{Class, Failure, Result};
use crate::render::plan::{nothing as nothing_to_change, show, size};
use crate::render::run::{Follower, name};
use crate::render::{Terminal, count, duration, failure, json as json_out, proof, wrap};
use crate::session::{Session, roles, stopwatch};

/// Plans, applies, proves.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Apply) -> Result<u8> {
    if command.check {
        let request = Request {
            command: "apply",
            roles: &command.roles.roles,
            diff: command.diff,
            prune: command.prune,
            close_ports: command.close_ports,
            consent: Consent { cut_login: command.cut_login },
        };
        return look(session, &request);
    }
    let chosen = roles(&command.roles.roles)?;
    session.require_root()?;
    session.require_quiet()?;
    let began = stopwatch();
    let (settings, fragments) = session.settings_closing(command.close_ports)?;
    let mut wanted = session.wanted(&chosen, &settings)?;
    wanted.desired.consent = Consent { cut_login: command.cut_login };
    let unfinished = session.unfinished()?;
    let (shown, view) = plan(session, &wanted, session.journal(), command.prune, command.diff)?;
    let terminal = session.terminal;
    announce(terminal, &view);
    if wanted.desired.goals.is_empty() {
        // Of a role that wants nothing, why is the one thing to say.
        wanted.notes.iter().for_each(|(_, note)| terminal.mention(format!("{note}.")));
    }

    let containers = Containers::note(session, &shown)?;
    if let Some(cut) = containers.cut(&shown) {
        terminal.mention(format!("{} {cut}.", terminal.talk.notable("note:")));
    }

    let mut follower = Follower::new(terminal, &view);
    let outcome = if view.steps.is_empty() && unfinished.is_none() {
        nothing()
    } else {
        if !view.steps.is_empty() {
            terminal.live.start(0, "Looking whether everything is to be had");
        }
        let applied = session.engine().apply(&wanted.desired, command.prune, Some(&shown), &mut |event| {
            follower.hear(&event);
        });
        terminal.live.finish();
        applied.map_err(|error| refused(session, &error, &settings, &fragments))?
    };
    let settled = &outcome.settled;
    for (id, why) in &settled.held {
        // What the plan held back has been said.
        if !view.refused.iter().any(|refused| refused.id == *id) {
            terminal.mention(wrap(&format!("held back: {id}: {why}"), terminal.width, 0, 11));
        }
    }
    let changed = settled.run.is_some();
    if settled.ending == Ending::Done && touched(&wanted, settled, "ssl") {
        cert::after_apply(session, &settings)?;
    }
    let prove_now = settled.ending == Ending::Done && (changed || command.verify);
    let proved = if prove_now {
        let questions = wanted.proofs.iter().map(|(_, question)| question.clone());
        let questions = questions.chain(containers.question()).collect();
        ask(session, questions, if changed { PATIENCE } else { Duration::ZERO })
    } else {
        containers.ask(session, None)
    };
    let tally = Tally::new(&proved);
    let code = match (settled.ending, outcome.rolled_back.as_ref().map(|back| back.ending)) {
        (Ending::Done, _) if tally.not_in_force > 0 => exit::FAILED,
        (Ending::Done, _) => exit::DONE,
        (Ending::Interrupted, _) => exit::FAILED,
        (Ending::Failed, Some(Ending::Done)) if tally.not_in_force == 0 => exit::ROLLED_BACK,
        (Ending::Failed, _) => exit::ROLLBACK_INCOMPLETE,
    };
    if terminal.json {
        let summary = Summary::apply(code, &outcome, tally, began.elapsed().as_secs_f64());
        json_out::line(terminal, Message::Summary(summary));
    }
    tell(session, &follower, &outcome, &view, &began);
    if !terminal.json {
        proof::show(terminal, &proved);
    }
    advise(terminal, &outcome, &proved, &wanted);
    Ok(code)
}

/// Whether a run changed something that this role wants.
fn touched(wanted: &Wanted, settled: &Settled, role: &str) -> bool {
    let of_role = |id: &&Id| {
        let goal = wanted.desired.goals.iter().find(|goal| goal.resource.id() == **id);
        goal.is_some_and(|goal| goal.roles.iter().any(|name| name == role))
    };
    settled.changed.iter().any(|id| of_role(&id))
}

/// Shows the plan before it is carried out.
fn announce(terminal: &Terminal<'_>, view: &PlanReport) {
    if terminal.json {
        json_out::line(terminal, Message::Plan(view.clone()));
        return;
    }
    if view.steps.is_empty() {
        // What waits for a person's decision is said every time; what is merely good to know is not.
        for refused in &view.refused {
            let text = format!("{}: {}", refused.id, refused.why);
            let text = wrap(&text, terminal.width, 11, 11);
            terminal.mention(format!("{} {text}", terminal.talk.notable("held back:")));
        }
        return;
    }
    if !terminal.quiet {
        show(terminal, view);
        terminal.line(format!("Plan: {}.", size(view)));
    }
}

/// Tells how the run ended.
fn tell(
    session: &Session<'_, '_>,
    follower: &Follower<'_, '_>,
    outcome: &Outcome,
    view: &PlanReport,
    began: &Instant,
) {
    let terminal = session.terminal;
    let Outcome { settled, .. } = outcome;
    let took = duration(began.elapsed());
    match settled.ending {
        Ending::Done if terminal.json => {}
        Ending::Done => match settled.run {
            None => terminal.line(nothing_to_change(view)),
            Some(run) => {
                let changes = count(settled.changed.len(), "change");
                follower.say_left();
                terminal.line(terminal.paint.good(&format!("Run {run} is done: {changes}, took {took}.")));
            }
        },
        Ending::Interrupted => {
            let (ended, steps) = follower.progress();
            let after = follower.last().map_or(String::new(), |id| format!(", after {id}"));
            let text = format!(
                "{} was stopped after {ended} of {}{after}. What it had begun is complete.",
                name(settled.run),
                count(steps, "change"),
            );
            terminal.say(wrap(&text, terminal.width, 0, 0));
        }
        Ending::Failed => follower.failure(outcome),
    }
}

/// Says what to do now.
fn advise(terminal: &Terminal<'_>, outcome: &Outcome, proved: &[Proved], wanted: &Wanted) {
    let roles = if wanted.desired.roles.len() == pitool_roles::ROLES.len() {
        "all".to_owned()
    } else {
        wanted.desired.roles.join(" ")
    };
    let mut hints = Vec::new();
    match (&outcome.settled.ending, &outcome.rolled_back) {
        (Ending::Done, _) => {
            let broken =
                proved.iter().filter(|one| matches!(one.verdict, Verdict::NotInForce { .. })).count();
            if broken > 0 {
                hints.push(format!(
                    "{} settled but not in force; after a change, ask again with \
                     `pitool apply {roles} --verify`",
                    if broken == 1 { "a promise is".to_owned() } else { format!("{broken} promises are") }
                ));
            }
        }
        (Ending::Interrupted, _) => {
            hints.push(format!("`pitool apply {roles}` goes on, `pitool rollback` goes back"));
        }
        (Ending::Failed, Some(back)) if back.ending == Ending::Done => {
            hints.push(format!(
                "put right what failed, then `pitool apply {roles}`; `pitool history {}` shows the run",
                outcome.settled.run.map_or(0, |run| run.0)
            ));
        }
        (Ending::Failed, _) => {
            hints.push(format!(
                "the machine is in between: `pitool rollback {}` goes on going back, `pitool apply {roles}` goes \
                 forward",
                outcome.settled.run.map_or(0, |run| run.0)
            ));
        }
    }
    failure::hints(terminal, &hints);
}

fn nothing() -> Outcome {
    Outcome { settled: Settled::nothing(), rolled_back: None }
}

/// Turns what kept the run from beginning into a failure that points at the config where that is the reason.
fn refused(
    session: &Session<'_, '_>,
    error: &Error,
    settings: &pitool_config::Settings,
    fragments: &[Fragment],
) -> Failure {
    let mut failure = session.failed(error);
    let Error::Preflight { ids, .. } = error else { return failure };
    let mut written = false;
    for id in ids.iter().filter(|id| id.kind() == "package") {
        if let Some(diagnostic) = place_of(id, fragments) {
            failure.diagnostics.push(diagnostic);
            written = true;
        } else if settings.common.packages.iter().any(|name| name.to_string() == id.name()) {
            failure = failure.hint(format!("{} is in `packages` of [common]", id.name()));
            written = true;
        }
    }
    if ids.is_empty() {
        return match failure.causes.iter().any(|cause| cause.contains("Failed to fetch")) {
            true => failure
                .hint("is there a network? `apt-get update` must work before anything can be installed"),
            false => failure,
        };
    }
    if !written {
        // A role wants it, so that the machine lacks the repository: no mistake of the person's.
        failure = Failure { class: Class::Machine, exit: exit::FAILED, ..failure };
    }
    failure.hint("the name may be wrong, or its repository is missing: `apt-cache policy NAME` tells")
}

/// Where a file of the config names this package.
fn place_of(id: &Id, fragments: &[Fragment]) -> Option<Diagnostic> {
    let quoted = [format!("\"{}\"", id.name()), format!("'{}'", id.name())];
    for fragment in fragments.iter().rev() {
        let text = String::from_utf8_lossy(&fragment.bytes);
        for (number, line) in text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or_default();
            let Some((at, word)) = quoted.iter().find_map(|word| Some((code.find(word.as_str())?, word)))
            else {
                continue;
            };
            let column = line[..at].chars().count();
            return Some(Diagnostic {
                severity: Severity::Error,
                path: fragment.path.clone(),
                line: number + 1,
                column: column + 1,
                message: format!("apt knows no package {}", id.name()),
                source_line: line.to_owned(),
                span: column..column + word.chars().count(),
                hint: None,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_package_is_found_in_the_config() {
        let fragments =
            [Fragment::new("/etc/pitool/pitool.toml", "[common]\npackages = [\"git\", \"hotp\"]\n")];
        let found = place_of(&Id::new("package", "hotp"), &fragments).unwrap();
        assert_eq!((found.line, found.column, found.span), (2, 20, 19..25));
        assert_eq!(place_of(&Id::new("package", "htop"), &fragments), None);
    }
}
