//! Watches the machine and tells: checks, metrics, alerts, the status page.
//!
//! One way: [`sample`] looks (files through [`pitool_host::Inspect`], the rest through [`system`]), [`check`] judges, and what was
//! judged is shown by `pitool health`, served by [`service`] as metrics and as a page, and told by [`alert`]. Only looking and
//! telling touch the world; judging, deciding whom to tell and rendering are pure.
//!
//! Start reading at [`sample`], then [`check`], then [`service`].

#![expect(
    clippy::disallowed_methods,
    reason = "a service has sockets, threads and a clock of its own; what it reads of the machine goes through Inspect"
)]

pub mod alert;
pub mod check;
pub mod checks;
pub mod docker;
pub mod doctor;
pub mod event;
pub mod finding;
pub mod forward;
pub mod history;
pub mod http;
pub mod kernel;
pub mod metrics;
pub mod page;
pub mod ping;
pub mod records;
pub mod sample;
pub mod server;
pub mod service;
pub mod setup;
pub mod sink;
pub mod state;
pub mod status;
pub mod system;
pub mod units;
mod web;
