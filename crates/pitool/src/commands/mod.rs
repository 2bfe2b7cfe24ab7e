//! The commands, one file each. A command returns its exit code, or a [`Failure`](crate::failure::Failure).

pub(crate) mod apply;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod facts;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod plan;
pub(crate) mod rollback;
