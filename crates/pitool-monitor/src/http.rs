//! The little of HTTP/1 that both ends here need: reading a request's head, reading a whole answer (RFC 9112).

/// The most bytes of an answer that is read: a hundred containers are 200 KiB of Docker's JSON.
pub const BODY_LIMIT: usize = 2 << 20;

/// The most bytes of a request's head. Browsers with many cookies send 4 KiB.
pub const HEAD_LIMIT: usize = 8 << 10;

/// A request that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// Names in small letters, with their values.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// A header's value by its name in small letters; the first, where there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More must come.
    Partial,
    /// It is there.
    Complete(Request),
    /// It is none, and the connection is of no more use; the status that says so.
    Bad(u16),
}

/// Reads a request's head, once it is complete.
pub fn request(bytes: &[u8]) -> Progress {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() >= HEAD_LIMIT { Progress::Bad(431) } else { Progress::Partial };
    };
    if end > HEAD_LIMIT {
        return Progress::Bad(431);
    }
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else { return Progress::Bad(400) };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Progress::Bad(400);
    };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') || method.is_empty() {
        return Progress::Bad(400);
    }
    let mut headers = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return Progress::Bad(400) };
        if name.is_empty() || name.contains([' ', '\t']) {
            return Progress::Bad(400);
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Progress::Complete(Request { method: method.to_owned(), path, headers })
}

/// Reads a whole answer: its status and its body.
pub fn answer(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let chunked = head.lines().any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked")
    });
    Some((status, if chunked { unchunked(body)? } else { body.to_vec() }))
}

/// Puts the chunks of a body together; some servers send them to HTTP/1.0 too.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok().filter(|size| *size <= BODY_LIMIT)?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests() {
        let Progress::Complete(read) =
            request(b"GET /metrics?x=1 HTTP/1.1\r\nHost: pi\r\nAuthorization:  Bearer x \r\n\r\n")
        else {
            panic!("a good request")
        };
        assert_eq!((read.method.as_str(), read.path.as_str()), ("GET", "/metrics"));
        assert_eq!(read.header("authorization"), Some("Bearer x"));
        assert_eq!(request(b"GET / HTTP/1.1\r\nHost"), Progress::Partial);
        for bad in [
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / SPDY/3\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET http://x/ HTTP/1.1\r\n\r\n",
            "G\0T / HTTP/1.1\r\n x: folded\r\n\r\n",
        ] {
            assert_eq!(request(bad.as_bytes()), Progress::Bad(400), "{bad}");
        }
        assert_eq!(request(&vec![b'a'; HEAD_LIMIT]), Progress::Bad(431));
    }

    #[test]
    fn answers() {
        assert_eq!(answer(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello"), Some((200, b"hello".to_vec())));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(answer(chunked), Some((200, b"abcde".to_vec())));
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc"), None);
        assert_eq!(answer(b"220 smtp\r\n\r\n"), None);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = request(&bytes);
            let _ = answer(&bytes);
            let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            chunked.extend(&bytes);
            let _ = answer(&chunked);
        }
    }
}
