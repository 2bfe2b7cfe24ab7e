//! The figures of backups for a metrics collector, in Prometheus' text format.
//!
//! Ages are left to the collector: it knows the time, and a file that nobody writes any more is then an alarm.

use std::fmt::Write;

use crate::record::{Deed, Record};

/// Where they are.
pub const PATH: &str = "/var/lib/pitool/backup/metrics.prom";

/// Renders everything that is known.
pub fn render(record: &Record) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: Vec<(String, f64)>| {
        if samples.is_empty() {
            return;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    };
    let sets = |value: &dyn Fn(&crate::record::SetRecord) -> Option<f64>| {
        let samples =
            record.sets.iter().filter_map(|(set, known)| Some((format!("set=\"{set}\""), value(known)?)));
        samples.collect::<Vec<_>>()
    };
    let time = |deed: &Option<Deed>| deed.as_ref().map(|deed| deed.time.as_millisecond() as f64 / 1000.0);
    let ok = |deed: &Option<Deed>| deed.as_ref().map(|deed| f64::from(u8::from(deed.ok)));
    family("pitool_backup_last_run_ok", "Whether the last run saved everything.", sets(&|set| ok(&set.run)));
    family(
        "pitool_backup_last_success_timestamp_seconds",
        "When everything was last saved.",
        sets(&|set| time(&set.success)),
    );
    family(
        "pitool_backup_last_run_seconds",
        "How long the last run took.",
        sets(&|set| set.run.as_ref().map(|run| run.seconds)),
    );
    family(
        "pitool_backup_files",
        "Files in the last success.",
        sets(&|set| set.success.as_ref().map(|run| run.files as f64)),
    );
    family(
        "pitool_backup_bytes",
        "Bytes in the last success.",
        sets(&|set| set.success.as_ref().map(|run| run.bytes as f64)),
    );
    family(
        "pitool_backup_last_drill_ok",
        "Whether the last drill restored everything.",
        sets(&|set| ok(&set.drill)),
    );
    family(
        "pitool_backup_last_drill_success_timestamp_seconds",
        "When a drill last restored everything.",
        sets(&|set| time(&set.drill_success)),
    );
    family(
        "pitool_backup_drill_seconds",
        "How long the last drill took.",
        sets(&|set| set.drill.as_ref().map(|drill| drill.seconds)),
    );
    let targets = |value: &dyn Fn(&crate::record::TargetRecord) -> Option<f64>| {
        let samples = record
            .targets
            .iter()
            .filter_map(|(name, known)| Some((format!("target=\"{name}\""), value(known)?)));
        samples.collect::<Vec<_>>()
    };
    family(
        "pitool_backup_target_ok",
        "Whether the last copy to the target worked.",
        targets(&|target| Some(f64::from(u8::from(target.problem.is_none())))),
    );
    family(
        "pitool_backup_target_archives",
        "Archives at the target that are known to be whole.",
        targets(&|target| Some(target.archives.values().filter(|archive| !archive.damaged).count() as f64)),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_reads_them() {
        let mut record = Record::default();
        let deed = Deed {
            time: "2026-11-21T02:00:00.5Z".parse().unwrap(),
            clock_synchronized: true,
            ok: true,
            archive: None,
            seconds: 1.5,
            files: 3,
            bytes: 4096,
            problems: Vec::new(),
        };
        record.set("machine").run = Some(deed.clone());
        record.set("machine").success = Some(deed);
        record.target("nas").problem = Some("away".into());
        let text = render(&record);
        for line in [
            "# TYPE pitool_backup_last_run_ok gauge",
            "pitool_backup_last_run_ok{set=\"machine\"} 1",
            "pitool_backup_last_success_timestamp_seconds{set=\"machine\"} 1795226400.5",
            "pitool_backup_bytes{set=\"machine\"} 4096",
            "pitool_backup_target_ok{target=\"nas\"} 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("drill") && text.ends_with('\n'));
        assert!(render(&Record::default()).is_empty());
    }
}
