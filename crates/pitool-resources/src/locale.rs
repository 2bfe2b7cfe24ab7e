//! Generated locales.

use std::time::Duration;

use pitool_engine::{Action, Change, Id, Resource, Reversal};
use pitool_host::{Access, Command, Host, Inspect, Result};
use serde::{Deserialize, Serialize};

/// A locale that programs can use: listed in locale.gen(5) and generated. Printed `locale[NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Locale {
    name: String,
}

/// Whether the locale is listed and there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocaleState {
    listed: bool,
    generated: bool,
}

const LIST: &str = "/etc/locale.gen";

/// `locale-gen` builds every listed locale anew; on a Pi Zero one takes most of a minute.
const LIMIT: Duration = Duration::from_secs(1800);

impl Locale {
    /// A locale such as `en_GB.UTF-8`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    fn line(&self) -> String {
        // `sr_RS.UTF-8@latin`: the modifier is no part of the character set.
        let charset = self.name.split_once('.').map_or("UTF-8", |(_, rest)| rest);
        let charset = charset.split('@').next().unwrap_or(charset);
        format!("{} {charset}", self.name)
    }
}

/// Locale names as `locale -a` prints them: `en_GB.utf8`.
fn folded(name: &str) -> String {
    name.to_lowercase().replace('-', "")
}

impl Resource for Locale {
    type State = LocaleState;

    fn id(&self) -> Id {
        Id::new("locale", &self.name)
    }

    fn observe(&self, host: &dyn Inspect) -> Result<LocaleState> {
        let list = host.read(LIST)?;
        let listed = list.is_some_and(|list| {
            list.text().unwrap_or_default().lines().any(|line| line.trim() == self.line())
        });
        let output = host.ask(&Command::new("locale").arg("-a"))?;
        let generated = output.stdout.lines().any(|line| folded(line.trim()) == folded(&self.name));
        Ok(LocaleState { listed, generated })
    }

    fn desired(&self, _observed: &LocaleState) -> LocaleState {
        LocaleState { listed: true, generated: true }
    }

    fn enact(&self, host: &dyn Host, from: &LocaleState, to: &LocaleState) -> Result<()> {
        if from.listed != to.listed {
            let text = host.read(LIST)?;
            let text = text.as_ref().and_then(|content| content.text()).unwrap_or_default();
            let line = self.line();
            let mut lines: Vec<&str> = text.lines().filter(|old| old.trim() != line).collect();
            if to.listed {
                lines.push(&line);
            }
            host.write(LIST, (lines.join("\n") + "\n").as_bytes(), Access::root(0o644))?;
        }
        if from.generated != to.generated {
            host.run(&Command::new("locale-gen").timeout(LIMIT))?;
        }
        Ok(())
    }

    fn change(&self, from: &LocaleState, to: &LocaleState) -> Change {
        let words = |state: &LocaleState| match (state.listed, state.generated) {
            (_, true) => "generated",
            (true, false) => "listed, not generated",
            (false, false) => "absent",
        };
        let is_there = |state: &LocaleState| state.listed || state.generated;
        let action = Action::between(is_there(from), is_there(to));
        Change::words(action, format!("{} → {}", words(from), words(to)))
    }

    fn reversal(&self) -> Reversal {
        Reversal::Partial("a generated locale may stay in the archive; it is no longer listed".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_the_locale_and_its_character_set() {
        for (name, line) in [
            ("en_GB.UTF-8", "en_GB.UTF-8 UTF-8"),
            ("sr_RS.UTF-8@latin", "sr_RS.UTF-8@latin UTF-8"),
            ("de_DE.ISO-8859-15@euro", "de_DE.ISO-8859-15@euro ISO-8859-15"),
        ] {
            assert_eq!(Locale::new(name).line(), line);
        }
    }
}
