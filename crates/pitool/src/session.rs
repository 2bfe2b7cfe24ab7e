//! What a command works with: the machine, the person's options, and what both say.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use pitool_config::values::Ports;
use pitool_config::{Fragment, Loaded, Settings};
use pitool_engine::{Engine, Journal, Run};
use pitool_host::{DockerSource, Facts, Host, Inspect, LockHolder, facts};
use pitool_roles::{ROLES, Role, Wanted};

use crate::cli::Global;
use crate::failure::{Failure, Result, denied};
use crate::render::{Clock, Terminal, failure, run};

/// Where the machine's own config is.
pub(crate) const CONFIG: &str = "/etc/pitool/pitool.toml";

/// Where further files of it are.
const CONFIG_MORE: &str = "/etc/pitool/conf.d";

/// Who called, and how.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whether it is root.
    pub root: bool,
    /// The command line as it was typed.
    pub command: String,
    /// Raised when somebody asks us to stop.
    pub stop: Arc<AtomicBool>,
}

/// One command at work.
pub(crate) struct Session<'s, 't> {
    /// The machine.
    pub(crate) host: &'s dyn Host,
    /// Where output goes.
    pub(crate) terminal: &'s Terminal<'t>,
    /// Options that every command understands.
    pub(crate) global: &'s Global,
    /// Who called.
    pub(crate) caller: &'s Caller,
    journal: Journal,
}

impl<'s, 't> Session<'s, 't> {
    /// Begins a command.
    pub(crate) fn new(
        host: &'s dyn Host,
        terminal: &'s Terminal<'t>,
        global: &'s Global,
        caller: &'s Caller,
    ) -> Self {
        Self { host, terminal, global, caller, journal: Journal::default() }
    }

    /// The reading half of the machine.
    pub(crate) fn inspect(&self) -> &dyn Inspect {
        self.host.inspect()
    }

    /// The clock of the machine.
    pub(crate) fn clock(&self) -> Clock {
        let localtime = self.inspect().read("/etc/localtime").ok().flatten();
        Clock::new(localtime.as_ref().map(pitool_host::Content::bytes))
    }

    /// The journal.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// An engine that writes down this command.
    pub(crate) fn engine(&self) -> Engine<'s> {
        Engine::new(self.host, self.journal.clone(), &self.caller.command, env!("CARGO_PKG_VERSION"))
    }

    /// Turns an error of the engine into a failure.
    pub(crate) fn failed(&self, error: &pitool_engine::Error) -> Failure {
        Failure::engine(error, self.caller.root, &|time| self.clock().tell(time))
    }

    /// The files of the config, as written.
    pub(crate) fn fragments(&self) -> Result<Vec<Fragment>> {
        if let Some(path) = &self.global.config {
            return Ok(vec![file(path)?]);
        }
        let mut paths = vec![CONFIG.to_owned()];
        let unreadable =
            |error: pitool_host::Error| Failure::input("the config cannot be read").because(&error);
        let names = self.inspect().list(CONFIG_MORE).map_err(unreadable)?.unwrap_or_default();
        let more = names.into_iter().filter(|name| name.ends_with(".toml") && !name.starts_with('.'));
        paths.extend(more.map(|name| format!("{CONFIG_MORE}/{name}")));
        let mut fragments = Vec::new();
        for path in paths {
            if let Some(content) = self.inspect().read(&path).map_err(unreadable)? {
                fragments.push(Fragment::new(path, content.bytes()));
            }
        }
        Ok(fragments)
    }

    /// The settings; warnings are said.
    pub(crate) fn settings(&self) -> Result<(Settings, Vec<Fragment>)> {
        let fragments = self.fragments()?;
        let Loaded { settings, warnings } = pitool_config::load(&fragments).map_err(Failure::config)?;
        if !self.terminal.quiet {
            failure::diagnostics(self.terminal, &warnings);
        }
        Ok((settings, fragments))
    }

    /// The settings of a command that may close ports in use.
    pub(crate) fn settings_closing(&self, ports: bool) -> Result<(Settings, Vec<Fragment>)> {
        let (mut settings, fragments) = self.settings()?;
        if ports {
            settings.security.firewall.close = vec![Ports::ALL];
        }
        Ok((settings, fragments))
    }

    /// The facts of a machine that pitool is made for.
    pub(crate) fn supported_facts(&self) -> Result<Facts> {
        let facts = facts::gather(self.inspect())?;
        facts::supported(&facts).map_err(|why| Failure::machine(why.trim_end_matches('.').to_owned()))?;
        Ok(facts)
    }

    /// What these roles want here.
    pub(crate) fn wanted(&self, roles: &[&Role], settings: &Settings) -> Result<Wanted> {
        let mut facts = self.supported_facts()?;
        if settings.docker.enabled && roles.iter().any(|role| role.name == "docker") {
            let repository = pitool_roles::docker::repository(settings, &facts);
            facts.docker_source = DockerSource::of(self.inspect(), &facts, repository)?;
        }
        // The words of its configuration are those of the version that this run installs, so that the next run has nothing to
        // change.
        if settings.app.enabled
            && facts.nginx.is_empty()
            && roles.iter().any(|role| ["app", "ssl"].contains(&role.name))
        {
            facts.nginx = facts::candidate(self.inspect(), "nginx")?;
        }
        Ok(pitool_roles::wanted(roles, settings, &facts)?)
    }

    /// The newest run if it was cut off, having said so; that it is going on where it is, and that the newest is damaged.
    pub(crate) fn unfinished(&self) -> Result<Option<Run>> {
        let failed = |error: pitool_engine::JournalError| self.failed(&error.into());
        if let Some(run) = self.journal.damaged(self.inspect()).map_err(failed)? {
            run::damaged(self.terminal, run);
        }
        let found = self.journal.unfinished(self.inspect()).map_err(failed)?;
        if let Some(holder) = self.at_work()? {
            run::going_on(self.terminal, found.as_ref(), &holder, &self.clock());
            return Ok(None);
        }
        if let Some(found) = &found {
            run::unfinished(self.terminal, found, &self.clock());
        }
        Ok(found)
    }

    /// Who changes the machine at this moment.
    pub(crate) fn at_work(&self) -> Result<Option<LockHolder>> {
        Engine::at_work(self.inspect()).map_err(|error| self.failed(&error))
    }

    /// Refuses to begin while another pitool changes the machine: what is there now is not what will be there.
    pub(crate) fn require_quiet(&self) -> Result<()> {
        match self.at_work()? {
            Some(holder) => Err(self.failed(&pitool_engine::Error::Locked(holder))),
            None => Ok(()),
        }
    }

    /// The journal to plan with: an empty one, with a word about it, where the caller may not read the true one.
    pub(crate) fn readable_journal(&self) -> Result<Journal> {
        match self.journal.unfinished(self.inspect()) {
            Ok(_) => {
                self.unfinished()?;
                Ok(self.journal.clone())
            }
            Err(error) if !self.caller.root && denied(&error) => {
                self.terminal.mention(
                    "Only root may read the journal: drift and unfinished runs could not be looked at.",
                );
                Ok(Journal::new("/run/pitool/no-journal"))
            }
            Err(error) => Err(self.failed(&error.into())),
        }
    }

    /// Refuses whoever may not change the machine.
    pub(crate) fn require_root(&self) -> Result<()> {
        if self.caller.root {
            return Ok(());
        }
        let command = &self.caller.command;
        Err(Failure::input("only root may change this machine; nothing was changed")
            .hint(format!("type `sudo {command}`")))
    }
}

/// Starts to measure how long a person waits.
#[expect(
    clippy::disallowed_methods,
    reason = "the time that a person waits is this machine's own, also for another root"
)]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

/// Reads a file that the person named.
#[expect(
    clippy::disallowed_methods,
    reason = "the person who calls names it: a link or a pipe is as good as a file"
)]
pub(crate) fn file(path: &Path) -> Result<Fragment> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Fragment::new(path, bytes)),
        Err(error) => Err(Failure::input(format!("cannot read {}", path.display())).because(&error)),
    }
}

/// Reads files that the person named.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<Fragment>> {
    paths.iter().map(|path| file(path)).collect()
}

/// The roles that the person named, each once, in the order in which roles are told; all when none was named.
pub(crate) fn roles(names: &[String]) -> Result<Vec<&'static Role>> {
    for name in names {
        if name != "all" && pitool_roles::find(name).is_none() {
            return Err(unknown_role(name));
        }
    }
    if names.is_empty() || names.iter().any(|name| name == "all") {
        return Ok(ROLES.iter().collect());
    }
    let named =
        |role: &&Role| names.iter().any(|name| role.name == name || role.tags.contains(&name.as_str()));
    Ok(ROLES.iter().filter(named).collect())
}

fn unknown_role(name: &str) -> Failure {
    let known = ROLES.iter().flat_map(|role| std::iter::once(role.name).chain(role.tags.iter().copied()));
    let nearest = known
        .chain(["all"])
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4);
    let failure = Failure::input(format!("there is no role `{name}`"));
    match nearest {
        Some((_, known)) => failure.hint(format!("did you mean `{known}`?")),
        None => {
            let names: Vec<&str> = ROLES.iter().map(|role| role.name).collect();
            failure.hint(format!("the roles are {}, and `all` for all of them", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Vec<&'static str> {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        roles(&asked).unwrap().iter().map(|role| role.name).collect()
    }

    #[test]
    fn roles_by_name_and_tag_in_their_own_order() {
        assert_eq!(names(&[]).len(), ROLES.len());
        assert_eq!(names(&["docker", "all"]).len(), ROLES.len());
        assert_eq!(names(&["security", "base", "common"]), ["common", "security"]);
    }

    #[test]
    fn a_role_that_is_not_there() {
        let failure = roles(&["securty".to_owned()]).unwrap_err();
        assert_eq!((failure.exit, failure.hints[0].as_str()), (3, "did you mean `security`?"));
        let failure = roles(&["kubernetes".to_owned()]).unwrap_err();
        assert!(failure.hints[0].starts_with("the roles are common, security"), "{failure:?}");
    }
}
