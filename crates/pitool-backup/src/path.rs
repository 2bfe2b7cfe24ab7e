//! Paths inside an archive.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pitool_host::text::hex;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path inside an archive: relative, without `.`, `..`, empty components or NUL; any other bytes.
///
/// Ordered as a walk meets paths: a directory before what is in it, and that before its next sibling. In JSON it is
/// a string, or `{"hex": "…"}` where it is not UTF-8.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoredPath(Box<[u8]>);

impl StoredPath {
    /// Takes a path that keeps the rules; any other is `None`.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        let valid = bytes.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
        (valid && !bytes.contains(&0)).then_some(Self(bytes))
    }

    /// The path under which an absolute path is stored; `None` for `/` itself and what has `..` in it.
    pub fn of(path: &Path) -> Option<Self> {
        let bytes = path.as_os_str().as_bytes();
        let start = bytes.iter().position(|byte| *byte != b'/')?;
        let end = bytes.iter().rposition(|byte| *byte != b'/')?;
        Self::new(&bytes[start..=end])
    }

    /// The path of an entry of this directory.
    #[must_use]
    pub(crate) fn child(&self, name: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// The bytes, without a leading `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path relative to where it is unpacked.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Where it was on the machine that saved it.
    pub fn absolute(&self) -> PathBuf {
        Path::new("/").join(self.as_path())
    }

    /// The directory that it is in, and its name there.
    pub fn split(&self) -> (Option<Self>, &OsStr) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Some(Self(self.0[..slash].into())), OsStr::from_bytes(&self.0[slash + 1..])),
            None => (None, OsStr::from_bytes(&self.0)),
        }
    }

    /// Whether it is that directory or something in it.
    pub fn is_within(&self, directory: &StoredPath) -> bool {
        self.0.strip_prefix(&*directory.0).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

impl Ord for StoredPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // `/` sorts before every other byte, so that `a/b` comes before `a-b`.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for StoredPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for StoredPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_path().display())
    }
}

impl fmt::Debug for StoredPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_path())
    }
}

impl Serialize for StoredPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for StoredPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = deserialize_bytes(deserializer)?;
        Self::new(bytes).ok_or_else(|| D::Error::custom("expected a relative path without `..`"))
    }
}

/// Writes bytes as a string where they are UTF-8, else as `{"hex": "…"}`.
pub(crate) fn serialize_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("hex", &hex(bytes))?;
            map.end()
        }
    }
}

/// Reads what [`serialize_bytes`] wrote.
pub(crate) fn deserialize_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or {\"hex\": …}")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            Ok(text.as_bytes().to_vec())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<u8>, A::Error> {
            let entry = map.next_entry::<String, String>()?;
            let Some((_, text)) = entry.filter(|(key, _)| key == "hex") else {
                return Err(A::Error::custom("expected the key hex"));
            };
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let pairs = text.as_bytes().chunks(2);
            let bytes: Option<Vec<u8>> = pairs
                .map(|pair| match pair {
                    [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                    _ => None,
                })
                .collect();
            bytes.ok_or_else(|| A::Error::custom("expected hex digits"))
        }
    }

    deserializer.deserialize_any(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_out_of_the_archive_cannot_be_written() {
        for bad in ["", "/etc", "a//b", "a/../b", "..", "./a", "a/.", "a/", "a\0b"] {
            assert_eq!(StoredPath::new(bad.as_bytes()), None, "{bad:?}");
            assert!(serde_json::from_value::<StoredPath>(bad.into()).is_err(), "{bad:?}");
        }
        assert_eq!(StoredPath::of(Path::new("//etc/nginx/")).unwrap().absolute(), Path::new("/etc/nginx"));
        assert_eq!(StoredPath::of(Path::new("/")), None);
        assert_eq!(StoredPath::of(Path::new("/a/../b")), None);
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        let mut paths =
            ["a-b", "a/b", "a", "a/b/c", "a/b-c", "b"].map(|path| StoredPath::new(path.as_bytes()).unwrap());
        paths.sort();
        assert_eq!(paths.map(|path| path.to_string()), ["a", "a/b", "a/b/c", "a/b-c", "a-b", "b"]);
    }

    #[test]
    fn bytes_that_are_no_text_survive_json() {
        for bytes in [&b"caf\xe9/x"[..], "café \"x\"\n".as_bytes()] {
            let path = StoredPath::new(bytes).unwrap();
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<StoredPath>(&json).unwrap(), path, "{json}");
        }
    }
}
