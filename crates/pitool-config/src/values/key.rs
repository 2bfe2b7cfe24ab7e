//! Public keys as OpenSSH writes them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Invalid, text};

text! {
    /// A line of an `authorized_keys` file: maybe options, the type, the key in base64, maybe a comment.
    PublicKey, "a public key", "public key", "ssh-ed25519 AAAA… ada@laptop", public_key
}

/// The types that sshd accepts, each with the number of fields in the key, its own name being the first.
const TYPES: [(&str, usize); 7] = [
    ("ssh-ed25519", 2),
    ("ssh-rsa", 3),
    ("ecdsa-sha2-nistp256", 3),
    ("ecdsa-sha2-nistp384", 3),
    ("ecdsa-sha2-nistp521", 3),
    ("sk-ssh-ed25519@openssh.com", 3),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 4),
];

impl PublicKey {
    /// The type of the key, such as `ssh-ed25519`.
    pub fn kind(&self) -> &str {
        self.fields().0
    }

    /// The key itself, in base64; two lines with the same one are the same key.
    pub fn body(&self) -> &str {
        self.fields().1
    }

    fn fields(&self) -> (&str, &str) {
        split(self.as_str()).unwrap_or((self.as_str(), ""))
    }
}

/// Finds the type and the body of a line, after its options if it has any.
fn split(line: &str) -> Option<(&str, &str)> {
    let known = |word: &str| TYPES.iter().any(|(name, _)| *name == word);
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    if known(first) {
        return Some((first, words.next().unwrap_or_default()));
    }
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                let mut words = line[at..].split_ascii_whitespace();
                let kind = words.next().filter(|word| known(word))?;
                return Some((kind, words.next().unwrap_or_default()));
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

fn public_key(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        return Err(
            Invalid::new("this is a private key").hint("use the file that ends in .pub, and make a new pair")
        );
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Invalid::new("a public key is one line")
            .hint("one line of the file for each element of the list"));
    }
    if text.split_ascii_whitespace().next() == Some("ssh-dss") {
        return Err(Invalid::new("OpenSSH no longer accepts keys of type ssh-dss")
            .hint("make one of type ssh-ed25519"));
    }
    let (kind, body) = split(text).ok_or_else(|| {
        Invalid::new("this is not a public key of OpenSSH")
            .hint("such as \"ssh-ed25519 AAAA… ada@laptop\", as in a file that ends in .pub")
    })?;
    let broken = |why: &str| {
        Invalid::new(format!("this {kind} key is damaged: {why}")).hint("copy the whole line again")
    };
    let blob = BASE64_STANDARD.decode(body).ok().filter(|blob| !blob.is_empty());
    let blob = blob.ok_or_else(|| broken("its second part is not base64"))?;
    let fields = wire_fields(&blob).ok_or_else(|| broken("it is cut off or has bytes too many"))?;
    if fields.first().copied() != Some(kind.as_bytes()) {
        return Err(broken("the key inside is of another type"));
    }
    let wanted = TYPES.iter().find(|(name, _)| *name == kind).map(|(_, number)| *number);
    if Some(fields.len()) != wanted || (kind == "ssh-ed25519" && fields[1].len() != 32) {
        return Err(broken("it is cut off or has bytes too many"));
    }
    // sshd refuses shorter ones (RequiredRSASize); the modulus may have a leading zero byte.
    if kind == "ssh-rsa" && fields[2].len() < 128 {
        return Err(
            Invalid::new("this RSA key is shorter than 1024 bits").hint("make one of type ssh-ed25519")
        );
    }
    Ok(text.to_owned())
}

/// Splits a key into its fields, each of which starts with its length in four bytes.
fn wire_fields(blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = blob;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        fields.push(after.get(..length)?);
        rest = &after[length..];
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhTZ0eb0iNsZ1KIpqQ8LSCDKYFsf/ytYU1jcTqR0ECl ada@laptop";

    #[test]
    fn a_good_key_passes_with_and_without_options() {
        assert_eq!(ED25519.parse::<PublicKey>().unwrap().kind(), "ssh-ed25519");
        let with = format!("from=\"10.0.0.0/8, fd00::/8\",command=\"echo \\\"x y\\\"\" {ED25519}");
        let key: PublicKey = with.parse().unwrap();
        assert!(key.body().starts_with("AAAAC3"));
    }

    #[test]
    fn damaged_keys_are_refused() {
        let cut = &ED25519[..60];
        let other = ED25519.replacen("ssh-ed25519", "ssh-rsa", 1);
        let changed = ED25519.replacen("AAAAC3", "AAAAC4", 1);
        for bad in
            [cut, &other, &changed, "", "ssh-ed25519", "ssh-dss AAAA", "hello", "-----BEGIN PRIVATE KEY-----"]
        {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
        assert!(format!("{ED25519}\n{ED25519}").parse::<PublicKey>().is_err());
    }
}
