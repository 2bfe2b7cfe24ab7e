//! The kinds of things pitool can settle, one file each.
//!
//! A kind is a plain value that implements [`Resource`](pitool_engine::Resource). It knows how to read its state,
//! what the state should be, and how to move from one state to another; it does not know whether it goes forwards
//! or back. A new kind is one file here and one line in the list of kinds, `pitool-kinds`.
//!
//! [`node`] is the state that every kind with a path shares; start reading at [`File`].

mod apt;
mod caller;
mod check;
mod containers;
mod directory;
mod file;
mod firewall;
mod hostname;
mod in_use;
mod link;
mod locale;
mod login;
mod node;
mod package;
mod part;
mod placeholder;
mod published;
mod seed;
mod sshd;
mod swap;
mod sysctl;
mod unit;
mod upgrade;
mod user;
mod way;

pub use check::{Check, Reader, Returning, objections};
pub use containers::{Container, running as running_containers};
pub use directory::Directory;
pub use file::{File, FileState};
pub use firewall::{Firewall, FirewallState, Policy, Rule};
pub use hostname::{Hostname, Names};
pub use in_use::{InUse, Named};
pub use link::Link;
pub use locale::{Locale, LocaleState};
pub use login::LoginGuard;
pub use node::{Node, fingerprint_at};
pub use package::{InstalledSet, InstalledState, Package, PackageStatus};
pub use part::{Edit, Part};
pub use placeholder::{Kept, Placeholder, Stored};
pub use published::{PublishedPorts, PublishedState};
pub use seed::{Seed, SeedState};
pub use swap::{SwapFile, SwapState};
pub use sysctl::Sysctl;
pub use unit::{Unit, UnitState};
pub use upgrade::Upgrade;
pub use user::{Account, User, UserState};
