//! A bucket of S3, or of what speaks its language: MinIO, Backblaze, Garage, a NAS.
//!
//! Large files go in parts. An upload that was cut off is found at the server by its name, and only the missing parts
//! are sent: nothing has to be remembered here. What the server got is signed with its digest, so that it refuses what
//! the line has changed.

mod client;
mod credentials;
mod sign;
mod xml;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use client::{Answer, Body, Client};
pub use credentials::Credentials;

use super::directory::Partial;
use super::{Error, LONGEST, MARKER, MARKER_LIMIT, Result, Stored, Target, marker_id, open_source};

/// Files up to this size go in one piece.
const SINGLE: u64 = 16 << 20;

/// The smallest part: S3 takes none below 5 MiB, and each costs a round trip.
const PART: u64 = 16 << 20;

/// S3 takes at most this many parts.
const PARTS: u64 = 10_000;

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
            let before = token.take();
            if files.len() > LONGEST {
                return Err(self.lies("more files than a target can have"));
            }
            token = xml::text(&list, "NextContinuationToken")
                .filter(|_| xml::text(&list, "IsTruncated").is_some_and(|truncated| truncated == "true"));
            if token.is_none() {
                files.sort();
                return Ok(files);
            }
            // Each page brings files and leads on, or the list would have no end.
            if token == before || (before.is_some() && xml::elements(&list, "Contents").is_empty()) {
                return Err(self.lies("a list without an end"));
            }
        }
    }

    fn lies(&self, what: &str) -> Error {
        Error::Refused {
            place: self.place(),
            operation: "list its files".to_owned(),
            said: format!("it answers with {what}"),
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
            if parts.len() as u64 > PARTS {
                return Err(self.lies("more parts than an upload can have"));
            }
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
                let mut bytes = Vec::new();
                reader
                    .by_ref()
                    .take(MARKER_LIMIT)
                    .read_to_end(&mut bytes)
                    .map_err(|error| Error::Unreachable { place: self.place(), why: error.to_string() })?;
                marker_id(&self.place(), &bytes).map(Some)
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
        let mut from = open_source(file)?;
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

    fn get(&self, file: &Stored, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let Stored { name, size } = file;
        let operation = format!("hand out {name}");
        let mut partial = Partial::beside(to)?;
        let copy = &mut partial.file;
        let refused =
            |said: String| Error::Refused { place: self.place(), operation: operation.clone(), said };
        let missing = || refused("it is not there".to_owned());
        let claimed = self.client.size(&self.key(name), &operation)?.ok_or_else(missing)?;
        if claimed != *size {
            return Err(refused(format!("it has {claimed} bytes, and the list said {size}")));
        }
        let mut done = copy.metadata().map_err(Error::path("look at", to))?.len();
        if done > *size {
            copy.set_len(0).map_err(Error::path("write", to))?;
            done = 0;
        }
        while done < *size {
            copy.seek(SeekFrom::Start(done)).map_err(Error::path("write", to))?;
            let before = done;
            match self.client.get(&self.key(name), Some(done), &operation)? {
                Answer::Missing => return Err(missing()),
                Answer::Found { reader, whole } => {
                    if whole && done > 0 {
                        // A server that knows no ranges begins anew.
                        copy.set_len(0).map_err(Error::path("write", to))?;
                        copy.seek(SeekFrom::Start(0)).map_err(Error::path("write", to))?;
                        done = 0;
                    }
                    let mut reader = reader.take(size - done);
                    done += receive(&mut reader, copy, to, &mut |more| progress(done + more))?;
                }
            }
            if done <= before {
                let why = format!("it sends nothing more after {done} of {size} bytes");
                return Err(Error::Unreachable { place: self.place(), why });
            }
        }
        partial.publish()
    }

    fn remove(&self, names: &[&str]) -> Result<()> {
        for name in names {
            self.client.delete(&self.key(name), &format!("delete {name}"))?;
        }
        Ok(())
    }
}

/// Writes down what comes until the line breaks or the end is there; gives how much came.
fn receive(reader: &mut dyn Read, file: &mut File, path: &Path, hear: &mut dyn FnMut(u64)) -> Result<u64> {
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
    use std::fs;

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
