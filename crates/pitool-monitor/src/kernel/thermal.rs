//! Temperatures and fans: /sys/class/hwmon, /sys/class/thermal (Documentation/hwmon/sysfs-interface.rst), cpufreq.

use pitool_host::{FileType, Inspect};

use super::{names, number, text};

/// A chip of /sys/class/hwmon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chip {
    /// Where it is: `/sys/class/hwmon/hwmon0`.
    pub path: String,
    /// How node_exporter calls it: the bus and the device, `thermal_thermal_zone0`.
    pub chip: String,
    /// The driver's name for it: `cpu_thermal`, `rpi_volt`.
    pub name: String,
    /// Sensors of temperature with degrees Celsius: `temp1`.
    pub temperatures: Vec<(String, f64)>,
    /// Fans with turns a minute.
    pub fans: Vec<(String, f64)>,
    /// `in0_lcrit_alarm`: the voltage is critically low. Only the Pi's own chip has a meaning that we know.
    pub low_voltage: Option<bool>,
}

/// Asks every chip.
pub fn chips(host: &dyn Inspect) -> Vec<Chip> {
    let base = "/sys/class/hwmon";
    names(host, base).into_iter().map(|entry| chip(host, &format!("{base}/{entry}"))).collect()
}

fn chip(host: &dyn Inspect, path: &str) -> Chip {
    let mut chip = Chip { path: path.to_owned(), ..Chip::default() };
    chip.name = text(host, &format!("{path}/name")).map(|name| name.trim().to_owned()).unwrap_or_default();
    chip.chip = identity(host, path).unwrap_or_else(|| cleaned(&chip.name));
    for file in names(host, path) {
        let Some(sensor) = file.strip_suffix("_input") else { continue };
        let value = number::<f64>(host, &format!("{path}/{file}"));
        match value {
            Some(value) if sensor.starts_with("temp") => {
                chip.temperatures.push((sensor.to_owned(), value / 1000.0));
            }
            Some(value) if sensor.starts_with("fan") => chip.fans.push((sensor.to_owned(), value)),
            _ => {}
        }
    }
    chip.low_voltage = number::<u8>(host, &format!("{path}/in0_lcrit_alarm")).map(|alarm| alarm != 0);
    chip
}

/// The device behind a chip by its bus and name, as node_exporter's `hwmonName` does it.
fn identity(host: &dyn Inspect, path: &str) -> Option<String> {
    let last = |link: &str| -> Option<String> {
        match host.stat(link).ok()??.file_type {
            FileType::Link(target) => target.rsplit('/').next().map(str::to_owned),
            _ => None,
        }
    };
    let device = last(&format!("{path}/device"))?;
    let bus = last(&format!("{path}/device/subsystem"));
    let device = cleaned(&device);
    Some(match bus {
        Some(bus) => format!("{}_{device}", cleaned(&bus)),
        None => device,
    })
}

/// node_exporter's names: small letters, digits, `:` and `_`.
fn cleaned(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' || c == '_';
    let name = name.to_lowercase();
    name.chars().map(|c| if allowed(c) { c } else { '_' }).collect::<String>().trim_matches('_').to_owned()
}

/// A thermal zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// Its number.
    pub zone: String,
    /// What it measures: `cpu-thermal`.
    pub kind: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

/// Asks every thermal zone; one that does not answer is left out.
pub fn zones(host: &dyn Inspect) -> Vec<Zone> {
    let base = "/sys/class/thermal";
    let one = |entry: String| {
        let zone = entry.strip_prefix("thermal_zone")?.to_owned();
        let kind = text(host, &format!("{base}/{entry}/type"))?.trim().to_owned();
        let celsius = number::<f64>(host, &format!("{base}/{entry}/temp"))? / 1000.0;
        Some(Zone { zone, kind, celsius })
    };
    names(host, base).into_iter().filter_map(one).collect()
}

/// A cooling device: a fan, or a processor that can slow down.
#[derive(Clone, Debug, PartialEq)]
pub struct Cooling {
    /// Its number.
    pub name: String,
    /// What it is: `pwm-fan`.
    pub kind: String,
    /// How hard it works now.
    pub now: f64,
    /// How hard it can.
    pub most: f64,
}

/// Asks every cooling device.
pub fn cooling(host: &dyn Inspect) -> Vec<Cooling> {
    let base = "/sys/class/thermal";
    let one = |entry: String| {
        let at = |file: &str| format!("{base}/{entry}/{file}");
        Some(Cooling {
            name: entry.strip_prefix("cooling_device")?.to_owned(),
            kind: text(host, &at("type"))?.trim().to_owned(),
            now: number(host, &at("cur_state"))?,
            most: number(host, &at("max_state"))?,
        })
    };
    names(host, base).into_iter().filter_map(one).collect()
}

/// What each processor's clock does now, in hertz.
pub fn frequencies(host: &dyn Inspect) -> Vec<(String, f64)> {
    let base = "/sys/devices/system/cpu";
    let one = |entry: String| {
        let cpu = entry.strip_prefix("cpu")?.to_owned();
        cpu.bytes().all(|c| c.is_ascii_digit()).then_some(())?;
        let khz: f64 = number(host, &format!("{base}/{entry}/cpufreq/scaling_cur_freq"))?;
        Some((cpu, khz * 1000.0))
    };
    names(host, base).into_iter().filter_map(one).collect()
}

/// The processor's temperature: the hottest thermal zone of the SoC, else the hottest sensor of a processor.
pub fn processor(zones: &[Zone], chips: &[Chip]) -> Option<f64> {
    let hottest = |values: &mut dyn Iterator<Item = f64>| values.reduce(f64::max);
    let is_cpu = |name: &str| {
        let name = name.to_lowercase();
        ["cpu", "soc", "x86_pkg", "coretemp", "k10temp"].iter().any(|part| name.contains(part))
    };
    hottest(&mut zones.iter().filter(|zone| is_cpu(&zone.kind)).map(|zone| zone.celsius)).or_else(|| {
        let chips = chips.iter().filter(|chip| is_cpu(&chip.name));
        hottest(&mut chips.flat_map(|chip| chip.temperatures.iter().map(|(_, celsius)| *celsius)))
    })
}
