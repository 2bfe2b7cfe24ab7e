//! One pure parser for each text that Debian, systemd or the kernel hands us.
//!
//! Each module names the man page or the source that defines its text, and is tested with texts of real machines
//! in `testdata/parse/<module>/`. A parser keeps what it understands and passes over the rest, as the programs that
//! these texts are written for do; only where a half-understood text would mislead does it give an error.

pub mod accounts;
pub mod apt_cache_policy;
pub mod apt_sources;
pub mod apt_status;
pub mod authorized_keys;
pub mod cmdline;
pub mod config_txt;
pub mod cpuinfo;
pub mod dpkg_status;
pub mod extended_states;
pub mod fail2ban;
pub mod fstab;
pub mod glob;
pub mod nginx_dump;
pub mod os_release;
pub mod pam;
pub mod proc_meminfo;
pub mod proc_net_tcp;
pub mod proc_pid_stat;
pub mod proc_swaps;
pub mod sshd_config;
pub mod sudo_list;
pub mod sysctl_d;
pub mod systemctl_show;
#[cfg(test)]
mod tests;
pub mod timedatectl;
pub mod ufw_rules;

use std::collections::BTreeMap;

/// Undoes the octal escapes of fstab(5) and /proc: `\040` for a blank.
pub fn unescape_octal(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads assignments as a shell does, without expansions: `NAME=value`, `NAME="a \"b\""`, `NAME='c'`.
/// The last one of a name wins.
fn assignments(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.split_once('=') {
            values.insert(name.trim().to_owned(), unquote_shell(value.trim()));
        }
    }
    values
}

fn unquote_shell(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, '#' | ';') | (None, ' ' | '\t') => break,
            (None | Some('"'), '\\') => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    plain
}
