//! The little of HTTP/1 that the server needs: reading a request's head (RFC 9112).

/// The most bytes of a request's head. Browsers with many cookies send 4 KiB.
pub const HEAD_LIMIT: usize = 8 << 10;

/// The most lines of it. Browsers behind a proxy send 30.
const HEADERS: usize = 64;

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
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(end)) if end <= HEAD_LIMIT => {}
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_LIMIT => return Progress::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Progress::Bad(431),
        Err(_) => return Progress::Bad(400),
    }
    let (Some(method), Some(target)) = (head.method, head.path.filter(|target| target.starts_with('/')))
    else {
        return Progress::Bad(400);
    };
    let mut read = Vec::new();
    for header in head.headers.iter() {
        let Ok(value) = std::str::from_utf8(header.value) else { return Progress::Bad(400) };
        read.push((header.name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Progress::Complete(Request { method: method.to_owned(), path, headers: read })
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

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = request(&bytes);
        }
    }
}
