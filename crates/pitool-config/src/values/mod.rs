//! The typed values of the config: each is parsed once, and a value that exists is a good one.

mod backup;
mod key;
mod names;
mod net;
mod paths;
mod quantity;
mod schedule;
mod system;

pub use backup::{
    AgeRecipient, BackupName, BucketName, Pattern, RemotePath, SshHost, SshUser, UnitName, VolumeName,
};
pub use key::PublicKey;
pub use names::{
    AppName, Argument, Comment, EnvName, EnvValue, FullName, HostName, KeyId, MailAddress, PackageName,
    ServerName, Template, UserName, Word,
};
pub use net::{Address, Cidr, Port, Ports, Source, Url};
pub use paths::{AbsolutePath, UnixShell};
pub use quantity::{Duration, Size, TimeOfDay};
pub use schedule::CronTime;
pub use system::{Locale, Swap, SysctlKey, SysctlValue, TimeZone};

/// Why a text is not a value of its type: the problem on the first line, and on a second one what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default())]
pub struct Invalid {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Invalid {
    /// Says what is wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Finds the candidate that a person probably meant; `None` where nothing is near.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= (word.len().max(candidate.len()) / 3).clamp(1, 4))
        .map(|(_, candidate)| candidate)
}

/// Gives a type that has `FromStr` and `Display` its serde and its schema, as a string.
macro_rules! serde_text {
    ($name:ident, $what:literal, $format:literal, $example:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!($what, " such as \"", $example, "\""))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $format, "examples": [$example] })
            }
        }
    };
}

/// Declares a type that is a text which passed a check.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $format:literal, $example:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::values::Invalid;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> Result<String, $crate::values::Invalid> = $check;
                check(text).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        $crate::values::serde_text!($name, $what, $format, $example);
    };
}

pub(crate) use serde_text;
pub(crate) use text;
