//! PAM's stacks in /etc/pam.d: pam.d(5).

use crate::{Inspect, Result};

/// One line of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `auth`, `account`, `password` or `session`.
    pub stage: String,
    /// What its answer does: `required`, or the text within the brackets.
    pub control: String,
    /// The module without its directory: `pam_unix.so`.
    pub module: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Entry {
    /// Whether a refusal of this module cannot keep anybody out.
    pub fn cannot_refuse(&self) -> bool {
        let control = self.control.to_ascii_lowercase();
        match control.as_str() {
            "optional" | "sufficient" => true,
            "required" | "requisite" => false,
            actions => actions.split_whitespace().all(|action| {
                let (result, action) = action.split_once('=').unwrap_or((action, ""));
                matches!(result, "success" | "new_authtok_reqd") || action == "ignore"
            }),
        }
    }
}

/// How deep includes are followed, as in libpam.
const MAX_DEPTH: usize = 16;

/// Reads the stack of a service with all that it includes; `None` where there is none.
pub fn read(inspect: &dyn Inspect, service: &str) -> Result<Option<Vec<Entry>>> {
    let path = format!("/etc/pam.d/{service}");
    if inspect.read(&path)?.is_none() {
        return Ok(None);
    }
    let mut entries = Vec::new();
    include(inspect, service, None, 0, &mut entries)?;
    Ok(Some(entries))
}

fn include(
    inspect: &dyn Inspect,
    service: &str,
    only: Option<&str>,
    depth: usize,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let path = if service.starts_with('/') { service.to_owned() } else { format!("/etc/pam.d/{service}") };
    let Some(content) = inspect.read(&path)?.filter(|_| depth < MAX_DEPTH) else { return Ok(()) };
    let text = String::from_utf8_lossy(content.bytes()).replace("\\\n", " ");
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(other) = line.strip_prefix("@include") {
            include(inspect, other.trim(), only, depth + 1, entries)?;
            continue;
        }
        let Some((stage, rest)) = line.split_once(char::is_whitespace) else { continue };
        let stage = stage.trim_start_matches('-').to_ascii_lowercase();
        if only.is_some_and(|only| only != stage) {
            continue;
        }
        let rest = rest.trim_start();
        let (control, rest) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        let mut words = rest.split_whitespace();
        let Some(module) = words.next() else { continue };
        if matches!(control, "include" | "substack") {
            include(inspect, module, Some(&stage), depth + 1, entries)?;
            continue;
        }
        entries.push(Entry {
            stage,
            control: control.to_owned(),
            module: module.rsplit('/').next().unwrap_or_default().to_owned(),
            args: words.map(str::to_owned).collect(),
        });
    }
    Ok(())
}
