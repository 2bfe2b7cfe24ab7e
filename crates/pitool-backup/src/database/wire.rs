//! The messages between a run and a process that reads databases for it, one packet each.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStringExt;

/// How much data one packet holds at most. A page of SQLite has at most as many bytes.
pub(super) const DATA: usize = 64 << 10;

/// How long a packet can be.
pub(super) const PACKET: usize = DATA + 16;

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// What a run asks for. A directory comes along with `Open`, as a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Take these ids, and wait this many milliseconds for locks of others.
    Start { uid: u32, gid: u32, patience: u32 },
    /// Open a database in the directory and begin a read transaction.
    Open { file: Identity, writable: bool, name: CString },
    /// Lock the database that could not be opened, so that nobody writes to it.
    Lock,
    /// Send pages.
    Read { at: u64, length: u32 },
    /// Ask for `PRAGMA quick_check`.
    Check,
    /// Give the database back.
    Close,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is done.
    Done,
    /// The database is open: the size of its pages, and how many there are.
    Open { page: u32, count: u32 },
    /// Some of the pages.
    Data(Vec<u8>),
    /// What the check said.
    Checked(String),
    /// It did not work: SQLite's extended error code, or 0, and why.
    Failed { code: i32, why: String },
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it sent something else than an answer")
}

/// Takes bytes from the front.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn rest(self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn text(self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }

    fn end(self) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

impl Request {
    /// As a packet.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Start { uid, gid, patience } => {
                bytes.push(b's');
                for number in [uid, gid, patience] {
                    bytes.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::Open { file: (device, inode), writable, name } => {
                bytes.extend_from_slice(&[b'o', u8::from(*writable)]);
                bytes.extend_from_slice(&device.to_le_bytes());
                bytes.extend_from_slice(&inode.to_le_bytes());
                bytes.extend_from_slice(name.to_bytes());
            }
            Self::Lock => bytes.push(b'l'),
            Self::Read { at, length } => {
                bytes.push(b'r');
                bytes.extend_from_slice(&at.to_le_bytes());
                bytes.extend_from_slice(&length.to_le_bytes());
            }
            Self::Check => bytes.push(b'q'),
            Self::Close => bytes.push(b'c'),
        }
        bytes
    }

    /// Out of a packet.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut fields = Fields(bytes);
        let [tag] = fields.take()?;
        let request = match tag {
            b's' => Self::Start { uid: fields.u32()?, gid: fields.u32()?, patience: fields.u32()? },
            b'o' => {
                let [writable] = fields.take()?;
                let file = (fields.u64()?, fields.u64()?);
                let name = CString::new(fields.rest()).map_err(|_| malformed())?;
                if name.to_bytes().contains(&b'/') {
                    return Err(malformed());
                }
                return Ok(Self::Open { file, writable: writable != 0, name });
            }
            b'l' => Self::Lock,
            b'r' => Self::Read { at: fields.u64()?, length: fields.u32()? },
            b'q' => Self::Check,
            b'c' => Self::Close,
            _ => return Err(malformed()),
        };
        fields.end()?;
        Ok(request)
    }
}

impl Reply {
    /// What a packet with pages begins with.
    pub(super) const DATA: u8 = b'p';

    /// As a packet; a text that is too long for one is cut.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Done => bytes.push(b'd'),
            Self::Open { page, count } => {
                bytes.push(b'o');
                bytes.extend_from_slice(&page.to_le_bytes());
                bytes.extend_from_slice(&count.to_le_bytes());
            }
            Self::Data(data) => {
                bytes.push(Self::DATA);
                bytes.extend_from_slice(data);
            }
            Self::Checked(said) => {
                bytes.push(b'q');
                bytes.extend_from_slice(said.as_bytes());
            }
            Self::Failed { code, why } => {
                bytes.push(b'f');
                bytes.extend_from_slice(&code.to_le_bytes());
                bytes.extend_from_slice(why.as_bytes());
            }
        }
        bytes.truncate(PACKET);
        bytes
    }

    /// Out of a packet. Whoever sends it may be in the hands of the owner of the database: nothing of it is believed.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut fields = Fields(bytes);
        let [tag] = fields.take()?;
        let reply = match tag {
            b'd' => Self::Done,
            b'o' => Self::Open { page: fields.u32()?, count: fields.u32()? },
            Self::DATA => return Ok(Self::Data(fields.rest())),
            b'q' => return Ok(Self::Checked(fields.text())),
            b'f' => {
                let code = fields.take().map(i32::from_le_bytes)?;
                return Ok(Self::Failed { code, why: fields.text() });
            }
            _ => return Err(malformed()),
        };
        fields.end()?;
        Ok(reply)
    }
}

/// The name of a database as SQLite gets it: `./` keeps `:memory:` and `file:…` from meaning something else.
pub(super) fn here(name: &CString) -> std::path::PathBuf {
    std::ffi::OsString::from_vec([b"./", name.to_bytes()].concat()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_sent_is_what_is_understood() {
        let name = CString::new("data.db").unwrap();
        for request in [
            Request::Start { uid: 1234, gid: 65534, patience: 30_000 },
            Request::Open { file: (1, u64::MAX), writable: true, name },
            Request::Lock,
            Request::Read { at: 1 << 40, length: 4 << 20 },
            Request::Check,
            Request::Close,
        ] {
            assert_eq!(Request::parse(&request.bytes()).unwrap(), request);
        }
        for reply in [
            Reply::Done,
            Reply::Open { page: 4096, count: u32::MAX },
            Reply::Data(vec![7; DATA]),
            Reply::Checked("ok".to_owned()),
            Reply::Failed { code: -1, why: "no".to_owned() },
        ] {
            assert_eq!(Reply::parse(&reply.bytes()).unwrap(), reply);
        }
    }

    #[test]
    fn a_name_of_another_directory_is_refused() {
        let name = CString::new("../data.db").unwrap();
        assert!(Request::parse(&Request::Open { file: (1, 1), writable: false, name }.bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Reply::parse(&bytes);
            let _ = Request::parse(&bytes);
        }
    }
}
