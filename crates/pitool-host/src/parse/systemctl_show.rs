//! `systemctl show --property=… -- UNIT…`, systemctl(1): one block of `Name=value` lines per unit that was asked
//! for, in that order, separated by blank lines.

use crate::{ActiveState, UnitStatus};

/// The properties to ask for.
pub const PROPERTIES: &str = "--property=Id,Names,LoadState,ActiveState,UnitFileState,InvocationID,NeedDaemonReload,\
    Type,ActiveEnterTimestampMonotonic";

/// Reads the answer to a question for these names; `None` when there are not as many blocks as names.
///
/// A block has the name that was asked for, not the unit's own: `sshd.service` is answered with `Id=ssh.service`.
pub fn parse(text: &str, names: &[&str]) -> Option<Vec<UnitStatus>> {
    let blocks: Vec<&str> = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()).collect();
    if blocks.len() != names.len() {
        return None;
    }
    let one =
        |(name, block): (&&str, &str)| unit(name, block.lines().filter_map(|line| line.split_once('=')));
    Some(names.iter().zip(blocks).map(one).collect())
}

/// Makes a status of properties and their values as systemctl prints them.
pub fn unit<'p>(name: &str, properties: impl Iterator<Item = (&'p str, &'p str)>) -> UnitStatus {
    let mut unit = UnitStatus { name: name.to_owned(), ..UnitStatus::default() };
    for (property, value) in properties {
        match property {
            "LoadState" => unit.exists = matches!(value, "loaded" | "masked"),
            "ActiveState" => unit.active = active(value),
            "UnitFileState" => value.clone_into(&mut unit.file_state),
            "InvocationID" => value.clone_into(&mut unit.invocation),
            "NeedDaemonReload" => unit.stale = value == "yes",
            "Type" => unit.unannounced = matches!(value, "simple" | "exec" | "idle"),
            "ActiveEnterTimestampMonotonic" => unit.started = value.parse().ok().filter(|at| *at > 0),
            _ => {}
        }
    }
    unit
}

fn active(state: &str) -> ActiveState {
    match state {
        "active" => ActiveState::Active,
        "failed" => ActiveState::Failed,
        "activating" | "deactivating" | "reloading" | "refreshing" | "maintenance" => ActiveState::Changing,
        _ => ActiveState::Inactive,
    }
}
