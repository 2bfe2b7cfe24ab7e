//! Lines of `~/.ssh/authorized_keys`, sshd(8) "AUTHORIZED_KEYS FILE FORMAT".

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

/// A key that can open a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Options before the key, as written; empty for none.
    pub options: String,
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`, …
    pub kind: String,
    /// The key in base64.
    pub body: String,
    /// What follows, usually `user@host`.
    pub comment: String,
}

impl Key {
    /// The size of an RSA key in bits (RFC 4253, section 6.6: the modulus is the third field); `None` of other types.
    pub fn rsa_bits(&self) -> Option<u32> {
        let blob = BASE64_STANDARD.decode(&self.body).ok()?;
        let (kind, rest) = string(&blob)?;
        if kind != b"ssh-rsa" {
            return None;
        }
        let (_, rest) = string(rest)?;
        let (modulus, _) = string(rest)?;
        let at = modulus.iter().position(|byte| *byte != 0)?;
        let bytes = u32::try_from(modulus.len() - at).ok()?;
        Some(bytes * 8 - modulus[at].leading_zeros())
    }

    /// The names of the options in lower case, each once, in order (sshd(8)).
    pub fn option_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let (mut quoted, mut escaped, mut name, mut in_value) = (false, false, String::new(), false);
        for character in self.options.chars().chain([',']) {
            match character {
                '"' if !escaped => quoted = !quoted,
                ',' if !quoted => {
                    let found = name.trim().to_ascii_lowercase();
                    if !found.is_empty() && !names.contains(&found) {
                        names.push(found);
                    }
                    name.clear();
                    in_value = false;
                }
                '=' if !quoted => in_value = true,
                _ if !in_value => name.push(character),
                _ => {}
            }
            escaped = character == '\\' && !escaped;
        }
        names
    }
}

/// Reads a line. A blank line or comment is `None`; a line that sshd would not accept is an error that says why.
pub fn parse_line(line: &str) -> Result<Option<Key>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (options, rest) = if is_kind(first(line).0) {
        ("", line)
    } else {
        let (options, rest) = split_options(line)?;
        (options, rest.trim_start())
    };
    let (kind, rest) = first(rest);
    if !is_kind(kind) {
        return Err("the type of the key is missing or unknown");
    }
    let (body, comment) = first(rest);
    let blob = BASE64_STANDARD.decode(body).ok().filter(|blob| !blob.is_empty());
    let blob = blob.ok_or("the key is not base64: it may be cut off or broken into lines")?;
    let (embedded, data) = string(&blob).ok_or("the key is too short")?;
    if embedded != kind.as_bytes() {
        return Err("the key is of another type than the line says");
    }
    // Every type has at least one more field; that of ed25519 is 32 bytes long (RFC 8709).
    let whole = |field: &[u8]| if kind == "ssh-ed25519" { field.len() == 32 } else { !field.is_empty() };
    string(data).filter(|(field, _)| whole(field)).ok_or("the key is cut off")?;
    Ok(Some(Key {
        options: options.to_owned(),
        kind: kind.to_owned(),
        body: body.to_owned(),
        comment: comment.to_owned(),
    }))
}

/// The types that OpenSSH 9 and 10 know, without DSA, which they refuse.
fn is_kind(word: &str) -> bool {
    let plain = word.strip_suffix("-cert-v01@openssh.com").unwrap_or(word);
    matches!(
        plain,
        "ssh-ed25519" | "ssh-rsa" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521"
    ) || matches!(
        plain.strip_suffix("@openssh.com").unwrap_or(plain),
        "sk-ssh-ed25519" | "sk-ecdsa-sha2-nistp256"
    )
}

fn first(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// Options end at the first blank that is not within double quotes.
fn split_options(line: &str) -> Result<(&str, &str), &'static str> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match character {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok(line.split_at(at)),
            _ => {}
        }
        escaped = character == '\\' && !escaped;
    }
    Err(if quoted { "a quote of the options is not closed" } else { "there is no key on the line" })
}

/// The first length-prefixed string of a key (RFC 4251, section 5), and the rest.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(modulus: &[u8]) -> Key {
        let field = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap();
            [&length.to_be_bytes()[..], bytes].concat()
        };
        let blob = [field(b"ssh-rsa"), field(&[1, 0, 1]), field(modulus)].concat();
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut body = String::new();
        for chunk in blob.chunks(3) {
            let bits = chunk
                .iter()
                .chain([&0; 3])
                .take(3)
                .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            for at in 0..4 {
                let digit = char::from(digits[bits >> (18 - 6 * at) & 63]);
                body.push(if at > chunk.len() { '=' } else { digit });
            }
        }
        parse_line(&format!("ssh-rsa {body} x")).unwrap().unwrap()
    }

    #[test]
    fn how_long_an_rsa_key_is() {
        assert_eq!(rsa(&[&[0, 0x80][..], &[0; 127]].concat()).rsa_bits(), Some(1024));
        assert_eq!(rsa(&[&[0x40][..], &[0; 127]].concat()).rsa_bits(), Some(1023));
        assert_eq!(rsa(&[&[0, 0xff][..], &[1; 383]].concat()).rsa_bits(), Some(3072));
        let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g pi";
        assert_eq!(parse_line(other).unwrap().unwrap().rsa_bits(), None);
    }

    #[test]
    fn options_by_name() {
        let key = |options: &str| Key {
            options: options.to_owned(),
            kind: String::new(),
            body: String::new(),
            comment: String::new(),
        };
        let names = |options: &str| key(options).option_names();
        assert_eq!(names(""), [""; 0]);
        assert_eq!(names("no-PTY,Command=\"a,b=\\\"c\",from=\"10.0.0.1,!x\""), ["no-pty", "command", "from"]);
        assert_eq!(names("environment=\"FROM=x\""), ["environment"]);
    }
}
