//! Settles the roles common, monitoring and app on this machine and takes it back: a trial by hand, for a box that
//! may break. `settle_common all|apply|prove|rollback [CONFIG]`.
#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;

use pitool_config::{Fragment, Settings, load};
use pitool_engine::{Engine, Event, Journal, PATIENCE, prove};
use pitool_host::local::Local;
use pitool_host::{Facts, Host, Inspect};
use pitool_kinds::Kind;
use pitool_roles::{find, wanted};

/// The machine's facts; with SETTLE_BARE in the environment a box is taken for a machine of its own.
fn facts(host: &dyn Inspect) -> Result<Facts, pitool_host::Error> {
    let facts = pitool_host::facts::gather(host)?;
    match host.variable("SETTLE_BARE") {
        Some(_) => Ok(Facts { container: String::new(), ..facts }),
        None => Ok(facts),
    }
}

fn told(event: &Event) {
    match event {
        Event::Step { id, stage, summary, .. } => println!("  {stage:?} {id}: {summary}"),
        Event::Done { .. } => {}
        other => println!("  {other:?}"),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_else(|| "all".into());
    let settings = match args.next() {
        None => Settings::default(),
        Some(path) => {
            let host = Local::new("/")?;
            let content = host.read(&path)?.ok_or("no such config")?;
            load(&[Fragment::new(&path, content.bytes())]).map_err(|found| format!("{found:?}"))?.settings
        }
    };
    let host = Local::new("/")?;
    let facts = facts(&host)?;
    println!("release {}, container {:?}, firmware {:?}", facts.release, facts.container, facts.firmware);
    let roles: Vec<_> = ["common", "monitoring", "app"].into_iter().filter_map(find).collect();
    let wanted = wanted(&roles, &settings, &facts)?;
    for (role, note) in &wanted.notes {
        println!("note of {role}: {note}");
    }
    let journal = || Journal::new("/var/lib/pitool/runs");
    for dir in ["/var/lib/pitool", "/var/lib/pitool/runs"] {
        host.make_dir(dir, pitool_host::Access::root(0o700))?;
    }
    let engine = Engine::new(&host, journal(), "settle_common", "0");
    if matches!(verb.as_str(), "all" | "apply") {
        for round in 1..=2 {
            let plan = Engine::plan(&wanted.desired, false, &journal(), &host)?;
            println!("round {round}: {} steps of {}", plan.steps.len(), plan.total);
            for step in plan.steps.iter().filter(|_| round > 1) {
                println!("  UNEXPECTED {}: {}", step.id, step.change().summary);
            }
            let planned: Vec<String> = plan.steps.iter().map(|step| step.id.to_string()).collect();
            let outcome = engine.apply(&wanted.desired, false, Some(&plan), &mut |event| told(&event))?;
            let mut changed: Vec<String> = outcome.settled.changed.iter().map(ToString::to_string).collect();
            println!("round {round}: {:?}, {} changed", outcome.settled.ending, changed.len());
            let mut missing = planned.clone();
            missing.retain(|id| !changed.contains(id));
            changed.retain(|id| !planned.contains(id));
            println!("  planned but not done {missing:?}; done but not planned {changed:?}");
            for (id, error) in &outcome.settled.failures {
                println!("  FAILED {id}: {error}");
            }
        }
    }
    if matches!(verb.as_str(), "all" | "prove") {
        let proofs: Vec<_> = wanted.proofs.iter().map(|(_, proof)| proof.clone()).collect();
        for proved in prove(&proofs, &host, PATIENCE, &mut |_| {}) {
            println!("  {}: {:?}", proved.id, proved.verdict);
        }
    }
    if matches!(verb.as_str(), "all" | "rollback") {
        let (run, settled) =
            engine.rollback::<Kind>(None, pitool_engine::Consent::default(), &mut |event| told(&event))?;
        println!("rollback of {run:?}: {:?}, {} changed", settled.ending, settled.changed.len());
        for (id, error) in &settled.failures {
            println!("  FAILED {id}: {error}");
        }
    }
    Ok(())
}
