//! What keeps a machine well over months: backups, certificates, updates, reboots, the config.

use jiff::Timestamp;

use crate::checks::age;
use crate::finding::{Finding, Level, Report};
use crate::records::{BackupSet, Certificate};
use crate::sample::Sample;
use crate::setup::Setup;

pub(crate) fn judge(sample: &Sample, setup: &Setup, report: &mut Report) {
    certificates(sample, setup, report);
    backups(sample, setup, report);
    reboot(sample, setup, report);
    updates(sample, setup, report);
    config(sample, report);
}

fn seconds_since(now: Timestamp, then: Timestamp) -> i64 {
    now.as_second() - then.as_second()
}

fn certificates(sample: &Sample, setup: &Setup, report: &mut Report) {
    let certificates = match &sample.certificates {
        Ok(Some(certificates)) if !certificates.is_empty() => certificates,
        Ok(_) => {
            report.absent("certificate", "none is configured");
            return;
        }
        Err(why) => {
            report.find(Finding::unknown("certificate", why).hint("the next renewal writes it anew"));
            return;
        }
    };
    for (name, certificate) in certificates {
        report.find(self::certificate(certificate, setup, sample.taken).of(name));
    }
}

/// The least of a limit and a part of the lifetime: a certificate of six days is never as young as three weeks.
fn limit(limit: i64, lifetime: i64, part: i64) -> i64 {
    limit.min(lifetime / part)
}

fn certificate(certificate: &Certificate, setup: &Setup, now: Timestamp) -> Finding {
    let Certificate { valid_from, valid_until, served_until, served_error, error } = certificate;
    let (Some(from), Some(until)) = (valid_from, valid_until) else {
        return Finding::new("certificate", Level::Fail, "there is none yet")
            .hint(error.clone().unwrap_or_else(|| "`sudo pitool cert issue` asks for one".to_owned()));
    };
    let lifetime = seconds_since(*until, *from);
    let limits = &setup.limits;
    let warn = limit(limits.certificate_warn.as_secs() as i64, lifetime, 4);
    let fail = limit(limits.certificate_fail.as_secs() as i64, lifetime, 12);
    let finding = match served_until {
        Some(served) if served < until => Finding::new(
            "certificate",
            Level::Fail,
            "a newer one is there, but the web server still hands out the old one",
        )
        .hint("`sudo pitool cert renew` has it loaded"),
        Some(served) => {
            let left = seconds_since(*served, now);
            let level = if left < fail {
                Level::Fail
            } else if left < warn {
                Level::Warn
            } else {
                Level::Ok
            };
            let words = if left < 0 {
                format!("served: expired {} ago", age(-left))
            } else {
                format!("served: holds for {}", age(left))
            };
            let hint = match error {
                Some(why) => format!("the last renewal failed: {why}"),
                None => "`sudo pitool cert renew` says why it was not renewed".to_owned(),
            };
            let mut finding = Finding::new("certificate", level, words).hint(hint);
            finding.number = Some(left as f64);
            finding
        }
        None => match served_error {
            Some(why) => Finding::new("certificate", Level::Fail, format!("nobody hands it out: {why}"))
                .hint("`pitool cert status`, and `sudo nginx -t`"),
            // No web server of ours: what is on the disk is for others.
            None => {
                let on_disk = Certificate { served_until: Some(*until), ..certificate.clone() };
                let mut finding = self::certificate(&on_disk, setup, now);
                finding.value = finding.value.replacen("served", "on disk", 1);
                return finding;
            }
        },
    };
    finding.threshold(format!("{}, {}", age(warn), age(fail)))
}

fn backups(sample: &Sample, setup: &Setup, report: &mut Report) {
    let backups = match &sample.backups {
        Ok(Some(backups)) if !backups.sets.is_empty() => backups,
        Ok(_) => {
            report.absent("backup", "none is configured");
            report.absent("drill", "no backup is configured");
            return;
        }
        Err(why) => {
            report.find(Finding::unknown("backup", why).hint("the next backup writes it anew"));
            return;
        }
    };
    let limits = &setup.limits;
    let (warn, fail) = (limits.backup_warn.as_secs() as f64, limits.backup_fail.as_secs() as f64);
    let drill_warn = limits.drill_warn.as_secs() as f64;
    for (name, set) in &backups.sets {
        let now = sample.taken;
        let words = format!("{}, {}", age(warn as i64), age(fail as i64));
        report.find(backup(set, now, warn, fail).of(name).threshold(words));
        if set.since.is_none() && set.last_success.is_none() {
            report.absent("drill", format!("{name} has no backup yet"));
            continue;
        }
        report.find(drill(set, now, drill_warn).of(name).threshold(age(drill_warn as i64)));
    }
    for (name, problem) in &backups.targets {
        let finding = match problem {
            None => Finding::ok("backup", "everything is copied there"),
            Some(why) => {
                Finding::new("backup", Level::Warn, "the last copy did not get there").hint(why.clone())
            }
        };
        report.find(finding.of(format!("to {name}")).threshold("no copy fails"));
    }
}

fn backup(set: &BackupSet, now: Timestamp, warn: f64, fail: f64) -> Finding {
    let BackupSet { since, last_success, last_failure, error, .. } = set;
    let why = error.clone().unwrap_or_else(|| "`sudo pitool backup run` tries it at once".to_owned());
    let finding = match (last_success, since) {
        (None, None) => Finding::new("backup", Level::Warn, "there is none yet"),
        // Until its first night nobody has waited for it.
        (None, Some(since)) if last_failure.is_none() && (seconds_since(now, *since) as f64) < warn => {
            Finding::ok("backup", "none yet, the first one is not due")
        }
        (None, Some(_)) => Finding::new("backup", Level::Fail, "there was never a good one"),
        (Some(success), _) => {
            let seconds = seconds_since(now, *success);
            let failed = last_failure.is_some_and(|failure| failure > *success);
            let words = format!(
                "last good one {} old{}",
                age(seconds),
                if failed { ", and the last try failed" } else { "" }
            );
            let finding = Finding::high("backup", seconds as f64, words, warn, Some(fail));
            // A failed try is worth a word before the old one is too old.
            if failed && finding.level == Level::Ok {
                Finding { level: Level::Warn, ..finding }
            } else {
                finding
            }
        }
    };
    finding.hint(why)
}

fn drill(set: &BackupSet, now: Timestamp, warn: f64) -> Finding {
    let finding = match (&set.drill_error, set.last_drill, set.since) {
        (Some(_), ..) => Finding::new("drill", Level::Fail, "the last rehearsed restore failed"),
        (None, Some(drill), _) => {
            let seconds = seconds_since(now, drill);
            let words = format!("last rehearsed {} ago", age(seconds));
            Finding::high("drill", seconds as f64, words, warn, None)
        }
        // The first one comes with its month.
        (None, None, since) if since.is_none_or(|since| (seconds_since(now, since) as f64) < warn) => {
            Finding::ok("drill", "not rehearsed yet")
        }
        (None, None, _) => Finding::new("drill", Level::Warn, "a restore was never rehearsed"),
    };
    let hint = set.drill_error.clone();
    finding.hint(hint.unwrap_or_else(|| "`sudo pitool backup drill` rehearses a restore".to_owned()))
}

fn reboot(sample: &Sample, setup: &Setup, report: &mut Report) {
    if !setup.expected.container.is_empty() && sample.reboot.is_none() {
        report.absent("reboot", "the kernel is the host's");
        return;
    }
    report.find(match &sample.reboot {
        None => Finding::ok("reboot", "none is pending"),
        Some(why) => Finding::new("reboot", Level::Warn, format!("pending: {why}"))
            .hint("`sudo systemctl reboot` when it suits you"),
    });
}

fn updates(sample: &Sample, setup: &Setup, report: &mut Report) {
    let warn = setup.limits.updates_warn;
    report.find(match &sample.known.updates {
        None => {
            report.absent(
                "updates",
                match setup.service.enabled {
                    true => "the service pitool-monitor counts them, and has not yet",
                    false => "the service pitool-monitor counts them, and it is switched off",
                },
            );
            return;
        }
        Some(Err(why)) => Finding::unknown("updates", why),
        Some(Ok(updates)) => {
            let words = match updates.pending {
                0 => "none is pending".to_owned(),
                pending => format!(
                    "{pending} pending, {} for security",
                    if updates.security == 0 { "none".to_owned() } else { updates.security.to_string() }
                ),
            };
            let finding = Finding::high("updates", f64::from(updates.pending), words, f64::from(warn), None);
            // Security updates come by themselves within a day; where nothing installs them, one is one too many.
            let finding =
                if updates.security > 0 && !setup.expected.automatic_updates && finding.level == Level::Ok {
                    Finding { level: Level::Warn, ..finding }
                } else {
                    finding
                };
            finding.threshold(warn.to_string()).hint("`sudo apt update && sudo apt upgrade`")
        }
    });
}

fn config(sample: &Sample, report: &mut Report) {
    match &sample.known.interrupted {
        None => {}
        Some(Err(why)) => report.find(Finding::unknown("config", why)),
        Some(Ok(Some(run))) => report.find(
            Finding::new("config", Level::Fail, format!("{run} was cut off"))
                .threshold("no run half done")
                .hint("`sudo pitool apply` goes on with it, `sudo pitool rollback` goes back"),
        ),
        Some(Ok(None)) => {}
    }
    if report.findings.iter().any(|finding| finding.check == "config") {
        return;
    }
    match &sample.known.drift {
        None => report.absent("config", "nobody has compared the machine with it yet"),
        Some(Err(why)) => report.find(Finding::unknown("config", why)),
        Some(Ok(None)) => {
            report.find(Finding::ok("config", "the machine is what it says").threshold("nothing differs"))
        }
        Some(Ok(Some(drift))) => {
            let seconds = seconds_since(sample.taken, drift.since);
            let since = if seconds >= 60 { format!(", for {}", age(seconds)) } else { String::new() };
            let things = if drift.changes == 1 {
                "1 thing differs".to_owned()
            } else {
                format!("{} things differ", drift.changes)
            };
            let mut finding = Finding::new("config", Level::Warn, format!("{things} from it{since}"))
                .threshold("nothing differs")
                .hint("`pitool plan` shows what, `sudo pitool apply` puts it right");
            finding.number = Some(f64::from(drift.changes));
            report.find(finding);
        }
    }
}
