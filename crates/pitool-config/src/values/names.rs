//! Names of users, hosts, packages and apps.

use super::{Invalid, text};

text! {
    /// The name of a user or a group, by Debian's rule: `[a-z_][a-z0-9_-]*`, at most 32 characters.
    UserName, "a user name", "user name", "pi", user_name
}
text! {
    /// The name of a Debian package, by Debian policy 5.6.1.
    PackageName, "a package name", "package name", "htop", package_name
}
text! {
    /// The name of a machine: labels of letters, digits and hyphens, at most 63 characters in all.
    HostName, "a host name", "host name", "kitchen-pi", host_name
}
text! {
    /// The name under which a site is asked for, in lower case; the first label may be `*`.
    ServerName, "a host name", "host name", "app.example.org", server_name
}
text! {
    /// The name of an app, which is also the name of its files: `[a-z0-9][a-z0-9_-]*`, at most 64 characters.
    AppName, "an app name", "app name", "my_app", app_name
}
text! {
    /// The name of an environment variable.
    EnvName, "a variable name", "variable name", "LOG_LEVEL", env_name
}
text! {
    /// The value of an environment variable: one line.
    EnvValue, "a text", "text", "info", |text| one_line(text, "")
}
text! {
    /// A word of a command, which no shell reads: one line.
    Argument, "a text", "text", "/usr/local/bin/hook", argument
}
text! {
    /// The id of an account or key, as somebody else gave it: one line.
    KeyId, "a text", "text", "kid-1", argument
}
text! {
    /// A remark beside a firewall rule: one line without quotes, because ufw takes none there.
    Comment, "a text", "text", "the port for tests", |text| one_line(text, "'\"\\")
}
text! {
    /// A person's name as the password file holds it: one line without colons and commas.
    FullName, "a text", "text", "Ada Lovelace", |text| one_line(text, ":,")
}
text! {
    /// A text that goes into a request: printable, at most 4 KiB.
    Template, "a text", "text", "{title}: {text}", template
}
text! {
    /// A word of letters, digits, dots, hyphens and underscores.
    Word, "a word", "word", "production", word
}
text! {
    /// Where mail goes: a local user or an address.
    MailAddress, "a mail address", "mail address", "admin@example.org", mail_address
}

impl UserName {
    /// The group of keys whose config names none.
    pub(crate) fn root() -> Self {
        Self("root".to_owned())
    }

    /// The user of an app whose config names none.
    pub(crate) fn app() -> Self {
        Self("appuser".to_owned())
    }
}

impl Template {
    /// What a body of JSON is called.
    pub(crate) fn json() -> Self {
        Self("application/json".to_owned())
    }
}

impl Word {
    /// The deployment of an app whose config names none.
    pub(crate) fn production() -> Self {
        Self("production".to_owned())
    }

    /// The region of a bucket whose config names none: what servers other than Amazon's take for "any".
    pub(crate) fn s3_region() -> Self {
        Self("us-east-1".to_owned())
    }
}

/// Finds the first character that is not allowed.
fn stray(text: &str, allowed: impl Fn(char) -> bool) -> Option<char> {
    text.chars().find(|c| !allowed(*c))
}

fn user_name(text: &str) -> Result<String, Invalid> {
    let rule = "small letters, digits, `_` and `-`, not starting with a digit or `-`, at most 32 characters";
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let first = text.chars().next();
    if stray(text, good).is_some()
        || text.len() > 32
        || first.is_none_or(|c| !(c.is_ascii_lowercase() || c == '_'))
    {
        return Err(Invalid::new(format!("{text:?} is not a valid user or group name")).hint(rule));
    }
    Ok(text.to_owned())
}

fn package_name(text: &str) -> Result<String, Invalid> {
    let rule = "at least two of small letters, digits, `+`, `-` and `.`, starting with a letter or digit";
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if stray(text, good).is_some() || !starts || text.len() < 2 {
        return Err(Invalid::new(format!("{text:?} is not a valid package name")).hint(rule));
    }
    Ok(text.to_owned())
}

/// Says what is wrong with the labels of a host name.
fn labels(text: &str) -> Result<(), Invalid> {
    let bad = |why: &str| Err(Invalid::new(format!("{text:?} is not a valid host name: {why}")));
    if text.is_empty() {
        return bad("it is empty");
    }
    for label in text.split('.') {
        if label.is_empty() {
            return bad("a part between dots is empty");
        }
        if label.len() > 63 {
            return bad("a part between dots has more than 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return bad("a part starts or ends with a hyphen");
        }
        if let Some(c) = stray(label, |c| c.is_ascii_alphanumeric() || c == '-') {
            return bad(&format!("{c:?} is not a letter, digit or hyphen"));
        }
    }
    Ok(())
}

fn host_name(text: &str) -> Result<String, Invalid> {
    labels(text)?;
    if text.len() > 63 {
        return Err(Invalid::new("a machine's host name has at most 63 characters"));
    }
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(Invalid::new(format!("{text:?} is not a valid host name: it has no letter")));
    }
    Ok(text.to_owned())
}

fn server_name(text: &str) -> Result<String, Invalid> {
    labels(text.strip_prefix("*.").unwrap_or(text)).map_err(|error| {
        if text.contains("://") || text.contains('/') {
            return error.hint("the name alone, without http:// and path");
        }
        error
    })?;
    if text.len() > 253 {
        return Err(Invalid::new("a host name has at most 253 characters"));
    }
    Ok(text.to_ascii_lowercase())
}

fn app_name(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if stray(text, good).is_some() || !starts || text.len() > 64 {
        let rule =
            "small letters, digits, `_` and `-`, starting with a letter or digit, at most 64 characters";
        return Err(Invalid::new(format!("{text:?} is not a valid app name")).hint(rule));
    }
    if text == "default" || text == "pitool" {
        return Err(Invalid::new(format!("an app cannot be called {text:?}: a site has that name already")));
    }
    Ok(text.to_owned())
}

fn env_name(text: &str) -> Result<String, Invalid> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if stray(text, |c| c.is_ascii_alphanumeric() || c == '_').is_some() || !starts {
        let rule = "letters, digits and `_`, not starting with a digit";
        return Err(Invalid::new(format!("{text:?} is not a valid name of a variable")).hint(rule));
    }
    Ok(text.to_owned())
}

/// Checks a text of one line without some characters.
fn one_line(text: &str, without: &str) -> Result<String, Invalid> {
    match stray(text, |c| !c.is_control() && !without.contains(c)) {
        Some('\n' | '\r') => Err(Invalid::new("this must be one line")),
        Some(c) => Err(Invalid::new(format!("{c:?} is not allowed here"))),
        None => Ok(text.to_owned()),
    }
}

fn argument(text: &str) -> Result<String, Invalid> {
    if text.is_empty() {
        return Err(Invalid::new("this must not be empty"));
    }
    one_line(text, "")
}

fn template(text: &str) -> Result<String, Invalid> {
    if text.is_empty() || text.len() > 4096 {
        return Err(Invalid::new("this must have between 1 and 4096 bytes"));
    }
    match stray(text, |c| !c.is_control() || matches!(c, '\n' | '\t')) {
        Some(c) => Err(Invalid::new(format!("{c:?} is not allowed here"))),
        None => Ok(text.to_owned()),
    }
}

fn word(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || stray(text, good).is_some() {
        return Err(Invalid::new(format!("{text:?} is not one word of letters, digits, `.`, `-` and `_`")));
    }
    Ok(text.to_owned())
}

fn mail_address(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._%+-=".contains(c);
    let (local, host) = match text.split_once('@') {
        Some((local, host)) => (local, Some(host)),
        None => (text, None),
    };
    if local.is_empty() || local.starts_with('-') || stray(local, good).is_some() {
        return Err(Invalid::new(format!("{text:?} is not a mail address")).hint("a local user or user@host"));
    }
    if let Some(host) = host {
        labels(host)
            .map_err(|error| Invalid::new(format!("{text:?} is not a mail address: {}", error.message)))?;
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for good in ["pi", "_apt", "www-data", "a23456789012345678901234567890_2"] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", "Pi", "1pi", "-pi", "pi:x", "../pi", "a234567890123456789012345678901_3", "p i", "pí"]
        {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
        for good in ["vim", "g++", "libstdc++6", "0ad", "linux-image-6.1"] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
        for bad in ["", "x", "Vim", "-f", "vim curl", "vim=2", "a_b"] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
        for good in ["pi", "kitchen-pi", "pi.example.org", "PI4"] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in ["", "-pi", "pi-", "my_pi", "a..b", "pi.", "10.0.0.1", "pi 4"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
        assert_eq!("*.Example.ORG".parse::<ServerName>().unwrap().as_str(), "*.example.org");
        assert!("a.*.org".parse::<ServerName>().is_err());
        assert!("x;return".parse::<ServerName>().is_err());
        assert!("admin@example.org".parse::<MailAddress>().is_ok());
        assert!("root".parse::<MailAddress>().is_ok());
        assert!("a b@example.org".parse::<MailAddress>().is_err());
        assert!("flutter_grist_app".parse::<AppName>().is_ok());
        assert!("../x".parse::<AppName>().is_err());
        assert!("two\nlines".parse::<EnvValue>().is_err());
    }
}
