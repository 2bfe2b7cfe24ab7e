//! What an earlier pitool left in its journal is understood: `tests/upgrade` has the state directory of each released version,
//! as that version's package wrote it on Debian 13.

#![expect(clippy::disallowed_methods, reason = "the fixtures are files of the repository")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use pitool_engine::{
    Action, Cause, Confirmed, Consent, Desired, Ending, Engine, Id, Journal, JournalError, Managed, Origin,
    Purpose, RunId,
};
use pitool_host::{Access, Host, Inspect};
use pitool_kinds::Kind;
use pitool_resources::File;
use pitool_sim::{Sim, World};

const DIR: &str = "/var/lib/pitool";

/// Puts a folder of the repository into a simulated machine.
fn put(world: &mut World, from: &Path, to: &str) {
    world.put_dir(to);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{to}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            put(world, &entry.path(), &path);
        } else {
            world.put_with(&path, fs::read(entry.path()).unwrap(), Access::root(0o600));
        }
    }
}

/// A machine with the state directory of a released version.
fn upgraded(version: &str) -> Sim {
    let fixture = Path::new("../../tests/upgrade").join(version).join(&DIR[1..]);
    let mut world = World::debian(13, "amd64");
    put(&mut world, &fixture, DIR);
    Sim::of(world)
}

fn journal() -> Journal {
    Journal::default()
}

#[test]
fn the_runs_of_0_1_0_are_listed_with_what_they_were_for() {
    let sim = upgraded("v0.1.0");
    let runs = journal().list(&sim).unwrap();
    let told: Vec<_> = runs.iter().map(|run| (run.header.purpose.clone(), run.ending)).collect();
    let apply = || (Purpose::Apply, Some(Ending::Done));
    let back = |of, cause| (Purpose::Rollback { of: RunId(of), cause }, Some(Ending::Done));
    let failed = (Purpose::Apply, Some(Ending::Failed));
    assert_eq!(
        told,
        [apply(), apply(), back(2, Cause::Asked), apply(), apply(), failed, back(6, Cause::Failed)],
        "{runs:#?}"
    );
    assert!(runs.iter().all(|run| run.header.format == 1 && run.header.pitool == "0.1.0"));
    assert!(runs[0].begun.len() > 20 && runs[0].begun.iter().all(|(_, summary, _)| !summary.is_empty()));
    assert_eq!(journal().undoable(&sim).unwrap(), Some(RunId(5)));
}

#[test]
fn what_was_there_before_the_runs_of_0_1_0_is_known() {
    let sim = upgraded("v0.1.0");
    for run in 1..=7 {
        let goals = journal().before::<Kind>(&sim, RunId(run)).unwrap();
        assert!(goals.len() >= 20, "run {run}: {}", goals.len());
    }
    // And what pitool looks after: all of it is planned back once nothing is wanted.
    let roles = ["common", "monitoring", "backup"].map(|role| (role.to_owned(), Vec::<Kind>::new()));
    let nothing = Desired::new(roles).unwrap();
    let managed = Managed::read(&journal(), &sim).unwrap();
    assert!(managed.entries().count() > 40, "{}", managed.entries().count());
    let plan = Engine::plan(&nothing, true, &journal(), &sim).unwrap();
    assert_eq!(plan.total, managed.entries().count());
    let (run, _) = Engine::plan_rollback::<Kind>(None, Consent::default(), &journal(), &sim).unwrap();
    assert_eq!(run, RunId(5));
}

#[test]
fn a_run_after_the_upgrade_is_in_the_present_format_and_goes_back() {
    let sim = upgraded("v0.1.0");
    let file: Kind = File::new("/etc/motd", "hello\n").into();
    let desired = Desired::new([("common".to_owned(), vec![file])]).unwrap();
    let engine = Engine::new(&sim, journal(), "pitool apply common", "0.2.0").on_behalf_of(origin());
    let outcome = engine.apply(&desired, false, None, &mut |_| {}).unwrap();
    assert_eq!((outcome.settled.run, outcome.settled.ending), (Some(RunId(8)), Ending::Done));
    let run = journal().run(&sim, RunId(8)).unwrap().unwrap();
    assert_eq!((run.header.format, &run.header.origin), (2, &Some(origin())));
    assert_eq!(run.begun.iter().map(|(_, _, action)| *action).collect::<Vec<_>>(), [Action::Create]);
    let (back, settled) = engine.rollback::<Kind>(None, Consent::default(), &mut |_| {}).unwrap();
    assert_eq!((back, settled.ending), (RunId(8), Ending::Done));
    assert!(!sim.world().exists("/etc/motd"));
}

fn origin() -> Origin {
    Origin {
        fleet: Some("2026-12-01-a".into()),
        commit: Some("0f3c".into()),
        signer: Some("ops@example".into()),
    }
}

/// A journal in the present format with the lines that no run of this version writes yet.
fn written(lines: &[(&str, &str)]) -> Sim {
    let mut world = World::debian(13, "amd64");
    world.put_dir(DIR).put_dir("/var/lib/pitool/runs").put_dir("/var/lib/pitool/blobs");
    for (name, text) in lines {
        world.put_with(&format!("{DIR}/runs/{name}.jsonl"), *text, Access::root(0o600));
    }
    Sim::of(world)
}

fn header(run: u32, more: &str) -> String {
    format!(
        r#"{{"header":{{"format":2,"run":{run},"purpose":{{"kind":"apply"}},"roles":["common"],"command":"pitool apply common","pitool":"0.3.0","started":"2026-12-01T00:00:00Z"{more}}}}}"#
    )
}

const READY: &str = r#"{"ready":{"resources":1}}"#;
const DONE: &str = r#"{"finished":{"ending":"done","changed":1,"at":"2026-12-01T00:01:00Z"}}"#;

#[test]
fn a_run_that_waits_for_a_confirmation_says_so_and_stays_in_the_journal() {
    let awaits = r#"{"awaits":{"until":"2026-12-01T00:11:00Z"}}"#;
    let confirmed = r#"{"confirmed":{"by":"pi","from":"192.0.2.7","at":"2026-12-01T00:05:00Z"}}"#;
    let unknown = r#"{"leased":{"until":"2026-12-01T00:30:00Z"}}"#;
    let waiting = [header(1, ""), READY.into(), DONE.into(), awaits.into(), unknown.into()].join("\n");
    let settled = format!("{waiting}\n{confirmed}\n");
    let sim = written(&[("000001", &waiting), ("000002", &settled.replace("\"run\":1", "\"run\":2"))]);
    let runs = journal().list(&sim).unwrap();
    assert_eq!(runs.iter().map(|run| run.unconfirmed()).collect::<Vec<_>>(), [true, false]);
    let by = Confirmed { by: "pi".into(), from: Some("192.0.2.7".into()), at: "2026-12-01T00:05:00Z".into() };
    assert_eq!(runs[1].confirmed, Some(by));
    assert_eq!(runs[0].awaits.as_deref(), Some("2026-12-01T00:11:00Z"));
    // Thirty runs later it is still there, and the confirmed one is not.
    for number in 0..30 {
        let file: Kind = File::new("/etc/motd", format!("{number}\n")).into();
        let desired = Desired::new([("common".to_owned(), vec![file])]).unwrap();
        let engine = Engine::new(&sim, journal(), "pitool apply common", "test");
        assert_eq!(engine.apply(&desired, false, None, &mut |_| {}).unwrap().settled.ending, Ending::Done);
    }
    assert!(journal().run(&sim, RunId(1)).unwrap().is_some());
    assert!(journal().run(&sim, RunId(2)).unwrap().is_none());
}

#[test]
fn what_could_not_be_read_is_left_out_of_going_back() {
    let unreadable = r#"{"snapshot":{"id":"file[/etc/odd]","roles":["common"],"resource":{},"unreadable":"it is a FIFO"}}"#;
    let text = [header(1, ""), unreadable.into(), READY.into(), DONE.into()].join("\n");
    let sim = written(&[("000001", &text)]);
    let run = journal().run(&sim, RunId(1)).unwrap().unwrap();
    assert_eq!(run.unreadable, [(Id::new("file", "/etc/odd"), "it is a FIFO".to_owned())]);
    assert!(journal().before::<Kind>(&sim, RunId(1)).unwrap().is_empty());
}

#[test]
fn a_run_in_two_parts_goes_back_as_one() {
    let part = |run, more: &str| [header(run, more), READY.into(), DONE.into()].join("\n");
    let sim = written(&[
        ("000001", &part(1, "")),
        ("000002", &part(2, "")),
        ("000003", &part(3, ",\"follows\":2")),
    ]);
    assert_eq!(journal().undoable(&sim).unwrap(), Some(RunId(2)));
}

#[test]
fn a_sealed_content_is_named_and_not_taken_for_a_value() {
    let sealed = "a".repeat(64);
    let secret = format!(
        r#"{{"snapshot":{{"id":"file[/etc/s]","roles":["common"],"resource":{{"$sealed":"{sealed}"}},"before":{{"$sealed":"{sealed}"}}}}}}"#
    );
    let text = [header(20, ""), secret, READY.into(), DONE.into()].join("\n");
    let before: Vec<String> =
        (1..20).map(|run| [header(run, ""), READY.into(), DONE.into()].join("\n")).collect();
    let names: Vec<String> = (1..=20).map(|run| format!("{run:06}")).collect();
    let texts = before.iter().chain([&text]);
    let lines: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.map(String::as_str)).collect();
    let sim = written(&lines);
    let blob = |name: &str| format!("{DIR}/blobs/{name}");
    for name in [&sealed, &"b".repeat(64)] {
        sim.write(&blob(name), b"age-encryption.org/v1", Access::root(0o600)).unwrap();
    }
    let error = journal().before::<Kind>(&sim, RunId(20)).unwrap_err();
    assert!(matches!(error, JournalError::Sealed { run: RunId(20) }), "{error:?}");
    // The oldest run goes, and the content that no line names; the sealed one that a line names stays.
    let file: Kind = File::new("/etc/motd", "x\n").into();
    let desired = Desired::new([("common".to_owned(), vec![file])]).unwrap();
    let engine = Engine::new(&sim, journal(), "pitool apply common", "test");
    assert_eq!(engine.apply(&desired, false, None, &mut |_| {}).unwrap().settled.ending, Ending::Done);
    assert!(journal().run(&sim, RunId(1)).unwrap().is_none());
    assert!(sim.stat(&blob(&sealed)).unwrap().is_some());
    assert!(sim.stat(&blob(&"b".repeat(64))).unwrap().is_none());
}

#[test]
fn a_later_format_is_refused_by_name() {
    let text = [header(1, "").replace("\"format\":2", "\"format\":3"), READY.into(), DONE.into()].join("\n");
    let error = journal().list(&written(&[("000001", &text)])).unwrap_err();
    assert!(
        matches!(&error, JournalError::Format { run: RunId(1), pitool, format: 3 } if pitool == "0.3.0"),
        "{error:?}"
    );
}
