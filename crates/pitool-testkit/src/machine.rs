//! Machine boxes: whole Debian systems (systemd as PID 1, apt, sshd, an own network) under systemd-nspawn.
//!
//! [`Lab`] is the place they live in on this host, [`Machine`] is one of them. A test boots a machine, runs
//! commands in it, cuts its power, looks at its files from outside, and drops it; what a killed test left is
//! swept away by the next one.
//!
//! What a box is not: it shares the host's kernel, so there are no modules to load, `/proc/meminfo` is the
//! host's, and `/proc/device-tree/model` cannot be faked (procfs has no such directory on other hardware).

mod base;
mod cgroup;
mod debian;
mod disk;
mod downloads;
mod files;
mod guest;
mod lab;
mod measure;
mod mirror;
mod network;
mod process;
mod ssh;
mod talk;
mod template;
mod tree;

pub use base::Suite;
pub use debian::{DebianTree, release_source};
pub use guest::{Background, BoxOptions, Machine, Output, Probe, RaspberryPi};
pub use lab::Lab;
pub use measure::{Measured, Trace, Usage};
pub use ssh::{SshKey, ssh_key};
pub use template::Template;
pub use tree::{Entry, Kind, Tree, diff, snapshot};
