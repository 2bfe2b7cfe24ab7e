//! `pitool cert import`: from certbot to pitool with one command.

use std::fmt::Write;

use pitool_acme::Store;
use pitool_acme::certbot::{Certbot, Lineage};
use pitool_acme::deploy::{Front, Nginx};
use pitool_acme::http::Client;
use pitool_acme::renew::group_id;
use pitool_config::Settings;
use pitool_host::Access;
use pitool_net::{Limits, trust};
use serde_json::json;

use super::wanted::wanted;
use crate::exit;
use crate::failure::{Failure, Result};
use crate::render::{json as json_out, wrap};
use crate::session::Session;

/// Where the config of a certificate goes that was taken over and that no config named before.
const DIRECTORY: &str = "/etc/pitool/conf.d";
const FILE: &str = "/etc/pitool/conf.d/50-ssl.toml";

/// Takes over a certificate.
pub(super) fn run(session: &Session<'_, '_>, name: Option<&str>, from: &str) -> Result<u8> {
    session.require_root()?;
    let (settings, _) = session.settings()?;
    let host = session.host;
    let certbot = Certbot::at(from);
    let lineages = certbot.lineages(session.inspect()).map_err(|error| {
        Failure::machine(format!("certbot's certificates in {from} cannot be read")).because(&error)
    })?;
    let lineage = chosen(&settings, &lineages, name, from)?;
    let _lock = session.engine().lock().map_err(|error| session.failed(&error))?;
    let store = Store::default();
    let mut done = Vec::new();
    let stored_as = match wanted(&settings) {
        Some(wanted) => wanted.name,
        None => lineage.name.trim_start_matches("*.").to_owned(),
    };
    let group = group_id(session.inspect(), settings.ssl.key_group.as_str())?.ok_or_else(|| {
        Failure::input(format!("there is no group `{}`: change `key_group`", settings.ssl.key_group))
    })?;
    if settings.ssl.name().is_none() {
        configure(session, lineage)?;
        done.push(format!("its names and its CA are written into {FILE}"));
    }
    let generation = certbot.take_certificate(host, &store, lineage, &stored_as, group).map_err(|error| {
        Failure::machine(format!("{} cannot be taken over", lineage.name)).because(&error)
    })?;
    let until = session.clock().tell(&generation.certificate.not_after.to_string());
    done.push(format!(
        "the certificate of {} is taken over as it is; it is good until {until}",
        lineage.names.join(", ")
    ));
    let roots = trust::with_file(session.inspect(), settings.ssl.ca_file.as_ref().map(|file| file.as_str()))?;
    let client = Client::new(&roots, Limits::default());
    done.push(match certbot.take_account(host, &client, &store, lineage, &lineages) {
        Ok(words) => words,
        Err(error) => {
            format!("its account is not taken over, so the next renewal makes another one: {error}")
        }
    });
    certbot
        .let_go(host, lineage)
        .map_err(|error| Failure::machine("certbot still renews it").because(&error))?;
    done.push("certbot leaves it alone from now on; its own files stay".into());
    if let Err(why) = reload(session) {
        done.push(format!("nginx was not reloaded: {why}"));
    }
    let terminal = session.terminal;
    if terminal.json {
        let document = json!({ "command": "cert import", "certificate": stored_as, "names": lineage.names, "done": done });
        json_out::document(terminal, &document);
        return Ok(exit::DONE);
    }
    for sentence in &done {
        terminal.line(wrap(&format!("- {sentence}"), terminal.width, 0, 2));
    }
    terminal.mention("hint: `pitool apply ssl` settles the sites and the timer that renews it");
    Ok(exit::DONE)
}

/// The certificate that is meant.
fn chosen<'l>(
    settings: &Settings,
    lineages: &'l [Lineage],
    name: Option<&str>,
    from: &str,
) -> Result<&'l Lineage> {
    let known: Vec<&str> = lineages.iter().map(|lineage| lineage.name.as_str()).collect();
    if lineages.is_empty() {
        return Err(Failure::input(format!(
            "certbot looks after no certificate in {from}; nothing was changed"
        )));
    }
    let domains: Vec<&str> = settings.ssl.domains.iter().map(|name| name.as_str()).collect();
    let has_all = |lineage: &&Lineage| domains.iter().all(|name| lineage.names.iter().any(|own| own == name));
    let found = match name {
        Some(name) => lineages.iter().find(|lineage| lineage.name == name),
        None if !domains.is_empty() => lineages.iter().find(has_all),
        None if lineages.len() == 1 => lineages.first(),
        None => {
            return Err(Failure::input(
                "certbot looks after more than one certificate, and pitool after one",
            )
            .hint(format!("name one: `pitool cert import NAME`, of {}", known.join(", "))));
        }
    };
    let lineage = found.ok_or_else(|| {
        Failure::input("certbot has no such certificate; nothing was changed")
            .hint(format!("it has {}", known.join(", ")))
    })?;
    if has_all(&lineage) {
        return Ok(lineage);
    }
    Err(Failure::input(format!(
        "{} is not good for every name of [ssl] in the config; nothing was changed",
        lineage.name
    ))
    .hint(format!("it is good for {}", lineage.names.join(", "))))
}

/// Writes what the config has to say from now on.
fn configure(session: &Session<'_, '_>, lineage: &Lineage) -> Result<()> {
    // The name that certbot calls it comes first: the certificate is called after its first name.
    let mut names = lineage.names.clone();
    names.sort_by_key(|name| *name != lineage.name);
    let mut text = String::from("# Written by `pitool cert import`, and yours from then on.\n[ssl]\n");
    let list = |words: &[String]| {
        format!("[{}]", words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "))
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "domains = {}\ndirectory = {:?}", list(&names), lineage.server);
    if lineage.authenticator == "manual" {
        if let Some(hook) = &lineage.hooks.0 {
            let _ = writeln!(text, "challenge = \"dns-01\"\ndns_hook = {}", list(std::slice::from_ref(hook)));
        }
        if let Some(hook) = &lineage.hooks.1 {
            let _ = writeln!(text, "dns_cleanup_hook = {}", list(std::slice::from_ref(hook)));
        }
    }
    if session.global.config.is_some() {
        return Err(Failure::input("the config was given with --config, so that nothing is written into it")
            .hint(format!("add to it:\n{text}")));
    }
    let check = pitool_config::Fragment::new(FILE, text.as_bytes());
    let mut fragments = session.fragments()?;
    fragments.push(check);
    if let Err(problems) = pitool_config::load(&fragments) {
        let mut failure = Failure::config(problems);
        failure.message = format!("the certificate {} needs more than certbot's files say", lineage.name);
        if lineage.authenticator.starts_with("dns-") {
            failure = failure.hint(
                "certbot used a DNS plugin: set `challenge = \"dns-01\"` and `dns_hook` in [ssl] first",
            );
        }
        return Err(failure);
    }
    for path in ["/etc/pitool", DIRECTORY] {
        if session.inspect().stat(path)?.is_none() {
            session.host.make_dir(path, Access::root(0o755))?;
        }
    }
    Ok(session.host.write(FILE, text.as_bytes(), Access::root(0o644))?)
}

/// Has a running nginx read the links again; they lead to the same certificate.
fn reload(session: &Session<'_, '_>) -> std::result::Result<(), String> {
    let nginx = Nginx::default();
    if session.inspect().live() && nginx.runs(session.host)? {
        nginx.check(session.host)?;
        nginx.reload(session.host)?;
    }
    Ok(())
}
