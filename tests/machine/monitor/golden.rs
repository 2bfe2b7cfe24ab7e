//! Our metrics beside those of a real prometheus-node-exporter in the same box: names, types, labels, values.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use pitool_testkit::machine::{Machine, Suite};

type Labels = BTreeSet<(String, String)>;

/// Metrics of one text: each name's type, and each series' value.
struct Metrics {
    kinds: BTreeMap<String, String>,
    series: BTreeMap<(String, Labels), f64>,
}

impl Metrics {
    fn parse(text: &str) -> Result<Self> {
        let (mut kinds, mut series) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("a type")?;
                kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') && !line.is_empty() {
                let (head, value) = line.rsplit_once(' ').context("a value")?;
                let (name, labels) = head.split_once('{').unwrap_or((head, ""));
                let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| {
                    let (name, value) = label.split_once("=\"")?;
                    let value = value.trim_end_matches('"');
                    // For Prometheus an empty label is none.
                    (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
                });
                series.insert((name.to_owned(), labels.collect()), value.parse()?);
            }
        }
        Ok(Self { kinds, series })
    }

    /// The labels of a metric's series, without devices of which one version of node_exporter tells and the next does not.
    fn labels(&self, name: &str, undecided: &[&str]) -> BTreeSet<&Labels> {
        let known = |labels: &&Labels| {
            !labels.iter().any(|(name, value)| {
                name == "device" && undecided.contains(&value.trim_end_matches(|c: char| c.is_ascii_digit()))
            })
        };
        self.series
            .keys()
            .filter(|(found, _)| found == name)
            .map(|(_, labels)| labels)
            .filter(known)
            .collect()
    }
}

/// What dashboard 1860 opens with: must be there.
const NEEDED: [&str; 18] = [
    "node_boot_time_seconds",
    "node_time_seconds",
    "node_uname_info",
    "node_cpu_seconds_total",
    "node_load1",
    "node_memory_MemTotal_bytes",
    "node_memory_MemFree_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_Buffers_bytes",
    "node_memory_Cached_bytes",
    "node_memory_SReclaimable_bytes",
    "node_memory_SwapTotal_bytes",
    "node_filesystem_size_bytes",
    "node_filesystem_avail_bytes",
    "node_network_receive_bytes_total",
    "node_network_transmit_bytes_total",
    "node_pressure_cpu_waiting_seconds_total",
    "node_pressure_memory_waiting_seconds_total",
];

/// Both count their own collectors.
const OWN: [&str; 2] = ["node_scrape_collector_duration_seconds", "node_scrape_collector_success"];

/// What the kernel says of a moment that is over when the second is asked: what apt left is just being written.
const OF_A_MOMENT: [&str; 6] = [
    "node_memory_Committed_AS_bytes",
    "node_memory_Dirty_bytes",
    "node_memory_FileHugePages_bytes",
    "node_memory_FilePmdMapped_bytes",
    "node_memory_Mapped_bytes",
    "node_memory_Writeback_bytes",
];

pub(super) fn compare(machine: &Machine, suite: Suite) -> Result<()> {
    // Ours does as node_exporter 1.9; 1.5 tells of memory that is a disk and not of the loopback.
    let undecided: &[&str] = if suite == Suite::Bookworm { &["lo", "zram"] } else { &[] };
    crate::install(machine, "prometheus-node-exporter prometheus")?;
    machine.check("systemctl stop prometheus; systemctl start prometheus-node-exporter; sleep 2")?;
    let text = machine.check("curl -s 127.0.0.1:9101/metrics")?.stdout;
    let lint = machine.sh("curl -s 127.0.0.1:9101/metrics | promtool check metrics 2>&1")?.stdout;
    // node_exporter's own names for memory are what promtool calls camelCase; they are the point.
    let lint: Vec<&str> = lint.lines().filter(|line| !line.starts_with("node_memory_")).collect();
    ensure!(lint.is_empty(), "promtool says {lint:#?}");
    let theirs = Metrics::parse(&machine.check("curl -s 127.0.0.1:9100/metrics")?.stdout)?;
    let ours = Metrics::parse(&text)?;
    let mut wrong = Vec::new();
    for name in NEEDED {
        if !ours.kinds.contains_key(name) {
            wrong.push(format!("{name} is missing"));
        }
    }
    for (name, kind) in
        ours.kinds.iter().filter(|(name, _)| name.starts_with("node_") && !OWN.contains(&name.as_str()))
    {
        let Some(their_kind) = theirs.kinds.get(name) else {
            // An older node_exporter leaves out what a newer kernel says of memory.
            if !name.starts_with("node_memory_") && name != "node_pressure_irq_stalled_seconds_total" {
                wrong.push(format!("{name} is not node_exporter's"));
            }
            continue;
        };
        if kind != their_kind {
            wrong.push(format!("{name} is {kind}, and theirs {their_kind}"));
        }
        let (our_labels, their_labels) = (ours.labels(name, undecided), theirs.labels(name, undecided));
        if our_labels != their_labels {
            wrong.push(format!("{name}: {our_labels:?} against {their_labels:?}"));
        }
        if OF_A_MOMENT.contains(&name.as_str()) {
            continue;
        }
        for ((_, labels), value) in ours.series.iter().filter(|((found, _), _)| found == name) {
            let Some(their) = theirs.series.get(&(name.clone(), labels.clone())) else { continue };
            let still = [
                "_info",
                "MemTotal_bytes",
                "SwapTotal_bytes",
                "_size_bytes",
                "filesystem_files",
                "boot_time_seconds",
                "_readonly",
                "_maximum",
                "network_up",
                "_carrier",
            ];
            let same = still.iter().any(|ending| name.ends_with(ending));
            // The rest moves: by the time the second is asked it has moved on, but not far.
            let near = (value - their).abs()
                <= if same { 0.0 } else { their.abs().mul_add(0.5, 1e9_f64.min(their.abs() + 1e6)) };
            if !near {
                wrong.push(format!("{name} {labels:?}: {value} against {their}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    machine.check("systemctl disable --now prometheus-node-exporter")?;
    Ok(())
}
