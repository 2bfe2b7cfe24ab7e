//! The firmware's config.txt of a Pi (Raspberry Pi documentation, "config.txt").

use serde::Serialize;

/// A setting with the conditions that it is under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The filters in force, in the order in which they came: `pi5`, `HDMI:0`. Empty after `[all]` and at the start.
    pub filters: Vec<String>,
    /// The name; `include` for a line that includes another file.
    pub key: String,
    /// What follows `=`, empty where there is none.
    pub value: String,
    /// Its line.
    pub line: usize,
}

/// Reads all settings in their order, which matters: a `dtparam` after a `dtoverlay` is the overlay's (trap T8).
pub fn parse(text: &str) -> Vec<Setting> {
    let mut filters: Vec<String> = Vec::new();
    let mut settings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // A `#` within a word is part of it.
        let line =
            if line.trim_start().starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() };
        let line = line.trim();
        if let Some(filter) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if filter == "all" {
                filters.clear();
            } else {
                // A filter replaces one of its kind and adds to those of others.
                filters.retain(|other| kind(other) != kind(filter));
                filters.push(filter.to_owned());
            }
        } else if !line.is_empty() {
            let (key, value) = match line.strip_prefix("include ") {
                Some(file) => ("include", file),
                None => line.split_once('=').unwrap_or((line, "")),
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            settings.push(Setting { filters: filters.clone(), key, value, line: number + 1 });
        }
    }
    settings
}

/// The kinds of filters: by model, by display, by its EDID, by a GPIO pin, by serial number, by how it booted.
fn kind(filter: &str) -> &'static str {
    let begins =
        |prefix: &str| filter.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if begins("HDMI:") {
        "display"
    } else if begins("EDID=") {
        "edid"
    } else if begins("gpio") {
        "gpio"
    } else if begins("0x") {
        "serial"
    } else if begins("tryboot") || begins("partition") || begins("boot_") || begins("bootvar") {
        "boot"
    } else {
        // `none` too: nothing is such a model.
        "model"
    }
}
