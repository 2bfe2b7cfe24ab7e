//! YAML as Ansible writes it, with positions.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Parser};

use crate::{Diagnostic, Fragment, Severity};

/// What the encrypted values and files of Ansible Vault begin with.
const VAULT: &str = "$ANSIBLE_VAULT";

/// A value as YAML has them; every scalar but null is kept as text, because its meaning depends on the variable.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing.
    Null,
    /// A scalar.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Value)>),
    /// Encrypted with Ansible Vault.
    Vault,
}

/// A file, read.
pub(super) enum File {
    /// The whole file is encrypted.
    Vault,
    /// Its entries; empty where it holds none.
    Map(Vec<(String, usize, Node)>),
}

/// An entry's value, with positions inside.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A mapping.
    Map(Vec<(String, usize, Node)>),
    /// Anything else.
    Other(Value),
}

impl Node {
    /// The entries of a mapping; none where it is something else.
    pub(super) fn entries(&self) -> &[(String, usize, Node)] {
        match self {
            Node::Map(entries) => entries,
            Node::Other(_) => &[],
        }
    }

    /// Finds an entry of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _, _)| name == key).map(|(_, _, node)| node)
    }

    /// The value without positions.
    pub(super) fn value(&self) -> Value {
        match self {
            Node::Map(entries) => {
                Value::Map(entries.iter().map(|(name, _, node)| (name.clone(), node.value())).collect())
            }
            Node::Other(value) => value.clone(),
        }
    }
}

/// Reads a file whose top is a mapping.
///
/// # Errors
/// The file is not UTF-8, not YAML, or its top is not a mapping.
pub(super) fn read(fragment: &Fragment) -> Result<File, Box<Diagnostic>> {
    let problem = |at: usize, message: String| {
        Box::new(Diagnostic::new(Severity::Error, fragment, at..at + 1, message, None))
    };
    let text = std::str::from_utf8(&fragment.bytes).map_err(|error| {
        problem(error.valid_up_to(), format!("byte {} is not UTF-8", error.valid_up_to()))
    })?;
    if text.trim_start().starts_with(VAULT) {
        return Ok(File::Vault);
    }
    bounded(text).map_err(|(line, message)| problem(line_start(text, line), message))?;
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        // The parser counts characters, and a byte order mark as one of them or not.
        let start = line_start(text, error.marker().line());
        let line = text[start..].lines().next().unwrap_or_default();
        let column = line.char_indices().nth(error.marker().col()).map_or(line.len(), |(at, _)| at);
        problem(start + column, format!("not YAML: {}", error.info()))
    })?;
    let Some(document) = documents.first() else { return Ok(File::Map(Vec::new())) };
    // Ansible takes one document as well: of a second one nobody could say whether it counts.
    let empty = |more: &&MarkedYaml<'_>| matches!(node(more, 0), Node::Other(Value::Null));
    if let Some(second) = documents[1..].iter().find(|more| !empty(more)) {
        let message = "a second document begins here; a file of variables is one".to_owned();
        return Err(problem(line_start(text, second.span.start.line()), message));
    }
    match node(document, 0) {
        Node::Map(entries) => Ok(File::Map(entries)),
        Node::Other(Value::Null) => Ok(File::Map(Vec::new())),
        Node::Other(_) => Err(problem(0, "expected variables, as `name: value`".to_owned())),
    }
}

/// The first byte of a line that is counted from 1.
fn line_start(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.max(1) - 1).map(str::len).sum()
}

/// How deep a value may be nested, so that no file can use up the stack.
const DEEPEST: usize = 60;

/// How many values a file may hold once its aliases stand for what they name, so that no file can use up the memory.
const MOST: usize = 100_000;

/// Counts depth and values before anything is kept of a file; a line and what is too much there.
fn bounded(text: &str) -> Result<(), (usize, String)> {
    let mut values = 0_usize;
    // The containers that are open, each with its anchor and the values that came before it.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut anchors: BTreeMap<usize, usize> = BTreeMap::new();
    for event in Parser::new_from_str(text) {
        // What is not YAML the reader reports with its own words.
        let Ok((event, span)) = event else { return Ok(()) };
        let line = span.start.line();
        match event {
            Event::Alias(anchor) => {
                values = values.saturating_add(anchors.get(&anchor).copied().unwrap_or(1))
            }
            Event::Scalar(_, _, anchor, _) => {
                values += 1;
                anchors.insert(anchor, 1);
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push((anchor, values));
                values += 1;
                if open.len() > DEEPEST {
                    return Err((line, format!("a value is nested more than {DEEPEST} deep here")));
                }
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, before)) = open.pop() {
                    anchors.insert(anchor, values - before);
                }
            }
            _ => {}
        }
        if values > MOST {
            return Err((
                line,
                format!("the file holds more than {MOST} values up to here, aliases counted in full"),
            ));
        }
    }
    Ok(())
}

fn node(yaml: &MarkedYaml<'_>, depth: usize) -> Node {
    let value = match &yaml.data {
        YamlData::Mapping(entries) if depth < DEEPEST => {
            let entry = |(key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)| {
                let name = match node(key, depth + 1) {
                    Node::Other(Value::Text(name)) => name,
                    _ => String::from("?"),
                };
                (name, key.span.start.line(), node(value, depth + 1))
            };
            return Node::Map(entries.iter().map(entry).collect());
        }
        YamlData::Sequence(items) if depth < DEEPEST => {
            Value::List(items.iter().map(|item| node(item, depth + 1).value()).collect())
        }
        YamlData::Tagged(tag, _) if tag.suffix.contains("vault") => Value::Vault,
        YamlData::Tagged(_, inner) if depth < DEEPEST => return node(inner, depth + 1),
        YamlData::Value(Scalar::Null) => Value::Null,
        YamlData::Value(Scalar::Boolean(value)) => Value::Text(value.to_string()),
        YamlData::Value(Scalar::Integer(number)) => Value::Text(number.to_string()),
        YamlData::Value(Scalar::FloatingPoint(number)) => Value::Text(number.to_string()),
        YamlData::Value(Scalar::String(text)) if text.starts_with(VAULT) => Value::Vault,
        YamlData::Value(Scalar::String(text)) => Value::Text(text.to_string()),
        YamlData::Representation(text, _, _) => Value::Text(text.to_string()),
        _ => Value::Null,
    };
    Node::Other(value)
}
