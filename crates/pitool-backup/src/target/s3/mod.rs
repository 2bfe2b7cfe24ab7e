//! A bucket of S3, or of what speaks its language: MinIO, Backblaze, Garage, a NAS.
//!
//! Large files go in parts. An upload that was cut off is found at the server by its name, and only the missing parts
//! are sent: nothing has to be remembered here. What the server got is signed with its digest, so that it refuses what
//! the line has changed.

mod client;
mod sign;
mod xml;

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use client::{Answer, Body, Client};

use super::directory::{finish, open_fetched, partial_beside};
use super::{Error, MARKER, Result, Stored, Target};

/// Files up to this size go in one piece.
const SINGLE: u64 = 16 << 20;

/// The smallest part: S3 takes none below 5 MiB, and each costs a round trip.
const PART: u64 = 16 << 20;

/// S3 takes at most this many parts.
const PARTS: u64 = 10_000;

/// A key of an account.
#[derive(Clone)]
pub struct Credentials {
    /// Its id, which is no secret.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a file that has the id on its first line and the secret on its second.
    ///
    /// # Errors
    /// A file that others may read, or that has not two lines.
    pub fn read(file: &Path) -> Result<Self> {
        let bad = |why: &str| Error::Key { file: file.to_owned(), why: why.to_owned() };
        let metadata = fs::metadata(file).map_err(|error| bad(&format!("it cannot be read ({error})")))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(bad("others may read it; `chmod 600` it"));
        }
        let text = fs::read_to_string(file).map_err(|error| bad(&format!("it cannot be read ({error})")))?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [id, secret] => Ok(Self { id: (*id).to_owned(), secret: (*secret).to_owned() }),
            _ => Err(bad("it should have two lines: the key's id and its secret")),
        }
    }
}

/// A bucket, or what in it begins with a prefix.
#[derive(Debug)]
pub struct Bucket {
    client: Client,
    place: String,
    prefix: String,
}

/// A part that the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    number: u64,
    size: u64,
    etag: String,
}

impl Bucket {
    /// A bucket at a server, `https://HOST[:PORT]`; Amazon's of the region where none is named.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(
        endpoint: Option<&str>,
        region: &str,
        bucket: &str,
        prefix: Option<&str>,
        credentials: Credentials,
    ) -> Result<Self> {
        let amazon = format!("https://s3.{region}.amazonaws.com");
        let endpoint = endpoint.unwrap_or(&amazon).trim_end_matches('/');
        let prefix = prefix.map(|prefix| format!("{}/", prefix.trim_matches('/'))).unwrap_or_default();
        let place = format!("{endpoint}/{bucket}/{prefix}");
        let client = Client::new(endpoint, region, bucket, credentials, &place)?;
        Ok(Self { client, place, prefix })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn objects(&self) -> Result<Vec<Stored>> {
        let mut files = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", self.prefix.as_str())];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let list = self.client.text("GET", "", &query, "list its files")?;
            for object in xml::elements(&list, "Contents") {
                let (Some(key), Some(size)) = (xml::text(object, "Key"), xml::text(object, "Size")) else {
                    continue;
                };
                // What is deeper is somebody else's.
                let Some(name) = key.strip_prefix(&self.prefix).filter(|name| !name.contains('/')) else {
                    continue;
                };
                if let (false, Ok(size)) = (name.is_empty(), size.parse()) {
                    files.push(Stored { name: name.to_owned(), size });
                }
            }
            token = xml::text(&list, "NextContinuationToken")
                .filter(|_| xml::text(&list, "IsTruncated").is_some_and(|truncated| truncated == "true"));
            if token.is_none() {
                files.sort();
                return Ok(files);
            }
        }
    }

    /// Sends a file in one piece.
    fn put_whole(&self, file: &mut File, size: u64, name: &str, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let operation = format!("take {name}");
        let body = Body { file, start: 0, length: size };
        self.client.put(&self.key(name), &[], body, &operation, progress)?;
        Ok(())
    }

    /// An upload of this name that was not finished, with the parts that are there.
    fn unfinished(&self, key: &str) -> Result<Option<(String, Vec<Part>)>> {
        let list = self.client.text("GET", "", &[("uploads", ""), ("prefix", key)], "list its uploads")?;
        let upload = xml::elements(&list, "Upload")
            .into_iter()
            .filter(|upload| xml::text(upload, "Key").is_some_and(|found| found == key))
            .find_map(|upload| xml::text(upload, "UploadId"));
        let Some(id) = upload else { return Ok(None) };
        let mut parts = Vec::new();
        let mut marker = "0".to_owned();
        loop {
            let query = [("part-number-marker", marker.as_str()), ("uploadId", id.as_str())];
            let list = self.client.text("GET", key, &query, "list the parts of an upload")?;
            for part in xml::elements(&list, "Part") {
                let number = xml::text(part, "PartNumber").and_then(|number| number.parse().ok());
                let size = xml::text(part, "Size").and_then(|size| size.parse().ok());
                if let (Some(number), Some(size), Some(etag)) = (number, size, xml::text(part, "ETag")) {
                    parts.push(Part { number, size, etag });
                }
            }
            match xml::text(&list, "NextPartNumberMarker") {
                Some(next)
                    if xml::text(&list, "IsTruncated").is_some_and(|it| it == "true") && next != marker =>
                {
                    marker = next;
                }
                _ => return Ok(Some((id, parts))),
            }
        }
    }

    /// Sends a file in parts, but for those that are there.
    fn put_parts(&self, file: &mut File, size: u64, name: &str, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let key = self.key(name);
        let operation = format!("take {name}");
        let (id, there) = match self.unfinished(&key)? {
            Some(found) => found,
            None => {
                let answer = self.client.text("POST", &key, &[("uploads", "")], &operation)?;
                let id = xml::text(&answer, "UploadId").ok_or_else(|| Error::Refused {
                    place: self.place(),
                    operation: operation.clone(),
                    said: "it gave no number to the upload".to_owned(),
                })?;
                (id, Vec::new())
            }
        };
        let length = part_length(size);
        let mut list = String::from("<CompleteMultipartUpload>");
        let mut start = 0;
        for number in 1..=size.div_ceil(length) {
            let wanted = length.min(size - start);
            // A name is used for one content only, so that a part of the same length at the same place is that part.
            let known = there.iter().find(|part| part.number == number && part.size == wanted);
            let etag = match known {
                Some(part) => part.etag.clone(),
                None => {
                    let text = number.to_string();
                    let query = [("partNumber", text.as_str()), ("uploadId", id.as_str())];
                    let body = Body { file: &mut *file, start, length: wanted };
                    let mut hear = |done: u64| progress(start + done);
                    self.client.put(&key, &query, body, &operation, &mut hear)?
                }
            };
            list += &format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
                etag.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
            );
            start += wanted;
            progress(start);
        }
        list += "</CompleteMultipartUpload>";
        let answer = self.client.post(&key, &[("uploadId", &id)], list.as_bytes(), &operation)?;
        // S3 may answer with 200 and an error in the text.
        if let Some(error) = xml::elements(&answer, "Error").first() {
            let said = xml::text(error, "Message").unwrap_or_default();
            return Err(Error::Refused { place: self.place(), operation, said });
        }
        Ok(())
    }
}

/// The length of the parts of a file: the same whenever the same file is sent.
fn part_length(size: u64) -> u64 {
    PART.max(size.div_ceil(PARTS).next_multiple_of(1 << 20))
}

impl Target for Bucket {
    fn place(&self) -> String {
        self.place.trim_end_matches('/').to_owned()
    }

    fn marker(&self) -> Result<Option<String>> {
        match self.client.get(&self.key(MARKER), None, "hand out its marker")? {
            Answer::Missing => Ok(None),
            Answer::Found { mut reader, .. } => {
                let mut text = String::new();
                reader
                    .by_ref()
                    .take(4096)
                    .read_to_string(&mut text)
                    .map_err(|error| Error::Unreachable { place: self.place(), why: error.to_string() })?;
                Ok(Some(text.trim().to_owned()))
            }
        }
    }

    fn mark(&self, id: &str) -> Result<()> {
        self.client.put_bytes(&self.key(MARKER), format!("{id}\n").as_bytes(), "take a marker")
    }

    fn list(&self) -> Result<Vec<Stored>> {
        Ok(self.objects()?.into_iter().filter(|file| !file.name.starts_with('.')).collect())
    }

    fn put(&self, file: &Path, name: &str, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let mut from = File::open(file).map_err(Error::path("open", file))?;
        let size = from.metadata().map_err(Error::path("look at", file))?.len();
        if size <= SINGLE {
            self.put_whole(&mut from, size, name, progress)?;
        } else {
            self.put_parts(&mut from, size, name, progress)?;
        }
        match self.client.size(&self.key(name), &format!("tell the size of {name}"))? {
            Some(there) if there == size => Ok(()),
            found => {
                let why = match found {
                    Some(there) => format!("it has {there} bytes of {size}"),
                    None => "it is not there after it was sent".to_owned(),
                };
                Err(Error::Damaged { place: self.place(), name: name.to_owned(), why })
            }
        }
    }

    fn get(&self, name: &str, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let operation = format!("hand out {name}");
        let (directory, partial) = partial_beside(to, name);
        let mut file = open_fetched(&partial)?;
        let missing = || Error::Refused {
            place: self.place(),
            operation: operation.clone(),
            said: "it is not there".to_owned(),
        };
        let size = self.client.size(&self.key(name), &operation)?.ok_or_else(missing)?;
        let mut done = file.metadata().map_err(Error::path("look at", &partial))?.len();
        if done > size {
            file.set_len(0).map_err(Error::path("write", &partial))?;
            done = 0;
        }
        while done < size {
            file.seek(SeekFrom::Start(done)).map_err(Error::path("write", &partial))?;
            let before = done;
            match self.client.get(&self.key(name), Some(done), &operation)? {
                Answer::Missing => return Err(missing()),
                Answer::Found { mut reader, whole } => {
                    if whole && done > 0 {
                        // A server that knows no ranges begins anew.
                        file.set_len(0).map_err(Error::path("write", &partial))?;
                        file.seek(SeekFrom::Start(0)).map_err(Error::path("write", &partial))?;
                        done = 0;
                    }
                    done += receive(&mut reader, &mut file, &partial, &mut |more| progress(done + more))?;
                }
            }
            if done <= before {
                let why = format!("it sends nothing more after {done} of {size} bytes");
                return Err(Error::Unreachable { place: self.place(), why });
            }
        }
        finish(&file, &partial, to, &directory)
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        for name in names {
            self.client.delete(&self.key(name), &format!("delete {name}"))?;
        }
        Ok(())
    }
}

/// Writes down what comes until the line breaks or the end is there; gives how much came.
fn receive(reader: &mut dyn Read, file: &mut File, path: &PathBuf, hear: &mut dyn FnMut(u64)) -> Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut done = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(done),
            Ok(read) => {
                file.write_all(&buffer[..read]).map_err(Error::path("write", path))?;
                done += read as u64;
                hear(done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_and_always_the_same() {
        for size in [SINGLE + 1, 1 << 30, 160 << 30, (160 << 30) + 1, 5 << 40] {
            let length = part_length(size);
            assert!(size.div_ceil(length) <= PARTS && length >= PART && length % (1 << 20) == 0, "{size}");
        }
    }

    #[test]
    fn keys_are_for_root_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, "AKIA\n  s3cr3t  \n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Credentials::read(&file).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let read = Credentials::read(&file).unwrap();
        assert_eq!((read.id.as_str(), read.secret.as_str()), ("AKIA", "s3cr3t"));
        assert!(!format!("{read:?}").contains("s3cr3t"));
        fs::write(&file, "AKIA").unwrap();
        assert!(Credentials::read(&file).is_err());
    }
}
