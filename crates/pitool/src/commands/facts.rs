//! `pitool facts`: what pitool knows of this machine.

use pitool_host::{SwapMechanism, facts};
use serde_json::json;

use crate::exit;
use crate::failure::Result;
use crate::render::json as json_out;
use crate::session::Session;

/// Shows the facts, of any machine.
pub(crate) fn run(session: &Session<'_, '_>) -> Result<u8> {
    let facts = facts::gather(session.inspect())?;
    let supported = facts::supported(&facts);
    let terminal = session.terminal;
    if terminal.json {
        let why = supported.as_ref().err();
        json_out::document(
            terminal,
            &json!({ "command": "facts", "facts": facts, "supported": supported.is_ok(), "why": why }),
        );
        return Ok(exit::DONE);
    }
    let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let known = |value: &str| if value.is_empty() { "unknown".to_owned() } else { value.to_owned() };
    let bytes = |bytes: u64, unit: u64, name: &str| match bytes {
        0 => "unknown".to_owned(),
        bytes => format!("{} {name}", bytes / unit),
    };
    let swap = match facts.swap {
        SwapMechanism::None => "none of the image's own",
        SwapMechanism::RpiSwap => "rpi-swap",
        SwapMechanism::DphysSwapfile => "dphys-swapfile",
        SwapMechanism::Own => "set up by a person",
    };
    let container = if facts.container.is_empty() { "no".to_owned() } else { facts.container.clone() };
    let rows = [
        ("system", known(&facts.os_name)),
        ("release", format!("{} {} {}", facts.os, facts.release, facts.codename).trim().to_owned()),
        ("architecture", known(&facts.arch)),
        ("board", if facts.model.is_empty() { "not a Raspberry Pi".to_owned() } else { facts.model.clone() }),
        ("serial number", known(&facts.serial)),
        ("kernel", known(format!("{} {}", facts.kernel, facts.kernel_arch).trim())),
        ("kernel modules", if facts.kernel_modules { "there" } else { "missing until a reboot" }.to_owned()),
        ("processors", if facts.cpus == 0 { "unknown".to_owned() } else { facts.cpus.to_string() }),
        ("ARMv6", yes(facts.armv6)),
        ("memory", bytes(facts.memory, 1 << 20, "MiB")),
        ("page size", bytes(facts.page_size, 1 << 10, "KiB")),
        ("systemd runs", yes(facts.systemd)),
        ("container", container),
        ("running system", yes(facts.live)),
        ("firmware", facts.firmware.clone().unwrap_or_else(|| "none".to_owned())),
        ("swap made by", swap.to_owned()),
        ("cloud-init", yes(facts.cloud_init)),
        ("archive of Raspberry Pi", yes(facts.raspberrypi_archive)),
        ("journal in memory only", yes(facts.volatile_journal)),
        ("machine id", known(&facts.machine_id)),
        ("boot id", known(&facts.boot_id)),
    ];
    for (name, value) in rows {
        terminal.line(format!("{name:<23}  {value}"));
    }
    match supported {
        Ok(()) => terminal.line(format!("{:<23}  yes", "supported")),
        Err(why) => {
            let why = crate::render::wrap(&why, terminal.width, 29, 25);
            terminal.line(format!("{:<23}  no: {why}", "supported"));
        }
    }
    Ok(exit::DONE)
}
