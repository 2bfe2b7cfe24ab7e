//! Reading an answer of HTTP/1 that was received whole (RFC 9112): services of this machine are asked without a client.

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// The most header lines of an answer that are read.
const HEADERS: usize = 128;

/// What some apps send and every browser takes: it is the status and the body that matter here.
fn lenient() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config
        .ignore_invalid_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    config
}

/// Reads a whole answer; `None` where it is not one, or where its chunks are cut off. A body without chunks ends where the
/// connection ended.
pub fn answer(bytes: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = lenient().parse_response(&mut head, bytes).ok()? else {
        return None;
    };
    let status = head.code?;
    let chunked = head.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("transfer-encoding")
            && header.value.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    let body = bytes.get(end..)?;
    Some(Answer { status, body: if chunked { unchunked(body)? } else { body.to_vec() } })
}

/// Reads the status of an answer whose body may be cut off; `None` where it is not an answer.
pub fn status(bytes: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    match lenient().parse_response(&mut head, bytes) {
        Ok(_) | Err(httparse::Error::TooManyHeaders) => head.code,
        Err(_) => None,
    }
}

/// Puts the chunks of a body together; some servers send them to HTTP/1.0 too.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((begin, size)) = httparse::parse_chunk_size(rest).ok()? else {
            return None;
        };
        if size == 0 {
            return Some(body);
        }
        let end = begin.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(rest.get(begin..end)?);
        // The line ends after the chunk.
        rest = rest.get(end.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(u16, String)> {
        let answer = answer(text.as_bytes())?;
        Some((answer.status, String::from_utf8(answer.body).ok()?))
    }

    #[test]
    fn whole_answers() {
        let whole = |status, body: &str| Some((status, body.to_owned()));
        assert_eq!(read("HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello"), whole(200, "hello"));
        assert_eq!(read("HTTP/1.1 301 Moved\r\n\r\n"), whole(301, ""));
        assert_eq!(read("HTTP/1.1 404\r\n\r\n"), whole(404, ""));
        assert_eq!(read("HTTP/1.1 200 OK\r\nA : b\r\nno colon\r\nC: d\r\n e\r\n\r\nx"), whole(200, "x"));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        assert_eq!(read(&format!("{chunked}3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")), whole(200, "abcde"));
    }

    #[test]
    fn what_is_not_one() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for text in [
            "",
            "220 smtp\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 200 OK\r\nhalf",
            &format!("{chunked}ffff\r\nabc"),
            &format!("{chunked}ffffffffffffffff\r\nabc"),
            &format!("{chunked}x\r\nabc"),
            &format!("{chunked}3\r\nabc"),
        ] {
            assert_eq!(read(text), None, "{text:?}");
            assert_eq!(status(text.as_bytes()), text.starts_with("HTTP").then_some(200), "{text:?}");
        }
    }
}
