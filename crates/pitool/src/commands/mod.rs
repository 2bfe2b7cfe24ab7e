//! The commands, one file each. A command returns its exit code, or a [`Failure`](crate::failure::Failure).

pub(crate) mod alert;
pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod cert;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod containers;
pub(crate) mod doctor;
pub(crate) mod facts;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod monitor;
pub(crate) mod plan;
mod promises;
pub(crate) mod rollback;
pub(crate) mod status;
