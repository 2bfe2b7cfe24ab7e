//! Names and texts of backups.

use super::{Invalid, text};

text! {
    /// The name of a set or a target of backups, which is also part of file names: `[a-z0-9][a-z0-9_-]*`.
    BackupName, "a name", "name", "photos", name
}
text! {
    /// A pattern of paths that are left out of a backup.
    Pattern, "a pattern", "pattern", "*.cache", |text| plain(text, "a pattern")
}
text! {
    /// The name of a Docker volume.
    VolumeName, "a volume name", "volume name", "grist_data", volume
}
text! {
    /// The name of a systemd unit that can be stopped and started, with its suffix.
    UnitName, "a unit name", "unit name", "nginx.service", unit
}
text! {
    /// A public key to which archives are encrypted, as `age-keygen` prints it.
    AgeRecipient, "an age recipient", "age recipient",
    "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", recipient
}
text! {
    /// The name or address of a machine that ssh(1) reaches, or an alias in its config.
    SshHost, "a host", "host", "nas.local", ssh_host
}
text! {
    /// The name of a user on another machine.
    SshUser, "a user name", "user name", "backup", ssh_user
}
text! {
    /// A path on another machine: absolute, or below the directory in which a login there begins.
    RemotePath, "a path", "path", "backups/kitchen-pi", remote_path
}
text! {
    /// The name of an S3 bucket.
    BucketName, "a bucket name", "bucket name", "pi-backups", bucket
}

impl RemotePath {
    /// Where archives go on another machine whose config names no place.
    pub(crate) fn below_login() -> Self {
        Self("pitool-backups".to_owned())
    }
}

impl UnitName {
    /// The web server's unit.
    pub fn nginx() -> Self {
        Self("nginx.service".to_owned())
    }
}

fn name(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !starts || !text.chars().all(good) || text.len() > 40 {
        let rule =
            "small letters, digits, `_` and `-`, starting with a letter or digit, at most 40 characters";
        return Err(Invalid::new(format!("{text:?} is not a valid name")).hint(rule));
    }
    Ok(text.to_owned())
}

/// Refuses what is empty or of more than one line.
fn plain(text: &str, what: &str) -> Result<String, Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(format!("{what} cannot be empty")));
    }
    printable(text)
}

fn printable(text: &str) -> Result<String, Invalid> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(Invalid::new(format!("{c:?} is not allowed here"))),
        None => Ok(text.to_owned()),
    }
}

fn volume(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(good) {
        return Err(Invalid::new(format!("{text:?} is not the name of a Docker volume"))
            .hint("`docker volume ls` lists them; a directory belongs in `paths`"));
    }
    Ok(text.to_owned())
}

fn unit(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || ":_.-@\\".contains(c);
    let known = [".service", ".socket", ".timer", ".target", ".path"];
    if text.starts_with('-') || !text.chars().all(good) {
        return Err(Invalid::new(format!("{text:?} is not the name of a unit")));
    }
    if !known.iter().any(|suffix| text.len() > suffix.len() && text.ends_with(suffix)) {
        return Err(Invalid::new(format!("{text:?} is not the whole name of a unit"))
            .hint(format!("write \"{text}.service\"")));
    }
    Ok(text.to_owned())
}

/// The letters of bech32, in the order of their values (BIP 173).
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Whether the checksum of bech32 fits: one letter typed wrong, and nobody could ever open an archive.
fn bech32_fits(prefix: &str, data: &str) -> Option<bool> {
    let mut sum: u32 = 1;
    let mut add = |value: u32| {
        let top = sum >> 25;
        sum = ((sum & 0x1ff_ffff) << 5) ^ value;
        for (bit, generator) in
            [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3].iter().enumerate()
        {
            if top >> bit & 1 == 1 {
                sum ^= generator;
            }
        }
    };
    prefix.bytes().for_each(|byte| add(u32::from(byte) >> 5));
    add(0);
    prefix.bytes().for_each(|byte| add(u32::from(byte) & 31));
    for letter in data.chars() {
        add(u32::try_from(BECH32.find(letter)?).ok()?);
    }
    Some(sum == 1)
}

fn recipient(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    if text.to_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Err(Invalid::new("this is a secret key of age")
            .hint("use the public key, which begins with age1; `age-keygen -y FILE` prints it"));
    }
    let bad = |why: &str| {
        Err(Invalid::new(format!("{text:?} is not an age recipient: {why}"))
            .hint("`age-keygen -y FILE` prints it; it begins with age1 and has 62 characters"))
    };
    let Some(data) = text.strip_prefix("age1") else { return bad("it does not begin with age1") };
    if text.len() != 62 {
        return bad(&format!("it has {} characters", text.len()));
    }
    match bech32_fits("age", data) {
        Some(true) => Ok(text.to_owned()),
        Some(false) => bad("a character of it is wrong"),
        None => bad("it has a character that no recipient has"),
    }
}

fn ssh_host(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(good) {
        let hint = if text.contains('@') { "put the user in `user`" } else { "the name or address alone" };
        return Err(Invalid::new(format!("{text:?} is not the name of a machine")).hint(hint));
    }
    Ok(text.to_owned())
}

fn ssh_user(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(good) {
        return Err(Invalid::new(format!("{text:?} is not the name of a user")));
    }
    Ok(text.to_owned())
}

fn remote_path(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=".contains(c);
    if let Some(c) = text.chars().find(|c| !good(*c)) {
        return Err(Invalid::new(format!("{c:?} is not allowed in this path")).hint(
            "letters, digits and `/ . _ - + @ , =`; without a `/` in front it is below the login directory",
        ));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() || parts.contains(&"..") || parts.iter().any(|part| part.starts_with('-')) {
        return Err(Invalid::new(format!("{text:?} is not a path for backups")));
    }
    Ok(format!("{}{}", if text.starts_with('/') { "/" } else { "" }, parts.join("/")))
}

fn bucket(text: &str) -> Result<String, Invalid> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let (first, last) = (text.chars().next(), text.chars().last());
    if !(3..=63).contains(&text.len()) || !text.chars().all(good) || !ends(first) || !ends(last) {
        let rule = "3 to 63 small letters, digits, `.` and `-`, with a letter or digit at both ends";
        return Err(Invalid::new(format!("{text:?} is not the name of a bucket")).hint(rule));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_with_one_letter_wrong_is_none() {
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        assert_eq!(good.parse::<AgeRecipient>().unwrap().as_str(), good);
        for at in 4..good.len() {
            let mut wrong: Vec<u8> = good.bytes().collect();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(wrong.parse::<AgeRecipient>().is_err(), "{wrong}");
        }
        let secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        let error = secret.parse::<AgeRecipient>().unwrap_err().to_string();
        assert!(error.contains("secret key") && !error.contains("GFPYY"), "{error}");
    }

    #[test]
    fn names_and_places() {
        for bad in ["", "-a", "A", "a/b", "..", "a b"] {
            assert!(bad.parse::<BackupName>().is_err(), "{bad}");
        }
        for bad in ["", "-oProxyCommand=x", "a b", "user@host", "a;b"] {
            assert!(bad.parse::<SshHost>().is_err(), "{bad}");
        }
        assert_eq!("/a//b/".parse::<RemotePath>().unwrap().as_str(), "/a/b");
        assert_eq!("a/./b".parse::<RemotePath>().unwrap().as_str(), "a/b");
        for bad in ["", "/", ".", "../x", "a/../b", "a b", "$HOME/x", "~/x", "-x"] {
            assert!(bad.parse::<RemotePath>().is_err(), "{bad}");
        }
        assert_eq!("nginx".parse::<UnitName>().unwrap_err().hint.unwrap(), "write \"nginx.service\"");
        assert!("-nginx.service".parse::<UnitName>().is_err());
        for bad in ["ab", "Bucket", "a_b", "-abc", "abc-"] {
            assert!(bad.parse::<BucketName>().is_err(), "{bad}");
        }
        assert!("/opt/x".parse::<VolumeName>().is_err());
    }
}
