//! Traps of the board, its firmware and the first boot.

use pitool_host::parse::{cmdline, config_txt};

use super::trap::{Look, Trap, Verdict, fine, found, not_here, settings, unknown};
use crate::checks::bytes;
use crate::docker::can_limit_memory;

pub(super) const TRAPS: &[Trap] = &[
    Trap { number: 1, name: "memory limits of containers are ignored", look: memory_cgroup },
    Trap { number: 2, name: "words of the kernel's command line are doubled", look: doubled_words },
    Trap { number: 5, name: "memory pages of 16 KiB break some images", look: page_size },
    Trap { number: 7, name: "settings were written into files that nobody reads", look: decoys },
    Trap { number: 8, name: "a dtparam stands after a dtoverlay", look: parameters_after_overlays },
    Trap { number: 9, name: "cloud-init sets the host name at every boot", look: host_name },
    Trap { number: 10, name: "the first boot is still at work", look: first_boot },
    Trap { number: 11, name: "machines from one image have one identity", look: identity },
    Trap { number: 12, name: "files for the first boot were never used", look: leftovers },
    Trap { number: 35, name: "the boot partition was not unmounted", look: boot_partition },
];

fn memory_cgroup(look: &Look<'_>) -> Verdict {
    if can_limit_memory(look.host) {
        return fine("the kernel offers the memory controller");
    }
    if look.firmware().is_none() {
        return found(
            "this kernel has no memory controller",
            "limits of containers do nothing here; run another kernel",
        );
    }
    let asked = look.firmware().and_then(|dir| look.text(&format!("{dir}/cmdline.txt"))).unwrap_or_default();
    if cmdline::parse(&asked).has("cgroup_enable=memory") {
        return found(
            "cmdline.txt asks for the memory controller, and the running kernel was started without it",
            "`sudo systemctl reboot`",
        );
    }
    found(
        "the Pi's firmware switches the memory controller off",
        "`sudo pitool apply common` asks for it in cmdline.txt; then reboot",
    )
}

fn doubled_words(look: &Look<'_>) -> Verdict {
    let Some(dir) = look.firmware() else { return not_here("no cmdline.txt of a Pi") };
    let path = format!("{dir}/cmdline.txt");
    let Some(text) = look.text(&path) else {
        return found(
            format!("{path} is missing"),
            "put it back from a backup before the next reboot: without it the Pi does not start",
        );
    };
    let line = cmdline::parse(&text);
    if line.words.is_empty() {
        return found(
            format!("{path} is empty"),
            "put it back from a backup before the next reboot: without it the Pi does not start",
        );
    }
    if !line.single_line {
        return found(
            format!("{path} has more than one line"),
            "join them: the firmware hands on the first line only",
        );
    }
    let mut seen = Vec::new();
    // Several consoles are usual, and the order of them means something.
    let mut doubled: Vec<&str> = line
        .words
        .iter()
        .filter(|word| !word.starts_with("console="))
        .map(String::as_str)
        .filter(|word| {
            let again = seen.contains(word);
            seen.push(word);
            again
        })
        .collect();
    doubled.dedup();
    match doubled.is_empty() {
        true => fine(format!("{} words on one line, each once", line.words.len())),
        false => found(
            format!("{path} has more than once: {}", doubled.join(" ")),
            "take the doubled words out with an editor",
        ),
    }
}

fn page_size(look: &Look<'_>) -> Verdict {
    match look.facts.page_size {
        0 => unknown("the page size is not known"),
        size @ 0..=4096 => fine(format!("pages of {}", bytes(size))),
        size => found(
            format!(
                "pages of {}: programs that were built for 4 KiB say \"Unsupported system page size\"",
                bytes(size)
            ),
            "if an image fails like this, `kernel=kernel8.img` in config.txt and a reboot choose the kernel with small pages",
        ),
    }
}

fn decoys(look: &Look<'_>) -> Verdict {
    let Some(dir) = look.firmware() else { return not_here("no firmware of a Pi") };
    if dir == "/boot" {
        return fine("this image has its files in /boot itself");
    }
    let edited: Vec<&str> = ["/boot/cmdline.txt", "/boot/config.txt"]
        .into_iter()
        .filter(|path| {
            // On the image they are links to the true ones, or a remark and nothing else.
            let link = matches!(look.host.stat(path), Ok(Some(stat)) if matches!(stat.file_type, pitool_host::FileType::Link(_)));
            let text = look.text(path).unwrap_or_default();
            !link && !text.is_empty() && !text.contains("DO NOT EDIT")
        })
        .collect();
    match edited.is_empty() {
        true => fine(format!("the firmware reads {dir}, and nothing else looks like it")),
        false => found(
            format!("{} has settings, and the firmware reads {dir}", edited.join(" and ")),
            format!("move what is meant into {dir}, then remove the other"),
        ),
    }
}

fn parameters_after_overlays(look: &Look<'_>) -> Verdict {
    let Some(dir) = look.firmware() else { return not_here("no config.txt of a Pi") };
    let path = format!("{dir}/config.txt");
    let Some(text) = look.text(&path) else { return fine(format!("there is no {path}")) };
    let mut overlay: Option<(String, Vec<String>)> = None;
    let mut late = Vec::new();
    for setting in config_txt::parse(&text) {
        match setting.key.as_str() {
            // An empty one ends the overlay before it.
            "dtoverlay" if setting.value.is_empty() => overlay = None,
            "dtoverlay" => overlay = Some((setting.value, setting.filters)),
            // Parameters of the base tree that every image sets; below an overlay they do nothing.
            "dtparam"
                if ["audio", "i2c", "i2c_arm", "spi", "uart", "watchdog", "pciex1"]
                    .iter()
                    .any(|name| setting.value.starts_with(&format!("{name}="))) =>
            {
                if let Some((overlay, filters)) = &overlay {
                    if *filters == setting.filters {
                        late.push(format!(
                            "line {}: {} after dtoverlay={overlay}",
                            setting.line, setting.value
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    match late.is_empty() {
        true => fine("every dtparam of the board comes before the overlays"),
        false => found(
            format!("{path}, {}", late.join("; ")),
            "move it above the first dtoverlay of its section: below one it is that overlay's parameter",
        ),
    }
}

fn host_name(look: &Look<'_>) -> Verdict {
    if !look.facts.cloud_init {
        return not_here("no cloud-init at work");
    }
    let mut files = look.files("/etc/cloud/cloud.cfg.d", ".cfg");
    files.extend(look.text("/etc/cloud/cloud.cfg").map(|text| ("/etc/cloud/cloud.cfg".to_owned(), text)));
    let keeps = files
        .iter()
        .any(|(_, text)| settings(text).any(|line| line.replace(' ', "") == "preserve_hostname:true"));
    match keeps {
        true => fine("cloud-init is told to keep the host name"),
        false => found(
            "cloud-init is at work and may set the host name of the image again",
            "`sudo pitool apply common` with `hostname` set writes `preserve_hostname: true`",
        ),
    }
}

fn first_boot(look: &Look<'_>) -> Verdict {
    if !look.facts.cloud_init {
        return not_here("no cloud-init at work");
    }
    match look.there("/run/cloud-init/result.json") || look.there("/var/lib/cloud/instance/boot-finished") {
        true => fine("cloud-init is done"),
        false => found(
            "cloud-init is still at work, and may hold apt",
            "`cloud-init status --wait` waits until it is done",
        ),
    }
}

fn identity(look: &Look<'_>) -> Verdict {
    let id = look.text("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    if id.len() != 32 || !id.bytes().all(|c| c.is_ascii_hexdigit()) {
        return found("/etc/machine-id is not one", "`sudo systemd-machine-id-setup` makes one; then reboot");
    }
    let keys = look
        .names("/etc/ssh")
        .into_iter()
        .any(|name| name.starts_with("ssh_host_") && name.ends_with("_key"));
    match keys {
        true => fine(format!("machine id {}…, and host keys of its own", &id[..8])),
        false => found("sshd has no host keys", "`sudo dpkg-reconfigure openssh-server` makes them"),
    }
}

fn leftovers(look: &Look<'_>) -> Verdict {
    let Some(dir) = look.firmware() else { return not_here("no boot partition of a Pi") };
    let names =
        ["firstrun.sh", "custom.toml", "userconf.txt", "userconf", "ssh", "ssh.txt", "wpa_supplicant.conf"];
    let left: Vec<&str> = names.into_iter().filter(|name| look.there(&format!("{dir}/{name}"))).collect();
    match left.is_empty() {
        true => fine("nothing is left of the first boot"),
        false => found(
            format!("{dir} still has {}", left.join(", ")),
            "this image did not use what the imager wrote; set it by pitool's config, and remove the files, which may hold passwords",
        ),
    }
}

fn boot_partition(look: &Look<'_>) -> Verdict {
    let Some(dir) = look.firmware() else { return not_here("no boot partition of a Pi") };
    let Ok(mut log) = crate::event::KernelLog::open("/dev/kmsg") else {
        return unknown("only root may read the kernel's log");
    };
    let dirty = log.read().iter().any(|record| record.text.contains("Volume was not properly unmounted"));
    match dirty {
        true => found(
            format!("{dir} was not unmounted before the last boot"),
            "it has no journal: `sudo umount DIR && sudo fsck.vfat -a DEVICE` checks it; the boot files may be cut short",
        ),
        false => fine("the kernel found it clean"),
    }
}
