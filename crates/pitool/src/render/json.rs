//! JSON for programs.
//!
//! Every object at the top carries `"version": 1`; fields may be added within a version, never removed or given
//! another meaning. `plan`, `history`, `facts`, `health`, `status` and `doctor` print one document. `apply` and `rollback` print one object a line,
//! each with `"event"`; the last is `"summary"`, with the exit code. A command that could not do its work prints an
//! object with `"event": "error"`.

use pitool_engine::report::{ErrorReport, Line, Message, VERSION};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::{Class, Failure};
use crate::render::Terminal;
use crate::render::text::visible_json;

fn versioned(value: &impl Serialize) -> Value {
    let mut object = Map::new();
    object.insert("version".to_owned(), VERSION.into());
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => object.extend(fields),
        Ok(other) => drop(object.insert("value".to_owned(), other)),
        Err(error) => drop(object.insert("error".to_owned(), error.to_string().into())),
    }
    Value::Object(object)
}

/// Prints one document, readable for people too.
pub fn document(terminal: &Terminal<'_>, value: &impl Serialize) {
    terminal.line(visible_json(&format!("{:#}", versioned(value))));
}

/// Prints one line of a run.
pub fn line(terminal: &Terminal<'_>, message: Message) {
    // Plain values: they always serialize.
    let text = serde_json::to_string(&Line::new(message)).unwrap_or_default();
    terminal.line(visible_json(&text));
}

/// Prints one object on one line.
pub fn event(terminal: &Terminal<'_>, value: &impl Serialize) {
    terminal.line(visible_json(&versioned(value).to_string()));
}

/// Prints why a command could not do its work.
pub fn failure(terminal: &Terminal<'_>, failure: &Failure) {
    let class = match failure.class {
        Class::Input => "input",
        Class::Machine => "machine",
        Class::Bug => "bug",
    };
    let report = ErrorReport {
        class: class.to_owned(),
        exit: failure.exit,
        message: failure.message.clone(),
        causes: failure.causes.clone(),
        hints: failure.hints.clone(),
        diagnostics: serde_json::to_value(&failure.diagnostics).unwrap_or_default(),
    };
    line(terminal, Message::Error(report));
}
