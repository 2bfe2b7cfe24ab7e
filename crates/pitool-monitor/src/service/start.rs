//! What only the start needed is given back.

use std::fs;

/// Unmaps the code of the program and its libraries; returns of how many files. What is needed again comes back from the page
/// cache as it is used; what read the command line and the config does not, and no longer counts as memory that the
/// service holds: more than a megabyte of nine.
pub(super) fn give_back() -> usize {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return 0 };
    maps.lines().filter_map(code).filter(|(address, length)| unmap(*address, *length)).count()
}

#[expect(unsafe_code, reason = "madvise(2) works on addresses")]
fn unmap(address: usize, length: usize) -> bool {
    let address: *mut libc::c_void = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: the range is a mapping of a file that the kernel has just named, which may be run and not written
    // (MemoryDenyWriteExecute= keeps it so). It has nothing that the file has not; each page is read from there again.
    // A refusal leaves everything as it is.
    unsafe { libc::madvise(address, length, libc::MADV_DONTNEED) == 0 }
}

/// The address and length of a mapping of a file's code; proc_pid_maps(5).
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let runs = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/');
    let from = usize::from_str_radix(from, 16).ok()?;
    let to = usize::from_str_radix(to, 16).ok()?;
    runs.then(|| (from, to.saturating_sub(from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_is_found_and_nothing_else() {
        let found = |line| code(line);
        assert_eq!(
            found("5605567c8000-560556e48000 r-xp 00116000 fe:00 15975548                   /usr/bin/pitool"),
            Some((0x5605_567c_8000, 0x68_0000))
        );
        assert_eq!(
            found("7f5bd148d000-7f5bd148e000 r-xp 0 fe:00 12 /usr/lib/x (deleted)").map(|it| it.1),
            Some(4096)
        );
        for other in [
            "5605566b1000-5605567c8000 r--p 00000000 fe:00 15975548 /usr/bin/pitool",
            "560557000000-560557005000 rw-p 007b8000 fe:00 15975548 /usr/bin/pitool",
            "7f5bd0000000-7f5bd0021000 rwxp 00000000 fe:00 12 /usr/lib/x",
            "7ffd3a5f0000-7ffd3a5f2000 r-xp 00000000 00:00 0 [vdso]",
            "7ffd3a5f0000-7ffd3a5f2000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn the_program_goes_on_without_its_start() {
        // The program's own code, the C library's and the loader's.
        assert!(give_back() >= 3);
        assert_eq!(fs::read_to_string("/proc/self/comm").map(|name| name.is_empty()).ok(), Some(false));
    }
}
