//! The simulated host, and the contract that it keeps with the real one. Development only.
//!
//! [`Sim`] is a [`Host`](pitool_host::Host) over a [`World`], which is a plain value: tests clone it, compare it, and look
//! into it. [`contract`] is one suite for every host; the example `contract` runs it on the real machine. No crate that
//! ships depends on this one: it is a dev-dependency.
//!
//! Start reading at `sim`. `machine` makes machines. `program` is the table of the programs that they know: a file has one
//! program or a family of them, and each is handed a `shell`.

mod accounts;
mod answers;
mod apt;
mod catalogue;
pub mod contract;
mod docker;
mod kernel;
mod locale;
mod login;
mod machine;
mod net;
mod program;
mod shell;
mod sim;
mod swap;
mod systemctl;
mod ufw;
mod units;
mod validators;
mod world;

#[cfg(test)]
mod tests;

pub use machine::PiOs;
pub use sim::{Cut, Fault, Sim};
pub use world::{CataloguePackage, CatalogueUnit, Container, Node, Pending, Shipped, Unit, World};
