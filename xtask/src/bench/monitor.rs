//! What the monitor costs, beside Debian's prometheus-node-exporter in the same box.

use anyhow::{Context, Result};
use pitool_testkit::machine::{BoxOptions, Lab, Machine, Suite};

use super::table::{Row, median};

/// Scrapes both in turn, tells CPU time and latency, and how the memory goes.
const SCRAPE: &str = r#"
import http.client, os, time
def pid(unit):
    return int(os.popen(f"systemctl show -P MainPID {unit}").read())
def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
def rss(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")) / 1024
def scrape(port, count):
    times = []
    for _ in range(count):
        start = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/metrics")
        body = connection.getresponse().read()
        assert len(body) > 10000
        times.append(time.monotonic() - start)
    return times
ours, theirs = pid("pitool-monitor"), pid("prometheus-node-exporter")
scrape(9101, 20), scrape(9100, 20)
before = cpu(ours), cpu(theirs)
mine, other = [], []
for _ in range(25):
    mine += scrape(9101, 20)
    other += scrape(9100, 20)
after = cpu(ours), cpu(theirs)
at500 = rss(ours)
scrape(9101, 9500)
mine.sort(), other.sort()
for name, value in dict(cpu=(after[0]-before[0])/500, cpu_theirs=(after[1]-before[1])/500, p99=mine[int(len(mine)*.99)],
    p99_theirs=other[int(len(other)*.99)], rss500=at500, rss10000=rss(ours), rss_theirs=rss(theirs)).items():
    print(name, value)
"#;

/// Adds the rows.
pub(super) fn rows(
    lab: &Lab,
    suite: Suite,
    package: &std::path::Path,
    rounds: u32,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let machine = Machine::up(lab, suite, &BoxOptions::named("monitor"))?;
    machine.copy_in(package, "/root/pitool.deb", 0o644)?;
    let install = "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update; for try in $(seq 60); do \
        apt-get -qq install -y --no-install-recommends /root/pitool.deb prometheus-node-exporter docker.io docker-cli >/dev/null 2>&1 && exit 0; sleep 2; done; exit 1";
    machine.check(install)?;
    machine.check("pitool apply monitoring && sleep 5")?;
    machine.write_file("/root/scrape.py", SCRAPE, 0o644)?;
    let found = machine.check("python3 /root/scrape.py")?.stdout;
    let number = |name: &str| -> Result<f64> {
        let line = found.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("{name} was not measured"))?.parse()?)
    };
    let mut row = |what: &str, value: String, target: &str, beside: String, met| {
        rows.push(Row { what: what.into(), value, target: target.into(), beside, met })
    };
    let (small, large, theirs) = (number("rss500")?, number("rss10000")?, number("rss_theirs")?);
    row(
        "monitor: memory after 500 scrapes",
        format!("{small:.1} MB"),
        "under 8 MB",
        format!("node_exporter {theirs:.1} MB"),
        small < 8.0,
    );
    row(
        "… after 10,000",
        format!("{large:.1} MB"),
        "less than 0.5 MB more",
        String::new(),
        large < small + 0.5,
    );
    let (cpu, theirs) = (number("cpu")? * 1e3, number("cpu_theirs")? * 1e3);
    row(
        "… processor time of a scrape",
        format!("{cpu:.2} ms"),
        "at most half of node_exporter",
        format!("{theirs:.2} ms, {:.2} ×", cpu / theirs),
        cpu <= theirs / 2.0,
    );
    let (p99, theirs) = (number("p99")? * 1e3, number("p99_theirs")? * 1e3);
    row(
        "… a scrape, 99 of 100 within",
        format!("{p99:.1} ms"),
        "under 10 ms",
        format!("node_exporter {theirs:.1} ms"),
        p99 < 10.0,
    );
    let written = || -> Result<u64> {
        let text = machine
            .check("sed -n 's/^write_bytes: //p' /proc/$(systemctl show -P MainPID pitool-monitor)/io")?
            .stdout;
        Ok(text.trim().parse()?)
    };
    let before = written()?;
    machine.check("sleep 130")?;
    let bytes = written()? - before;
    row("… bytes written in two minutes at rest", bytes.to_string(), "0", String::new(), bytes == 0);
    // The page of a whole status; the start of a process is part of the time.
    let page = median(&machine, "pitool status --html", rounds)?;
    row(
        "`pitool status --html`, start and page",
        format!("{:.0} ms", page * 1e3),
        "under 20 ms",
        String::new(),
        page < 0.02,
    );
    let health = median(&machine, "sh -c 'pitool health || true'", rounds)?;
    row(
        "`pitool health` with Docker running",
        format!("{:.0} ms", health * 1e3),
        "under 200 ms",
        String::new(),
        health < 0.2,
    );
    machine.down()
}
