//! Text made of values: an error with its causes, bytes in hexadecimal.

use std::error::Error;
use std::fmt::Write as _;

/// The causes of an error, outermost first, without the error itself.
///
/// A transparent wrapper says the same as what it wraps, and some errors end with their cause's words: neither is
/// repeated.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        let text = cause.to_string();
        if said != text && !said.ends_with(&format!(": {text}")) {
            causes.push(text.clone());
            said = text;
        }
        at = cause.source();
    }
    causes
}

/// An error and its causes on one line, joined by colons.
pub fn chain(error: &dyn Error) -> String {
    causes(error).into_iter().fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Bytes in hexadecimal, two small letters each.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|link| link as &(dyn Error + 'static))
        }
    }

    fn linked(words: &[&'static str]) -> Link {
        let (first, rest) = words.split_first().expect("an error has words");
        Link(first, (!rest.is_empty()).then(|| Box::new(linked(rest))))
    }

    #[test]
    fn what_an_error_said_already_is_not_said_again() {
        for (words, whole) in [
            (&["cannot write"][..], "cannot write"),
            (&["cannot write", "disk full"], "cannot write: disk full"),
            (&["disk full", "disk full"], "disk full"),
            (&["cannot write: disk full", "disk full"], "cannot write: disk full"),
            (&["cannot write", "/a", "disk full"], "cannot write: /a: disk full"),
            (&["it failed", "a", "a", "b"], "it failed: a: b"),
            (
                &["x cannot be used: the key is another", "the key is another", "b"],
                "x cannot be used: the key is another: b",
            ),
            (&["it failed: a", "a", "a: b", "b"], "it failed: a: a: b"),
            (&["cannot read metadata", "data"], "cannot read metadata: data"),
        ] {
            assert_eq!(chain(&linked(words)), whole);
        }
    }

    #[test]
    fn bytes_are_two_letters_each() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
        assert_eq!(hex(&[]), "");
    }
}
