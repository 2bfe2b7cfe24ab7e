//! Traps of the network, the language and the time.

use super::trap::{Look, Trap, Verdict, fine, found, not_here, settings, unknown};

pub(super) const TRAPS: &[Trap] = &[
    Trap { number: 30, name: "the time zone does not exist", look: zone },
    Trap { number: 31, name: "the language is set and not made", look: locale },
    Trap { number: 33, name: "edits of the network go unheard", look: owner },
    Trap { number: 38, name: "certificates run out in silence", look: certificates },
];

fn zone(look: &Look<'_>) -> Verdict {
    match look.host.stat("/etc/localtime") {
        Ok(None) => found(
            "/etc/localtime is missing: the clock shows UTC",
            "set `timezone` in [common], then `sudo pitool apply common`",
        ),
        // Reading follows the link.
        Ok(Some(_)) if look.text("/etc/localtime").is_none() => found(
            "/etc/localtime points nowhere: the clock shows UTC without a word",
            "set `timezone` in [common]; names that are gone moved to the package tzdata-legacy",
        ),
        Ok(Some(stat)) => match stat.file_type {
            pitool_host::FileType::Link(target) => {
                fine(target.rsplit_once("zoneinfo/").map_or(target.clone(), |(_, zone)| zone.to_owned()))
            }
            _ => fine("a file of its own"),
        },
        Err(_) => unknown("/etc/localtime cannot be read"),
    }
}

fn locale(look: &Look<'_>) -> Verdict {
    let text = ["/etc/locale.conf", "/etc/default/locale"]
        .iter()
        .find_map(|path| look.text(path))
        .unwrap_or_default();
    let wanted: Vec<String> = settings(&text)
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == "LANG" || name.starts_with("LC_"))
        .map(|(_, value)| value.trim_matches('"').to_owned())
        .filter(|value| !value.is_empty())
        .collect();
    let Ok(output) = look.ask("locale", &["-a"]) else {
        return unknown("`locale -a` does not answer");
    };
    // `en_GB.UTF-8` is listed as `en_GB.utf8`.
    let plain = |name: &str| name.to_lowercase().replace('-', "");
    let made: Vec<String> = output.stdout.lines().map(plain).collect();
    match wanted.iter().find(|name| !made.contains(&plain(name)) && *name != "C" && *name != "POSIX") {
        Some(name) => found(
            format!("{name} is set, and it was never made"),
            "set `locale` in [common], then `sudo pitool apply common`",
        ),
        None if wanted.is_empty() => fine("none is set: C"),
        None => fine(wanted.join(", ")),
    }
}

fn owner(look: &Look<'_>) -> Verdict {
    let manager = look.active("NetworkManager.service");
    let dhcpcd = look.text("/etc/dhcpcd.conf").is_some_and(|text| {
        settings(&text).any(|line| line.starts_with("interface ") || line.starts_with("static "))
    });
    let interfaces = look.text("/etc/network/interfaces").unwrap_or_default();
    let old = settings(&interfaces).any(|line| line.starts_with("iface ") && !line.starts_with("iface lo"));
    match (manager, dhcpcd && !look.active("dhcpcd.service"), old && !look.installed("ifupdown")) {
        (true, true, _) => found(
            "/etc/dhcpcd.conf has settings, and NetworkManager owns the network",
            "make them with `nmcli connection modify`, or with netplan where /etc/netplan has files",
        ),
        (_, _, true) => found(
            "/etc/network/interfaces has settings, and nothing reads them",
            "make them where the network is owned: `nmcli`, netplan or systemd-networkd",
        ),
        (true, ..) if !look.names("/etc/netplan").is_empty() => {
            fine("NetworkManager by netplan: change /etc/netplan, then `netplan try`")
        }
        (true, ..) => fine("NetworkManager"),
        _ if look.active("systemd-networkd.service") => fine("systemd-networkd"),
        _ => fine("ifupdown, or a container's host"),
    }
}

fn certificates(look: &Look<'_>) -> Verdict {
    if matches!(&look.sample.certificates, Ok(Some(found)) if !found.is_empty()) {
        return fine("pitool renews them and watches what is served");
    }
    let others = look.names("/etc/letsencrypt/renewal");
    if others.is_empty() {
        return not_here("no certificates of Let's Encrypt");
    }
    let fixed = look
        .files("/etc/letsencrypt/renewal", ".conf")
        .into_iter()
        .find(|(_, text)| settings(text).any(|line| line.starts_with("renew_before_expiry")));
    match (look.active("certbot.timer") || look.there("/etc/cron.d/certbot"), fixed) {
        (false, _) => found(
            "nothing renews the certificates in /etc/letsencrypt, and nobody writes mails about that any more",
            "`sudo systemctl enable --now certbot.timer`",
        ),
        (true, Some((file, _))) => found(
            format!("{file} has a fixed time of renewal"),
            "take `renew_before_expiry` out: certificates hold shorter and shorter",
        ),
        (true, None) => fine("certbot renews them"),
    }
}
