//! Signatures of requests, AWS Signature Version 4.
//!
//! A hundred lines over ring, which TLS brings along anyway; the crates that sign need a newer compiler than Debian's or
//! bring a second HTTP client. Checked against the examples of Amazon's documentation (sigv4-create-canonical-request).

use std::fmt::Write;

use pitool_host::text::hex;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::{digest, hmac};

use super::credentials::Credentials;

/// A request to be signed. Names of headers are in small letters; `host` is among them.
pub(super) struct Request<'a> {
    /// GET, PUT, POST, DELETE or HEAD.
    pub(super) method: &'a str,
    /// The path, encoded.
    pub(super) path: &'a str,
    /// The query's names and values, not encoded.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Names and values of headers, sorted by name.
    pub(super) headers: &'a [(&'a str, String)],
    /// The SHA-256 of the body, in hexadecimal.
    pub(super) payload: &'a str,
}

/// The time as `x-amz-date` has it.
pub(super) fn stamp(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The header `Authorization`.
pub(super) fn authorization(
    request: &Request<'_>,
    credentials: &Credentials,
    region: &str,
    stamp: &str,
) -> String {
    let day = stamp.get(..8).unwrap_or(stamp);
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let scope = format!("{day}/{region}/s3/aws4_request");
    let canonical = canonical(request, &names);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = sign(format!("AWS4{}", credentials.secret).as_bytes(), day);
    for part in [region, "s3", "aws4_request"] {
        key = sign(key.as_ref(), part);
    }
    let signature = hex(sign(key.as_ref(), &text).as_ref());
    let id = &credentials.id;
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

fn canonical(request: &Request<'_>, names: &str) -> String {
    let mut text = format!("{}\n{}\n{}\n", request.method, request.path, query(request.query));
    for (name, value) in request.headers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}:{}", value.trim());
    }
    let _ = write!(text, "\n{names}\n{}", request.payload);
    text
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// A query as it is sent and signed: sorted, everything but letters, digits and `-._~` encoded.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let mut encoded: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)))
        .collect();
    encoded.sort();
    encoded.join("&")
}

/// Encodes what has a meaning in an address; a `/` only where it is not one that divides.
pub(super) fn encode(text: &str, keep_slash: bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn example() -> Credentials {
        Credentials {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        }
    }

    /// The examples of "Signature Calculations for the Authorization Header" in the Amazon S3 API reference.
    #[test]
    fn amazons_own_examples() {
        let host = ("host", "examplebucket.s3.amazonaws.com".to_owned());
        let date = ("x-amz-date", "20130524T000000Z".to_owned());
        let hash = |payload: &str| ("x-amz-content-sha256", payload.to_owned());
        let signature = |request: &Request<'_>| {
            let text = authorization(request, &example(), "us-east-1", "20130524T000000Z");
            text.rsplit_once("Signature=").unwrap().1.to_owned()
        };
        let headers = [host.clone(), ("range", "bytes=0-9".to_owned()), hash(EMPTY), date.clone()];
        let get = Request { method: "GET", path: "/test.txt", query: &[], headers: &headers, payload: EMPTY };
        assert_eq!(signature(&get), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");

        let payload = sha256(b"Welcome to Amazon S3.");
        let headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
            host.clone(),
            hash(&payload),
            date.clone(),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
        ];
        let path = encode("/test$file.text", true);
        let put = Request { method: "PUT", path: &path, query: &[], headers: &headers, payload: &payload };
        assert_eq!(signature(&put), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");

        let headers = [host, hash(EMPTY), date];
        let query = [("max-keys", "2"), ("prefix", "J")];
        let list = Request { method: "GET", path: "/", query: &query, headers: &headers, payload: EMPTY };
        assert_eq!(signature(&list), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn queries_are_sorted_and_encoded() {
        assert_eq!(query(&[("uploads", ""), ("prefix", "a b/ü")]), "prefix=a%20b%2F%C3%BC&uploads=");
    }
}
