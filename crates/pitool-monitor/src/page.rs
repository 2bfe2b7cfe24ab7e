//! The status page: one HTML file, without script and without a request to anywhere.
//!
//! Everything is decided here, in words and percentages; the template only puts it in its places. Colour never carries meaning
//! alone: every dot has a word beside it for those who listen, and another shape for those who see no colours.

mod spark;
#[cfg(test)]
mod tests;

use askama::Template;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::checks::{age, bytes};
use crate::event::Event;
use crate::finding::{Finding, Level};
use crate::kernel::pi::Power;
use crate::status::{DiskStatus, Status};
use spark::Spark;

struct Problem {
    level: &'static str,
    name: String,
    value: String,
    hint: Vec<Words>,
}

/// A part of a sentence; a command to be typed is set apart.
struct Words {
    text: String,
    command: bool,
}

fn words(sentence: &str) -> Vec<Words> {
    let part = |(index, text): (usize, &str)| Words { text: text.to_owned(), command: index % 2 == 1 };
    sentence.split('`').enumerate().map(part).filter(|words| !words.text.is_empty()).collect()
}

struct Vital {
    label: &'static str,
    number: String,
    unit: &'static str,
    note: String,
    level: &'static str,
    spark: Option<Spark>,
}

struct Row {
    level: &'static str,
    name: String,
    value: String,
    threshold: String,
}

impl Row {
    fn new(level: &'static str, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { level, name: name.into(), value: value.into(), threshold: String::new() }
    }
}

struct Mark {
    level: &'static str,
    left: String,
    title: String,
}

struct Disk {
    point: String,
    used: String,
    level: &'static str,
    words: String,
    wear: String,
}

#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    host: String,
    about: String,
    level: &'static str,
    icon_colour: &'static str,
    headline: String,
    subline: String,
    problems: Vec<Problem>,
    vitals: Vec<Vital>,
    services: Vec<Row>,
    containers: Vec<Row>,
    no_containers: String,
    care: Vec<Row>,
    chips: Vec<Row>,
    events: Vec<Row>,
    strip: Vec<Mark>,
    disks: Vec<Disk>,
    writes: String,
    runs: Vec<Row>,
    jobs: Vec<Row>,
    checks: Vec<Row>,
    absent: String,
    taken: String,
    version: String,
}

/// The most problems that are told one by one; the rest is in the table of all checks.
const PROBLEMS: usize = 8;

/// The most rows of a list.
const ROWS: usize = 14;

/// Renders the page of this moment, with times as the machine's own clock shows them.
pub fn render(status: &Status, zone: &TimeZone) -> String {
    let page = Page {
        host: status.machine.host.clone(),
        about: about(status),
        level: status.level.word(),
        icon_colour: match status.level {
            Level::Ok => "11713f",
            Level::Fail => "b0201a",
            Level::Unknown | Level::Warn => "c98a1a",
        },
        headline: headline(status),
        subline: subline(status, zone),
        problems: problems(status),
        vitals: vitals(status),
        services: services(status),
        containers: containers(status),
        no_containers: match status.findings.iter().find(|finding| finding.check == "docker") {
            None => "Docker is not here.".to_owned(),
            Some(finding) if finding.level == Level::Ok => "Docker runs, and there is none.".to_owned(),
            Some(_) => "Docker does not answer.".to_owned(),
        },
        care: care(status),
        chips: chips(status),
        events: events(status, zone),
        strip: strip(status, zone),
        disks: status.disks.iter().map(|disk| self::disk(disk, status)).collect(),
        writes: writes(status),
        runs: runs(status, zone),
        jobs: jobs(status, zone),
        checks: status.findings.iter().map(check).collect(),
        absent: absent(status),
        taken: clock(status.taken, zone),
        version: status.pitool.clone(),
    };
    // Plain values written into a string cannot fail; the tests would show an empty page.
    page.render().unwrap_or_default()
}

fn clock(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%-d %b %H:%M").to_string()
}

fn since(status: &Status, then: Timestamp) -> String {
    age(status.taken.as_second() - then.as_second())
}

fn about(status: &Status) -> String {
    let machine = &status.machine;
    let up = status.booted.map(|booted| format!("up {}", since(status, booted))).unwrap_or_default();
    let parts = [machine.model.as_str(), &machine.os, &up];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn of(status: &Status, level: Level) -> usize {
    status.findings.iter().filter(|finding| finding.level == level).count()
}

fn headline(status: &Status) -> String {
    let things = |count: usize, one: &str, many: &str| {
        if count == 1 { one.to_owned() } else { format!("{count} {many}") }
    };
    match status.level {
        Level::Ok => "All is well".to_owned(),
        Level::Fail => things(of(status, Level::Fail), "One thing does not work", "things do not work"),
        Level::Warn => things(of(status, Level::Warn), "One thing needs a look", "things need a look"),
        Level::Unknown => things(
            of(status, Level::Unknown),
            "One thing could not be found out",
            "things could not be found out",
        ),
    }
}

fn subline(status: &Status, zone: &TimeZone) -> String {
    let mut parts = vec![format!("{} of {} checks are ok", of(status, Level::Ok), status.findings.len())];
    if status.level == Level::Fail && of(status, Level::Warn) > 0 {
        parts.push(format!("{} more need a look", of(status, Level::Warn)));
    }
    if status.level > Level::Unknown && of(status, Level::Unknown) > 0 {
        parts.push(format!("{} not known", of(status, Level::Unknown)));
    }
    parts.push(format!("looked at {}", clock(status.taken, zone)));
    parts.join(" · ")
}

/// A finding's name for people: `disk /`.
fn name(finding: &Finding) -> String {
    match finding.subject.as_str() {
        "" => finding.check.clone(),
        subject => format!("{} {subject}", finding.check),
    }
}

fn problems(status: &Status) -> Vec<Problem> {
    let mut bad: Vec<&Finding> =
        status.findings.iter().filter(|finding| finding.level != Level::Ok).collect();
    bad.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let problem = |finding: &&Finding| Problem {
        level: finding.level.word(),
        name: name(finding),
        value: finding.value.clone(),
        hint: words(&finding.hint),
    };
    bad.iter().take(PROBLEMS).map(problem).collect()
}

fn level_of(status: &Status, check: &str, subject: &str) -> &'static str {
    let found = status.findings.iter().find(|finding| finding.check == check && finding.subject == subject);
    found.map_or("ok", |finding| finding.level.word())
}

fn number_of(status: &Status, check: &str, subject: &str) -> Option<f64> {
    status.findings.iter().find(|finding| finding.check == check && finding.subject == subject)?.number
}

fn vitals(status: &Status) -> Vec<Vital> {
    let lines = &status.history;
    let value = |number: Option<f64>, digits: usize| {
        number.map_or("–".to_owned(), |number| format!("{number:.digits$}"))
    };
    let words = |check: &str| {
        status.findings.iter().find(|finding| finding.check == check).map(|finding| finding.value.clone())
    };
    let after_comma =
        |check: &str| words(check).and_then(|words| words.split_once(", ").map(|(_, rest)| rest.to_owned()));
    let load = words("load").unwrap_or_default();
    let mut vitals = Vec::new();
    let temperature = Vital {
        label: "Temperature",
        number: value(status.temperature, 1),
        unit: "°C",
        note: if status.temperature.is_some() { "slows down from 80 °C".into() } else { "no sensor".into() },
        level: level_of(status, "temperature", ""),
        spark: Spark::of(&lines.temperature, "°C", 8.0),
    };
    // A machine without a sensor has nothing to show for it; its load takes the place.
    if status.temperature.is_some() {
        vitals.push(temperature);
    }
    vitals.push(Vital {
        label: "Processor",
        number: value(number_of(status, "cpu", ""), 0),
        unit: "%",
        note: format!("load {load}"),
        level: level_of(status, "cpu", ""),
        spark: Spark::of(&lines.cpu, "%", 20.0),
    });
    vitals.push(Vital {
        label: "Memory",
        number: value(number_of(status, "memory", ""), 0),
        unit: "%",
        note: after_comma("memory").unwrap_or_default(),
        level: level_of(status, "memory", ""),
        spark: Spark::of(&lines.memory, "%", 8.0),
    });
    vitals.push(Vital {
        label: "Disk /",
        number: value(number_of(status, "disk", "/"), 0),
        unit: "%",
        note: status
            .disks
            .iter()
            .find(|disk| disk.point == "/")
            .map_or(String::new(), |disk| format!("{} free of {}", bytes(disk.available), bytes(disk.size))),
        level: level_of(status, "disk", "/"),
        spark: Spark::of(&lines.disk, "%", 5.0),
    });
    if status.temperature.is_none() {
        vitals.push(Vital {
            label: "Load",
            number: load.split(", ").nth(1).unwrap_or("–").to_owned(),
            unit: "in 5 min",
            note: "programs that want to run".into(),
            level: level_of(status, "load", ""),
            spark: Spark::of(&lines.load, "", 1.0),
        });
    }
    vitals
}

fn services(status: &Status) -> Vec<Row> {
    let wanted =
        |finding: &&Finding| ["service", "web", "app", "units", "ports"].contains(&finding.check.as_str());
    // What is wrong comes first, and what people look for before what only has to run.
    let mut found: Vec<&Finding> = status.findings.iter().filter(wanted).collect();
    found.sort_by_key(|finding| (finding.level == Level::Ok, finding.check == "service"));
    let row = |finding: &&Finding| {
        let name = match finding.check.as_str() {
            "service" | "app" => finding.subject.clone(),
            "units" => "other units".to_owned(),
            "web" => "web server's /health".to_owned(),
            other => other.to_owned(),
        };
        Row::new(finding.level.word(), name, &finding.value)
    };
    let mut rows: Vec<Row> = found.iter().take(ROWS).map(row).collect();
    if found.len() > ROWS {
        rows.push(Row::new("ok", format!("and {} more", found.len() - ROWS), "in the list of every check"));
    }
    rows
}

fn containers(status: &Status) -> Vec<Row> {
    let found: Vec<&Finding> =
        status.findings.iter().filter(|finding| finding.check == "container").collect();
    let mut rows: Vec<Row> = found
        .iter()
        .take(ROWS)
        .map(|finding| Row::new(finding.level.word(), &finding.subject, &finding.value))
        .collect();
    if found.len() > ROWS {
        rows.push(Row::new("ok", format!("and {} more", found.len() - ROWS), "in the list of every check"));
    }
    rows
}

fn care(status: &Status) -> Vec<Row> {
    let checks = ["backup", "drill", "certificate", "updates", "reboot", "config", "clock"];
    let mut rows = Vec::new();
    for check in checks {
        let label = match check {
            "drill" => "restore drill",
            "reboot" => "reboot",
            other => other,
        };
        let before = rows.len();
        rows.extend(status.findings.iter().filter(|finding| finding.check == check).map(|finding| {
            let name = if finding.subject.is_empty() {
                label.to_owned()
            } else {
                format!("{label} {}", finding.subject)
            };
            Row::new(finding.level.word(), name, &finding.value)
        }));
        if rows.len() == before {
            let absent = status.absent.iter().find(|absent| absent.check == check);
            rows.extend(absent.map(|absent| Row::new("unknown", label, &absent.why)));
        }
    }
    rows
}

fn chips(status: &Status) -> Vec<Row> {
    let Some(bits) = status.throttled else {
        return match status.low_voltage {
            Some(true) => vec![Row::new("fail", "under-voltage now", "")],
            Some(false) => vec![Row::new("ok", "voltage is fine", "")],
            None => vec![Row::new("unknown", "no word from a Pi's firmware", "")],
        };
    };
    if bits.0 == 0 {
        return vec![Row::new("ok", "no under-voltage and no throttling since boot", "")];
    }
    let chip = |power: Power| {
        let well = match power {
            Power::UnderVoltage => "no under-voltage",
            Power::Capped => "clock not capped",
            Power::Throttled => "not throttled",
            Power::SoftLimit => "no soft temperature limit",
        };
        let (level, name) = match (bits.now(power), bits.since_boot(power), power) {
            (true, _, Power::UnderVoltage | Power::Throttled) => ("fail", format!("{} now", power.words())),
            (true, ..) => ("warn", format!("{} now", power.words())),
            (_, true, _) => ("warn", format!("{} since boot", power.words())),
            _ => ("ok", well.to_owned()),
        };
        Row::new(level, name, "")
    };
    Power::ALL.into_iter().map(chip).collect()
}

fn events(status: &Status, zone: &TimeZone) -> Vec<Row> {
    let row = |event: Event| {
        let count = status.events.get(&event).copied().unwrap_or_default();
        let last = count.last.map(|last| format!(", last {}", clock(last, zone))).unwrap_or_default();
        let value = match count.total {
            0 => "never".to_owned(),
            1 => format!("once{last}"),
            total => format!("{total} times{last}"),
        };
        Row::new("ok", event.words(), value)
    };
    Event::ALL.into_iter().map(row).collect()
}

fn strip(status: &Status, zone: &TimeZone) -> Vec<Mark> {
    const DAYS: f64 = 30.0 * 86_400.0;
    let mark = |(time, event): &(Timestamp, Event)| {
        let ago = (status.taken.as_second() - time.as_second()) as f64;
        let level = match event {
            Event::UnderVoltage | Event::Throttled | Event::OomKill => "warn",
            Event::FilesystemError | Event::DiskError | Event::UncleanShutdown => "fail",
        };
        (0.0..DAYS).contains(&ago).then(|| Mark {
            level,
            left: format!("{:.1}", 100.0 * (1.0 - ago / DAYS)),
            title: format!("{} {}", clock(*time, zone), event.words()),
        })
    };
    status.recent.iter().filter_map(mark).collect()
}

fn disk(disk: &DiskStatus, status: &Status) -> Disk {
    let used = number_of(status, "disk", &disk.point).unwrap_or_default();
    let written = disk.lifetime_written.map(|written| format!("{} written in its life", bytes(written)));
    let errors = disk.errors.filter(|errors| *errors > 0).map(|errors| format!("{errors} errors recorded"));
    let device = disk.device.trim_start_matches("/dev/");
    let life = status.emmc.iter().find(|(emmc, _)| device.starts_with(emmc.as_str()));
    let life = life.map(|(_, used)| format!("about {used} % of its life used"));
    Disk {
        point: format!("{} on {device}", disk.point),
        used: format!("{used:.1}"),
        level: level_of(status, "disk", &disk.point),
        words: format!("{used:.0} % full, {} free of {}", bytes(disk.available), bytes(disk.size)),
        wear: [written, life, errors].into_iter().flatten().collect::<Vec<_>>().join(" · "),
    }
}

fn writes(status: &Status) -> String {
    let Some(daily) = status.written_daily else { return String::new() };
    let year = daily.saturating_mul(365);
    format!("{} are written a day, {} in a year at this rate.", bytes(daily), bytes(year))
}

fn runs(status: &Status, zone: &TimeZone) -> Vec<Row> {
    let row = |run: &crate::status::Run| {
        let level = match run.ending.as_str() {
            "done" => "ok",
            "taken back" | "failed" => "fail",
            _ => "warn",
        };
        let when = run.started.parse::<Timestamp>().map_or(run.started.clone(), |time| clock(time, zone));
        Row::new(level, format!("run {}", run.number), format!("{}, {} {when}", run.command, run.ending))
    };
    status.runs.iter().take(4).map(row).collect()
}

fn jobs(status: &Status, zone: &TimeZone) -> Vec<Row> {
    let row = |job: &crate::status::Job| Row::new("ok", &job.name, format!("next {}", clock(job.next, zone)));
    status.jobs.iter().take(5).map(row).collect()
}

fn check(finding: &Finding) -> Row {
    Row {
        threshold: finding.threshold.clone(),
        ..Row::new(finding.level.word(), name(finding), &finding.value)
    }
}

fn absent(status: &Status) -> String {
    let words =
        |absent: &crate::finding::Absent| format!("{} ({})", absent.check, absent.why.replace('`', ""));
    status.absent.iter().map(words).collect::<Vec<_>>().join(", ")
}
