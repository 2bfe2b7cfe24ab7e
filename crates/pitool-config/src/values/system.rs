//! Time zones, locales, swap and kernel parameters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Invalid, Size, nearest, serde_text, text};
use crate::zones;

text! {
    /// The canonical name of a time zone; a legacy alias such as `US/Eastern` is read as the canonical name.
    TimeZone, "a time zone", "time zone", "Europe/Berlin", time_zone
}
text! {
    /// The name of a locale in UTF-8.
    Locale, "a locale", "locale", "en_GB.UTF-8", locale
}
text! {
    /// The name of a kernel parameter, with dots or slashes between its parts.
    SysctlKey, "a kernel parameter", "kernel parameter", "vm.swappiness", sysctl_key
}

fn time_zone(text: &str) -> Result<String, Invalid> {
    if let Some(name) = zones::canonical(text) {
        return Ok(name.to_owned());
    }
    let error = Invalid::new(format!("the time zone {text:?} does not exist"));
    // People write the city alone, or a space for the underscore.
    let wanted = text.replace(' ', "_").to_lowercase();
    let city = zones::names().find(|name| name.to_lowercase().ends_with(&format!("/{wanted}")));
    Err(match city.or_else(|| nearest(&wanted, zones::names())) {
        Some(name) => error.hint(format!("did you mean \"{name}\"?")),
        None => error.hint("a region and a city, such as \"Europe/Berlin\", or \"Etc/UTC\""),
    })
}

fn locale(text: &str) -> Result<String, Invalid> {
    let bad = || Invalid::new(format!("{text:?} is not a locale in UTF-8"));
    let form = "such as \"en_GB.UTF-8\" or \"C.UTF-8\"";
    let Some((name, codeset)) = text.split_once('.') else {
        return Err(match text {
            "C" | "POSIX" => bad().hint("write \"C.UTF-8\""),
            _ => bad().hint(form),
        });
    };
    let (codeset, modifier) = match codeset.split_once('@') {
        Some((codeset, modifier)) => (codeset, Some(modifier)),
        None => (codeset, None),
    };
    let lower = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase());
    let (language, territory) = match name.split_once('_') {
        Some((language, territory)) => (language, Some(territory)),
        None => (name, None),
    };
    let good_name = name == "C"
        || (matches!(language.len(), 2 | 3)
            && lower(language)
            && territory.is_none_or(|t| t.len() == 2 && t.bytes().all(|b| b.is_ascii_uppercase())));
    if !good_name || modifier.is_some_and(|m| m.is_empty() || !lower(m)) {
        return Err(bad().hint(form));
    }
    if codeset != "UTF-8" {
        let suffix = modifier.map(|m| format!("@{m}")).unwrap_or_default();
        return Err(bad().hint(format!("write \"{name}.UTF-8{suffix}\"")));
    }
    Ok(text.to_owned())
}

fn sysctl_key(text: &str) -> Result<String, Invalid> {
    // Upper case because names of network interfaces such as enP4p65s0 are parts of keys.
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-/*".contains(c);
    let edge = |c: char| c == '.' || c == '/';
    let doubled = ["..", "//", "./", "/."].iter().any(|pair| text.contains(pair));
    if text.is_empty() || !text.chars().all(good) || text.starts_with(edge) || text.ends_with(edge) || doubled
    {
        return Err(Invalid::new(format!("{text:?} is not the name of a kernel parameter"))
            .hint("such as \"vm.swappiness\" or \"net.ipv4.conf.eth0/1.rp_filter\""));
    }
    if text.starts_with('-') || !text.contains(edge) {
        return Err(Invalid::new(format!("{text:?} is not the name of a kernel parameter"))
            .hint("its full name, such as \"vm.swappiness\""));
    }
    Ok(text.to_owned())
}

/// How much swap the machine has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Swap {
    /// What the machine's own mechanism would choose for its memory.
    #[default]
    Auto,
    /// No swap at all.
    None,
    /// This much.
    Size(Size),
}

serde_text!(Swap, "\"auto\", \"none\" or a size", "auto, none or size", "2GiB");

impl FromStr for Swap {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            text if text.starts_with(|c: char| c.is_ascii_digit()) => match text.parse() {
                Ok(size) => Ok(Self::Size(size)),
                Err(error) if text.starts_with('0') => Err(error.hint("for no swap write \"none\"")),
                Err(error) => Err(error),
            },
            text => {
                Err(Invalid::new(format!("{text:?} is not \"auto\", \"none\" or a size such as \"2GiB\"")))
            }
        }
    }
}

impl fmt::Display for Swap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Size(size) => size.fmt(f),
        }
    }
}

/// The value of a kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SysctlValue {
    /// A whole number.
    Integer(i64),
    /// A text of one line, such as `4096 87380 6291456`.
    Text(String),
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for SysctlValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for SysctlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl de::Visitor<'_> for Either {
            type Value = SysctlValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a text")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<SysctlValue, E> {
                Ok(SysctlValue::Integer(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<SysctlValue, E> {
                i64::try_from(number)
                    .map(SysctlValue::Integer)
                    .map_err(|_| E::custom("this number is too large"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SysctlValue, E> {
                if text.trim().is_empty() || text.chars().any(char::is_control) {
                    return Err(E::custom("the value of a kernel parameter is one line, and not empty"));
                }
                Ok(SysctlValue::Text(text.trim().to_owned()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for SysctlValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SysctlValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "format": "number or text", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_become_canonical() {
        assert_eq!("US/Eastern".parse::<TimeZone>().unwrap().as_str(), "America/New_York");
        let error = "Europe/Belrin".parse::<TimeZone>().unwrap_err();
        assert_eq!(error.hint.unwrap(), "did you mean \"Europe/Berlin\"?");
        let error = "new york".parse::<TimeZone>().unwrap_err();
        assert_eq!(error.hint.unwrap(), "did you mean \"America/New_York\"?");
        assert!("../../etc/passwd".parse::<TimeZone>().is_err());
    }

    #[test]
    fn locales_are_utf8() {
        for good in ["C.UTF-8", "en_GB.UTF-8", "de_DE.UTF-8", "ast_ES.UTF-8", "sr_RS.UTF-8@latin", "eo.UTF-8"]
        {
            assert!(good.parse::<Locale>().is_ok(), "{good}");
        }
        for bad in
            ["", "C", "en", "en_GB", "en_GB.utf8", "en-GB.UTF-8", "EN_gb.UTF-8", "en_GB.UTF-8@", "x\n.UTF-8"]
        {
            assert!(bad.parse::<Locale>().is_err(), "{bad}");
        }
    }

    #[test]
    fn kernel_parameters_cannot_leave_their_directory() {
        for good in
            ["vm.swappiness", "net/ipv4/ip_forward", "net.ipv4.conf.*.rp_filter", "net.ipv4.conf.eth0/1.x"]
        {
            assert!(good.parse::<SysctlKey>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "swappiness",
            "../../etc/passwd",
            "/vm/x",
            "vm..x",
            "vm./x",
            "vm.x=1",
            "-vm.x",
            "vm.x\n",
            "vm.",
        ] {
            assert!(bad.parse::<SysctlKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn swap_is_a_word_or_a_size() {
        assert_eq!("2G".parse::<Swap>().unwrap().to_string(), "2GiB");
        assert_eq!("none".parse::<Swap>().unwrap(), Swap::None);
        assert!("off".parse::<Swap>().is_err());
        assert_eq!("0B".parse::<Swap>().unwrap_err().hint.unwrap(), "for no swap write \"none\"");
    }
}
