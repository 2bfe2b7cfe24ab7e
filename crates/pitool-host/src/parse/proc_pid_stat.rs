//! /proc/PID/stat, proc_pid_stat(5).

/// The process number of the parent.
pub const PPID: usize = 4;

/// When the process started, in hundredths of a second since the kernel did.
pub const STARTTIME: usize = 22;

/// The field of this number, from 3 on, as the manual page counts them. The name before it may hold anything, brackets
/// and blanks too.
pub fn field(text: &str, number: usize) -> Option<&str> {
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(number.checked_sub(3)?)
}
