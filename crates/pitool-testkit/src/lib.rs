//! Development only: machine boxes, scenario scripts, role snapshots
#![expect(clippy::disallowed_methods, reason = "it builds and boots machines on the one it runs on")]

pub mod machine;
pub mod suite;
