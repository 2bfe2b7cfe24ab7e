//! One pure parser for each text that Debian, systemd or the kernel hands us.
//!
//! Each module names the man page or the source that defines its text, and is tested with texts of real machines
//! in `testdata/parse/<module>/`.

pub mod dpkg_status;
pub mod extended_states;
pub mod systemctl_show;
