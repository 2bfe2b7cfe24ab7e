//! `pitool cert import`.

use crate::failure::{Failure, Result};
use crate::session::Session;

pub(super) fn run(_session: &Session<'_, '_>, _name: Option<&str>, _from: &str) -> Result<u8> {
    Err(Failure::machine("import"))
}
