//! What is documented, generated from the types.

use serde_json::Value;

use crate::tree::{Path, Step};

/// The JSON schema of the config, as text in one line.
///
/// It is generated from the types by a test and lies beside them, so that the program carries a text and not the
/// generator.
pub fn schema() -> &'static str {
    include_str!("../schema.json")
}

/// The annotated example of a config, with every key, its default and its meaning.
pub fn example() -> &'static str {
    include_str!("../example.toml")
}

/// The keys that the schema knows.
pub(crate) struct Keys(Value);

impl Keys {
    /// Reads the schema.
    pub(crate) fn new() -> Self {
        // A test has compared it with what the types say.
        Self(serde_json::from_str(schema()).unwrap_or_default())
    }

    /// Follows a reference, and the part of an optional value that is not `null`.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        loop {
            let optional = schema.get("anyOf").and_then(Value::as_array);
            let some =
                optional.and_then(|any| any.iter().find(|s| s.get("type") != Some(&Value::from("null"))));
            let reference = schema.get("$ref").and_then(Value::as_str);
            let target = reference.and_then(|reference| self.0.pointer(reference.strip_prefix('#')?));
            match some.or(target) {
                Some(next) => schema = next,
                None => return schema,
            }
        }
    }

    /// The keys of the table at a path.
    pub(crate) fn at(&self, path: &Path) -> Vec<String> {
        let table = path.0.iter().try_fold(self.resolve(&self.0), |schema, step| {
            let next = match step {
                Step::Key(key) => schema
                    .get("properties")
                    .and_then(|properties| properties.get(key))
                    .or_else(|| schema.get("additionalProperties")),
                Step::Index(_) => schema.get("items"),
            };
            next.map(|next| self.resolve(next))
        });
        let properties = table.and_then(|table| table.get("properties")).and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }

    /// The sections in which this key exists, as `[name]`.
    pub(crate) fn sections_with(&self, key: &str) -> Vec<String> {
        self.sections()
            .into_iter()
            .filter(|section| section.schema.get("properties").is_some_and(|keys| keys.get(key).is_some()))
            .map(|section| section.heading())
            .collect()
    }

    /// Every table that has a heading, in the order of the types.
    fn sections(&self) -> Vec<Section<'_>> {
        let mut found = Vec::new();
        self.collect("", &self.0, &mut found);
        found
    }

    fn collect<'a>(&'a self, prefix: &str, table: &'a Value, found: &mut Vec<Section<'a>>) {
        let Some(properties) = table.get("properties").and_then(Value::as_object) else { return };
        for (key, property) in properties {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let schema = self.resolve(property);
            let entry = schema.get("additionalProperties").map(|entry| self.resolve(entry));
            let item = schema.get("items").map(|item| self.resolve(item));
            let (name, schema, kind) = match (entry, item) {
                (Some(entry), _) if entry.get("properties").is_some() => {
                    (format!("{name}.NAME"), entry, Kind::Named)
                }
                (_, Some(item)) if item.get("properties").is_some() => (name, item, Kind::Listed),
                _ if schema.get("properties").is_some() => (name, schema, Kind::Single),
                _ => continue,
            };
            let meaning = text(property, "description").or_else(|| text(schema, "description"));
            found.push(Section { name: name.clone(), meaning: meaning.unwrap_or_default(), schema, kind });
            self.collect(&name, schema, found);
        }
    }

    /// The keys of a section that are not sections themselves.
    fn keys(&self, section: &Section<'_>) -> Vec<Key> {
        let properties = section.schema.get("properties").and_then(Value::as_object);
        let required = section.schema.get("required").and_then(Value::as_array);
        let mut found = Vec::new();
        for (name, property) in properties.into_iter().flatten() {
            let schema = self.resolve(property);
            let entry = schema.get("additionalProperties").map(|entry| self.resolve(entry));
            if [Some(schema), entry].into_iter().flatten().any(|table| table.get("properties").is_some()) {
                continue;
            }
            let choices = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
            found.push(Key {
                name: name.clone(),
                kind: self.kind(schema),
                choices: choices
                    .filter_map(|choice| {
                        Some((toml_text(choice.get("const")?), text(choice, "description")?))
                    })
                    .collect(),
                default: property.get("default").filter(|value| !value.is_null()).cloned(),
                example: property.pointer("/examples/0").cloned(),
                required: required.is_some_and(|required| required.contains(&Value::from(name.as_str()))),
                meaning: text(property, "description").unwrap_or_default(),
            });
        }
        found
    }

    /// The type of a value in words.
    fn kind(&self, schema: &Value) -> String {
        if let Some(format) = schema.get("format").and_then(Value::as_str).filter(|f| !f.starts_with("uint"))
        {
            return format.to_owned();
        }
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let words: Vec<String> = choices.iter().filter_map(|c| c.get("const")).map(toml_text).collect();
            return words.join(", ");
        }
        let named = |name: &str| match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
            Some(kind) => kind == name,
            None => false,
        };
        match (schema.get("items"), schema.get("additionalProperties")) {
            (Some(item), _) if self.resolve(item).get("properties").is_some() => "list of tables".to_owned(),
            (Some(item), _) => match self.kind(self.resolve(item)).as_str() {
                "address or network" => "list of addresses or networks".to_owned(),
                kind => format!("list of {kind}s"),
            },
            _ if named("boolean") => "true or false".to_owned(),
            _ if named("integer") => "whole number".to_owned(),
            _ if named("object") => "table".to_owned(),
            _ => "text".to_owned(),
        }
    }
}

/// How a section is written.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Once, under its name.
    Single,
    /// Once for each name.
    Named,
    /// Once for each element of a list.
    Listed,
}

/// A table that has a heading.
struct Section<'a> {
    name: String,
    meaning: String,
    schema: &'a Value,
    kind: Kind,
}

impl Section<'_> {
    fn heading(&self) -> String {
        match self.kind {
            Kind::Listed => format!("[[{}]]", self.name),
            Kind::Single | Kind::Named => format!("[{}]", self.name),
        }
    }
}

/// A key of a section.
struct Key {
    name: String,
    kind: String,
    choices: Vec<(String, String)>,
    default: Option<Value>,
    example: Option<Value>,
    required: bool,
    meaning: String,
}

impl Key {
    /// The meaning, then what each of the possible words means.
    fn sentences(&self) -> Vec<String> {
        let choice = |(word, meaning): &(String, String)| format!("{word}: {}", lower_first(meaning));
        std::iter::once(self.meaning.clone()).chain(self.choices.iter().map(choice)).collect()
    }
}

/// A text of the schema as one line.
fn text(schema: &Value, key: &str) -> Option<String> {
    Some(schema.get(key)?.as_str()?.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Makes the first letter small, unless it begins a name such as TCP.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() && !text.starts_with("Docker") => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// A value as it is written in the file, on one line, its keys in the order of the types.
fn toml_text(value: &Value) -> String {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            let entry = |(key, value): (&String, &Value)| {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let quote = if key.chars().all(plain) { "" } else { "\"" };
                format!("{quote}{key}{quote} = {}", toml_text(value))
            };
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        other => toml::Value::try_from(other).map(|value| value.to_string()).unwrap_or_default(),
    }
}

/// The reference of the config in Markdown: every key with its type, its default and its meaning.
pub fn reference() -> String {
    let keys = Keys::new();
    let mut page = String::from(REFERENCE_HEAD);
    for section in keys.sections() {
        page += &format!("\n## `{}`\n\n{}\n", section.heading(), section.meaning);
        let rows = keys.keys(&section);
        if rows.is_empty() {
            continue;
        }
        page += "\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n";
        for key in rows {
            let default = match (&key.default, key.required) {
                (Some(default), _) => format!("`{}`", toml_text(default)),
                (None, true) => "(required)".to_owned(),
                (None, false) => "(unset)".to_owned(),
            };
            let cells = [format!("`{}`", key.name), key.kind.clone(), default, key.sentences().join("<br>")];
            page += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
    }
    page
}

const REFERENCE_HEAD: &str = "\
# The config

Generated from the program's types; do not edit.

pitool reads `/etc/pitool/pitool.toml`, then `/etc/pitool/conf.d/*.toml` sorted by name. A later file wins key by key:
tables merge, lists and everything else replace. Every key has a default, so that no file at all is a config too.
`NAME` stands for a name of your choice. A key that does not exist is an error.

| Type | Written as |
|---|---|
| duration | `\"90s\"`, `\"10m\"`, `\"1h30m\"`, `\"30d\"`, `\"1w\"` |
| size | `\"500B\"`, `\"64KiB\"`, `\"200MiB\"`, `\"2GiB\"`; `K`, `M` and `G` mean the same |
| time of day | `\"04:00\"`, in the machine's time zone |
| address or network | `\"192.168.1.5\"`, `\"192.168.1.0/24\"`, `\"fd00::/8\"` |
| port or range | `80`, `\"3000:3010\"` |
| cron expression | `\"0 2 * * *\"`: minute, hour, day of the month, month, day of the week, in the machine's time zone |
";

/// Writes the annotated example from the types; [`example`] is what it wrote last.
pub fn written_example() -> String {
    let keys = Keys::new();
    let mut file = String::from(EXAMPLE_HEAD);
    for section in keys.sections() {
        // The elements of a list are part of the key that is the list, where the default is shown.
        if section.kind == Kind::Listed {
            continue;
        }
        // A table of a thing that has a name is as little there by itself as the thing.
        let mark = if section.name.contains("NAME") { "#e.g. " } else { "" };
        let name = EXAMPLE_NAMES.iter().fold(section.name.clone(), |name, (table, example)| {
            name.replace(&format!("{table}.NAME"), &format!("{table}.{example}"))
        });
        file += &format!("\n\n{}\n{mark}[{name}]\n", comment(&section.meaning));
        for key in keys.keys(&section) {
            file +=
                &format!("\n{}\n", key.sentences().iter().map(|s| comment(s)).collect::<Vec<_>>().join("\n"));
            let listed = format!("{}.{}", section.name, key.name);
            for listed in keys.sections().iter().filter(|s| s.kind == Kind::Listed && s.name == listed) {
                for part in keys.keys(listed) {
                    file += &format!(
                        "{}\n",
                        comment(&format!("- {}: {}", part.name, lower_first(&part.meaning)))
                    );
                }
            }
            let example = key.example.as_ref();
            let (mark, value) = match &key.default {
                Some(default) if mark.is_empty() => ("#", Some(default)),
                Some(default) => (mark, example.or(Some(default))),
                None => ("#e.g. ", example),
            };
            match value {
                Some(Value::Array(items)) if items.first().is_some_and(Value::is_object) => {
                    let lines: String =
                        items.iter().map(|item| format!("{mark}{},\n", toml_text(item))).collect();
                    file += &format!("{mark}{} = [\n{lines}{mark}]\n", key.name);
                }
                Some(value) => file += &format!("{mark}{} = {}\n", key.name, toml_text(value)),
                None => {}
            }
        }
    }
    file
}

/// Wraps a text into lines that begin with `# `.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < 110 => *line += &format!(" {word}"),
            _ => lines.push(format!("# {word}")),
        }
    }
    lines.join("\n")
}

/// The names that stand for any name in the example.
const EXAMPLE_NAMES: [(&str, &str); 6] = [
    ("users", "ada"),
    ("apps", "my_app"),
    ("sets", "photos"),
    ("disks", "usb"),
    ("backup.ssh", "nas"),
    ("s3", "offsite"),
];

const EXAMPLE_HEAD: &str = "\
# The config of pitool, with every key. No key has to be set: each has a default that is right for a fresh machine.
# A line that starts with `#` and no space shows a default; to change it, take the `#` away.
# A line that starts with `#e.g.` shows an example of something that is not set; take `#e.g. ` away to use it.
# Files in /etc/pitool/conf.d/*.toml are read after this one, and win key by key.
# Check with `pitool config check`; the meaning of every key is in `pitool config schema` too.
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::Settings;
    use crate::{Fragment, load};

    fn without(marks: &[&str]) -> String {
        let line = |line: &str| {
            let mark =
                marks.iter().find(|mark| line.starts_with(**mark) && !line.starts_with("# ") && line != "#");
            let kept = mark.map_or(line, |mark| &line[mark.len()..]);
            format!("{kept}\n")
        };
        example().lines().map(line).collect()
    }

    fn read(text: &str) -> Settings {
        load(&[Fragment::new("example.toml", text)]).unwrap_or_else(|p| panic!("{}", p[0])).settings
    }

    #[expect(clippy::disallowed_methods, reason = "a test writes the file that it compares with")]
    #[test]
    fn the_example_is_what_the_types_say() {
        let written = written_example();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write("example.toml", &written).unwrap();
        }
        assert!(written == example(), "run again with UPDATE=1");
    }

    /// Says of every table with known keys that it has no others, as the loading does.
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(entries) => {
                entries.values_mut().for_each(close);
                if entries.get("properties").is_some_and(Value::is_object)
                    && !entries.contains_key("additionalProperties")
                {
                    entries.insert("additionalProperties".to_owned(), Value::Bool(false));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test writes the file that it compares with")]
    #[test]
    fn the_schema_is_what_the_types_say() {
        let mut generated = schemars::schema_for!(Settings).to_value();
        close(&mut generated);
        let written = format!("{generated}\n");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write("schema.json", &written).unwrap();
        }
        assert!(written == schema(), "run again with UPDATE=1");
    }

    #[test]
    fn the_schema_allows_no_unknown_key() {
        let schema: Value = serde_json::from_str(schema()).unwrap();
        assert_eq!(schema["additionalProperties"], Value::Bool(false));
        assert_eq!(schema["$defs"]["Rule"]["additionalProperties"], Value::Bool(false));
        assert!(
            schema["$defs"]["Docker"]["properties"]["daemon"]["additionalProperties"] != Value::Bool(false)
        );
    }

    #[test]
    fn the_example_shows_the_defaults() {
        assert_eq!(read(example()), Settings::default());
        let text = without(&["#"]);
        let defaults: String =
            text.lines().filter(|l| !l.starts_with("e.g.")).map(|l| format!("{l}\n")).collect();
        assert!(defaults.contains("\nswap = \"auto\"\n"));
        assert_eq!(read(&defaults), Settings::default());
    }

    #[test]
    fn the_examples_in_the_example_are_good() {
        let settings = read(&without(&["#e.g. ", "#"]));
        assert_eq!(settings.apps.len(), 1);
        assert_eq!(settings.common.users.len(), 1);
        assert!(settings.common.timezone.is_some());
    }

    #[test]
    fn example_and_reference_have_every_key() {
        let keys = Keys::new();
        let page = reference();
        let shown: BTreeSet<&str> =
            example().lines().filter_map(|l| l.split_once(" = ").map(|(key, _)| key)).collect();
        let mut number = 0;
        for section in keys.sections() {
            assert!(page.contains(&format!("## `{}`", section.heading())));
            for key in keys.keys(&section) {
                assert!(!key.meaning.is_empty(), "{} {}", section.name, key.name);
                assert!(page.contains(&format!("| `{}` | ", key.name)), "{}", key.name);
                let marks =
                    [format!("#{}", key.name), format!("#e.g. {}", key.name), format!("# - {}: ", key.name)];
                assert!(
                    marks
                        .iter()
                        .any(|mark| shown.contains(mark.as_str()) || example().contains(mark.as_str())),
                    "{}",
                    key.name
                );
                number += 1;
            }
        }
        assert!(number > 60, "{number}");
    }
}
