//! Settles roles on this machine, without the command line around it: `settle SETTINGS-AS-JSON ROLE…`, or
//! `settle back`. For trying a role by hand in a box.

#![expect(clippy::print_stdout, reason = "an example that a person runs")]

use std::error::Error;

use pitool_config::Settings;
use pitool_engine::{Engine, Event, Journal, PATIENCE, prove};
use pitool_host::facts::gather;
use pitool_host::local::Local;
use pitool_host::{DockerSource, Facts};
use pitool_kinds::Kind;
use pitool_roles::{docker, find, wanted};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let settings = arguments.next().unwrap_or_default();
    let host = Local::new("/")?;
    let journal = Journal::new("/var/lib/pitool/journal");
    let engine = Engine::new(&host, journal, "settle", "example");
    let mut tell = |event: Event| match event {
        Event::Step { id, summary, .. } => println!("  {id}: {summary}"),
        Event::Done { .. } => {}
        other => println!("{other:?}"),
    };
    if settings == "back" {
        println!("{:?}", engine.rollback::<Kind>(None, pitool_engine::Consent::default(), &mut tell)?);
        return Ok(());
    }
    let settings: Settings = serde_json::from_str(&settings)?;
    let facts = gather(&host)?;
    let docker_source = DockerSource::of(&host, &facts, docker::repository(&settings, &facts))?;
    let facts = Facts { docker_source, ..facts };
    println!("docker: {:?}", facts.docker_source);
    let roles: Vec<_> = arguments.filter_map(|name| find(&name)).collect();
    let wanted = wanted(&roles, &settings, &facts)?;
    wanted.notes.iter().for_each(|(role, note)| println!("note ({role}): {note}"));
    let plan = Engine::plan(&wanted.desired, false, &Journal::new("/var/lib/pitool/journal"), &host)?;
    println!("plan: {} steps of {}", plan.steps.len(), plan.total);
    plan.refused.iter().for_each(|refused| println!("refused {}: {}", refused.id, refused.why));
    let outcome = engine.apply(&wanted.desired, false, None, &mut tell)?;
    println!("{:?}, failures {:?}", outcome.settled.ending, outcome.settled.failures);
    let proofs: Vec<_> = wanted.proofs.into_iter().map(|(_, proof)| proof).collect();
    prove(&proofs, &host, PATIENCE, &mut tell);
    Ok(())
}
