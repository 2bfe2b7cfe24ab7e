//! SQLite's own file system for Unix, except that names stay as they are given.
//!
//! SQLite makes every name absolute with getcwd(3) before it opens the file. That would name all directories above the
//! database again: somebody who may rename one of them leads SQLite elsewhere, and a directory that the owner of the
//! database may not search (`/var/lib/docker`) could not be passed. With a name such as `./data.db`, everything that
//! SQLite opens lies in the working directory, and it opens all of it with O_NOFOLLOW.

#![expect(
    unsafe_code,
    reason = "SQLite takes a virtual file system as a C structure only, https://sqlite.org/vfs.html"
)]

use std::ffi::{CStr, c_char, c_int};

use rusqlite::ffi;

/// The name under which [`register`] makes it known.
pub(super) const NAME: &CStr = c"working-directory";

/// Makes it known to SQLite; `false` when SQLite has no file system for Unix to begin with.
pub(super) fn register() -> bool {
    // SAFETY: the structure that is found lives as long as SQLite does and is only read. The copy is leaked, so that it
    // lives as long, as does its name. All functions and the application data stay those of the original, which get the
    // copy as their first argument and read nothing of it but these.
    unsafe {
        let unix = ffi::sqlite3_vfs_find(c"unix".as_ptr());
        if unix.is_null() {
            return false;
        }
        let mut copy = Box::new(*unix);
        copy.zName = NAME.as_ptr();
        copy.pNext = std::ptr::null_mut();
        copy.xFullPathname = Some(as_given);
        ffi::sqlite3_vfs_register(Box::leak(copy), 0) == ffi::SQLITE_OK
    }
}

/// Is xFullPathname of sqlite3_vfs.
unsafe extern "C" fn as_given(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite hands over a string that ends with a zero byte.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| name.len() <= room) {
        // SAFETY: `out` has room for `room` bytes and is a buffer of its own.
        unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len()) };
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_CANTOPEN
    }
}
