//! Development only: machine boxes, scenario scripts, role snapshots
