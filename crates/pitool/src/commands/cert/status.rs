//! `pitool cert status` and `pitool cert list`.

use jiff::{SignedDuration, Timestamp};
use pitool_acme::Store;
use pitool_acme::deploy::Nginx;
use pitool_acme::renew::{NEXT_LOOK, Wanted, clock_is_kept, lacking, validity};
use pitool_acme::renewal::{Decision, Situation, decide, warn_below};
use pitool_acme::storage::{Generation, Source, State};
use pitool_config::Settings;
use pitool_net::Certificate;
use pitool_net::served::{self, Served};
use pitool_net::trust;
use serde::Serialize;
use serde_json::json;

use super::renew::nothing;
use super::wanted::wanted;
use crate::exit;
use crate::failure::Result;
use crate::render::{Clock, Terminal, json as json_out, wrap};
use crate::session::Session;

/// One certificate, as it is stored and as it is served.
#[derive(Debug, Serialize)]
struct Report {
    name: String,
    /// Whether the config wants it.
    wanted: bool,
    names: Vec<String>,
    issuer: String,
    source: Option<Source>,
    not_after: Option<Timestamp>,
    days_left: Option<i64>,
    /// `same`, `other`, `nobody`, or nothing where nobody is to serve it.
    served: Option<&'static str>,
    protocol: Option<String>,
    renewal: Option<Timestamp>,
    renewal_because: Option<String>,
    last_error: Option<String>,
    last_error_at: Option<Timestamp>,
    next_try: Option<Timestamp>,
    hooks_pending: usize,
    /// What needs attention, in words.
    attention: Vec<String>,
}

/// Shows every stored certificate, or the servers that were named.
pub(super) fn run(session: &Session<'_, '_>, hosts: &[String]) -> Result<u8> {
    let (settings, _) = session.settings()?;
    if !hosts.is_empty() {
        return of_hosts(session, &settings, hosts);
    }
    let terminal = session.terminal;
    let store = Store::default();
    let wanted = wanted(&settings);
    let mut names = store.names(session.inspect())?;
    names.extend(wanted.as_ref().map(|wanted| wanted.name.clone()).filter(|name| !names.contains(name)));
    if names.is_empty() {
        return Ok(nothing(terminal, "status"));
    }
    let mut reports = Vec::new();
    for name in names {
        let of_config = wanted.as_ref().filter(|wanted| wanted.name == name);
        reports.push(report(session, &settings, &store, &name, of_config)?);
    }
    // What the config does not want needs nobody's attention.
    let degraded = reports.iter().any(|report| report.wanted && !report.attention.is_empty());
    if terminal.json {
        json_out::document(terminal, &json!({ "command": "cert status", "certificates": reports }));
    } else {
        show(terminal, &reports, &session.clock());
    }
    Ok(if degraded { exit::DEGRADED } else { exit::DONE })
}

fn report(
    session: &Session<'_, '_>,
    settings: &Settings,
    store: &Store,
    name: &str,
    wanted: Option<&Wanted>,
) -> Result<Report> {
    let host = session.inspect();
    let now = host.now();
    // Only root may read the failures and the key.
    let state: Option<State> = session.caller.root.then(|| store.state(host, name)).transpose()?;
    let mut report = Report {
        name: name.to_owned(),
        wanted: wanted.is_some(),
        names: Vec::new(),
        issuer: String::new(),
        source: None,
        not_after: None,
        days_left: None,
        served: None,
        protocol: None,
        renewal: None,
        renewal_because: None,
        last_error: None,
        last_error_at: None,
        next_try: None,
        hooks_pending: state.as_ref().map_or(0, |state| state.hooks_pending.len()),
        attention: Vec::new(),
    };
    let live = match store.current(host, name)? {
        None => Err("there is no certificate".to_owned()),
        Some(number) if session.caller.root => {
            store.generation(host, name, number).map_err(|error| error.to_string())
        }
        Some(number) => store.public(host, name, number).map_err(|error| error.to_string()),
    };
    let days = session_days(settings);
    match &live {
        Err(why) => report.attention.push(why.clone()),
        Ok(live) => stored(&mut report, live, now, days),
    }
    if let (Ok(live), Some(wanted)) = (&live, wanted) {
        if live.about.source != Source::Placeholder {
            report.attention.extend(uncovered(live, wanted));
        }
        if settings.app.enabled && host.live() {
            serving(&mut report, live);
        }
        renewal(&mut report, session, live, wanted, state.as_ref())?;
    }
    if let Some(state) = &state {
        if let Some(last) = &state.failures.last {
            report.last_error = Some(last.what.clone());
            report.last_error_at = Some(last.at);
            report.next_try = state.failures.next_try;
        }
        if !state.hooks_pending.is_empty() {
            report.attention.push(format!("{} hooks have not succeeded yet", state.hooks_pending.len()));
        }
    }
    Ok(report)
}

fn session_days(settings: &Settings) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(settings.ssl.warning.as_secs()).unwrap_or(i64::MAX))
}

/// What the file says.
fn stored(report: &mut Report, live: &Generation, now: Timestamp, warning: SignedDuration) {
    let certificate = &live.certificate;
    report.names = certificate.names.clone();
    report.issuer = certificate.issuer.clone();
    report.source = Some(live.about.source);
    report.not_after = Some(certificate.not_after);
    let left = certificate.not_after.duration_since(now);
    report.days_left = Some(left.as_hours().div_euclid(24));
    if live.about.source == Source::Placeholder {
        report.attention.push(
            "it is a placeholder: no CA has issued one yet; its sites are served over plain HTTP until then"
                .into(),
        );
    } else if let Some(words) = running_out(certificate, now, warning) {
        report.attention.push(words);
    }
}

/// That it is out or runs out soon; `None` where it does not.
fn running_out(certificate: &Certificate, now: Timestamp, warning: SignedDuration) -> Option<String> {
    let left = certificate.not_after.duration_since(now);
    let validity = pitool_acme::renewal::Validity {
        not_before: certificate.not_before,
        not_after: certificate.not_after,
    };
    if left <= SignedDuration::ZERO {
        Some("it has run out".into())
    } else if certificate.not_before > now {
        Some("it is not good yet: is the clock right?".into())
    } else if left < warn_below(&validity, warning) {
        Some("it runs out soon and was not renewed".into())
    } else {
        None
    }
}

/// The wanted names that it does not cover; `None` where it covers all.
fn uncovered(live: &Generation, wanted: &Wanted) -> Option<String> {
    let names: Vec<&str> =
        wanted.names.iter().filter(|name| !live.certificate.covers(name)).map(String::as_str).collect();
    (!names.is_empty())
        .then(|| format!("it does not cover {}: served over plain HTTP until one does", names.join(", ")))
}

/// What the web server says.
fn serving(report: &mut Report, live: &Generation) {
    let Some(name) = live.certificate.names.first() else { return };
    let name = name.replacen('*', "pitool", 1);
    match served::handshake(Nginx::default().address, &name, &[]) {
        Ok(served) if served.certificate.fingerprint == live.certificate.fingerprint => {
            report.served = Some("same");
            report.protocol = Some(served.protocol);
        }
        Ok(served) => {
            report.served = Some("other");
            report.protocol = Some(served.protocol);
            report
                .attention
                .push("another certificate is served: `pitool cert renew` has this one loaded".into());
        }
        Err(error) => {
            report.served = Some("nobody");
            report.attention.push(error.to_string());
        }
    }
}

/// When it is renewed, and why then.
fn renewal(
    report: &mut Report,
    session: &Session<'_, '_>,
    live: &Generation,
    wanted: &Wanted,
    state: Option<&State>,
) -> Result<()> {
    let suggestion = state.and_then(|state| state.suggestion.as_ref());
    let suggestion = suggestion.filter(|(of, _)| *of == live.certificate.fingerprint);
    let decision = decide(&Situation {
        validity: Some(validity(live)),
        lacking: lacking(live, wanted),
        suggestion: suggestion.map(|(_, suggestion)| suggestion),
        now: session.inspect().now(),
        clock_ok: clock_is_kept(session.inspect())?,
        next_look: NEXT_LOOK,
        not_before: state.and_then(|state| state.failures.next_try),
    });
    (report.renewal, report.renewal_because) = match decision {
        Decision::Wait { until, why } => (Some(until), Some(why.to_string())),
        Decision::Renew(reason) => (Some(session.inspect().now()), Some(reason.to_string())),
    };
    if let Some((_, suggestion)) = suggestion {
        if let (Some(because), Some(url)) = (&mut report.renewal_because, &suggestion.explanation) {
            because.push_str(&format!(" ({url})"));
        }
    }
    Ok(())
}

fn show(terminal: &Terminal<'_>, reports: &[Report], clock: &Clock) {
    let head =
        format!("{:<28}  {:<10}  {:>9}  {:<7}  {}", "certificate", "until", "days left", "served", "issuer");
    terminal.line(terminal.paint.heading(&head));
    for report in reports {
        let until: String =
            report.not_after.map_or("-".into(), |until| until.to_string().chars().take(10).collect());
        let days = report.days_left.map_or("-".into(), |days| days.to_string());
        let issuer = match report.source {
            Some(Source::Placeholder) => "itself (placeholder)",
            _ => &report.issuer,
        };
        terminal.line(format!(
            "{:<28}  {until:<10}  {days:>9}  {:<7}  {issuer}",
            report.name,
            report.served.unwrap_or("-"),
        ));
        let row = |name: &str, words: &str| {
            terminal.line(format!("  {name:<9} {}", wrap(&words.replace('\n', " "), terminal.width, 12, 12)));
        };
        if !report.wanted {
            row("note", "the config does not want it (any more): it is not renewed");
        }
        if !report.names.is_empty() {
            row("names", &report.names.join(", "));
        }
        if let (Some(when), Some(why)) = (report.renewal, &report.renewal_because) {
            row("renewal", &format!("from {}, because {why}", clock.tell(&when.to_string())));
        }
        if let (Some(error), Some(at)) = (&report.last_error, report.last_error_at) {
            row("last error", &format!("{}: {error}", clock.tell(&at.to_string())));
        }
        for words in &report.attention {
            row("attention", &terminal.paint.bad(words));
        }
    }
}

/// Looks at servers, whoever runs them.
fn of_hosts(session: &Session<'_, '_>, settings: &Settings, hosts: &[String]) -> Result<u8> {
    let terminal = session.terminal;
    let roots = trust::with_file(session.inspect(), settings.ssl.ca_file.as_ref().map(|file| file.as_str()))?;
    let now = session.inspect().now();
    let warning = session_days(settings);
    let mut degraded = false;
    let mut documents = Vec::new();
    let head = format!("{:<28}  {:<10}  {:>9}  {:<7}  {}", "server", "until", "days left", "by", "issuer");
    if !terminal.json {
        terminal.line(terminal.paint.heading(&head));
    }
    for host in hosts {
        let looked = served::look(host, &roots);
        let attention: Vec<String> = match &looked {
            Err(error) => vec![error.to_string()],
            Ok(served) => attention(served, now, warning),
        };
        degraded |= !attention.is_empty();
        let served = looked.ok();
        let certificate = served.as_ref().map(|served| &served.certificate);
        let days = certificate.map(|one| one.not_after.duration_since(now).as_hours().div_euclid(24));
        if terminal.json {
            documents.push(json!({
                "host": host,
                "names": certificate.map(|one| &one.names),
                "issuer": certificate.map(|one| &one.issuer),
                "not_after": certificate.map(|one| one.not_after),
                "days_left": days,
                "protocol": served.as_ref().map(|served| &served.protocol),
                "attention": attention,
            }));
            continue;
        }
        terminal.line(format!(
            "{host:<28}  {:<10}  {:>9}  {:<7}  {}",
            certificate.map_or("-".into(), |one| one
                .not_after
                .to_string()
                .chars()
                .take(10)
                .collect::<String>()),
            days.map_or("-".into(), |days| days.to_string()),
            served.as_ref().map_or("-", |served| &served.protocol),
            certificate.map_or("-", |one| &one.issuer),
        ));
        for words in attention {
            terminal
                .line(format!("  attention {}", terminal.paint.bad(&wrap(&words, terminal.width, 12, 12))));
        }
    }
    if terminal.json {
        json_out::document(terminal, &json!({ "command": "cert status", "hosts": documents }));
    }
    Ok(if degraded { exit::DEGRADED } else { exit::DONE })
}

fn attention(served: &Served, now: Timestamp, warning: SignedDuration) -> Vec<String> {
    let mut words: Vec<String> = running_out(&served.certificate, now, warning).into_iter().collect();
    if let Some(why) = &served.distrust {
        words.push(format!("clients do not trust it: {why}"));
    }
    words
}

/// Lists every generation of every certificate.
pub(super) fn list(session: &Session<'_, '_>) -> Result<u8> {
    let terminal = session.terminal;
    let store = Store::default();
    let host = session.inspect();
    let mut rows = Vec::new();
    for name in store.names(host)? {
        let live = store.current(host, &name)?;
        for number in store.numbers(host, &name)? {
            let public = store.public(host, &name, number).ok();
            rows.push((name.clone(), number, live == Some(number), public));
        }
    }
    if terminal.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, number, live, public)| {
                json!({
                    "name": name, "generation": number, "live": live,
                    "source": public.as_ref().map(|one| one.about.source),
                    "directory": public.as_ref().map(|one| &one.about.directory),
                    "certificate": public.as_ref().map(|one| &one.certificate),
                })
            })
            .collect();
        json_out::document(terminal, &json!({ "command": "cert list", "generations": rows }));
        return Ok(exit::DONE);
    }
    if rows.is_empty() {
        terminal.line("No certificate is stored here.");
        return Ok(exit::DONE);
    }
    let head = format!(
        "{:<28}  {:>10}  {:<4}  {:<11}  {:<10}  {}",
        "certificate", "generation", "live", "from", "until", "SHA-256"
    );
    terminal.line(terminal.paint.heading(&head));
    for (name, number, live, public) in rows {
        let from = public.as_ref().map_or("damaged", |one| match one.about.source {
            Source::Placeholder => "placeholder",
            Source::Issued => "CA",
            Source::Imported => "certbot",
        });
        let until: String = public
            .as_ref()
            .map_or("-".into(), |one| one.certificate.not_after.to_string().chars().take(10).collect());
        let print: String =
            public.as_ref().map_or("-".into(), |one| one.certificate.fingerprint.chars().take(16).collect());
        let live = if live { "yes" } else { "no" };
        terminal.line(format!("{name:<28}  {number:>10}  {live:<4}  {from:<11}  {until:<10}  {print}"));
    }
    Ok(exit::DONE)
}
