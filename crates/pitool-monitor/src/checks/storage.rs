//! Disks: how full, whether writable, whether they break, how worn.

use crate::checks::{bytes, percent};
use crate::finding::{Finding, Level, Report};
use crate::sample::Sample;
use crate::setup::Setup;

pub(crate) fn judge(sample: &Sample, setup: &Setup, report: &mut Report) {
    let limits = &setup.limits;
    let disks = match &sample.disks {
        Ok(disks) => disks,
        Err(why) => {
            report.find(Finding::unknown("disk", why));
            return;
        }
    };
    if disks.is_empty() {
        report.find(Finding::unknown("disk", "no disk is mounted as far as the kernel says"));
    }
    let (warn, fail) = (f64::from(limits.disk_warn), f64::from(limits.disk_fail));
    let threshold = format!("{warn} %, {fail} %");
    for (mount, usage) in disks {
        let point = &mount.point;
        let usage = match usage {
            Ok(usage) => usage,
            Err(why) => {
                report.find(Finding::unknown("disk", why).of(point));
                continue;
            }
        };
        if let Some(used) = usage.used().map(percent) {
            let words = format!("{used:.0} % full, {} free of {}", bytes(usage.available), bytes(usage.size));
            let hint = format!(
                "`sudo ncdu -x {point}` shows what takes the room; `docker system df` and `journalctl --disk-usage` too"
            );
            report.find(
                Finding::high("disk", used, words, warn, Some(fail))
                    .of(point)
                    .threshold(&threshold)
                    .hint(hint),
            );
        }
        if let Some(used) = usage.files_used().map(percent) {
            let words = format!("{used:.0} % of {} in use", usage.files);
            let hint =
                format!("many small files: `sudo du --inodes -xd2 {point} | sort -n | tail` shows where");
            report.find(
                Finding::high("inodes", used, words, warn, Some(fail))
                    .of(point)
                    .threshold(&threshold)
                    .hint(hint),
            );
        }
    }
    for (mount, _) in disks {
        let name = mount.device.trim_start_matches("/dev/");
        let errors = sample.ext4.iter().find(|ext4| ext4.device == name).map_or(0, |ext4| ext4.errors);
        // A card reader's media or an installer's image is read-only by choice; what a Pi runs from is not.
        let system = ["/", "/boot", "/boot/firmware", "/var", "/home"].contains(&mount.point.as_str());
        let check = mount.device.clone();
        let fsck = format!(
            "save what matters, then check it from another system or at boot (`fsck.mode=force`): `fsck -f {check}`"
        );
        let finding = if mount.emergency {
            Finding::new("filesystem", Level::Fail, "it stopped itself after an error").hint(fsck)
        } else if mount.read_only && system {
            Finding::new("filesystem", Level::Fail, "it is read-only")
                .hint(format!("`dmesg | grep -i {name}` says why; an error makes Linux stop writing. {fsck}"))
        } else if errors > 0 {
            Finding::new("filesystem", Level::Fail, format!("{errors} errors are recorded in it")).hint(fsck)
        } else if mount.read_only {
            Finding::ok("filesystem", format!("{}, read-only", mount.kind))
        } else {
            Finding::ok("filesystem", format!("{}, writable", mount.kind))
        };
        report.find(finding.of(&mount.point).threshold("no error"));
    }
    for emmc in &sample.emmc {
        let words = format!("about {} % of its life is used", emmc.used);
        let finding = match emmc.pre_eol {
            3.. => {
                Finding::new("card", Level::Fail, format!("{words}, and its spare blocks are nearly gone"))
            }
            2 => Finding::new("card", Level::Warn, format!("{words}, and most of its spare blocks are gone")),
            _ => Finding::high("card", f64::from(emmc.used), words, 80.0, Some(100.0)),
        };
        report.find(
            finding.of(&emmc.device).threshold("80 %, 100 %").hint("plan to replace it, and have a backup"),
        );
    }
    if sample.emmc.is_empty() {
        report.absent("card", "it does not say how worn it is; only eMMC does");
    }
}
