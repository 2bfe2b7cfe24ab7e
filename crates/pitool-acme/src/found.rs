//! A certificate for our names that the machine has already: certbot's, or the one that a site of nginx uses.
//!
//! A site that is served over HTTPS must not get a self-signed placeholder because pitool has no certificate yet. What is
//! found is copied; the files stay where they are, and whoever renews them goes on renewing them.

use pitool_host::{Content, Inspect, Result};
use pitool_net::certificate::{self, Certificate};

use crate::certbot;
use crate::issue::Material;
use crate::storage::ROOT;

/// Where certbot has its certificates.
const LIVE: &str = "/etc/letsencrypt/live";

/// What nginx includes, by Debian's nginx.conf.
const SITES: [&str; 2] = ["/etc/nginx/sites-enabled", "/etc/nginx/conf.d"];

/// A certificate with its key, found outside of the store.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file of the certificate with its chain.
    pub path: String,
    /// The directory of the CA that issued it; empty where that is not known.
    pub directory: String,
    /// What the certificate says.
    pub certificate: Certificate,
    /// Both texts.
    pub material: Material,
}

/// Finds the certificate that is good for most of the names, and of those the one that is good for longest. It has to be
/// signed by somebody, to belong to its key, and not to have expired. One that is not good yet counts: on a Pi it is the
/// clock that is wrong.
///
/// # Errors
/// The machine's, for the directories. A file that cannot be read or understood is passed over.
pub fn best(host: &dyn Inspect, names: &[String]) -> Result<Option<Found>> {
    let now = host.now();
    let mut best: Option<(usize, Found)> = None;
    for (path, key) in places(host)? {
        let Some(found) = read(host, path, &key) else { continue };
        let covered = names.iter().filter(|name| found.certificate.covers(name)).count();
        if covered == 0 || found.certificate.self_signed || found.certificate.not_after <= now {
            continue;
        }
        let rank = |covered: usize, found: &Found| (covered, found.certificate.not_after);
        if best.as_ref().is_none_or(|(other, than)| rank(covered, &found) > rank(*other, than)) {
            best = Some((covered, found));
        }
    }
    Ok(best.map(|(_, found)| found))
}

/// The files of certificates and their keys, without those of our own store.
fn places(host: &dyn Inspect) -> Result<Vec<(String, String)>> {
    let mut places = Vec::new();
    for name in host.list(LIVE)?.unwrap_or_default() {
        places.push((format!("{LIVE}/{name}/fullchain.pem"), format!("{LIVE}/{name}/privkey.pem")));
    }
    for directory in SITES {
        for name in host.list(directory)?.unwrap_or_default() {
            if directory.ends_with("conf.d") && !name.ends_with(".conf") {
                continue;
            }
            places.extend(pairs(&with_includes(host, &format!("{directory}/{name}"))));
        }
    }
    places.retain(|(path, _)| !path.starts_with(ROOT));
    places.dedup();
    Ok(places)
}

/// A file of nginx's without its comments, with the files that it includes by name in their places.
fn with_includes(host: &dyn Inspect, path: &str) -> String {
    let text = |path: &str| -> String {
        let content = host.read(path).ok().flatten();
        let text = content.as_ref().and_then(Content::text).unwrap_or_default();
        let bare: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
        bare.join("\n")
    };
    let mut whole = String::new();
    for piece in text(path).split_inclusive([';', '{', '}']) {
        match piece.trim().strip_prefix("include ").map(|rest| rest.trim_end_matches(';').trim()) {
            Some(file) if !file.contains('*') => whole.push_str(&text(&absolute(file))),
            _ => whole.push_str(piece),
        }
    }
    whole
}

/// A path as nginx takes it: below its own directory where it is not absolute.
fn absolute(path: &str) -> String {
    let path = path.trim_matches(['"', '\'']);
    if path.starts_with('/') { path.to_owned() } else { format!("/etc/nginx/{path}") }
}

/// The certificates and keys of the blocks of a configuration.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut certificate, mut key) = (None, None);
    let mut take = |certificate: &mut Option<String>, key: &mut Option<String>| {
        if let (Some(certificate), Some(key)) = (certificate.take(), key.take()) {
            found.push((certificate, key));
        }
    };
    for piece in text.split_inclusive([';', '{', '}']) {
        let mut words = piece.trim_end_matches([';', '{', '}']).split_whitespace();
        match (words.next(), words.next()) {
            (Some("ssl_certificate"), Some(path)) => {
                if certificate.is_some() {
                    take(&mut certificate, &mut key);
                }
                certificate = Some(absolute(path));
            }
            (Some("ssl_certificate_key"), Some(path)) => {
                if key.is_some() {
                    take(&mut certificate, &mut key);
                }
                key = Some(absolute(path));
            }
            (Some("server"), _) => take(&mut certificate, &mut key),
            _ => {}
        }
    }
    take(&mut certificate, &mut key);
    found
}

fn read(host: &dyn Inspect, path: String, key: &str) -> Option<Found> {
    let text = |path: &str| -> Option<String> {
        let content = host.read(path).ok()??;
        Some(content.text()?.to_owned())
    };
    let material = Material { fullchain: text(&path)?, key: text(key)? };
    let certificate = certificate::pair(&material.fullchain, &material.key).ok()?;
    let lineage = path.strip_prefix(LIVE).and_then(|rest| rest.trim_start_matches('/').split('/').next());
    let directory = lineage.and_then(|name| certbot::server(host, name)).unwrap_or_default();
    Some(Found { path, directory, certificate, material })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_names_its_certificate_and_its_key() {
        let text = "ssl_certificate_key /k/http; ssl_certificate /c/http;\nserver { listen 443 ssl; ssl_certificate /c/a; \
                    ssl_certificate_key \"/k/a\"; location / { } }\nserver { listen 80; }\nserver {\n\
                    ssl_certificate certs/b;\n ssl_certificate_key certs/b.key;\n}\nserver { ssl_certificate /c/alone; }";
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            pairs(text),
            [
                pair("/c/http", "/k/http"),
                pair("/c/a", "/k/a"),
                pair("/etc/nginx/certs/b", "/etc/nginx/certs/b.key")
            ]
        );
    }
}
