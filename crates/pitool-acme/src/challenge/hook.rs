//! DNS-01: a program of the person's own that makes and removes a TXT record.
//!
//! It is called as lego's `exec` provider calls it (`PROGRAM present|cleanup FQDN VALUE`) and is told the same as by
//! certbot's manual hooks (`CERTBOT_DOMAIN`, `CERTBOT_VALIDATION`, …), so that scripts for both work as they are;
//! certbot's have one of their own for the cleanup.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use pitool_host::{Command, Host};

use super::Solver;
use crate::authority::{Method, Task};
use crate::dns::{Kind, Record, Resolver};
use crate::error::AcmeError;

/// The programs, and whom to ask whether a record is there.
#[derive(Debug)]
pub struct DnsHook {
    /// The program and its first arguments.
    pub program: Vec<String>,
    /// The program for the cleanup, where it is another.
    pub cleanup: Option<Vec<String>>,
    /// Where the records are looked for.
    pub resolver: Resolver,
    /// All names of the order.
    pub names: Vec<String>,
    /// How long a record may take to appear.
    pub patience: Duration,
    said: RefCell<BTreeMap<String, String>>,
}

/// How long the program may take: some providers' interfaces are slow.
const LIMIT: Duration = Duration::from_secs(180);

/// How often it is looked whether a record has appeared.
const PAUSE: Duration = Duration::from_secs(2);

impl DnsHook {
    /// The hook of a config.
    pub fn new(
        program: Vec<String>,
        cleanup: Option<Vec<String>>,
        resolver: Resolver,
        names: Vec<String>,
    ) -> Self {
        Self {
            program,
            cleanup,
            resolver,
            names,
            patience: Duration::from_secs(120),
            said: RefCell::default(),
        }
    }

    /// Where the record is to be: `_acme-challenge.NAME`, or where a CNAME there leads (delegation).
    fn place(&self, task: &Task) -> Result<String, AcmeError> {
        let name = format!("_acme-challenge.{}", task.name);
        let answer = self.resolver.ask(&name, Kind::Txt).map_err(|error| not(task, &error.to_string()))?;
        let last = answer.records.into_iter().rev().find_map(|record| match record {
            Record::Cname(target) => Some(target),
            _ => None,
        });
        Ok(last.unwrap_or(name))
    }

    fn command(
        &self,
        words: &[String],
        action: &str,
        place: &str,
        task: &Task,
    ) -> Result<Command, AcmeError> {
        let (program, args) = words.split_first().ok_or_else(|| not(task, "`dns_hook` is empty"))?;
        let others = self.names.len().saturating_sub(1).to_string();
        let said = self.said.borrow().get(&task.authorization).cloned().unwrap_or_default();
        Ok(Command::new(program)
            .args(args.iter().cloned())
            .args([action.to_owned(), format!("{place}."), task.dns_value.clone()])
            .env("CERTBOT_DOMAIN", &task.name)
            .env("CERTBOT_VALIDATION", &task.dns_value)
            .env("CERTBOT_TOKEN", &task.token)
            .env("CERTBOT_ALL_DOMAINS", self.names.join(","))
            .env("CERTBOT_REMAINING_CHALLENGES", others)
            .env("CERTBOT_AUTH_OUTPUT", said)
            .timeout(LIMIT))
    }
}

fn not(task: &Task, why: &str) -> AcmeError {
    AcmeError::Challenge { name: task.name.clone(), why: why.to_owned() }
}

impl Solver for DnsHook {
    fn method(&self) -> Method {
        Method::Dns01
    }

    fn present(&self, host: &dyn Host, task: &Task) -> Result<(), AcmeError> {
        let place = self.place(task)?;
        let command = self.command(&self.program, "present", &place, task)?;
        let output = host.run(&command).map_err(|error| not(task, &error.to_string()))?;
        self.said.borrow_mut().insert(task.authorization.clone(), output.stdout.trim().to_owned());
        Ok(())
    }

    fn settle(&self, host: &dyn Host, tasks: &[Task]) -> Result<(), AcmeError> {
        let mut waited = Duration::ZERO;
        for task in tasks {
            let name = format!("_acme-challenge.{}", task.name);
            loop {
                let answer = self.resolver.ask(&name, Kind::Txt);
                let there =
                    answer.is_ok_and(|answer| answer.records.contains(&Record::Txt(task.dns_value.clone())));
                if there {
                    break;
                }
                if waited >= self.patience {
                    let why = format!(
                        "the TXT record {name} did not appear within {} s of `dns_hook`'s work; the CA was not asked to \
                         look",
                        self.patience.as_secs()
                    );
                    return Err(not(task, &why));
                }
                if host.interrupted() {
                    return Err(AcmeError::Interrupted);
                }
                host.sleep(PAUSE);
                waited += PAUSE;
            }
        }
        Ok(())
    }

    fn cleanup(&self, host: &dyn Host, task: &Task) {
        let Ok(place) = self.place(task) else { return };
        let words = self.cleanup.as_ref().unwrap_or(&self.program);
        if let Ok(command) = self.command(words, "cleanup", &place, task) {
            // A record that stays is of no use to anybody.
            let _ = host.run(&command);
        }
    }
}
