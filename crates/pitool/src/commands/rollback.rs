//! `pitool rollback`: goes back to what was there before a run.

use pitool_engine::report::{Message, PlanReport, Summary};
use pitool_engine::{Consent, Ending, Engine, RunId, Tally};
use pitool_kinds::Kind;

use crate::cli;
use crate::commands::containers::Containers;
use crate::exit;
use crate::failure::Result;
use crate::render::plan::{report, show, size};
use crate::render::run::{Follower, differs, name};
use crate::render::{count, duration, failure, json as json_out, proof, wrap};
use crate::session::{Session, stopwatch};

/// Shows what would come back, and brings it back.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Rollback) -> Result<u8> {
    session.require_root()?;
    if !command.check {
        session.require_quiet()?;
    }
    let terminal = session.terminal;
    let asked = command.run.map(RunId);
    let consent = Consent { cut_login: command.cut_login };
    let (run, plan) = Engine::plan_rollback::<Kind>(asked, consent, session.journal(), session.inspect())
        .map_err(|error| session.failed(&error))?;
    session.unfinished()?;
    let view = report(&plan, &[], command.diff);
    if terminal.json {
        let command = Some("rollback".to_owned());
        let plan = PlanReport { command, of: Some(run), ..view.clone() };
        json_out::line(terminal, Message::Plan(plan));
    } else if !terminal.quiet || command.check {
        show(terminal, &view);
        let end = if command.check { "; nothing was changed." } else { "." };
        let line = format!("Going back to before run {run}: {}{end}", size(&view));
        terminal.line(wrap(&line, terminal.width, 0, 0));
    }
    let containers = Containers::note(session, &plan)?;
    if let Some(cut) = containers.cut(&plan) {
        terminal.mention(format!("{} {cut}.", terminal.talk.notable("note:")));
    }
    if command.check {
        return Ok(if view.steps.is_empty() { exit::DONE } else { exit::PENDING });
    }

    let began = stopwatch();
    let mut follower = Follower::new(terminal, &view);
    let rolled_back =
        session.engine().rollback::<Kind>(Some(run), consent, &mut |event| follower.hear(&event));
    terminal.live.finish();
    let (_, settled) = rolled_back.map_err(|error| session.failed(&error))?;
    let proved = containers.ask(session, Some(&plan));
    let kept = Tally::new(&proved).not_in_force == 0;
    let code = if settled.ending == Ending::Done && kept { exit::DONE } else { exit::ROLLBACK_INCOMPLETE };
    if terminal.json {
        let summary = Summary::rollback(code, run, &settled, began.elapsed().as_secs_f64());
        json_out::line(terminal, Message::Summary(summary));
    }
    let changes = count(settled.changed.len(), "change");
    match settled.ending {
        Ending::Done => {
            follower.say_left();
            let took = duration(began.elapsed());
            if !settled.held.is_empty() {
                // Said after the work too: the machine is not as it was.
                for (id, why) in &settled.held {
                    let text = format!("held back: {id}: {why}");
                    terminal.say(wrap(&text, terminal.width, 0, 11));
                }
                let stay = count(settled.held.len(), "thing");
                let verb = if settled.held.len() == 1 { "stays" } else { "stay" };
                terminal.say(format!(
                    "Back to before run {run}, except for {stay} that {verb} on purpose: {changes}, took {took}."
                ));
                let hint = format!("`pitool rollback {run} --cut-login` takes that back too");
                failure::hints(terminal, &[hint]);
            } else if !terminal.json {
                let but = match settled.left.len() {
                    0 => String::new(),
                    some => format!("; {} as it was before", differs(some)),
                };
                let line = format!("Back to before run {run}: {changes}, took {took}{but}.");
                terminal.line(terminal.paint.good(&line));
            }
        }
        Ending::Interrupted => {
            terminal.say(format!("{} was stopped after {changes}.", name(settled.run)));
            failure::hints(terminal, &[format!("`pitool rollback {run}` goes on going back")]);
        }
        Ending::Failed => {
            follower.failures(&settled);
            follower.say_left();
            let failed = count(settled.failures.len(), "thing");
            terminal.say(format!("{failed} did not go back; {changes} did."));
            let hint = format!("put right what failed, then `pitool rollback {run}` goes on going back");
            failure::hints(terminal, &[hint]);
        }
    }
    if !terminal.json {
        proof::show(terminal, &proved);
    }
    Ok(code)
}
