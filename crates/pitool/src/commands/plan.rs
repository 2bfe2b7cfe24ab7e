//! `pitool plan`: what would change.

use pitool_engine::report::PlanReport;
use pitool_engine::{Consent, Engine, Error, Journal, Plan, Purpose};
use pitool_kinds::Kind;
use pitool_roles::Wanted;
use serde_json::json;

use crate::cli;
use crate::exit;
use crate::failure::{Failure, Result, denied};
use crate::render::json as json_out;
use crate::render::plan::{nothing, report, show, size};
use crate::session::{Session, roles};

/// What to plan.
pub(crate) struct Request<'r> {
    /// The command's name, for JSON.
    pub(crate) command: &'r str,
    /// Roles by name.
    pub(crate) roles: &'r [String],
    /// Whether the differences of files are shown.
    pub(crate) diff: bool,
    /// Whether what is no longer wanted is undone.
    pub(crate) prune: bool,
    /// Whether ports in use are closed.
    pub(crate) close_ports: bool,
    /// What the person agreed to lose.
    pub(crate) consent: Consent,
}

/// Plans and shows what would change.
pub(crate) fn run(session: &Session<'_, '_>, command: &cli::Plan) -> Result<u8> {
    let request = Request {
        command: "plan",
        roles: &command.roles.roles,
        diff: command.diff,
        prune: command.prune,
        close_ports: command.close_ports,
        consent: Consent::default(),
    };
    look(session, &request)
}

/// Plans and shows what would change, for `plan` and `apply --check`.
pub(crate) fn look(session: &Session<'_, '_>, request: &Request<'_>) -> Result<u8> {
    let roles = roles(request.roles)?;
    let (settings, _) = session.settings_closing(request.close_ports)?;
    let mut wanted = session.wanted(&roles, &settings)?;
    wanted.desired.consent = request.consent;
    let journal = session.readable_journal()?;
    let (_, view) = plan(session, &wanted, &journal, request.prune, request.diff)?;
    let pending = !view.steps.is_empty();
    let terminal = session.terminal;
    if terminal.json {
        let mut document = json!({ "command": request.command, "roles": wanted.desired.roles });
        if let (Some(fields), Ok(serde_json::Value::Object(plan))) =
            (document.as_object_mut(), serde_json::to_value(&view))
        {
            fields.extend(plan);
        }
        json_out::document(terminal, &document);
    } else {
        show(terminal, &view);
        if pending {
            terminal.line(format!("Plan: {}; nothing was changed.", size(&view)));
        } else {
            terminal.line(nothing(&view));
        }
    }
    Ok(if pending { exit::PENDING } else { exit::DONE })
}

/// Makes the plan, and the same ready to be shown.
pub(crate) fn plan(
    session: &Session<'_, '_>,
    wanted: &Wanted,
    journal: &Journal,
    prune: bool,
    diff: bool,
) -> Result<(Plan<Kind>, PlanReport)> {
    let plan = Engine::plan(&wanted.desired, prune, journal, session.inspect())
        .map_err(|error| unreadable(session, &error))?;
    let mut view = report(&plan, &wanted.notes, diff);
    if view.drifted() {
        let runs = journal.list(session.inspect()).map_err(|error| session.failed(&error.into()))?;
        let last = runs.iter().rev().find(|run| run.header.purpose == Purpose::Apply);
        view.since_run = last.map(|run| run.header.run.0);
    }
    Ok((plan, view))
}

/// Says in one sentence what a caller who is not root cannot see.
fn unreadable(session: &Session<'_, '_>, error: &Error) -> Failure {
    match error {
        Error::Plan(plan) if !session.caller.root && denied(error) => {
            Failure::machine(format!("only root may look at {}; nothing was changed", plan.id))
                .hint(format!("type `sudo {}`", session.caller.command))
        }
        _ => session.failed(error),
    }
}
