//! The page by what it holds; how it looks is a matter for a browser (tests/machine/page.rs).

use std::time::Instant;

use pitool_host::http::Answer;

use super::*;
use crate::check::judge;
use crate::checks::tests::{Made, fixture, sample, setup};
use crate::event::Event;
use crate::kernel::pi::Throttled;
use crate::state::State;
use crate::status::{Job, Lines, Machine, Run};

/// A machine that has been at work for a while; `ill` is one on a bad day.
pub(crate) fn status(ill: bool) -> Status {
    let config = "[[expected.apps]]\nname = \"grist\"\nhost = \"grist.example.org\"\nupstream = 8484\n\
                  [[expected.apps]]\nname = \"notes\"\nhost = \"notes.example.org\"\nupstream = 5000\n";
    let setup = setup(config);
    let one = |name: &str, state: &str, words: &str| {
        format!(
            r#"{{"Id":"{:x}","Names":["/{name}"],"Image":"{name}:1","State":"{state}","Status":"{words}"}}"#,
            name.len()
        )
    };
    let second = if ill {
        one("grist", "running", "Up 3 hours (unhealthy)")
    } else {
        one("grist", "running", "Up 12 days (healthy)")
    };
    let body = format!(
        "[{},{second},{}]",
        one("notes", "running", "Up 12 days (healthy)"),
        one("redis", "running", "Up 12 days")
    );
    let mut made =
        Made { docker: Ok(Some(Answer { status: 200, body: body.into_bytes() })), ..Made::default() };
    if ill {
        made.throttled = Ok(Some(Throttled(0x5_0001)));
        if let Ok(usage) = &mut made.usage {
            (usage.free, usage.available) = (usage.size / 12, usage.size / 13);
        }
    }
    let mut sample = sample(&fixture("pi4"), &made, &setup);
    let taken: Timestamp = "2026-11-21T12:32:00Z".parse().unwrap();
    let hour = jiff::SignedDuration::from_hours(1);
    sample.taken = taken;
    sample.booted = Some(taken - hour * (24 * 12 + 5));
    let data = crate::records::BackupSet {
        last_success: Some(taken - hour * 10),
        last_drill: Some(taken - hour * 24 * if ill { 60 } else { 9 }),
        ..Default::default()
    };
    sample.backups =
        Ok(Some(crate::records::Backups { sets: [("data".to_owned(), data)].into(), ..Default::default() }));
    sample.certificates = Ok(Some(
        [(
            "notes.example.org".to_owned(),
            crate::records::Certificate {
                valid_from: Some(taken - hour * 24 * 29),
                valid_until: Some(taken + hour * 24 * 61),
                served_until: Some(taken + hour * 24 * 61),
                ..Default::default()
            },
        )]
        .into(),
    ));
    let mut before = sample.clone();
    if let Ok(times) = &mut before.cpu {
        times.idle -= 88.0;
        times.user -= 9.0;
        times.system -= 3.0;
    }
    if ill {
        if let Ok(units) = &mut sample.units {
            for unit in units.iter_mut().filter(|unit| unit.unit == "fail2ban.service") {
                (unit.active, unit.sub) = ("failed".to_owned(), "failed".to_owned());
            }
        }
    }
    let report = judge(&sample, Some(&before), &setup);
    let mut state = State::default();
    for (hours, event) in [
        (600, Event::UnderVoltage),
        (410, Event::UnderVoltage),
        (293, Event::UncleanShutdown),
        (120, Event::OomKill),
    ] {
        state.count(event, taken - hour * hours);
    }
    if ill {
        for minutes in [3000, 1500, 220, 90, 5] {
            state.count(Event::UnderVoltage, taken - hour * minutes / 60);
        }
    }
    let machine = Machine {
        host: "kitchen-pi".into(),
        model: "Raspberry Pi 4 Model B Rev 1.4".into(),
        os: "Debian GNU/Linux 13 (trixie)".into(),
        kernel: "6.12".into(),
    };
    let mut status = Status::of(machine, &sample, &report, &state);
    let wave = |base: f32, swing: f32, noise: f32| -> Vec<Option<f32>> {
        (0..288u16)
            .map(|x| {
                let day = (f32::from(x) / 288.0 * std::f32::consts::TAU - 1.2).sin();
                let jitter = (f32::from(x * 71 % 101) / 101.0 - 0.5) * noise;
                let busy = if x % 48 < 3 { swing * 0.6 } else { 0.0 };
                (!(150..156).contains(&x)).then_some(base + swing * day + jitter + busy)
            })
            .collect()
    };
    status.history = Lines {
        temperature: wave(46.0, 3.2, 1.2),
        memory: wave(23.0, 2.0, 0.8),
        disk: (0..288u16).map(|x| Some(37.0 + f32::from(x) * 0.004)).collect(),
        cpu: wave(14.0, 6.0, 6.0),
        load: wave(0.4, 0.2, 0.2),
    };
    status.written_daily = Some(1_310_000_000);
    status.runs = vec![
        Run {
            number: 12,
            started: "2026-11-20T18:02:00Z".into(),
            command: "pitool apply all".into(),
            ending: "done".into(),
        },
        Run {
            number: 11,
            started: "2026-11-09T07:31:00Z".into(),
            command: "pitool apply app".into(),
            ending: "done".into(),
        },
    ];
    status.jobs = vec![
        Job { name: "apt-daily-upgrade".into(), next: taken + hour * 18 },
        Job { name: "logrotate".into(), next: taken + hour * 12 },
    ];
    status
}

#[test]
fn the_page_holds_what_there_is_to_tell() {
    let page = render(&status(false), &TimeZone::UTC);
    for words in [
        "kitchen-pi",
        "All is well",
        "48.2",
        "12 %",
        "fail2ban",
        "grist",
        "notes.example.org",
        "run 12",
        "restore drill data",
        "1.2 GiB are written a day",
    ] {
        assert!(page.contains(words), "{words} is missing");
    }
    let page = render(&status(true), &TimeZone::UTC);
    for words in [
        "things do not work",
        "under-voltage now",
        "its own check fails",
        "Up 3 hours (unhealthy)",
        "service fail2ban",
    ] {
        assert!(page.contains(words), "{words} is missing");
    }
}

#[test]
fn what_is_wrong_and_what_people_look_for_comes_before_what_only_runs() {
    let mut status = status(false);
    status.findings.retain(|finding| finding.check != "service");
    for number in 0..20 {
        status.findings.insert(0, Finding::ok("service", "running").of(format!("unit{number}")));
    }
    status.findings.push(Finding::new("service", Level::Fail, "stopped").of("zuletzt"));
    let others = status.findings.iter().filter(|one| ["web", "app", "units", "ports"].contains(&&*one.check));
    let others = others.count();
    let rows = services(&status);
    assert_eq!(rows[0].name, "zuletzt");
    assert!(rows[1..=others].iter().all(|row| !row.name.starts_with("unit")), "{others}");
    assert_eq!(rows.len(), ROWS + 1);
    assert_eq!(rows[ROWS].name, format!("and {} more", 21 + others - ROWS));
}

#[test]
fn it_is_small_asks_nobody_and_needs_no_script() {
    for ill in [false, true] {
        let page = render(&status(ill), &TimeZone::UTC);
        assert!(page.len() < 60_000, "{} bytes", page.len());
        for foreign in ["<script", "http://", "src=", "url(", "@import", "javascript:", "onload"] {
            let found = page.replace("http://www.w3.org/2000/svg", "").contains(foreign);
            assert!(!found, "{foreign} is in the page");
        }
        assert!(!page.contains("https://"));
    }
}

#[test]
fn what_comes_from_the_machine_cannot_become_markup() {
    let mut status = status(true);
    let evil = "<img onerror=x>\"'&".to_owned();
    status.machine.host.clone_from(&evil);
    status.containers[0].name.clone_from(&evil);
    for finding in &mut status.findings {
        finding.subject.clone_from(&evil);
        finding.value.clone_from(&evil);
        finding.hint.clone_from(&evil);
    }
    status.runs[0].command = evil;
    let page = render(&status, &TimeZone::UTC);
    assert!(!page.contains("<img") && page.contains("&#60;img"));
}

#[test]
fn a_machine_that_just_started_has_a_page_too() {
    let mut status = status(false);
    status.history = Lines::default();
    status.temperature = None;
    status.runs.clear();
    status.jobs.clear();
    status.containers.clear();
    status.findings.retain(|finding| finding.check != "container" && finding.check != "docker");
    let page = render(&status, &TimeZone::UTC);
    assert!(page.contains("Docker is not here") && !page.contains("NaN") && !page.contains("<i style"));
}

#[test]
fn rendering_is_quick() {
    let status = status(true);
    let started = Instant::now();
    for _ in 0..10 {
        render(&status, &TimeZone::UTC);
    }
    // Not optimized, beside other tests; the bench measures the program as it is shipped.
    assert!(started.elapsed().as_millis() < 1000, "{:?}", started.elapsed());
}

/// Writes the pages, and what they are made from, for a browser to look at (tests/machine/page.rs):
/// `PITOOL_PAGES=DIR cargo test -p pitool-monitor pages_for_a_browser`.
#[test]
fn pages_for_a_browser() {
    let Some(dir) = std::env::var_os("PITOOL_PAGES") else { return };
    let dir = std::path::PathBuf::from(dir);
    for (name, ill) in [("well", false), ("ill", true)] {
        let status = status(ill);
        std::fs::write(dir.join(format!("{name}.html")), render(&status, &TimeZone::UTC)).unwrap();
        std::fs::write(dir.join(format!("{name}.json")), serde_json::to_vec(&status).unwrap()).unwrap();
    }
}
