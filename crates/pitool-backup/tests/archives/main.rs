//! Archives from outside: what stock tools, power cuts, damage and other programs make of them.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make and look at real files")]

mod changing;
mod damage;
mod databases;
mod everything;
mod killed;
mod mounts;
mod place;
