//! A part of a file that others own too: one line, some words, some JSON keys.

use pitool_engine::{Change, Id, Resource, Risk, Stage, Turn};
use pitool_host::trust::Kind;
use pitool_host::{Candidate, Content, Digest, Error, FileType, Host, Inspect, Result, Stat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::login::going_back;
use crate::node::{access, candidate};
use crate::{Check, Node, Returning};

/// What part of the file is ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// One line; it takes the place of the first line that begins with `prefix`, if any, and further such lines go.
    Line {
        /// What the replaced line begins with, such as `LANG=`.
        prefix: String,
        /// The line.
        line: String,
    },
    /// Whole lines that must be there, each as it is: authorized keys.
    Lines(Vec<String>),
    /// Words of a single-line file, matched exactly: the kernel's command line (traps T1, T2).
    Words(Vec<String>),
    /// A line of the section `[all]` of the firmware's config.txt. A `dtparam` after a `dtoverlay` would apply to
    /// the overlay (trap T8), so it comes before the section's first overlay.
    FirmwareLine(String),
    /// Keys of a JSON object; objects within are merged, other values replaced.
    Json(Map<String, Value>),
}

/// A part of a file. Printed `line[PATH]`, `words[PATH]` or `json[PATH]`.
///
/// A link at the path is followed one step where root alone can write in its directory: Debian links
/// /etc/default/locale to its new place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    path: String,
    edit: Edit,
    mode: u32,
    owner: String,
    group: String,
    stage: Stage,
    check: Option<Check>,
    risk: Risk,
    required: bool,
    /// The text of a file that has to be created, before the part is in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    initial: String,
}

impl Part {
    /// A part of a file; a missing file is created (0644, root).
    pub fn new(path: impl Into<String>, edit: Edit) -> Self {
        Self {
            path: path.into(),
            edit,
            mode: 0o644,
            owner: "root".into(),
            group: "root".into(),
            stage: Stage::Configure,
            check: None,
            risk: Risk::None,
            required: false,
            initial: String::new(),
        }
    }

    /// Sets when it is written.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Sets mode and owner of a file that has to be created.
    #[must_use]
    pub fn created_as(mut self, mode: u32, owner: &str, group: &str) -> Self {
        self.mode = mode;
        self.owner = owner.into();
        self.group = group.into();
        self
    }

    /// Sets the text around the part in a file that has to be created: what the file's package would write.
    #[must_use]
    pub fn created_from(mut self, initial: &str) -> Self {
        self.initial = initial.into();
        self
    }

    /// Has a program check the whole file before it goes live.
    #[must_use]
    pub fn checked_by(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Never creates the file: where it is missing, nothing is wanted (a Pi's boot files).
    #[must_use]
    pub fn of_existing(mut self) -> Self {
        self.required = true;
        self
    }

    /// The file as a checker of the whole sees it going back.
    pub fn returning(&self, from: &Node, to: &Node) -> Returning {
        let (from, to) = (from.clone(), to.clone());
        Returning { id: self.id(), path: self.path.clone(), check: self.check, from, to }
    }

    fn resolve(&self, host: &dyn Inspect) -> Result<String> {
        let Some(Stat { file_type: FileType::Link(target), .. }) = host.stat(&self.path)? else {
            return Ok(self.path.clone());
        };
        // Whoever can put a link there must not choose what root writes to: the host says whether it follows this one.
        host.read(&self.path)?;
        let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        // That was another question: what is there can have been exchanged in between, unless root alone can do that.
        if !is_roots_alone(host, parent)? {
            return Err(Error::Unexpected {
                path: self.path.clone(),
                found: "a symbolic link in a directory that others can write to".into(),
                expected: "a regular file",
            });
        }
        let mut parts: Vec<&str> = if target.starts_with('/') { vec![] } else { parent.split('/').collect() };
        for piece in target.split('/') {
            match piece {
                "" | "." => {}
                ".." => drop(parts.pop()),
                piece => parts.push(piece),
            }
        }
        parts.retain(|part| !part.is_empty());
        Ok(format!("/{}", parts.join("/")))
    }

    fn edited(&self, text: &str) -> String {
        match &self.edit {
            Edit::Line { prefix, line } => {
                let mut placed = false;
                let mut lines: Vec<&str> = Vec::new();
                for old in text.lines() {
                    if old.starts_with(prefix.as_str()) {
                        if !placed {
                            lines.push(line);
                        }
                        placed = true;
                    } else {
                        lines.push(old);
                    }
                }
                if !placed {
                    lines.push(line);
                }
                joined(&lines)
            }
            Edit::Lines(wanted) => {
                let mut lines: Vec<&str> = text.lines().collect();
                for line in wanted {
                    if !lines.iter().any(|old| old.trim() == line.trim()) {
                        lines.push(line);
                    }
                }
                joined(&lines)
            }
            Edit::Words(wanted) => {
                let mut words: Vec<&str> = text.split_whitespace().collect();
                words.extend(
                    wanted
                        .iter()
                        .map(String::as_str)
                        .filter(|word| !text.split_whitespace().any(|old| old == *word)),
                );
                let line = words.join(" ");
                // The firmware reads one line; whether it ends in a newline is the image's choice.
                if text.ends_with('\n') || text.is_empty() { format!("{line}\n") } else { line }
            }
            Edit::FirmwareLine(line) => firmware_line(text, line),
            Edit::Json(keys) => {
                let mut object = match serde_json::from_str(text) {
                    Ok(Value::Object(object)) => object,
                    _ => Map::new(),
                };
                let before = object.clone();
                merge(&mut object, keys);
                if object == before && !text.is_empty() {
                    return text.to_owned();
                }
                // A map of strings to JSON values always serializes.
                serde_json::to_string_pretty(&object).unwrap_or_default() + "\n"
            }
        }
    }

    /// Gives our part of a text the shape that it has in another one; the rest stays.
    fn with_part_of(&self, now: &str, before: &str) -> String {
        let has = |text: &str, line: &str| text.lines().any(|old| old.trim() == line.trim());
        let without = |gone: &dyn Fn(&str) -> bool| {
            let lines: Vec<&str> = now.lines().filter(|line| !gone(line)).collect();
            joined(&lines)
        };
        match &self.edit {
            Edit::Line { prefix, line } => {
                let mut old = before.lines().filter(|old| old.starts_with(prefix.as_str())).peekable();
                if old.peek().is_none() {
                    return without(&|at| at == line);
                }
                // All of them come back, in the place of ours.
                let (mut lines, mut place) = (Vec::new(), None);
                for at in now.lines() {
                    if at.starts_with(prefix.as_str()) {
                        place.get_or_insert(lines.len());
                    } else {
                        lines.push(at);
                    }
                }
                let place = place.unwrap_or(lines.len());
                lines.splice(place..place, old);
                joined(&lines)
            }
            Edit::Lines(ours) => {
                let kept: Vec<String> = ours.iter().filter(|line| has(before, line)).cloned().collect();
                let text =
                    without(&|at| ours.iter().any(|line| line.trim() == at.trim()) && !has(before, at));
                Self { edit: Edit::Lines(kept), ..self.clone() }.edited(&text)
            }
            Edit::Words(ours) => {
                let had = |word: &str| before.split_whitespace().any(|old| old == word);
                let words =
                    now.split_whitespace().filter(|word| had(word) || !ours.iter().any(|our| our == word));
                let line = words.collect::<Vec<_>>().join(" ");
                let text = if now.ends_with('\n') { format!("{line}\n") } else { line };
                let kept = ours.iter().filter(|word| had(word)).cloned().collect();
                Self { edit: Edit::Words(kept), ..self.clone() }.edited(&text)
            }
            Edit::FirmwareLine(line) if has(before, line) => self.edited(now),
            Edit::FirmwareLine(line) => without(&|at| at == line),
            Edit::Json(keys) => {
                let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
                let mut object = parse(now);
                unmerge(&mut object, keys, &parse(before));
                if object == parse(now) {
                    return now.to_owned();
                }
                serde_json::to_string_pretty(&object).unwrap_or_default() + "\n"
            }
        }
    }

    fn with_text(&self, node: &Node, text: String) -> Node {
        match node {
            Node::File { mode, owner, group, .. } => {
                Node::File { content: text.into(), mode: *mode, owner: owner.clone(), group: group.clone() }
            }
            _ => Node::File {
                content: text.into(),
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
            },
        }
    }
}

fn joined(lines: &[&str]) -> String {
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

fn merge(object: &mut Map<String, Value>, keys: &Map<String, Value>) {
    for (key, value) in keys {
        match (object.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(ours)) => merge(inner, ours),
            _ => drop(object.insert(key.clone(), value.clone())),
        }
    }
}

/// Takes back what [`merge`] wrote: our keys have the values that they had, and what others wrote beside them stays.
fn unmerge(object: &mut Map<String, Value>, keys: &Map<String, Value>, before: &Map<String, Value>) {
    for (key, ours) in keys {
        if let (Some(Value::Object(inner)), Value::Object(ours)) = (object.get_mut(key), ours) {
            let old = before.get(key);
            let none = Map::new();
            unmerge(inner, ours, old.and_then(Value::as_object).unwrap_or(&none));
            if !inner.is_empty() || old.is_some_and(Value::is_object) {
                // Where others have keys inside, what was no object before has no place any more.
                continue;
            }
        }
        match before.get(key) {
            Some(value) => drop(object.insert(key.clone(), value.clone())),
            None => drop(object.shift_remove(key)),
        }
    }
}

/// Puts a line into the part of config.txt that holds for every board: before the first section or in `[all]`.
fn firmware_line(text: &str, line: &str) -> String {
    let mut section_is_all = true;
    let mut place = None;
    let mut end_of_all = None;
    let lines: Vec<&str> = text.lines().collect();
    for (at, old) in lines.iter().enumerate() {
        let old = old.trim();
        if old.starts_with('[') {
            section_is_all = old == "[all]";
            if section_is_all {
                end_of_all = Some(at + 1);
            }
            continue;
        }
        if !section_is_all {
            continue;
        }
        if old == line {
            return text.to_owned();
        }
        if line.starts_with("dtparam=") && old.starts_with("dtoverlay=") && place.is_none() {
            place = Some(at);
        }
        end_of_all = Some(at + 1);
    }
    let mut lines = lines;
    match (place, end_of_all) {
        (Some(at), _) | (None, Some(at)) => lines.insert(at, line),
        (None, None) => lines.extend(["[all]", line]),
    }
    joined(&lines)
}

/// Whether nobody but root (or the owner of the machine's tree) can change what is in a directory, or exchange one above it.
fn is_roots_alone(host: &dyn Inspect, directory: &str) -> Result<bool> {
    let mut place = String::new();
    let mut owners = vec![0];
    for piece in directory.split('/') {
        if place != "/" {
            place.push('/');
        }
        place.push_str(piece);
        let Some(stat) = host.stat(&place)? else { return Ok(false) };
        if place == "/" {
            owners.push(stat.access.uid);
        }
        if !owners.contains(&stat.access.uid) || stat.access.mode & 0o022 != 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Resource for Part {
    type State = Node;

    fn id(&self) -> Id {
        let kind = match self.edit {
            Edit::Line { .. } | Edit::Lines(_) | Edit::FirmwareLine(_) => "line",
            Edit::Words(_) => "words",
            Edit::Json(_) => "json",
        };
        // Several lines of one file may be ours, each for itself.
        match &self.edit {
            Edit::Line { prefix, .. } => Id::new(kind, &format!("{} {}", self.path, prefix.trim())),
            Edit::FirmwareLine(line) => Id::new(kind, &format!("{} {line}", self.path)),
            _ => Id::new(kind, &self.path),
        }
    }

    fn observe(&self, host: &dyn Inspect) -> Result<Node> {
        let node = match self.resolve(host) {
            Ok(path) => Node::observe(host, &path)?,
            Err(error @ Error::Unexpected { .. }) => return Ok(Node::Unusable { why: error.to_string() }),
            Err(error) => return Err(error),
        };
        if matches!(&node, Node::File { content, .. } if content.text().is_none()) {
            let why = format!(
                "{} is not UTF-8, and pitool could not add its part without harm to the rest (`iconv -f latin1 -t utf-8` \
                 turns old texts into it)",
                self.path
            );
            return Ok(Node::Unusable { why });
        }
        if let (Edit::Json(_), Node::File { .. }) = (&self.edit, &node) {
            let text = node.text();
            if !text.trim().is_empty() {
                if let Err(error) = serde_json::from_str::<Map<String, Value>>(text) {
                    return Err(Error::Parse {
                        what: self.path.clone(),
                        why: format!("{error}; it must be a JSON object before pitool can add its keys"),
                    });
                }
            }
        }
        Ok(node)
    }

    fn refusal(&self, observed: &Node) -> Option<String> {
        observed.obstacle(&self.path, &[Kind::File])
    }

    fn desired(&self, observed: &Node) -> Node {
        match observed {
            Node::Absent if self.required => Node::Absent,
            Node::Absent | Node::File { .. } => {
                let old = if *observed == Node::Absent { self.initial.as_str() } else { observed.text() };
                let text = self.edited(old);
                if text == observed.text() && *observed != Node::Absent {
                    return observed.clone();
                }
                self.with_text(observed, text)
            }
            other => other.clone(),
        }
    }

    fn enact(&self, host: &dyn Host, from: &Node, to: &Node) -> Result<()> {
        let path = self.resolve(host.inspect())?;
        if let (Some(check), Node::File { content, mode, owner, group }) = (self.check, to) {
            if *to == self.desired(to) {
                let access = access(host, *mode, owner, group)?;
                check.ask(
                    host,
                    &path,
                    Candidate::File { path: path.clone(), content: content.clone(), access },
                )?;
            }
        }
        Node::put(host, &path, from, to)
    }

    fn change(&self, from: &Node, to: &Node) -> Change {
        Node::change(from, to, false)
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn risk(&self) -> Risk {
        self.risk
    }

    fn objection(
        &self,
        host: &dyn Inspect,
        _from: &Node,
        to: &Node,
        turn: &Turn<'_>,
    ) -> Result<Option<String>> {
        let candidates = if turn.back { self.decides_logins(host, to)? } else { Vec::new() };
        if candidates.is_empty() {
            return Ok(None);
        }
        going_back(host, "the keys stay", &candidates, turn)
    }

    fn decides_logins(&self, host: &dyn Inspect, to: &Node) -> Result<Vec<Candidate>> {
        let keys = matches!(self.edit, Edit::Lines(_)) && self.path.ends_with("/authorized_keys");
        Ok(if keys { vec![candidate(host, &self.path, to)?] } else { Vec::new() })
    }

    fn fingerprint(&self, state: &Node) -> Option<Digest> {
        state.fingerprint()
    }

    fn restored(&self, before: &Node, now: &Node) -> Node {
        // Nobody else changed it since: it comes back to the byte.
        if *now == self.desired(before) || *before == self.desired(now) || now == before {
            return before.clone();
        }
        match now {
            Node::File { .. } => {
                let text = self.with_part_of(now.text(), before.text());
                if *before == Node::Absent && text.trim().trim_matches(['{', '}']).is_empty() {
                    return Node::Absent;
                }
                if text == now.text() { now.clone() } else { self.with_text(now, text) }
            }
            // Removed since by someone else, or replaced by something that is not ours.
            Node::Absent => before.clone(),
            other => other.clone(),
        }
    }
}

impl Part {
    /// The content that the file would get, for tests and for what is composed of parts.
    pub fn applied(&self, text: &str) -> Content {
        self.edited(text).into()
    }
}
