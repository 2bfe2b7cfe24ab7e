//! `pitool cert issue`, `pitool cert renew`, and what `apply` does about the certificate after its run.

use pitool_acme::Store;
use pitool_acme::deploy::{Front, Nginx};
use pitool_acme::renew::{Outcome, Renewal, Urgency, Wanted};
use pitool_acme::renewal::Waiting;
use pitool_acme::unit::{self, Started};
use pitool_config::Settings;
use pitool_net::Limits;
use pitool_roles::ssl::SERVICE;
use serde_json::json;

use super::wanted::wanted;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{Terminal, json as json_out, wrap};
use crate::session::Session;

/// Where there is no certificate to look after.
pub(super) fn nothing(terminal: &Terminal<'_>, command: &str) -> u8 {
    if terminal.json {
        json_out::document(terminal, &json!({ "command": format!("cert {command}"), "certificate": null }));
    } else {
        terminal.line("No certificate: [ssl] in the config names no domain.");
    }
    exit::DONE
}

/// Does what is due.
pub(super) fn run(session: &Session<'_, '_>, command: &str, urgency: Urgency) -> Result<u8> {
    let (settings, _) = session.settings()?;
    let terminal = session.terminal;
    let Some(wanted) = wanted(&settings) else { return Ok(nothing(terminal, command)) };
    session.require_root()?;
    if !session.inspect().live() {
        return Err(Failure::input("a certificate can be asked for on the running machine only"));
    }
    let _lock = session.engine().lock().map_err(|error| session.failed(&error))?;
    let store = Store::default();
    let nginx = Nginx::default();
    terminal.live.start(0, "Looking at the certificate");
    let renewal = Renewal {
        host: session.host,
        store: &store,
        wanted: &wanted,
        front: settings.app.enabled.then_some(&nginx as &dyn Front),
        tell: &|what| {
            terminal.live.step(what, |_| what.to_owned());
            if !terminal.live.terminal() && !terminal.json {
                terminal.mention(format!("{what} …"));
            }
        },
        limits: Limits::default(),
        resolver: None,
        port: 80,
    };
    let result = renewal.run(urgency);
    terminal.live.finish();
    match result {
        Ok(outcome) => told(session, command, &wanted, &outcome),
        Err(error) => {
            let mut failure =
                Failure::machine(format!("no new certificate for {}", wanted.name)).because(&error);
            // A cause that says the same as what it caused.
            failure.causes.dedup();
            let state = store.state(session.inspect(), &wanted.name).unwrap_or_default();
            if let Some(advice) = state.failures.last.and_then(|last| last.advice) {
                failure = failure.hint(advice);
            }
            if let Some(next) = state.failures.next_try {
                let when = session.clock().tell(&next.to_string());
                failure = failure.hint(format!(
                    "it is tried again at {when}; `pitool cert issue` tries at once, when you have put it right"
                ));
                unit::retry(session.host, next, SERVICE);
            }
            Err(failure)
        }
    }
}

fn told(session: &Session<'_, '_>, command: &str, wanted: &Wanted, outcome: &Outcome) -> Result<u8> {
    let terminal = session.terminal;
    let clock = session.clock();
    let code = if outcome.hooks_failed.is_empty() { exit::DONE } else { exit::FAILED };
    if terminal.json {
        let document = json!({
            "command": format!("cert {command}"),
            "certificate": wanted.name,
            "exit": code,
            "done": outcome.done,
            "not_after": outcome.live.as_ref().map(|live| live.certificate.not_after.to_string()),
            "waiting_until": outcome.waiting.as_ref().map(|(until, _)| until.to_string()),
            "waiting_because": outcome.waiting.as_ref().map(|(_, why)| why.to_string()),
            "hooks_failed": outcome.hooks_failed.iter().map(|(hook, why)| json!({ "hook": hook, "why": why })).collect::<Vec<_>>(),
        });
        json_out::document(terminal, &document);
        return Ok(code);
    }
    for sentence in &outcome.done {
        terminal.line(wrap(&sentence_case(sentence), terminal.width, 0, 0));
    }
    if let Some(live) = &outcome.live {
        let until = clock.tell(&live.certificate.not_after.to_string());
        terminal.line(format!("{} is good until {until} ({}).", wanted.name, live.certificate.issuer));
    }
    if let Some((until, why)) = &outcome.waiting {
        let when = clock.tell(&until.to_string());
        match why {
            Waiting::Clock => {
                terminal
                    .say("The clock is not synchronized, so nothing is asked for: `timedatectl` tells more.");
            }
            Waiting::Failed => terminal.say(format!("It failed before and is tried again at {when}.")),
            Waiting::Suggested | Waiting::Fraction => {
                terminal.line(format!("Nothing to do: it is renewed from {when}, because {why}."));
            }
        }
    }
    for (hook, why) in &outcome.hooks_failed {
        terminal.say(format!("error: the hook `{}` failed and runs again later: {why}", hook.join(" ")));
    }
    Ok(code)
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// Has the unit ask for the certificate after a run that settled the role ssl, and tells what came of it. The machine is
/// settled in any case: what a CA answers is not part of the run, and a failure here fails nothing.
pub(crate) fn after_apply(session: &Session<'_, '_>, settings: &Settings) -> Result<()> {
    let terminal = session.terminal;
    let Some(wanted) = wanted(settings).filter(|_| session.inspect().live()) else { return Ok(()) };
    terminal.live.start(0, &format!("Asking for the certificate of {}", wanted.name));
    let started = unit::start(session.host, &Store::default(), &wanted.name, SERVICE);
    terminal.live.finish();
    let Started { ended_well, served, failures } =
        started.map_err(|error| Failure::machine(error.to_string()).because_of(&error))?;
    if terminal.json {
        let event = json!({
            "event": "certificate",
            "name": wanted.name,
            "issued": served,
            "failure": failures.last,
            "next_try": failures.next_try.map(|next| next.to_string()),
        });
        json_out::event(terminal, &event);
        return Ok(());
    }
    match &failures.last {
        None if served && ended_well => {
            terminal.line(format!("{} is served with the CA's certificate.", wanted.name))
        }
        Some(last) => {
            let still =
                if served { "the certificate was not renewed" } else { "there is no certificate yet" };
            terminal.say(format!("{still}, and the sites go on with what is there:"));
            terminal.say(format!("  {}", wrap(&last.what.replace('\n', " "), terminal.width, 2, 2)));
            if let Some(advice) = &last.advice {
                terminal.say(format!("  {}", wrap(advice, terminal.width, 2, 2)));
            }
            let next = failures.next_try.map(|next| session.clock().tell(&next.to_string()));
            let next = next.map(|next| format!("it is tried again at {next}; ")).unwrap_or_default();
            terminal
                .say(format!("hint: {next}`pitool cert issue` tries at once, when you have put it right"));
        }
        None if served => {
            let words = format!("the certificate was not looked at: `journalctl -u {SERVICE}` says why");
            terminal.say(wrap(&words, terminal.width, 0, 0));
        }
        None => {
            let words = format!(
                "there is no certificate yet, and the sites go on over plain HTTP: `journalctl -u {SERVICE}` says why"
            );
            terminal.say(wrap(&words, terminal.width, 0, 0));
        }
    }
    Ok(())
}
