//! Development only: machine boxes, scenario scripts, role snapshots

pub mod machine;
pub mod suite;
