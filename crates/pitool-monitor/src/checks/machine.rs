//! Processors, memory, heat, power, the clock.

use crate::checks::{bytes, percent};
use crate::finding::{Finding, Level, Report};
use crate::kernel::pi::Power;
use crate::sample::Sample;
use crate::setup::Setup;

pub(crate) fn judge(sample: &Sample, before: Option<&Sample>, setup: &Setup, report: &mut Report) {
    cpu(sample, before, setup, report);
    memory(sample, setup, report);
    heat(sample, setup, report);
    power(sample, setup, report);
    clock(sample, setup, report);
}

fn cpu(sample: &Sample, before: Option<&Sample>, setup: &Setup, report: &mut Report) {
    let limits = &setup.limits;
    let busy = match (&sample.cpu, before.map(|before| &before.cpu)) {
        (Err(why), _) => Err(why.clone()),
        (Ok(now), Some(Ok(before))) => {
            now.busy_since(before).ok_or_else(|| "no time has passed since the last look".to_owned())
        }
        _ => Err("it was looked at only once".to_owned()),
    };
    report.find(match busy {
        Err(why) => Finding::unknown("cpu", why),
        Ok(busy) => {
            let busy = percent(busy);
            let found =
                Finding::high("cpu", busy, format!("{busy:.0} % busy"), f64::from(limits.cpu_warn), None);
            let found = if is_lasting(sample) { found } else { Finding { level: Level::Ok, ..found } };
            found.threshold(format!("{} %", limits.cpu_warn)).hint("`top -o %CPU` shows who works so hard")
        }
    });
    report.find(match &sample.load {
        Err(why) => Finding::unknown("load", why),
        Ok([one, five, fifteen]) => {
            let warn = f64::from(limits.load_warn) * sample.cpus.max(1) as f64;
            Finding::high("load", *five, format!("{one:.2}, {five:.2}, {fifteen:.2}"), warn, None)
                .threshold(format!("{warn:.0} in 5 min ({} for each of {} processors)", limits.load_warn, sample.cpus))
                .hint("more wants to run than can: `top` shows what runs, and `wa` in it what waits for the disk")
        }
    });
}

/// Whether the processors have had work for a while: `pitool health` looks for a tenth of a second, in which its own start may be
/// all there is.
fn is_lasting(sample: &Sample) -> bool {
    !matches!(sample.load, Ok([one, ..]) if one < sample.cpus as f64 / 2.0)
}

fn memory(sample: &Sample, setup: &Setup, report: &mut Report) {
    let limits = &setup.limits;
    let memory = match &sample.memory {
        Ok(memory) => memory,
        Err(why) => {
            report.find(Finding::unknown("memory", why));
            return;
        }
    };
    report.find(match (memory.used(), memory.get("MemAvailable"), memory.get("MemTotal")) {
        (Some(used), Some(available), Some(total)) => {
            let used = percent(used);
            let words = format!("{used:.0} % in use, {} of {} available", bytes(available), bytes(total));
            let (warn, fail) = (limits.memory_warn, limits.memory_fail);
            Finding::high("memory", used, words, f64::from(warn), Some(f64::from(fail)))
                .threshold(format!("{warn} %, {fail} %"))
                .hint("`ps aux --sort=-rss | head` shows who has it; the kernel kills programs when none is left")
        }
        _ => Finding::unknown("memory", "/proc/meminfo does not say how much is available"),
    });
    match (memory.swap_used(), memory.get("SwapTotal")) {
        (Some(used), Some(total)) => {
            let used = percent(used);
            let words = format!("{used:.0} % of {} in use", bytes(total));
            report.find(
                Finding::high("swap", used, words, f64::from(limits.swap_warn), None)
                    .threshold(format!("{} %", limits.swap_warn))
                    .hint("memory is short, and swapping wears the card: give something less memory"),
            );
        }
        _ => report.absent("swap", "there is none"),
    }
}

fn heat(sample: &Sample, setup: &Setup, report: &mut Report) {
    let (warn, fail) = (setup.limits.temperature_warn, setup.limits.temperature_fail);
    match sample.temperature {
        Some(celsius) => report.find(
            Finding::high(
                "temperature",
                celsius,
                format!("{celsius:.1} °C"),
                f64::from(warn),
                Some(f64::from(fail)),
            )
            .threshold(format!("{warn} °C, {fail} °C"))
            .hint("a Pi slows down when it is hot: give it air, a heat sink or a fan, or less to do"),
        ),
        None => report.absent("temperature", "this machine has no sensor that the kernel knows"),
    }
}

fn power(sample: &Sample, setup: &Setup, report: &mut Report) {
    const HINT: &str = "use the power supply made for this board and a short cable; hang USB disks on a hub with its own power";
    let bits = match &sample.throttled {
        Ok(bits) => *bits,
        // The voltage chip alone tells the worst of it.
        Err(why) => {
            report.find(match sample.low_voltage {
                Some(true) => Finding::new("power", Level::Fail, "under-voltage now").hint(HINT),
                _ => Finding::unknown("power", why)
                    .hint("as root, or in the group video, the firmware can be asked"),
            });
            return;
        }
    };
    let Some(bits) = bits else {
        match sample.low_voltage {
            Some(true) => report.find(Finding::new("power", Level::Fail, "under-voltage now").hint(HINT)),
            Some(false) => report.find(Finding::ok("power", "the voltage is high enough")),
            None if setup.expected.container.is_empty() => {
                report.absent("power", "this is no Raspberry Pi, or its firmware cannot be asked");
            }
            None => report.absent("power", "it is the host's"),
        }
        return;
    };
    let words = |list: Vec<Power>| list.into_iter().map(Power::words).collect::<Vec<_>>().join(", ");
    let now: Vec<Power> = Power::ALL.into_iter().filter(|power| bits.now(*power)).collect();
    let past: Vec<Power> = Power::ALL.into_iter().filter(|power| bits.since_boot(*power)).collect();
    let low = sample.low_voltage == Some(true) || now.contains(&Power::UnderVoltage);
    let heat = "give it air: the processor is slowed down because it is hot";
    let finding = match (low, now.is_empty(), past.is_empty()) {
        (true, ..) => Finding::new("power", Level::Fail, format!("now: {}", words(now))).hint(HINT),
        (_, false, _) => Finding::new("power", Level::Warn, format!("now: {}", words(now))).hint(heat),
        (.., false) => {
            let hint = if past.contains(&Power::UnderVoltage) { HINT } else { heat };
            Finding::new("power", Level::Warn, format!("since boot: {}", words(past))).hint(hint)
        }
        _ => Finding::ok("power", "no under-voltage and no throttling since boot"),
    };
    report.find(finding.threshold("none of it"));
}

fn clock(sample: &Sample, setup: &Setup, report: &mut Report) {
    if !setup.expected.container.is_empty() {
        report.absent("clock", "it is the host's");
        return;
    }
    let warn = setup.limits.clock_warn.as_secs() as f64;
    report.find(match &sample.clock {
        Err(why) => Finding::unknown("clock", why),
        Ok(clock) if !clock.synchronized => Finding::new("clock", Level::Warn, "nothing keeps it in step")
            .hint("`timedatectl` says why; certificates, backups and updates need the right time"),
        Ok(clock) => {
            let offset = clock.offset.abs();
            Finding::high("clock", offset, format!("in step, {:.1} ms off", offset * 1000.0), warn, None)
                .threshold(format!("{warn:.0} s"))
                .hint("`timedatectl timesync-status` says whom it follows")
        }
    });
}
