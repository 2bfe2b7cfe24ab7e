//! Extended attributes: ACLs, capabilities and what people put there themselves.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use super::entry::note;
use super::walk::Found;
use crate::archive::tar;
use crate::manifest::{Note, What, Xattr};

/// More than all attributes of a file take on ext4, where they share one block with each other.
const ROOM: usize = 64 << 10;

/// The attributes of an open file.
pub(crate) fn of_file(file: impl AsFd, found: &Found, notes: &mut Vec<Note>) -> Vec<Xattr> {
    gather(
        found,
        notes,
        |buffer| rustix::fs::flistxattr(&file, buffer),
        |name, buffer| rustix::fs::fgetxattr(&file, name, buffer),
    )
}

/// The attributes of what cannot be opened without doing something: links, pipes, devices.
#[expect(
    clippy::disallowed_methods,
    reason = "the name is looked up in the directory that is held open, and not followed"
)]
pub(crate) fn of_path(found: &Found, notes: &mut Vec<Note>) -> Vec<Xattr> {
    // There is no listxattrat; the directory that is held open has a name under /proc.
    let mut path = format!("/proc/self/fd/{}/", found.parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(found.name.to_bytes());
    gather(
        found,
        notes,
        |buffer| rustix::fs::llistxattr(path.as_slice(), buffer),
        |name, buffer| rustix::fs::lgetxattr(path.as_slice(), name, buffer),
    )
}

fn gather(
    found: &Found,
    notes: &mut Vec<Note>,
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CString, &mut [u8]) -> Result<usize, Errno>,
) -> Vec<Xattr> {
    // Most files have none or one short name, and then this is one system call.
    let mut short = [0; 256];
    let listed = match list(&mut short) {
        Ok(length) => Ok(short[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut names = vec![0; ROOM];
            list(&mut names).map(|length| names[..length].to_vec())
        }
        Err(error) => Err(error),
    };
    let names = match listed {
        Err(Errno::OPNOTSUPP | Errno::NODATA | Errno::NOENT) => return Vec::new(),
        Ok(names) if names.is_empty() => return Vec::new(),
        Ok(names) => names,
        Err(error) => {
            notes.push(note(found, What::Unreadable, &format!("extended attributes: {error}")));
            return Vec::new();
        }
    };
    let mut value = vec![0; ROOM];
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let (Ok(name), Ok(text)) = (CString::new(name), String::from_utf8(name.to_vec())) else { continue };
        match get(&name, &mut value) {
            Ok(length) => xattrs.push(Xattr { name: text, value: value[..length].to_vec() }),
            Err(Errno::NODATA) => {}
            Err(error) => notes.push(note(found, What::Unreadable, &format!("{text}: {error}"))),
        }
    }
    xattrs.retain(tar::storable);
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    xattrs
}
