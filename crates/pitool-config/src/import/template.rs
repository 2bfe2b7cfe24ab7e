//! The simple ones of Jinja's expressions: a variable, maybe with a default.

use super::inventory::Variables;
use super::yaml::Value;

/// How many references may follow one another.
const DEEPEST: usize = 10;

/// The longest text that references may grow to.
const LONGEST: usize = 10_000;

/// Replaces `{{ name }}` and `{{ name | default('text') }}` everywhere in a value.
///
/// # Errors
/// The first expression that cannot be resolved.
pub(super) fn resolve(value: &Value, variables: &Variables, host: Option<&str>) -> Result<Value, String> {
    in_value(value, variables, host, 0)
}

fn in_value(value: &Value, variables: &Variables, host: Option<&str>, depth: usize) -> Result<Value, String> {
    Ok(match value {
        Value::Text(text) => {
            // An expression that is the whole text keeps the kind of what it stands for.
            let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
            match inner {
                Some(inner) if !inner.contains("{{") && !inner.contains("}}") => {
                    expression(inner, variables, host, depth)?
                }
                _ => Value::Text(in_text(text, variables, host, depth)?),
            }
        }
        Value::List(items) => Value::List(
            items.iter().map(|item| in_value(item, variables, host, depth)).collect::<Result<_, _>>()?,
        ),
        Value::Map(entries) => {
            let entry = |(key, value): &(String, Value)| {
                Ok::<_, String>((key.clone(), in_value(value, variables, host, depth)?))
            };
            Value::Map(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
        Value::Null | Value::Vault => value.clone(),
    })
}

fn in_text(text: &str, variables: &Variables, host: Option<&str>, depth: usize) -> Result<String, String> {
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inner, after) = after.split_once("}}").ok_or_else(|| after.trim().to_owned())?;
        resolved += before;
        match expression(inner, variables, host, depth)? {
            Value::Text(text) => resolved += &text,
            _ => return Err(inner.trim().to_owned()),
        }
        if resolved.len() > LONGEST {
            return Err(inner.trim().to_owned());
        }
        rest = after;
    }
    if text.contains("{%") {
        return Err(text.trim().to_owned());
    }
    Ok(resolved + rest)
}

fn expression(inner: &str, variables: &Variables, host: Option<&str>, depth: usize) -> Result<Value, String> {
    let unknown = || inner.trim().to_owned();
    if depth >= DEEPEST {
        return Err(unknown());
    }
    let (name, filter) = match inner.split_once('|') {
        Some((name, filter)) => (name.trim(), Some(filter.trim())),
        None => (inner.trim(), None),
    };
    let fallback = match filter {
        None => None,
        Some(filter) => Some(default_of(filter).ok_or_else(unknown)?),
    };
    if let Some(literal) = literal(name) {
        return Ok(Value::Text(literal.to_owned()));
    }
    match (variables.get(name), name, host) {
        (Some(variable), _, _) => in_value(&variable.value, variables, host, depth + 1),
        (None, "inventory_hostname", Some(host)) => Ok(Value::Text(host.to_owned())),
        _ => fallback.map(|text| Value::Text(text.to_owned())).ok_or_else(unknown),
    }
}

/// What `default('text')` or `default(80)` falls back to.
fn default_of(filter: &str) -> Option<&str> {
    let argument =
        filter.strip_prefix("default(").or_else(|| filter.strip_prefix("d("))?.strip_suffix(')')?.trim();
    let plain = !argument.is_empty() && argument.chars().all(|c| c.is_ascii_digit());
    let word = matches!(argument, "true" | "false" | "True" | "False");
    if plain || word { Some(argument) } else { literal(argument) }
}

/// What is between the quotes of a literal.
fn literal(text: &str) -> Option<&str> {
    ['\'', '"'].iter().find_map(|quote| {
        let inner = text.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!inner.contains(*quote)).then_some(inner)
    })
}
