//! The five laws of the engine, over every kind, on the simulated machine, with a power cut at every write.

#![expect(clippy::print_stdout, reason = "what a failing law was about")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use pitool_engine::{
    Consent, Desired, Ending, Engine, Error, Event, Id, Journal, Plan, Proof, Purpose, Resource, RunId,
    Stage, Verdict, prove,
};
use pitool_host::parse::ufw_rules;
use pitool_host::{Access, Content, Host, Inspect, Output};
use pitool_kinds::Kind;
use pitool_resources::{
    Check, Directory, Edit, File, Firewall, Hostname, InstalledSet, Link, LoginGuard, Named, Node, Package,
    Part, Placeholder, Policy, PublishedPorts, Rule, Seed, Sysctl, Unit, User,
};
use pitool_roles::Question;
use pitool_roles::proofs::{DockerAnswers, DockerMemoryLimit, SshdListens};
use pitool_sim::{Container, Cut, Sim, World};
use proptest::prelude::*;
use serde_json::Value;

/// What a rollback may leave: the journal, apt's lists, the home of a user who is gone, and apt's memory of what was
/// automatic.
const BESIDES: &[&str] = &["/var/lib/pitool", "/var/lib/apt", "/opt/app", "/etc/passwd-", "/etc/group-"];

fn id(kind: &str, name: &str) -> Id {
    Id::new(kind, name)
}

/// A small setup with every kind in it that changes a machine.
fn wishes(jail: &str, site: &str) -> Vec<Kind> {
    let available = "/etc/nginx/sites-available/app";
    let enabled = "/etc/nginx/sites-enabled/app";
    let ssh = "/etc/ssh/sshd_config.d/01-pitool.conf";
    vec![
        Directory::new("/etc/fail2ban").stage(Stage::Prepare).into(),
        Directory::new("/etc/fail2ban/jail.d").stage(Stage::Prepare).into(),
        File::new("/etc/fail2ban/jail.d/pitool.local", format!("[DEFAULT]\nbackend = systemd\n{jail}"))
            .stage(Stage::Prepare)
            .into(),
        Package::new("fail2ban").into(),
        Package::new("nginx").into(),
        Package::new("ufw").into(),
        InstalledSet::default().ours(["fail2ban", "nginx", "ufw"]).into(),
        User::new("appuser").home("/opt/app").groups(["sudo"]).into(),
        Directory::new("/opt/app").owner("appuser", "appuser").into(),
        Directory::new("/opt/app/config").owner("appuser", "appuser").mode(0o750).into(),
        Seed::new("/opt/app/config/.env", "SECRET=@RANDOM@\n", "appuser", "appuser").into(),
        Directory::new("/var/lib/pitool-acme").into(),
        Directory::new("/var/lib/pitool-acme/certificates").into(),
        Placeholder::new("pi.test", ["pi.test".to_owned()]).into(),
        File::new(available, format!("server {{ {site} }}\n")).checked_by(Check::Nginx).into(),
        Link::new(enabled, available).checked_by(Check::Nginx).into(),
        Link::absent("/etc/nginx/sites-enabled/default")
            .shipped_by("nginx", "/etc/nginx/sites-available/default")
            .into(),
        Part::new("/etc/hosts", Edit::Line { prefix: "127.0.1.1".into(), line: "127.0.1.1 pi-one".into() })
            .into(),
        Hostname::new("pi-one").into(),
        File::new(ssh, "X11Forwarding no\n").checked_by(Check::Sshd).into(),
        File::new("/etc/ssh/sshd_config.d/01-pitool-passwords.conf", "PasswordAuthentication no\n")
            .guarded_by(LoginGuard::Key { root: false })
            .checked_by(Check::Sshd)
            .into(),
        Directory::new("/etc/docker").into(),
        PublishedPorts::new(Some("DROP")).into(),
        Sysctl::new("vm.swappiness", "10").into(),
        Unit::new("fail2ban.service").reads([id("file", "/etc/fail2ban/jail.d/pitool.local")]).into(),
        Unit::new("nginx.service").reloaded().reads([id("file", available), id("link", enabled)]).into(),
        Unit::new("ssh.service").reads([id("file", ssh)]).risky().into(),
        Firewall::new(Policy::Deny, Policy::Allow, None, vec![Rule::new(Policy::Allow, "tcp", 80)]).into(),
    ]
}

fn desired(jail: &str, site: &str) -> Desired<Kind> {
    Desired::new([("everything".to_owned(), wishes(jail, site))]).unwrap()
}

fn first() -> Desired<Kind> {
    desired("bantime = 1h\n", "listen 80;")
}

fn second() -> Desired<Kind> {
    desired("bantime = 2h\n", "listen 80; root /srv;")
}

fn engine(sim: &Sim) -> Engine<'_> {
    Engine::new(sim, Journal::default(), "pitool apply all", "test")
}

fn plan(want: &Desired<Kind>, sim: &Sim) -> Plan<Kind> {
    Engine::plan(want, false, &Journal::default(), sim).unwrap()
}

fn ids(plan: &Plan<Kind>) -> Vec<Id> {
    plan.steps.iter().map(|step| step.id.clone()).collect()
}

fn apply(want: &Desired<Kind>, sim: &Sim) -> Result<Vec<Id>, Error> {
    let outcome = engine(sim).apply(want, false, None, &mut |_| {})?;
    assert_eq!(outcome.settled.ending, Ending::Done, "{:?}", outcome.settled.failures);
    Ok(outcome.settled.changed)
}

fn rollback(run: Option<RunId>, sim: &Sim) -> Result<(), Error> {
    let (_, settled) = engine(sim).rollback::<Kind>(run, Consent::default(), &mut |_| {})?;
    assert_eq!(settled.ending, Ending::Done, "{:?}", settled.failures);
    Ok(())
}

/// What a journaled unit runs with, told by the machine and not by us.
fn settled(want: &Desired<Kind>, sim: &Sim) {
    let plan = plan(want, sim);
    assert!(
        plan.steps.is_empty(),
        "not settled: {:?}",
        plan.steps.iter().map(|step| (step.id.clone(), step.change().summary)).collect::<Vec<_>>()
    );
    let world = sim.world();
    for (unit, path) in [
        ("fail2ban.service", "/etc/fail2ban/jail.d/pitool.local"),
        ("nginx.service", "/etc/nginx/sites-enabled/app"),
        ("ssh.service", "/etc/ssh/sshd_config.d/01-pitool.conf"),
    ] {
        let running: Option<Content> = world.units[unit].running_with.get(path).cloned();
        assert_eq!(running.as_ref(), world.content(path), "{unit} does not run with {path}");
        assert!(running.is_some(), "{unit} does not know {path}");
    }
}

/// A machine that nobody prepared, and one on which the same packages run already with other files.
fn machines() -> Vec<(&'static str, World)> {
    let bare = World::debian(13, "arm64");
    let mut lived_in = World::debian(12, "armhf");
    lived_in.put_dir("/etc/fail2ban").put_dir("/etc/fail2ban/jail.d");
    lived_in.put("/etc/fail2ban/jail.d/pitool.local", "[DEFAULT]\nbackend = systemd\nbantime = 5m\n");
    lived_in.with_installed(&["fail2ban", "nginx", "docker.io"]);
    lived_in.put("/run/docker/containers", "web\t0.0.0.0:8081->80/tcp\n");
    household(&mut lived_in);
    vec![("bare", bare), ("lived in", lived_in)]
}

/// Services that a household uses, and what a person runs.
fn household(world: &mut World) {
    world
        .listen(53, false, 0, "dnsmasq", "/system.slice/dnsmasq.service")
        .listen(53, true, 0, "dnsmasq", "/system.slice/dnsmasq.service")
        .listen(445, false, 0, "smbd", "/system.slice/smbd.service")
        .listen(8123, false, 1000, "python3", "/system.slice/docker-0123.scope")
        .listen(4444, false, 1000, "nc", "/user.slice/user-1000.slice/session-3.scope")
        .listen(5353, true, 105, "avahi-daemon", "/system.slice/avahi-daemon.service");
}

fn back(sim: &Sim, start: &World, what: &str) {
    let differences = start.differences(&sim.world(), BESIDES);
    assert!(differences.is_empty(), "{what}: {differences:#?}");
}

#[test]
fn the_plan_tells_the_truth_and_twice_is_once() {
    for (name, world) in machines() {
        let sim = Sim::of(world);
        let planned = plan(&first(), &sim);
        let mutations = sim.mutations();
        assert!(mutations == 0, "planning changed the machine");
        let mut done = apply(&first(), &sim).unwrap();
        let mut promised = ids(&planned);
        done.sort();
        promised.sort();
        assert_eq!(done, promised, "{name}: the plan told the truth");
        settled(&first(), &sim);
        let before = sim.mutations();
        assert_eq!(apply(&first(), &sim).unwrap(), Vec::<Id>::new());
        assert_eq!(sim.mutations() - before, 0, "{name}: a run without changes wrote something");

        let planned = ids(&plan(&second(), &sim));
        let mut restarted = planned.clone();
        restarted.sort();
        assert_eq!(
            restarted,
            [
                id("file", "/etc/fail2ban/jail.d/pitool.local"),
                id("file", "/etc/nginx/sites-available/app"),
                id("unit", "fail2ban.service"),
                id("unit", "nginx.service")
            ],
            "a changed file plans the restart that it causes"
        );
        assert_eq!(apply(&second(), &sim).unwrap(), planned, "{name}: the second plan told the truth");
        settled(&second(), &sim);
    }
}

#[test]
fn back_is_back_and_a_rollback_can_be_rolled_back() {
    for (name, world) in machines() {
        let sim = Sim::of(world.clone());
        apply(&first(), &sim).unwrap();
        let middle = sim.snapshot();
        apply(&second(), &sim).unwrap();
        rollback(None, &sim).unwrap();
        back(&sim, &middle, &format!("{name}: the second run taken back"));
        settled(&first(), &sim);
        rollback(None, &sim).unwrap();
        back(&sim, &world, &format!("{name}: the first run taken back"));
        let last = Journal::default().list(&sim).unwrap().last().unwrap().header.run;
        rollback(Some(last), &sim).unwrap();
        settled(&first(), &sim);
        rollback(None, &sim).unwrap();
        back(&sim, &world, &format!("{name}: and back again"));
    }
}

/// Runs `work` with the power going at the n-th change, for a sample of n that covers all of them over the machines
/// and kinds of cut; hands over each machine that went dark.
fn cuts(
    world: &World,
    work: &dyn Fn(&Sim) -> Result<(), Error>,
    each: &mut dyn FnMut(&Sim, String),
) -> usize {
    let whole = Sim::of(world.clone());
    work(&whole).unwrap();
    let changes = whole.mutations();
    let mut cases = 0;
    for at in 0..changes {
        for (index, cut) in Cut::ALL.into_iter().enumerate() {
            for reboot in [true, false] {
                // Every change is cut; which way is spread over them, so that the whole stays under a minute.
                if (at + index + usize::from(reboot)) % 3 != 0 {
                    continue;
                }
                let sim = Sim::of(world.clone());
                sim.cut_after(at, cut);
                assert!(
                    matches!(
                        work(&sim),
                        Err(Error::PowerCut(_)
                            | Error::Journal(_)
                            | Error::Plan(_)
                            | Error::Lock(_)
                            | Error::Preflight { .. })
                    ),
                    "cut {at} was not noticed"
                );
                if reboot {
                    sim.restore_power()
                } else {
                    sim.kill()
                }
                // Shown only when something fails: the last line is the cut that did it.
                println!("{cut:?} at change {at} ({}), reboot {reboot}", whole.changes()[at]);
                each(&sim, format!("cut {cut:?} at change {at} ({}), reboot {reboot}", whole.changes()[at]));
                cases += 1;
            }
        }
    }
    cases
}

#[test]
fn a_cut_run_converges_forwards_and_back() {
    let mut cases = 0;
    for (name, world) in machines() {
        cases += cuts(&world, &|sim| apply(&first(), sim).map(drop), &mut |sim, what| {
            let dark = sim.snapshot();
            apply(&first(), sim).unwrap_or_else(|error| panic!("{name}, {what}: {error}"));
            settled(&first(), sim);
            // Whatever became of the run, going back reaches what was there before it.
            // (Cut after its last line, it is done, and what a boot undid is another run.)
            if let Some(first) = Journal::default().list(sim).unwrap().first() {
                rollback(Some(first.header.run), sim)
                    .unwrap_or_else(|error| panic!("{name}, {what}: {error}"));
                back(sim, &world_after_boot(&world, sim), &format!("{name}, {what}, on and then back"));
            }
            sim.reset(dark);
            if Journal::default().unfinished(sim).unwrap().is_some() {
                rollback(None, sim).unwrap_or_else(|error| panic!("{name}, {what}: {error}"));
                back(sim, &world_after_boot(&world, sim), &format!("{name}, {what}, back at once"));
            }
        });
    }
    println!("{cases} power cuts");
    assert!(cases > 200);
}

#[test]
fn a_cut_rollback_converges_both_ways() {
    let mut cases = 0;
    for (name, world) in machines() {
        let sim = Sim::of(world.clone());
        apply(&first(), &sim).unwrap();
        let applied = sim.snapshot();
        cases += cuts(&applied, &|sim| rollback(Some(RunId(1)), sim), &mut |sim, what| {
            let dark = sim.snapshot();
            apply(&first(), sim).unwrap_or_else(|error| panic!("{name}, {what}: {error}"));
            settled(&first(), sim);
            sim.reset(dark);
            rollback(Some(RunId(1)), sim).unwrap_or_else(|error| panic!("{name}, {what}: {error}"));
            back(sim, &world_after_boot(&world, sim), &format!("{name}, {what}, back again"));
        });
    }
    println!("{cases} power cuts during a rollback");
    assert!(cases > 100);
}

/// The machine at the start, booted as often as the other one: a reboot sets kernel values back by itself.
fn world_after_boot(start: &World, sim: &Sim) -> World {
    let twin = Sim::of(start.clone());
    while twin.world().boots < sim.world().boots {
        twin.reboot();
    }
    let world = twin.snapshot();
    drop(twin);
    world
}

#[test]
fn a_lost_restart_is_an_ordinary_difference() {
    let (_, world) = machines().remove(1);
    let sim = Sim::of(world);
    apply(&first(), &sim).unwrap();
    // The process dies after the file is written and before the unit starts anew; the machine runs on.
    let twin = Sim::of(sim.snapshot());
    apply(&second(), &twin).unwrap();
    let written = twin.changes().iter().rposition(|change| change.contains("pitool.local")).unwrap();
    sim.cut_after(written + 1, Cut::Before);
    apply(&second(), &sim).unwrap_err();
    sim.kill();
    let steps = ids(&plan(&second(), &sim));
    assert!(steps.contains(&id("unit", "fail2ban.service")), "the restart is planned: {steps:?}");
    assert!(!steps.contains(&id("file", "/etc/fail2ban/jail.d/pitool.local")));
    apply(&second(), &sim).unwrap();
    settled(&second(), &sim);
}

#[test]
fn a_unit_that_does_not_start_takes_the_run_back() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let before = sim.snapshot();
    sim.fail_next(
        "restart fail2ban.service",
        pitool_sim::Fault::Fails(1, "Job for fail2ban.service failed.".into()),
    );
    let mut events = Vec::new();
    let outcome = engine(&sim).apply(&second(), false, None, &mut |event| events.push(event)).unwrap();
    assert_eq!(outcome.settled.ending, Ending::Failed);
    let back_again = outcome.rolled_back.expect("it was taken back");
    assert_eq!(back_again.ending, Ending::Done);
    back(&sim, &before, "after the failure");
    assert_eq!(back_again.left, [], "the machine is as it was, and a comparison says so");
    settled(&first(), &sim);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Failed { id, .. } if id.name() == "fail2ban.service"))
    );
}

#[test]
fn a_rollback_that_was_given_up_undid_nothing() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let run = Journal::default().undoable(&sim).unwrap();
    sim.interrupt_after(0);
    let (_, back) = engine(&sim).rollback::<Kind>(run, Consent::default(), &mut |_| {}).unwrap();
    assert_eq!(back.ending, Ending::Interrupted);
    sim.interrupt_after(usize::MAX / 2);
    settled(&first(), &sim);
    apply(&first(), &sim).unwrap();
    assert!(Journal::default().unfinished(&sim).unwrap().is_none());
    assert_eq!(Journal::default().undoable(&sim).unwrap(), run, "there is still something to go back from");
}

#[test]
fn a_person_who_asks_to_stop_is_heard_after_the_step() {
    let sim = Sim::debian(13);
    sim.interrupt_after(40);
    let outcome = engine(&sim).apply(&first(), false, None, &mut |_| {}).unwrap();
    assert_eq!(outcome.settled.ending, Ending::Interrupted);
    assert!(Journal::default().unfinished(&sim).unwrap().is_some());
    sim.interrupt_after(usize::MAX / 2);
    apply(&first(), &sim).unwrap();
    settled(&first(), &sim);
    assert!(Journal::default().unfinished(&sim).unwrap().is_none());
}

#[test]
fn a_hand_edit_is_drift_and_its_text_is_kept() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let path = "/etc/fail2ban/jail.d/pitool.local";
    sim.arrange().put(path, "# mine\n");
    let plan = plan(&first(), &sim);
    assert_eq!(plan.steps[0].reason, pitool_engine::Reason::Drift);
    apply(&first(), &sim).unwrap();
    rollback(None, &sim).unwrap();
    assert_eq!(sim.world().text(path), "# mine\n");
}

#[test]
fn a_plan_that_no_longer_fits_is_not_carried_out() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let path = "/etc/fail2ban/jail.d/pitool.local";
    sim.arrange().put(path, "# mine\n");
    let shown = plan(&first(), &sim);
    // The same step, on another text than the one that was shown; and a step more.
    for (edited, text) in
        [(path, "# not what you saw\n"), ("/etc/ssh/sshd_config.d/01-pitool.conf", "# mine too\n")]
    {
        sim.arrange().put(path, "# mine\n").put(edited, text);
        let before = sim.mutations();
        let result = engine(&sim).apply(&first(), false, Some(&shown), &mut |_| {});
        let Err(Error::Moved(moved)) = result else { panic!("{result:?}") };
        assert_eq!(moved[0], id("file", edited));
        assert_eq!(sim.mutations(), before, "nothing was done");
    }
}

#[test]
fn what_the_config_no_longer_wants_is_told_and_pruned_on_request() {
    let (_, world) = machines().remove(1);
    let sim = Sim::of(world.clone());
    apply(&first(), &sim).unwrap();
    let less: Vec<Kind> = wishes("bantime = 1h\n", "listen 80;")
        .into_iter()
        .filter(|kind| !matches!(kind, Kind::Hostname(_) | Kind::Part(_)))
        .collect();
    let less = Desired::new([("everything".to_owned(), less)]).unwrap();
    let plan = plan(&less, &sim);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.unmanaged, [id("hostname", "pi-one"), id("line", "/etc/hosts 127.0.1.1")]);
    let outcome = engine(&sim).apply(&less, true, None, &mut |_| {}).unwrap();
    assert_eq!(outcome.settled.ending, Ending::Done);
    assert_eq!(sim.world().text("/etc/hostname"), world.text("/etc/hostname"));
    assert_eq!(sim.world().text("/etc/hosts"), world.text("/etc/hosts"));
    assert!(Engine::plan(&less, false, &Journal::default(), &sim).unwrap().unmanaged.is_empty());
}

#[test]
fn the_journal_stays_within_bounds_and_keeps_what_matters() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    for round in 0..30 {
        apply(&desired(&format!("bantime = {round}m\n"), "listen 80;"), &sim).unwrap();
    }
    let runs = Journal::default().list(&sim).unwrap();
    assert!(runs.len() <= 20, "{} runs", runs.len());
    assert_eq!(runs.last().unwrap().header.run, RunId(31));
    rollback(None, &sim).unwrap();
    assert!(sim.world().text("/etc/fail2ban/jail.d/pitool.local").contains("bantime = 28m"));
    let blobs = sim.list("/var/lib/pitool/blobs").unwrap().unwrap().len();
    assert!(blobs < 80, "{blobs} contents kept");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of configs, cuts and rollbacks ends where the last word says.
    #[test]
    fn any_history_converges(steps in proptest::collection::vec((0u8..4, 0usize..400, any::<bool>()), 1..6), lived_in: bool) {
        let (_, world) = machines().remove(usize::from(lived_in));
        let sim = Sim::of(world);
        for (what, at, reboot) in steps {
            let jail = format!("bantime = {at}m\n");
            match what {
                0 => drop(apply(&desired(&jail, "listen 80;"), &sim).unwrap()),
                1 => {
                    if Journal::default().undoable(&sim).unwrap().is_some() {
                        rollback(None, &sim).unwrap();
                    }
                }
                _ => {
                    sim.cut_after(at, if reboot { Cut::Torn } else { Cut::After });
                    let result = if what == 2 {
                        apply(&desired(&jail, "listen 80;"), &sim).map(drop)
                    } else {
                        engine(&sim).rollback::<Kind>(None, Consent::default(), &mut |_| {}).map(drop)
                    };
                    if result.is_err() && sim.dark() {
                        if reboot { sim.restore_power() } else { sim.kill() }
                    }
                    sim.keep_power();
                }
            }
        }
        apply(&first(), &sim).unwrap();
        settled(&first(), &sim);
    }
}

#[test]
fn a_run_whose_snapshot_is_torn_never_was() {
    let sim = Sim::debian(13);
    let whole = Sim::debian(13);
    apply(&first(), &whole).unwrap();
    let begin =
        whole.changes().iter().position(|change| change.starts_with("append /var/lib/pitool/runs")).unwrap();
    sim.cut_after(begin, Cut::Torn);
    apply(&first(), &sim).unwrap_err();
    sim.kill();
    assert!(sim.world().exists("/var/lib/pitool/runs/000001.jsonl"), "half of it is there");
    assert!(Journal::default().list(&sim).unwrap().is_empty());
    assert!(Journal::default().unfinished(&sim).unwrap().is_none());
    apply(&first(), &sim).unwrap();
    assert_eq!(Journal::default().undoable(&sim).unwrap(), Some(RunId(2)));
}

#[test]
fn going_on_with_an_interrupted_run_and_back_takes_back_both() {
    let sim = Sim::debian(13);
    let start = sim.snapshot();
    sim.interrupt_after(60);
    engine(&sim).apply(&first(), false, None, &mut |_| {}).unwrap();
    sim.interrupt_after(usize::MAX / 2);
    apply(&first(), &sim).unwrap();
    assert_eq!(Journal::default().undoable(&sim).unwrap(), Some(RunId(1)));
    rollback(None, &sim).unwrap();
    back(&sim, &start, "both runs");
}

#[test]
fn a_thing_belongs_to_the_role_that_wants_it_now() {
    let sim = Sim::debian(13);
    let file = || vec![Kind::from(File::new("/etc/motd", "hello\n"))];
    let by = |role: &str, kinds: Vec<Kind>| Desired::new([(role.to_owned(), kinds)]).unwrap();
    apply(&by("one", file()), &sim).unwrap();
    let both = |text: &str| {
        let other = vec![Kind::from(File::new("/etc/other", text))];
        Desired::new([("one".to_owned(), vec![]), ("two".to_owned(), [file(), other].concat())]).unwrap()
    };
    apply(&both("x\n"), &sim).unwrap();
    assert!(plan(&by("one", vec![]), &sim).unmanaged.is_empty(), "role two has it now");
    assert_eq!(plan(&by("two", vec![]), &sim).unmanaged.len(), 2);
}

#[test]
fn a_file_put_right_does_not_restart_a_service_that_never_read_the_edit() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let path = "/etc/fail2ban/jail.d/pitool.local";
    sim.arrange().put(path, "# mine\n");
    assert_eq!(ids(&plan(&first(), &sim)), [id("file", path)]);
    assert_eq!(apply(&first(), &sim).unwrap(), [id("file", path)]);
    settled(&first(), &sim);
}

#[test]
fn a_service_that_its_package_starts_with_our_files_is_not_restarted() {
    let sim = Sim::debian(13);
    assert!(apply(&first(), &sim).unwrap().contains(&id("unit", "fail2ban.service")));
    let commands = sim.commands();
    let jobs = |unit: &str| {
        let ours = |run: &&String| run.starts_with("systemctl") && run.ends_with(unit);
        commands.iter().filter(ours).filter(|run| !run.contains("reset-failed")).count()
    };
    // Its jails were there before its package came; nginx's site was not.
    assert_eq!((jobs("fail2ban.service"), jobs("nginx.service")), (0, 1), "{commands:#?}");
    settled(&first(), &sim);
}

#[test]
fn a_service_that_started_after_another_has_seen_what_that_one_left() {
    for (order, restarts) in [(["nginx", "fail2ban"], 0), (["fail2ban", "nginx"], 1)] {
        let sim = Sim::debian(13);
        let file = id("file", "/usr/lib/systemd/system/nginx.service");
        let unit = Unit::new("fail2ban.service").reads_what_is_left_by("nginx.service", file);
        let mut kinds: Vec<Kind> = order.map(|name| Package::new(name).into()).into();
        kinds.push(unit.into());
        let want = Desired::new([("web".to_owned(), kinds)]).unwrap();
        assert!(apply(&want, &sim).unwrap().contains(&id("unit", "fail2ban.service")));
        let found = sim.commands().iter().filter(|run| *run == "systemctl restart fail2ban.service").count();
        assert_eq!(found, restarts, "{order:?}: {:#?}", sim.commands());
        assert!(plan(&want, &sim).steps.is_empty(), "{order:?}");
    }
}

#[test]
fn going_back_leaves_what_others_installed_since() {
    let sim = Sim::debian(13);
    sim.arrange().with_installed(&["git"]);
    apply(&first(), &sim).unwrap();
    sim.arrange().with_installed(&["jq"]);
    rollback(None, &sim).unwrap();
    let world = sim.world();
    assert!(world.packages.get("nginx").is_none(), "ours goes");
    assert!(world.packages.get("python3").is_none(), "what ours brought goes too");
    assert!(world.packages.installed("jq"), "somebody asked for it");
    assert!(world.packages.installed("libjq1"), "and it needs this");
}

#[test]
fn going_back_leaves_what_an_old_package_needs_by_now() {
    let sim = Sim::debian(13);
    sim.arrange().with_installed(&["git"]);
    apply(&first(), &sim).unwrap();
    {
        // As a kernel does: an upgrade of the package brings another version of what it needs.
        let mut world = sim.arrange();
        world.packages.packages.get_mut("git").unwrap().depends = "libjq1 (>= 2)".into();
        world.catalogue.get_mut("git").unwrap().depends = vec!["libjq1".into()];
        world.automatic.insert("libjq1".into());
        world.with_installed(&["libjq1"]);
    }
    rollback(None, &sim).unwrap();
    let world = sim.world();
    assert!(world.packages.get("nginx").is_none(), "ours goes");
    assert!(world.packages.installed("libjq1"), "git needs it");
    assert!(world.packages.installed("git"), "apt would take it along");
}

#[test]
fn a_text_that_is_not_utf_8_is_held_back_and_stays() {
    let sim = Sim::debian(13);
    let path = "/home/pi/.ssh/authorized_keys";
    let theirs = b"ssh-ed25519 AAAA m\xfcller@laptop\nssh-ed25519 BBBB other\n".to_vec();
    sim.arrange().put_dir("/home").put_dir("/home/pi").put_dir("/home/pi/.ssh").put(path, theirs.clone());
    let key = Part::new(path, Edit::Lines(vec!["ssh-ed25519 CCCC mine".into()]));
    let want = Desired::new([("one".to_owned(), vec![Kind::from(key)])]).unwrap();
    let planned = plan(&want, &sim);
    assert!(planned.steps.is_empty() && planned.refused[0].why.contains("UTF-8"), "{planned:?}");
    assert_eq!(sim.world().content(path).unwrap().bytes(), theirs);
}

#[test]
fn root_who_is_refused_does_not_count_among_those_who_may_log_in() {
    let sim = Sim::debian(13);
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhTZ0eb0iNsZ1KIpqQ8LSCDKYFsf/ytYU1jcTqR0ECl root@laptop\n";
    sim.arrange().put_dir("/root").put_dir("/root/.ssh").put("/root/.ssh/authorized_keys", key);
    let held_back = |root| {
        let guard = LoginGuard::Among { users: vec!["root".into()], passwords: false, root };
        let file = File::new("/etc/ssh/sshd_config.d/01-pitool-users.conf", "AllowUsers root\n");
        let file = vec![Kind::from(file.guarded_by(guard))];
        let want = Desired::new([("security".to_owned(), file)]).unwrap();
        plan(&want, &sim).refused.len()
    };
    assert_eq!(held_back(true), 0);
    assert_eq!(held_back(false), 1, "nobody could log in any more");
}

#[test]
fn the_firewall_has_the_rules_in_the_order_of_the_config() {
    let sim = Sim::debian(13);
    let from = |policy, port, from: &str| Rule { from: from.into(), ..Rule::new(policy, "tcp", port) };
    let deny = |from_: &str| from(Policy::Deny, 8000, from_);
    let want = |rules: Vec<Rule>| {
        let wall = Firewall::new(Policy::Deny, Policy::Allow, None, rules);
        let kinds = vec![Package::new("ufw").into(), Kind::from(wall)];
        Desired::new([("security".to_owned(), kinds)]).unwrap()
    };
    let order = |file: &str| -> Vec<String> {
        let world = sim.world();
        let text = world.content(file).unwrap().text().unwrap().to_owned();
        let tuples = text.lines().filter_map(|line| line.strip_prefix("### tuple ### ")).map(str::to_owned);
        tuples.map(|line| line.split(' ').take(6).collect::<Vec<_>>().join(" ")).collect()
    };
    let open = Rule::new(Policy::Allow, "tcp", 8000);
    let web = Rule::new(Policy::Allow, "tcp", 80);
    apply(&want(vec![deny("192.0.2.9"), open.clone(), web.clone()]), &sim).unwrap();
    let four = order("/etc/ufw/user.rules");
    assert_eq!(four[1], "deny tcp 8000 0.0.0.0/0 any 192.0.2.9", "{four:#?}");
    // A new rule before one that is there, and one of IPv6.
    let more = vec![deny("192.0.2.9"), deny("192.0.2.10"), deny("fd00::9"), open.clone(), web.clone()];
    apply(&want(more.clone()), &sim).unwrap();
    assert!(plan(&want(more), &sim).steps.is_empty());
    let places = |list: &[String]| -> Vec<usize> {
        ["192.0.2.10", "fd00::9", "allow tcp 8000", "allow tcp 80 "]
            .iter()
            .filter_map(|needle| list.iter().position(|line| format!("{line} ").contains(needle)))
            .collect()
    };
    for file in ["/etc/ufw/user.rules", "/etc/ufw/user6.rules"] {
        let list = order(file);
        let at = places(&list);
        assert!(at.len() == 3 && at.is_sorted(), "{file}: {list:#?}");
        assert!(list[0].starts_with("limit tcp 22"), "{file}: {list:#?}");
    }
    // Where all of them open, the order does not matter and nothing moves.
    apply(&want(vec![open.clone(), web.clone()]), &sim).unwrap();
    assert!(plan(&want(vec![web, open]), &sim).steps.is_empty());
}

#[test]
fn a_rule_says_what_it_is_for_and_stays_ours() {
    let sim = Sim::debian(13);
    let web = Rule::new(Policy::Allow, "tcp", 80);
    let want = |rules: &[&Rule], remark: Option<&str>| -> Desired<Kind> {
        let wall = Firewall::new(
            Policy::Deny,
            Policy::Allow,
            None,
            rules.iter().map(|rule| (*rule).clone()).collect(),
        );
        let wall = wall.remarked(remark.map(|remark| (web.clone(), remark.to_owned())));
        Desired::new([("security".to_owned(), vec![Package::new("ufw").into(), Kind::from(wall)])]).unwrap()
    };
    let comment = || {
        let rules = ufw_rules::parse(sim.world().content("/etc/ufw/user.rules").unwrap().text().unwrap());
        rules.into_iter().find(|rule| rule.dport == "80").map(|rule| rule.comment)
    };
    for (remark, held) in [
        (Some("the port for tests"), "pitool: the port for tests"),
        (Some("guests"), "pitool: guests"),
        (None, "pitool"),
    ] {
        apply(&want(&[&web], remark), &sim).unwrap();
        assert_eq!(comment().as_deref(), Some(held));
        assert!(plan(&want(&[&web], remark), &sim).steps.is_empty());
    }
    apply(&want(&[&web], Some("guests")), &sim).unwrap();
    rollback(None, &sim).unwrap();
    assert_eq!(comment().as_deref(), Some("pitool"));
    apply(&want(&[&web], Some("guests")), &sim).unwrap();
    apply(&want(&[], None), &sim).unwrap();
    assert_eq!(comment(), None, "a rule with a remark is ours and goes");
}

/// ufw's rules: action, protocol, port, source, comment.
fn ufw(sim: &Sim) -> Vec<String> {
    let world = sim.world();
    let text = world.content("/etc/ufw/user.rules").and_then(Content::text).unwrap_or_default();
    let words =
        |rule: ufw_rules::Rule| format!("{:?} {}/{} {}", rule.action, rule.dport, rule.proto, rule.comment);
    ufw_rules::parse(text).into_iter().map(words).collect()
}

fn security(wall: Firewall) -> Desired<Kind> {
    Desired::new([("security".to_owned(), vec![Package::new("ufw").into(), Kind::from(wall)])]).unwrap()
}

fn open(ports: &[u16]) -> Firewall {
    let rules = ports.iter().map(|port| Rule::new(Policy::Allow, "tcp", port)).collect();
    Firewall::new(Policy::Deny, Policy::Allow, None, rules)
}

fn both(port: u16) -> [Named; 2] {
    [false, true].map(|udp| Named { first: port, last: port, udp })
}

fn summary(plan: &Plan<Kind>, kind: &str) -> String {
    plan.steps
        .iter()
        .find(|step| step.id.kind() == kind)
        .map(|step| step.change().summary)
        .unwrap_or_default()
}

#[test]
fn a_first_firewall_keeps_open_what_services_use_and_names_what_it_closes() {
    let sim = Sim::debian(13);
    household(&mut sim.arrange());
    let wall = || open(&[80]).closed(both(445));
    let planned = plan(&security(wall()), &sim);
    let step = summary(&planned, "firewall");
    for words in ["+ allow 53/tcp for dnsmasq", "+ allow 53/udp for dnsmasq", "+ allow 8123/tcp for python3"]
    {
        assert!(step.contains(words), "{step}");
    }
    assert!(step.ends_with("closes 445/tcp (smbd), 4444/tcp (nc)"), "{step}");
    let why = &planned.refused[0].why;
    assert!(why.contains("53/tcp and 53/udp, dnsmasq: `{ port = 53, protocol = \"any\" }`"), "{why}");
    assert!(why.contains("close = [53, 8123]") && !why.contains("445") && !why.contains("5353"), "{why}");
    apply(&security(wall()), &sim).unwrap();
    let kept = "Allow 8123/tcp pitool keeps this open for python3".to_owned();
    assert!(ufw(&sim).contains(&kept), "{:#?}", ufw(&sim));

    // From now on its own rules are what is asked: nobody who listens later opens a port, nobody who ends closes one.
    sim.arrange().hang_up().listen(9999, false, 0, "late", "/system.slice/late.service");
    let again = plan(&security(wall()), &sim);
    assert!(again.steps.is_empty(), "{:?}", ids(&again));
    assert_eq!(again.refused[0].why, *why, "and the sentence stays");
    // TCP is read for other ssh servers only, whose ports stay open as that of sshd does (K2.7).
    sim.arrange().erase("/proc/net/udp").put_dir("/proc/net/udp");
    assert!(plan(&security(wall()), &sim).steps.is_empty(), "who listens is not even read");
    sim.arrange().erase("/proc/net/udp");

    // What the config names stays or goes as it says.
    let named = || open(&[80, 8123]).closed(both(445)).closed(both(53));
    apply(&security(named()), &sim).unwrap();
    let mut left = ufw(&sim);
    left.sort();
    assert_eq!(left, ["Allow 80/tcp pitool", "Allow 8123/tcp pitool", "Limit 22/tcp pitool"]);
    assert!(plan(&security(named()), &sim).refused.is_empty());
    rollback(None, &sim).unwrap();
    assert!(ufw(&sim).contains(&kept), "{:#?}", ufw(&sim));
    rollback(None, &sim).unwrap();
    assert_eq!(ufw(&sim), Vec::<String>::new());
}

#[test]
fn a_service_that_the_run_restarts_is_not_closed_meanwhile() {
    let sim = Sim::debian(13);
    household(&mut sim.arrange());
    let want = security(open(&[]));
    let twin = Sim::of(sim.snapshot());
    apply(&want, &twin).unwrap();
    let installed = twin.changes().iter().position(|change| change.starts_with("ufw")).unwrap();
    sim.cut_after(installed, Cut::Before);
    apply(&want, &sim).unwrap_err();
    // The process is killed and the services are down: what was in use when the run began still counts.
    sim.kill();
    sim.arrange().hang_up();
    apply(&want, &sim).unwrap();
    assert_eq!(ufw(&sim), ufw(&twin));
    assert!(ufw(&sim).iter().any(|rule| rule.ends_with("for smbd")));
    assert!(sim.read("/run/pitool/in-use/ufw").unwrap().is_none(), "the note goes with the run");
}

#[test]
fn a_first_firewall_closes_the_ports_of_the_apps_users() {
    let sim = Sim::debian(13);
    sim.arrange().listen(3000, false, 0, "node", "/system.slice/blog.service");
    let user = User::new("shop").home("/opt/shop");
    let account = Desired::new([("app".to_owned(), vec![Kind::from(user)])]).unwrap();
    apply(&account, &sim).unwrap();
    let passwd = sim.world().text("/etc/passwd").to_owned();
    let uid = passwd
        .lines()
        .find_map(|line| line.strip_prefix("shop:x:"))
        .unwrap()
        .split(':')
        .next()
        .unwrap()
        .to_owned();
    sim.arrange().listen(3002, false, uid.parse().unwrap(), "node", "/system.slice/shop.service");
    let planned = plan(&security(open(&[]).apps(["shop".to_owned()])), &sim);
    let step = summary(&planned, "firewall");
    assert!(step.contains("+ allow 3000/tcp for node") && step.ends_with("closes 3002/tcp (node)"), "{step}");
}

#[test]
fn a_firewall_that_closes_already_opens_nothing_for_who_listens() {
    let sim = Sim::debian(13);
    sim.arrange().with_installed(&["ufw"]);
    household(&mut sim.arrange());
    for words in [vec!["allow", "22/tcp"], vec!["--force", "enable"]] {
        sim.run(&pitool_host::Command::new("ufw").args(words)).unwrap();
    }
    let planned = plan(&security(open(&[])), &sim);
    assert!(planned.refused.is_empty() && !summary(&planned, "firewall").contains("445"), "{planned:?}");
    // One that lets everything in closes for the first time.
    sim.run(&pitool_host::Command::new("ufw").args(["default", "allow", "incoming"])).unwrap();
    sim.run(&pitool_host::Command::new("ufw").args(["deny", "8123/tcp"])).unwrap();
    let step = summary(&plan(&security(open(&[])), &sim), "firewall");
    assert!(step.contains("+ allow 445/tcp for smbd") && !step.contains("8123"), "{step}");
}

#[test]
fn a_filter_of_another_program_is_not_opened() {
    let sim = Sim::debian(13);
    household(&mut sim.arrange());
    sim.arrange().put("/usr/sbin/iptables", "ELF");
    let stdout = "-P INPUT DROP\n-A INPUT -p tcp -m multiport --dports 80,445 -j ACCEPT\n".to_owned();
    sim.answer("iptables -S", Output { status: 0, stdout, stderr: String::new() });
    let step = summary(&plan(&security(open(&[])), &sim), "firewall");
    assert!(
        step.contains("+ allow 445/tcp for smbd") && !step.contains("8123") && !step.contains("53/"),
        "{step}"
    );
}

#[test]
fn a_rule_that_goes_closes_nothing_where_the_firewall_is_off() {
    let sim = Sim::debian(13);
    sim.arrange().with_installed(&["ufw"]);
    sim.arrange().listen(22, false, 0, "sshd", "/system.slice/ssh.service");
    let before = sim.snapshot();
    apply(&security(open(&[80])), &sim).unwrap();
    rollback(None, &sim).unwrap();
    // What the simulated ufw was started with differs; it reads nothing of that while it is off.
    for path in ["/etc/ufw/user.rules", "/etc/ufw/user6.rules", "/etc/ufw/ufw.conf", "/etc/default/ufw"] {
        assert_eq!(sim.world().text(path), before.text(path), "{path}");
    }
}

/// A rule of an application profile, as `ufw allow OpenSSH` writes it.
const PROFILE: &str = "\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in\n\
    -A ufw-user-input -p tcp --dport 22 -j ACCEPT -m comment --comment 'dapp_OpenSSH'\n";

#[test]
fn a_rule_of_a_profile_that_lets_ssh_in_gets_no_second_one() {
    let sim = Sim::debian(13);
    sim.arrange().with_installed(&["ufw"]);
    sim.arrange().listen(22, false, 0, "sshd", "/system.slice/ssh.service");
    let rules = sim
        .world()
        .text("/etc/ufw/user.rules")
        .replace("### RULES ###\n", &format!("### RULES ###\n{PROFILE}"));
    sim.arrange().put("/etc/ufw/user.rules", rules);
    let want = security(open(&[]));
    let planned = plan(&want, &sim);
    assert!(!summary(&planned, "firewall").contains("22/tcp"), "{}", summary(&planned, "firewall"));
    assert!(planned.refused[0].why.contains("port 22 of ssh has no limit"), "{}", planned.refused[0].why);
    apply(&want, &sim).unwrap();
    rollback(None, &sim).unwrap();
}

#[test]
fn a_stricter_rule_of_a_persons_own_stays() {
    let sim = Sim::debian(13);
    sim.arrange().with_installed(&["ufw"]);
    for words in [["limit", "80/tcp"], ["allow", "443/tcp"]] {
        sim.run(&pitool_host::Command::new("ufw").args(words)).unwrap();
    }
    let deny = Rule { from: "192.0.2.9".into(), ..Rule::new(Policy::Deny, "tcp", 8080) };
    let rules = vec![Rule::new(Policy::Allow, "tcp", 80), Rule::new(Policy::Limit, "tcp", 443), deny];
    let want = security(Firewall::new(Policy::Deny, Policy::Allow, None, rules));
    assert!(plan(&want, &sim).refused[0].why.contains("your own rule `limit 80/tcp` stays"));
    apply(&want, &sim).unwrap();
    let held = ufw(&sim);
    assert!(
        held.contains(&"Limit 80/tcp ".to_owned()) && held.contains(&"Limit 443/tcp pitool".to_owned()),
        "{held:#?}"
    );
    assert!(plan(&want, &sim).steps.is_empty(), "{:?}", ids(&plan(&want, &sim)));
}

#[test]
fn published_ports_in_use_stay_open_when_they_are_first_closed() {
    let sim = Sim::debian(13);
    sim.arrange().with_installed(&["docker.io", "docker-cli"]);
    let containers = "web\t0.0.0.0:8081->80/tcp, [::]:8081->80/tcp\nmine\t127.0.0.1:5432->5432/tcp\nold\t0.0.0.0:9000->9000/tcp\n";
    sim.arrange().put("/run/docker/containers", containers);
    let want = |closed: &[u16]| {
        let ports = PublishedPorts::new(Some("DROP")).closed(closed.iter().flat_map(|port| both(*port)));
        Desired::new([("docker".to_owned(), vec![Kind::from(ports)])]).unwrap()
    };
    let planned = plan(&want(&[9000]), &sim);
    let step = summary(&planned, "published");
    assert!(step.ends_with("keeps open 8081/tcp (web), closes 9000/tcp (old)"), "{step}");
    assert!(
        planned.refused[0].why.contains("8081/tcp, web: `{ port = 8081 }`"),
        "{}",
        planned.refused[0].why
    );
    apply(&want(&[9000]), &sim).unwrap();
    // A container that comes later opens nothing.
    sim.arrange().put("/run/docker/containers", "late\t0.0.0.0:7777->80/tcp\n");
    let again = plan(&want(&[9000]), &sim);
    assert!(again.steps.is_empty() && again.refused == planned.refused, "{again:?}");
    apply(&want(&[9000, 8081]), &sim).unwrap();
    assert!(plan(&want(&[9000, 8081]), &sim).refused.is_empty());
    // A machine that an older version looks after has decided, too.
    let older = Sim::debian(13);
    older.arrange().with_installed(&["docker.io", "docker-cli"]).put("/run/docker/containers", containers);
    older.arrange().put("/etc/docker/pitool-firewall.v4", "*filter\nCOMMIT\n");
    assert!(plan(&want(&[]), &older).refused.is_empty());
}

#[test]
fn a_rule_does_not_shut_the_port_of_sshd() {
    let sim = Sim::debian(13);
    let rules = vec![Rule::new(Policy::Deny, "tcp", 22), Rule::new(Policy::Allow, "tcp", 80)];
    let wall = Firewall::new(Policy::Deny, Policy::Allow, None, rules);
    let kinds = vec![Package::new("ufw").into(), Kind::from(wall)];
    let want = Desired::new([("security".to_owned(), kinds)]).unwrap();
    assert!(plan(&want, &sim).refused[0].why.contains("sshd listens there"));
    apply(&want, &sim).unwrap();
    let world = sim.world();
    let text = world.content("/etc/ufw/user.rules").unwrap().text().unwrap();
    assert!(
        text.contains("### tuple ### limit tcp 22 ") && !text.contains("### tuple ### deny tcp 22 "),
        "{text}"
    );
}

#[test]
fn a_port_that_another_file_of_sshds_names_stays_open_and_the_plan_says_so() {
    let file = File::new("/etc/ssh/sshd_config.d/01-pitool-port.conf", "Port 2222\n");
    let wall = Firewall::new(Policy::Deny, Policy::Allow, Some(2222), vec![]).moved_by(file.id());
    let ssh = Unit::new("ssh.service").reads([file.id()]);
    let kinds = vec![Package::new("ufw").into(), Kind::from(file), ssh.into(), wall.into()];
    let want = Desired::new([("security".to_owned(), kinds)]).unwrap();
    for (others, stays) in [("", false), ("Port 22\n", true)] {
        let sim = Sim::debian(13);
        sim.arrange().put("/etc/ssh/sshd_config.d/50-mine.conf", others);
        let planned = plan(&want, &sim);
        let step = planned.steps.iter().find(|step| step.id.kind() == "firewall").unwrap();
        let says = step.change().summary.contains("limit 22/tcp");
        assert_eq!(says, stays, "{}", step.change().summary);
        apply(&want, &sim).unwrap();
        let world = sim.world();
        let rules = world.content("/etc/ufw/user.rules").unwrap().text().unwrap();
        assert_eq!(rules.contains("### tuple ### limit tcp 22 "), stays, "{rules}");
    }
}

#[test]
fn a_port_that_stays_open_besides_is_not_in_force() {
    let file = "/etc/ssh/sshd_config.d/01-pitool-port.conf".to_owned();
    let proof = SshdListens { port: 2222, file: file.clone() };
    let asked = |mine: &str, ports: &[u16]| {
        let sim = Sim::debian(13);
        sim.arrange().put(&file, "Port 2222\n").put("/etc/ssh/sshd_config.d/50-mine.conf", mine);
        let line =
            |port: &u16| format!("LISTEN 0 128 0.0.0.0:{port} 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))\n");
        let stdout = ports.iter().map(line).collect();
        sim.answer("ss ", Output { status: 0, stdout, stderr: String::new() });
        proof.ask(&sim).unwrap()
    };
    assert!(matches!(asked("", &[2222]), Verdict::InForce { .. }));
    let Verdict::NotInForce { hint, .. } = asked("Port 22\n", &[22, 2222]) else { panic!("22 is open") };
    assert!(hint.contains("/etc/ssh/sshd_config.d/50-mine.conf:1 names 22"), "{hint}");
}

#[test]
fn a_session_that_came_in_by_key_counts_through_sudo_too() {
    let by = |method: &str| format!("Accepted {method} for pi from 192.0.2.1 port 50000 ssh2");
    let path = "/etc/ssh/sshd_config.d/01-pitool-passwords.conf";
    let file = File::new(path, "PasswordAuthentication no\n").guarded_by(LoginGuard::Key { root: false });
    let want = Desired::new([("ssh".to_owned(), vec![Kind::from(file)])]).unwrap();
    let key = "from=\"192.0.2.0/24\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g pi\n";
    let refused = |environment: &str, journal: &str| {
        let sim = Sim::debian(13);
        sim.arrange()
            .put_dir("/home/pi/.ssh")
            .put("/home/pi/.ssh/authorized_keys", key)
            .put("/proc/100/status", "Name:\tbash\nUid:\t1000\t1000\t1000\t1000\n")
            .put("/proc/self/stat", "300 (pitool) S 200 300 300 0\n")
            .put("/proc/200/stat", "200 (sudo (x) y) S 100 200 200 0\n")
            .put("/proc/200/environ", "PATH=/usr/bin\0SUDO_USER=pi\0")
            .put("/proc/100/stat", "100 (bash) S 1 100 100 0\n")
            .put("/proc/100/environ", environment);
        let stdout = format!("{journal}\n");
        // Whoever asks by the identifier, which any user can choose, hears whatever a user likes.
        let forged = format!("{}\n", by("publickey"));
        sim.answer("journalctl", Output { status: 0, stdout: forged, stderr: String::new() });
        let trusted = "journalctl -b -o cat --no-pager -n 2000 _UID=0 _COMM=sshd";
        sim.answer(trusted, Output { status: 0, stdout, stderr: String::new() });
        !plan(&want, &sim).refused.is_empty()
    };
    let connection = "SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22\0HOME=/home/pi\0";
    assert!(!refused(connection, &by("publickey")));
    assert!(refused(connection, &by("password")));
    assert!(refused(connection, "Accepted publickey for pi from 192.0.2.1 port 50001 ssh2"));
    assert!(refused("HOME=/home/pi\0", &by("publickey")));
}

#[test]
fn a_round_of_questions_asks_nobody_the_same_twice() {
    let sim = Sim::of(World::debian(13, "arm64"));
    sim.answer("docker info", Output { status: 1, stdout: String::new(), stderr: "no daemon".into() });
    let proofs: [Question; 2] = [
        DockerAnswers { log_driver: "json-file".into(), live_restore: true }.into(),
        DockerMemoryLimit { pi: false }.into(),
    ];
    for round in 1..=2 {
        assert_eq!(prove(&proofs, &sim, Duration::ZERO, &mut |_| {}).len(), 2);
        let asked = sim.questions().iter().filter(|question| question.starts_with("docker info")).count();
        assert_eq!(asked, round, "a new round asks anew");
    }
}

#[test]
fn a_journal_that_cannot_be_written_any_more_does_not_keep_a_failed_run_from_going_back() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let before = sim.snapshot();
    let full = pitool_sim::Fault::DiskFull;
    sim.fail_next("restart fail2ban.service", pitool_sim::Fault::Fails(1, "failed".into()));
    // The run's own snapshot is run 2; the disk is full when the run should be closed and for all that comes after.
    let mut faulted = false;
    let outcome = engine(&sim).apply(&second(), false, None, &mut |event| {
        if matches!(event, Event::Failed { .. }) && !faulted {
            faulted = true;
            for what in ["managed.json", "managed.json", "000002.jsonl", "000003.jsonl", "blobs"] {
                sim.fail_next(what, full.clone());
            }
        }
    });
    let back_again = outcome.unwrap().rolled_back.expect("it was taken back");
    assert_eq!(back_again.ending, Ending::Done, "{:?}", back_again.failures);
    assert!(Journal::default().run(&sim, RunId(2)).unwrap().unwrap().ending.is_none(), "the disk was full");
    back(&sim, &before, "after the failure");
}

#[test]
fn going_back_does_not_purge_what_would_take_a_persons_files_along() {
    let keeping = || {
        InstalledSet::default()
            .ours(["nginx"])
            .keeping(&["nginx-common"], &[("/etc/nginx/sites-enabled", &["default"])])
    };
    let want =
        Desired::new([("app".to_owned(), vec![Package::new("nginx").into(), keeping().into()])]).unwrap();
    let kept = Some(pitool_host::PackageState::ConfigFiles);
    for (site, state) in [
        (None, None),
        (Some("mine"), kept),
        // As a power cut leaves the package's own, unpacked and not yet configured.
        (Some("default.dpkg-new"), None),
        (Some("mine.dpkg-new"), kept),
        (Some("default.dpkg-old"), kept),
    ] {
        let sim = Sim::debian(13);
        apply(&want, &sim).unwrap();
        if let Some(site) = site {
            sim.arrange().put(&format!("/etc/nginx/sites-enabled/{site}"), "server {}\n");
        }
        rollback(None, &sim).unwrap();
        assert_eq!(sim.world().packages.get("nginx-common").map(|package| package.state), state);
        assert!(sim.world().packages.get("nginx").is_none());
    }
}

#[test]
fn a_secret_of_the_config_is_not_in_the_journals_text() {
    let sim = Sim::debian(13);
    let seed = Seed::new("/opt/env", "TOKEN=s3cr3t\n", "root", "root");
    let want = Desired::new([("app".to_owned(), vec![Kind::from(seed)])]).unwrap();
    apply(&want, &sim).unwrap();
    let world = sim.world();
    for file in ["/var/lib/pitool/runs/000001.jsonl", "/var/lib/pitool/managed.json"] {
        let text = world.content(file).unwrap().text().unwrap();
        assert!(!text.contains("s3cr3t"), "{file}: {text}");
    }
    assert_eq!(world.content("/opt/env").unwrap().text().unwrap(), "TOKEN=s3cr3t\n");
}

#[test]
fn all_packages_are_one_transaction() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let installs = |sim: &Sim| sim.commands().iter().filter(|command| command.contains(" install ")).count();
    assert_eq!(installs(&sim), 1, "{:#?}", sim.commands());
}

#[test]
fn a_transaction_that_fails_names_the_package_that_it_failed_at() {
    let blamed = |words: &str| {
        let sim = Sim::debian(13);
        sim.fail_next(" install ", pitool_sim::Fault::Fails(100, words.into()));
        let outcome = engine(&sim).apply(&first(), false, None, &mut |_| {}).unwrap();
        outcome.settled.failures[0].0.name().to_owned()
    };
    let packages = ["fail2ban", "nginx", "ufw"].map(|name| id("package", name));
    let first_of_all = blamed("E: Sub-process /usr/bin/dpkg returned an error code (1)");
    for package in packages.iter().filter(|package| package.name() != first_of_all) {
        let words = format!("Errors were encountered while processing:\n {}\nE: Sub-process", package.name());
        assert_eq!(blamed(&words), package.name());
        assert_eq!(
            blamed(&format!("error processing package lib{}-mod (--configure):", package.name())),
            first_of_all
        );
    }
}

#[test]
fn a_file_that_a_service_no_longer_reads_is_no_news_to_it() {
    let sim = Sim::debian(13);
    let unit = |paths: &[&str]| {
        let ids = paths.iter().map(|path| id("file", path)).collect::<Vec<_>>();
        Kind::from(Unit::new("ssh.service").reads(ids))
    };
    let file = |path: &str| Kind::from(File::new(path, format!("# {path}\n")));
    let (one, two) = ("/etc/ssh/sshd_config.d/01-one.conf", "/etc/ssh/sshd_config.d/01-two.conf");
    let want = |kinds: Vec<Kind>| Desired::new([("ssh".to_owned(), kinds)]).unwrap();
    let both = want(vec![file(one), file(two), unit(&[one, two])]);
    let less = want(vec![file(one), unit(&[one])]);
    apply(&both, &sim).unwrap();
    // The file stays, so nothing happened to the service; nobody edited anything.
    let plan_of = |want: &Desired<Kind>, prune| Engine::plan(want, prune, &Journal::default(), &sim).unwrap();
    assert!(plan_of(&less, false).steps.is_empty());
    // Pruned, it goes, and the service starts without it.
    assert_eq!(ids(&plan_of(&less, true)), [id("file", two), id("unit", "ssh.service")]);
    let outcome = engine(&sim).apply(&less, true, None, &mut |_| {}).unwrap();
    assert_eq!(outcome.settled.ending, Ending::Done);
    assert!(!sim.world().units["ssh.service"].running_with.contains_key(two));
    // A file more is a restart, and no drift.
    let plan = plan_of(&both, false);
    assert_eq!(ids(&plan), [id("file", two), id("unit", "ssh.service")]);
    assert!(
        plan.steps.iter().all(|step| step.reason != pitool_engine::Reason::Drift),
        "{:?}",
        plan.steps[1].reason
    );
}

/// Going back from a run that took a file away restarts what reads the file again, although that run's own resource
/// does not name it any more.
#[test]
fn back_from_pruning_a_service_runs_with_the_file_again() {
    let unit = |paths: &[&str]| {
        let ids = paths.iter().map(|path| id("file", path)).collect::<Vec<_>>();
        Kind::from(Unit::new("ssh.service").reads(ids))
    };
    let (path, main) = ("/etc/ssh/sshd_config.d/01-one.conf", "/etc/ssh/sshd_config");
    let want = |kinds: Vec<Kind>| Desired::new([("ssh".to_owned(), kinds)]).unwrap();
    for reboot in [false, true] {
        let sim = Sim::debian(13);
        apply(&want(vec![File::new(path, "X11Forwarding no\n").into(), unit(&[path, main])]), &sim).unwrap();
        let before = sim.snapshot();
        let outcome = engine(&sim).apply(&want(vec![unit(&[main])]), true, None, &mut |_| {}).unwrap();
        assert_eq!((outcome.settled.ending, outcome.settled.changed.len()), (Ending::Done, 2));
        if reboot {
            sim.reboot();
        }
        let plan =
            Engine::plan_rollback::<Kind>(None, Consent::default(), &Journal::default(), &sim).unwrap().1;
        rollback(None, &sim).unwrap();
        assert_eq!(ids(&plan), [id("file", path), id("unit", "ssh.service")], "after a reboot: {reboot}");
        back(&sim, &before, "back from pruning");
        rollback(None, &sim).unwrap();
        assert!(!sim.world().units["ssh.service"].running_with.contains_key(path));
    }
}

#[test]
fn pruned_things_go_children_first_and_users_last() {
    let sim = Sim::debian(13);
    let kinds = vec![
        User::new("ada").home("/opt/ada").into(),
        Directory::new("/opt/ada").owner("ada", "ada").into(),
        Directory::new("/opt/ada/data").owner("ada", "ada").into(),
        File::new("/opt/ada/data/a", "x\n").owner("ada", "ada").into(),
    ];
    let none = Desired::<Kind>::new([("app".to_owned(), vec![])]).unwrap();
    let start = sim.snapshot();
    apply(&Desired::new([("app".to_owned(), kinds)]).unwrap(), &sim).unwrap();
    let mut left = Vec::new();
    let outcome = engine(&sim)
        .apply(&none, true, None, &mut |event| {
            if let Event::Left { id, .. } = event {
                left.push(id);
            }
        })
        .unwrap();
    assert_eq!(outcome.settled.ending, Ending::Done, "{:?}", outcome.settled.failures);
    assert!(left.is_empty(), "{left:?}");
    back(&sim, &start, "pruned");
}

/// Gives root a password that sshd takes: what a guard is there to keep.
fn root_has_a_password(sim: &Sim) {
    let mut world = sim.arrange();
    let shadow = world.text("/etc/shadow").replace("root:*:", "root:$y$j9T$salt$hash:");
    world.put("/etc/shadow", shadow).put("/etc/ssh/sshd_config.d/60-root.conf", "PermitRootLogin yes\n");
}

#[test]
fn a_key_without_a_way_to_become_root_does_not_shut_root_out() {
    let sim = Sim::debian(13);
    let path = "/etc/ssh/sshd_config.d/01-pitool-root.conf";
    let guard = LoginGuard::OtherThanRoot { passwords: false };
    let want = Desired::new([(
        "ssh".to_owned(),
        vec![Kind::from(File::new(path, "PermitRootLogin no\n").guarded_by(guard))],
    )])
    .unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g pi\n";
    sim.arrange().put_dir("/home/pi").put_dir("/home/pi/.ssh").put("/home/pi/.ssh/authorized_keys", key);
    let shadow: Vec<String> = sim
        .world()
        .text("/etc/shadow")
        .lines()
        .map(
            |line| {
                if line.starts_with("pi:") { "pi:!:19000:0:99999:7:::".to_owned() } else { line.to_owned() }
            },
        )
        .collect();
    sim.arrange().put("/etc/shadow", shadow.join("\n") + "\n");
    root_has_a_password(&sim);
    assert_eq!(plan(&want, &sim).refused.len(), 1, "pi has a key, and no password that sudo would take");
    sim.arrange()
        .put_dir("/etc/sudoers.d")
        .put("/etc/sudoers.d/010_pi-nopasswd", "pi ALL=(ALL) NOPASSWD: ALL\n");
    assert!(plan(&want, &sim).refused.is_empty(), "{:?}", plan(&want, &sim).refused);
}

#[test]
fn the_plan_counts_on_the_key_that_the_same_run_brings() {
    let sim = Sim::debian(13);
    sim.arrange().put_dir("/home/pi").put_dir("/home/pi/.ssh");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g pi";
    let keys = Part::new("/home/pi/.ssh/authorized_keys", Edit::Lines(vec![key.into()]));
    let path = "/etc/ssh/sshd_config.d/01-pitool-passwords.conf";
    let file = File::new(path, "PasswordAuthentication no\n")
        .guarded_by(LoginGuard::Key { root: false })
        .lifted_by([keys.id()]);
    let alone = Desired::new([("security".to_owned(), vec![Kind::from(file.clone())])]).unwrap();
    let refused = plan(&alone, &sim);
    assert_eq!((refused.refused.len(), refused.steps.len()), (1, 0), "nobody brings a key");
    let both = Desired::new([("both".to_owned(), vec![Kind::from(keys), Kind::from(file)])]).unwrap();
    let planned = plan(&both, &sim);
    assert!(planned.refused.is_empty(), "{:?}", planned.refused);
    assert_eq!(apply(&both, &sim).unwrap(), ids(&planned));
    assert_eq!(ids(&plan(&both, &sim)), []);
}

#[test]
fn a_key_counts_only_where_sshd_takes_it_and_lets_its_owner_in() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g pi\n";
    let path = "/etc/ssh/sshd_config.d/01-pitool-passwords.conf";
    let file = File::new(path, "PasswordAuthentication no\n").guarded_by(LoginGuard::Key { root: false });
    let want = Desired::new([("ssh".to_owned(), vec![Kind::from(file)])]).unwrap();
    let refused = |keys: &str, sshd: &str, at: &str| {
        let sim = Sim::debian(13);
        sim.arrange()
            .put_dir("/home/pi")
            .put_dir("/home/pi/.ssh")
            .put_dir("/etc/keys")
            .put(at, keys)
            .put("/etc/ssh/sshd_config.d/50-mine.conf", sshd);
        root_has_a_password(&sim);
        !plan(&want, &sim).refused.is_empty()
    };
    let usual = "/home/pi/.ssh/authorized_keys";
    assert!(!refused(key, "", usual));
    for options in ["from=\"10.0.0.1\"", "command=\"/bin/backup\",no-pty", "expiry-time=\"20200101\""] {
        assert!(refused(&format!("{options} {key}"), "", usual), "{options}");
    }
    assert!(!refused(&format!("no-agent-forwarding {key}"), "", usual));
    for lists in [
        "AllowUsers root",
        "AllowUsers root pi@10.0.0.1",
        "DenyUsers p?",
        "DenyGroups sudo",
        "AllowGroups root",
    ] {
        assert!(refused(key, &format!("{lists}\n"), usual), "{lists}");
    }
    for lists in ["AllowUsers ada p*", "AllowGroups root sudo", "DenyUsers ada"] {
        assert!(!refused(key, &format!("{lists}\n"), usual), "{lists}");
    }
    let elsewhere = "AuthorizedKeysFile /etc/keys/%u\n";
    assert!(refused(key, elsewhere, usual));
    assert!(!refused(key, elsewhere, "/etc/keys/pi"));
    // StrictModes: nobody else may write to the file or to what is above it, up to the home.
    let file = |sshd: &str, mode: u32, uid: u32, gid: u32| {
        let sim = Sim::debian(13);
        sim.arrange()
            .put_dir("/home/pi")
            .put_dir("/home/pi/.ssh")
            .put_with(usual, key, Access { mode, uid, gid })
            .put("/etc/ssh/sshd_config.d/50-mine.conf", sshd);
        root_has_a_password(&sim);
        plan(&want, &sim).refused.first().map(|refusal| refusal.why.clone())
    };
    assert_eq!(file("", 0o600, 1000, 1000), None);
    assert_eq!(file("", 0o664, 1000, 1000), None, "its group is pi's own");
    for (mode, uid, gid) in [(0o666, 1000, 1000), (0o660, 1000, 33), (0o644, 33, 33)] {
        let why = file("", mode, uid, gid).expect("sshd passes over the key");
        assert!(why.contains(&format!("{usual} has to be pi's or root's")), "{why}");
        assert_eq!(file("StrictModes no\n", mode, uid, gid), None);
    }
}

/// K5.1: who asked a run to stop asked for no machine that is half changed.
#[test]
fn a_request_to_stop_does_not_keep_a_failed_run_from_going_back() {
    for second_request in [false, true] {
        let sim = Sim::debian(13);
        apply(&first(), &sim).unwrap();
        let before = sim.snapshot();
        let words = "Job for fail2ban.service failed.".to_owned();
        sim.fail_next("restart fail2ban.service", pitool_sim::Fault::Fails(1, words));
        let outcome = engine(&sim)
            .apply(&second(), false, None, &mut |event| match event {
                Event::Step { id, .. } if id.name() == "fail2ban.service" => sim.interrupt_after(0),
                Event::Started { purpose: Purpose::Rollback { .. }, .. } if second_request => {
                    sim.interrupt_after(0);
                }
                _ => {}
            })
            .unwrap();
        assert_eq!(outcome.settled.ending, Ending::Failed);
        let back_again = outcome.rolled_back.expect("it was taken back");
        if second_request {
            assert_eq!(back_again.ending, Ending::Interrupted, "asked again while it went back, it stops");
            sim.interrupt_after(usize::MAX / 2);
            rollback(None, &sim).unwrap();
        } else {
            assert_eq!(back_again.ending, Ending::Done);
        }
        back(&sim, &before, "after the failure");
        settled(&first(), &sim);
    }
}

/// K5.8: a job may take what its unit allows; then the step fails and says so.
#[test]
fn a_restart_is_waited_for_as_long_as_its_unit_allows() {
    for (takes, ending) in [(200, Ending::Done), (211, Ending::Failed)] {
        let sim = Sim::debian(13);
        apply(&first(), &sim).unwrap();
        let takes = pitool_sim::Fault::Takes(Duration::from_secs(takes));
        sim.fail_next("systemctl restart fail2ban.service", takes);
        let outcome = engine(&sim).apply(&second(), false, None, &mut |_| {}).unwrap();
        assert_eq!(outcome.settled.ending, ending, "{:?}", outcome.settled.failures);
        if let [(_, error)] = outcome.settled.failures.as_slice() {
            assert!(error.contains("did not end within 210 s"), "{error}");
        }
    }
}

/// What a run starts must not count against the starts of the runs after it.
#[test]
fn starts_are_forgotten_before_a_start() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    apply(&second(), &sim).unwrap();
    let commands = sim.commands();
    for start in ["restart fail2ban.service", "reload-or-restart nginx.service"] {
        let at = commands.iter().rposition(|run| *run == format!("systemctl {start}")).expect(start);
        let unit = start.split(' ').next_back().unwrap();
        assert_eq!(commands[at - 1], format!("systemctl reset-failed {unit}"), "{commands:#?}");
    }
}

fn json_map(depth: u32, keys: &'static [&'static str]) -> BoxedStrategy<serde_json::Map<String, Value>> {
    let leaf = any::<u8>().prop_map(Value::from).boxed();
    let value = if depth == 0 {
        leaf
    } else {
        prop_oneof![leaf, json_map(depth - 1, keys).prop_map(Value::from)].boxed()
    };
    proptest::collection::btree_map(proptest::sample::select(keys), value, 0..4)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        .boxed()
}

/// What others add later: beside our values, never in their place.
fn beside(
    others: serde_json::Map<String, Value>,
    now: &serde_json::Map<String, Value>,
) -> serde_json::Map<String, Value> {
    let fitting = others.into_iter().filter_map(|(key, value)| match (value, now.get(&key)) {
        (Value::Object(inner), Some(Value::Object(now))) => {
            let inner = beside(inner, now);
            (!inner.is_empty()).then(|| (key, Value::Object(inner)))
        }
        (_, Some(_)) => None,
        (Value::Object(inner), None) if inner.is_empty() => None,
        (value, None) => Some((format!("theirs-{key}"), value)),
    });
    fitting.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Taking our keys out of a JSON file again leaves what others wrote, however deep.
    #[test]
    fn going_back_leaves_the_json_of_others(
        before in json_map(2, &["a", "b", "c"]),
        ours in json_map(2, &["a", "b", "c"]),
        others in json_map(2, &["a", "b", "d"]),
    ) {
        let part = |keys: &serde_json::Map<String, Value>| Part::new("/etc/x.json", Edit::Json(keys.clone()));
        let file = |text: Content| Node::File { content: text, mode: 0o644, owner: "root".into(), group: "root".into() };
        let parse = |content: &Content| serde_json::from_str::<serde_json::Map<String, Value>>(content.text().unwrap()).unwrap();
        let old: Content = serde_json::to_string_pretty(&before).unwrap().into();
        let run = part(&ours).applied(old.text().unwrap());
        let others = beside(others, &parse(&run));
        let now = part(&others).applied(run.text().unwrap());
        let Node::File { content, .. } = part(&ours).restored(&file(old.clone()), &file(now)) else { panic!("a file") };
        let expected = part(&others).applied(old.text().unwrap());
        prop_assert_eq!(parse(&content), parse(&expected));
    }
}

#[test]
fn all_lines_that_one_of_ours_replaced_come_back() {
    let sim = Sim::debian(13);
    let old = "LANG=C\nA=1\nLANG=de\n";
    sim.arrange().put("/etc/x", old);
    let line = Part::new("/etc/x", Edit::Line { prefix: "LANG=".into(), line: "LANG=en".into() });
    apply(&Desired::new([("one".to_owned(), vec![Kind::from(line)])]).unwrap(), &sim).unwrap();
    assert_eq!(sim.world().text("/etc/x"), "LANG=en\nA=1\n");
    sim.arrange().put("/etc/x", "LANG=en\nA=1\nB=theirs\n");
    rollback(None, &sim).unwrap();
    assert_eq!(sim.world().text("/etc/x"), "LANG=C\nLANG=de\nA=1\nB=theirs\n");
}

/// K5.4: once somebody changed it, a seed is a person's.
#[test]
fn a_seed_that_somebody_changed_stays() {
    let path = "/opt/env";
    let want = || {
        let seed = Seed::new(path, "SECRET=@RANDOM@\nOTHER=@RANDOM@\n", "root", "root");
        Desired::new([("app".to_owned(), vec![Kind::from(seed)])]).unwrap()
    };
    type Edited = fn(&str) -> String;
    let edits: [(Edited, bool); 4] = [
        (str::to_owned, false),
        (|text| format!("{text}MINE=1\n"), true),
        // A secret of the same length, as `openssl rand -hex 32` makes one.
        (|text| text.replace(&text["SECRET=".len()..][..64], &"5a".repeat(32)), true),
        (|_| String::new(), true),
    ];
    for (edit, stays) in edits {
        let sim = Sim::debian(13);
        apply(&want(), &sim).unwrap();
        let text = edit(sim.world().text(path));
        sim.arrange().put(path, text.clone());
        let (_, settled) = engine(&sim).rollback::<Kind>(None, Consent::default(), &mut |_| {}).unwrap();
        assert_eq!(settled.ending, Ending::Done);
        assert_eq!(sim.world().exists(path), stays, "{text}");
        assert_eq!(settled.left.len(), usize::from(stays), "{:?}", settled.left);
        if stays {
            assert_eq!(sim.world().text(path), text);
        }
    }
}

/// Going back asks the programs that read a configuration, as going forward does.
#[test]
fn what_a_checker_refuses_does_not_come_back() {
    let site = "/etc/nginx/sites-available/app";
    let (enabled, default) = ("/etc/nginx/sites-enabled/app", "/etc/nginx/sites-enabled/default");
    let kinds: Vec<Kind> = vec![
        File::new(site, "server { listen 80; }\n").checked_by(Check::Nginx).into(),
        Link::new(enabled, site).checked_by(Check::Nginx).into(),
        Link::absent(default).checked_by(Check::Nginx).into(),
        Unit::new("nginx.service")
            .reloaded()
            .reads([id("file", site), id("link", enabled), id("link", default)])
            .into(),
    ];
    let want = Desired::new([("app".to_owned(), kinds)]).unwrap();
    let mut world = World::debian(13, "arm64");
    world.with_installed(&["nginx"]);
    let check =
        |sim: &Sim| sim.ask(&pitool_host::Command::new("/usr/sbin/nginx").args(["-t", "-q"])).unwrap().ok();
    let sim = Sim::of(world.clone());
    apply(&want, &sim).unwrap();
    sim.arrange().put("/etc/nginx/sites-enabled/mine", "server { listen 80 default_server; }\n");
    let (_, planned) =
        Engine::plan_rollback::<Kind>(None, Consent::default(), &Journal::default(), &sim).unwrap();
    assert_eq!(planned.refused.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), [id("link", default)]);
    assert!(planned.refused[0].why.contains("duplicate default server"), "{}", planned.refused[0].why);
    let (_, settled) = engine(&sim).rollback::<Kind>(None, Consent::default(), &mut |_| {}).unwrap();
    assert_eq!((settled.ending, settled.left.len()), (Ending::Done, 1), "{settled:?}");
    assert_eq!(settled.left[0].0, id("link", default));
    assert!(check(&sim), "nginx would start again");
    assert!(!sim.world().exists(enabled) && !sim.world().exists(site), "the rest went back");
    assert!(!sim.world().exists(default));
    assert_eq!(sim.world().units["nginx.service"].active, pitool_host::ActiveState::Active);

    // What is refused already gets no worse by going back.
    let sim = Sim::of(world);
    apply(&want, &sim).unwrap();
    sim.arrange()
        .put("/etc/nginx/sites-enabled/mine", "server { listen 80 default_server; }\n")
        .put("/etc/nginx/sites-enabled/too", "server { listen 80 default_server; }\n");
    assert!(!check(&sim));
    let (_, planned) =
        Engine::plan_rollback::<Kind>(None, Consent::default(), &Journal::default(), &sim).unwrap();
    assert!(planned.refused.is_empty(), "{:?}", planned.refused);
}

/// A rollback that did not reach its end is finished by the next one, which leaves what somebody did in between.
#[test]
fn going_on_with_a_rollback_finishes_that_one_and_leaves_what_was_done_since() {
    let sim = Sim::debian(13);
    apply(&first(), &sim).unwrap();
    let middle = sim.snapshot();
    apply(&second(), &sim).unwrap();
    sim.fail_next("write /etc/nginx/sites-available/app", pitool_sim::Fault::ReadOnly);
    let (of, settled) = engine(&sim).rollback::<Kind>(None, Consent::default(), &mut |_| {}).unwrap();
    assert_eq!((of, settled.ending, settled.failures.len()), (RunId(2), Ending::Failed, 1), "{settled:?}");
    let jail = "/etc/fail2ban/jail.d/pitool.local";
    let mine = "[DEFAULT]\nbackend = systemd\nbantime = 9h\n";
    sim.arrange().put(jail, mine);
    let (of, settled) = engine(&sim).rollback::<Kind>(None, Consent::default(), &mut |_| {}).unwrap();
    assert_eq!((of, settled.ending), (RunId(2), Ending::Done), "{settled:?}");
    assert_eq!(sim.world().text(jail), mine, "a hand edit of something that was back");
    assert_eq!(
        sim.world().text("/etc/nginx/sites-available/app"),
        middle.text("/etc/nginx/sites-available/app")
    );
    assert!(
        settled.left.iter().any(|(left, why)| *left == id("file", jail) && why.contains("run 3")),
        "{settled:?}"
    );
    assert_eq!(Journal::default().undoable(&sim).unwrap(), Some(RunId(1)));
}

/// K5.7: what a dropped run alone named counts no more.
#[test]
fn a_journal_that_is_too_large_loses_its_oldest_runs_only() {
    let sim = Sim::debian(13);
    for round in 0..10 {
        apply(&desired(&format!("bantime = {round}m\n"), "listen 80;"), &sim).unwrap();
    }
    let large = 15 << 20;
    for node in sim.arrange().nodes.values_mut() {
        if let pitool_sim::Node::File { content, size, .. } = node {
            if content.text().is_some_and(|text| text.starts_with("[DEFAULT]\nbackend")) {
                *size = Some(large);
            }
        }
    }
    // The file in its place is small; only the journal's copies are large.
    apply(&desired("bantime = 99m\n", "listen 80;"), &sim).unwrap();
    let runs: Vec<u32> = Journal::default().list(&sim).unwrap().iter().map(|run| run.header.run.0).collect();
    assert!((4..=9).contains(&runs.len()) && runs.ends_with(&[9, 10, 11]), "{runs:?}");
    rollback(Some(RunId(runs[0])), &sim).unwrap();
}

#[test]
fn a_damaged_newest_run_is_named() {
    for damage in [|text: &str| text[..text.len() / 3].to_owned(), |_: &str| String::new()] {
        let sim = Sim::debian(13);
        apply(&first(), &sim).unwrap();
        let start = sim.snapshot();
        apply(&second(), &sim).unwrap();
        let file = "/var/lib/pitool/runs/000002.jsonl";
        let text = damage(sim.world().text(file));
        sim.arrange().put(file, text);
        for asked in [None, Some(RunId(2))] {
            let error = engine(&sim)
                .rollback::<Kind>(asked, Consent::default(), &mut |_| {})
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("run 2, the newest, is damaged"), "{error}");
        }
        assert_eq!(Journal::default().damaged(&sim).unwrap(), Some(RunId(2)));
        assert_eq!(Journal::default().list(&sim).unwrap().len(), 1, "the others can be read");
        // Whoever names a run gets it, and a new run puts everything right.
        let twin = Sim::of(sim.snapshot());
        rollback(Some(RunId(1)), &twin).unwrap();
        apply(&first(), &sim).unwrap();
        assert_eq!(Journal::default().damaged(&sim).unwrap(), None);
        assert_eq!(
            sim.world().text("/etc/fail2ban/jail.d/pitool.local"),
            start.text("/etc/fail2ban/jail.d/pitool.local")
        );
    }
}

/// "As it was" is said where a comparison showed it, and a failed unit is not left behind.
#[test]
fn a_failed_run_says_what_is_not_as_it_was() {
    for notes in [false, true] {
        let sim = Sim::debian(13);
        let unit = "/etc/systemd/system/mine.service";
        let kinds: Vec<Kind> = vec![
            Directory::new("/opt/notes").into(),
            File::new(unit, "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
                .into(),
            Unit::new("mine.service").reads([id("file", unit)]).into(),
        ];
        let want = Desired::new([("app".to_owned(), kinds)]).unwrap();
        sim.fail_next("start mine.service", pitool_sim::Fault::Fails(1, "Job failed.".into()));
        let outcome = engine(&sim)
            .apply(&want, false, None, &mut |event| {
                if matches!(event, Event::Failed { .. }) {
                    let mut world = sim.arrange();
                    world.units.entry("mine.service".into()).or_default().active =
                        pitool_host::ActiveState::Failed;
                    if notes {
                        world.put("/opt/notes/mine", "x\n");
                    }
                }
            })
            .unwrap();
        let back_again = outcome.rolled_back.expect("it was taken back");
        assert_eq!(back_again.ending, Ending::Done, "{back_again:?}");
        let left: Vec<Id> = back_again.left.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(left, if notes { vec![id("directory", "/opt/notes")] } else { vec![] }, "{back_again:?}");
        let failed = sim
            .world()
            .units
            .get("mine.service")
            .is_some_and(|unit| unit.active == pitool_host::ActiveState::Failed);
        assert!(!failed, "systemd lists it as failed although it is gone");
    }
}

/// A restored backup on a new machine is there before the packages come; going back must not purge it.
#[test]
fn going_back_does_not_purge_what_was_there_before_its_package() {
    for restored in [false, true] {
        let sim = Sim::debian(13);
        if restored {
            sim.arrange().put_dir("/etc/nginx").put("/etc/nginx/nginx.conf", "# mine\n");
        }
        let start = sim.snapshot();
        let want = Desired::<Kind>::new([(
            "app".to_owned(),
            vec![
                Package::new("nginx").into(),
                InstalledSet::default().ours(["nginx"]).into(),
                Unit::new("nginx.service").into(),
                Sysctl::new("vm.swappiness", "10").into(),
            ],
        )])
        .unwrap();
        sim.fail_next("write /proc/sys/vm/swappiness", pitool_sim::Fault::ReadOnly);
        let outcome = engine(&sim).apply(&want, false, None, &mut |_| {}).unwrap();
        let back_again = outcome.rolled_back.expect("it was taken back");
        assert_eq!(back_again.ending, Ending::Done, "{back_again:?}");
        assert!(!sim.world().packages.installed("nginx-common"));
        assert_eq!(sim.world().text("/etc/nginx/nginx.conf"), if restored { "# mine\n" } else { "" });
        let left = back_again.left.iter().any(|(left, _)| *left == id("packages", "dpkg"));
        assert_eq!(left, restored, "{back_again:?}");
        if !restored {
            back(&sim, &start, "purged");
        }
    }
}

/// A Docker that somebody set up by hand: no live-restore, and a container of each restart policy.
fn docker_by_hand(release: u32) -> World {
    let mut world = World::debian(release, "arm64");
    world
        .put_dir("/etc/docker")
        .put("/etc/docker/daemon.json", "{\n  \"dns\": [\n    \"192.0.2.1\"\n  ]\n}\n");
    world.with_installed(if release == 12 { &["docker.io"] } else { &["docker.io", "docker-cli"] });
    for policy in ["", "no", "always", "unless-stopped"] {
        world.containers.insert(format!("policy-{policy}"), Container::running(policy));
    }
    // Docker 20.10 removes it whenever it starts: a restart waits until it is gone.
    if release > 12 {
        world.containers.insert("rm".into(), Container { removed: true, ..Container::running("") });
    }
    world
}

fn docker(more: Vec<Kind>) -> Desired<Kind> {
    let keys = [("log-driver".to_owned(), "json-file".into()), ("live-restore".to_owned(), true.into())];
    let json = Part::new("/etc/docker/daemon.json", Edit::Json(keys.into_iter().collect()))
        .stage(Stage::Prepare)
        .checked_by(Check::Docker);
    let unit = Unit::new("docker.service").reads([json.id()]).keeping_containers();
    let wishes = [json.into(), unit.into()].into_iter().chain(more).collect::<Vec<Kind>>();
    Desired::new([("docker".to_owned(), wishes)]).unwrap()
}

/// Every container runs and was never stopped (K3.1).
fn unbroken(sim: &Sim, start: &World, what: &str) {
    assert_eq!(sim.world().containers, start.containers, "{what}");
}

#[test]
fn containers_that_ran_run_on_forwards_and_back() {
    for release in [12, 13] {
        let start = docker_by_hand(release);
        let sim = Sim::of(start.clone());
        for round in 0..2 {
            apply(&docker(vec![]), &sim).unwrap();
            unbroken(&sim, &start, &format!("{release}: applied {round}"));
            assert!(sim.world().live_restore);
            rollback(None, &sim).unwrap();
            unbroken(&sim, &start, &format!("{release}: taken back {round}"));
            assert!(!sim.world().live_restore, "the setting is off again, as the file says");
            back(&sim, &start, &format!("{release}: taken back {round}"));
        }
        let fails = docker(vec![Unit::new("no-such.service").into()]);
        let outcome = engine(&sim).apply(&fails, false, None, &mut |_| {}).unwrap();
        assert_eq!(outcome.settled.ending, Ending::Failed);
        assert_eq!(outcome.rolled_back.unwrap().ending, Ending::Done);
        unbroken(&sim, &start, &format!("{release}: failed and taken back"));
        back(&sim, &start, &format!("{release}: failed and taken back"));
    }
}

/// Docker 20.10 removes a container with `--rm` whenever it starts, so that it is not restarted (K3.1).
#[test]
fn a_restart_that_removes_a_container_is_held_back() {
    let mut start = docker_by_hand(12);
    start.containers.insert("rm".into(), Container { removed: true, ..Container::running("") });
    let sim = Sim::of(start.clone());
    let planned = plan(&docker(vec![]), &sim);
    let why: Vec<_> = planned.refused.iter().map(|refused| refused.why.as_str()).collect();
    assert!(why.len() == 1 && why[0].contains("removes rm for good"), "{why:?}");
    apply(&docker(vec![]), &sim).unwrap();
    unbroken(&sim, &start, "applied");
    rollback(None, &sim).unwrap();
    unbroken(&sim, &start, "taken back");
    // Once it is gone, nothing is held back.
    sim.arrange().containers.remove("rm");
    apply(&docker(vec![]), &sim).unwrap();
    let planned = plan(&docker(vec![]), &sim);
    assert!(planned.refused.is_empty() && planned.steps.is_empty(), "{planned:?}");
}

#[test]
fn containers_that_ran_run_on_whenever_pitool_is_killed() {
    let start = docker_by_hand(13);
    let applied = {
        let sim = Sim::of(start.clone());
        apply(&docker(vec![]), &sim).unwrap();
        sim.snapshot()
    };
    let mut killed = 0;
    for (from, run) in [
        (&start, &(|sim: &Sim| apply(&docker(vec![]), sim).map(drop)) as &dyn Fn(&Sim) -> Result<(), Error>),
        (&applied, &|sim: &Sim| rollback(Some(RunId(1)), sim)),
    ] {
        cuts(from, run, &mut |sim, what| {
            let dark = sim.snapshot();
            let rebooted = what.ends_with("reboot true");
            let kept = |sim: &Sim, what: &str| {
                if !rebooted {
                    unbroken(sim, &start, what);
                }
            };
            kept(sim, &what);
            apply(&docker(vec![]), sim).unwrap_or_else(|error| panic!("{what}: {error}"));
            kept(sim, &format!("{what}, on"));
            assert!(plan(&docker(vec![]), sim).steps.is_empty(), "{what}");
            sim.reset(dark);
            if Journal::default().unfinished(sim).unwrap().is_some() {
                rollback(None, sim).unwrap_or_else(|error| panic!("{what}: {error}"));
                kept(sim, &format!("{what}, back"));
                back(sim, &world_after_boot(&start, sim), &format!("{what}, back"));
            }
            killed += usize::from(!rebooted);
        });
    }
    assert!(killed > 20, "{killed}");
}
